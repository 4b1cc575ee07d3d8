// The commands of a disk that do not move its sectors, and the choice among all.
#include "devices/ata/ata_disk.h"

#include <algorithm>
#include <utility>

namespace calque::devices {

using namespace ata;

void AtaDisk::execute(u8 code) {
    s_.way = Way::none;
    s_.durable = code == WRITE_DMA_FUA_EXT || code == WRITE_MULTIPLE_FUA_EXT;
    if (!execute_transfer(code)) execute_other(code);
}

bool AtaDisk::execute_transfer(u8 code) {
    switch (code) {
    case READ_SECTORS:
    case READ_SECTORS_NORETRY: begin(Way::read_pio, false, 1); return true;
    case READ_SECTORS_EXT: begin(Way::read_pio, true, 1); return true;
    case WRITE_SECTORS:
    case WRITE_SECTORS_NORETRY: begin(Way::write_pio, false, 1); return true;
    case WRITE_SECTORS_EXT: begin(Way::write_pio, true, 1); return true;
    case READ_MULTIPLE:
    case READ_MULTIPLE_EXT:
        s_.multiple ? begin(Way::read_pio, code == READ_MULTIPLE_EXT, s_.multiple) : abort();
        return true;
    case WRITE_MULTIPLE:
    case WRITE_MULTIPLE_EXT:
    case WRITE_MULTIPLE_FUA_EXT:
        s_.multiple ? begin(Way::write_pio, code != WRITE_MULTIPLE, s_.multiple) : abort();
        return true;
    case READ_DMA:
    case READ_DMA_NORETRY: begin(Way::read_dma, false, 1); return true;
    case READ_DMA_EXT: begin(Way::read_dma, true, 1); return true;
    case WRITE_DMA:
    case WRITE_DMA_NORETRY: begin(Way::write_dma, false, 1); return true;
    case WRITE_DMA_EXT:
    case WRITE_DMA_FUA_EXT: begin(Way::write_dma, true, 1); return true;
    default: return false;
    }
}

void AtaDisk::execute_other(u8 code) {
    switch (code) {
    case DATA_SET_MANAGEMENT:
        if (regs_.features.now != 1 || !backend_.discards() || backend_.read_only() || regs_.count.now > 8
            || regs_.count.before != 0)
            return abort();
        s_.way = Way::trim;
        return await_dma();
    case READ_VERIFY:
    case READ_VERIFY_NORETRY: return verify(false);
    case READ_VERIFY_EXT: return verify(true);
    case SEEK: {
        regs_.count.now = 1;
        Span span;
        return address(false, span) ? complete() : fail(ERROR_IDNF);
    }
    case INITIALIZE_DEVICE_PARAMETERS: {
        const u8 heads = static_cast<u8>((regs_.device & 0x0F) + 1), in_track = regs_.count.now;
        if (in_track == 0) return abort();
        s_.heads = heads;
        s_.sectors_per_track = in_track;
        s_.cylinders = static_cast<u16>(std::min<u64>(sectors() / (u64{heads} * in_track), 65535));
        return complete();
    }
    case IDENTIFY_DEVICE: return identify();
    case SET_FEATURES: return set_features();
    case SET_MULTIPLE_MODE: {
        const u8 count = regs_.count.now;
        if (count > 16 || (count & (count - 1)) != 0) return abort();
        s_.multiple = count;
        return complete();
    }
    case FLUSH_CACHE:
    case FLUSH_CACHE_EXT: return flush();
    case READ_NATIVE_MAX: return read_native_max(false);
    case READ_NATIVE_MAX_EXT: return read_native_max(true);
    case CHECK_POWER_MODE:
    case 0x98: regs_.count.now = 0xFF; return complete(); // Active.
    case STANDBY_IMMEDIATE:
    case IDLE_IMMEDIATE:
    case STANDBY:
    case IDLE:
    case 0x94: // The same four as ATA-1 had them.
    case 0x95:
    case 0x96:
    case 0x97: return complete();
    case SLEEP:
    case 0x99: return complete(); // A reset wakes it, as any command does here.
    case READ_BUFFER: make_buffer(512); return send(Way::buffer_in);
    case WRITE_BUFFER:
        make_buffer(512);
        s_.way = Way::buffer_out;
        return ask(0, 512, false);
    case SMART: return smart();
    case READ_LOG_EXT: return read_log();
    default:
        if ((code & 0xF0) == 0x10) return complete(); // RECALIBRATE, of ATA-1.
        return abort();
    }
}

void AtaDisk::verify(bool extended) {
    Span span;
    if (address(extended, span)) return complete();
    put_address(std::max(span.first, sectors()), extended);
    fail(ERROR_IDNF);
}

void AtaDisk::flush() {
    BlockRequest request{.kind = BlockRequest::Kind::flush};
    submit(std::move(request), [this](BlockStatus status) {
        if (status == BlockStatus::ok) return complete();
        abort();
    });
}

void AtaDisk::read_native_max(bool extended) {
    regs_.device |= DEVICE_LBA;
    const u64 last = sectors() - 1;
    put_address(extended ? last : std::min<u64>(last, 0x0FFF'FFFF), extended);
    complete();
}

void AtaDisk::set_features() {
    switch (regs_.features.now) {
    case 0x02:
    case 0x82: // Write cache on and off. What it held is written first.
        s_.write_cache = regs_.features.now == 0x02;
        backend_.set_write_cache(s_.write_cache);
        return s_.write_cache ? complete() : flush();
    case 0x03: { // Transfer mode.
        const u8 mode = regs_.count.now;
        const bool pio = mode <= 0x01 || (mode >= 0x08 && mode <= 0x0C);
        const bool dma = (mode >= 0x20 && mode <= 0x22) || (mode >= 0x40 && mode <= 0x45);
        if (!pio && !dma) return abort();
        if (dma) s_.transfer_mode = mode;
        return complete();
    }
    case 0x55: // Look-ahead off and on, defaults kept and restored by a software reset.
    case 0xAA:
    case 0x66:
    case 0xCC: return complete();
    default: return abort();
    }
}

namespace {
void close_with_checksum(std::vector<u8>& page) {
    u8 sum = 0;
    for (std::size_t i = 0; i < 511; ++i)
        sum = static_cast<u8>(sum + page[i]);
    page[511] = static_cast<u8>(-sum);
}
} // namespace

void AtaDisk::smart() {
    constexpr u8 read_data = 0xD0, read_thresholds = 0xD1, autosave = 0xD2, off_line = 0xD4, read_log = 0xD5,
                 enable = 0xD8, disable = 0xD9, return_status = 0xDA;
    if (regs_.lba_mid.now != 0x4F || regs_.lba_high.now != 0xC2) return abort();
    if (!s_.smart && regs_.features.now != enable) return abort();
    switch (regs_.features.now) {
    case enable: s_.smart = true; return complete();
    case disable: s_.smart = false; return complete();
    case return_status: return complete(); // The signature as it is: no threshold exceeded.
    case autosave: return complete();
    case off_line: return complete(); // A self-test that finds nothing.
    case read_data: return smart_data();
    case read_thresholds:
    case read_log:
        make_buffer(512);
        if (regs_.features.now == read_thresholds) buffer()[0] = 1;
        close_with_checksum(buffer());
        return send(Way::buffer_in);
    default: return abort();
    }
}

// No attributes: they are vendors' own. Off-line tests never ran, self-tests passed.
void AtaDisk::smart_data() {
    make_buffer(512);
    buffer()[0] = 1;      // Revision.
    buffer()[368] = 0x03; // SMART is saved before power modes and by itself.
    close_with_checksum(buffer());
    send(Way::buffer_in);
}

void AtaDisk::note_queue_error(u8 tag, u8 status, u8 error, u64 number) {
    s_.queue_error = {true, tag, status, error, number};
    regs_.status = status;
    regs_.error = error;
}

// The general purpose log: its directory, and page 10h with the error of a queued command (ACS, annex A.14).
void AtaDisk::read_log() {
    constexpr u8 directory = 0x00, queue_error_log = 0x10;
    const u8 log = regs_.lba_low.now;
    const u32 page = u32{regs_.lba_mid.before} << 8 | regs_.lba_mid.now,
              count = u32{regs_.count.before} << 8 | regs_.count.now;
    if (!cable_.serial_ata() || (log != directory && log != queue_error_log)) return abort();
    if (page != 0 || count != 1) return abort();
    make_buffer(512);
    if (log == directory) {
        buffer()[0] = 1;                   // The version.
        buffer()[2 * queue_error_log] = 1; // Of one page.
        return send(Way::buffer_in);
    }
    const QueueError last = std::exchange(s_.queue_error, {});
    const auto byte = [&](unsigned n) { return static_cast<u8>(last.sector >> (8 * n)); };
    const std::array<u8, 11> fields{last.valid ? last.tag : u8{0x80},
                                    0,
                                    last.status,
                                    last.error,
                                    byte(0),
                                    byte(1),
                                    byte(2),
                                    0x40,
                                    byte(3),
                                    byte(4),
                                    byte(5)};
    std::copy(fields.begin(), fields.end(), buffer().begin());
    close_with_checksum(buffer());
    send(Way::buffer_in);
}

void AtaDisk::send(Way way) {
    s_.way = way;
    offer(0, buffer().size(), true);
}

void AtaDisk::identify() {
    const auto words = identity();
    make_buffer(512);
    for (unsigned i = 0; i < 256; ++i) {
        buffer()[2 * i] = static_cast<u8>(words[i]);
        buffer()[2 * i + 1] = static_cast<u8>(words[i] >> 8);
    }
    buffer()[510] = 0xA5;
    close_with_checksum(buffer());
    send(Way::identify);
}

} // namespace calque::devices
