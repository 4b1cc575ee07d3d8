#include "tests/diff/encoding.h"

#include "tests/diff/rows.h"

namespace calque::diff {

namespace {

using cpu::DecodeMode;
using cpu::Decoder;
using cpu::DecodeStatus;

// Writes the bytes of one encoding, front to back.
class Writer {
  public:
    explicit Writer(Encoding& out) : out_(out) {}

    void byte(unsigned value) { out_.bytes[size_++] = static_cast<u8>(value); }
    unsigned size() const { return size_; }
    void escape(unsigned map) {
        if (map >= 1) byte(0x0F);
        if (map == 2) byte(0x38);
        if (map == 3) byte(0x3A);
    }
    // R, X, B and vvvv as the register number bits they extend, not inverted.
    void vex(const Pattern& p, unsigned r, unsigned x, unsigned b, unsigned vvvv, bool two_bytes) {
        const unsigned pp = p.prefix == 0x66 ? 1 : p.prefix == 0xF3 ? 2 : p.prefix == 0xF2 ? 3 : 0;
        const unsigned low = (~vvvv & 15) << 3 | (p.l ? 4 : 0) | pp;
        if (two_bytes) {
            byte(0xC5);
            byte((r ? 0 : 0x80) | low);
        } else {
            byte(0xC4);
            byte((r ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | p.map);
            byte((p.w ? 0x80 : 0) | low);
        }
    }
    void displacement(unsigned bytes, u64 value) {
        out_.has_displacement32 = bytes == 4;
        out_.displacement_at = static_cast<u8>(size_);
        for (unsigned n = 0; n < bytes; ++n, value >>= 8)
            byte(value & 0xFF);
    }
    void finish() { out_.tail_at = static_cast<u8>(size_); }

  private:
    Encoding& out_;
    unsigned size_ = 0;
};

void random_prefixes(const Pattern& p, bool rex, Random& random, Writer& w) {
    static constexpr u8 segments[] = {0x26, 0x2E, 0x36, 0x3E, 0x65, 0x65};
    const bool repeat_wanted = !p.vex && p.prefix == 0 && p.map == 0;
    if (random.one_in(12)) w.byte(0x67);
    if (random.one_in(24)) w.byte(segments[random.below(6)]);
    // LOCK where it may be allowed; rarely where it is not.
    if (!p.vex && random.one_in(p.memory && p.map < 2 ? 8 : 64)) w.byte(0xF0);
    if (repeat_wanted && random.one_in(24)) w.byte(random.one_in(2) ? 0xF2 : 0xF3);
    if (!p.vex && p.prefix == 0 && random.one_in(32)) w.byte(0x66);
    if (p.vex) return;
    if (p.size_too) w.byte(0x66);
    if (p.prefix) w.byte(p.prefix);
    if (rex && random.one_in(48)) w.byte(0x40 | random.below(16)); // REX before a prefix or another REX: ignored.
    if (random.one_in(96)) w.byte(segments[random.below(6)]);
}

void random_memory(const Pattern& p, unsigned reg, Random& random, Writer& w) {
    const unsigned mod = static_cast<unsigned>(random.below(3));
    const unsigned rm = p.vsib ? 4 : static_cast<unsigned>(random.below(8));
    w.byte(mod << 6 | (reg & 7) << 3 | rm);
    unsigned base = rm;
    if (rm == 4) {
        const u8 sib = random.byte();
        w.byte(sib);
        base = sib & 7;
    }
    const unsigned bytes = mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
    const u64 value = random.one_in(4) ? random.next() : random.below(256);
    w.displacement(bytes, value);
}

} // namespace

bool Encoding::decode(const Decoder& decoder) {
    const u16 before = record.row;
    return decoder.decode(bytes, mode, record, &form) == DecodeStatus::ok && record.row == before;
}

Encoding plain_encoding(const Pattern& p) {
    Encoding e;
    e.pattern = &p;
    Writer w(e);
    if (p.vex) {
        w.vex(p, 0, 0, 0, p.vvvv ? 5 : 0, false);
    } else {
        if (p.size_too) w.byte(0x66);
        if (p.prefix) w.byte(p.prefix);
        if (p.w) w.byte(0x48);
        w.escape(p.map);
    }
    w.byte(p.opcode);
    if (p.modrm && p.memory) { // [RBX + RSI], or a vector index.
        w.byte((p.reg & 7u) << 3 | 4);
        w.byte(0x33);
    } else if (p.modrm) {
        w.byte(0xC0u | (p.reg & 7u) << 3 | (p.rm < 0 ? 0u : static_cast<unsigned>(p.rm)));
    }
    w.finish();
    return e;
}

Patterns::Patterns(const Decoder& decoder) : by_row_(cpu::instruction_table().size()) {
    every([&](Pattern p) {
        // Prefixes that would make another instruction of it.
        if (!p.vex && p.map == 0 && ((p.opcode & 0xF0) == 0x40 || p.opcode == 0x0F || p.opcode == 0x66)) return;
        if (!p.vex && p.map == 1 && (p.opcode == 0x38 || p.opcode == 0x3A)) return;
        Encoding e = plain_encoding(p);
        if (decoder.decode(e.bytes, DecodeMode{}, e.record, &e.form) != DecodeStatus::ok) return;
        if (!left_out(e.record.row).empty() || !form_left_out(e.record, e.form).empty()) return;
        const std::string_view name = cpu::instruction_table()[e.record.row].name;
        p.vsib = p.memory && name.find("GATHER") != name.npos;
        by_row_[e.record.row].push_back(p);
    });
    for (u16 row = 0; row < by_row_.size(); ++row)
        if (!by_row_[row].empty()) rows_.push_back(row);
}

bool random_encoding(const Pattern& p, const Decoder& decoder, Random& random, Encoding& e,
                     const cpu::DecodeMode& mode) {
    const bool code64 = mode.code_size == cpu::CodeSize::bits64;
    if (!code64 && p.w && !p.vex) return false;
    e.pattern = &p;
    e.mode = mode;
    e.has_displacement32 = false;
    Writer w(e);
    random_prefixes(p, code64, random, w);
    const unsigned extend = code64 ? static_cast<unsigned>(random.below(8)) : 0;
    if (p.vex) {
        const bool two = p.map == 1 && !p.w && !(extend & 3) && random.one_in(2);
        w.vex(p, extend & 4, extend & 2, extend & 1, p.vvvv ? static_cast<unsigned>(random.below(code64 ? 16 : 8)) : 0,
              two);
    } else {
        if (code64 && (p.w || random.one_in(2))) w.byte(0x40u | (p.w ? 8u : 0u) | extend);
        w.escape(p.map);
    }
    w.byte(p.opcode);
    if (p.modrm && p.memory) {
        random_memory(p, p.reg, random, w);
    } else if (p.modrm) {
        const unsigned rm = p.rm < 0 ? static_cast<unsigned>(random.below(8)) : static_cast<unsigned>(p.rm);
        w.byte(0xC0u | (p.reg & 7u) << 3 | rm);
    }
    w.finish();
    u64 tail = random.next();
    if (random.one_in(3)) tail &= 0x1F; // Small counts and selections.
    for (unsigned n = w.size(); n < e.bytes.size(); ++n, tail >>= 8)
        e.bytes[n] = static_cast<u8>(tail);
    if (decoder.decode(e.bytes, mode, e.record, &e.form) != DecodeStatus::ok) return false;
    e.length = e.record.length;
    return left_out(e.record.row).empty() && form_left_out(e.record, e.form).empty();
}

} // namespace calque::diff
