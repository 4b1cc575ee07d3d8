#include "tests/gdb/session_harness.h"

#include <gtest/gtest.h>

namespace calque::gdb::testing {
namespace {

using namespace cpu::testing;

std::string hex_of(u64 value, unsigned bytes) { return to_hex(std::span(reinterpret_cast<const u8*>(&value), bytes)); }
std::string number(const Registers& registers, std::string_view name) {
    return fmt::format("{:x}", registers.find(name).value());
}

TEST(GdbSession, OffersWhatItHas) {
    Debugged d;
    EXPECT_NE(d.ask("qSupported:swbreak+").find("qXfer:features:read+"), std::string::npos);
    EXPECT_EQ(d.ask("vCont?"), "vCont;c;C;s;S");
    EXPECT_EQ(d.ask("qAttached"), "1");
    EXPECT_EQ(d.ask("vMustReplyEmpty"), "");
    EXPECT_EQ(d.ask("?"), "T05thread:1;");
    EXPECT_TRUE(d.session.acknowledges());
    EXPECT_EQ(d.ask("QStartNoAckMode"), "OK");
    EXPECT_FALSE(d.session.acknowledges());
}

TEST(GdbSession, DescriptionComesInPiecesAndNamesEachRegister) {
    Debugged d;
    std::string xml;
    for (;;) {
        const std::string piece = d.ask(fmt::format("qXfer:features:read:target.xml:{:x},3f0", xml.size()));
        ASSERT_FALSE(piece.empty());
        ASSERT_LE(piece.size(), 0x3F1u);
        xml += piece.substr(1);
        if (piece[0] == 'l') break;
        ASSERT_EQ(piece[0], 'm');
    }
    EXPECT_TRUE(xml.ends_with("</target>\n"));
    for (const char* name : {"rax", "rip", "eflags", "st7", "fop", "xmm15", "mxcsr", "fs_base", "ymm15h", "cr0", "cr8",
                             "efer", "dr7", "gdtr_base", "idtr_limit", "tr", "ldtr_rights", "lstar", "kernel_gs_base"})
        EXPECT_NE(xml.find(fmt::format("<reg name=\"{}\" ", name)), std::string::npos) << name;
    EXPECT_EQ(d.ask("qXfer:features:read:target.xml:ffffff,10"), "E01");
    EXPECT_EQ(d.ask("qXfer:features:read:other.xml:0,10"), "E00");
}

TEST(GdbSession, ReadsAndWritesRegisters) {
    Debugged d;
    const Registers registers(d.guest.cpu());
    d.guest.state().gpr[cpu::rax] = 0x1122334455667788;
    const std::string all = d.ask("g");
    EXPECT_EQ(all.substr(0, 16), "8877665544332211");
    // 16 general registers, RIP; EFLAGS and six selectors; x87; XMM and MXCSR; two bases; upper halves.
    EXPECT_EQ(all.size(), 2u * (17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 16 * 16 + 4 + 2 * 8 + 16 * 16));
    EXPECT_EQ(d.ask("G" + all), "OK");
    EXPECT_EQ(d.ask("g"), all);
    EXPECT_EQ(d.ask("G" + all.substr(2)), "E03");
    EXPECT_EQ(d.ask("P1=" + hex_of(0x42, 8)), "OK");
    EXPECT_EQ(d.guest.state().gpr[cpu::rbx], 0x42u);
    EXPECT_EQ(d.ask("p1"), hex_of(0x42, 8));
    EXPECT_EQ(d.ask("P1=4200"), "E03") << "too short";
    EXPECT_EQ(d.ask("pffff"), "E03");
    d.guest.state().vector[3].q[2] = 0xABCD;
    EXPECT_EQ(d.ask("p" + number(registers, "ymm3h")), hex_of(0xABCD, 8) + hex_of(0, 8));
}

TEST(GdbSession, SystemRegistersAreAsTheProcessorTakesThem) {
    Debugged d;
    const Registers registers(d.guest.cpu());
    const auto set = [&](std::string_view name, u64 value, unsigned bytes = 8) {
        return d.ask(fmt::format("P{}={}", number(registers, name), hex_of(value, bytes)));
    };
    EXPECT_EQ(d.ask("p" + number(registers, "cr0")), hex_of(d.guest.state().cr0, 8));
    EXPECT_EQ(set("cr4", d.guest.state().cr4 | cpu::cr4_tsd), "OK");
    EXPECT_TRUE(d.guest.state().cr4 & cpu::cr4_tsd);
    EXPECT_EQ(set("cr4", u64{1} << 40), "E03") << "a reserved bit";
    EXPECT_FALSE(d.guest.cpu().pending_exception()) << "the guest did not ask";
    EXPECT_EQ(set("lstar", 0xFFFFFFFF81000000), "OK");
    EXPECT_EQ(d.guest.state().lstar, 0xFFFFFFFF81000000);
    EXPECT_EQ(set("lstar", u64{1} << 60), "E03") << "not canonical";
    EXPECT_EQ(set("cs", 0x1234, 4), "E03") << "a selector alone";
    EXPECT_EQ(set("cs", d.guest.state().segment[cpu::cs].selector, 4), "OK") << "as it is";
    const u64 flags = cpu::read_rflags(d.guest.state());
    EXPECT_EQ(set("eflags", flags | cpu::flag_vm | cpu::flag_cf, 4), "OK");
    EXPECT_EQ(cpu::read_rflags(d.guest.state()), flags | cpu::flag_cf);
}

TEST(GdbSession, X87TagsAreThoseOfFstenv) {
    Debugged d;
    const Registers registers(d.guest.cpu());
    auto& x87 = d.guest.state().x87;
    x87.valid = 0x07;
    x87.reg[0] = {u64{1} << 63, 0x3FFF}; // 1
    x87.reg[1] = {0, 0};
    x87.reg[2] = {u64{1} << 63, 0x7FFF}; // Infinity.
    EXPECT_EQ(d.ask("p" + number(registers, "ftag")), hex_of(0xFFE4, 4));
    EXPECT_EQ(d.ask("P" + number(registers, "ftag") + "=" + hex_of(0xFFFC, 4)), "OK");
    EXPECT_EQ(x87.valid, 1);
}

TEST(GdbSession, MemoryEndsWhereTheTablesDo) {
    Debugged d;
    d.guest.poke(data_base, u32{0x44332211});
    EXPECT_EQ(d.ask(fmt::format("m{:x},4", data_base)), "11223344");
    EXPECT_EQ(d.ask(fmt::format("m{:x},10", arena_base + arena_size - 2)), "0000") << "as far as there is memory";
    EXPECT_EQ(d.ask("m0,4"), "E0e") << "not mapped";
    EXPECT_EQ(d.ask("m,4"), "E01");
    EXPECT_EQ(d.ask("m10"), "E01");
    EXPECT_EQ(d.ask(fmt::format("M{:x},2:abcd", data_base + page_size - 1)), "OK") << "two pages";
    EXPECT_EQ(d.guest.peek<u16>(data_base + page_size - 1), 0xCDAB);
    EXPECT_EQ(d.ask(fmt::format("M{:x},3:abcd", data_base)), "E01") << "not as long as it says";
    EXPECT_EQ(d.ask(fmt::format("M{:x},4:01020304", arena_base + arena_size - 2)), "E0e");
    EXPECT_EQ(d.guest.peek<u16>(arena_base + arena_size - 2), 0) << "all or nothing";
    EXPECT_EQ(d.ask(fmt::format("X{:x},4:", data_base) + "}$z#"), "OK") << "escapes are the reader's";
    EXPECT_EQ(d.guest.peek<u32>(data_base), 0x237A247Du);
    EXPECT_EQ(d.ask(fmt::format("X{:x},0:", data_base)), "OK");
}

TEST(GdbSession, PhysicalMemoryWhenAskedFor) {
    Debugged d;
    EXPECT_EQ(d.ask("qqemu.PhyMemMode"), "0");
    EXPECT_EQ(d.ask("Qqemu.PhyMemMode:1"), "OK");
    d.guest.poke(0x500, u16{0x3412});
    EXPECT_EQ(d.ask("m500,2"), "1234");
    EXPECT_EQ(d.ask("Qqemu.PhyMemMode:2"), "E01");
    d.ask("qRcmd," + to_hex("gdb-memory linear"));
    EXPECT_EQ(d.ask("m500,2"), "E0e");
}

// INC RAX three times, then for ever.
void counting(Debugged& d) {
    d.guest.memory.write(PhysicalAddress(code_base),
                         std::array<u8, 11>{0x48, 0xFF, 0xC0, 0x48, 0xFF, 0xC0, 0x48, 0xFF, 0xC0, 0xEB, 0xFE});
    d.guest.state().rip() = code_base;
}

TEST(GdbSession, BreakpointsStepsAndWhatIsSaidOfThem) {
    Debugged d;
    counting(d);
    d.ask("qSupported:swbreak+;hwbreak+");
    EXPECT_EQ(d.ask(fmt::format("Z0,{:x},1", code_base + 3)), "OK");
    EXPECT_EQ(d.ask(fmt::format("Z1,{:x},1", code_base + 6)), "OK");
    EXPECT_EQ(d.ask("c"), "T05thread:1;swbreak:;");
    EXPECT_EQ(d.guest.state().rip(), code_base + 3);
    EXPECT_EQ(d.ask("vCont;c"), "T05thread:1;hwbreak:;") << "the one that was reported is passed over";
    EXPECT_EQ(d.ask("vCont;s:1"), "T05thread:1;");
    EXPECT_EQ(d.guest.state().rip(), code_base + 9);
    EXPECT_EQ(d.ask(fmt::format("z0,{:x},1", code_base + 3)), "OK");
    EXPECT_EQ(d.ask(fmt::format("c{:x}", code_base)), "T05thread:1;hwbreak:;");
    EXPECT_EQ(d.guest.state().gpr[cpu::rax], 5u);
    EXPECT_EQ(d.ask("Z5,0,1"), "");
    EXPECT_EQ(d.ask("Z0,0"), "E01");
    EXPECT_EQ(d.ask("vCont;x"), "E01");
    EXPECT_EQ(d.ask("vCont;c:2"), "E01") << "there is one thread";
}

TEST(GdbSession, WatchpointsByKind) {
    Debugged d;
    d.guest.memory.write(PhysicalAddress(code_base), std::array<u8, 8>{0x48, 0x89, 0x07, 0x48, 0x8B, 0x07, 0xEB, 0xFE});
    d.guest.state().rip() = code_base; // MOV [RDI], RAX; MOV RAX, [RDI]
    d.guest.state().gpr[cpu::rdi] = data_base;
    EXPECT_EQ(d.ask(fmt::format("Z2,{:x},4", data_base)), "OK");
    EXPECT_EQ(d.ask(fmt::format("Z3,{:x},4", data_base + 4)), "OK");
    EXPECT_EQ(d.ask("c"), fmt::format("T05thread:1;watch:{:x};", data_base));
    EXPECT_EQ(d.guest.state().rip(), code_base + 3);
    EXPECT_EQ(d.ask("c"), fmt::format("T05thread:1;rwatch:{:x};", data_base + 4));
    EXPECT_EQ(d.guest.state().rip(), code_base + 6);
    EXPECT_EQ(d.ask("Z2,0,0"), "E01");
    EXPECT_EQ(d.ask("Z2,ffffffffffffffff,2"), "E01");
}

TEST(GdbSession, PacketsThatComeWhileTheGuestRunsAreNotHeard) {
    Debugged d;
    d.session.take("c");
    EXPECT_TRUE(d.session.running());
    d.sent.clear();
    d.session.take("g");
    EXPECT_EQ(d.sent, "");
    d.session.interrupt();
    EXPECT_TRUE(d.paused);
    d.session.stopped();
    EXPECT_EQ(d.sent, make_packet("T02thread:1;"));
    d.session.ended(3);
    EXPECT_EQ(d.sent.find('W'), std::string::npos) << "nobody waits";
    d.session.take("c");
    d.session.ended(3);
    EXPECT_NE(d.sent.find("$W03#"), std::string::npos);
}

TEST(GdbSession, ThreadsAreProcessors) {
    Debugged d;
    EXPECT_EQ(d.ask("qfThreadInfo"), "m1");
    EXPECT_EQ(d.ask("qsThreadInfo"), "l");
    EXPECT_EQ(d.ask("qThreadExtraInfo,1"), to_hex("CPU#0 [running]"));
    EXPECT_EQ(d.ask("T1"), "OK");
    EXPECT_EQ(d.ask("T2"), "E01");
    EXPECT_EQ(d.ask("Hg2"), "E01");
    EXPECT_EQ(d.ask("Hg1"), "OK");
    EXPECT_EQ(d.ask("Hc-1"), "OK");
    EXPECT_EQ(d.ask("qC"), "QC1");
}

TEST(GdbSession, CommandsOfItsOwnAndOfTheMonitor) {
    Debugged d;
    const auto run = [&](std::string_view line) {
        return bytes_of_hex(d.ask("qRcmd," + to_hex(line))).value_or("(no text)");
    };
    EXPECT_EQ(run("gdb-catch pf 13 ud"), "stops at: ud gp pf\n");
    EXPECT_EQ(run("gdb-catch"), "stops at: ud gp pf\n");
    EXPECT_EQ(run("gdb-catch xyz").substr(0, 28), "there is no exception 'xyz';");
    EXPECT_EQ(run("gdb-catch none"), "stops at: no exception\n");
    EXPECT_EQ(run("wrmsr c0000082 1000"), "MSR 0xc0000082 is 0x1000\n");
    EXPECT_EQ(run("rdmsr 0xc0000082"), "MSR 0xc0000082 is 0x1000\n");
    EXPECT_NE(run("rdmsr 1 2").find("rdmsr takes"), std::string::npos);
    d.session.take("qRcmd," + to_hex("info status"));
    EXPECT_EQ(d.commands, std::vector<std::string>{"info status"});
    EXPECT_EQ(d.ask("g"), "") << "the command has not ended";
    d.sent.clear();
    d.session.command_done("VM status: paused\n");
    EXPECT_EQ(Debugged::expand(d.sent), "$" + to_hex("VM status: paused\n") + d.sent.substr(d.sent.size() - 3));
    d.session.take("qRcmd," + to_hex("eject"));
    d.sent.clear();
    d.session.command_done("");
    EXPECT_EQ(d.sent, make_packet("OK"));
    EXPECT_EQ(d.ask("qRcmd,6"), "E01");
}

TEST(GdbSession, DetachingTakesEverythingAway) {
    Debugged d;
    d.ask("Z0,1000,1");
    EXPECT_EQ(d.ask("D"), "OK");
    EXPECT_TRUE(d.session.detached());
    const auto plans = d.session.leave();
    ASSERT_EQ(plans.size(), 1u);
    EXPECT_TRUE(plans[0].stops.breakpoints.empty());
    EXPECT_TRUE(plans[0].stops.offsets.none());
    d.ask("k");
    EXPECT_FALSE(d.killed) << "it has left";
}

} // namespace
} // namespace calque::gdb::testing
