// Which accesses share a check.
#include "jit/opt/passes.h"
#include "jit/translate/translate.h"

#include <gtest/gtest.h>

namespace calque::jit {
namespace {

// The slots of a unit's accesses, in their order.
std::vector<u8> slots(std::initializer_list<u8> code) {
    static const cpu::CpuModel model;
    static const cpu::Decoder decoder(model);
    ir::Unit unit =
        translate(decoder, std::span<const u8>(code.begin(), code.size()), 0x1000, PhysicalAddress(0x5000), UnitMode{});
    share_checks(unit);
    std::vector<u8> all;
    for (const ir::Op& op : unit.ops)
        if (op.access != ir::MemoryAccess::none || op.kind == ir::OpKind::push_register) all.push_back(op.window.slot);
    return all;
}

constexpr u8 none = ir::Window::none;

TEST(CheckElimination, AccessesOffTheSameRegisterShareOne) {
    // MOV [RSI+8], RAX; MOV [RSI], RBX
    EXPECT_EQ(slots({0x48, 0x89, 0x46, 0x08, 0x48, 0x89, 0x1E}), (std::vector<u8>{0, 0}));
    // MOV [RSI+8], RAX; MOV RSI, RBX; MOV [RSI], RBX
    EXPECT_EQ(slots({0x48, 0x89, 0x46, 0x08, 0x48, 0x89, 0xDE, 0x48, 0x89, 0x1E}), (std::vector<u8>{none, none}));
}

TEST(CheckElimination, LeaLeavesTheStackPointerAlone) {
    // MOV [RSP+8], RCX; LEA RAX, [RBP-1]; MOV [RSP+16], RAX
    EXPECT_EQ(slots({0x48, 0x89, 0x4C, 0x24, 0x08, 0x48, 0x8D, 0x45, 0xFF, 0x48, 0x89, 0x44, 0x24, 0x10}),
              (std::vector<u8>{0, 0}));
    // With LEA RSP, [RBP-1] in its place.
    EXPECT_EQ(slots({0x48, 0x89, 0x4C, 0x24, 0x08, 0x48, 0x8D, 0x65, 0xFF, 0x48, 0x89, 0x44, 0x24, 0x10}),
              (std::vector<u8>{none, none}));
}

TEST(CheckElimination, PushesAndWhatIsBelowThemShareOne) {
    // PUSH RBX; SUB RSP, 16; MOV [RSP+8], RCX
    EXPECT_EQ(slots({0x53, 0x48, 0x83, 0xEC, 0x10, 0x48, 0x89, 0x4C, 0x24, 0x08}), (std::vector<u8>{0, 0}));
}

} // namespace
} // namespace calque::jit
