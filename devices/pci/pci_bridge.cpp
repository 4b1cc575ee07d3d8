#include "devices/pci/pci_bridge.h"

#include "base/bits.h"

#include <algorithm>

namespace calque::devices {

using namespace pci;

namespace {

PciDescriptor descriptor(const std::string& name, u8 chassis) {
    PciDescriptor d;
    d.name = name + ".bridge";
    d.vendor_id = 0x1B36;
    d.device_id = 0x0001;
    d.class_code = 0x060400;
    d.bridge = true;
    d.status_reset = STATUS_DEVSEL_MEDIUM;
    d.registers = {
        {PRIMARY_BUS, {0, 0, 0, 0}, {0xFF, 0xFF, 0xFF, 0xF8}, {}},
        {IO_BASE, {0, 0}, {0xF0, 0xF0}, {}},
        {SECONDARY_STATUS, {0, STATUS_DEVSEL_MEDIUM >> 8}, {}, {0, 0xF9}},
        {MEMORY_BASE, {0, 0, 0, 0}, {0xF0, 0xFF, 0xF0, 0xFF}, {}},
        // The low nibble says that addresses have 64 bits.
        {PREFETCH_BASE, {1, 0, 1, 0}, {0xF0, 0xFF, 0xF0, 0xFF}, {}},
        {PREFETCH_BASE_UPPER, {0, 0, 0, 0, 0, 0, 0, 0}, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, {}},
        {BRIDGE_CONTROL, {0, 0}, {0x7F, 0x0B}, {0, 0x04}},
    };
    // Slots of an expansion chassis (2.0's 3.2.6.1): none counted, first in chassis.
    d.capabilities.push_back({CAPABILITY_SLOT_NUMBERING, {0x20, chassis}, {0, 0xFF}, {}});
    return d;
}

} // namespace

PciBridge::PciBridge(Log& log, Bus& ports, Bus& memory, u8 chassis, std::string name)
    : log_(log), name_(std::move(name)), ports_(Bus::Kind::ports, log), memory_(Bus::Kind::memory, log),
      function_(descriptor(name_, chassis), log), secondary_(log, ports_, memory_) {
    secondary_.set_bridge(function_);
    for (Forward* window : {&io_, &vga_low_ports_, &vga_high_ports_})
        window->connect(ports, ports_);
    for (Forward& window : isa_windows_)
        window.connect(ports, ports_);
    for (Forward* window : {&plain_memory_, &prefetchable_, &vga_memory_})
        window->connect(memory, memory_);
    memory_.set_change_observer([&memory] { memory.tell_changed(); });
    function_.set_write_hook([this](unsigned offset, unsigned size) { config_written(offset, size); });
}

PciBridge::~PciBridge() {
    memory_.set_change_observer({});
    function_.reset();
    place_windows();
}

void PciBridge::Forward::place(std::optional<Range> range, const std::string& name) {
    if (range == placed_) return;
    if (placed_) from_->unmap(*this);
    placed_ = range;
    base_ = range ? range->base : 0;
    length_ = range ? range->length : 0;
    if (range) from_->map(range->base, range->length, *this, name);
}

// Memory behind BARs on the other side, as far as it is seen through the window; offsets count from the window.
std::vector<DirectMemory> PciBridge::Forward::direct_memory() const {
    std::vector<DirectMemory> seen;
    const u64 base = base_, length = length_;
    if (length == 0) return seen;
    for (const Bus::Piece& piece : to_->pieces()) {
        for (const DirectMemory& memory : piece.region->direct_memory()) {
            const u64 piece_end = piece.offset + (piece.last - piece.first) + 1;
            const u64 from = std::max(piece.offset, memory.offset);
            const u64 to = std::min(piece_end, memory.offset + memory.length);
            if (from >= to) continue;
            const u64 first = std::max(align_up(piece.first + (from - piece.offset), page_size), base);
            const u64 end = std::min(piece.first + (to - piece.offset), base + length) & ~u64{page_size - 1};
            if (first >= end) continue;
            const u64 in_region = piece.offset + (first - piece.first);
            seen.push_back({first - base, end - first, memory.data + (in_region - memory.offset), memory.writable});
        }
    }
    return seen;
}

void PciBridge::config_written(unsigned offset, unsigned size) {
    const bool reset = function_.get(BRIDGE_CONTROL, 2) & BRIDGE_RESET;
    if (reset && !in_reset_) {
        log_.trace(Channel::pci, "{}: the secondary bus is reset", name_);
        if (reset_secondary_) reset_secondary_();
    }
    in_reset_ = reset;
    if (offset < CAPABILITIES_POINTER || offset + size > BRIDGE_CONTROL) place_windows();
}

// A window whose limit is below its base is closed (3.2.5.6 to 3.2.5.10).
std::optional<PciBridge::Range> PciBridge::memory_window() const {
    const u64 base = u64{function_.get(MEMORY_BASE, 2) & 0xFFF0u} << 16;
    const u64 last = u64{function_.get(MEMORY_LIMIT, 2) & 0xFFF0u} << 16 | 0xF'FFFF;
    if (last < base) return std::nullopt;
    return Range{base, last - base + 1};
}

std::optional<PciBridge::Range> PciBridge::prefetchable_window() const {
    const u64 base =
        u64{function_.get(PREFETCH_BASE, 2) & 0xFFF0u} << 16 | u64{function_.get(PREFETCH_BASE_UPPER, 4)} << 32;
    const u64 last = u64{function_.get(PREFETCH_LIMIT, 2) & 0xFFF0u} << 16
                     | u64{function_.get(PREFETCH_LIMIT_UPPER, 4)} << 32 | 0xF'FFFF;
    if (last < base || last - base == ~u64{0}) return std::nullopt;
    return Range{base, last - base + 1};
}

void PciBridge::place_io(bool on, u16 control) {
    const u64 base = u64{function_.get(IO_BASE, 1) & 0xF0u} << 8;
    const u64 last = u64{function_.get(IO_LIMIT, 1) & 0xF0u} << 8 | 0xFFF;
    const bool open = on && last >= base, isa = control & BRIDGE_ISA;
    io_.place(open && !isa ? std::optional(Range{base, last - base + 1}) : std::nullopt, name_ + " I/O");
    for (unsigned i = 0; i < isa_blocks; ++i) {
        const u64 at = u64{i} * 0x400;
        const bool inside = open && isa && at >= base && at <= last;
        isa_windows_[i].place(inside ? std::optional(Range{at, 0x100}) : std::nullopt, name_ + " I/O");
    }
    const bool vga = on && (control & BRIDGE_VGA);
    vga_low_ports_.place(vga ? std::optional(Range{0x3B0, 12}) : std::nullopt, name_ + " VGA ports");
    vga_high_ports_.place(vga ? std::optional(Range{0x3C0, 32}) : std::nullopt, name_ + " VGA ports");
}

void PciBridge::place_windows() {
    const u16 command = static_cast<u16>(function_.get(COMMAND, 2));
    const u16 control = static_cast<u16>(function_.get(BRIDGE_CONTROL, 2));
    place_io(command & COMMAND_IO, control);
    const bool memory = command & COMMAND_MEMORY;
    plain_memory_.place(memory ? memory_window() : std::nullopt, name_ + " memory");
    prefetchable_.place(memory ? prefetchable_window() : std::nullopt, name_ + " prefetchable memory");
    const bool vga = memory && (control & BRIDGE_VGA);
    vga_memory_.place(vga ? std::optional(Range{0xA0000, 0x20000}) : std::nullopt, name_ + " VGA memory");
}

void PciBridge::reset() {
    function_.reset();
    in_reset_ = false;
    place_windows();
}

void PciBridge::serialize(Archive& archive) {
    function_.serialize(archive);
    if (!archive.loading()) return;
    in_reset_ = function_.get(BRIDGE_CONTROL, 2) & BRIDGE_RESET;
    place_windows();
}

} // namespace calque::devices
