#include "firmware/direct_boot.h"
#include "firmware/layout.h"
#include "firmware/rom.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

// A booted guest, and the searches that an operating system does in it.
struct Booted {
    explicit Booted(u64 ram = 128 * MiB, unsigned cpus = 2) : memory(ram_layout(ram)) {
        platform.ram = ram_layout(ram);
        platform.apic_ids.clear();
        for (unsigned i = 0; i < cpus; ++i)
            platform.apic_ids.push_back(i);
    }
    Result<BootState> boot() {
        const auto image = BzImage{}.build();
        return direct_boot(memory, platform, {image, "vmlinuz", "quiet", {}});
    }
    // Where a signature stands on a multiple of 16 in the F segment; 0 where it does not.
    u64 search(const std::string& signature) const {
        for (u64 at = 0xF0000; at < MiB; at += 16)
            if (memory.bytes(at, signature.size()) == std::vector<u8>(signature.begin(), signature.end())) return at;
        return 0;
    }
    Platform platform;
    SparseMemory memory;
};

TEST(DirectBoot, TablesAreFoundWhereGuestsLook) {
    Booted guest;
    const auto state = guest.boot();
    ASSERT_TRUE(state.ok()) << message(state);
    const u64 rsdp = guest.search("RSD PTR "), smbios = guest.search("_SM_"), smbios_64 = guest.search("_SM3_");
    const u64 mp = guest.search("_MP_"), pir = guest.search("$PIR");
    ASSERT_TRUE(rsdp && smbios && smbios_64 && mp && pir);
    EXPECT_EQ(sum(guest.memory.bytes(rsdp, 36)), 0);
    EXPECT_EQ(sum(guest.memory.bytes(smbios, 31)), 0);
    EXPECT_EQ(sum(guest.memory.bytes(mp, 16)), 0);
    EXPECT_EQ(sum(guest.memory.bytes(pir, guest.memory.number(pir + 6, 2))), 0);
    const u64 structures = guest.memory.number(smbios + 24, 4);
    EXPECT_EQ(structures, guest.memory.number(smbios_64 + 16, 8));
    EXPECT_EQ(guest.memory.number(structures, 4), 0x00001800u); // Type 0, 24 bytes, handle 0.
    EXPECT_EQ(guest.memory.number(guest.memory.number(mp + 4, 4), 4), 0x504D4350u);
    const u64 xsdt = guest.memory.number(rsdp + 24, 8);
    EXPECT_EQ(guest.memory.number(xsdt, 4), 0x54445358u);
    EXPECT_EQ(sum(guest.memory.bytes(xsdt, guest.memory.number(xsdt + 4, 4))), 0);
    EXPECT_EQ(guest.memory.number(layout::boot_params + 0x70, 8), rsdp);
}

TEST(DirectBoot, AcpiTablesLieInTheirEntryOfTheMemoryMap) {
    for (const u64 ram : {128 * MiB, 1 * GiB, 6 * GiB}) {
        Booted guest(ram, 64);
        ASSERT_TRUE(guest.boot().ok());
        const u64 xsdt = guest.memory.number(guest.search("RSD PTR ") + 24, 8);
        u64 type = 0;
        for (unsigned i = 0; i < guest.memory.number(layout::boot_params + 0x1E8, 1); ++i) {
            const u64 entry = layout::boot_params + 0x2D0 + 20 * i;
            if (xsdt >= guest.memory.number(entry, 8)
                && xsdt - guest.memory.number(entry, 8) < guest.memory.number(entry + 8, 8))
                type = guest.memory.number(entry + 16, 4);
        }
        EXPECT_EQ(type, 3u);
    }
}

TEST(DirectBoot, BiosDataArea) {
    Booted guest;
    guest.platform.com2 = true;
    ASSERT_TRUE(guest.boot().ok());
    EXPECT_EQ(guest.memory.number(0x400, 4), 0x02F803F8u);
    EXPECT_EQ(guest.memory.number(0x40E, 2), 0x9FC0u);
    EXPECT_EQ(guest.memory.number(0x410, 2), 0x0406u); // FPU, PS/2 mouse, two serial ports.
    EXPECT_EQ(guest.memory.number(0x413, 2), 639u);
    EXPECT_EQ(guest.memory.number(0x9FC00, 1), 1u);
    EXPECT_EQ(guest.memory.number(0x449, 2), 0u); // No VGA.
    EXPECT_EQ(guest.memory.number(0xFFFF0, 1), 0xFAu);
    EXPECT_EQ(guest.memory.number(0xFFFFE, 1), 0xFCu);
}

TEST(DirectBoot, MtrrsCoverThePciHole) {
    for (const u64 ram : {128 * MiB, 2 * GiB + 5 * MiB, 3583 * MiB, 6 * GiB}) {
        Booted guest(ram);
        const auto state = guest.boot();
        ASSERT_TRUE(state.ok());
        std::map<u32, u64> msr;
        for (const auto& setting : state->msrs)
            msr[setting.index] = setting.value;
        EXPECT_EQ(msr.at(0x2FF), 0xC06u);
        EXPECT_EQ(msr.at(0x259), 0u);
        const auto uncacheable = [&](u64 address) {
            for (u32 i = 0; i < 8; ++i) {
                const u64 mask = msr.at(0x201 + 2 * i);
                if ((mask & 0x800) && (address & mask & ~0xFFFull) == (msr.at(0x200 + 2 * i) & mask & ~0xFFFull))
                    return true;
            }
            return false;
        };
        const u64 hole = guest.platform.pci_window_32().base;
        EXPECT_TRUE(uncacheable(hole));
        EXPECT_TRUE(uncacheable(0xFEE00000));
        EXPECT_TRUE(uncacheable(4 * GiB - 4096));
        EXPECT_FALSE(uncacheable(guest.platform.ram.low - 4096));
        EXPECT_FALSE(uncacheable(4 * GiB));
        EXPECT_FALSE(uncacheable(0));
    }
}

TEST(DirectBoot, EveryProtocolIsRecognised) {
    ElfFile pvh;
    pvh.note = ElfFile::pvh_note(0x100000);
    ElfFile multiboot;
    const auto words = multiboot_words(0);
    std::copy(words.begin(), words.end(), multiboot.code.begin());
    for (const auto& [image, rip] :
         {std::pair(BzImage{}.build(), u64{0x1000200}), std::pair(pvh.build(), u64{0x100000}),
          std::pair(multiboot.build(), u64{0x100010})}) {
        Booted guest;
        const auto state = direct_boot(guest.memory, guest.platform, {image, "kernel", "", {}});
        ASSERT_TRUE(state.ok()) << message(state);
        EXPECT_EQ(state->rip, rip);
        EXPECT_FALSE(state->msrs.empty());
    }
}

TEST(DirectBoot, FilesThatAreNoKernelsAreNamed) {
    const auto refuse = [](std::vector<u8> image, const char* words, std::size_t size = 0) {
        image.resize(std::max(image.size(), size));
        Booted guest;
        EXPECT_SAYS(direct_boot(guest.memory, guest.platform, {image, "file", "", {}}), words);
    };
    const auto at = [](std::size_t offset, std::string_view text) {
        std::vector<u8> image(offset);
        append(image, text);
        return image;
    };
    refuse({}, "kernel file is empty");
    refuse({1, 2, 3}, "file has only 3 bytes, too few for any kernel");
    refuse(at(0, "\x1F\x8B"), "file is compressed with gzip: decompress it with gunzip first", 600);
    refuse(at(0, "BZh"), "bunzip2", 600);
    refuse(at(0, "QFI\xFB"), "is a qcow2 disk image: give it with -drive", 600);
    refuse(at(0, "070701"), "is an initramfs (cpio archive): give it with -initrd", 600);
    refuse(at(0x38, "ARM\x64"), "is a Linux kernel for AArch64", 600);
    refuse(at(0x8001, "CD001"), "is a CD image: give it with -cdrom");
    refuse(at(0, "MZ"), "is an EFI program", 600);
    refuse(at(510, "\x55\xAA"), "looks like a disk with a boot sector", 600);
    refuse(at(0, "text"), "file is not a kernel that -kernel takes", 600);
    refuse(ElfFile{}.build(), "without a multiboot header or a PVH note");
    ElfFile arm;
    arm.wide = true;
    arm.machine = 183;
    refuse(arm.build(), "file is an ELF file for AArch64");
    std::vector<u8> multiboot2;
    for (const u32 word : {0xE85250D6u, 0u, 16u, 0u - 0xE85250D6u - 16u})
        append(multiboot2, word, 4);
    refuse(multiboot2, "file is a multiboot 2 kernel: -kernel takes multiboot 1, PVH and Linux", 600);
}

TEST(DirectBoot, MachineErrorsAreSentences) {
    Booted small(3 * MiB);
    EXPECT_SAYS(small.boot(), "3 MiB of RAM are too few to start a kernel: give the guest at least 4 MiB with -m");
    Booted crowded(128 * MiB, 2000);
    EXPECT_SAYS(crowded.boot(), "the tables for 2000 processors and the strings of -smbios do not fit below 1 MiB");
    Booted wordy;
    wordy.platform.identity.system.serial.assign(70000, 'x');
    EXPECT_SAYS(wordy.boot(), "do not fit below 1 MiB");
    Booted fits(128 * MiB, 255);
    EXPECT_TRUE(fits.boot().ok());
}

TEST(DirectBoot, DebianKernelInEveryMemorySize) {
    const auto image = cached_guest_file("vmlinuz"), initrd = cached_guest_file("mini.cpio.gz");
    if (image.empty() || initrd.empty())
        GTEST_SKIP() << "no vmlinuz and mini.cpio.gz in the guest cache: scripts/guest.sh makes them";
    for (const u64 ram : {128 * MiB, 1 * GiB, 6 * GiB, 48 * GiB}) {
        Booted guest(ram, 4);
        const auto state =
            direct_boot(guest.memory, guest.platform, {image, "vmlinuz", "console=ttyS0", {{initrd, "mini", ""}}});
        ASSERT_TRUE(state.ok()) << message(state);
        const u64 at = guest.memory.number(layout::boot_params + 0x218, 4);
        EXPECT_EQ(guest.memory.bytes(at, initrd.size()), initrd);
        EXPECT_GE(at, 0x1000000 + load(image, 0x260, 4));
    }
}

TEST(Rom, EndsAtFourGiBAndIsSeenBelowOneMiB) {
    const auto seabios = place_rom(256 * KiB, "bios.bin");
    ASSERT_TRUE(seabios.ok());
    EXPECT_EQ(seabios->top.base, 0xFFFC0000u);
    EXPECT_EQ(seabios->low.base, 0xE0000u);
    EXPECT_EQ(seabios->low_offset, 128 * KiB);
    const auto small = place_rom(64 * KiB, "bios.bin");
    EXPECT_EQ(small->low.base, 0xF0000u);
    EXPECT_EQ(small->low_offset, 0u);
    EXPECT_EQ(place_rom(4 * MiB, "OVMF.fd")->top.base, 0xFFC00000u);
}

TEST(Rom, ErrorsAreSentences) {
    EXPECT_SAYS(place_rom(0, "b"), "BIOS image b is empty");
    EXPECT_SAYS(place_rom(1000, "b"), "BIOS image b has 1000 bytes: it must be a multiple of 64 KiB");
    EXPECT_SAYS(place_rom(32 * MiB, "b"), "BIOS image b has 32 MiB: at most 16 MiB fit below 4 GiB");
}

} // namespace
} // namespace calque::firmware::test
