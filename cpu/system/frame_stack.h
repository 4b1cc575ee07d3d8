// Stacks that are not, or not yet, the one in force: frames are written and read first, and RSP changes when all has
// gone well.
#pragma once

#include "cpu/system/descriptor.h"

namespace calque::cpu {

// What is pushed to: a stack segment and pointer.
struct StackPlace {
    SegmentRegister segment;
    u64 pointer = 0;
    bool flat = false; // 64-bit mode: no base, no limit.

    u64 mask() const { return flat ? ~u64{0} : segment.big() ? 0xFFFFFFFF : 0xFFFF; }
};

inline StackPlace current_stack(const Cpu& cpu) {
    StackPlace place{cpu.state.segment[ss], cpu.state.gpr[rsp], cpu.mode.mode64};
    if (cpu.mode.vm86) place.segment.rights &= static_cast<u16>(~0x4000);
    return place;
}

class FrameStack {
  public:
    // `cpl` is the privilege that the frame is written with; `error` is what a #SS carries.
    FrameStack(Cpu& cpu, const StackPlace& place, u8 cpl, u32 error)
        : cpu_(cpu), place_(place), privilege_(cpl == 3 ? mmu::Privilege::current : mmu::Privilege::system),
          error_(error) {}

    template <class T> [[nodiscard]] bool push(T value) {
        const u64 at = (place_.pointer - sizeof(T)) & place_.mask();
        u64 linear = at;
        if (!place_.flat) {
            if (!within_limit(place_.segment, at, sizeof(T))) return fail(cpu_, Vector::stack_fault, error_);
            linear = system_address(cpu_, place_.segment.base, at);
            if (cpu_.mode.long_mode) linear = static_cast<u32>(linear);
        }
        if (!cpu_.mmu.store(LinearAddress(linear), value, privilege_)) {
            if (cpu_.mmu.fault().kind == mmu::Fault::Kind::not_canonical)
                return fail(cpu_, Vector::stack_fault, error_);
            cpu_.raise_memory_fault(flat);
            return false;
        }
        place_.pointer = (place_.pointer & ~place_.mask()) | at;
        return true;
    }
    [[nodiscard]] bool push(u64 value, unsigned size) {
        if (size == 2) return push(static_cast<u16>(value));
        if (size == 4) return push(static_cast<u32>(value));
        return push(value);
    }
    u64 pointer() const { return place_.pointer; }

  private:
    Cpu& cpu_;
    StackPlace place_;
    mmu::Privilege privilege_;
    u32 error_;
};

// Reads from the stack in force without moving RSP.
class StackReader {
  public:
    explicit StackReader(Cpu& cpu) : cpu_(cpu), pointer_(cpu.state.gpr[rsp]) {}

    [[nodiscard]] bool pop(u64& value, unsigned size) {
        const u64 at = pointer_ & cpu_.stack_mask();
        bool read = false;
        if (size == 2) {
            u16 v = 0;
            read = cpu_.read(cpu_.stack_segment(), at, v);
            value = v;
        } else if (size == 4) {
            u32 v = 0;
            read = cpu_.read(cpu_.stack_segment(), at, v);
            value = v;
        } else {
            read = cpu_.read(cpu_.stack_segment(), at, value);
        }
        if (read) skip(size);
        return read;
    }
    void skip(u64 bytes) {
        const u64 mask = cpu_.stack_mask();
        pointer_ = (pointer_ & ~mask) | ((pointer_ + bytes) & mask);
    }
    u64 pointer() const { return pointer_; }

  private:
    Cpu& cpu_;
    u64 pointer_;
};

// The stack of an inner privilege level, from the TSS. Raises #TS. Null SS in IA-32e mode.
[[nodiscard]] bool inner_stack(Cpu& cpu, u8 cpl, u32 ext, StackPlace& out);
// RSP from an interrupt stack table entry, 1 to 7 (SDM volume 3, 6.14.5).
[[nodiscard]] bool interrupt_stack(Cpu& cpu, unsigned ist, u32 ext, u64& rsp_out);

} // namespace calque::cpu
