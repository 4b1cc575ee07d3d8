// Operations that were made lately, in front of everything that makes them: what becomes of an instruction depends, but
// for displacement and immediate, on its head (cpu/decode/decode_memory.h) and the mode.
#pragma once

#include "cpu/decode/decoder.h"
#include "jit/ir/unit.h"
#include "mmu/large_memory.h"

#include <span>
#include <vector>

namespace calque::jit {

class OpMemory {
  public:
    // For a decoder that remembers so many instructions; 0: remembers nothing.
    explicit OpMemory(std::size_t instructions = 0) : entries_(instructions) {}

    // The shape of such an instruction's operation; null when it is not known. `mode` stands for what shapes the
    // operations that are remembered.
    const ir::OpShape* recall(const cpu::Recollection& what, u64 mode) const {
        if (what.stamp == 0 || what.slot >= entries_.size()) return nullptr;
        const Entry& entry = entries_[what.slot];
        return entry.stamp == what.stamp && entry.mode == mode ? &entry.shape : nullptr;
    }
    // Into the caches: what is remembered of these.
    void fetch(std::span<const u32> slots) const {
        for (const u32 slot : slots) {
            if (slot >= entries_.size()) continue;
            const auto* const at = reinterpret_cast<const std::byte*>(&entries_[slot]);
            __builtin_prefetch(at);
            __builtin_prefetch(at + 64);
        }
    }
    // Only what take_tail() knows to depend on displacement and immediate, and how.
    void remember(const cpu::Recollection& what, u64 mode, const ir::OpShape& shape) {
        if (what.stamp != 0 && what.slot < entries_.size()) entries_[what.slot] = {shape, what.stamp, mode};
    }

    // Memory of the unit before, to be used for the next.
    std::vector<ir::Op> take() { return std::move(spare_); }
    void give_back(std::vector<ir::Op>&& ops) {
        ops.clear();
        spare_ = std::move(ops);
    }

  private:
    struct alignas(64) Entry {
        ir::OpShape shape;
        u32 stamp = 0; // 0: empty.
        u64 mode = 0;
    };
    static_assert(sizeof(Entry) == 128); // Two cache lines.
    std::vector<Entry, mmu::LargeAllocator<Entry>> entries_;
    std::vector<ir::Op> spare_;
};

// Makes an operation of a remembered shape that of `record` at `rip`, with its displacement and its immediate. False
// where one with these has another shape.
bool take_tail(ir::Op& op, const cpu::Instruction& record, u64 rip);
// The target of a branch, jump or call of 64-bit code. False where it raises #GP.
bool aim(ir::Op& op);

} // namespace calque::jit
