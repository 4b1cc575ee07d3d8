#include "devices/ata/ata_disk.h"

#include <algorithm>

namespace calque::devices {

using namespace ata;

namespace {
constexpr u32 sector = BlockBackend::sector;
constexpr u8 default_heads = 16, default_sectors_per_track = 63;
} // namespace

AtaDisk::AtaDisk(Log& log, AtaCable& cable, BlockBackend& backend, std::string name, std::string serial)
    : AtaDrive(log, cable, backend, std::move(name)), serial_(std::move(serial)),
      write_cache_at_reset_(backend.write_cache()) {
    hardware_reset();
}

void AtaDisk::set_signature() {
    regs_.count.now = regs_.lba_low.now = 1;
    regs_.lba_mid.now = regs_.lba_high.now = 0;
    regs_.status = STATUS_DRDY | STATUS_DSC;
}

void AtaDisk::reset_kind(bool hardware) {
    if (hardware) {
        s_ = {};
        s_.write_cache = write_cache_at_reset_;
        backend_.set_write_cache(s_.write_cache);
    }
    s_.way = Way::none;
    s_.queue_error = {};
    s_.heads = default_heads;
    s_.sectors_per_track = default_sectors_per_track;
    s_.cylinders = static_cast<u16>(std::min<u64>(sectors() / (u64{s_.heads} * s_.sectors_per_track), 16383));
}

// --- Addresses

u64 AtaDisk::chs_sector() const {
    const u64 cylinder = u64{regs_.lba_high.now} << 8 | regs_.lba_mid.now;
    const u64 head = regs_.device & 0x0F;
    const u64 in_track = regs_.lba_low.now;
    if (in_track == 0 || in_track > s_.sectors_per_track || head >= s_.heads) return ~u64{0};
    return (cylinder * s_.heads + head) * s_.sectors_per_track + in_track - 1;
}

// False when a sector of the command's is not on the disk.
bool AtaDisk::address(bool extended, Span& span) const {
    const u64 low = u64{regs_.lba_high.now} << 16 | u64{regs_.lba_mid.now} << 8 | regs_.lba_low.now;
    if (extended) {
        const u64 high = u64{regs_.lba_high.before} << 16 | u64{regs_.lba_mid.before} << 8 | u64{regs_.lba_low.before};
        span = {high << 24 | low, u32{regs_.count.before} << 8 | regs_.count.now};
        if (span.count == 0) span.count = 65536;
    } else {
        span = {regs_.device & DEVICE_LBA ? u64{regs_.device & 0x0Fu} << 24 | low : chs_sector(), regs_.count.now};
        if (span.count == 0) span.count = 256;
    }
    return span.first < sectors() && span.count <= sectors() - span.first;
}

// The registers name a sector: the first that failed.
void AtaDisk::put_address(u64 number, bool extended) {
    const auto byte = [&](unsigned n) { return static_cast<u8>(number >> (8 * n)); };
    if (extended) {
        regs_.lba_low = {byte(0), byte(3)};
        regs_.lba_mid = {byte(1), byte(4)};
        regs_.lba_high = {byte(2), byte(5)};
    } else if (regs_.device & DEVICE_LBA) {
        regs_.lba_low.now = byte(0);
        regs_.lba_mid.now = byte(1);
        regs_.lba_high.now = byte(2);
        regs_.device = static_cast<u8>((regs_.device & 0xF0) | (byte(3) & 0x0F));
    } else {
        const u64 track = number / s_.sectors_per_track, cylinder = track / s_.heads;
        regs_.lba_low.now = static_cast<u8>(number % s_.sectors_per_track + 1);
        regs_.lba_mid.now = static_cast<u8>(cylinder);
        regs_.lba_high.now = static_cast<u8>(cylinder >> 8);
        regs_.device = static_cast<u8>((regs_.device & 0xF0) | (track % s_.heads));
    }
}

void AtaDisk::failed(BlockStatus status) {
    put_address(s_.next, s_.extended);
    switch (status) {
    case BlockStatus::out_of_range: return fail(ERROR_IDNF);
    case BlockStatus::read_only:
    case BlockStatus::no_medium: return fail(ERROR_ABRT);
    default: return fail(s_.way == Way::read_pio || s_.way == Way::read_dma ? ERROR_UNC : ERROR_ABRT);
    }
}

// --- Reading and writing

// `block`: sectors per DRQ block.
void AtaDisk::begin(Way way, bool extended, u32 block) {
    Span span;
    const bool there = address(extended, span);
    s_.way = way;
    s_.extended = extended;
    s_.next = span.first;
    s_.left = span.count;
    s_.block = block;
    s_.filled = 0;
    if (!there) {
        put_address(std::max(span.first, sectors()), extended);
        return fail(ERROR_IDNF);
    }
    switch (way) {
    case Way::read_pio: return fetch();
    case Way::write_pio:
        if (backend_.read_only()) return abort();
        make_buffer(buffer_limit);
        return ask_block(false);
    case Way::write_dma:
        if (backend_.read_only()) return abort();
        [[fallthrough]];
    default: return await_dma();
    }
}

// The next part of a read through the data port.
void AtaDisk::fetch() {
    const u32 count = std::min<u32>(s_.left, buffer_limit / sector);
    make_buffer(std::size_t{count} * sector);
    BlockRequest request{.kind = BlockRequest::Kind::read, .offset = s_.next * sector, .buffers = {buffer()}};
    submit(std::move(request), [this, count](BlockStatus status) {
        if (status != BlockStatus::ok) return failed(status);
        s_.left -= count;
        s_.filled = 0;
        offer_block(true);
    });
}

void AtaDisk::offer_block(bool interrupt) {
    const std::size_t length = std::min<std::size_t>(std::size_t{s_.block} * sector, buffer().size() - s_.filled);
    offer(s_.filled, length, interrupt);
}

void AtaDisk::ask_block(bool interrupt) {
    const std::size_t wanted =
        std::min<std::size_t>(u64{std::min(s_.block, s_.left)} * sector, buffer_limit - s_.filled);
    ask(s_.filled, wanted, interrupt);
}

void AtaDisk::block_read() {
    if (s_.way != Way::read_pio) return complete_quietly();
    s_.filled = regs_.end;
    if (s_.filled < buffer().size()) return offer_block(true);
    s_.next += buffer().size() / sector;
    if (s_.left != 0) return fetch();
    complete_quietly(); // The interrupt was that of the last block.
}

void AtaDisk::block_written() {
    if (s_.way == Way::buffer_out) return complete();
    if (s_.way != Way::write_pio) return abort();
    s_.left -= std::min<u32>(s_.left, (regs_.end - s_.filled) / sector);
    s_.filled = regs_.end;
    if (s_.left != 0 && s_.filled < buffer_limit) return ask_block(true);
    store(s_.filled);
}

// The first bytes of the buffer go to the disk; then the command goes on.
void AtaDisk::store(std::size_t bytes) {
    BlockRequest request{.kind = BlockRequest::Kind::write,
                         .offset = s_.next * sector,
                         .buffers = {part(0, bytes)},
                         .force_unit_access = s_.durable};
    submit(std::move(request), [this, bytes](BlockStatus status) {
        if (status != BlockStatus::ok) return failed(status);
        s_.next += bytes / sector;
        s_.filled = 0;
        if (s_.left == 0) return complete();
        if (s_.way == Way::write_dma) return await_dma();
        make_buffer(buffer_limit);
        ask_block(true);
    });
}

void AtaDisk::dma_step() {
    switch (s_.way) {
    case Way::read_dma: return step_read_dma();
    case Way::write_dma: return step_write_dma();
    case Way::trim: return step_trim();
    default: return abort();
    }
}

void AtaDisk::step_read_dma() {
    const u32 count = std::min<u32>(s_.left, buffer_limit / sector);
    make_buffer(std::size_t{count} * sector);
    BlockRequest request{.kind = BlockRequest::Kind::read, .offset = s_.next * sector, .buffers = {buffer()}};
    submit(std::move(request), [this, count](BlockStatus status) {
        if (status != BlockStatus::ok) return failed(status);
        if (!move_by_dma(0, std::size_t{count} * sector, true)) return;
        s_.next += count;
        s_.left -= count;
        if (s_.left == 0) return complete();
        await_dma();
    });
}

void AtaDisk::step_write_dma() {
    const u32 count = std::min<u32>(s_.left, buffer_limit / sector);
    make_buffer(std::size_t{count} * sector);
    if (!move_by_dma(0, std::size_t{count} * sector, false)) return;
    s_.left -= count;
    store(std::size_t{count} * sector);
}

// DATA SET MANAGEMENT with TRIM: 8-byte entries, a sector in 48 bits and a count in 16; count 0 is none.
void AtaDisk::step_trim() {
    const std::size_t blocks = std::max<std::size_t>(1, std::min<std::size_t>(regs_.count.now, 8));
    make_buffer(blocks * sector);
    if (!move_by_dma(0, buffer().size(), false)) return;
    s_.filled = 0;
    trim_next();
}

void AtaDisk::trim_next() {
    while (s_.filled < buffer().size()) {
        u64 entry = 0;
        for (unsigned i = 0; i < 8; ++i)
            entry |= u64{buffer()[s_.filled + i]} << (8 * i);
        s_.filled += 8;
        const u64 first = entry & 0xFFFF'FFFF'FFFF, count = entry >> 48;
        if (count == 0) continue;
        if (first >= sectors() || count > sectors() - first) return fail(ERROR_ABRT | ERROR_IDNF);
        BlockRequest request{.kind = BlockRequest::Kind::discard, .offset = first * sector, .length = count * sector};
        return submit(std::move(request), [this](BlockStatus status) {
            if (status != BlockStatus::ok) return abort();
            trim_next();
        });
    }
    complete();
}

void AtaDisk::serialize_kind(Archive& archive) {
    archive.field("way", s_.way);
    archive.field("extended", s_.extended);
    archive.field("durable", s_.durable);
    archive.field("next", s_.next);
    archive.field("left", s_.left);
    archive.field("block", s_.block);
    archive.field("filled", s_.filled);
    archive.field("multiple", s_.multiple);
    archive.field("cylinders", s_.cylinders);
    archive.field("heads", s_.heads);
    archive.field("sectors_per_track", s_.sectors_per_track);
    archive.field("transfer_mode", s_.transfer_mode);
    archive.field("smart", s_.smart);
    archive.field("write_cache", s_.write_cache);
    if (cable_.serial_ata()) {
        archive.field("queue_error", s_.queue_error.valid);
        archive.field("queue_tag", s_.queue_error.tag);
        archive.field("queue_status", s_.queue_error.status);
        archive.field("queue_code", s_.queue_error.error);
        archive.field("queue_sector", s_.queue_error.sector);
    }
    if (!archive.loading() || !archive.ok()) return;
    const bool pio = s_.way == Way::read_pio || s_.way == Way::write_pio;
    if (s_.way > Way::buffer_out || s_.left > 65536 || s_.block == 0 || s_.block > 65536 || s_.heads == 0
        || s_.sectors_per_track == 0 || s_.filled > buffer_limit || s_.filled % 8 != 0
        || (pio && regs_.transfer != Transfer::none
            && (s_.filled > regs_.at || s_.filled % sector != 0 || regs_.end % sector != 0
                || (s_.way == Way::write_pio && buffer().size() != buffer_limit))))
        return archive.fail("a command that no guest can have given");
    backend_.set_write_cache(s_.write_cache);
}

} // namespace calque::devices
