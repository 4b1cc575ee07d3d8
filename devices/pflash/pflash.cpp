#include "devices/pflash/pflash.h"

#include "base/bits.h"

#include <algorithm>
#include <bit>

namespace calque::devices {

namespace {

// 28F128J3A datasheet, table 4: commands.
constexpr u8 READ_ARRAY = 0xFF, READ_IDENTIFIER = 0x90, READ_QUERY = 0x98, READ_STATUS = 0x70, CLEAR_STATUS = 0x50,
             WRITE_TO_BUFFER = 0xE8, PROGRAM = 0x40, PROGRAM_TOO = 0x10, BLOCK_ERASE = 0x20, CONFIRM = 0xD0,
             SUSPEND = 0xB0, LOCK_SETUP = 0x60;
constexpr u8 STATUS_READY = 1 << 7, STATUS_ERASE_ERROR = 1 << 5, STATUS_PROGRAM_ERROR = 1 << 4;
constexpr u8 INTEL = 0x89, DEVICE = 0x18;
constexpr u32 never_direct = ~u32{0};

} // namespace

Pflash::Pflash(Log& log, std::vector<u8> contents, BlockBackend* backend, std::function<void()> memory_changed,
               std::string name)
    : log_(log), data_(std::move(contents)), backend_(backend), memory_changed_(std::move(memory_changed)),
      name_(std::move(name)), read_only_(backend && backend->read_only()) {
    data_.resize(align_up(data_.size(), block), 0xFF);
    dirty_.resize(data_.size() / block);
    reads_.resize((data_.size() + stretch - 1) / stretch, read_only_ ? hot : 0);
}

Pflash::~Pflash() = default;

std::vector<DirectMemory> Pflash::direct_memory() const {
    std::lock_guard lock(mutex_);
    std::vector<DirectMemory> ranges;
    for (u64 i = 0; i < reads_.size(); ++i) {
        if (reads_[i] != hot) continue;
        const u64 offset = i * stretch, length = std::min(stretch, data_.size() - offset);
        if (!ranges.empty() && ranges.back().offset + ranges.back().length == offset)
            ranges.back().length += length;
        else
            ranges.push_back({offset, length, const_cast<u8*>(data_.data()) + offset, false});
    }
    return ranges;
}

bool Pflash::count_read(u64 offset) {
    u32& reads = reads_[offset / stretch];
    return reads < hot && state_.mode == Mode::array && ++reads == hot;
}

bool Pflash::commanded(u64 offset) {
    u32& reads = reads_[offset / stretch];
    const bool changed = reads == hot;
    reads = never_direct;
    return changed;
}

// JESD68: the query table. What the chip does takes no time here; the timeouts are the datasheet's.
u8 Pflash::query(u64 offset) const {
    const u64 blocks = data_.size() / block;
    const auto log2 = [](u64 value) { return static_cast<u8>(std::bit_width(value - 1)); };
    switch (offset) {
    case 0x10: return 'Q';
    case 0x11: return 'R';
    case 0x12: return 'Y';
    case 0x13: return 0x01; // Intel's extended command set,
    case 0x15: return 0x31; // whose table is here.
    case 0x1B: return 0x45; // Volts.
    case 0x1C: return 0x55;
    case 0x1F: return 0x07; // Timeouts, as powers of two: a byte, a buffer (us), a block (ms).
    case 0x20: return 0x07;
    case 0x21: return 0x0A;
    case 0x23:
    case 0x24:
    case 0x25: return 0x04;
    case 0x27: return log2(data_.size());
    case 0x2A: return log2(buffer_size);
    case 0x2C: return 1; // One region of equal blocks.
    case 0x2D: return static_cast<u8>(blocks - 1);
    case 0x2E: return static_cast<u8>((blocks - 1) >> 8);
    case 0x2F: return static_cast<u8>(block / 256);
    case 0x30: return static_cast<u8>(block / 256 >> 8);
    case 0x31: return 'P';
    case 0x32: return 'R';
    case 0x33: return 'I';
    case 0x34: return '1';
    case 0x35: return '0';
    default: return 0;
    }
}

u8 Pflash::read_byte(u64 offset) const {
    switch (state_.mode) {
    case Mode::array: return data_[offset];
    case Mode::status: return state_.status;
    case Mode::identifier: return (offset & 0xFF) == 0 ? INTEL : (offset & 0xFF) == 1 ? DEVICE : 0;
    case Mode::query: return query(offset & 0xFF);
    }
    return 0xFF;
}

u64 Pflash::read(u64 offset, unsigned size) {
    u64 value = 0;
    bool changed = false;
    {
        std::lock_guard lock(mutex_);
        for (unsigned i = 0; i < size && offset + i < data_.size(); ++i)
            value |= u64{read_byte(offset + i)} << (8 * i);
        changed = count_read(offset);
    }
    if (changed && memory_changed_) memory_changed_();
    return value;
}

void Pflash::write(u64 offset, u64 value, unsigned size) {
    if (read_only_) return;
    bool changed = false;
    {
        std::lock_guard lock(mutex_);
        changed = commanded(offset);
        for (unsigned i = 0; i < size && offset + i < data_.size(); ++i)
            write_byte(offset + i, static_cast<u8>(value >> (8 * i)));
    }
    if (changed && memory_changed_) memory_changed_();
}

void Pflash::write_byte(u64 offset, u8 value) {
    const Setup setup = state_.setup;
    state_.setup = Setup::none;
    switch (setup) {
    case Setup::none: return command(offset, value);
    case Setup::program: return program(offset, {&value, 1});
    case Setup::erase:
        if (value == CONFIRM) return erase(offset);
        state_.status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR; // A sequence that there is not.
        return;
    case Setup::lock: state_.status |= STATUS_READY; return; // Block lock bits: taken, and without effect.
    case Setup::buffer_count:
        state_.buffer_length = state_.buffer_left = static_cast<u16>(value + 1);
        state_.setup = Setup::buffer_data;
        return;
    case Setup::buffer_data: return fill_buffer(offset, value);
    case Setup::buffer_confirm:
        if (value == CONFIRM) return program(state_.buffer_start, std::span(state_.buffer).first(state_.buffer_length));
        state_.status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR;
        return;
    }
}

// The first address is the buffer's; the others lie within its length.
void Pflash::fill_buffer(u64 offset, u8 value) {
    if (state_.buffer_left == state_.buffer_length) {
        state_.buffer_start = offset;
        state_.buffer.fill(0xFF);
    }
    if (const u64 at = offset - state_.buffer_start; at < state_.buffer_length) state_.buffer[at] = value;
    state_.setup = --state_.buffer_left == 0 ? Setup::buffer_confirm : Setup::buffer_data;
}

void Pflash::command(u64 offset, u8 value) {
    log_.trace(Channel::disk, "{} command {:02x} at {:#x}", name_, value, offset);
    switch (value) {
    case READ_ARRAY: state_.mode = Mode::array; return;
    case READ_IDENTIFIER: state_.mode = Mode::identifier; return;
    case READ_QUERY: state_.mode = Mode::query; return;
    case READ_STATUS: state_.mode = Mode::status; return;
    // The chip's own Clear Status leaves "ready" alone. OVMF tells a flash from RAM and ROM by a status of zero.
    case CLEAR_STATUS: state_.status = 0; return;
    case SUSPEND:
    case CONFIRM: return; // Nothing is ever under way to suspend or resume.
    case PROGRAM:
    case PROGRAM_TOO: state_.setup = Setup::program; break;
    case WRITE_TO_BUFFER:
        state_.setup = Setup::buffer_count;
        state_.status |= STATUS_READY;
        break;
    case BLOCK_ERASE: state_.setup = Setup::erase; break;
    case LOCK_SETUP: state_.setup = Setup::lock; break;
    default: state_.mode = Mode::array; return;
    }
    state_.mode = Mode::status;
}

// Programming makes ones to zeros, never back.
void Pflash::program(u64 offset, std::span<const u8> bytes) {
    state_.status |= STATUS_READY;
    const u64 length = std::min<u64>(bytes.size(), data_.size() - offset);
    for (u64 i = 0; i < length; ++i)
        data_[offset + i] &= bytes[i];
    set_dirty(offset, length);
}

void Pflash::erase(u64 offset) {
    state_.status |= STATUS_READY;
    const u64 start = offset & ~(block - 1);
    std::fill_n(data_.begin() + static_cast<std::ptrdiff_t>(start), block, u8{0xFF});
    set_dirty(start, block);
}

void Pflash::set_dirty(u64 offset, u64 length) {
    if (!backend_ || read_only_ || length == 0) return;
    std::lock_guard lock(backend_mutex_);
    for (u64 i = offset / block; i <= (offset + length - 1) / block; ++i) {
        dirty_count_ += !dirty_[i];
        dirty_[i] = true;
    }
    if (!writing_) write_back();
}

void Pflash::write_back() {
    writing_ = dirty_count_ != 0;
    if (!writing_) return;
    const auto next = std::find(dirty_.begin(), dirty_.end(), true);
    const u64 offset = static_cast<u64>(next - dirty_.begin()) * block;
    *next = false;
    --dirty_count_;
    // What is programmed meanwhile makes the block dirty again.
    const auto begin = data_.begin() + static_cast<std::ptrdiff_t>(offset);
    const u64 end = std::min(offset + block, backend_->size());
    under_way_.assign(begin, begin + static_cast<std::ptrdiff_t>(end > offset ? end - offset : 0));
    BlockRequest request;
    request.kind = BlockRequest::Kind::write;
    request.offset = offset;
    request.buffers = {under_way_};
    request.force_unit_access = true;
    request.done = [this](BlockStatus status) {
        if (status != BlockStatus::ok) log_.trace(Channel::disk, "{}: what was written could not be kept", name_);
        std::lock_guard outer(mutex_), lock(backend_mutex_);
        write_back();
    };
    backend_->submit(std::move(request));
}

void Pflash::reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
}

void Pflash::serialize(Archive& archive) {
    archive.section(name_, 1, [&](u32) {
        std::lock_guard lock(mutex_);
        archive.field("mode", state_.mode);
        archive.field("setup", state_.setup);
        archive.field("status", state_.status);
        archive.field("buffer_start", state_.buffer_start);
        archive.field("buffer_left", state_.buffer_left);
        archive.field("buffer_length", state_.buffer_length);
        archive.field("buffer", state_.buffer);
        std::vector<u8> saved = archive.loading() ? std::vector<u8>() : data_;
        archive.field("contents", saved);
        if (!archive.loading() || !archive.ok()) return;
        if (saved.size() != data_.size())
            return archive.fail("the saved flash has another size; start with the same -drive if=pflash");
        if (state_.mode > Mode::query || state_.setup > Setup::buffer_confirm || state_.buffer_length > buffer_size
            || state_.buffer_left > state_.buffer_length || state_.buffer_start >= data_.size()
            || (state_.setup == Setup::buffer_data && state_.buffer_left == 0))
            return archive.fail("the saved flash is in a state that there is not");
        for (u64 at = 0; at < saved.size(); at += block) {
            if (std::equal(saved.begin() + static_cast<std::ptrdiff_t>(at),
                           saved.begin() + static_cast<std::ptrdiff_t>(at + block),
                           data_.begin() + static_cast<std::ptrdiff_t>(at)))
                continue;
            std::copy_n(saved.begin() + static_cast<std::ptrdiff_t>(at), block,
                        data_.begin() + static_cast<std::ptrdiff_t>(at));
            set_dirty(at, block); // A file that is read-only keeps what it has.
        }
    });
}

} // namespace calque::devices
