#include "jit/ir/encoding_table.h"

#include <array>
#include <string_view>

namespace calque::jit {

namespace {

// Prefixes that a row is for, by pp.
enum Prefixes : u8 { np = 1, p66 = 2, pf3 = 4, pf2 = 8, packed = np | p66, scalar = pf3 | pf2, any = packed | scalar };

// A range of opcodes with the classes of their ModRM.reg, ModRM.rm and VEX.vvvv, in this order (left out: none), as
// letters, and letters for the rest after a space:
//   g general-purpose  b its byte  v vector  m MMX  x part of the opcode  o other  - none
//   I immediate byte   Z immediate of 16 or 32 bits  F ... or 64   4 is4
//   M memory only      R register only   D the forms differ   S vsib   X see the /digit   6 64-bit code only
//   N no ModRM         O register in the opcode, its class in place of rm
//   V vvvv in the register form only     A a register whatever ModRM.mod says
struct Row {
    u8 map, prefixes, first, last;
    std::string_view shape;
};

// SDM volume 2, appendix A, tables A-2 to A-6.
constexpr Row legacy_rows[] = {
    // ALU operations; 04, 05 and their like are turned into 80 and 81 by the parser.
    {0, any, 0x00, 0x00, "bb"},
    {0, any, 0x01, 0x01, "gg"},
    {0, any, 0x02, 0x02, "bb"},
    {0, any, 0x03, 0x03, "gg"},
    {0, any, 0x08, 0x08, "bb"},
    {0, any, 0x09, 0x09, "gg"},
    {0, any, 0x0A, 0x0A, "bb"},
    {0, any, 0x0B, 0x0B, "gg"},
    {0, any, 0x10, 0x10, "bb"},
    {0, any, 0x11, 0x11, "gg"},
    {0, any, 0x12, 0x12, "bb"},
    {0, any, 0x13, 0x13, "gg"},
    {0, any, 0x18, 0x18, "bb"},
    {0, any, 0x19, 0x19, "gg"},
    {0, any, 0x1A, 0x1A, "bb"},
    {0, any, 0x1B, 0x1B, "gg"},
    {0, any, 0x20, 0x20, "bb"},
    {0, any, 0x21, 0x21, "gg"},
    {0, any, 0x22, 0x22, "bb"},
    {0, any, 0x23, 0x23, "gg"},
    {0, any, 0x28, 0x28, "bb"},
    {0, any, 0x29, 0x29, "gg"},
    {0, any, 0x2A, 0x2A, "bb"},
    {0, any, 0x2B, 0x2B, "gg"},
    {0, any, 0x30, 0x30, "bb"},
    {0, any, 0x31, 0x31, "gg"},
    {0, any, 0x32, 0x32, "bb"},
    {0, any, 0x33, 0x33, "gg"},
    {0, any, 0x38, 0x38, "bb"},
    {0, any, 0x39, 0x39, "gg"},
    {0, any, 0x3A, 0x3A, "bb"},
    {0, any, 0x3B, 0x3B, "gg"},
    {0, any, 0x63, 0x63, "gg 6"}, // MOVSXD; ARPL in 32-bit code.
    {0, any, 0x69, 0x69, "gg Z"},
    {0, any, 0x6B, 0x6B, "gg I"},
    {0, any, 0x80, 0x80, "xb I"},
    {0, any, 0x81, 0x81, "xg Z"},
    {0, any, 0x83, 0x83, "xg I"},
    {0, any, 0x84, 0x84, "bb"},
    {0, any, 0x85, 0x85, "gg"},
    {0, any, 0x86, 0x86, "bb D"}, // XCHG with memory is locked.
    {0, any, 0x87, 0x87, "gg D"},
    {0, any, 0x88, 0x88, "bb"},
    {0, any, 0x89, 0x89, "gg"},
    {0, any, 0x8A, 0x8A, "bb"},
    {0, any, 0x8B, 0x8B, "gg"},
    {0, any, 0x8C, 0x8C, "og D"}, // MOV from a segment register stores 16 bits, or writes a whole register.
    {0, any, 0x8D, 0x8D, "g- M"},
    {0, any, 0x8E, 0x8E, "og"},
    {0, any, 0x90, 0x90, "-- N"},
    {0, any, 0x98, 0x99, "-- N"}, // CBW, CWD and their wider forms.
    {0, any, 0x9B, 0x9B, "-- N"},
    {0, any, 0x9E, 0x9F, "-- N"},
    {0, any, 0xB0, 0xB7, "-b OI"},
    {0, any, 0xB8, 0xBF, "-g OF"},
    {0, any, 0xC0, 0xC0, "xb I"},
    {0, any, 0xC1, 0xC1, "xg I"},
    {0, any, 0xC6, 0xC6, "xb IX"},
    {0, any, 0xC7, 0xC7, "xg ZX"},
    {0, any, 0xD0, 0xD0, "xb"},
    {0, any, 0xD1, 0xD1, "xg"},
    {0, any, 0xD2, 0xD2, "xb"},
    {0, any, 0xD3, 0xD3, "xg"},
    {0, any, 0xD8, 0xDF, "xo D"}, // x87.
    {0, any, 0xF5, 0xF5, "-- N"},
    {0, any, 0xF6, 0xF6, "xb X"},
    {0, any, 0xF7, 0xF7, "xg X"},
    {0, any, 0xF8, 0xF9, "-- N"},
    {0, any, 0xFC, 0xFD, "-- N"},
    {0, any, 0xFE, 0xFE, "xb X"},
    {0, any, 0xFF, 0xFF, "xg X"},

    // 0F.
    {1, any, 0x00, 0x00, "xg XD"},
    {1, any, 0x02, 0x03, "gg D"},
    {1, any, 0x0D, 0x0D, "x- M"},
    {1, packed, 0x10, 0x11, "vv"},
    {1, scalar, 0x10, 0x11, "vv D"}, // MOVSS and MOVSD merge, or clear what a load does not fill.
    {1, np, 0x12, 0x12, "vv D"},     // MOVLPS or MOVHLPS.
    {1, p66, 0x12, 0x12, "v- M"},
    {1, scalar, 0x12, 0x12, "vv"},
    {1, packed, 0x13, 0x13, "v- M"},
    {1, packed, 0x14, 0x15, "vv"},
    {1, np, 0x16, 0x16, "vv D"}, // MOVHPS or MOVLHPS.
    {1, p66, 0x16, 0x16, "v- M"},
    {1, pf3, 0x16, 0x16, "vv"},
    {1, packed, 0x17, 0x17, "v- M"},
    {1, any, 0x18, 0x18, "x- MX"}, // The rest to 1F are NOPs to this CPU, and MPX or CET to another.
    {1, any, 0x20, 0x23, "og A6"},
    {1, packed, 0x28, 0x29, "vv"},
    {1, np, 0x2A, 0x2A, "vm"},
    {1, p66, 0x2A, 0x2A, "vm D"}, // CVTPI2PD of memory does not enter MMX state.
    {1, scalar, 0x2A, 0x2A, "vg"},
    {1, packed, 0x2B, 0x2B, "v- M"},
    {1, packed, 0x2C, 0x2D, "mv"},
    {1, scalar, 0x2C, 0x2D, "gv"},
    {1, packed, 0x2E, 0x2F, "vv"},
    {1, any, 0x40, 0x4F, "gg"},
    {1, packed, 0x50, 0x50, "gv R"},
    {1, any, 0x51, 0x51, "vv"},
    {1, np | pf3, 0x52, 0x53, "vv"},
    {1, packed, 0x54, 0x57, "vv"},
    {1, any, 0x58, 0x5A, "vv"},
    {1, packed | pf3, 0x5B, 0x5B, "vv"},
    {1, any, 0x5C, 0x5F, "vv"},
    {1, np, 0x60, 0x6B, "mm"},
    {1, p66, 0x60, 0x6D, "vv"},
    {1, np, 0x6E, 0x6E, "mg"},
    {1, p66, 0x6E, 0x6E, "vg"},
    {1, np, 0x6F, 0x6F, "mm"},
    {1, p66 | pf3, 0x6F, 0x6F, "vv"},
    {1, np, 0x70, 0x70, "mm I"},
    {1, p66 | scalar, 0x70, 0x70, "vv I"},
    {1, np, 0x71, 0x73, "xm IR"},
    {1, p66, 0x71, 0x73, "xv IR"},
    {1, np, 0x74, 0x76, "mm"},
    {1, p66, 0x74, 0x76, "vv"},
    {1, np, 0x77, 0x77, "-- N"},
    {1, p66 | pf2, 0x7C, 0x7D, "vv"},
    {1, np, 0x7E, 0x7E, "mg"},
    {1, p66, 0x7E, 0x7E, "vg"},
    {1, pf3, 0x7E, 0x7E, "vv"},
    {1, np, 0x7F, 0x7F, "mm"},
    {1, p66 | pf3, 0x7F, 0x7F, "vv"},
    {1, any, 0x90, 0x9F, "xb"},
    {1, any, 0xA3, 0xA3, "gg D"}, // Bit strings.
    {1, any, 0xA4, 0xA4, "gg I"},
    {1, any, 0xA5, 0xA5, "gg"},
    {1, any, 0xAB, 0xAB, "gg D"},
    {1, any, 0xAC, 0xAC, "gg I"},
    {1, any, 0xAD, 0xAD, "gg"},
    {1, packed, 0xAE, 0xAE, "xo XD"},
    {1, pf3, 0xAE, 0xAE, "xg XR6"},
    {1, any, 0xAF, 0xAF, "gg"},
    {1, any, 0xB0, 0xB0, "bb"},
    {1, any, 0xB1, 0xB1, "gg"},
    {1, any, 0xB2, 0xB2, "g- M"},
    {1, any, 0xB3, 0xB3, "gg D"},
    {1, any, 0xB4, 0xB5, "g- M"},
    {1, any, 0xB6, 0xB6, "gb"},
    {1, any, 0xB7, 0xB7, "gg"},
    {1, pf3, 0xB8, 0xB8, "gg"},
    {1, any, 0xBA, 0xBA, "xg IX"},
    {1, any, 0xBB, 0xBB, "gg D"},
    {1, any, 0xBC, 0xBD, "gg"},
    {1, any, 0xBE, 0xBE, "gb"},
    {1, any, 0xBF, 0xBF, "gg"},
    {1, any, 0xC0, 0xC0, "bb"},
    {1, any, 0xC1, 0xC1, "gg"},
    {1, any, 0xC2, 0xC2, "vv I"},
    {1, np, 0xC3, 0xC3, "g- M"},
    {1, np, 0xC4, 0xC4, "mg I"},
    {1, p66, 0xC4, 0xC4, "vg I"},
    {1, np, 0xC5, 0xC5, "gm IR"},
    {1, p66, 0xC5, 0xC5, "gv IR"},
    {1, packed, 0xC6, 0xC6, "vv I"},
    {1, any, 0xC7, 0xC7, "xg XD"},
    {1, any, 0xC8, 0xCF, "-g O"},
    {1, p66 | pf2, 0xD0, 0xD0, "vv"},
    {1, np, 0xD1, 0xD5, "mm"},
    {1, p66, 0xD1, 0xD6, "vv"},
    {1, pf3, 0xD6, 0xD6, "vm R"},
    {1, pf2, 0xD6, 0xD6, "mv R"},
    {1, np, 0xD7, 0xD7, "gm R"},
    {1, p66, 0xD7, 0xD7, "gv R"},
    {1, np, 0xD8, 0xE5, "mm"},
    {1, p66, 0xD8, 0xE6, "vv"},
    {1, scalar, 0xE6, 0xE6, "vv"},
    {1, np, 0xE7, 0xE7, "m- M"},
    {1, p66, 0xE7, 0xE7, "v- M"},
    {1, np, 0xE8, 0xEF, "mm"},
    {1, p66, 0xE8, 0xEF, "vv"},
    {1, pf2, 0xF0, 0xF0, "v- M"},
    {1, np, 0xF1, 0xF6, "mm"},
    {1, p66, 0xF1, 0xF6, "vv"},
    {1, np, 0xF7, 0xF7, "mm R"},
    {1, p66, 0xF7, 0xF7, "vv R"},
    {1, np, 0xF8, 0xFE, "mm"},
    {1, p66, 0xF8, 0xFE, "vv"},

    // 0F 38.
    {2, np, 0x00, 0x0B, "mm"},
    {2, p66, 0x00, 0x0B, "vv"},
    {2, p66, 0x10, 0x10, "vv"},
    {2, p66, 0x14, 0x15, "vv"},
    {2, p66, 0x17, 0x17, "vv"},
    {2, np, 0x1C, 0x1E, "mm"},
    {2, p66, 0x1C, 0x1E, "vv"},
    {2, p66, 0x20, 0x25, "vv"},
    {2, p66, 0x28, 0x29, "vv"},
    {2, p66, 0x2A, 0x2A, "v- M"},
    {2, p66, 0x2B, 0x2B, "vv"},
    {2, p66, 0x30, 0x35, "vv"},
    {2, p66, 0x37, 0x41, "vv"},
    {2, np, 0xC8, 0xCD, "vv"}, // SHA.
    {2, p66, 0xDB, 0xDF, "vv"},
    {2, packed, 0xF0, 0xF1, "g- M"}, // MOVBE.
    {2, pf2, 0xF0, 0xF0, "gb"},      // CRC32.
    {2, pf2, 0xF1, 0xF1, "gg"},
    {2, p66 | pf3, 0xF6, 0xF6, "gg"}, // ADCX, ADOX.

    // 0F 3A.
    {3, p66, 0x08, 0x0F, "vv I"},
    {3, np, 0x0F, 0x0F, "mm I"},
    {3, p66, 0x14, 0x15, "vg ID"}, // PEXTRB and PEXTRW to a register clear the rest of it.
    {3, p66, 0x16, 0x17, "vg I"},
    {3, p66, 0x20, 0x20, "vg I"},
    {3, p66, 0x21, 0x21, "vv ID"}, // INSERTPS from a register chooses an element.
    {3, p66, 0x22, 0x22, "vg I"},
    {3, p66, 0x40, 0x42, "vv I"},
    {3, p66, 0x44, 0x44, "vv I"},
    {3, p66, 0x60, 0x63, "vv I"},
    {3, np, 0xCC, 0xCC, "vv I"},
    {3, p66, 0xDF, 0xDF, "vv I"},
};

constexpr Row vex_rows[] = {
    {1, packed, 0x10, 0x11, "vv"},
    {1, scalar, 0x10, 0x11, "vvv DV"},
    {1, np, 0x12, 0x12, "vvv D"},
    {1, p66, 0x12, 0x12, "v-v M"},
    {1, scalar, 0x12, 0x12, "vv"},
    {1, packed, 0x13, 0x13, "v- M"},
    {1, packed, 0x14, 0x15, "vvv"},
    {1, np, 0x16, 0x16, "vvv D"},
    {1, p66, 0x16, 0x16, "v-v M"},
    {1, pf3, 0x16, 0x16, "vv"},
    {1, packed, 0x17, 0x17, "v- M"},
    {1, packed, 0x28, 0x29, "vv"},
    {1, scalar, 0x2A, 0x2A, "vgv"},
    {1, packed, 0x2B, 0x2B, "v- M"},
    {1, scalar, 0x2C, 0x2D, "gv"},
    {1, packed, 0x2E, 0x2F, "vv"},
    {1, packed, 0x50, 0x50, "gv R"},
    {1, packed, 0x51, 0x51, "vv"},
    {1, scalar, 0x51, 0x51, "vvv"},
    {1, np, 0x52, 0x53, "vv"},
    {1, pf3, 0x52, 0x53, "vvv"},
    {1, packed, 0x54, 0x57, "vvv"},
    {1, any, 0x58, 0x59, "vvv"},
    {1, packed, 0x5A, 0x5A, "vv"},
    {1, scalar, 0x5A, 0x5A, "vvv"},
    {1, packed | pf3, 0x5B, 0x5B, "vv"},
    {1, any, 0x5C, 0x5F, "vvv"},
    {1, p66, 0x60, 0x6D, "vvv"},
    {1, p66, 0x6E, 0x6E, "vg"},
    {1, p66 | pf3, 0x6F, 0x6F, "vv"},
    {1, p66 | scalar, 0x70, 0x70, "vv I"},
    {1, p66, 0x71, 0x73, "xvv IR"}, // vvvv is the destination.
    {1, p66, 0x74, 0x76, "vvv"},
    {1, np, 0x77, 0x77, "-- N"},
    {1, p66 | pf2, 0x7C, 0x7D, "vvv"},
    {1, p66, 0x7E, 0x7E, "vg"},
    {1, pf3, 0x7E, 0x7E, "vv"},
    {1, p66 | pf3, 0x7F, 0x7F, "vv"},
    {1, np, 0xAE, 0xAE, "x- MX"},
    {1, any, 0xC2, 0xC2, "vvv I"},
    {1, p66, 0xC4, 0xC4, "vgv I"},
    {1, p66, 0xC5, 0xC5, "gv IR"},
    {1, packed, 0xC6, 0xC6, "vvv I"},
    {1, p66 | pf2, 0xD0, 0xD0, "vvv"},
    {1, p66, 0xD1, 0xD5, "vvv"},
    {1, p66, 0xD6, 0xD6, "vv"},
    {1, p66, 0xD7, 0xD7, "gv R"},
    {1, p66, 0xD8, 0xE5, "vvv"},
    {1, p66 | scalar, 0xE6, 0xE6, "vv"},
    {1, p66, 0xE7, 0xE7, "v- M"},
    {1, p66, 0xE8, 0xEF, "vvv"},
    {1, pf2, 0xF0, 0xF0, "v- M"},
    {1, p66, 0xF1, 0xF6, "vvv"},
    {1, p66, 0xF7, 0xF7, "vv R"},
    {1, p66, 0xF8, 0xFE, "vvv"},

    {2, p66, 0x00, 0x0D, "vvv"},
    {2, p66, 0x0E, 0x0F, "vv"},
    {2, p66, 0x13, 0x13, "vv"},
    {2, p66, 0x16, 0x16, "vvv"},
    {2, p66, 0x17, 0x19, "vv"},
    {2, p66, 0x1A, 0x1A, "v- M"},
    {2, p66, 0x1C, 0x1E, "vv"},
    {2, p66, 0x20, 0x25, "vv"},
    {2, p66, 0x28, 0x29, "vvv"},
    {2, p66, 0x2A, 0x2A, "v- M"},
    {2, p66, 0x2B, 0x2B, "vvv"},
    {2, p66, 0x2C, 0x2F, "v-v M"},
    {2, p66, 0x30, 0x35, "vv"},
    {2, p66, 0x36, 0x40, "vvv"},
    {2, p66, 0x41, 0x41, "vv"},
    {2, p66, 0x45, 0x47, "vvv"},
    {2, p66, 0x58, 0x59, "vv"},
    {2, p66, 0x5A, 0x5A, "v- M"},
    {2, p66, 0x78, 0x79, "vv"},
    {2, p66, 0x8C, 0x8C, "v-v M"},
    {2, p66, 0x8E, 0x8E, "v-v M"},
    {2, p66, 0x90, 0x93, "v-v MS"},
    {2, p66, 0x96, 0x9F, "vvv"}, // FMA.
    {2, p66, 0xA6, 0xAF, "vvv"},
    {2, p66, 0xB6, 0xBF, "vvv"},
    {2, p66, 0xDB, 0xDB, "vv"},
    {2, p66, 0xDC, 0xDF, "vvv"},
    {2, np, 0xF2, 0xF2, "ggg"},
    {2, np, 0xF3, 0xF3, "xgg X"}, // BLSR, BLSMSK, BLSI; vvvv is the destination.
    {2, np | scalar, 0xF5, 0xF5, "ggg"},
    {2, pf2, 0xF6, 0xF6, "ggg"},
    {2, any, 0xF7, 0xF7, "ggg"},

    {3, p66, 0x00, 0x01, "vv I"},
    {3, p66, 0x02, 0x02, "vvv I"},
    {3, p66, 0x04, 0x05, "vv I"},
    {3, p66, 0x06, 0x06, "vvv I"},
    {3, p66, 0x08, 0x09, "vv I"},
    {3, p66, 0x0A, 0x0F, "vvv I"},
    {3, p66, 0x14, 0x15, "vg ID"},
    {3, p66, 0x16, 0x17, "vg I"},
    {3, p66, 0x18, 0x18, "vvv I"},
    {3, p66, 0x19, 0x19, "vv I"},
    {3, p66, 0x1D, 0x1D, "vv I"},
    {3, p66, 0x20, 0x20, "vgv I"},
    {3, p66, 0x21, 0x21, "vvv ID"},
    {3, p66, 0x22, 0x22, "vgv I"},
    {3, p66, 0x38, 0x38, "vvv I"},
    {3, p66, 0x39, 0x39, "vv I"},
    {3, p66, 0x40, 0x42, "vvv I"},
    {3, p66, 0x44, 0x44, "vvv I"},
    {3, p66, 0x46, 0x46, "vvv I"},
    {3, p66, 0x4A, 0x4C, "vvv 4"},
    {3, p66, 0x60, 0x63, "vv I"},
    {3, p66, 0xDF, 0xDF, "vv I"},
    {3, pf2, 0xF0, 0xF0, "gg I"}, // RORX.
};

constexpr u8 class_of(char letter) {
    switch (letter) {
    case 'g': return static_cast<u8>(FieldClass::gpr);
    case 'b': return static_cast<u8>(FieldClass::gpr8);
    case 'v': return static_cast<u8>(FieldClass::vector);
    case 'm': return static_cast<u8>(FieldClass::mmx);
    case 'x': return static_cast<u8>(FieldClass::extension);
    case 'o': return static_cast<u8>(FieldClass::other);
    default: return static_cast<u8>(FieldClass::none);
    }
}

constexpr void apply(OpcodeShape& shape, char letter) {
    switch (letter) {
    case 'I': shape.immediate = static_cast<u8>(ImmediateKind::byte); break;
    case 'Z': shape.immediate = static_cast<u8>(ImmediateKind::operand); break;
    case 'F': shape.immediate = static_cast<u8>(ImmediateKind::full); break;
    case '4': shape.immediate = static_cast<u8>(ImmediateKind::is4); break;
    case 'M': shape.memory_only = true; break;
    case 'R': shape.register_only = true; break;
    case 'D': shape.forms_differ = true; break;
    case 'S': shape.vsib = true; break;
    case 'X': shape.group = true; break;
    case '6': shape.code64 = true; break;
    case 'N': shape.no_modrm = true; break;
    case 'O': shape.register_in_opcode = true; break;
    case 'V': shape.vvvv_with_register = true; break;
    case 'A': shape.modrm_always_register = true; break;
    }
}

constexpr OpcodeShape read_shape(std::string_view text) {
    OpcodeShape shape;
    shape.known = true;
    shape.reg = class_of(text[0]);
    shape.rm = class_of(text[1]);
    if (text.size() > 2) shape.vvvv = class_of(text[2]);
    for (const char letter : text.substr(2))
        apply(shape, letter);
    return shape;
}

// By map, pp and opcode.
using Shapes = std::array<OpcodeShape, 4 * 4 * 256>;

template <std::size_t count> constexpr Shapes lay_out(const Row (&rows)[count]) {
    Shapes shapes{};
    for (const Row& row : rows) {
        const OpcodeShape shape = read_shape(row.shape);
        for (unsigned pp = 0; pp < 4; ++pp)
            for (unsigned opcode = row.first; (row.prefixes >> pp & 1) && opcode <= row.last; ++opcode)
                shapes[(row.map * 4u + pp) * 256 + opcode] = shape;
    }
    return shapes;
}

constexpr Shapes legacy_shapes = lay_out(legacy_rows);
constexpr Shapes vex_shapes = lay_out(vex_rows);

} // namespace

OpcodeShape opcode_shape(bool vex, unsigned map, unsigned pp, unsigned opcode) {
    return (vex ? vex_shapes : legacy_shapes)[(map * 4 + pp) * 256 + opcode];
}

} // namespace calque::jit
