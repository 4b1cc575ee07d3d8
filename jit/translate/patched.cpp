#include "jit/translate/patched.h"

namespace calque::jit {

namespace {

using ir::Op;
using ir::OpKind;

// The operations that have a form with a register in place of their immediate: those of 80, 81, 83, TEST, MOV, IMUL.
bool has_register_form(const ParsedInstruction& p) {
    if (p.vex || p.map != 0) return false;
    switch (p.opcode) {
    case 0x69:
    case 0x6B:
    case 0x80:
    case 0x81:
    case 0x83:
    case 0xC6:
    case 0xC7: return true;
    case 0xF6:
    case 0xF7: return p.immediate_bytes != 0;
    default: return p.opcode >= 0xB0 && p.opcode <= 0xBF;
    }
}

// Bytes of the immediate or of the branch's distance that ends the instruction; 0 where it cannot be read at run time.
unsigned literal_bytes(const Op& op, const cpu::Form& form) {
    const u8 opcode = form.opcode;
    switch (op.kind) {
    case OpKind::host: return has_register_form(op.parsed) ? op.parsed.immediate_bytes : 0;
    case OpKind::push_immediate: return opcode == 0x6A ? 1 : op.guest.operand_size == 2 ? 2 : 4;
    default: break;
    }
    if (!op.guest.mode64()) return 0;
    switch (op.kind) {
    case OpKind::jump: return opcode == 0xEB ? 1 : 4;
    case OpKind::call: return 4;
    case OpKind::branch: return opcode >= 0x80 ? 4 : 1;
    default: return 0;
    }
}

} // namespace

Patched read_patched(Op& op, const cpu::Form& form, const PatchedCode& code, u32 offset) {
    const u8* const at = code.host + offset;
    const auto bytes = code.memory->patched_bytes(at, op.guest.length);
    if (!bytes || (code.only_fields && !bytes->field)) return Patched::no;
    const unsigned literal = literal_bytes(op, form);
    if (literal == 0 || bytes->size != literal || bytes->host != at + op.guest.length - literal)
        return bytes->field ? Patched::unknown : Patched::no;
    op.literal = {bytes->host, bytes->size, bytes->field};
    switch (op.kind) {
    case OpKind::host: op.kind = OpKind::patched; break;
    case OpKind::jump: op.kind = OpKind::jump_indirect; break;
    case OpKind::call: op.kind = OpKind::call_indirect; break;
    default: break;
    }
    op.target = 0;
    return Patched::literal;
}

} // namespace calque::jit
