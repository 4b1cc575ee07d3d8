#include "devices/scsi/scsi_disk.h"

#include "base/byte_order.h"

#include <algorithm>

namespace calque::devices {

using namespace scsi;

namespace {

enum Code : u8 {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    READ_6 = 0x08,
    WRITE_6 = 0x0A,
    INQUIRY = 0x12,
    MODE_SELECT_6 = 0x15,
    MODE_SENSE_6 = 0x1A,
    START_STOP_UNIT = 0x1B,
    SEND_DIAGNOSTIC = 0x1D,
    PREVENT_REMOVAL = 0x1E,
    READ_CAPACITY_10 = 0x25,
    READ_10 = 0x28,
    WRITE_10 = 0x2A,
    SEEK_10 = 0x2B,
    WRITE_AND_VERIFY_10 = 0x2E,
    VERIFY_10 = 0x2F,
    SYNCHRONIZE_CACHE_10 = 0x35,
    WRITE_SAME_10 = 0x41,
    UNMAP = 0x42,
    MODE_SELECT_10 = 0x55,
    MODE_SENSE_10 = 0x5A,
    READ_16 = 0x88,
    WRITE_16 = 0x8A,
    WRITE_AND_VERIFY_16 = 0x8E,
    VERIFY_16 = 0x8F,
    SYNCHRONIZE_CACHE_16 = 0x91,
    WRITE_SAME_16 = 0x93,
    SERVICE_ACTION_IN_16 = 0x9E,
    READ_12 = 0xA8,
    WRITE_12 = 0xAA,
    WRITE_AND_VERIFY_12 = 0xAE,
    VERIFY_12 = 0xAF,
};
constexpr u32 most_ranges = 256;     // Of an UNMAP.
constexpr u64 most_blocks = 1 << 22; // Of one of its ranges, or of a WRITE SAME: 2 GiB.

} // namespace

ScsiDisk::ScsiDisk(BlockBackend& backend, std::string serial)
    : backend_(backend), serial_(std::move(serial)), write_cache_at_reset_(backend.write_cache()) {
    reset();
}

void ScsiDisk::reset() {
    s_ = {};
    s_.write_cache = write_cache_at_reset_;
    backend_.set_write_cache(s_.write_cache);
}

std::string ScsiDisk::serial() const { return backend_.serial().empty() ? serial_ : backend_.serial(); }

// Of a fixed disk only the size changes.
void ScsiDisk::medium_event(bool) {
    s_.attention = true;
    s_.attention_code = capacity_changed.code;
    s_.attention_qualifier = capacity_changed.qualifier;
}

// The four sizes of commands keep their address and count in different places; the group code tells them apart.
ScsiDisk::Extent ScsiDisk::extent_of(Cdb cdb) {
    switch (cdb[0] >> 5) {
    case 0: return {u64{cdb[1] & 0x1Fu} << 16 | big16(cdb, 2), cdb[4] ? cdb[4] : 256u};
    case 4: return {load_big(cdb, 2, 8), big32(cdb, 10)};
    case 5: return {big32(cdb, 2), big32(cdb, 6)};
    default: return {big32(cdb, 2), big16(cdb, 7)};
    }
}

Step ScsiDisk::execute(Cdb cdb) {
    const bool always = cdb[0] == INQUIRY || cdb[0] == REQUEST_SENSE;
    if (s_.attention && !always) {
        s_.attention = false;
        return Step::check({6, s_.attention_code, s_.attention_qualifier});
    }
    switch (cdb[0]) {
    case TEST_UNIT_READY:
    case READ_6:
    case WRITE_6:
    case READ_10:
    case WRITE_10:
    case READ_16:
    case WRITE_16:
        if (s_.stopped) return Step::check({2, 0x04, 0x02}); // Not ready: START UNIT is required.
        break;
    default: break;
    }
    switch (cdb[0]) {
    case TEST_UNIT_READY:
    case SEND_DIAGNOSTIC:
    case PREVENT_REMOVAL: return Step::good();
    case REQUEST_SENSE: {
        const Sense sense = s_.attention ? Sense{6, s_.attention_code, s_.attention_qualifier} : Sense{};
        s_.attention = false;
        return Step::data(fixed_sense(sense), cdb[4]);
    }
    case READ_6:
    case READ_10:
    case READ_12:
    case READ_16: return access(cdb, false);
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16:
    case WRITE_AND_VERIFY_10:
    case WRITE_AND_VERIFY_12:
    case WRITE_AND_VERIFY_16: return access(cdb, true);
    case VERIFY_10:
    case VERIFY_12:
    case VERIFY_16: return verify(cdb);
    case INQUIRY: return inquiry(cdb);
    case MODE_SELECT_6: return Step::receive(cdb[4]);
    case MODE_SELECT_10: return Step::receive(big16(cdb, 7));
    case MODE_SENSE_6:
    case MODE_SENSE_10: return mode_sense(cdb);
    case START_STOP_UNIT: return start_stop(cdb);
    case READ_CAPACITY_10: return read_capacity_10();
    case SEEK_10: return holds({big32(cdb, 2), 1}) ? Step::good() : Step::check(out_of_range);
    case SYNCHRONIZE_CACHE_10:
    case SYNCHRONIZE_CACHE_16:
        return holds(extent_of(cdb)) ? Step{.kind = Step::Kind::flush} : Step::check(out_of_range);
    case WRITE_SAME_10:
    case WRITE_SAME_16: return write_same(cdb);
    case UNMAP:
        if (backend_.read_only()) return Step::check(write_protected);
        if (cdb[1] & 1) return Step::check(invalid_field); // Anchored.
        return Step::receive(big16(cdb, 7));
    case SERVICE_ACTION_IN_16:
        if ((cdb[1] & 0x1F) == 0x10) return read_capacity_16(cdb);
        return Step::check(invalid_field);
    default: return Step::check(invalid_operation);
    }
}

Step ScsiDisk::received(Cdb cdb, std::span<const u8> parameters) {
    switch (cdb[0]) {
    case UNMAP: return unmap_ranges(parameters);
    case WRITE_SAME_10:
    case WRITE_SAME_16: {
        const Extent extent = extent_of(cdb);
        Step step{.kind = Step::Kind::fill, .ranges = {{extent.first, extent.count}}};
        if (std::all_of(parameters.begin(), parameters.end(), [](u8 byte) { return byte == 0; })) {
            step.kind = Step::Kind::zero;
            step.may_unmap = cdb[1] & 8;
        } else {
            step.bytes.assign(parameters.begin(), parameters.end());
        }
        return step;
    }
    default: return mode_selected(cdb, parameters);
    }
}

// --- The medium

Step ScsiDisk::access(Cdb cdb, bool writing) {
    const bool short_form = cdb[0] >> 5 == 0;
    if (!short_form && (cdb[1] & 0xE0)) return Step::check(invalid_field); // Protection information.
    const Extent extent = extent_of(cdb);
    if (!holds(extent)) return Step::check(out_of_range);
    if (writing && backend_.read_only()) return Step::check(write_protected);
    if (extent.count == 0) return Step::good();
    const bool verified =
        cdb[0] == WRITE_AND_VERIFY_10 || cdb[0] == WRITE_AND_VERIFY_12 || cdb[0] == WRITE_AND_VERIFY_16;
    return {.kind = writing ? Step::Kind::write : Step::Kind::read,
            .first = extent.first,
            .count = extent.count,
            .force_unit_access = verified || (!short_form && (cdb[1] & 8))};
}

// Without a comparison there is nothing that could go wrong.
Step ScsiDisk::verify(Cdb cdb) {
    if (cdb[1] & 0x06) return Step::check(invalid_field); // BYTCHK.
    return holds(extent_of(cdb)) ? Step::good() : Step::check(out_of_range);
}

Step ScsiDisk::write_same(Cdb cdb) {
    if ((cdb[1] & 0xF0) || backend_.read_only())
        return Step::check(cdb[1] & 0xF0 ? invalid_field : write_protected); // Protection, anchored.
    const Extent extent = extent_of(cdb);
    if (extent.count == 0 || extent.count > most_blocks) return Step::check(invalid_field);
    if (!holds(extent)) return Step::check(out_of_range);
    if (cdb[0] == WRITE_SAME_16 && (cdb[1] & 1)) // No data-out buffer: zeros.
        return {.kind = Step::Kind::zero, .ranges = {{extent.first, extent.count}}, .may_unmap = (cdb[1] & 8) != 0};
    return Step::receive(block);
}

// SBC-3, 5.28: a header of 8 bytes, then 16 for each range.
Step ScsiDisk::unmap_ranges(std::span<const u8> parameters) {
    if (parameters.size() < 8) return Step::check(parameter_list_length);
    const std::size_t length = std::min<std::size_t>(big16(parameters, 2), parameters.size() - 8);
    if (length / 16 > most_ranges) return Step::check(bad_parameter_list);
    Step step{.kind = Step::Kind::discard};
    for (std::size_t at = 8; at + 16 <= 8 + length; at += 16) {
        const Extent extent{load_big(parameters, at, 8), big32(parameters, at + 8)};
        if (!holds(extent)) return Step::check(out_of_range);
        if (extent.count > most_blocks) return Step::check(bad_parameter_list);
        if (extent.count) step.ranges.push_back({extent.first, extent.count});
    }
    return backend_.discards() && !step.ranges.empty() ? step : Step::good();
}

Step ScsiDisk::start_stop(Cdb cdb) {
    if (cdb[4] & 0xF0) return Step::good();            // Power conditions.
    if (cdb[4] & 2) return Step::check(invalid_field); // Nothing to load or eject.
    s_.stopped = !(cdb[4] & 1);
    return s_.stopped ? Step{.kind = Step::Kind::flush} : Step::good();
}

Step ScsiDisk::read_capacity_10() {
    std::vector<u8> bytes(8);
    store_big(bytes, 0, std::min<u64>(blocks() ? blocks() - 1 : 0, 0xFFFF'FFFF), 4);
    store_big(bytes, 4, block, 4);
    return Step::data(std::move(bytes), 8);
}

Step ScsiDisk::read_capacity_16(Cdb cdb) {
    std::vector<u8> bytes(32);
    store_big(bytes, 0, blocks() ? blocks() - 1 : 0, 8);
    store_big(bytes, 8, block, 4);
    if (backend_.discards()) bytes[14] = 0x80; // Logical block provisioning.
    return Step::data(std::move(bytes), big32(cdb, 10));
}

// --- What it is

Step ScsiDisk::inquiry(Cdb cdb) {
    if (cdb[1] & 1) {
        std::vector<u8> body = product_data(cdb[2]);
        if (body.empty()) return Step::check(invalid_field);
        std::vector<u8> bytes(4 + body.size());
        bytes[1] = cdb[2];
        store_big(bytes, 2, body.size(), 2);
        std::copy(body.begin(), body.end(), bytes.begin() + 4);
        return Step::data(std::move(bytes), big16(cdb, 3));
    }
    if (cdb[2] != 0) return Step::check(invalid_field);
    std::vector<u8> bytes(36, ' ');
    bytes[0] = bytes[1] = 0;
    bytes[2] = 0x05; // SPC-3.
    bytes[3] = 0x12; // Hierarchical LUNs, response format 2.
    bytes[4] = 31;
    bytes[5] = bytes[6] = 0;
    bytes[7] = 0x02; // Commands are queued.
    std::copy_n("CALQUE", 6, bytes.begin() + 8);
    std::copy_n("HARDDISK", 8, bytes.begin() + 16);
    std::copy_n("1.0", 3, bytes.begin() + 32);
    return Step::data(std::move(bytes), big16(cdb, 3));
}

// SPC-4, 7.8 and SBC-3, 6.5: what follows a page's header. Empty: no such page.
std::vector<u8> ScsiDisk::product_data(u8 page) const {
    const std::string text = serial();
    std::vector<u8> b;
    switch (page) {
    case 0x00: return {0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2};
    case 0x80: b.assign(text.begin(), text.end()); return b.empty() ? std::vector<u8>(4, ' ') : b;
    case 0x83: { // One designator: vendor and serial number, in ASCII.
        const std::string name = "CALQUE  " + text.substr(0, 200);
        b.resize(4 + name.size());
        b[0] = 0x02;
        b[1] = 0x01;
        b[3] = static_cast<u8>(name.size());
        std::copy(name.begin(), name.end(), b.begin() + 4);
        return b;
    }
    case 0xB0: // Block limits.
        b.resize(60);
        b[0] = 1; // WRITE SAME has a count.
        if (backend_.discards()) {
            store_big(b, 16, most_blocks, 4);
            store_big(b, 20, most_ranges, 4);
        }
        store_big(b, 32, most_blocks, 8);
        return b;
    case 0xB1: // Characteristics: nothing rotates.
        b.resize(60);
        b[1] = 1;
        return b;
    case 0xB2: // Provisioning: UNMAP, WRITE SAME (16) and (10).
        b.resize(4);
        if (backend_.discards()) {
            b[1] = 0xE0;
            b[2] = 0x02; // Thin.
        }
        return b;
    default: return b;
    }
}

std::vector<u8> ScsiDisk::mode_page(u8 page, bool changeable) const {
    std::vector<u8> b;
    switch (page) {
    case 0x01: // Read-write error recovery.
        b.assign(12, 0);
        b[0] = 0x01;
        b[1] = 0x0A;
        if (!changeable) b[2] = 0x80; // Writes are reallocated.
        return b;
    case 0x08: // Caching; WCE can be changed.
        b.assign(20, 0);
        b[0] = 0x08;
        b[1] = 0x12;
        if (changeable || s_.write_cache) b[2] = 0x04;
        return b;
    case 0x0A: // Control.
        b.assign(12, 0);
        b[0] = 0x0A;
        b[1] = 0x0A;
        if (!changeable) b[3] = 0x10; // Commands may be reordered.
        return b;
    default: return b;
    }
}

Step ScsiDisk::mode_sense(Cdb cdb) {
    const bool long_form = cdb[0] == MODE_SENSE_10;
    const u8 page = cdb[2] & 0x3F, which = cdb[2] >> 6;
    if (which == 3) return Step::check(saving_not_supported);
    std::vector<u8> bytes(long_form ? 8 : 4);
    for (const u8 each : {u8{0x01}, u8{0x08}, u8{0x0A}})
        if (page == 0x3F || page == each) {
            const auto more = mode_page(each, which == 1);
            bytes.insert(bytes.end(), more.begin(), more.end());
        }
    if (page != 0x3F && bytes.size() <= 8) return Step::check(invalid_field);
    const u8 parameter = static_cast<u8>(0x10 | (backend_.read_only() ? 0x80 : 0)); // FUA; write protection.
    if (long_form) {
        store_big(bytes, 0, bytes.size() - 2, 2);
        bytes[3] = parameter;
        return Step::data(std::move(bytes), big16(cdb, 7));
    }
    bytes[0] = static_cast<u8>(bytes.size() - 1);
    bytes[2] = parameter;
    return Step::data(std::move(bytes), cdb[4]);
}

// Of the pages only the caching page's WCE can be changed.
Step ScsiDisk::mode_selected(Cdb cdb, std::span<const u8> parameters) {
    const bool long_form = cdb[0] == MODE_SELECT_10;
    const std::size_t header = long_form ? 8 : 4;
    if (parameters.size() < header) return Step::check(parameter_list_length);
    std::size_t at = header + (long_form ? big16(parameters, 6) : parameters[3]);
    bool flush = false;
    while (at + 2 <= parameters.size()) {
        const u8 page = parameters[at] & 0x3F;
        const std::size_t length = parameters[at + 1] + std::size_t{2};
        const auto known = mode_page(page, false);
        if (known.size() != length || at + length > parameters.size()) return Step::check(bad_parameter_list);
        if (page == 0x08) {
            s_.write_cache = parameters[at + 2] & 4;
            backend_.set_write_cache(s_.write_cache);
            flush = !s_.write_cache;
        }
        at += length;
    }
    return flush ? Step{.kind = Step::Kind::flush} : Step::good();
}

void ScsiDisk::serialize(Archive& archive) {
    archive.field("attention", s_.attention);
    archive.field("attention_code", s_.attention_code);
    archive.field("attention_qualifier", s_.attention_qualifier);
    archive.field("stopped", s_.stopped);
    archive.field("write_cache", s_.write_cache);
    if (archive.loading() && archive.ok()) backend_.set_write_cache(s_.write_cache);
}

} // namespace calque::devices
