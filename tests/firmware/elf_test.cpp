#include "firmware/loaders/elf.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

TEST(Elf, ReadsBothClasses) {
    for (const bool wide : {false, true}) {
        ElfFile file;
        file.wide = wide;
        const auto image = file.build();
        const auto elf = parse_elf(image, "kernel");
        ASSERT_TRUE(elf.ok()) << message(elf);
        EXPECT_EQ(elf->is_64bit, wide);
        EXPECT_EQ(elf->entry, 0x100010u);
        ASSERT_EQ(elf->loads.size(), 1u);
        EXPECT_EQ(elf->loads[0].file_size, 0x100u);
        EXPECT_EQ(elf->physical_end(), 0x103000u);
    }
}

TEST(Elf, EntryOfAKernelLinkedHighIsPhysical) {
    ElfFile file;
    file.wide = true;
    file.linear = 0xFFFFFFFF80100000;
    file.entry = file.linear + 0x20;
    const auto image = file.build();
    const auto elf = parse_elf(image, "kernel");
    ASSERT_TRUE(elf.ok());
    EXPECT_EQ(elf->physical_entry(), 0x100020u);
}

TEST(Elf, HeaderErrorsAreSentences) {
    const auto refuse = [](const std::function<void(std::vector<u8>&)>& damage, const char* words, bool wide = false) {
        ElfFile file;
        file.wide = wide;
        auto image = file.build();
        damage(image);
        EXPECT_SAYS(parse_elf(image, "kernel"), words);
    };
    refuse([](auto& i) { i[4] = 3; }, "ELF class 3 is neither 32-bit nor 64-bit");
    refuse([](auto& i) { i[5] = 2; }, "big-endian");
    refuse([](auto& i) { i[6] = 0; }, "its ELF version is not 1");
    refuse([](auto& i) { i[18] = 183; }, "is an ELF file for AArch64: this machine is an x86-64 PC");
    refuse([](auto& i) { i[18] = 62; }, "32-bit ELF file for x86-64: that pairing (x32) is not supported");
    refuse([](auto& i) { i[18] = 3; }, "64-bit ELF file for i386", true);
    refuse([](auto& i) { i[16] = 1; }, "is an object file that is not linked yet");
    refuse([](auto& i) { i[16] = 3; }, "shared object or position-independent ELF file: link the kernel");
    refuse([](auto& i) { i[40] = 51; }, "gives its ELF header 51 bytes, and 52 belong there");
    refuse([](auto& i) { i[42] = 31; }, "its program headers have 31 bytes each, and 32 belong there");
    refuse([](auto& i) { i[44] = 0; }, "has no program headers");
    refuse([](auto& i) { i[44] = i[45] = 0xFF; }, "more than 65534 program headers");
    refuse([](auto& i) { i[31] = 0xFF; }, "its program headers lie past its end");
    refuse([](auto& i) { i[52] = 2; }, "has no segment to load");
    refuse([](auto& i) { i.resize(0x480); }, "a segment of 256 bytes at offset 0x400 lies past its end");
    refuse([](auto& i) { i[52 + 20] = 0, i[52 + 21] = 0; },
           "a segment has 256 bytes in the file and only 0 bytes in memory");
    refuse([](auto& i) { i.resize(40); }, "40 bytes are too few for an ELF header");
    refuse([](auto& i) { i.resize(60); }, "60 bytes are too few for an ELF header", true);
    refuse([](auto& i) { i[64 + 8 + 7] = 0xFF; }, "lies past its end", true);
    refuse([](auto& i) { std::fill_n(i.begin() + 64 + 24, 8, 0xFF); }, "passes the end of the address space", true);
}

TEST(Elf, SegmentsThatOverlapAreRefused) {
    ElfFile file;
    auto image = file.build();
    image[44] = 2;
    std::copy_n(image.begin() + 52, 32, image.begin() + 84);
    EXPECT_SAYS(parse_elf(image, "kernel"), "its segments overlap at 0x100000");
}

TEST(Elf, ClearsWhatTheFileDoesNotFill) {
    Guest guest;
    ASSERT_TRUE(guest.memory.write(PhysicalAddress(0x100000), std::vector<u8>(0x4000, 0xEE)));
    const auto image = ElfFile{}.build();
    const auto elf = parse_elf(image, "kernel");
    ASSERT_TRUE(load_elf(guest.context(), *elf, {image, "kernel", "", {}}).ok());
    EXPECT_EQ(guest.memory.number(0x1000FF, 1), 0xCCu);
    EXPECT_EQ(guest.memory.bytes(0x100100, 0x2F00), std::vector<u8>(0x2F00));
    EXPECT_EQ(guest.memory.number(0x103000, 1), 0xEEu);
}

TEST(Elf, PlacesThatAreNotFreeRamAreRefused) {
    const auto refuse = [](u64 physical, u64 size, const char* words) {
        ElfFile file;
        file.physical = physical;
        file.memory_size = size;
        Guest guest;
        const auto image = file.build();
        const auto elf = parse_elf(image, "kernel");
        ASSERT_TRUE(elf.ok()) << message(elf);
        EXPECT_SAYS(load_elf(guest.context(), *elf, {image, "kernel", "", {}}), words);
    };
    refuse(0x8000, 0x1000, "loads at 0x8000, where the boot information is: link it at 1 MiB or above");
    refuse(0xF0000, 0x1000, "needs 4 KiB of memory at 0xf0000, which is not free RAM");
    refuse(0x100000, 200 * MiB, "in a guest of 128 MiB: give it more with -m");
    refuse(0xFEE00000, 0x1000, "which is not free RAM");
}

TEST(Elf, PvhNote) {
    for (const bool wide : {false, true})
        for (const unsigned size : {4u, 8u}) {
            ElfFile file;
            file.wide = wide;
            file.note = ElfFile::other_note();
            append(file.note, ElfFile::pvh_note(0x123450, size));
            const auto image = file.build();
            const auto elf = parse_elf(image, "kernel");
            ASSERT_TRUE(elf.ok()) << message(elf);
            EXPECT_EQ(pvh_entry(image, *elf), std::optional<u64>(0x123450));
        }
}

TEST(Elf, DamagedNotesAreNoEntry) {
    for (const std::size_t field : {0u, 4u}) {
        ElfFile file;
        file.note = ElfFile::pvh_note(0x123450);
        store(file.note, field, 0xFFFFFFF0, 4);
        const auto image = file.build();
        const auto elf = parse_elf(image, "kernel");
        ASSERT_TRUE(elf.ok());
        EXPECT_EQ(pvh_entry(image, *elf), std::nullopt);
    }
}

} // namespace
} // namespace calque::firmware::test
