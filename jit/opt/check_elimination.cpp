#include "jit/opt/passes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

namespace calque::jit {

namespace {

using ir::Op;
using ir::OpKind;

constexpr i64 longest_range = 1024;                             // Bytes. A longer one crosses a page too often.
constexpr i64 longest_table = 2080;                             // Of 256 elements with eight bytes each.
constexpr u32 no_origin = ~u32{0}, code_origin = no_origin - 1; // The latter: RIP-relative.

// The value of a register as something unknown plus a constant.
struct Value {
    u32 origin = 0;
    i64 offset = 0;
    u32 most = 0; // Of a value that is known to be small: not more than this. 0: not known.
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
    bool aligned = false; // To `bytes`, or it faults.
    bool stack = false;   // A push or pop.
    bool table = false;   // Somewhere in these bytes.
};

// An access of a range.
struct Shared {
    std::size_t op = 0;
    i64 offset = 0;
    bool aligned = false; // As one before it was.
};
struct Range {
    Place place;
    i64 first = 0, last = 0; // Of its bytes, the end excluded.
    bool write = false;      // Checked for writing: the first access writes, or one that follows it for sure.
    bool stack = false;      // Some are pushes or pops.
    bool table = false;      // Of accesses to a table.
    bool may_leave = false;  // The unit may have been left since the first access.
    i64 aligned_at = 0;      // An access of
    u32 aligned_bytes = 0;   // so many bytes has been found aligned to them.
    std::vector<Shared> shared;
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
        forget(ir::written_registers(op));
        if (const u32 most = most_of(op); most != 0 && !known) values_[op.guest.dest & 15].most = most;
        switch (op.kind) {
        case OpKind::push_register:
        case OpKind::push_immediate:
        case OpKind::push_memory:
        case OpKind::push_flags: values_[cpu::rsp] = {rsp.origin, rsp.offset - op.guest.operand_size}; break;
        case OpKind::pop_register:
            if (op.guest.dest != cpu::rsp) values_[cpu::rsp] = {rsp.origin, rsp.offset + op.guest.operand_size};
            break;
        case OpKind::pop_flags: values_[cpu::rsp] = {rsp.origin, rsp.offset + op.guest.operand_size}; break;
        case OpKind::call: values_[cpu::rsp] = {rsp.origin, rsp.offset - op.guest.operand_size}; break;
        case OpKind::return_near:
            values_[cpu::rsp] = {rsp.origin,
                                 rsp.offset + op.guest.operand_size + static_cast<i64>(op.guest.immediate & 0xFFFF)};
            break;
        case OpKind::leave_frame: values_[cpu::rsp] = {rbp.origin, rbp.offset + op.guest.operand_size}; break;
        default:
            if (known) values_[known->first] = known->second;
            break;
        }
    }

    // What is written in a loop is not known where its rounds begin.
    void forget(u32 written) {
        for (; written != 0; written &= written - 1)
            values_[std::countr_zero(written)] = {next_++, 0};
    }

  private:
    // Of the register that it writes: MOVZX of a byte, AND with a small constant.
    static u32 most_of(const Op& op) {
        const ParsedInstruction& p = op.parsed;
        if (op.kind != OpKind::host || p.vex || op.guest.operand_size < 4 || op.written_gprs != 1) return 0;
        if (p.map == 1 && p.opcode == 0xB6 && p.pp == 0) return 0xFF;
        const bool is_and = p.map == 0 && (p.opcode == 0x81 || p.opcode == 0x83) && (p.modrm_reg & 7) == 4;
        if (!is_and || p.memory || p.legacy_count != 0) return 0;
        return p.immediate < (p.immediate_bytes == 1 ? 0x80 : 0x400) ? static_cast<u32>(p.immediate) : 0;
    }

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
        return Access{{v.origin, no_origin, 0, around.stack_segment}, v.offset + offset, size, write, false, true};
    };
    switch (op.kind) {
    case OpKind::push_register:
    case OpKind::push_immediate:
    case OpKind::push_flags:
    case OpKind::call: return stack(cpu::rsp, -i64{size}, true);
    case OpKind::pop_register:
    case OpKind::pop_flags:
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
    access.aligned = op.aligned;
    access.offset = i.displacement;
    access.place.segment = op.segment;
    if (i.base < 16) {
        access.place.base = registers[i.base].origin;
        access.offset += registers[i.base].offset;
    } else if (i.base == cpu::rip_slot) {
        access.place.base = code_origin;
        access.offset += static_cast<i64>(op.next_rip());
    }
    const u32 most = i.index < 16 && registers[i.index].offset == 0 ? registers[i.index].most : 0;
    const i64 table_bytes = (i64{most} << i.scale()) + op.access_bytes;
    if (most != 0 && i.base < 16 && table_bytes <= longest_table && !op.aligned) {
        access.table = true;
        access.bytes = static_cast<u32>(table_bytes);
    } else if (i.index < 16) {
        access.place.index = registers[i.index].origin;
        access.place.scale = static_cast<u8>(i.scale());
        access.offset += registers[i.index].offset << i.scale();
    }
    return access;
}

void put(Range& range, std::size_t n, const Access& access) {
    const bool known = range.aligned_bytes >= access.bytes && (access.offset - range.aligned_at) % access.bytes == 0;
    range.shared.push_back({n, access.offset, access.aligned && known});
    range.stack |= access.stack;
    if (access.aligned && !known) range.aligned_at = access.offset, range.aligned_bytes = access.bytes;
}

// Adds the access to a range of its place that stays short enough, or begins one.
void add(std::vector<Range>& ranges, std::size_t closed, std::size_t n, const Access& access) {
    const i64 end = access.offset + access.bytes;
    for (std::size_t r = ranges.size(); r-- > closed;) {
        Range& range = ranges[r];
        if (range.place != access.place || range.table != access.table) continue;
        // The dirty bit is set by a write that happens, not before; but where it is set already, reads that such a
        // write follows may be checked for it.
        if (access.write && !range.write && range.may_leave) continue;
        if (std::max(range.last, end) - std::min(range.first, access.offset)
            > (range.table ? longest_table : longest_range))
            continue;
        range.first = std::min(range.first, access.offset);
        range.last = std::max(range.last, end);
        range.write |= access.write;
        return put(range, n, access);
    }
    Range& range = ranges.emplace_back();
    range.place = access.place;
    range.first = access.offset;
    range.last = end;
    range.write = access.write;
    range.table = access.table;
    put(range, n, access);
}

// Handlers may change any mapping, and these the base of a segment.
bool closes_ranges(OpKind kind) {
    return kind == OpKind::interpret || kind == OpKind::swap_gs || kind == OpKind::write_base
           || kind == OpKind::load_segment || kind == OpKind::pop_segment || kind == OpKind::load_far_pointer;
}

// And yet the unit may go on behind it.
bool may_leave(OpKind kind) {
    return kind == OpKind::branch || kind == OpKind::branch_if_count_zero || kind == OpKind::loop
           || kind == OpKind::return_near || kind == OpKind::poll || kind == OpKind::enter_page;
}

constexpr i64 longest_step = 256; // Bytes that a moving range goes up in a round: pages should last for some.

// The operations that are run again and again, from the head to the way back, and what a round does to registers.
class Loop {
  public:
    explicit Loop(const ir::Unit& unit) : head(unit.loop_head) {
        if (head == ir::Unit::no_loop) return;
        for (back = head; !unit.ops[back].loops_back; ++back) {
            written |= ir::written_registers(unit.ops[back]);
            closed |= closes_ranges(unit.ops[back].kind);
        }
    }
    bool exists() const { return head != ir::Unit::no_loop; }
    void begin(const Registers& registers) {
        for (unsigned n = 0; n < 16; ++n)
            begin_[n] = registers[n];
    }
    void end(const Registers& registers) {
        for (unsigned n = 0; n < 16; ++n)
            if (registers[n].origin == begin_[n].origin) steps_[n] = registers[n].offset - begin_[n].offset;
    }
    // How far such addresses go up in a round; nothing when they do otherwise.
    std::optional<i64> step(const Place& place) const {
        const auto base = step_of(place.base), index = step_of(place.index);
        if (!base || !index) return std::nullopt;
        const i64 step = *base + *index * (i64{1} << place.scale);
        if (step < 0 || step > longest_step) return std::nullopt;
        return step;
    }

    // The range's start in the registers as they are at the head.
    ir::MovingRange at_head(const Range& range) const {
        ir::MovingRange r;
        r.displacement = range.first;
        r.first = range.shared.front().op;
        r.scale = range.place.scale;
        for (unsigned n = 16; n-- > 0;) {
            if (begin_[n].origin == range.place.base) r.base = static_cast<u8>(n);
            if (begin_[n].origin == range.place.index) r.index = static_cast<u8>(n);
        }
        if (r.base < 16) r.displacement -= begin_[r.base].offset;
        if (r.index < 16) r.displacement -= begin_[r.index].offset * (i64{1} << r.scale);
        return r;
    }

    const std::size_t head;
    std::size_t back = 0;
    u32 written = 0; // Registers.
    bool closed = false;

  private:
    std::optional<i64> step_of(u32 origin) const {
        if (origin == no_origin || origin == code_origin) return 0;
        for (unsigned n = 0; n < 16; ++n)
            if (begin_[n].origin == origin) return steps_[n];
        return std::nullopt;
    }
    std::array<Value, 16> begin_;
    std::array<std::optional<i64>, 16> steps_;
};

bool can_move(const ir::Unit& unit, const Range& range, const Loop& loop) {
    if (!loop.exists() || loop.closed || range.stack || range.place.segment != cpu::Segment::flat) return false;
    if (range.shared.front().op < loop.head || range.shared.back().op > loop.back) return false;
    const auto plain = [&](const Shared& shared) {
        const Op& op = unit.ops[shared.op];
        return op.guest.mode64() && op.guest.address_bytes() == 8;
    };
    return std::all_of(range.shared.begin(), range.shared.end(), plain) && loop.step(range.place);
}

} // namespace

// Each range gets a slot from its first access to its last; one that is used in the rounds of a loop it was not opened
// in, to the loop's end.
void share_checks(ir::Unit& unit) {
    if (unit.around.stack_address_bytes == 2) return;
    Registers registers(unit.around.stack_address_bytes);
    std::vector<Range> ranges;
    std::size_t closed = 0;      // Ranges before this one take no more.
    std::size_t before_loop = 0; // Ranges of tables before this one are not the loop's.
    Loop loop(unit);
    for (std::size_t n = 0; n < unit.ops.size(); ++n) {
        const Op& op = unit.ops[n];
        if (n == loop.head) {
            registers.forget(loop.written);
            loop.begin(registers);
            before_loop = ranges.size();
            if (n != 0)
                for (Range& range : ranges)
                    range.may_leave = true; // Of the rounds before.
        }
        if (closes_ranges(op.kind)) closed = ranges.size();
        if (const auto access = access_of(op, registers, unit.around))
            add(ranges, access->table ? std::max(closed, before_loop) : closed, n, *access);
        registers.follow(op);
        if (may_leave(op.kind))
            for (Range& range : ranges)
                range.may_leave = true;
        if (loop.exists() && n == loop.back) {
            loop.end(registers);
            closed = ranges.size();
        }
    }
    const bool no_x87 =
        std::all_of(unit.ops.begin(), unit.ops.end(), [](const Op& op) { return op.x87 == ir::X87Use::none; });
    std::array<std::size_t, ir::windows> busy_until{};
    std::array<bool, ir::windows> taken{};
    unsigned moving = 0;
    for (const Range& range : ranges) { // In the order of their first accesses.
        const bool moves = moving < ir::moving_windows && no_x87 && can_move(unit, range, loop);
        if (!moves && (range.table || range.shared.size() < 2)) continue;
        unsigned slot = moves ? moving++ : 0;
        if (!moves) {
            while (slot < ir::windows && taken[slot] && busy_until[slot] >= range.shared.front().op)
                ++slot;
            if (slot == ir::windows) continue;
            taken[slot] = true;
            const bool from_before =
                loop.exists() && range.shared.front().op < loop.head && range.shared.back().op >= loop.head;
            busy_until[slot] = std::max(range.shared.back().op, from_before ? loop.back : 0);
            unit.loop_windows |= from_before;
        }
        unit.loop_windows |= moves;
        if (moves) unit.moving.push_back(loop.at_head(range));
        for (const Shared& shared : range.shared)
            unit.ops[shared.op].window = {static_cast<u8>(slot),
                                          &shared == &range.shared.front(),
                                          range.write,
                                          shared.aligned,
                                          moves,
                                          range.table,
                                          static_cast<u16>(range.last - range.first),
                                          static_cast<i32>(shared.offset - range.first)};
    }
}

} // namespace calque::jit
