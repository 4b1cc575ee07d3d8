#include "tests/devices/lapic_fixture.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

using X2apicTest = LapicTest;

TEST_F(X2apicTest, ApicBaseTransitions) {
    LocalApic& a = apic(0);
    const u64 base = 0xfee0'0100;
    EXPECT_FALSE(a.write_msr(msr::apic_base, base | 0x400)) << "x2APIC without enable";
    EXPECT_FALSE(a.write_msr(msr::apic_base, base | 0x800 | 1)) << "reserved bit";
    EXPECT_FALSE(a.write_msr(msr::apic_base, base | 0x800 | u64{1} << 40)) << "above MAXPHYADDR";
    EXPECT_TRUE(a.write_msr(msr::apic_base, base));
    EXPECT_FALSE(a.write_msr(msr::apic_base, base | 0xc00)) << "disabled to x2APIC";
    EXPECT_TRUE(a.write_msr(msr::apic_base, base | 0x800));
    EXPECT_TRUE(a.write_msr(msr::apic_base, base | 0xc00));
    EXPECT_TRUE(a.x2apic_enabled());
    EXPECT_FALSE(cpu[0].mmio);
    EXPECT_FALSE(a.write_msr(msr::apic_base, base | 0x800)) << "x2APIC to xAPIC";
    EXPECT_TRUE(a.write_msr(msr::apic_base, base));
    EXPECT_TRUE(a.write_msr(msr::apic_base, 0x1234'5900));
    EXPECT_EQ(cpu[0].base, 0x1234'5000u);
    EXPECT_TRUE(cpu[0].mmio);
}

TEST_F(X2apicTest, X2apicRegistersAndTheirFaults) {
    LocalApic& a = apic(3);
    EXPECT_FALSE(a.read_msr(0x802).has_value()) << "not in xAPIC mode";
    EXPECT_FALSE(a.write_msr(0x80f, 0x1ff));
    enter_x2apic(a);
    EXPECT_EQ(a.read_msr(0x802), 3u);
    EXPECT_EQ(a.read_msr(0x80d), 8u) << "cluster 0, bit 3";
    EXPECT_TRUE(a.write_msr(0x80f, 0x1ff));
    for (u32 index : {0x800u, 0x809u, 0x80bu, 0x80eu, 0x831u, 0x83fu, 0x8ffu})
        EXPECT_FALSE(a.read_msr(index).has_value()) << index;
    for (u32 index : {0x802u, 0x803u, 0x80au, 0x80du, 0x810u, 0x820u, 0x831u, 0x839u, 0x8ffu})
        EXPECT_FALSE(a.write_msr(index, 0)) << index;
    EXPECT_FALSE(a.write_msr(0x808, 0x100));
    EXPECT_FALSE(a.write_msr(0x80b, 1));
    EXPECT_FALSE(a.write_msr(0x828, 1));
    EXPECT_FALSE(a.write_msr(0x832, u64{1} << 32));
    EXPECT_FALSE(a.write_msr(0x83e, 4));
    EXPECT_FALSE(a.write_msr(0x830, 0x1000));
    EXPECT_TRUE(a.write_msr(0x835, 0x1'0700));
    EXPECT_TRUE(a.write_msr(0x83f, 0x66));
    EXPECT_EQ(a.acknowledge(), 0x66);
    EXPECT_TRUE(a.write_msr(0x80b, 0));
}

TEST_F(X2apicTest, X2apicIpis) {
    for (auto& a : apics) {
        enter_x2apic(*a);
        a->write_msr(0x80f, 0x1ff);
    }
    EXPECT_TRUE(apic(0).write_msr(0x830, u64{2} << 32 | 0x40));
    EXPECT_EQ(apic(0).read_msr(0x830), u64{2} << 32 | 0x40);
    EXPECT_TRUE(apic(0).write_msr(0x830, u64{0x000a} << 32 | 0x841)); // Logical, cluster 0, bits 1 and 3.
    EXPECT_TRUE(apic(0).write_msr(0x830, u64{0xffff'ffff} << 32 | 0x42));
    EXPECT_TRUE(apic(0).write_msr(0x830, u64{0xff} << 32 | 0x43)); // APIC ID 255: nobody.
    const auto requests = [&](unsigned i) { return *apic(i).read_msr(0x822); };
    EXPECT_EQ(requests(0), 0x4u);
    EXPECT_EQ(requests(1), 0x6u);
    EXPECT_EQ(requests(2), 0x5u);
    EXPECT_EQ(requests(3), 0x6u);
}

} // namespace
