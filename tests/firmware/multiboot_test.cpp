#include "firmware/layout.h"
#include "firmware/loaders/multiboot_header.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

std::vector<u8> elf_kernel(u32 flags, bool wide = false) {
    ElfFile file;
    file.wide = wide;
    const auto words = multiboot_words(flags);
    std::copy(words.begin(), words.end(), file.code.begin() + 0x20);
    return file.build();
}

// A flat file whose header's address fields place it at 2 MiB, with 0x100 bytes before the header left out.
std::vector<u8> flat_kernel(std::initializer_list<u32> addresses) {
    std::vector<u8> out(0x200, 0x11);
    append(out, multiboot_words(1u << 16, addresses));
    out.resize(0x400, 0x22);
    return out;
}

Result<BootState> load_image(Guest& guest, const std::vector<u8>& image, std::vector<BootModule> modules = {},
                             const std::string& line = "one two") {
    return load_multiboot(guest.context(), {image, "kernel", line, std::move(modules)});
}

TEST(Multiboot, MachineState) {
    Guest guest;
    const auto image = elf_kernel(0x3);
    EXPECT_EQ(detect(image), ImageKind::multiboot);
    const auto state = load_image(guest, image);
    ASSERT_TRUE(state.ok()) << message(state);
    EXPECT_EQ(state->mode, BootMode::protected32);
    EXPECT_EQ(state->rip, 0x100010u);
    EXPECT_EQ(state->rax, 0x2BADB002u);
    EXPECT_EQ(state->cr0 & 0x80000001, 1u);
    EXPECT_EQ(state->rflags & 0x20200, 0u);
    EXPECT_EQ(state->cs.limit, 0xFFFFFFFFu);
    EXPECT_EQ(guest.memory.number(0x100020, 4), 0x1BADB002u);
}

TEST(Multiboot, InformationStructure) {
    Guest guest(5 * GiB);
    const std::vector<u8> first(5000, 1), second(10, 2);
    const auto state = load_image(guest, elf_kernel(0x3), {{first, "a.bin", "a.bin arg"}, {second, "b.bin", "b.bin"}});
    ASSERT_TRUE(state.ok()) << message(state);
    const auto field = [&](u32 at) { return guest.memory.number(state->rbx + at, 4); };
    EXPECT_EQ(field(0), 0x24Du); // Memory, command line, modules, memory map, loader name.
    EXPECT_EQ(field(4), 639u);
    EXPECT_EQ(field(8), (3 * GiB - 4 * page_size - MiB) / KiB);
    EXPECT_EQ(guest.memory.text(field(16)), "kernel one two");
    EXPECT_EQ(guest.memory.text(field(64)), "Calque");

    ASSERT_EQ(field(20), 2u);
    const auto module = [&](u32 n, u32 at) { return guest.memory.number(field(24) + 16 * n + at, 4); };
    EXPECT_EQ(module(0, 0), 0x103000u);
    EXPECT_EQ(module(0, 4), 0x103000u + 5000);
    EXPECT_EQ(guest.memory.text(module(0, 8)), "a.bin arg");
    EXPECT_EQ(module(1, 0), 0x105000u);
    EXPECT_EQ(guest.memory.bytes(module(0, 0), 5000), first);
    EXPECT_EQ(guest.memory.bytes(module(1, 0), 10), second);

    const auto& entries = guest.map.entries();
    ASSERT_EQ(field(44), 24 * entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const u64 at = field(48) + 24 * i;
        EXPECT_EQ(guest.memory.number(at, 4), 20u);
        EXPECT_EQ(guest.memory.number(at + 4, 8), entries[i].base);
        EXPECT_EQ(guest.memory.number(at + 12, 8), entries[i].size);
        EXPECT_EQ(guest.memory.number(at + 20, 4), static_cast<u32>(entries[i].type));
    }
}

TEST(Multiboot, AddressFieldsPlaceAFlatFile) {
    Guest guest;
    ASSERT_TRUE(guest.memory.write(PhysicalAddress(2 * MiB), std::vector<u8>(0x1000, 0xEE)));
    const auto image = flat_kernel({0x200100, 0x200000, 0x200200, 0x200300, 0x200123});
    const auto state = load_image(guest, image);
    ASSERT_TRUE(state.ok()) << message(state);
    EXPECT_EQ(state->rip, 0x200123u);
    EXPECT_EQ(guest.memory.number(0x200000, 1), 0x11u);
    EXPECT_EQ(guest.memory.number(0x200100, 4), 0x1BADB002u);
    EXPECT_EQ(guest.memory.number(0x2001FF, 1), 0x22u);
    EXPECT_EQ(guest.memory.bytes(0x200200, 0x100), std::vector<u8>(0x100));
    EXPECT_EQ(guest.memory.number(0x200300, 1), 0xEEu);
}

TEST(Multiboot, AddressFieldsOfZeroMeanTheWholeFile) {
    Guest guest;
    const auto image = flat_kernel({0x200200, 0x200000, 0, 0, 0x200000});
    ASSERT_TRUE(load_image(guest, image).ok());
    EXPECT_EQ(guest.memory.bytes(0x200000, image.size()), image);
}

TEST(Multiboot, AddressFieldErrorsAreSentences) {
    Guest guest;
    const auto refuse = [&](std::initializer_list<u32> addresses, const char* words) {
        EXPECT_SAYS(load_image(guest, flat_kernel(addresses)), words);
    };
    refuse({0x200000, 0x200100, 0, 0, 0}, "loading starts at 0x200100, before the file does");
    refuse({0x200000, 0x100000, 0, 0, 0}, "loading starts at 0x100000, before the file does");
    refuse({0x200100, 0x200000, 0x1000, 0, 0}, "load_end_addr 0x1000 is below its load_addr 0x200000");
    refuse({0x200100, 0x200000, 0x201000, 0, 0}, "asks for 4 KiB from offset 0x100, and 768 bytes are there");
    refuse({0x200100, 0x200000, 0x200200, 0x200100, 0}, "bss_end_addr 0x200100 is below the end of its data 0x200200");
    refuse({0x200100, 0x200000, 0x200200, 0xF0000000, 0}, "which is not free RAM");
    refuse({0x1100, 0x1000, 0, 0, 0}, "loads at 0x1000, where the boot information is");
}

TEST(Multiboot, RequestErrorsAreSentences) {
    Guest guest;
    EXPECT_SAYS(load_image(guest, elf_kernel(0x8)), "requires multiboot features 0x8");
    EXPECT_SAYS(load_image(guest, elf_kernel(0x3, true)),
                "64-bit ELF file, and multiboot 1 starts 32-bit ones: convert it");
    const std::vector<u8> big(130 * MiB);
    EXPECT_SAYS(load_image(guest, elf_kernel(0), {{big, "big", ""}}),
                "module big is too large for the guest's memory: it has 130 MiB");
    EXPECT_SAYS(load_image(guest, elf_kernel(0), {}, std::string(1 << 20, 'a')),
                "the command line has 1048576 characters");
    const BootModule tiny{std::span(big).first(1), "m", "m"};
    EXPECT_SAYS(load_image(guest, elf_kernel(0), std::vector<BootModule>(30000, tiny)),
                "module m: the texts of all modules are too long for the guest's low memory: shorten them");
    EXPECT_SAYS(load_image(guest, elf_kernel(0), std::vector<BootModule>(15000, tiny)),
                "15000 modules are more than the guest's low memory can list: give fewer");
}

TEST(Multiboot, VideoModeIsNotSetAndThePersonHears) {
    Guest guest;
    const auto state = load_image(guest, elf_kernel(0x4));
    ASSERT_TRUE(state.ok());
    ASSERT_EQ(state->notes.size(), 1u);
    EXPECT_EQ(state->notes[0], "kernel kernel asks for a video mode; none is set");
}

TEST(Multiboot, HeaderIsFoundOnlyWholeAndInTheFirst8KiB) {
    std::vector<u8> image(8192 + 64);
    const auto words = multiboot_words(0);
    const auto put = [&](std::size_t at) {
        std::fill(image.begin(), image.end(), u8{0});
        std::copy(words.begin(), words.end(), image.begin() + static_cast<std::ptrdiff_t>(at));
        return find_multiboot_header(image).has_value();
    };
    EXPECT_TRUE(put(0));
    EXPECT_TRUE(put(8192 - 12));
    EXPECT_FALSE(put(8192 - 8));
    EXPECT_FALSE(put(2)); // Not aligned.
    image[8]++;
    EXPECT_TRUE(put(4));
    image[4 + 8]++; // The checksum.
    EXPECT_FALSE(find_multiboot_header(image).has_value());
}

} // namespace
} // namespace calque::firmware::test
