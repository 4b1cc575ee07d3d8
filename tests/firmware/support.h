// Guest memory and kernel images made by hand.
#pragma once

#include "firmware/bytes.h"
#include "firmware/direct_boot.h"
#include "firmware/e820/e820.h"
#include "firmware/loaders/loaders.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <memory>

namespace calque::firmware::test {

// RAM in pages that exist once they are written.
class SparseMemory final : public GuestMemory {
  public:
    explicit SparseMemory(RamLayout layout) : layout_(layout) {}

    bool write(PhysicalAddress address, std::span<const u8> bytes) override {
        if (!is_ram(address, bytes.size())) return false;
        for (std::size_t i = 0; i < bytes.size();) {
            const PhysicalAddress at = address + i;
            const std::size_t step = std::min<std::size_t>(bytes.size() - i, page_size - at.page_offset());
            auto& page = pages_[at.page_number()];
            if (!page) page = std::make_unique<Page>();
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(i), step, page->begin() + at.page_offset());
            i += step;
        }
        return true;
    }
    bool read(PhysicalAddress address, std::span<u8> bytes) const override {
        if (!is_ram(address, bytes.size())) return false;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const auto page = pages_.find((address + i).page_number());
            bytes[i] = page == pages_.end() ? u8{0} : (*page->second)[(address + i).page_offset()];
        }
        return true;
    }

    u64 number(u64 address, unsigned size) const {
        std::array<u8, 8> raw{};
        EXPECT_TRUE(read(PhysicalAddress(address), std::span(raw).first(size))) << std::hex << address;
        return load(raw, 0, size);
    }
    std::vector<u8> bytes(u64 address, std::size_t size) const {
        std::vector<u8> out(size);
        EXPECT_TRUE(read(PhysicalAddress(address), out)) << std::hex << address;
        return out;
    }
    std::string text(u64 address) const {
        std::string out;
        for (char letter; (letter = static_cast<char>(number(address + out.size(), 1))) != 0;)
            out += letter;
        return out;
    }

  private:
    using Page = std::array<u8, page_size>;
    bool is_ram(PhysicalAddress address, u64 size) const {
        const auto inside = [&](u64 base, u64 length) {
            return address.value >= base && size <= length && address.value - base <= length - size;
        };
        return inside(0, layout_.low) || inside(4 * GiB, layout_.high);
    }
    RamLayout layout_;
    std::map<u64, std::unique_ptr<Page>> pages_;
};

// A machine to load into.
struct Guest {
    explicit Guest(u64 ram_bytes = 128 * MiB) : memory(ram_layout(ram_bytes)) {
        platform.ram = ram_layout(ram_bytes);
        map = e820_map(platform, firmware_areas(platform, 4 * page_size));
    }
    LoadContext context() { return {memory, map, platform, PhysicalAddress(0xF0000)}; }
    Platform platform;
    SparseMemory memory;
    E820Map map;
};

// A kernel image as the Linux build makes them: one setup sector beside the boot sector, then `code`.
struct BzImage {
    u16 version = 0x20F;
    u8 loadflags = 0x01;
    bool relocatable = true;
    u32 alignment = 0x200000;
    u16 xloadflags = 0x3;
    u32 cmdline_size = 2047;
    u32 initrd_addr_max = 0x7FFFFFFF;
    u64 pref_address = 16 * MiB;
    u32 init_size = 8 * MiB;
    u32 payload_offset = 0x20, payload_length = 0x40;
    std::vector<u8> code = std::vector<u8>(512, 0xCC);

    std::vector<u8> build() const {
        std::vector<u8> out(1024);
        const std::span<u8> field(out);
        out[0x1F1] = 1;
        store(field, 0x1F4, (code.size() + 15) / 16, 4);
        store(field, 0x1FE, 0xAA55, 2);
        store(field, 0x200, 0x6AEB, 2); // The header ends at 0x26C.
        store(field, 0x202, 0x53726448, 4);
        store(field, 0x206, version, 2);
        out[0x211] = loadflags;
        store(field, 0x214, 0x100000, 4);
        store(field, 0x22C, initrd_addr_max, 4);
        store(field, 0x230, alignment, 4);
        out[0x234] = relocatable;
        store(field, 0x236, xloadflags, 2);
        store(field, 0x238, cmdline_size, 4);
        store(field, 0x248, payload_offset, 4);
        store(field, 0x24C, payload_length, 4);
        store(field, 0x258, pref_address, 8);
        store(field, 0x260, init_size, 4);
        append(out, code);
        out.resize(align_up(out.size(), 16));
        return out;
    }
};

// An ELF executable of one PT_LOAD at the offset 0x400, with an optional PT_NOTE before it.
struct ElfFile {
    bool wide = false;
    u16 type = 2;
    u16 machine = 0; // 0: the one that belongs to the class.
    u64 entry = 0x100010, linear = 0x100000, physical = 0x100000;
    u64 memory_size = 0x3000;
    std::vector<u8> code = std::vector<u8>(0x100, 0xCC);
    std::vector<u8> note;

    static constexpr u32 code_at = 0x400, note_at = 0x200;

    static std::vector<u8> pvh_note(u32 entry, unsigned size = 4) {
        std::vector<u8> out;
        append(out, 4, 4);
        append(out, size, 4);
        append(out, 18, 4);
        append(out, 0x006E6558, 4); // "Xen"
        append(out, entry, size);
        return out;
    }
    // Behind what every note segment may hold: another owner's note.
    static std::vector<u8> other_note() {
        std::vector<u8> out;
        append(out, 5, 4);
        append(out, 3, 4);
        append(out, 18, 4);
        append_fixed(out, "Other", 8, '\0');
        append(out, 0x010203, 4);
        return out;
    }
    void add_segment(std::vector<u8>& out, u32 segment_type, u64 offset, u64 file, u64 at, u64 real, u64 memory) const {
        const unsigned width = wide ? 8 : 4;
        append(out, segment_type, 4);
        if (wide) append(out, 7, 4);
        for (const u64 value : {offset, at, real, file, memory})
            append(out, value, width);
        if (!wide) append(out, 7, 4);
        append(out, 4, width);
    }
    std::vector<u8> build() const {
        std::vector<u8> out{0x7F, 'E', 'L', 'F', static_cast<u8>(wide ? 2 : 1), 1, 1};
        const unsigned width = wide ? 8 : 4;
        out.resize(16);
        append(out, type, 2);
        append(out, machine ? machine : wide ? 62 : 3, 2);
        append(out, 1, 4);
        append(out, entry, width);
        append(out, wide ? 64 : 52, width);
        append(out, 0, width);
        append(out, 0, 4);
        append(out, wide ? 64 : 52, 2);
        append(out, wide ? 56 : 32, 2);
        append(out, note.empty() ? 1 : 2, 2);
        append(out, 0, 6);
        if (!note.empty()) add_segment(out, 4, note_at, note.size(), 0, 0, note.size());
        add_segment(out, 1, code_at, code.size(), linear, physical, memory_size);
        out.resize(note_at);
        append(out, note);
        out.resize(code_at);
        append(out, code);
        return out;
    }
};

// The words of a multiboot 1 header.
inline std::vector<u8> multiboot_words(u32 flags, std::initializer_list<u32> addresses = {}) {
    std::vector<u8> out;
    for (const u32 word : {0x1BADB002u, flags, 0u - 0x1BADB002u - flags})
        append(out, word, 4);
    for (const u32 word : addresses)
        append(out, word, 4);
    return out;
}

template <class T> std::string message(const Result<T>& result) {
    return result.ok() ? "no error" : result.error().message;
}

// A file of the guest cache that scripts/guest.sh fills; empty when it is not there.
inline std::vector<u8> cached_guest_file(const std::string& name) {
    const char* cache = std::getenv("CALQUE_CACHE");
    const char* home = std::getenv("HOME");
    const std::string root = cache ? cache : std::string(home ? home : "") + "/.cache/calque";
    std::ifstream file(root + "/guest/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

#define EXPECT_SAYS(result, words)                                                                                     \
    EXPECT_NE(::calque::firmware::test::message(result).find(words), std::string::npos)                                \
        << ::calque::firmware::test::message(result)

} // namespace calque::firmware::test
