#include "jit/emit/unit_assembler.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace calque::jit {

namespace {

constexpr std::size_t first_bytes = 4096;
constexpr u32 modrm_sib = 4, sib_none = 4, sib_no_base = 5;

bool fits_i8(i64 value) { return value == static_cast<i8>(value); }
// As it is encoded: in 32 bits, which a 64-bit operand takes as signed.
bool encodable(i64 value, u32 size) {
    return value == static_cast<i32>(value) || (size < 8 && value == static_cast<i64>(static_cast<u32>(value)));
}
// The value as an operand of this size has it.
i64 signed_value(i64 value, u32 size) {
    return size == 1   ? static_cast<i8>(value)
           : size == 2 ? static_cast<i16>(value)
           : size == 4 ? static_cast<i32>(value)
                       : value;
}

} // namespace

// --- The parts and their labels

void UnitAssembler::start(const std::byte* base) {
    base_ = reinterpret_cast<std::uintptr_t>(base);
    for (Part& part : parts_) {
        if (part.bytes.empty()) part.bytes.resize(first_bytes);
        part.used = 0;
    }
    part_ = part_offset_ = 0;
    first_ = at_ = parts_[0].bytes.data();
    end_ = first_ + parts_[0].bytes.size();
    distance_ = Distance::any;
    complete_ = true;
    places_.clear();
    fixups_.clear();
}

void UnitAssembler::leave_part() { parts_[part_].used = static_cast<std::size_t>(at_ - first_); }

void UnitAssembler::begin_cold(const std::byte* cold) {
    leave_part();
    part_ = 1;
    part_offset_ = static_cast<u32>(reinterpret_cast<std::uintptr_t>(cold) - base_);
    first_ = at_ = parts_[1].bytes.data();
    end_ = first_ + parts_[1].bytes.size();
}

void UnitAssembler::grow() {
    std::vector<u8>& bytes = parts_[part_].bytes;
    const auto used = at_ - first_;
    bytes.resize(bytes.size() * 2);
    first_ = bytes.data();
    at_ = first_ + used;
    end_ = first_ + bytes.size();
}

void UnitAssembler::fix(const Fixup& fixup) {
    const u32 place = places_[fixup.label];
    const i64 distance = static_cast<i32>(place - fixup.end);
    complete_ &= place != unbound && (fixup.size == 4 || fits_i8(distance));
    u8* const to = parts_[fixup.part].bytes.data() + fixup.at;
    const u32 value = static_cast<u32>(distance);
    if (fixup.size == 1)
        *to = static_cast<u8>(value);
    else
        std::memcpy(to, &value, sizeof value);
}

bool UnitAssembler::finish(std::vector<u8>& hot, std::vector<u8>& cold) {
    leave_part();
    for (const Fixup& fixup : fixups_)
        fix(fixup);
    hot.assign(parts_[0].bytes.begin(), parts_[0].bytes.begin() + static_cast<std::ptrdiff_t>(parts_[0].used));
    cold.assign(parts_[1].bytes.begin(), parts_[1].bytes.begin() + static_cast<std::ptrdiff_t>(parts_[1].used));
    return complete_;
}

u8* UnitAssembler::put_value(u8* to, i64 value, u32 size) {
    std::memcpy(to, &value, sizeof value);
    return to + size;
}

// --- Jumps

void UnitAssembler::jump(u32 code, u8 short_opcode, const Label& to) {
    u8* p = room();
    const Distance wanted = std::exchange(distance_, Distance::any);
    const u32 place = places_[to.id()];
    const bool bound = place != unbound;
    const bool near = bound && fits_i8(i64{static_cast<i32>(place - (here() + 2))});
    u32 size = 4;
    if (wanted == Distance::near8 || (wanted == Distance::any && near)) {
        p = put(p, short_opcode);
        size = 1;
        complete_ &= !bound || near;
    } else {
        if (code & map_0f) p = put(p, 0x0F);
        p = put(p, code & 0xFF);
    }
    const auto at = static_cast<u32>(p - first_);
    at_ = p + size;
    if (bound)
        put_value(p, static_cast<i32>(place - here()), size);
    else
        fixups_.push_back({part_, at, here(), to.id(), size});
}

void UnitAssembler::lea(const Gp& to, const Label& label) {
    name(to.id());
    u8* const p = put_opcode(room(), wide | 0x8D, (to.id() >> 3) << 2);
    constexpr unsigned rip_relative = 5;
    const auto at = static_cast<u32>(put(p, (to.id() & 7) << 3 | rip_relative) - first_);
    at_ = first_ + at + 4;
    fixups_.push_back({part_, at, here(), label.id(), 4});
}

void UnitAssembler::jecxz(const Gp& counter, const Label& to) {
    if (counter.size() == 4) with_prefix(0x67);
    distance_ = Distance::near8;
    jump(0, 0xE3, to);
}

void UnitAssembler::go_to(u8 opcode, const Imm& address) {
    u8* const p = put(room(), opcode);
    const u64 end = base_ + static_cast<u64>(i64{static_cast<i32>(here())}) + 5;
    const i64 distance = static_cast<i64>(address.valueAs<u64>() - end);
    complete_ &= distance == static_cast<i32>(distance);
    at_ = put_value(p, distance, 4);
    distance_ = Distance::any;
    ++touches_;
}

// --- Fields (SDM volume 2, chapter 2)

u8* UnitAssembler::put_opcode(u8* to, u32 code, unsigned rex) {
    if (code & operand_16) to = put(to, 0x66);
    if (code & wide) rex |= 8;
    if (rex != 0 || (code & with_rex)) {
        complete_ &= !(code & without_rex);
        to = put(to, 0x40 | rex);
    }
    if (code & map_0f) to = put(to, 0x0F);
    return put(to, code & 0xFF);
}

void UnitAssembler::encode_rm(u32 code, unsigned reg, unsigned rm) {
    name(reg);
    name(rm);
    u8* const p = put_opcode(room(), code, (reg >> 3) << 2 | rm >> 3);
    at_ = put(p, 0xC0 | (reg & 7) << 3 | (rm & 7));
}

void UnitAssembler::encode(u32 code, unsigned reg, const Mem& m) {
    name(reg);
    u8* p = room();
    if (m.hasSegment()) p = put(p, m.segmentId() == x86::SReg::kIdFs ? 0x64 : 0x65);
    if (m.baseType() == asmjit::RegType::kX86_Gpd || m.indexType() == asmjit::RegType::kX86_Gpd) p = put(p, 0x67);
    const i32 displacement = m.offsetLo32();
    const unsigned field = (reg & 7) << 3;
    const bool has_index = m.hasIndexReg();
    const unsigned index = has_index ? m.indexId() : sib_none;
    const unsigned sib = m.shift() << 6 | (index & 7) << 3;
    if (!m.hasBaseReg()) { // Not the shorter form without SIB: that is relative to RIP.
        complete_ &= m.offset() == displacement;
        p = put_opcode(p, code, (reg >> 3) << 2 | (index >> 3) << 1);
        p = put(p, field | modrm_sib);
        at_ = put_value(put(p, sib | sib_no_base), displacement, 4);
        return;
    }
    const unsigned base = m.baseId(), low = base & 7;
    p = put_opcode(p, code, (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3);
    const bool none = displacement == 0 && low != sib_no_base, small = fits_i8(displacement);
    const unsigned mod = none ? 0 : small ? 0x40 : 0x80;
    if (has_index || low == sib_none) {
        p = put(p, mod | field | modrm_sib);
        p = put(p, sib | low);
    } else {
        p = put(p, mod | field | low);
    }
    at_ = put_value(p, displacement, none ? 0 : small ? 1 : 4);
}

void UnitAssembler::encode_register(u8 opcode, const Gp& r) {
    name(r.id());
    u8* p = room();
    if (r.id() >= 8) p = put(p, 0x41);
    at_ = put(p, opcode | (r.id() & 7));
}

void UnitAssembler::encode_vex(u8 map, u8 pp, u8 opcode, const Gp& reg, const Gp& vvvv, const Gp& rm) {
    name(reg.id());
    u8* p = put(room(), 0xC4);
    p = put(p, (reg.id() >= 8 ? 0 : 0x80) | 0x40 | (rm.id() >= 8 ? 0 : 0x20) | map);
    p = put(p, (reg.size() == 8 ? 0x80 : 0) | (~vvvv.id() & 15) << 3 | pp);
    p = put(p, opcode);
    at_ = put(p, 0xC0 | (reg.id() & 7) << 3 | (rm.id() & 7));
}

// --- Instructions

void UnitAssembler::mov(const Gp& to, const Imm& value) {
    const u32 size = to.size();
    const i64 v = value.value();
    if (size == 8 && v == static_cast<i32>(v)) {
        encode(wide | 0xC7, 0, to);
        return append(v, 4);
    }
    complete_ &= size != 1 && (size == 8 || encodable(v, size));
    name(to.id());
    u8* const p = put_opcode(room(), size_bits(size) | 0xB8 | (to.id() & 7), to.id() >> 3);
    at_ = put_value(p, v, size);
}

void UnitAssembler::mov(const Mem& to, const Imm& value) {
    const u32 size = to.size();
    complete_ &= size != 0 && encodable(value.value(), size);
    encode(size == 1 ? 0xC6 : size_bits(size) | 0xC7, 0, to);
    append(value.value(), std::min(size, 4u));
}

void UnitAssembler::mov(const Gp& to, const Operand& from) {
    if (from.isMem())
        mov(to, from.as<Mem>());
    else if (from.isReg())
        mov(to, from.as<Gp>());
    else
        mov(to, from.as<Imm>());
}

void UnitAssembler::alu(unsigned operation, const Gp& a, const Imm& b) {
    const u32 size = a.size();
    const i64 value = signed_value(b.value(), size);
    complete_ &= encodable(value, size);
    const bool accumulator = a.id() == 0 && !a.isGpbHi(); // Has a form without ModRM.
    if (size == 1) {
        if (accumulator)
            at_ = put(room(), operation << 3 | 4);
        else
            encode(0x80, operation, a);
        return append(value, 1);
    }
    if (fits_i8(value)) {
        encode(size_bits(size) | 0x83, operation, a);
        return append(value, 1);
    }
    if (accumulator)
        at_ = put_opcode(room(), size_bits(size) | operation << 3 | 5, 0);
    else
        encode(size_bits(size) | 0x81, operation, a);
    append(value, std::min(size, 4u));
}

void UnitAssembler::alu(unsigned operation, const Mem& a, const Imm& b) {
    const u32 size = a.size();
    const i64 value = signed_value(b.value(), size);
    complete_ &= size != 0 && encodable(value, size);
    const bool small = size == 1 || fits_i8(value);
    encode(size == 1 ? 0x80 : size_bits(size) | (small ? 0x83 : 0x81), operation, a);
    append(value, small ? 1 : std::min(size, 4u));
}

void UnitAssembler::alu(unsigned operation, const Operand& a, const Operand& b) {
    if (a.isMem())
        return b.isImm() ? alu(operation, a.as<Mem>(), b.as<Imm>()) : alu(operation, a.as<Mem>(), b.as<Gp>());
    if (b.isMem()) return alu(operation, a.as<Gp>(), b.as<Mem>());
    return b.isImm() ? alu(operation, a.as<Gp>(), b.as<Imm>()) : alu(operation, a.as<Gp>(), b.as<Gp>());
}

void UnitAssembler::test(const Gp& a, const Imm& b) {
    const u32 size = a.size();
    complete_ &= encodable(b.value(), size);
    if (a.id() == 0 && !a.isGpbHi())
        at_ = put_opcode(room(), size == 1 ? 0xA8 : size_bits(size) | 0xA9, 0);
    else
        encode(size == 1 ? 0xF6 : size_bits(size) | 0xF7, 0, a);
    append(b.value(), std::min(size, 4u));
}

void UnitAssembler::test(const Mem& a, const Imm& b) {
    const u32 size = a.size();
    complete_ &= size != 0 && encodable(b.value(), size);
    encode(size == 1 ? 0xF6 : size_bits(size) | 0xF7, 0, a);
    append(b.value(), std::min(size, 4u));
}

void UnitAssembler::test(const Operand& a, const Operand& b) {
    if (b.isImm()) return a.isMem() ? test(a.as<Mem>(), b.as<Imm>()) : test(a.as<Gp>(), b.as<Imm>());
    if (b.isMem()) return test(b.as<Mem>(), a.as<Gp>());
    return a.isMem() ? test(a.as<Mem>(), b.as<Gp>()) : test(a.as<Gp>(), b.as<Gp>());
}

void UnitAssembler::shift(unsigned operation, const Gp& to, unsigned count) {
    const u32 code = to.size() == 1 ? 0 : size_bits(to.size()) | 1;
    if (count == 1) return encode(code | 0xD0, operation, to);
    encode(code | 0xC0, operation, to);
    append(count, 1);
}

void UnitAssembler::shrd(const Gp& to, const Gp& from, u8 count) {
    encode(map_0f | size_bits(to.size()) | 0xAC, from.id(), to);
    append(count, 1);
}

void UnitAssembler::rorx(const Gp& to, const Gp& from, u8 count) {
    encode_vex(3, 3, 0xF0, to, x86::rax, from);
    append(count, 1);
}
void UnitAssembler::pext(const Gp& to, const Gp& from, const Mem& mask) {
    complete_ &= mask.hasBaseReg() && mask.baseId() < 8 && !mask.hasIndexReg() && !mask.hasSegment();
    name(to.id());
    u8* p = put(room(), 0xC4);
    p = put(p, (to.id() >= 8 ? 0 : 0x80) | 0x60 | 2);
    at_ = put(p, (to.size() == 8 ? 0x80 : 0) | (~from.id() & 15) << 3 | 2);
    encode(0xF5, to.id() & 7, mask);
}
void UnitAssembler::sarx(const Gp& to, const Gp& from, const Gp& count) { encode_vex(2, 2, 0xF7, to, count, from); }
void UnitAssembler::andn(const Gp& to, const Gp& inverted, const Gp& from) {
    encode_vex(2, 0, 0xF2, to, inverted, from);
}

void UnitAssembler::string(u8 opcode, u32 size) { at_ = put_opcode(room(), size_bits(size) | opcode, 0); }

void UnitAssembler::emit(x86::Inst::Id instruction, const Operand& a, const Operand& b) {
    switch (instruction) {
    case x86::Inst::kIdMov:
        if (a.isReg()) return mov(a.as<Gp>(), b);
        return b.isImm() ? mov(a.as<Mem>(), b.as<Imm>()) : mov(a.as<Mem>(), b.as<Gp>());
    case x86::Inst::kIdTest: return test(a, b);
    case x86::Inst::kIdAdd: return alu(0, a, b);
    case x86::Inst::kIdOr: return alu(1, a, b);
    case x86::Inst::kIdAdc: return alu(2, a, b);
    case x86::Inst::kIdSbb: return alu(3, a, b);
    case x86::Inst::kIdAnd: return alu(4, a, b);
    case x86::Inst::kIdSub: return alu(5, a, b);
    case x86::Inst::kIdXor: return alu(6, a, b);
    case x86::Inst::kIdCmp: return alu(7, a, b);
    default: complete_ = false;
    }
}

void UnitAssembler::vector(u8 pp, u8 opcode, const x86::Vec& reg, const Mem& m) {
    complete_ &= m.hasBaseReg() && m.baseId() < 8 && !m.hasIndexReg() && !m.hasSegment();
    u8* const p = put(room(), 0xC5);
    at_ = put(p, (reg.id() >= 8 ? 0 : 0x80) | 0x78 | (reg.size() == 32 ? 4 : 0) | pp);
    encode(opcode, reg.id() & 7, m);
}

void UnitAssembler::vpxor(const x86::Xmm& to, const x86::Xmm& a, const x86::Xmm& b) {
    const unsigned r = to.id() >= 8 ? 0 : 0x80, last = (~a.id() & 15) << 3 | 1;
    u8* p = room();
    if (b.id() < 8) {
        p = put(put(p, 0xC5), r | last);
    } else {
        p = put(put(put(p, 0xC4), r | 0x40 | 1), last);
    }
    at_ = put(put(p, 0xEF), 0xC0 | (to.id() & 7) << 3 | (b.id() & 7));
}

} // namespace calque::jit
