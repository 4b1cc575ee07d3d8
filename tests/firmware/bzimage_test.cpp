#include "firmware/layout.h"
#include "tests/firmware/support.h"

#include <functional>

namespace calque::firmware::test {
namespace {

BootRequest request_for(const std::vector<u8>& image) { return {image, "vmlinuz", "console=ttyS0", {}}; }

Result<BootState> load_built(Guest& guest, const BzImage& recipe,
                             const std::function<void(BootRequest&)>& change = {}) {
    const auto image = recipe.build();
    BootRequest request = request_for(image);
    if (change) change(request);
    return load_bzimage(guest.context(), request);
}

TEST(BzImage, SixtyFourBitEntryRunsWhereTheKernelPrefersIt) {
    Guest guest;
    const auto state = load_built(guest, {});
    ASSERT_TRUE(state.ok()) << message(state);
    EXPECT_EQ(state->mode, BootMode::long64);
    EXPECT_EQ(state->rip, 16 * MiB + 0x200);
    EXPECT_EQ(state->rsi, layout::boot_params);
    EXPECT_EQ(guest.memory.bytes(16 * MiB, 512), std::vector<u8>(512, 0xCC));
}

TEST(BzImage, LongModeMapsTheFirstFourGiBToThemselves) {
    Guest guest;
    const auto state = load_built(guest, {});
    ASSERT_TRUE(state.ok());
    EXPECT_EQ(state->cr0 & 0x80000001, 0x80000001u);
    EXPECT_EQ(state->cr4 & 0x20, 0x20u);
    EXPECT_EQ(state->efer & 0x500, 0x500u);
    for (const u64 address : {u64{0}, 16 * MiB, 3 * GiB + 2 * MiB, 4 * GiB - 2 * MiB}) {
        const u64 pml4e = guest.memory.number(state->cr3, 8);
        const u64 pdpte = guest.memory.number((pml4e & ~0xFFFull) + 8 * (address >> 30), 8);
        const u64 pde = guest.memory.number((pdpte & ~0xFFFull) + 8 * (address >> 21 & 511), 8);
        EXPECT_EQ(pml4e & pdpte & 3, 3u);
        EXPECT_EQ(pde, address | 0x83) << std::hex << address;
    }
    EXPECT_EQ(guest.memory.number(state->gdtr.base + state->cs.selector, 8), 0x00AF9B000000FFFFu);
    EXPECT_EQ(guest.memory.number(state->gdtr.base + state->ss.selector, 8), 0x00CF93000000FFFFu);
}

TEST(BzImage, ThirtyTwoBitEntryWhereThereIsNoOther) {
    Guest guest;
    BzImage kernel;
    kernel.xloadflags = 0;
    const auto state = load_built(guest, kernel);
    ASSERT_TRUE(state.ok()) << message(state);
    EXPECT_EQ(state->mode, BootMode::protected32);
    EXPECT_EQ(state->rip, 16 * MiB);
    EXPECT_EQ(state->rsi, layout::boot_params);
    EXPECT_EQ(state->rbx | state->rbp | state->rdi, 0u);
    EXPECT_EQ(state->cr0 & 0x80000001, 1u);
    EXPECT_EQ(state->cs.selector, 0x10);
    EXPECT_EQ(state->ds.selector, 0x18);
    EXPECT_EQ(guest.memory.number(state->gdtr.base + 0x10, 8), 0x00CF9B000000FFFFu);
}

TEST(BzImage, OldProtocolLoadsAtOneMiBWithDefaults) {
    Guest guest;
    BzImage kernel;
    kernel.version = 0x202;
    const std::vector<u8> initrd(4096, 7);
    const auto state = load_built(guest, kernel, [&](BootRequest& r) { r.modules.push_back({initrd, "initrd", ""}); });
    ASSERT_TRUE(state.ok()) << message(state);
    EXPECT_EQ(state->mode, BootMode::protected32);
    EXPECT_EQ(state->rip, MiB);
    EXPECT_LE(guest.memory.number(layout::boot_params + 0x218, 4) + 4096, 0x38000000u);
}

TEST(BzImage, BootParamsCarryHeaderCommandLineAndTables) {
    Guest guest;
    ASSERT_TRUE(load_built(guest, {}).ok());
    const u64 params = layout::boot_params;
    EXPECT_EQ(guest.memory.number(params + 0x202, 4), 0x53726448u);
    EXPECT_EQ(guest.memory.number(params + 0x210, 1), 0xFFu); // type_of_loader
    EXPECT_EQ(guest.memory.number(params + 0x258, 8), 16 * MiB);
    EXPECT_EQ(guest.memory.text(guest.memory.number(params + 0x228, 4)), "console=ttyS0");
    EXPECT_EQ(guest.memory.number(params + 0x70, 8), 0xF0000u);
    EXPECT_EQ(guest.memory.number(params + 0x1EF, 1), 0u); // The sentinel.
    const auto& entries = guest.map.entries();
    ASSERT_EQ(guest.memory.number(params + 0x1E8, 1), entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
        EXPECT_EQ(guest.memory.number(params + 0x2D0 + 20 * i, 8), entries[i].base);
        EXPECT_EQ(guest.memory.number(params + 0x2D8 + 20 * i, 8), entries[i].size);
        EXPECT_EQ(guest.memory.number(params + 0x2E0 + 20 * i, 4), static_cast<u32>(entries[i].type));
    }
}

TEST(BzImage, ScreenInfoTellsWhetherThereIsVga) {
    Guest without;
    ASSERT_TRUE(load_built(without, {}).ok());
    EXPECT_EQ(without.memory.number(layout::boot_params + 0x06, 2), 0u);
    EXPECT_EQ(without.memory.number(layout::boot_params + 0x0E, 2), 0u);
    Guest with;
    with.platform.vga = true;
    ASSERT_TRUE(load_built(with, {}).ok());
    EXPECT_EQ(with.memory.number(layout::boot_params + 0x06, 2), 0x5003u); // Mode 3, 80 columns.
    EXPECT_EQ(with.memory.number(layout::boot_params + 0x0E, 2), 0x0119u); // 25 lines, VGA.
}

TEST(BzImage, InitrdLiesAtTheTopOfMemoryBelowTheTables) {
    Guest guest;
    const std::vector<u8> initrd(5000, 7);
    const auto state = load_built(guest, {}, [&](BootRequest& r) { r.modules.push_back({initrd, "initrd", ""}); });
    ASSERT_TRUE(state.ok()) << message(state);
    const u64 at = guest.memory.number(layout::boot_params + 0x218, 4);
    EXPECT_EQ(guest.memory.number(layout::boot_params + 0x21C, 4), 5000u);
    EXPECT_EQ(at, align_down(128 * MiB - 4 * page_size - 5000, page_size));
    EXPECT_EQ(guest.memory.bytes(at, 5000), initrd);
}

TEST(BzImage, InitrdStaysBelowInitrdAddrMaxAndMem) {
    const std::vector<u8> initrd(4096, 7);
    Guest large(3 * GiB);
    const auto add = [&](BootRequest& r) { r.modules.push_back({initrd, "initrd", ""}); };
    ASSERT_TRUE(load_built(large, {}, add).ok());
    EXPECT_EQ(large.memory.number(layout::boot_params + 0x218, 4), 0x80000000u - 4096);
    for (const std::string line :
         {"mem=64M", "quiet mem=65536k root=x", "xmem=1M mem=67108864", "mem=nopentium mem=64M"}) {
        Guest limited;
        const auto state = load_built(limited, {}, [&](BootRequest& r) {
            add(r);
            r.command_line = line;
        });
        ASSERT_TRUE(state.ok()) << message(state);
        EXPECT_EQ(limited.memory.number(layout::boot_params + 0x218, 4), 64 * MiB - 4096) << line;
    }
}

TEST(BzImage, InitrdThatDoesNotFitBelowGoesAboveFourGiBWhereTheKernelAllowsIt) {
    Guest guest(6 * GiB);
    const std::vector<u8> initrd(32 * MiB, 7);
    BzImage kernel;
    kernel.initrd_addr_max = 40 * MiB - 1;
    const auto add = [&](BootRequest& r) { r.modules.push_back({initrd, "initrd", ""}); };
    const auto state = load_built(guest, kernel, add);
    ASSERT_TRUE(state.ok()) << message(state);
    const u64 at =
        guest.memory.number(layout::boot_params + 0x218, 4) | guest.memory.number(layout::boot_params + 0xC0, 4) << 32;
    EXPECT_EQ(at, 4 * GiB + guest.platform.ram.high - 32 * MiB);
    kernel.xloadflags = 0x1;
    EXPECT_SAYS(load_built(guest, kernel, add), "too large for the guest's memory: it has 32 MiB, and 16 MiB are free");
}

TEST(BzImage, ErrorsAreSentences) {
    Guest guest;
    const auto refuse = [&](const BzImage& kernel, const char* words) {
        EXPECT_SAYS(load_built(guest, kernel), words);
    };
    BzImage kernel;
    kernel.version = 0x201;
    refuse(kernel, "kernel vmlinuz speaks Linux boot protocol 2.01, too old");
    kernel = {};
    kernel.loadflags = 0;
    refuse(kernel, "zImage, which loads below 640 KiB: build it as a bzImage");
    kernel = {};
    kernel.alignment = 0x300000;
    refuse(kernel, "alignment 0x300000 is not a power of two");
    kernel = {};
    kernel.init_size = 256;
    refuse(kernel, "holds 512 bytes, more than the 256 bytes");
    kernel = {};
    kernel.pref_address = 4 * GiB;
    refuse(kernel, "wants to run at 0x100000000");
    kernel = {};
    kernel.payload_length = 0x1000;
    refuse(kernel, "places a compressed kernel of 4 KiB at 0x20, past the end of the 512 bytes");
    kernel = {};
    kernel.init_size = 120 * MiB;
    refuse(kernel, "needs 120 MiB of memory from address 0x1000000, and the guest has 128 MiB: give it more with -m");
    kernel = {};
    kernel.code.clear();
    refuse(kernel, "truncated: it has 1 KiB, and its setup code alone takes 1 KiB");
}

TEST(BzImage, RequestErrorsAreSentences) {
    Guest guest;
    const std::vector<u8> initrd(120 * MiB), small(16);
    const auto refuse = [&](const std::function<void(BootRequest&)>& change, const char* words) {
        EXPECT_SAYS(load_built(guest, {}, change), words);
    };
    refuse([](BootRequest& r) { r.command_line.assign(2048, 'a'); },
           "the command line has 2048 characters, and kernel vmlinuz takes at most 2047: shorten -append");
    refuse(
        [&](BootRequest& r) {
            r.modules = {{initrd, "big.img", ""}};
        },
        "initrd big.img is too large for the guest's memory: it has 120 MiB, and 103.9 MiB are free");
    refuse([&](BootRequest& r) { r.modules = {{{}, "none.img", ""}}; }, "initrd none.img is empty");
    refuse(
        [&](BootRequest& r) {
            r.modules = {{small, "a", ""}, {small, "b", ""}};
        },
        "takes one -initrd, and 2 are given");
}

// Every shorter version of an image is refused with a sentence, and none is read past its end.
TEST(BzImage, TruncatedAnywhere) {
    const auto image = BzImage{}.build();
    for (std::size_t size = 0; size < image.size(); ++size) {
        Guest guest;
        const std::vector<u8> cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size));
        const auto state = load_bzimage(guest.context(), request_for(cut));
        ASSERT_TRUE(!state.ok() || size > image.size() - 16) << size;
        if (!state.ok()) {
            EXPECT_SAYS(state, size == 0 ? "is empty" : size < 0x208 ? "is truncated" : "truncated");
        }
    }
}

TEST(BzImage, CommandLineOfTheLongestLength) {
    Guest guest;
    const auto state = load_built(guest, {}, [](BootRequest& r) { r.command_line.assign(2047, 'a'); });
    ASSERT_TRUE(state.ok()) << message(state);
    EXPECT_EQ(guest.memory.text(guest.memory.number(layout::boot_params + 0x228, 4)).size(), 2047u);
}

TEST(BzImage, DebianKernels) {
    for (const std::string name : {"vmlinuz", "vmlinuz-cloud"}) {
        const auto image = cached_guest_file(name);
        if (image.empty()) GTEST_SKIP() << "no " << name << " in the guest cache: scripts/guest.sh fetches it";
        Guest guest(512 * MiB);
        EXPECT_EQ(detect(image), ImageKind::bzimage);
        const auto state = load_bzimage(guest.context(), request_for(image));
        ASSERT_TRUE(state.ok()) << message(state);
        EXPECT_EQ(state->mode, BootMode::long64);
        EXPECT_EQ(state->rip, 0x1000200u);
        Guest tiny(32 * MiB);
        EXPECT_SAYS(load_bzimage(tiny.context(), request_for(image)), "and the guest has 32 MiB: give it more with -m");
        const std::vector<u8> half(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(image.size() / 2));
        EXPECT_SAYS(load_bzimage(guest.context(), request_for(half)), "is truncated");
    }
}

} // namespace
} // namespace calque::firmware::test
