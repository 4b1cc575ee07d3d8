#include "devices/scsi/mmc_drive.h"

namespace calque::devices {

using namespace scsi;

MmcDrive::MmcDrive(BlockBackend& backend, bool atapi, std::string serial)
    : backend_(backend), atapi_(atapi), serial_(std::move(serial)) {
    reset();
}

void MmcDrive::reset() {
    const bool tray_open = s_.tray_open;
    s_ = {};
    s_.tray_open = tray_open; // A reset moves no tray.
    s_.medium_seen = backend_.medium_changes();
    backend_.lock_medium(false);
}

void MmcDrive::notice_medium() {
    const u32 changes = backend_.medium_changes();
    if (changes == s_.medium_seen) return;
    s_.medium_seen = changes;
    s_.tray_open = false;
    s_.locked = false;
    s_.event = backend_.has_medium() ? Event::new_medium : Event::removal;
    if (backend_.has_medium()) {
        s_.attention = true;
        s_.attention_code = medium_changed.code; // Not ready to ready: the medium may have changed.
    }
}

void MmcDrive::medium_event(bool wanted) {
    if (wanted) s_.event = Event::eject_request;
    notice_medium();
}

Step MmcDrive::execute(Cdb cdb) {
    notice_medium();
    const Row* row = rows;
    while (row->run && row->code != cdb[0])
        ++row;
    if (!row->run) return Step::check(invalid_operation);
    if (s_.attention && !row->always) {
        s_.attention = false;
        return Step::check({6, s_.attention_code, 0});
    }
    if (row->medium && !ready()) return Step::check({2, 0x3A, static_cast<u8>(s_.tray_open ? 2 : 1)}); // No medium.
    if (cdb[0] != 0x03) s_.sense = {};
    return (this->*row->run)(cdb);
}

Step MmcDrive::received(Cdb, std::span<const u8>) { return Step::good(); }

Step MmcDrive::read_blocks(u64 first, u32 count) const {
    if (first > blocks() || count > blocks() - first) return Step::check(out_of_range);
    if (count == 0) return Step::good();
    return {.kind = Step::Kind::read, .first = first, .count = count};
}

void MmcDrive::serialize(Archive& archive) {
    archive.field("key", s_.sense.key);
    archive.field("code", s_.sense.code);
    archive.field("qualifier", s_.sense.qualifier);
    archive.field("attention", s_.attention);
    archive.field("attention_code", s_.attention_code);
    archive.field("tray_open", s_.tray_open);
    archive.field("locked", s_.locked);
    archive.field("event", s_.event);
    if (!archive.loading() || !archive.ok()) return;
    if (s_.event > Event::removal) return archive.fail("an event that there is not");
    s_.medium_seen = backend_.medium_changes();
    backend_.lock_medium(s_.locked);
}

} // namespace calque::devices
