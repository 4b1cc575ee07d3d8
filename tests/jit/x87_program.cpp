#include "tests/jit/x87_program.h"

#include <algorithm>

namespace calque::jit::test {

namespace {

constexpr u8 b(unsigned value) { return static_cast<u8>(value); }

void append(Code& to, std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes)
        to.push_back(b(byte));
}
void append32(Code& to, u32 value) {
    for (unsigned n = 0; n < 4; ++n)
        to.push_back(b(value >> 8 * n));
}

// Where a RIP-relative displacement stands in an item is marked by its last byte's place; the target is in data.
constexpr u32 relative_mark = 0x5A5A0000;

} // namespace

Code X87Program::memory_operand(Code opcode, unsigned reg, bool wide) {
    Code out;
    unsigned rex = wide ? 0x48 : 0;
    unsigned modrm = reg << 3;
    Code rest;
    switch (random_.below(8)) {
    case 0:
    case 1: // [RBX + disp8]
        modrm |= 0x40 | 3;
        rest.push_back(b(random_.next()));
        break;
    case 2: // [RBX + RCX * 8 + disp32]
        modrm |= 0x80 | 4;
        rest.push_back(0xCB);
        append32(rest, random_.below(0x400));
        break;
    case 3: // [R13 + disp32]
        rex |= 0x41;
        modrm |= 0x80 | 5;
        append32(rest, random_.below(0x1000));
        break;
    case 4: // [RSI]
    case 5: modrm |= 6; break;
    case 6: // [RSP + disp8]
        modrm |= 0x40 | 4;
        rest.push_back(0x24);
        rest.push_back(b(random_.below(128)));
        break;
    default: // [RIP + disp32]
        modrm |= 5;
        append32(rest, relative_mark | random_.below(0x3000));
        break;
    }
    if (rex) out.push_back(b(rex | 0x40));
    out.insert(out.end(), opcode.begin(), opcode.end());
    out.push_back(b(modrm));
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
}

void X87Program::x87_register() {
    for (;;) {
        const unsigned opcode = 0xD8 + random_.below(8), modrm = 0xC0 + random_.below(64);
        if (opcode == 0xDB && modrm == 0xE3 && random_.below(8) != 0) continue; // FNINIT
        return append(code_, {opcode, modrm});                                  // Some are none.
    }
}

void X87Program::x87_memory() {
    for (;;) {
        const unsigned opcode = 0xD8 + random_.below(8), reg = random_.below(8);
        if (opcode == 0xD9 && (reg == 1 || reg >= 4)) continue; // FLDCW and environments are control().
        if (opcode == 0xDB && (reg == 4 || reg == 6)) continue; // #UD
        if (opcode == 0xDD && (reg == 4 || reg >= 5)) continue;
        code_ = memory_operand({b(opcode)}, reg);
        return;
    }
}

void X87Program::mmx() {
    static constexpr u8 plain[] = {0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x6B,
                                   0x6E, 0x6F, 0x74, 0x75, 0x76, 0x7E, 0x7F, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5,
                                   0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xE0, 0xE1, 0xE2, 0xE3,
                                   0xE4, 0xE5, 0xE8, 0xE9, 0xEA, 0xEB, 0xEC, 0xED, 0xEE, 0xEF, 0xF1, 0xF2,
                                   0xF3, 0xF4, 0xF5, 0xF6, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE};
    const unsigned reg = random_.below(8), rm = random_.below(8), imm = b(random_.next());
    const unsigned rr = 0xC0 | reg << 3 | rm;
    const unsigned gpr_to_mmx = 0xC0 | reg << 3 | 2; // The register is RDX.
    switch (random_.below(20)) {
    case 0: return append(code_, {0x0F, 0x77});                                                   // EMMS
    case 1: return append(code_, {0x0F, 0x70, rr, imm});                                          // PSHUFW
    case 2: return append(code_, {0x0F, 0xD7, 0xC0 | 2 << 3 | rm});                               // PMOVMSKB EDX
    case 3: return append(code_, {0x0F, 0xC5, 0xC0 | 2 << 3 | rm, imm});                          // PEXTRW EDX
    case 4: return append(code_, {0x0F, 0xC4, gpr_to_mmx, imm});                                  // PINSRW
    case 5: return append(code_, {0x0F, 0x71 + random_.below(3), 0xD0 | rm, imm & 0x3F});         // PSRL by a constant
    case 6: return append(code_, {0xF3, 0x0F, 0xD6, rr});                                         // MOVQ2DQ
    case 7: return append(code_, {0xF2, 0x0F, 0xD6, rr});                                         // MOVDQ2Q
    case 8: return append(code_, {0x0F, 0x2A + random_.below(2) * 2, rr});                        // CVTPI2PS, CVTTPS2PI
    case 9: return append(code_, {0x66, 0x0F, random_.below(2) ? 0x2Au : 0x2Du, rr});             // CVTPI2PD, CVTPD2PI
    case 10: return append(code_, {0x0F, 0x38, random_.below(12), rr});                           // PSHUFB...
    case 11: return append(code_, {0x0F, 0x3A, 0x0F, rr, imm & 15});                              // PALIGNR
    case 12: return append(code_, {0x48, 0x0F, random_.below(2) ? 0x6Eu : 0x7Eu, gpr_to_mmx});    // MOVQ with RDX
    case 13: code_ = memory_operand({0x0F, 0xE7}, reg); return;                                   // MOVNTQ
    case 14: code_ = memory_operand({0x0F, random_.below(2) ? u8{0x7F} : u8{0x6F}}, reg); return; // MOVQ
    default: break;
    }
    const u8 opcode = plain[random_.below(std::size(plain))];
    if (random_.below(2)) {
        code_ = memory_operand({0x0F, opcode}, reg);
    } else if (opcode == 0x6E || opcode == 0x7E) {
        append(code_, {0x0F, opcode, gpr_to_mmx});
    } else {
        append(code_, {0x0F, opcode, rr});
    }
}

void X87Program::control() {
    switch (random_.below(9)) {
    case 0:
    case 1:
    case 2:
    case 3: // FLDCW [R15 + 1800h...]
        append(code_, {0x41, 0xD9, 0xAF});
        return append32(code_, 0x1800 + 2 * random_.below(random_.below(4) == 0 ? 64 : 15));
    case 4: code_ = memory_operand({0xD9}, 7); return; // FNSTCW
    case 5: code_ = memory_operand({0xDD}, 7); return; // FNSTSW
    case 6: return append(code_, {0xDF, 0xE0});        // FNSTSW AX
    case 7: return append(code_, {0xDB, 0xE2});        // FNCLEX
    default: return append(code_, {0x9B});             // FWAIT
    }
}

// To and from areas of 512 bytes at R15.
void X87Program::save_and_load() {
    const u32 at = random_.below(4) * 0x200;
    const auto operand = [&](std::initializer_list<unsigned> opcode, unsigned reg) {
        append(code_, opcode);
        code_.push_back(b(0x80 | reg << 3 | 7));
        append32(code_, at);
    };
    const bool load = random_.below(2);
    if (load) { // Of what has just been saved there, so that it is valid.
        switch (random_.below(5)) {
        case 0: operand({0x41, 0xD9}, 6), operand({0x41, 0xD9}, 4); return;
        case 1: operand({0x41, 0xDD}, 6), operand({0x41, 0xDD}, 4); return;
        case 2: operand({0x41, 0x0F, 0xAE}, 0), operand({0x41, 0x0F, 0xAE}, 1); return;
        case 3: operand({0x49, 0x0F, 0xAE}, 0), operand({0x49, 0x0F, 0xAE}, 1); return;
        default: // XSAVE64, XRSTOR64 of everything, past the other areas
            append(code_, {0xB8, 7, 0, 0, 0, 0x31, 0xD2, 0x49, 0x0F, 0xAE, 0xA7, 0, 0x10, 0, 0});
            append(code_, {0x49, 0x0F, 0xAE, 0xAF, 0, 0x10, 0, 0});
            return;
        }
    }
    switch (random_.below(4)) {
    case 0: return operand({0x41, 0xD9}, 6);        // FNSTENV
    case 1: return operand({0x66, 0x41, 0xDD}, 6);  // FNSAVE, 16 bits
    case 2: return operand({0x41, 0x0F, 0xAE}, 0);  // FXSAVE
    default: return operand({0x49, 0x0F, 0xAE}, 0); // FXSAVE64
    }
}

void X87Program::integer() {
    switch (random_.below(12)) {
    case 0: return append(code_, {0x48, 0x83, 0xC6, random_.below(64)});                          // ADD RSI, imm
    case 1: append(code_, {0x48, 0x8D, 0xB7}); return append32(code_, random_.below(0x2000));     // LEA RSI, [RDI + d]
    case 2: append(code_, {0x48, 0x8D, 0x9F}); return append32(code_, random_.below(0x800));      // LEA RBX, [RDI + d]
    case 3: return append(code_, {0x83, 0xF1, random_.below(64)});                                // XOR ECX, imm
    case 4: append(code_, {0xBE}); return append32(code_, static_cast<u32>(unmapped));            // MOV ESI: not there
    case 5: append(code_, {0x48, 0x8D, 0xB7}); return append32(code_, 0x7F0 - random_.below(16)); // Over the edge
    case 6: return append(code_, {0x01, 0xC2});                                                   // ADD EDX, EAX
    case 7: return append(code_, {0x48, 0x8D, 0x14, 0x02});   // LEA RDX, [RDX + RAX]
    case 8: return append(code_, {0x49, 0x83, 0xC5, 0x10});   // ADD R13, 10h
    case 9: return append(code_, {0x85, 0xC2});               // TEST EDX, EAX
    case 10: return append(code_, {0x0F, 0x44, 0xC2});        // CMOVZ EAX, EDX
    default: code_ = memory_operand({0x8B}, 0, true); return; // MOV RAX, m
    }
}

// Over the bytes of another item.
void X87Program::branch() {
    const unsigned condition = random_.below(16);
    Code over;
    std::swap(over, code_);
    random_.below(2) ? x87_register() : integer();
    if (std::search(code_.begin(), code_.end(), std::begin({u8{0x5A}, u8{0x5A}}), std::end({u8{0x5A}, u8{0x5A}}))
        != code_.end())
        code_.assign({0x90}); // No RIP-relative ones: their displacement is the item's last.
    const unsigned length = static_cast<unsigned>(code_.size());
    Code whole{b(0x70 | condition), b(length)};
    whole.insert(whole.end(), code_.begin(), code_.end());
    code_ = std::move(whole);
}

void X87Program::system() {
    switch (random_.below(6)) {
    case 0: return append(code_, {0x0F, 0x20, 0xC0, 0x83, 0xC8, 0x08, 0x0F, 0x22, 0xC0});     // CR0.TS
    case 1: return append(code_, {0x0F, 0x06});                                               // CLTS
    case 2: return append(code_, {0x53, 0x51, 0x0F, 0xA2, 0x59, 0x5B});                       // CPUID
    case 3: return append(code_, {0x51, 0x31, 0xC9, 0x0F, 0x01, 0xD0, 0x59});                 // XGETBV
    case 4: return append(code_, {0x66, 0xBA, random_.below(2) ? 0x10u : 0u, 0, 0x8E, 0xDA}); // MOV DS
    default: return append(code_, {0x9C, 0x58});                                              // PUSHFQ; POP RAX
    }
}

void X87Program::vectors() {
    const unsigned rr = 0xC0 + random_.below(64);
    switch (random_.below(4)) {
    case 0: return append(code_, {0x0F, 0x58, rr});                    // ADDPS
    case 1: return append(code_, {0xF2, 0x0F, 0x59, rr});              // MULSD
    case 2: return append(code_, {0xC5, 0xF4, 0x57, 0xC0 | (rr & 7)}); // VXORPS YMM
    default: code_ = memory_operand({0x0F, 0x10}, rr & 7); return;     // MOVUPS
    }
}

void X87Program::item() {
    code_.clear();
    const unsigned kind = random_.below(100);
    if (kind < 38)
        x87_register();
    else if (kind < 66)
        x87_memory();
    else if (kind < 76)
        mmx();
    else if (kind < 82)
        control();
    else if (kind < 85)
        save_and_load();
    else if (kind < 93)
        integer();
    else if (kind < 96)
        branch();
    else if (kind < 98)
        vectors();
    else
        system();
    items_.push_back(code_);
}

Code X87Program::make(const std::vector<bool>& left_out) {
    if (items_.empty())
        for (unsigned n = 5 + random_.below(40); n; --n)
            item();
    Code program;
    append(program, {0x41, 0xBC}); // MOV R12D, 4
    append32(program, 4);
    const std::size_t top = program.size();
    for (std::size_t n = 0; n < items_.size(); ++n) {
        if (n < left_out.size() && left_out[n]) continue;
        const Code& bytes = items_[n];
        program.insert(program.end(), bytes.begin(), bytes.end());
        if (bytes.size() < 4) continue;
        u32 last;
        std::memcpy(&last, &bytes[bytes.size() - 4], 4);
        if ((last & 0xFFFF0000) != relative_mark) continue;
        const u32 displacement = static_cast<u32>(data_at + (last & 0xFFFF) - (program_at + program.size()));
        std::memcpy(&program[program.size() - 4], &displacement, 4);
    }
    append(program, {0x41, 0xFF, 0xCC, 0x0F, 0x85}); // DEC R12D; JNZ
    append32(program, static_cast<u32>(top - (program.size() + 4)));
    append(program, {0xF4});
    return program;
}

} // namespace calque::jit::test
