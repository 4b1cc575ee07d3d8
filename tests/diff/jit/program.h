// A random program: a list of pieces of code, which can be left out one by one to find those that matter.
#pragma once

#include "cpu/decode/decoder.h"
#include "tests/diff/encoding.h"
#include "tests/diff/jit/image.h"

#include <array>
#include <string>
#include <vector>

namespace calque::diff {

// A field in an item's bytes that holds an address.
struct Fixup {
    u8 at = 0, size = 0;
    u8 next = 0;   // Relative addresses: offset of the end of the instruction; 0: an absolute one.
    int item = -1; // What it leads to, by index; -1: `offset` is from the base of the piece of memory.
    i64 offset = 0;
    bool target = false; // An absolute address to jump to, in the code segment; others are in the data segment.
};

struct Item {
    std::array<u8, 40> bytes{};
    u8 length = 0;
    u16 gap = 0; // Bytes left out before it.
    bool removed = false;
    bool last = false; // Ends the program: not to be left out.
    std::vector<Fixup> fixups;

    void append(std::span<const u8> code) {
        std::copy(code.begin(), code.end(), bytes.begin() + length);
        length = static_cast<u8>(length + code.size());
    }
};

struct Program {
    u64 start = 0; // Offset of the first item in the code pages.
    std::vector<Item> items;

    // Writes the code and the lengths of its instructions into the image, and sets RIP.
    void place(Image& image, const cpu::Decoder& decoder) const;
    std::string list(const Image& image) const;

  private:
    std::vector<u64> addresses(const Setting& setting) const;
    std::vector<u8> code_of(const Item& item, u64 address, const std::vector<u64>& addresses, const Setting& s) const;
};

// The items that programs are made of, at random.
class Generator {
  public:
    explicit Generator(const cpu::Decoder& decoder) : decoder_(decoder), patterns_(decoder) { sort_rows(); }
    Program make(const Setting& setting, Random& random, const Pools& pools);

  private:
    class Writer;
    void sort_rows();

    const cpu::Decoder& decoder_;
    Patterns patterns_;
    // Rows by how often they are wanted.
    std::vector<u16> common_, integer_, string_, vector_, rest_;
};

} // namespace calque::diff
