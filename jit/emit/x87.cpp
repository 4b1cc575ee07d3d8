// x87 and MMX instructions on the host's unit: when the guest's state is fetched, and what becomes of FOP, FIP and FDP
// (jit/x87.h).
#include "jit/x87.h"

#include "jit/emit/unit_emitter.h"
#include "jit/emit/x87_thunk.h"

namespace calque::jit {

namespace {

// The legacy area and the header of XSAVE (SDM volume 1, 13.4).
constexpr std::size_t image_control = 0, image_status = 2, image_valid = 4, image_registers = 32, image_stride = 16,
                      image_header = 512;
constexpr u32 component_x87 = 1;
constexpr u32 all_masked = 0x3F;

x86::Mem state_at(std::size_t offset, u32 size) {
    return x86::ptr(t1, static_cast<i32>(offsetof(cpu::CpuState, x87) + offset), size);
}

} // namespace

// XRSTOR with only the x87 in its mask leaves MXCSR and the vector registers alone.
u32 emit_load_x87(x86::Assembler& a) {
    constexpr i32 depth = 8 * 5; // The return address, and what is pushed here.
    const auto image = [](std::size_t at, u32 size) {
        return context_at(offsetof(JitContext, x87_image) + at, size, depth);
    };
    const u32 start = static_cast<u32>(a.offset());
    const asmjit::Label done = a.newLabel();
    a.pushfq();
    a.push(x86::rcx);
    a.push(x86::rdx);
    a.push(t1);
    a.cmp(CALQUE_CONTEXT_BELOW(x87_absent, depth), 0);
    a.je(done);
    a.mov(t1, CALQUE_CONTEXT_BELOW(state, depth));
    a.mov(x86::ax, state_at(offsetof(cpu::X87State, control), 2));
    a.mov(image(image_control, 2), x86::ax);
    a.movzx(x86::ecx, state_at(offsetof(cpu::X87State, status), 2));
    a.mov(image(image_status, 2), x86::cx);
    a.movzx(x86::eax, state_at(offsetof(cpu::X87State, valid), 1));
    a.mov(image(image_valid, 1), x86::al);
    a.shr(x86::ecx, 11); // TOP; the image has the registers by their place on the stack.
    for (unsigned n = 0; n < 8; ++n) {
        a.lea(x86::edx, x86::ptr(x86::rcx, static_cast<i32>(n)));
        a.and_(x86::edx, 7);
        a.shl(x86::edx, 4);
        static_assert(sizeof(cpu::X87Register) == 16);
        const std::size_t reg = offsetof(cpu::CpuState, x87) + offsetof(cpu::X87State, reg);
        a.mov(x86::rax, x86::qword_ptr(t1, x86::rdx, 0, static_cast<i32>(reg)));
        a.mov(image(image_registers + n * image_stride, 8), x86::rax);
        a.mov(x86::ax, x86::word_ptr(t1, x86::rdx, 0, static_cast<i32>(reg + 8)));
        a.mov(image(image_registers + n * image_stride + 8, 2), x86::ax);
    }
    a.mov(image(image_header, 4), component_x87);
    a.mov(x86::eax, component_x87);
    a.xor_(x86::edx, x86::edx);
    a.xrstor64(image(0, 0));
    a.mov(CALQUE_CONTEXT_BELOW(x87_absent, depth), 0);
    a.bind(done);
    a.pop(t1);
    a.pop(x86::rdx);
    a.pop(x86::rcx);
    a.popfq();
    a.ret();
    return start;
}

void UnitEmitter::need_x87() {
    if (x87_here_) return;
    x87_here_ = true;
    const Label here_already = a_.newLabel();
    a_.mov(t1, x86::rcx);
    a_.movzx(x86::ecx, CALQUE_CONTEXT(x87_absent));
    a_.short_().jecxz(x86::rcx, here_already);
    a_.call(thunk(request_.thunks.load_x87));
    a_.bind(here_already);
    a_.mov(x86::rcx, t1);
}

// --- What FOP, FIP and FDP are

// Before an operation: what it may take away from the notes is written down.
void UnitEmitter::keep_x87_notes(const ir::Op& op) {
    if (!x87_note_) return;
    switch (op.kind) {
    case Kind::host:
    case Kind::multiply_divide:
    case Kind::compare_exchange:
    case Kind::widen:
    case Kind::load_address:
    case Kind::push_register:
    case Kind::push_immediate:
    case Kind::push_memory:
    case Kind::pop_register:
    case Kind::leave_frame:
    case Kind::nothing:
    case Kind::x87_status:
    case Kind::x87_load_control: break;
    case Kind::interpret:
    case Kind::interpret_and_leave: return; // Its site has them.
    default: return write_x87_notes();
    }
    if (!x87_note_->has_data) return;
    const u32 written = written_registers(op);
    const auto lost = [&](u8 slot) { return slot < 16 && (written >> slot & 1); };
    if (!lost(x87_note_->base) && !lost(x87_note_->index)) return;
    write_x87_data();
    auto rest = std::make_shared<X87Note>(*x87_note_);
    rest->has_data = false;
    x87_note_ = rest->has_instruction ? std::move(rest) : nullptr;
}

// After it.
void UnitEmitter::note_x87(const ir::Op& op) {
    if (op.kind == Kind::interpret || op.kind == Kind::interpret_and_leave) x87_note_.reset();
    if (op.x87 != ir::X87Use::noted) return;
    auto note = x87_note_ ? std::make_shared<X87Note>(*x87_note_) : std::make_shared<X87Note>();
    const cpu::Instruction& i = op.guest;
    note->has_instruction = true;
    note->rip = request_.unit.around.rip(op.rip);
    note->opcode = static_cast<u16>(i.immediate);
    if (op.access != ir::MemoryAccess::none) {
        const bool relative = i.base == cpu::rip_slot;
        note->has_data = true;
        note->data_segment = static_cast<u8>(i.segment());
        note->base = relative ? u8{cpu::zero_slot} : i.base;
        note->index = i.index;
        note->scale_shift = static_cast<u8>(i.scale());
        note->address_bytes = static_cast<u8>(i.address_bytes());
        note->displacement = static_cast<u64>(i64{i.displacement}) + (relative ? op.next_rip() : 0);
        note->relative = relative;
        x87_data_op_ = &op;
    }
    x87_note_ = std::move(note);
}

void UnitEmitter::write_x87_data() {
    offset_to_t0(*x87_data_op_);
    a_.mov(CALQUE_CONTEXT(x87_data), t0);
    a_.mov(CALQUE_CONTEXT(x87_data_segment), x87_note_->data_segment + 1);
}

void UnitEmitter::write_x87_notes() {
    if (x87_note_->has_data) write_x87_data();
    if (x87_note_->has_instruction) {
        a_.mov(t0, asmjit::Imm(pack_x87_instruction(x87_note_->rip, x87_note_->opcode)));
        if (movable()) { // The sum stays below the opcode.
            a_.mov(t1, CALQUE_CONTEXT(shift));
            a_.lea(t0, x86::ptr(t0, t1));
        }
        a_.mov(CALQUE_CONTEXT(x87_instruction), t0);
    }
    x87_note_.reset();
}

// --- Operations of their own

void UnitEmitter::emit_x87_status(const ir::Op& op) {
    need_x87();
    if (needs_host_flags(op)) flags_to_host();
    a_.fnstsw(x86::ax);
    a_.mov(host_gpq(cpu::rax).r16(), x86::ax);
    after_execution(op);
}

void UnitEmitter::emit_x87_load_control(const ir::Op& op) {
    need_x87();
    before_clobber(op);
    check_operand(op);
    join_address();
    a_.movzx(t0d, x86::word_ptr(t1));
    a_.not_(t0d);
    a_.test(t0d, all_masked);
    const Label unmasks = a_.newLabel();
    a_.long_().jnz(unmasks);
    const u32 number = site_number(new_site(op));
    later([this, unmasks, number] {
        a_.bind(unmasks);
        set_site(number);
        a_.jmp(thunk(request_.thunks.interpret));
    });
    if (needs_host_flags(op)) flags_to_host();
    a_.fldcw(x86::word_ptr(t1));
    after_execution(op);
}

} // namespace calque::jit
