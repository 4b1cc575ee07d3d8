#include "devices/ide/atapi_cd.h"

#include "devices/ide/identity.h"

#include <algorithm>

namespace calque::devices {

using namespace ata;

AtapiCd::AtapiCd(Log& log, IdeCable& cable, BlockBackend& backend, std::string name, std::string serial)
    : IdeDrive(log, cable, backend, std::move(name)), serial_(std::move(serial)) {
    hardware_reset();
}

// ATA/ATAPI-7 volume 1, table 20: a device with the PACKET feature set, not ready until it is asked.
void AtapiCd::set_signature() {
    regs_.count.now = regs_.lba_low.now = 1;
    regs_.lba_mid.now = 0x14;
    regs_.lba_high.now = 0xEB;
    regs_.status = 0;
}

void AtapiCd::reset_kind(bool hardware) {
    s_.receiving = false;
    s_.left = s_.sent = 0;
    if (!hardware) return;
    const bool tray_open = s_.tray_open;
    s_ = {};
    s_.tray_open = tray_open; // A reset moves no tray.
    s_.medium_seen = backend_.medium_changes();
    backend_.lock_medium(false);
}

void AtapiCd::execute(u8 code) {
    switch (code) {
    case PACKET:
        s_.by_dma = regs_.features.now & 1;
        if (regs_.features.now & 2) return abort(); // Overlapped.
        s_.limit = static_cast<u16>(regs_.lba_high.now << 8 | regs_.lba_mid.now);
        s_.receiving = false;
        regs_.count.now = REASON_CD;
        make_buffer(12);
        return ask(0, 12, false);
    case IDENTIFY_PACKET_DEVICE: return identify();
    case DEVICE_RESET: software_reset(); return;
    case IDENTIFY_DEVICE:
    case READ_SECTORS: // Both abort with the signature, by which software finds out what this is.
        set_signature();
        abort();
        return;
    case SET_FEATURES:
        if (regs_.features.now == 0x03) {
            if (regs_.count.now >= 0x20) s_.transfer_mode = regs_.count.now;
            return complete();
        }
        return regs_.features.now == 0x66 || regs_.features.now == 0xCC ? complete() : abort();
    case CHECK_POWER_MODE: regs_.count.now = 0xFF; return complete();
    case IDLE_IMMEDIATE:
    case STANDBY_IMMEDIATE:
    case SLEEP: return complete();
    default: return abort();
    }
}

// --- The end of a command

void AtapiCd::good() {
    regs_.count.now = REASON_CD | REASON_IO;
    s_.receiving = false;
    complete();
}

void AtapiCd::check(Sense sense) {
    log_.trace(Channel::disk, "{}: sense {:x}/{:02x}/{:02x}", name(), sense.key, sense.code, sense.qualifier);
    s_.sense = sense;
    s_.receiving = false;
    s_.left = 0;
    regs_.count.now = REASON_CD | REASON_IO;
    fail(static_cast<u8>(sense.key << 4 | ERROR_ABRT));
}

// --- Data to the host

void AtapiCd::reply(std::vector<u8> bytes, u64 at_most) {
    bytes.resize(std::min<u64>({bytes.size(), at_most, buffer_limit}));
    if (bytes.empty()) return good();
    make_buffer(0);
    buffer() = std::move(bytes);
    s_.left = s_.sent = 0;
    s_.by_dma ? await_dma() : send();
}

// One DRQ block: as many bytes as are there and the host takes at a time; an even number, but for the last.
void AtapiCd::send() {
    u32 limit = s_.limit == 0 || s_.limit == 0xFFFF ? 0xFFFE : s_.limit;
    const u32 there = static_cast<u32>(buffer().size()) - s_.sent;
    if (limit < there && limit % 2) --limit;
    if (limit == 0) limit = 2;
    const u32 length = std::min(limit, there);
    regs_.lba_mid.now = static_cast<u8>(length);
    regs_.lba_high.now = static_cast<u8>(length >> 8);
    regs_.count.now = REASON_IO;
    offer(s_.sent, length, true);
}

void AtapiCd::block_read() {
    if (regs_.code != PACKET) return complete_quietly(); // IDENTIFY PACKET DEVICE.
    s_.sent = regs_.end;
    took();
}

// Part of the buffer has gone.
void AtapiCd::took() {
    if (s_.sent < buffer().size()) return s_.by_dma ? await_dma() : send();
    if (s_.left != 0) return fetch();
    good();
}

void AtapiCd::dma_step() {
    const u32 from = s_.sent;
    if (from >= buffer().size()) return good();
    if (!move_by_dma(from, buffer().size() - from, !s_.receiving)) return;
    s_.sent = static_cast<u32>(buffer().size());
    if (s_.receiving) return good();
    took();
}

void AtapiCd::read_blocks(u64 first, u32 count) {
    if (first > blocks() || count > blocks() - first) return check({5, 0x21, 0}); // Address out of range.
    if (count == 0) return good();
    s_.next = first;
    s_.left = count;
    fetch();
}

void AtapiCd::fetch() {
    const u32 count = std::min<u32>(s_.left, buffer_limit / block);
    make_buffer(std::size_t{count} * block);
    BlockRequest request{.kind = BlockRequest::Kind::read, .offset = s_.next * block, .buffers = {buffer()}};
    submit(std::move(request), [this, count](BlockStatus status) {
        if (status == BlockStatus::no_medium) return check({2, 0x3A, 0});
        if (status == BlockStatus::out_of_range) return check({5, 0x21, 0});
        if (status != BlockStatus::ok) return check({3, 0x11, 0}); // Unrecovered read error.
        s_.next += count;
        s_.left -= count;
        s_.sent = 0;
        s_.by_dma ? await_dma() : send();
    });
}

void AtapiCd::block_written() { good(); }

// --- The medium

void AtapiCd::notice_medium() {
    const u32 changes = backend_.medium_changes();
    if (changes == s_.medium_seen) return;
    s_.medium_seen = changes;
    s_.tray_open = false;
    s_.locked = false;
    s_.event = backend_.has_medium() ? Event::new_medium : Event::removal;
    if (backend_.has_medium()) {
        s_.attention = true;
        s_.attention_code = 0x28; // Not ready to ready: the medium may have changed.
    }
}

void AtapiCd::medium_event(bool wanted) {
    if (wanted) s_.event = Event::eject_request;
    notice_medium();
}

void AtapiCd::packet_received() {
    Packet packet;
    std::copy_n(buffer().begin(), packet.size(), packet.begin());
    notice_medium();
    log_.trace(Channel::disk, "{}: packet {:02x} {:02x} {:02x}{:02x}{:02x}{:02x} {:02x}{:02x}{:02x}{:02x}", name(),
               packet[0], packet[1], packet[2], packet[3], packet[4], packet[5], packet[6], packet[7], packet[8],
               packet[9]);
    const Row* row = rows;
    while (row->run && row->code != packet[0])
        ++row;
    if (!row->run) return check({5, 0x20, 0}); // Invalid operation code.
    if (s_.attention && !row->always) {
        s_.attention = false;
        return check({6, s_.attention_code, 0});
    }
    if (row->medium && !ready()) return check({2, 0x3A, static_cast<u8>(s_.tray_open ? 2 : 1)}); // No medium.
    if (packet[0] != 0x03) s_.sense = {};
    (this->*row->run)(packet);
}

// IDENTIFY PACKET DEVICE, ATA/ATAPI-7 volume 1, 6.18.
void AtapiCd::identify() {
    std::array<u16, 256> w{};
    w[0] = 0x85C0; // CD-ROM, removable, 12-byte packets, DRQ within 50 us.
    const std::string backend_serial = backend_.serial();
    put_identify_text(w, 10, 10, backend_serial.empty() ? serial_ : backend_serial);
    put_identify_text(w, 23, 4, "1.0");
    put_identify_text(w, 27, 20, "CALQUE DVD-ROM");
    w[49] = 0x0F00;
    w[50] = 0x4000;
    w[53] = 0x0006;
    w[64] = 0x0003;
    w[65] = w[66] = w[67] = w[68] = 120;
    w[80] = 0x00F0;
    w[82] = 0x4210; // NOP, DEVICE RESET, PACKET.
    w[83] = 0x4000;
    w[84] = 0x4000;
    w[85] = 0x4210;
    w[87] = 0x4000;
    put_identify_modes(w, s_.transfer_mode);
    make_buffer(512);
    for (unsigned i = 0; i < 256; ++i) {
        buffer()[2 * i] = static_cast<u8>(w[i]);
        buffer()[2 * i + 1] = static_cast<u8>(w[i] >> 8);
    }
    offer(0, 512, true);
}

void AtapiCd::serialize_kind(Archive& archive) {
    archive.field("key", s_.sense.key);
    archive.field("code", s_.sense.code);
    archive.field("qualifier", s_.sense.qualifier);
    archive.field("attention", s_.attention);
    archive.field("attention_code", s_.attention_code);
    archive.field("tray_open", s_.tray_open);
    archive.field("locked", s_.locked);
    archive.field("event", s_.event);
    archive.field("transfer_mode", s_.transfer_mode);
    archive.field("limit", s_.limit);
    archive.field("packet_by_dma", s_.by_dma);
    archive.field("receiving", s_.receiving);
    archive.field("next", s_.next);
    archive.field("left", s_.left);
    archive.field("sent", s_.sent);
    if (!archive.loading() || !archive.ok()) return;
    const bool short_packet = regs_.transfer == Transfer::from_host && regs_.code == PACKET
                              && (regs_.count.now & REASON_CD) && buffer().size() < 12;
    if (s_.event > Event::removal || s_.sent > buffer().size() || s_.next > u64{1} << 32 || short_packet)
        return archive.fail("a command that no guest can have given");
    s_.medium_seen = backend_.medium_changes();
    backend_.lock_medium(s_.locked);
}

} // namespace calque::devices
