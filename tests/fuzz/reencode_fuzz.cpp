// Any bytes as guest instructions, any numbers as host operands: the re-encoder reads and writes inside its spans, and
// what it writes it reads again as the same instruction with the operands that were asked for.
#include "jit/emit/reencode.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace calque::jit {
namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

// The number that a field must have got.
u8 expected(FieldClass c, u8 guest, u8 host, bool high) {
    switch (c) {
    case FieldClass::none: return 0;
    case FieldClass::extension:
    case FieldClass::other: return guest;
    case FieldClass::mmx: return host & 7;
    default: return high ? host & 3 : host & 15;
    }
}

void require_same_operation(const ParsedInstruction& a, const ParsedInstruction& b) {
    require(a.vex == b.vex && a.map == b.map && a.pp == b.pp && a.w == b.w && a.l == b.l);
    require(a.legacy == b.legacy && a.legacy_count == b.legacy_count);
    require(a.register_in_opcode ? (a.opcode ^ b.opcode) < 8 : a.opcode == b.opcode);
    require(a.has_modrm == b.has_modrm && a.memory == b.memory && a.vsib == b.vsib);
    require(a.reg_class == b.reg_class && a.rm_class == b.rm_class && a.vvvv_class == b.vvvv_class);
    require(a.reg_high == b.reg_high && a.rm_high == b.rm_high);
    require(a.immediate_bytes == b.immediate_bytes);
    require(a.has_is4 ? (a.immediate & 15) == (b.immediate & 15) : a.immediate == b.immediate);
}

void require_operands(const ParsedInstruction& guest, const HostOperands& host, const ParsedInstruction& got) {
    if (guest.has_modrm) require(got.modrm_reg == expected(guest.reg_class, guest.modrm_reg, host.reg, guest.reg_high));
    if (guest.vex) require(got.vvvv == expected(guest.vvvv_class, guest.vvvv, host.vvvv, false));
    if (guest.has_is4) require(got.is4 == (host.is4 & 15));
    if (guest.register_in_opcode)
        require(got.opcode_register
                == expected(guest.rm_class, guest.opcode_register, host.opcode_register, guest.rm_high));
    if (guest.memory) {
        require(got.base == host.memory.base && got.index == host.memory.index && !got.rip_relative);
        require(got.index == no_register || got.scale == 1 << host.memory.scale_shift);
        require(got.displacement == host.memory.displacement);
    } else if (guest.has_modrm) {
        require(got.modrm_rm == expected(guest.rm_class, guest.modrm_rm, host.rm, guest.rm_high));
    }
}

// Byte 0: code size and form. Bytes 1 to 12: host operands. The rest: the instruction.
void run(std::span<const u8> data) {
    constexpr std::size_t head = 13;
    if (data.size() < head) return;
    const auto at = [&](std::size_t n) { return data[n]; };
    HostOperands host{.reg = at(1), .rm = at(2), .vvvv = at(3), .is4 = at(4), .opcode_register = at(5), .memory = {}};
    host.memory.base = at(6) & 0x10 ? no_register : at(6) & 15;
    host.memory.index = at(7) & 0x10 ? no_register : at(7) & 15;
    host.memory.scale_shift = at(8) & 3;
    host.memory.displacement = static_cast<i32>(u32{at(9)} | at(10) << 8 | at(11) << 16 | u32{at(12)} << 24);
    if (at(8) & 4) host.memory.displacement = static_cast<i8>(at(9));

    const std::vector<u8> bytes(data.begin() + head, data.end());
    auto guest = parse_instruction(bytes, at(0) & 1);
    if (!guest) return;
    require(guest->length <= std::min<std::size_t>(bytes.size(), 15));
    if (at(0) & 2) with_register_form(*guest, host.rm & 15);
    std::array<u8, 16> out;
    const unsigned length = encode_instruction(*guest, host, out);
    require(length <= 15);
    if (length == 0) return;
    const std::vector<u8> written(out.begin(), out.begin() + length);
    const auto got = parse_instruction(written, true);
    require(got && got->length == length);
    require_same_operation(*guest, *got);
    require_operands(*guest, host, *got);
}

} // namespace
} // namespace calque::jit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    calque::jit::run({data, size});
    return 0;
}
