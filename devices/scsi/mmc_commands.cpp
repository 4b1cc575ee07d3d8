// The drive's commands: MMC-5 and SPC-3, as far as systems use them to read discs.
#include "base/byte_order.h"
#include "devices/scsi/mmc_drive.h"

#include <algorithm>
#include <utility>

namespace calque::devices {

using namespace scsi;

namespace {

constexpr u16 profile_cd_rom = 0x0008, profile_dvd_rom = 0x0010;
constexpr u64 largest_cd = u64{360'000} * 2048; // 80 minutes.

// A block's address as minute, second, frame; the first is at 2 seconds.
void put_msf(std::vector<u8>& bytes, std::size_t at, u32 lba) {
    const u32 frames = lba + 150;
    bytes[at] = 0;
    bytes[at + 1] = static_cast<u8>(frames / (75 * 60));
    bytes[at + 2] = static_cast<u8>(frames / 75 % 60);
    bytes[at + 3] = static_cast<u8>(frames % 75);
}

} // namespace

const MmcDrive::Row MmcDrive::rows[] = {
    {0x00, &MmcDrive::good, false, true},
    {0x03, &MmcDrive::request_sense, true, false},
    {0x12, &MmcDrive::inquiry, true, false},
    {0x15, &MmcDrive::mode_select, false, false},
    {0x1A, &MmcDrive::mode_sense, false, false},
    {0x1B, &MmcDrive::start_stop, false, false},
    {0x1E, &MmcDrive::prevent_removal, false, false},
    {0x25, &MmcDrive::read_capacity, false, true},
    {0x28, &MmcDrive::read_10, false, true},
    {0x2B, &MmcDrive::seek, false, true},
    {0x35, &MmcDrive::good, false, false},
    {0x42, &MmcDrive::read_subchannel, false, true},
    {0x43, &MmcDrive::read_toc, false, true},
    {0x46, &MmcDrive::get_configuration, true, false},
    {0x4A, &MmcDrive::get_event, true, false},
    {0x51, &MmcDrive::read_disc_information, false, true},
    {0x52, &MmcDrive::read_track_information, false, true},
    {0x55, &MmcDrive::mode_select, false, false},
    {0x5A, &MmcDrive::mode_sense, false, false},
    {0xA8, &MmcDrive::read_12, false, true},
    {0xAD, &MmcDrive::read_dvd_structure, false, true},
    {0xBB, &MmcDrive::good, false, false},
    {0xBD, &MmcDrive::mechanism_status, false, false},
    {0xBE, &MmcDrive::read_cd, false, true},
    {0, nullptr, false, false},
};

u16 MmcDrive::profile() const {
    if (!ready()) return 0;
    return backend_.size() > largest_cd ? profile_dvd_rom : profile_cd_rom;
}

Step MmcDrive::request_sense(Cdb packet) {
    if (s_.sense.key == 0 && s_.attention) {
        s_.attention = false;
        s_.sense = {6, s_.attention_code, 0};
    }
    return Step::data(fixed_sense(std::exchange(s_.sense, {})), packet[4]);
}

Step MmcDrive::inquiry(Cdb packet) {
    if (packet[1] & 1) return inquiry_page(packet);
    if (packet[2] != 0) return Step::check(invalid_field);
    std::vector<u8> bytes(36, ' ');
    bytes[0] = 0x05;                 // CD/DVD.
    bytes[1] = 0x80;                 // Removable.
    bytes[2] = atapi_ ? 0x00 : 0x05; // SPC-3.
    bytes[3] = atapi_ ? 0x21 : 0x02; // The response's format.
    bytes[4] = 31;
    bytes[5] = bytes[6] = bytes[7] = 0;
    std::copy_n("CALQUE", 6, bytes.begin() + 8);
    std::copy_n(atapi_ ? "DVD-ROM" : "CD-ROM ", 7, bytes.begin() + 16);
    std::copy_n("1.0", 3, bytes.begin() + 32);
    return Step::data(std::move(bytes), big16(packet, 3));
}

// Vital product data (SPC-3, 7.6), which drives on ATA cables do not have.
Step MmcDrive::inquiry_page(Cdb packet) const {
    const std::string serial = backend_.serial().empty() ? serial_ : backend_.serial();
    if (atapi_) return Step::check(invalid_field);
    std::vector<u8> bytes{0x05, packet[2], 0, 0};
    switch (packet[2]) {
    case 0x00: bytes.insert(bytes.end(), {0x00, 0x80}); break;
    case 0x80: bytes.insert(bytes.end(), serial.begin(), serial.end()); break;
    default: return Step::check(invalid_field);
    }
    store_big(bytes, 2, bytes.size() - 4, 2);
    return Step::data(std::move(bytes), big16(packet, 3));
}

// MMC-5, 7: error recovery, caching, and the capabilities page that systems look for.
std::vector<u8> MmcDrive::mode_page(u8 page) const {
    switch (page) {
    case 0x01: return {0x01, 0x06, 0x00, 0x05, 0, 0, 0, 0};
    case 0x08: return {0x08, 0x0A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    case 0x0E: return {0x0E, 0x0E, 0x04, 0, 0, 0, 0, 75, 1, 0xFF, 2, 0xFF, 0, 0, 0, 0};
    case 0x2A: {
        std::vector<u8> bytes(20);
        bytes[0] = 0x2A;
        bytes[1] = 18;
        bytes[2] = 0x3B;                                        // Reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM.
        bytes[4] = 0x70;                                        // Multisession, mode 2 forms 1 and 2.
        bytes[5] = 0x03;                                        // READ CD.
        bytes[6] = static_cast<u8>(0x29 | (s_.locked ? 2 : 0)); // Tray, ejects, locks.
        store_big(bytes, 8, 706, 2);                            // kB/s: 4x.
        store_big(bytes, 10, 2, 2);
        store_big(bytes, 12, 512, 2); // kB of buffer.
        store_big(bytes, 14, 706, 2);
        return bytes;
    }
    default: return {};
    }
}

Step MmcDrive::mode_sense(Cdb packet) {
    const bool long_form = packet[0] == 0x5A;
    const u8 page = packet[2] & 0x3F;
    if (packet[2] >> 6 == 3) return Step::check(saving_not_supported); // Nothing is saved.
    std::vector<u8> bytes(long_form ? 8 : 4);
    if (page == 0x3F) {
        for (const u8 each : {0x01, 0x08, 0x0E, 0x2A}) {
            const auto more = mode_page(each);
            bytes.insert(bytes.end(), more.begin(), more.end());
        }
    } else {
        const auto more = mode_page(page);
        if (more.empty()) return Step::check(invalid_field);
        bytes.insert(bytes.end(), more.begin(), more.end());
    }
    const u8 medium = !ready() ? (s_.tray_open ? 0x71 : 0x70) : profile() == profile_dvd_rom ? 0x41 : 0x01;
    if (long_form) {
        store_big(bytes, 0, static_cast<u32>(bytes.size() - 2), 2);
        bytes[2] = medium;
        return Step::data(std::move(bytes), big16(packet, 7));
    }
    bytes[0] = static_cast<u8>(bytes.size() - 1);
    bytes[1] = medium;
    return Step::data(std::move(bytes), packet[4]);
}

// Parameters are taken, and nothing comes of them.
Step MmcDrive::mode_select(Cdb packet) { return Step::receive(packet[0] == 0x55 ? big16(packet, 7) : packet[4]); }

Step MmcDrive::start_stop(Cdb packet) {
    const bool start = packet[4] & 1, load_eject = packet[4] & 2;
    if (packet[4] & 0xF0) return Step::good(); // Power conditions.
    if (!load_eject) return Step::good();
    if (!start) {
        if (s_.locked) return Step::check({5, 0x53, 2}); // Medium removal prevented.
        s_.tray_open = true;
        return Step::good();
    }
    if (s_.tray_open && backend_.has_medium()) {
        s_.attention = true;
        s_.attention_code = 0x28;
        s_.event = Event::new_medium;
    }
    s_.tray_open = false;
    return Step::good();
}

Step MmcDrive::prevent_removal(Cdb packet) {
    s_.locked = packet[4] & 1;
    backend_.lock_medium(s_.locked);
    return Step::good();
}

Step MmcDrive::read_capacity(Cdb) {
    std::vector<u8> bytes(8);
    store_big(bytes, 0, blocks() ? blocks() - 1 : 0, 4);
    store_big(bytes, 4, block, 4);
    return Step::data(std::move(bytes), 8);
}

Step MmcDrive::read_10(Cdb packet) { return read_blocks(big32(packet, 2), big16(packet, 7)); }
Step MmcDrive::read_12(Cdb packet) { return read_blocks(big32(packet, 2), big32(packet, 6)); }

// User data of data sectors only: no disc image here has anything else.
Step MmcDrive::read_cd(Cdb packet) {
    const u32 count = u32{packet[6]} << 16 | big16(packet, 7);
    const u8 type = packet[1] >> 2 & 7;
    if (count == 0 || (packet[9] & 0xF8) == 0) return Step::good();
    if ((packet[9] & 0xFE) != 0x10 || (packet[10] & 7) != 0 || (type > 2 && type != 4))
        return Step::check(invalid_field);
    return read_blocks(big32(packet, 2), count);
}

Step MmcDrive::seek(Cdb packet) { return big32(packet, 2) < blocks() ? Step::good() : Step::check(out_of_range); }

Step MmcDrive::read_subchannel(Cdb packet) {
    std::vector<u8> bytes(4);
    bytes[1] = 0x15; // No audio is playing.
    if (packet[2] & 0x40) {
        if (packet[3] != 1) return Step::check(invalid_field);
        bytes.resize(16);
        bytes[3] = 12;
        bytes[4] = 1;
        bytes[5] = 0x14; // A data track.
        bytes[6] = bytes[7] = 1;
    }
    return Step::data(std::move(bytes), big16(packet, 7));
}

// One session with one data track, and the lead-out behind it.
Step MmcDrive::read_toc(Cdb packet) {
    const bool msf = packet[1] & 2;
    u8 format = packet[2] & 0x0F;
    if (format == 0) format = packet[9] >> 6; // As drafts before MMC had it.
    const auto put_address = [&](std::vector<u8>& bytes, std::size_t at, u32 lba) {
        msf ? put_msf(bytes, at, lba) : store_big(bytes, at, lba, 4);
    };
    std::vector<u8> bytes;
    switch (format) {
    case 0: {
        const u8 first = packet[6];
        if (first > 1 && first != 0xAA) return Step::check(invalid_field);
        bytes = {0, 0, 1, 1};
        for (const u8 track : {u8{1}, u8{0xAA}}) {
            if (track < first) continue;
            const std::size_t at = bytes.size();
            bytes.resize(at + 8);
            bytes[at + 1] = 0x14;
            bytes[at + 2] = track;
            put_address(bytes, at + 4, track == 1 ? 0 : blocks());
        }
        break;
    }
    case 1: // Sessions.
        bytes = {0, 0, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0};
        put_address(bytes, 8, 0);
        break;
    case 2: { // The raw table: first track, last track, lead-out, track 1.
        bytes = {0, 0, 1, 1};
        for (const u8 point : {u8{0xA0}, u8{0xA1}, u8{0xA2}, u8{1}}) {
            const std::size_t at = bytes.size();
            bytes.resize(at + 11);
            bytes[at] = 1;
            bytes[at + 1] = 0x14;
            bytes[at + 3] = point;
            if (point == 0xA0 || point == 0xA1) {
                bytes[at + 8] = 1;
            } else {
                std::vector<u8> address(4);
                put_msf(address, 0, point == 1 ? 0 : blocks());
                std::copy(address.begin() + 1, address.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at) + 8);
            }
        }
        break;
    }
    default: return Step::check(invalid_field);
    }
    store_big(bytes, 0, static_cast<u32>(bytes.size() - 2), 2);
    return Step::data(std::move(bytes), big16(packet, 7));
}

// MMC-5, 5 and 6.6: the profiles, and the features without which nobody believes them.
Step MmcDrive::get_configuration(Cdb packet) {
    const u8 which = packet[1] & 3; // All, current ones, one.
    const u16 from = big16(packet, 2), current = profile();
    std::vector<u8> bytes(8);
    store_big(bytes, 6, current, 2);
    const auto add = [&](u16 feature, u8 flags, std::initializer_list<u8> data) {
        const bool is_current = flags & 1;
        if (which == 2 ? feature != from : feature < from) return;
        if (which == 1 && !is_current) return;
        bytes.push_back(static_cast<u8>(feature >> 8));
        bytes.push_back(static_cast<u8>(feature));
        bytes.push_back(flags);
        bytes.push_back(static_cast<u8>(data.size()));
        bytes.insert(bytes.end(), data);
    };
    const u8 dvd = current == profile_dvd_rom, cd = current == profile_cd_rom;
    add(0x0000, 0x03, {0x00, 0x10, dvd, 0, 0x00, 0x08, cd, 0});                // Profile list.
    add(0x0001, 0x0B, {0, 0, 0, static_cast<u8>(atapi_ ? 2 : 1), 1, 0, 0, 0}); // Core: the interface; busy events.
    add(0x0002, 0x07, {2, 0, 0, 0});                                           // Morphing: events are polled for.
    add(0x0003, 0x03, {0x29, 0, 0, 0});                                        // Removable medium: tray, ejects, locks.
    add(0x0010, static_cast<u8>(dvd | cd), {0, 0, 8, 0, 0, 0x10, 0, 0});       // Random readable, 2048-byte blocks.
    add(0x001E, cd, {0, 0, 0, 0});                                             // CD read.
    add(0x001F, dvd, {0, 0, 0, 0});                                            // DVD read.
    store_big(bytes, 0, static_cast<u32>(bytes.size() - 4), 4);
    return Step::data(std::move(bytes), big16(packet, 7));
}

Step MmcDrive::get_event(Cdb packet) {
    if (!(packet[1] & 1)) return Step::check(invalid_field); // Asynchronous notification.
    std::vector<u8> bytes{0, 2, 0x80, 0x10};                 // No class that was asked for; of media there are some.
    if (packet[4] & 0x10) {
        bytes = {0, 6, 4, 0x10, 0, 0, 0, 0};
        switch (std::exchange(s_.event, Event::none)) {
        case Event::eject_request: bytes[4] = 1; break;
        case Event::new_medium: bytes[4] = 2; break;
        case Event::removal: bytes[4] = 3; break;
        case Event::none: break;
        }
        bytes[5] = static_cast<u8>((s_.tray_open ? 1 : 0) | (ready() ? 2 : 0));
    }
    return Step::data(std::move(bytes), big16(packet, 7));
}

Step MmcDrive::read_disc_information(Cdb packet) {
    if ((packet[1] & 7) != 0) return Step::check(invalid_field);
    std::vector<u8> bytes(34);
    store_big(bytes, 0, 32, 2);
    bytes[2] = 0x0E; // Complete, last session complete.
    bytes[3] = bytes[4] = bytes[5] = bytes[6] = 1;
    bytes[7] = 0x20; // May be used for any purpose.
    return Step::data(std::move(bytes), big16(packet, 7));
}

Step MmcDrive::read_track_information(Cdb packet) {
    const u32 number = big32(packet, 2);
    if ((packet[1] & 3) == 0 ? number >= blocks() : number != 1) return Step::check(invalid_field);
    std::vector<u8> bytes(36);
    store_big(bytes, 0, 34, 2);
    bytes[2] = bytes[3] = 1;
    bytes[5] = 0x04;
    bytes[6] = 0x01;
    store_big(bytes, 24, blocks(), 4);
    return Step::data(std::move(bytes), big16(packet, 7));
}

// Formats 0 (the physical layer) and 1 (copyright: none) of a DVD.
Step MmcDrive::read_dvd_structure(Cdb packet) {
    const u8 format = packet[7];
    if (profile() != profile_dvd_rom) return Step::check({5, 0x30, 2}); // Incompatible format.
    if (format > 1) return Step::check(invalid_field);
    std::vector<u8> bytes(format == 0 ? 4 + 2048 : 8);
    store_big(bytes, 0, static_cast<u32>(bytes.size() - 2), 2);
    if (format == 0) {
        constexpr u32 first_sector = 0x30000;
        bytes[4] = 0x01; // DVD-ROM.
        bytes[5] = 0x0F; // 120 mm, no rate given.
        bytes[6] = 0x01; // One layer.
        store_big(bytes, 8, first_sector, 4);
        store_big(bytes, 12, first_sector + blocks() - 1, 4);
    }
    return Step::data(std::move(bytes), big16(packet, 8));
}

Step MmcDrive::mechanism_status(Cdb packet) {
    std::vector<u8> bytes(8);
    bytes[1] = s_.tray_open ? 0x10 : 0;
    bytes[5] = 1;
    return Step::data(std::move(bytes), big16(packet, 8));
}

} // namespace calque::devices
