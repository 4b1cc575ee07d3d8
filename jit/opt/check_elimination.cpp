#include "jit/opt/passes.h"

#include <algorithm>
#include <array>
#include <optional>

namespace calque::jit {

namespace {

using ir::Op;
using ir::OpKind;

constexpr i64 longest_range = 1024;                             // Bytes. A longer one crosses a page too often.
constexpr u32 no_origin = ~u32{0}, code_origin = no_origin - 1; // The latter: RIP-relative.

// The value of a register as something unknown plus a constant.
struct Value {
    u32 origin = 0;
    i64 offset = 0;
};

// What an address is made of besides a constant.
struct Place {
    u32 base = no_origin, index = no_origin;
    u8 scale = 0, segment = 0;
    bool operator==(const Place&) const = default;
};
struct Access {
    Place place;
    i64 offset = 0;
    u32 bytes = 0;
    bool write = false;
};

struct Range {
    Place place;
    i64 first = 0, last = 0; // Of its bytes, the end excluded.
    bool write = false;      // Checked for writing: the first access writes, or one that follows it for sure.
    bool may_leave = false;  // The unit may have been left since the first access.
    std::vector<std::size_t> ops;
    std::vector<i64> offsets;
};

// Addresses of `width` bytes: 8, or 4 in code where registers are that wide. What is computed here modulo 2^64 holds
// modulo 2^32 as well.
class Registers {
  public:
    explicit Registers(unsigned width) : width_(width) {
        for (u32 n = 0; n < 16; ++n)
            values_[n] = {n, 0};
    }
    const Value& operator[](unsigned guest) const { return values_[guest]; }

    void follow(const Op& op) {
        const Value rsp = values_[cpu::rsp];
        const Value rbp = values_[cpu::rbp];
        std::optional<std::pair<unsigned, Value>> known = result_of(op);
        const u32 written = ir::written_registers(op);
        for (unsigned n = 0; n < 16; ++n)
            if (written >> n & 1) values_[n] = {next_++, 0};
        switch (op.kind) {
        case OpKind::push_register:
        case OpKind::push_immediate:
        case OpKind::push_memory:
        case OpKind::push_flags: values_[cpu::rsp] = {rsp.origin, rsp.offset - op.guest.operand_size}; break;
        case OpKind::pop_register:
            if (op.guest.dest != cpu::rsp) values_[cpu::rsp] = {rsp.origin, rsp.offset + op.guest.operand_size};
            break;
        case OpKind::leave_frame: values_[cpu::rsp] = {rbp.origin, rbp.offset + op.guest.operand_size}; break;
        default:
            if (known) values_[known->first] = known->second;
            break;
        }
    }

  private:
    // Moves between whole registers, and constants added to one.
    std::optional<std::pair<unsigned, Value>> result_of(const Op& op) const {
        const ParsedInstruction& p = op.parsed;
        if (op.kind == OpKind::load_address) {
            const cpu::Instruction& i = op.guest;
            if (i.operand_size != width_ || i.address_bytes() != width_ || i.base >= 16 || i.index < 16)
                return std::nullopt;
            return std::pair(unsigned{i.dest}, Value{values_[i.base].origin, values_[i.base].offset + i.displacement});
        }
        if (op.kind != OpKind::host || p.vex || p.map != 0 || p.memory || p.legacy_count != 0 || op.vectors
            || p.w != (width_ == 8))
            return std::nullopt;
        const auto added = [&](i64 n) {
            return std::pair(unsigned{p.modrm_rm}, Value{values_[p.modrm_rm].origin, values_[p.modrm_rm].offset + n});
        };
        const i64 immediate = p.immediate_bytes == 1 ? static_cast<i8>(p.immediate) : static_cast<i32>(p.immediate);
        switch (p.opcode) {
        case 0x89: return std::pair(unsigned{p.modrm_rm}, values_[p.modrm_reg]);
        case 0x8B: return std::pair(unsigned{p.modrm_reg}, values_[p.modrm_rm]);
        case 0x81:
        case 0x83:
            if ((p.modrm_reg & 7) == 0) return added(immediate);
            if ((p.modrm_reg & 7) == 5) return added(-immediate);
            return std::nullopt;
        case 0xFF:
            if ((p.modrm_reg & 7) == 0) return added(1);
            if ((p.modrm_reg & 7) == 1) return added(-1);
            return std::nullopt;
        default: return std::nullopt;
        }
    }

    const unsigned width_;
    std::array<Value, 16> values_;
    u32 next_ = 16;
};

// Only what has no limit.
std::optional<Access> access_of(const Op& op, const Registers& registers, const ir::Surroundings& around) {
    const u32 size = op.guest.operand_size;
    const auto limited = [&](u8 segment) { return !op.guest.mode64() && segment != cpu::Segment::flat; };
    const auto stack = [&](unsigned guest, i64 offset, bool write) -> std::optional<Access> {
        if (limited(around.stack_segment)) return std::nullopt;
        const Value& v = registers[guest];
        return Access{{v.origin, no_origin, 0, around.stack_segment}, v.offset + offset, size, write};
    };
    switch (op.kind) {
    case OpKind::push_register:
    case OpKind::push_immediate:
    case OpKind::push_flags:
    case OpKind::call: return stack(cpu::rsp, -i64{size}, true);
    case OpKind::pop_register:
    case OpKind::return_near: return stack(cpu::rsp, 0, false);
    case OpKind::leave_frame: return stack(cpu::rbp, 0, false);
    case OpKind::host:
    case OpKind::multiply_divide:
    case OpKind::compare_exchange:
    case OpKind::jump_indirect: break;
    default: return std::nullopt;
    }
    if (op.access == ir::MemoryAccess::none || op.x87 != ir::X87Use::none) return std::nullopt;
    const cpu::Instruction& i = op.guest;
    if (i.address_bytes() != around.stack_address_bytes) return std::nullopt;
    if (limited(op.segment)) return std::nullopt;
    Access access;
    access.bytes = op.access_bytes;
    access.write = op.access != ir::MemoryAccess::read;
    access.offset = i.displacement;
    access.place.segment = op.segment;
    if (i.base < 16) {
        access.place.base = registers[i.base].origin;
        access.offset += registers[i.base].offset;
    } else if (i.base == cpu::rip_slot) {
        access.place.base = code_origin;
        access.offset += static_cast<i64>(op.next_rip());
    }
    if (i.index < 16) {
        access.place.index = registers[i.index].origin;
        access.place.scale = static_cast<u8>(i.scale());
        access.offset += registers[i.index].offset << i.scale();
    }
    return access;
}

// Adds the access to a range of its place that stays short enough, or begins one. One that has to be aligned begins
// none: its #GP comes before its page is looked at.
void add(std::vector<Range>& ranges, std::size_t closed, std::size_t n, const Access& access, bool aligned) {
    const i64 end = access.offset + access.bytes;
    for (std::size_t r = ranges.size(); r-- > closed;) {
        Range& range = ranges[r];
        if (range.place != access.place) continue;
        // The dirty bit is set by a write that happens, not before; but where it is set already, reads that such a
        // write follows may be checked for it.
        if (access.write && !range.write && range.may_leave) continue;
        if (std::max(range.last, end) - std::min(range.first, access.offset) > longest_range) continue;
        range.first = std::min(range.first, access.offset);
        range.last = std::max(range.last, end);
        range.write |= access.write;
        range.ops.push_back(n);
        range.offsets.push_back(access.offset);
        return;
    }
    if (aligned) return;
    ranges.push_back({access.place, access.offset, end, access.write, false, {n}, {access.offset}});
}

} // namespace

// Ranges end where a handler runs, which may change any mapping. Each gets a slot from its first access to its last.
void share_checks(ir::Unit& unit) {
    if (unit.around.stack_address_bytes == 2) return;
    Registers registers(unit.around.stack_address_bytes);
    std::vector<Range> ranges;
    std::size_t closed = 0; // Ranges before this one take no more.
    for (std::size_t n = 0; n < unit.ops.size(); ++n) {
        const Op& op = unit.ops[n];
        if (op.kind == OpKind::interpret) closed = ranges.size();
        if (op.kind == OpKind::branch || op.kind == OpKind::branch_if_count_zero || op.kind == OpKind::loop)
            for (Range& range : ranges)
                range.may_leave = true;
        if (const auto access = access_of(op, registers, unit.around)) add(ranges, closed, n, *access, op.aligned);
        registers.follow(op);
    }
    std::array<std::size_t, ir::windows> busy_until{};
    std::array<bool, ir::windows> taken{};
    for (const Range& range : ranges) { // In the order of their first accesses.
        if (range.ops.size() < 2) continue;
        unsigned slot = 0;
        while (slot < ir::windows && taken[slot] && busy_until[slot] >= range.ops.front())
            ++slot;
        if (slot == ir::windows) continue;
        taken[slot] = true;
        busy_until[slot] = range.ops.back();
        for (std::size_t k = 0; k < range.ops.size(); ++k)
            unit.ops[range.ops[k]].window = {static_cast<u8>(slot), k == 0, range.write,
                                             static_cast<u16>(range.last - range.first),
                                             static_cast<i32>(range.offsets[k] - range.first)};
    }
}

} // namespace calque::jit
