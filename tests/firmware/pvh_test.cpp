#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

std::vector<u8> kernel(u32 entry = 0x100040, bool wide = true) {
    ElfFile file;
    file.wide = wide;
    file.note = ElfFile::pvh_note(entry, wide ? 8 : 4);
    return file.build();
}

Result<BootState> load_image(Guest& guest, const std::vector<u8>& image, std::vector<BootModule> modules = {}) {
    return load_pvh(guest.context(), {image, "vmlinux", "quiet", std::move(modules)});
}

TEST(Pvh, StartsInFlatProtectedModeAtTheNotesEntry) {
    for (const bool wide : {false, true}) {
        Guest guest;
        const auto image = kernel(0x100040, wide);
        EXPECT_EQ(detect(image), ImageKind::pvh);
        const auto state = load_image(guest, image);
        ASSERT_TRUE(state.ok()) << message(state);
        EXPECT_EQ(state->mode, BootMode::protected32);
        EXPECT_EQ(state->rip, 0x100040u);
        EXPECT_EQ(state->cr0 & 0x80000001, 1u);
        EXPECT_EQ(state->cr4, 0u);
        EXPECT_EQ(state->cs.rights, 0xC09B);
        EXPECT_EQ(state->tr.rights, 0x8B);
        EXPECT_EQ(state->tr.limit, 0x67u);
    }
}

TEST(Pvh, StartInfo) {
    Guest guest;
    const std::vector<u8> initrd(5000, 9);
    const auto state = load_image(guest, kernel(), {{initrd, "initrd", "text"}});
    ASSERT_TRUE(state.ok()) << message(state);
    const u64 info = state->rbx;
    const auto field = [&](u32 at, unsigned size) { return guest.memory.number(info + at, size); };
    EXPECT_EQ(field(0, 4), 0x336EC578u);
    EXPECT_EQ(field(4, 4), 1u);
    EXPECT_EQ(field(12, 4), 1u);
    EXPECT_EQ(guest.memory.text(field(24, 8)), "quiet");
    EXPECT_EQ(field(32, 8), 0xF0000u);
    const u64 module = field(16, 8);
    EXPECT_EQ(guest.memory.number(module, 8), align_down(128 * MiB - 4 * page_size - 5000, page_size));
    EXPECT_EQ(guest.memory.number(module + 8, 8), 5000u);
    EXPECT_EQ(guest.memory.text(guest.memory.number(module + 16, 8)), "text");
    EXPECT_EQ(guest.memory.bytes(guest.memory.number(module, 8), 5000), initrd);
    const auto& entries = guest.map.entries();
    ASSERT_EQ(field(48, 4), entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
        EXPECT_EQ(guest.memory.number(field(40, 8) + 24 * i, 8), entries[i].base);
        EXPECT_EQ(guest.memory.number(field(40, 8) + 24 * i + 8, 8), entries[i].size);
        EXPECT_EQ(guest.memory.number(field(40, 8) + 24 * i + 16, 4), static_cast<u32>(entries[i].type));
    }
}

TEST(Pvh, ErrorsAreSentences) {
    Guest guest;
    const std::vector<u8> big(130 * MiB);
    EXPECT_SAYS(load_image(guest, kernel(), {{big, "big.img", ""}}),
                "initrd big.img is too large for the guest's memory: it has "
                "130 MiB");
    EXPECT_SAYS(load_image(guest, kernel(), {{{}, "none.img", ""}}), "initrd none.img is empty");
    EXPECT_SAYS(load_image(guest, ElfFile{}.build()), "vmlinux has no PVH entry note");
    ElfFile high;
    high.wide = true;
    high.note = ElfFile::pvh_note(0, 8);
    high.note.back() = 1;
    EXPECT_SAYS(load_image(guest, high.build()), "its PVH entry point 0x100000000000000 is above 4 GiB");
}

} // namespace
} // namespace calque::firmware::test
