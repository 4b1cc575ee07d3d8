# System management mode (SDM volume 3, chapter 34; the save map is that of AMD64, APM volume 2, 10.2.3): SMI by the local
# APIC and by the APM port, the state of the handler, RSM, relocation. Without firmware SMBASE is that of reset.
.include "runtime.inc"
SUITE "smm", 64

SMBASE = 0x30000
NEW_SMBASE = 0x50000
ENTRY = 0x8000
LAPIC_ID = 0x20
LAPIC_EOI = 0xB0
LAPIC_SVR = 0xF0
LAPIC_ICR = 0x300
LAPIC_ICR_HIGH = 0x310
DELIVER_SMI = 0x4200
DELIVER_NMI = 0x4400
TO_SELF = 0x44000
# The save area, from SMBASE on.
S_CS = 0xFE10
S_AUTO_HALT = 0xFEC9
S_EFER = 0xFED0
S_REVISION = 0xFEFC
S_SMBASE = 0xFF00
S_CR3 = 0xFF50
S_CR0 = 0xFF58
S_RFLAGS = 0xFF70
S_RIP = 0xFF78
S_R15 = 0xFF80
S_RBX = 0xFFE0
S_RCX = 0xFFF0
S_RAX = 0xFFF8

.text
main:
    mov r15d, 0xFEE00000
    mov dword ptr [r15 + LAPIC_SVR], 0x1FF
    mov eax, [r15 + LAPIC_ID]
    mov [r15 + LAPIC_ICR_HIGH], eax
    mov edi, SMBASE + ENTRY
    call put_handler
    call enter_and_leave
    call changes
    call events_inside
    call other_modes
    call apm_port
    call relocation
    TRY
1:  rsm
    END_TRY
    EXPECT "RSM outside SMM", V_UD, -1, 1b
    ret

put_handler:
    mov esi, offset handler
    mov ecx, offset handler_end - handler
    rep movsb
    ret

.macro SMI
    mov dword ptr [r15 + LAPIC_ICR], DELIVER_SMI
.endm
# An SMI comes within a few instructions; a loop waits for it.
.macro WAIT_SMI count
    mov ecx, 100000000
9970: cmp dword ptr [smi_count], \count
    je 9971f
    loop 9970b
9971:
.endm

enter_and_leave:
    mov dword ptr [smi_count], 0
    mov rbx, 0x1234567812345678
    mov r14, 0x8765432187654321
    push FLAG_CF | FLAG_AC | FLAG_ID | 2
    popfq
    SMI
    mov ecx, 100000000 # Without an instruction that touches flags.
1:  mov edx, [smi_count]
    lea rcx, [rcx + rdx]
    xchg rcx, rdx
    jrcxz 3f
    jmp 2f
3:  xchg rcx, rdx
    lea rcx, [rcx - 1]
    jrcxz 2f
    jmp 1b
2:  pushfq
    pop r13
    CHECK32 "an SMI by the local APIC", smi_count, 1
    CHECK "RBX is what it was", rbx, 0x1234567812345678
    CHECK "R14 is what it was", r14, 0x8765432187654321
    and r13d, 0x3F7FD7
    CHECK "RFLAGS are what they were", r13, (FLAG_CF | FLAG_AC | FLAG_ID | 2)
    mov rax, cr0
    bt rax, 31
    setc al
    movzx eax, al
    CHECK "paging is on again", rax, 1
    mov eax, cs
    CHECK "CS is 64-bit code again", rax, CODE64
    CHECK32 "in SMM: CS", smi_cs, (SMBASE >> 4)
    CHECK32 "in SMM: EFLAGS", smi_flags, 2
    CHECK_BITS "in SMM: CR0 without PE and PG, EM, TS", smi_cr0, 0x8000000D, 0
    CHECK32 "in SMM: CR4", smi_cr4, 0
    CHECK32 "in SMM: DR7", smi_dr7, 0x400
    CHECK32 "in SMM: DS", smi_ds, 0
    CHECK32 "in SMM: memory above 1 MiB by DS", smi_memory, 0x600DF00D
    CHECK32 "in SMM: EFER", smi_efer, 0
    CHECK32 "saved: the revision", (SMBASE + S_REVISION), 0x20064
    CHECK32 "saved: SMBASE", (SMBASE + S_SMBASE), SMBASE
    CHECK32 "saved: RBX, low", (SMBASE + S_RBX), 0x12345678
    CHECK_BITS "saved: CS", (SMBASE + S_CS), 0xFFFF, CODE64
    CHECK_BITS "saved: EFER", (SMBASE + S_EFER), (EFER_LME | EFER_LMA), (EFER_LME | EFER_LMA)
    CHECK_BITS "saved: RFLAGS", (SMBASE + S_RFLAGS), 0x3F7FD7 & ~0x8D5, FLAG_AC | FLAG_ID | 2
    CHECK_BITS "saved: not halted", (SMBASE + S_AUTO_HALT), 0xFF, 0
    push 2
    popfq
    ret

# What the handler writes to the save area is what the program gets.
changes:
    mov dword ptr [smi_count], 0
    mov dword ptr [smi_change_r12], 0x5EED
    xor r12d, r12d
    SMI
    WAIT_SMI 1
    CHECK "R12 as the handler wrote it", r12, 0x5EED
    mov dword ptr [smi_change_r12], 0
    ret

# SMIs, NMIs and interrupts that come while in SMM wait.
events_inside:
    mov dword ptr [smi_count], 0
    mov dword ptr [smi_again], 1
    SMI
    WAIT_SMI 2
    CHECK32 "an SMI in SMM comes after RSM", smi_count, 2
    CHECK32 "and does not nest", smi_depth_most, 1
    SET_VECTOR64 V_NMI, CODE64, nmi_handler, GATE_INTERRUPT32
    mov dword ptr [smi_count], 0
    mov dword ptr [smi_nmi], 1
    mov dword ptr [nmi_count], 0
    SMI
    WAIT_SMI 1
    mov ecx, 1000
1:  loop 1b
    CHECK32 "an NMI in SMM waits", smi_nmi_seen, 0
    CHECK32 "and comes after RSM", nmi_count, 1
    RESTORE_VECTORS
    # An external interrupt that waits with IF clear still waits behind RSM.
    TRY
    mov dword ptr [r15 + LAPIC_ICR], TO_SELF | 0x80
    mov dword ptr [smi_count], 0
    SMI
    WAIT_SMI 1
    mov ebx, 1
    sti
    nop
    nop
    cli
    END_TRY
    EXPECT "an interrupt waits for STI, SMI or not", 0x80
    CHECK "it came behind STI", rbx, 1
    mov dword ptr [r15 + LAPIC_EOI], 0
    ret
nmi_handler:
    inc dword ptr [nmi_count]
    iretq

other_modes:
    # At level 3.
    mov dword ptr [smi_count], 0
    TRY
    mov dword ptr [r15 + LAPIC_ICR], DELIVER_SMI
    RING3
    WAIT_SMI 1
    mov ebx, cs
    END_TRY
    EXPECT "an SMI at level 3 (or on the way)", NONE
    CHECK32 "one", smi_count, 1
    CHECK "level 3 goes on", rbx, USER_CODE64
    # In compatibility mode.
    mov dword ptr [smi_count], 0
    TRY
    COMPATIBLE
    mov eax, 0xFEE00300
    mov dword ptr [eax], DELIVER_SMI
    mov ecx, 100000000
1:  cmp dword ptr [smi_count], 1
    je 2f
    loop 1b
2:  mov ebx, cs
    END_COMPATIBLE
    EXPECT "an SMI in compatibility mode", NONE
    CHECK "CS", rbx, CODE32
    # In HLT: RSM goes back to it, and an interrupt ends it.
    mov dword ptr [smi_count], 0
    TRY
    mov dword ptr [smi_interrupt], 1
    mov dword ptr [r15 + LAPIC_ICR], DELIVER_SMI
    sti
    hlt
    cli
    END_TRY
    mov dword ptr [smi_interrupt], 0
    EXPECT "an interrupt that the SMI handler sends ends HLT", 0x81
    CHECK32 "one SMI", smi_count, 1
    mov dword ptr [r15 + LAPIC_EOI], 0
    ret

# Port B2h, when the PIIX4's power management function lets it: DEVACTB (58h), bit 25.
apm_port:
    mov eax, 0x80000000 | (1 << 11) | (3 << 8) | 0x58
    mov edx, 0xCF8
    out dx, eax
    mov edx, 0xCFC
    in eax, dx
    mov ebx, eax
    and eax, ~(1 << 25)
    out dx, eax
    mov dword ptr [smi_count], 0
    mov al, 0x42
    out 0xB2, al
    mov ecx, 10000
1:  loop 1b
    CHECK32 "port B2h without APMC_EN", smi_count, 0
    in al, 0xB2
    movzx eax, al
    CHECK "port B2h reads back", rax, 0x42
    mov eax, ebx
    or eax, 1 << 25
    mov edx, 0xCFC
    out dx, eax
    mov al, 0x43
    out 0xB2, al
    nop
    CHECK32 "port B2h with APMC_EN: an SMI before the next instruction but one", smi_count, 1
    CHECK32 "the handler reads the command", smi_command, 0x43
    ret

relocation:
    mov edi, NEW_SMBASE + ENTRY
    call put_handler
    mov dword ptr [smi_count], 0
    mov dword ptr [smi_new_base], NEW_SMBASE
    SMI
    WAIT_SMI 1
    mov dword ptr [smi_new_base], 0
    SMI
    WAIT_SMI 2
    CHECK32 "after relocation: CS", smi_cs, (NEW_SMBASE >> 4)
    CHECK32 "the new save area", (NEW_SMBASE + S_SMBASE), NEW_SMBASE
    ret

# --- The handler, in 16 bits with flat DS -----------------------------------------------------------------------------
MODE 16
handler:
    mov eax, cr0
    mov dword ptr ds:[smi_cr0], eax
    mov eax, cr4
    mov dword ptr ds:[smi_cr4], eax
    mov eax, dr7
    mov dword ptr ds:[smi_dr7], eax
    mov ax, ds
    movzx eax, ax
    mov dword ptr ds:[smi_ds], eax
    mov ax, cs
    movzx eax, ax
    mov dword ptr ds:[smi_cs], eax
    mov esp, REAL_STACK
    xor ax, ax
    mov ss, ax
    mov ecx, MSR_EFER
    rdmsr
    mov dword ptr ds:[smi_efer], eax
    mov ebx, SCRATCH + 0x100
    mov dword ptr ds:[ebx], 0x600DF00D
    mov eax, ds:[ebx]
    mov dword ptr ds:[smi_memory], eax
    in al, 0xB2
    movzx eax, al
    mov dword ptr ds:[smi_command], eax
    inc dword ptr ds:[smi_depth]
    mov eax, ds:[smi_depth]
    cmp eax, ds:[smi_depth_most]
    jbe 1f
    mov dword ptr ds:[smi_depth_most], eax
1:  mov eax, ds:[smi_change_r12]
    test eax, eax
    jz 1f
    mov dword ptr cs:[S_R15 + 3 * 8], eax
    mov dword ptr cs:[S_R15 + 3 * 8 + 4], 0
1:  mov edi, 0xFEE00300
    cmp dword ptr ds:[smi_again], 0
    je 1f
    mov dword ptr ds:[smi_again], 0
    mov dword ptr ds:[edi], DELIVER_SMI
    nop
    nop
1:  cmp dword ptr ds:[smi_nmi], 0
    je 1f
    mov dword ptr ds:[smi_nmi], 0
    mov dword ptr ds:[edi], DELIVER_NMI
    mov ecx, 1000
2:  dec ecx
    jnz 2b
    mov eax, ds:[nmi_count]
    mov dword ptr ds:[smi_nmi_seen], eax
1:  cmp dword ptr ds:[smi_interrupt], 0
    je 1f
    mov dword ptr ds:[edi], TO_SELF | 0x81
1:  mov eax, ds:[smi_new_base]
    test eax, eax
    jz 1f
    mov dword ptr cs:[S_SMBASE], eax
1:  inc dword ptr ds:[smi_count]
    dec dword ptr ds:[smi_depth]
    pushfd
    pop eax
    and eax, 0x3F7702 # Without the arithmetic flags of what came before.
    mov dword ptr ds:[smi_flags], eax
    rsm
handler_end:
MODE 64

.section .record, "aw"
    .align 4
smi_count: .long 0
smi_cs: .long 0
smi_flags: .long 0
smi_cr0: .long 0
smi_cr4: .long 0
smi_dr7: .long 0
smi_ds: .long 0
smi_memory: .long 0
smi_efer: .long 0
smi_command: .long 0
smi_depth: .long 0
smi_depth_most: .long 0
smi_change_r12: .long 0
smi_again: .long 0
smi_nmi: .long 0
smi_nmi_seen: .long 0
smi_interrupt: .long 0
smi_new_base: .long 0
nmi_count: .long 0
