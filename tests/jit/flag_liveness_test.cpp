// Which flags are dead, and what the verifier finds wrong.
#include "jit/opt/passes.h"
#include "jit/translate/translate.h"

#include <gtest/gtest.h>

namespace calque::jit {
namespace {

ir::Unit unit_of(std::initializer_list<u8> code) {
    static const cpu::CpuModel model;
    static const cpu::Decoder decoder(model);
    return translate(decoder, std::span<const u8>(code.begin(), code.size()), 0x1000, PhysicalAddress(0x5000),
                     UnitMode{});
}

std::vector<bool> needed(std::initializer_list<u8> code) {
    ir::Unit unit = unit_of(code);
    find_dead_flags(unit);
    std::vector<bool> all;
    for (const ir::Op& op : unit.ops)
        all.push_back(op.flags_needed);
    return all;
}

TEST(FlagLiveness, ReplacedBeforeAnybodyLooks) {
    // ADD EAX, EBX; SUB ECX, EDX; the end, where everything counts.
    EXPECT_EQ(needed({0x01, 0xD8, 0x29, 0xD1}), (std::vector<bool>{false, false, true}));
}

TEST(FlagLiveness, AMemoryAccessShowsThem) {
    // ADD EAX, EBX; MOV ECX, [RSI], which may fault; SUB ECX, EDX
    EXPECT_EQ(needed({0x01, 0xD8, 0x8B, 0x0E, 0x29, 0xD1}), (std::vector<bool>{false, true, false, true}));
}

TEST(FlagLiveness, ReadersNeedThem) {
    // ADD EAX, EBX; ADC ECX, EDX; ADD EAX, EBX
    EXPECT_EQ(needed({0x01, 0xD8, 0x11, 0xD1, 0x01, 0xD8}), (std::vector<bool>{false, true, false, true}));
}

TEST(FlagLiveness, IncrementKeepsCarry) {
    // INC EAX does not replace what is before it: CF goes through.
    EXPECT_EQ(needed({0xFF, 0xC0}), (std::vector<bool>{true, true}));
}

TEST(FlagLiveness, AShiftByNothingKeepsAllOfThem) {
    // SHL BL, 20h with REX.W, which does not make 64 bits of a byte: the count is 0.
    EXPECT_EQ(needed({0x48, 0xC0, 0xE3, 0x20}), (std::vector<bool>{true, true}));
    // SHL RBX, 20h
    EXPECT_EQ(needed({0x48, 0xC1, 0xE3, 0x20}), (std::vector<bool>{false, true}));
}

TEST(FlagLiveness, MultiplicationKeepsWhatItLeavesUndefined) {
    // IMUL EAX, EBX; MUL EBX
    EXPECT_EQ(needed({0x0F, 0xAF, 0xC3}), (std::vector<bool>{true, true}));
    EXPECT_EQ(needed({0xF7, 0xE3}), (std::vector<bool>{true, true}));
}

TEST(FlagLiveness, OffMeansAllAreNeeded) {
    ir::Unit unit = unit_of({0x01, 0xD8, 0x29, 0xD1});
    EXPECT_EQ(run_passes(unit, {.flag_liveness = false, .verify = true}, 64), "");
    for (const ir::Op& op : unit.ops)
        EXPECT_TRUE(op.flags_needed);
}

TEST(Verifier, TakesWhatTheTranslatorMakes) {
    ir::Unit unit = unit_of({0x01, 0xD8, 0x8B, 0x0E, 0x75, 0x02, 0x50, 0xC3});
    EXPECT_EQ(run_passes(unit, {.flag_liveness = true, .verify = true}, 64), "");
    EXPECT_EQ(unit.ops.back().kind, ir::OpKind::return_near);
}

TEST(Verifier, FindsWhatIsWrong) {
    EXPECT_EQ(ir::verify(ir::Unit{}), "no operations");

    ir::Unit gap = unit_of({0x01, 0xD8, 0x29, 0xD1});
    gap.ops[1].rip += 1;
    EXPECT_NE(ir::verify(gap).find("was due"), std::string::npos);

    ir::Unit open = unit_of({0x01, 0xD8});
    open.ops.pop_back();
    EXPECT_NE(ir::verify(open).find("ends or does not end"), std::string::npos);

    ir::Unit sizeless = unit_of({0x8B, 0x0E});
    sizeless.ops[0].access_bytes = 0;
    EXPECT_NE(ir::verify(sizeless).find("without size"), std::string::npos);

    ir::Unit flags = unit_of({0x01, 0xD8, 0x29, 0xD1});
    flags.ops[0].flags_needed_after = !flags.ops[1].flags_needed;
    EXPECT_NE(ir::verify(flags).find("differ about flags"), std::string::npos);
}

TEST(Translate, EndsWhereItIsTold) {
    static const cpu::CpuModel model;
    static const cpu::Decoder decoder(model);
    const std::vector<u8> code(100, 0x90);
    EXPECT_EQ(translate(decoder, code, 0, PhysicalAddress(0), {}, 1).ops.size(), 2u); // And the end.
    EXPECT_EQ(translate(decoder, code, 0, PhysicalAddress(0), {}).ops.size(), longest_unit + 1);
}

TEST(Translate, BranchesOutOfCanonicalSpaceGoToTheirHandler) {
    static const cpu::CpuModel model;
    static const cpu::Decoder decoder(model);
    const u8 jump[] = {0xE9, 0x00, 0x10, 0x00, 0x00};
    const u64 last = 0x7FFF'FFFF'F000;
    EXPECT_EQ(translate(decoder, jump, last, PhysicalAddress(0), {}).ops[0].kind, ir::OpKind::interpret_and_leave);
    EXPECT_EQ(translate(decoder, jump, last - 0x2000, PhysicalAddress(0), {}).ops[0].kind, ir::OpKind::jump);
}

} // namespace
} // namespace calque::jit
