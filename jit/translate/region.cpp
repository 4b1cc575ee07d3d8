#include "jit/translate/region.h"

#include <algorithm>

namespace calque::jit {

namespace {

using ir::Op;
using ir::OpKind;

constexpr u64 page_of(u64 linear) { return linear >> page_shift; }

// What the path leads through, growing instruction by instruction.
class Builder {
  public:
    Builder(Region& region, std::span<const PathStep> path) : unit_(region.unit), path_(path) {
        unit_.linear = path.front().linear;
        unit_.physical = path.front().physical;
        pages_.push_back(page_of(unit_.linear));
    }

    // The instruction of that step. False when the region ends with it.
    bool add(std::size_t step, Op op) {
        const u64 from = op.rip, behind = op.next_rip();
        const bool more = step + 1 < path_.size();
        const u64 next = more ? path_[step + 1].linear : behind;
        bool back = next <= from;
        switch (op.kind) {
        case OpKind::branch:
            if (next == behind) break;
            if (next != op.target) return finish(op, behind);
            if (next == unit_.linear || back) return finish(op, behind); // The region's loop, or another one.
            op.condition ^= 1;
            op.target = behind;
            op.follows = true;
            break;
        case OpKind::branch_if_count_zero:
        case OpKind::loop:
            if (next != behind) return finish(op, behind);
            break;
        case OpKind::jump:
            if (!more || next != op.target || next == unit_.linear) return end(op);
            op.kind = OpKind::nothing;
            op.target = 0;
            op.follows = true;
            break;
        case OpKind::call:
            if (!more || next != op.target || next == unit_.linear) return end(op);
            op.follows = true;
            calls_.push_back(unit_.ops.size());
            break;
        case OpKind::return_near:
            if (!more || calls_.empty() || next != unit_.ops[calls_.back()].next_rip()) return end(op);
            unit_.ops[calls_.back()].comes_back = true;
            calls_.pop_back();
            op.follows = true;
            op.target = next;
            back = false; // Call and return together lead on.
            break;
        case OpKind::interpret_and_leave:
        case OpKind::call_indirect:
        case OpKind::jump_indirect:
        case OpKind::system_call:
        case OpKind::system_return:
        case OpKind::change_access: return end(op);
        default:
            if (next != behind) return finish(op, behind);
            break;
        }
        if (op.target != 0) op.known_page = known(op.target);
        const bool goes_back = op.follows && back;
        unit_.ops.push_back(op);
        if (goes_back) mark(OpKind::poll, next);
        if (!more) return leave(next);
        if (!known(next)) {
            mark(OpKind::enter_page, next).page_id = path_[step + 1].page_id;
            pages_.push_back(page_of(next));
        }
        return next == unit_.linear ? loop() : true;
    }

    // Where the region ends before an instruction.
    bool leave(u64 next) {
        mark(OpKind::fall_through, next).known_page = known(next);
        return false;
    }

  private:
    bool known(u64 linear) const { return std::find(pages_.begin(), pages_.end(), page_of(linear)) != pages_.end(); }

    // Something that is no instruction, in front of the one at `next`.
    Op& mark(OpKind kind, u64 next) {
        Op& op = unit_.ops.emplace_back();
        op.kind = kind;
        op.rip = op.target = next;
        return op;
    }
    bool end(Op& op) {
        if (op.target != 0) op.known_page = known(op.target);
        unit_.ops.push_back(op);
        return false;
    }
    bool finish(Op& op, u64 behind) {
        end(op);
        return leave(behind);
    }
    // The path is back at its start.
    bool loop() {
        mark(OpKind::jump, unit_.linear).known_page = true;
        return false;
    }

    ir::Unit& unit_;
    std::span<const PathStep> path_;
    std::vector<u64> pages_;         // That are what they were.
    std::vector<std::size_t> calls_; // That were followed, and have not come back.
};

// What neither passes nor emitter expect on a path.
bool can_follow(const Op& op) {
    return op.kind != OpKind::interpret && op.kind != OpKind::enable_interrupts && op.x87 == ir::X87Use::none
           && !op.x87_state && !op.literal.host;
}

void add_piece(Region& region, const PathStep& step, std::span<const u8> bytes) {
    const u32 length = static_cast<u32>(bytes.size());
    region.bytes.insert(region.bytes.end(), bytes.begin(), bytes.end());
    if (!region.pieces.empty()) {
        ir::CodePiece& last = region.pieces.back();
        if (last.address + last.bytes == step.physical && step.physical.page_offset() != 0) {
            last.bytes += length;
            return;
        }
    }
    region.pieces.push_back({step.physical, length});
}

} // namespace

Region make_region(const cpu::Decoder& decoder, std::span<const PathStep> path, const UnitMode& mode) {
    Region region;
    Builder builder(region, path);
    ir::Unit& unit = region.unit;
    for (std::size_t n = 0; n < path.size(); ++n) {
        const PathStep& step = path[n];
        const bool again = std::find(region.path.begin(), region.path.end(), step.linear) != region.path.end();
        const std::span bytes = std::span(step.bytes).first(step.count);
        ir::Unit one;
        if (!again) one = translate(decoder, bytes, step.linear, step.physical, mode, 1);
        if (one.ops.empty() || !can_follow(one.ops.front())) {
            if (n == 0) return {};
            builder.leave(step.linear);
            break;
        }
        add_piece(region, step, bytes.first(one.bytes));
        region.path.push_back(step.linear);
        if (!builder.add(n, one.ops.front())) break;
    }
    unit.bytes = static_cast<u32>(region.bytes.size());
    return region;
}

} // namespace calque::jit
