# Every interrupt and exception ends here: what the processor saved goes to the record, and main goes on where the TRY
# says.
.include "runtime.inc"

.globl rec_vector, rec_error, rec_rip, rec_cs, rec_flags, rec_rsp, rec_ss, rec_ds, rec_es, rec_fs, rec_gs, rec_frame
.globl rec_handler_flags, rec_handler_cs, rec_handler_ss, rec_cr2, rec_dr6, rec_rax, rec_rbx, rec_rcx, rec_rdx, rec_rsi
.globl rec_rdi, rec_rbp, event_count, resume_at, resume_stack, no_error_code, stubs16, stubs32, stubs64
.globl back_from_real, handler32, handler64, rec_r8, rec_r9, rec_r10, rec_r11, rec_r12, rec_r13, rec_r14, rec_r15

.section .record, "aw"
    .align 8
.macro FIELD name
\name: .quad 0
.endm
FIELD rec_vector
FIELD rec_error # -1: there was none.
FIELD rec_rip
FIELD rec_cs
FIELD rec_flags
FIELD rec_rsp
FIELD rec_ss
FIELD rec_ds
FIELD rec_es
FIELD rec_fs
FIELD rec_gs
FIELD rec_frame         # Where the frame lies that the processor pushed, error code excluded.
FIELD rec_handler_flags # What the handler found in EFLAGS, CS and SS.
FIELD rec_handler_cs
FIELD rec_handler_ss
FIELD rec_cr2
FIELD rec_dr6
FIELD rec_rax
FIELD rec_rbx
FIELD rec_rcx
FIELD rec_rdx
FIELD rec_rsi
FIELD rec_rdi
FIELD rec_rbp
FIELD rec_r8
FIELD rec_r9
FIELD rec_r10
FIELD rec_r11
FIELD rec_r12
FIELD rec_r13
FIELD rec_r14
FIELD rec_r15
FIELD event_count   # Since TRY.
FIELD resume_at     # 0: no event is expected.
FIELD resume_stack
FIELD jump_to
FIELD no_error_code # Set by a test that raises a vector with an error code by INT, which pushes none. Once.

# Vectors whose exceptions push an error code.
.macro PUSH_DUMMY
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)
    push -1
    .endif
.endm

# --- Real mode --------------------------------------------------------------------------------------------------------
.section .low16, "ax"
.code16
.macro STUB16
    .align 8
    .byte 0x68
    .word vector
    jmp common16
.endm
    .align 8
stubs16:
vector = 0
.rept 256
    STUB16
    vector = vector + 1
.endr
common16:
    pushf
    push ds
    push eax
    xor ax, ax
    mov ds, ax
    pop dword ptr [rec_rax]
    pop word ptr [rec_ds]
    pop word ptr [rec_handler_flags]
    pop word ptr [rec_vector]
    mov [rec_frame], esp
    pop word ptr [rec_rip]
    pop word ptr [rec_cs]
    pop word ptr [rec_flags]
    mov [rec_rsp], esp
    mov word ptr [rec_rip + 2], 0
    mov word ptr [rec_flags + 2], 0
    mov word ptr [rec_handler_flags + 2], 0
    mov [rec_ss], ss
    mov [rec_es], es
    mov [rec_fs], fs
    mov [rec_gs], gs
    mov [rec_handler_cs], cs
    mov [rec_handler_ss], ss
    mov dword ptr [rec_error], -1
    jmp back_from_real
# Also for tests that left protected mode themselves: DS is 0.
back_from_real:
    lgdtd cs:[gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmpd CODE32, back32

.text
.code32
back32:
    mov eax, DATA32
    mov ds, ax
    lidt [idt32_pointer]
    jmp resume32

# --- 32 bits ----------------------------------------------------------------------------------------------------------
    .align 16
stubs32:
vector = 0
.macro STUB32
    .align 16
    PUSH_DUMMY
    .byte 0x68
    .long vector
    jmp handler32
.endm
.rept 256
    STUB32
    vector = vector + 1
.endr

handler32:
    pushfd
    push eax
    push ds
    mov eax, DATA32
    mov ds, ax
    pop dword ptr [rec_ds]
    pop dword ptr [rec_rax]
    pop dword ptr [rec_handler_flags]
    pop dword ptr [rec_vector]
    mov dword ptr [rec_error], -1
    cmp dword ptr [no_error_code], 0
    jne 1f
    pop dword ptr [rec_error]
1:  mov dword ptr [no_error_code], 0
    mov [rec_frame], esp
    pop dword ptr [rec_rip]
    pop dword ptr [rec_cs]
    pop dword ptr [rec_flags]
    mov [rec_es], es
    mov [rec_fs], fs
    mov [rec_gs], gs
    mov [rec_ss], ss
    mov [rec_handler_cs], cs
    mov [rec_handler_ss], ss
    mov [rec_rsp], esp
    test byte ptr [rec_flags + 2], FLAG_VM >> 16
    jnz 2f
    test byte ptr [rec_cs], 3
    jz 3f
    pop dword ptr [rec_rsp]
    pop dword ptr [rec_ss]
    jmp 3f
2:  pop dword ptr [rec_rsp]
    pop dword ptr [rec_ss]
    pop dword ptr [rec_es]
    pop dword ptr [rec_ds]
    pop dword ptr [rec_fs]
    pop dword ptr [rec_gs]
3:
resume32:
    mov eax, cr2
    mov [rec_cr2], eax
    mov eax, dr6
    mov [rec_dr6], eax
    mov [rec_rbx], ebx
    mov [rec_rcx], ecx
    mov [rec_rdx], edx
    mov [rec_rsi], esi
    mov [rec_rdi], edi
    mov [rec_rbp], ebp
    mov word ptr [rec_ds + 2], 0 # Pushed selectors have 16 bits of their slot.
    mov word ptr [rec_cs + 2], 0
    mov word ptr [rec_ss + 2], 0
    mov word ptr [rec_es + 2], 0
    mov word ptr [rec_fs + 2], 0
    mov word ptr [rec_gs + 2], 0
    mov word ptr [rec_vector + 2], 0
    mov eax, DATA32
    mov ss, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov esp, MAIN_STACK - 0x400
    push 2
    popfd
    cld
    inc dword ptr [event_count]
    mov eax, [resume_at]
    test eax, eax
    jz unexpected_event32
    mov [jump_to], eax
    mov dword ptr [resume_at], 0
    mov esp, [resume_stack]
    mov eax, [rec_rax]
    jmp dword ptr [jump_to]

# --- 64 bits ----------------------------------------------------------------------------------------------------------
.code64
    .align 16
stubs64:
vector = 0
.macro STUB64
    .align 16
    PUSH_DUMMY
    .byte 0x68
    .long vector
    jmp handler64
.endm
.rept 256
    STUB64
    vector = vector + 1
.endr

handler64:
    pushfq
    pop qword ptr [rec_handler_flags]
    mov [rec_rax], rax
    pop qword ptr [rec_vector]
    mov qword ptr [rec_error], -1
    cmp dword ptr [no_error_code], 0
    jne 1f
    pop qword ptr [rec_error]
1:  mov dword ptr [no_error_code], 0
    mov [rec_frame], rsp
    pop qword ptr [rec_rip]
    pop qword ptr [rec_cs]
    pop qword ptr [rec_flags]
    pop qword ptr [rec_rsp]
    pop qword ptr [rec_ss]
    mov [rec_ds], ds
    mov [rec_es], es
    mov [rec_fs], fs
    mov [rec_gs], gs
    mov [rec_handler_cs], cs
    mov [rec_handler_ss], ss
    mov rax, cr2
    mov [rec_cr2], rax
    mov rax, dr6
    mov [rec_dr6], rax
    mov [rec_rbx], rbx
    mov [rec_rcx], rcx
    mov [rec_rdx], rdx
    mov [rec_rsi], rsi
    mov [rec_rdi], rdi
    mov [rec_rbp], rbp
    mov [rec_r8], r8
    mov [rec_r9], r9
    mov [rec_r10], r10
    mov [rec_r11], r11
    mov [rec_r12], r12
    mov [rec_r13], r13
    mov [rec_r14], r14
    mov [rec_r15], r15
    mov eax, DATA32
    mov ds, ax
    mov es, ax
    mov eax, DATA64
    mov ss, ax
    mov rsp, MAIN_STACK - 0x400
    push 2
    popfq
    inc dword ptr [event_count]
    mov eax, [resume_at]
    test eax, eax
    jz unexpected_event64
    mov [jump_to], rax
    mov dword ptr [resume_at], 0
    mov rsp, [resume_stack]
    mov rax, [rec_rax]
    jmp qword ptr [jump_to]
