#include "firmware/acpi/aml.h"

#include <gtest/gtest.h>

namespace calque::firmware::aml {
namespace {

TEST(Aml, NamesOfOneTwoAndMoreSegments) {
    EXPECT_EQ(name("PIC"), (Term{'P', 'I', 'C', '_'}));
    EXPECT_EQ(name("\\_SB.PCI0"), (Term{'\\', 0x2E, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'}));
    EXPECT_EQ(name("^^A.B.C").front(), '^');
    EXPECT_EQ(name("A.B.C"), (Term{0x2F, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}));
    EXPECT_EQ(name("\\"), (Term{'\\', 0}));
}

TEST(Aml, IntegersTakeTheShortestForm) {
    EXPECT_EQ(integer(0), (Term{0x00}));
    EXPECT_EQ(integer(1), (Term{0x01}));
    EXPECT_EQ(integer(0xFF), (Term{0x0A, 0xFF}));
    EXPECT_EQ(integer(0x100), (Term{0x0B, 0x00, 0x01}));
    EXPECT_EQ(integer(0x10000), (Term{0x0C, 0, 0, 1, 0}));
    EXPECT_EQ(integer(0x100000000), (Term{0x0E, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, EisaIdIsBigEndian) { EXPECT_EQ(eisa_id("PNP0A03"), (Term{0x0C, 0x41, 0xD0, 0x0A, 0x03})); }

// The length counts its own bytes, so the form changes where one byte more no longer fits.
TEST(Aml, PackageLengthAtItsBoundaries) {
    const auto length_bytes = [](std::size_t body) { // A scope "\" takes two bytes of it.
        const Term out = scope("\\", {Term(body - 2, 0xA3)});
        return std::pair(out[1], out.size());
    };
    EXPECT_EQ(length_bytes(62), std::pair(u8{63}, std::size_t{1 + 1 + 62}));
    EXPECT_EQ(length_bytes(63), std::pair(u8{0x41}, std::size_t{1 + 2 + 63})); // 65 = 0x041
    EXPECT_EQ(length_bytes(4093), std::pair(u8{0x4F}, std::size_t{1 + 2 + 4093}));
    EXPECT_EQ(length_bytes(4094), std::pair(u8{0x81}, std::size_t{1 + 3 + 4094})); // 4097 = 0x1001
    EXPECT_EQ(length_bytes(1048572), std::pair(u8{0x8F}, std::size_t{1 + 3 + 1048572}));
    EXPECT_EQ(length_bytes(1048573), std::pair(u8{0xC1}, std::size_t{1 + 4 + 1048573})); // 1048577 = 0x100001
}

TEST(Aml, BufferHoldsItsSize) { EXPECT_EQ(buffer({7, 8}), (Term{0x11, 5, 0x0A, 2, 7, 8})); }

} // namespace
} // namespace calque::firmware::aml
