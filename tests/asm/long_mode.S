# IA-32e mode: interrupts and IRET (SDM volume 3, 6.14), segments, far transfers and call gates (5.8.3), descriptor tables,
# canonical addresses, and compatibility mode.
.include "runtime.inc"
SUITE "long_mode", 64

GATE = SPARE # Two entries.
CODE_BOTH = SPARE + 0x10 # L and D.
CONFORMING = SPARE + 0x18
ABSENT = SPARE + 0x20
TASK_B = SPARE + 0x28 # Two entries.
LOCAL = SPARE + 0x38  # Two entries.
SMALL_DATA = SPARE + 0x48
BASED = SPARE + 0x50
TASK16 = SPARE + 0x58 # Two entries.
STACK_OF_1 = SPARE + 0x68
CODE_OF_1 = SPARE + 0x70
LAST = SPARE + SPARE_COUNT * 8 - 8 # No room for a second half.
OUTSIDE = 0x1000
VECTOR = 0x40
IDT = 2
FOR_ALL = GATE_CALL32 | ACCESS_DPL3
NOT_CANONICAL = 0x0000800000000000

.text
main:
    SET_SEGMENT CODE_BOTH, 0, 0xFFFFF, ACCESS_CODE, FLAGS_32 | FLAGS_64 | FLAGS_PAGES
    SET_SEGMENT CONFORMING, 0, 0xFFFFF, ACCESS_CONFORMING, FLAGS_64 | FLAGS_PAGES
    SET_SEGMENT ABSENT, 0, 0xFFFFF, 0x1B, FLAGS_64 | FLAGS_PAGES
    SET_SEGMENT SMALL_DATA, 0, 0xF, 0x91, FLAGS_16
    SET_SEGMENT BASED, SCRATCH, 0xF, 0x93, FLAGS_16
    SET_SEGMENT STACK_OF_1, 0, 0xFFFFF, ACCESS_DATA | 0x20, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CODE_OF_1, 0, 0xFFFFF, ACCESS_CODE | 0x20, FLAGS_64 | FLAGS_PAGES
    call frames
    call gates
    call stacks
    call returns
    call canonical
    call data_segments
    call far_transfers
    call call_gates
    call tables
    call not_in_64_bits
    call compatibility
    ret

probe:
    mov [probe_rsp], rsp
    mov [probe_ss], ss
    mov [probe_cs], cs
    pushfq
    pop qword ptr [probe_flags]
    push rcx
    push rsi
    push rdi
    lea rsi, [rsp + 24]
    mov edi, offset probe_frame
    mov ecx, 8
    rep movsq
    pop rdi
    pop rsi
    pop rcx
    int 0xF0
.bss
probe_rsp: .quad 0
probe_ss: .quad 0
probe_cs: .quad 0
probe_flags: .quad 0
probe_frame: .space 64
.text

frames:
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_INTERRUPT32
    TRY
    sub rsp, 8
    and rsp, ~0xF
    sub rsp, 8
    mov rbx, rsp
    push FLAG_IF | FLAG_NT | FLAG_AC | FLAG_CF | 2
    popfq
    int VECTOR
1:
    END_TRY
    EXPECT "INT n through an interrupt gate", NONE
    CHECK_BITS "clears IF, TF, NT", probe_flags, 0x3F4FD7, FLAG_AC | FLAG_CF | 2
    CHECK_AT "RIP", probe_frame, 1b
    CHECK "CS", "qword ptr [probe_frame + 8]", CODE64
    CHECK "RFLAGS", "qword ptr [probe_frame + 16]", FLAG_IF | FLAG_NT | FLAG_AC | FLAG_CF | 2
    sub rbx, [probe_frame + 24]
    CHECK "RSP, also without a change of level", rbx, 0
    CHECK "SS", "qword ptr [probe_frame + 32]", DATA64
    mov rbx, [probe_frame + 24]
    sub rbx, [probe_rsp]
    CHECK "the stack was aligned by 16 bytes first", rbx, 48
    CHECK32 "SS stays without a change of level", probe_ss, DATA64
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_TRAP32
    TRY
    push FLAG_IF | 2
    popfq
    int VECTOR
    END_TRY
    CHECK_BITS "a trap gate leaves IF", probe_flags, FLAG_IF, FLAG_IF
    # An error code takes eight bytes, below an aligned frame.
    SET_VECTOR64 V_GP, CODE64, probe, GATE_INTERRUPT32
    TRY
    mov eax, OUTSIDE
    and rsp, ~0xF
    mov rbx, rsp
1:  mov ds, eax
    END_TRY
    RESTORE_VECTORS
    EXPECT "#GP", NONE
    CHECK "the error code lies lowest", "qword ptr [probe_frame]", OUTSIDE
    CHECK_AT "then RIP", (probe_frame + 8), 1b
    sub rbx, [probe_rsp]
    CHECK "48 bytes", rbx, 48
    # From level 3.
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
1:
    END_TRY
    EXPECT "INT n from level 3", NONE
    CHECK "RSP is the TSS's less 40", "qword ptr [probe_rsp]", (EVENT_STACK - 40)
    CHECK32 "SS is null with RPL 0", probe_ss, 0
    CHECK32 "CS", probe_cs, CODE64
    CHECK "the frame's CS", "qword ptr [probe_frame + 8]", USER_CODE64
    CHECK "the frame's RSP", "qword ptr [probe_frame + 24]", USER_STACK
    CHECK "the frame's SS", "qword ptr [probe_frame + 32]", USER_DATA
    # To conforming code nothing changes.
    SET_VECTOR64 VECTOR, CONFORMING, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
    END_TRY
    EXPECT "INT n from level 3 to conforming code", NONE
    CHECK32 "CS keeps level 3", probe_cs, (CONFORMING | 3)
    CHECK32 "SS stays", probe_ss, USER_DATA
    CHECK "RSP stays, aligned", "qword ptr [probe_rsp]", (USER_STACK - 40)
    # To level 1: RSP1, SS null with RPL 1.
    mov dword ptr [tss64 + 12], EVENT_STACK - 0x400
    SET_VECTOR64 VECTOR, CODE_OF_1, probe1, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
    END_TRY
    EXPECT "INT n from level 3 to level 1", NONE
    CHECK32 "SS is null with RPL 1", rec_ss, 1
    CHECK32 "RSP1", rec_rsp, (EVENT_STACK - 0x400 - 40)
    RESTORE_VECTORS
    ret
probe1:
    int 0xF0

.macro BAD_GATE name, selector, access, vector, error
    SET_VECTOR64 VECTOR, "\selector", probe, "\access"
    TRY
1:  int VECTOR
    END_TRY
.ifeq \error - (VECTOR * 8 + IDT)
    TCG_DIFFERS "SDM 3 6.13: the index is the vector's; TCG doubles it"
.endif
    EXPECT "\name", \vector, \error, 1b
.endm
gates:
    BAD_GATE "a gate that is not present", CODE64, 0x0E, V_NP, (VECTOR * 8 + IDT)
    BAD_GATE "a 16-bit interrupt gate", CODE64, GATE_INTERRUPT16, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a 16-bit trap gate", CODE64, GATE_TRAP16, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a task gate", CODE64, GATE_TASK, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a call gate in the IDT", CODE64, GATE_CALL32, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a gate to 32-bit code", CODE32, GATE_INTERRUPT32, V_GP, CODE32
    BAD_GATE "a gate to code with L and D", CODE_BOTH, GATE_INTERRUPT32, V_GP, CODE_BOTH
    BAD_GATE "a gate to selector 0", 0, GATE_INTERRUPT32, V_GP, 0
    BAD_GATE "a gate to data", DATA32, GATE_INTERRUPT32, V_GP, DATA32
    BAD_GATE "a gate to outside the GDT", OUTSIDE, GATE_INTERRUPT32, V_GP, OUTSIDE
    BAD_GATE "a gate to code that is not present", ABSENT, GATE_INTERRUPT32, V_NP, ABSENT
    BAD_GATE "a gate to code of level 3", USER_CODE64, GATE_INTERRUPT32, V_GP, (USER_CODE64 & 0xFFFC)
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_INTERRUPT32
    mov dword ptr [idt64 + VECTOR * 16 + 8], 0x8000
    TRY
1:  int VECTOR
    END_TRY
    TCG_DIFFERS "SDM 2 INT n: #GP(0) when the gate's offset is not canonical; TCG faults at the target"
    EXPECT "a gate to an address that is not canonical", V_GP, 0, 1b
    mov word ptr [SCRATCH], VECTOR * 16 + 14
    mov dword ptr [SCRATCH + 2], offset idt64
    mov dword ptr [SCRATCH + 6], 0
    TRY
    lidt [SCRATCH]
1:  int VECTOR
    END_TRY
    lidt [idt64_pointer]
    TCG_DIFFERS "SDM 3 6.13: the index is the vector's; TCG doubles it"
    EXPECT "a gate whose last byte lies behind the limit", V_GP, (VECTOR * 8 + IDT), 1b
    RESTORE_VECTORS
    ret

stacks:
    # The interrupt stack table: also without a change of level.
    mov dword ptr [tss64 + 36], FAULT_STACK - 8 # IST1, not aligned.
    mov dword ptr [tss64 + 84], FAULT_STACK - 0x400 # IST7
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_INTERRUPT32 | ACCESS_DPL3, 1
    TRY
    int VECTOR
    END_TRY
    EXPECT "IST1 at level 0", NONE
    CHECK "RSP: aligned, then 40 bytes", "qword ptr [probe_rsp]", (FAULT_STACK - 16 - 40)
    TCG_DIFFERS "SDM 3 6.14.4: SS becomes null only when the level changes"
    CHECK32 "SS stays", probe_ss, DATA64
    TRY
    RING3
    int VECTOR
    END_TRY
    EXPECT "IST1 from level 3", NONE
    CHECK "RSP", "qword ptr [probe_rsp]", (FAULT_STACK - 16 - 40)
    CHECK32 "SS is null", probe_ss, 0
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_INTERRUPT32, 7
    TRY
    int VECTOR
    END_TRY
    EXPECT "IST7", NONE
    CHECK "RSP of IST7", "qword ptr [probe_rsp]", (FAULT_STACK - 0x400 - 40)
    # A stack that is not canonical: #SS(0).
    mov dword ptr [tss64 + 88], 0x8000
    TRY
1:  int VECTOR
    END_TRY
    TCG_DIFFERS "SDM 2 INT n: #SS(0) for a stack that is not canonical; TCG has #GP"
    EXPECT "IST7 not canonical", V_SS, 0, 1b
    mov dword ptr [tss64 + 88], 0
    # The TSS too short for RSP1: #TS.
    mov word ptr [gdt + TASK64], 18
    and byte ptr [gdt + TASK64 + 5], ~2
    mov eax, TASK64
    ltr ax
    SET_VECTOR64 VECTOR, CODE_OF_1, probe1, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
1:  int VECTOR
    END_TRY
    EXPECT "a TSS too short for RSP1", V_TS, TASK64, 1b
    SET_VECTOR64 VECTOR, CODE64, probe, GATE_INTERRUPT32, 7
    TRY
1:  int VECTOR
    END_TRY
    EXPECT "a TSS too short for IST7", V_TS, TASK64, 1b
    mov word ptr [gdt + TASK64], 0x67
    and byte ptr [gdt + TASK64 + 5], ~2
    mov eax, TASK64
    ltr ax
    # A double fault with a stack of its own, because RSP is no good.
    mov dword ptr [tss64 + 36], FAULT_STACK
    SET_VECTOR64 V_DF, CODE64, "stubs64 + V_DF * 16", GATE_INTERRUPT32, 1
    TRY
    mov rsp, NOT_CANONICAL
1:  push rax
    END_TRY
    RESTORE_VECTORS
    EXPECT "PUSH to a stack that is not canonical: #SS, then a double fault by IST1", V_DF, 0, 1b
    CHECK "RSP is unchanged", "qword ptr [rec_rsp]", NOT_CANONICAL
    ret

# --- IRET -------------------------------------------------------------------------------------------------------------
.macro IRET_TO name, stack_selector, pointer, selector, vector, error=-1, target=2f
    TRY
    mov rbx, rsp
    push \stack_selector
    push \pointer
    push FLAG_CF | 2
    push \selector
    push offset \target
1:  iretq
2:
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
returns:
    IRET_TO "IRETQ: same level", DATA64, rbx, CODE64, NONE
    CHECK_BITS "IRETQ: flags", rec_flags, FLAG_CF, FLAG_CF
    IRET_TO "IRETQ: same level, SS null", 0, rbx, CODE64, NONE
    CHECK32 "IRETQ: SS", rec_ss, 0
    TCG_DIFFERS "SDM 2 IRET: #GP when SS.RPL is not CPL; TCG takes a null SS with any RPL"
    IRET_TO "IRETQ: same level, SS null with RPL 3", 3, rbx, CODE64, V_GP, 0
    IRET_TO "IRETQ: same level, SS of level 3", USER_DATA, rbx, CODE64, V_GP, (USER_DATA & 0xFFFC)
    IRET_TO "IRETQ: to level 3", USER_DATA, USER_STACK, USER_CODE64, NONE
    CHECK32 "IRETQ: RSP of level 3", rec_rsp, USER_STACK
    IRET_TO "IRETQ: to level 3, SS null", 0, USER_STACK, USER_CODE64, V_GP, 0
    IRET_TO "IRETQ: to level 3, SS null with RPL 3", 3, USER_STACK, USER_CODE64, V_GP, 0
    IRET_TO "IRETQ: to level 3, SS of level 0", DATA64, USER_STACK, USER_CODE64, V_GP, DATA64
    IRET_TO "IRETQ: CS null", DATA64, rbx, 0, V_GP, 0
    IRET_TO "IRETQ: CS data", DATA64, rbx, DATA32, V_GP, DATA32
    TCG_DIFFERS "SDM 3 5.2.1: L and D together are reserved; TCG takes them"
    IRET_TO "IRETQ: CS with L and D", DATA64, rbx, CODE_BOTH, V_GP, CODE_BOTH
    IRET_TO "IRETQ: CS not present", DATA64, rbx, ABSENT, V_NP, ABSENT
    IRET_TO "IRETQ: CS of level 0 with RPL 3", USER_DATA, USER_STACK, (CODE64 | 3), V_GP, CODE64
    # To level 1 SS may be null (with RPL 1).
    IRET_TO "IRETQ: to level 1, SS null with RPL 1", 1, (EVENT_STACK - 0x400), (CODE_OF_1 | 1), NONE
    CHECK32 "IRETQ: SS of level 1", rec_ss, 1
    # To an address that is not canonical: #GP at IRET.
    TRY
    mov rbx, rsp
    mov rax, NOT_CANONICAL
    push DATA64
    push rbx
    push 2
    push CODE64
    push rax
1:  iretq
    END_TRY
    TCG_DIFFERS "SDM 2 IRET: #GP(0) when the return address is not canonical; TCG faults at the target"
    EXPECT "IRETQ: RIP not canonical", V_GP, 0, 1b
    TRY
    push FLAG_NT | 2
    popfq
1:  iretq
    END_TRY
    EXPECT "IRETQ with NT", V_GP, 0, 1b
    # A 32-bit IRET in 64-bit mode pops five doublewords.
    TRY
    mov rbx, rsp
    sub rsp, 20
    mov dword ptr [rsp + 16], DATA64
    mov dword ptr [rsp + 12], ebx
    mov dword ptr [rsp + 8], FLAG_ZF | 2
    mov dword ptr [rsp + 4], CODE64
    mov dword ptr [rsp], offset 2f
    iretd
2:  sub rbx, rsp
    END_TRY
    EXPECT "a 32-bit IRET in 64-bit mode", NONE
    CHECK "RSP", rbx, 0
    # RF, and what level 3 may not change.
    TRY
    RING3
    pushfq
    pop rcx
    push USER_DATA
    push USER_STACK - 0x100
    push FLAG_IOPL | FLAG_IF | FLAG_NT | FLAG_CF | 2
    push USER_CODE64
    push offset 2f
    iretq
2:  pushfq
    pop rdx
    push 2
    popfq
    END_TRY
    EXPECT "IRETQ at level 3", NONE
    and edx, FLAG_IOPL | FLAG_IF | FLAG_NT | FLAG_CF
    CHECK "leaves IOPL and IF", rdx, (FLAG_NT | FLAG_CF)
    # Data segments of level 0 become null, and FS's base with them.
    TRY
    mov eax, DATA32
    mov fs, eax
    mov eax, USER_DATA
    mov gs, eax
    push USER_DATA
    push USER_STACK
    push 2
    push USER_CODE64
    push offset 2f
    iretq
2:
    END_TRY
    CHECK32 "IRETQ to level 3: FS of level 0 is null", rec_fs, 0
    CHECK32 "GS of level 3 stays", rec_gs, USER_DATA
    ret

canonical:
.macro CANONICAL name, vector, instruction:vararg
    TRY
    mov rbx, NOT_CANONICAL
    mov rcx, 0xFFFF7FFFFFFFFFFF
1:  \instruction
    END_TRY
    EXPECT "\name", \vector, 0, 1b
.endm
    CANONICAL "a read", V_GP, mov al, [rbx]
    CANONICAL "a write", V_GP, mov [rcx], al
    TCG_DIFFERS "SDM 3 6.15 (#GP); TCG looks at the second page first as a page fault"
    CANONICAL "a read whose second byte is not canonical", V_GP, mov ax, [rbx - 1]
    CANONICAL "the lowest of the upper half less one", V_GP, mov al, [rcx]
    CANONICAL "a read-modify-write", V_GP, lock inc dword ptr [rbx]
    CANONICAL "an SSE load", V_GP, movups xmm0, [rbx]
    TRY
    mov rbp, NOT_CANONICAL
1:  mov al, [rbp]
    END_TRY
    TCG_DIFFERS "SDM 3 6.15 (#SS): a reference by the stack segment that is not canonical is #SS(0); TCG has #GP"
    EXPECT "a read by RBP", V_SS, 0, 1b
    TRY
    mov rbp, NOT_CANONICAL
1:  mov al, ds:[rbp]
    END_TRY
    # An override of DS is ignored in 64-bit mode, so that it is SS that counts.
    TCG_DIFFERS "SDM 3 6.15 (#SS)"
    EXPECT "a read by RBP with an override to DS", V_SS, 0, 1b
    TRY
    mov rax, NOT_CANONICAL
1:  jmp rax
    END_TRY
    TCG_DIFFERS "SDM 2 JMP: #GP(0) when the target is not canonical; TCG faults at the target"
    EXPECT "JMP", V_GP, 0, 1b
    TRY
    mov rax, NOT_CANONICAL
    mov rbx, rsp
1:  call rax
    END_TRY
    TCG_DIFFERS_BEGIN "SDM 2 CALL: #GP(0) when the target is not canonical; TCG faults at the target"
    EXPECT "CALL", V_GP, 0, 1b
    sub rbx, [rec_rsp]
    CHECK "CALL: RSP is unchanged", rbx, 0
    TRY
    mov rax, NOT_CANONICAL
    push rax
    mov rbx, rsp
1:  ret
    END_TRY
    EXPECT "RET", V_GP, 0, 1b
    sub rbx, [rec_rsp]
    CHECK "RET: RSP is unchanged", rbx, 0
    TCG_DIFFERS_END
    TRY
    mov rbx, NOT_CANONICAL
    invlpg [rbx]
    END_TRY
    EXPECT "INVLPG does not mind", NONE
    TRY
    mov rbx, NOT_CANONICAL
    prefetcht0 [rbx]
    lea rax, [rbx + 1]
    END_TRY
    EXPECT "PREFETCHT0 and LEA do not mind", NONE
    TRY
    mov rbx, NOT_CANONICAL
1:  clflush [rbx]
    END_TRY
    TCG_DIFFERS "SDM 2 CLFLUSH: #GP(0) when the address is not canonical"
    EXPECT "CLFLUSH", V_GP, 0, 1b
    ret

data_segments:
    TRY
    mov eax, SMALL_DATA
    mov ds, eax
    mov es, eax
    mov byte ptr [SCRATCH], 0x77
    END_TRY
    EXPECT "limits and rights of DS do not count", NONE
    TRY
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    push 5
    pop rcx
    END_TRY
    EXPECT "null DS and SS at level 0", NONE
    CHECK "work", rcx, 5
    CHECK32 "SS is null", rec_ss, 0
    TRY
    mov eax, 3
1:  mov ss, eax
    END_TRY
    TCG_DIFFERS "SDM 2 MOV: #GP(0) when the RPL of a null SS is not CPL"
    EXPECT "SS null with RPL 3 at level 0", V_GP, 0, 1b
    TRY
    RING3
    mov eax, 3
1:  mov ss, eax
    END_TRY
    EXPECT "SS null at level 3", V_GP, 0, 1b
    TRY
    mov byte ptr [SCRATCH + 0x100], 0x5C
    mov eax, BASED
    mov fs, eax
    mov bl, fs:[0x100]
    END_TRY
    EXPECT "FS has its descriptor's base, and no limit", NONE
    and ebx, 0xFF
    CHECK "its base", rbx, 0x5C
    TRY
    mov eax, BASED
    mov ds, eax
    mov byte ptr [SCRATCH + 0x100], 0x11
    mov bl, ds:[SCRATCH + 0x100]
    END_TRY
    and ebx, 0xFF
    CHECK "DS has no base", rbx, 0x11
    TRY
    mov eax, ABSENT
1:  mov ds, eax
    END_TRY
    EXPECT "a load is checked all the same: not present", V_NP, ABSENT, 1b
    TRY
    mov eax, TASK64
1:  mov es, eax
    END_TRY
    EXPECT "a TSS", V_GP, TASK64, 1b
    ret

# --- Far jumps, calls and returns -------------------------------------------------------------------------------------
.macro FAR_POINTER selector, target
    mov dword ptr [SCRATCH], offset \target
    mov dword ptr [SCRATCH + 4], 0
    mov word ptr [SCRATCH + 8], \selector
    mov word ptr [SCRATCH + 0x20 + 4], \selector
    mov dword ptr [SCRATCH + 0x20], offset \target
.endm
far_transfers:
    FAR_POINTER CONFORMING, 2f
    TRY
    jmp fword ptr [SCRATCH + 0x20]
2:
    END_TRY
    EXPECT "JMP m16:32", NONE
    CHECK32 "CS", rec_cs, CONFORMING
    FAR_POINTER CODE64, 2f
    TRY
    mov rbx, rsp
    rex.w call fword ptr [SCRATCH]
1:
2:  mov rcx, [rsp]
    mov rdx, [rsp + 8]
    sub rbx, rsp
    END_TRY
    EXPECT "CALL m16:64", NONE
    CHECK "pushes sixteen bytes", rbx, 16
    mov eax, offset 1b
    sub rcx, rax
    CHECK "RIP", rcx, 0
    CHECK "CS", rdx, CODE64
    FAR_POINTER CODE_BOTH, 2f
    TRY
1:  jmp fword ptr [SCRATCH + 0x20]
2:
    END_TRY
    TCG_DIFFERS "SDM 2 JMP: L and D together are #GP(selector)"
    EXPECT "JMP to code with L and D", V_GP, CODE_BOTH, 1b
    mov dword ptr [SCRATCH + 4], 0x8000
    mov word ptr [SCRATCH + 8], CODE64
    TRY
1:  rex.w jmp fword ptr [SCRATCH]
    END_TRY
    TCG_DIFFERS "SDM 2 JMP: #GP(0) when the target is not canonical; TCG faults at the target"
    EXPECT "JMP to an address that is not canonical", V_GP, 0, 1b
    FAR_POINTER TASK64, 2f
    TRY
1:  jmp fword ptr [SCRATCH + 0x20]
2:
    END_TRY
    EXPECT "JMP to a TSS", V_GP, TASK64, 1b
    ret

call_gates:
    SET_GATE64 GATE, CODE64, probe, FOR_ALL
    FAR_POINTER GATE, main
    TRY
    RING3
    call fword ptr [SCRATCH + 0x20]
1:
    END_TRY
    EXPECT "a call gate from level 3", NONE
    CHECK "RSP is the TSS's less 32", "qword ptr [probe_rsp]", (EVENT_STACK - 32)
    CHECK32 "SS is null", probe_ss, 0
    CHECK_AT "RIP", probe_frame, 1b
    CHECK "CS", "qword ptr [probe_frame + 8]", USER_CODE64
    CHECK "RSP", "qword ptr [probe_frame + 16]", USER_STACK
    CHECK "SS", "qword ptr [probe_frame + 24]", USER_DATA
    TRY
    mov rbx, rsp
    call fword ptr [SCRATCH + 0x20]
    END_TRY
    EXPECT "a call gate at level 0", NONE
    sub rbx, [probe_rsp]
    CHECK "sixteen bytes", rbx, 16
    # There and back.
    SET_GATE64 GATE, CODE64, gate_return, FOR_ALL
    TRY
    RING3
    call fword ptr [SCRATCH + 0x20]
    mov rbx, rsp
    mov ecx, ss
    END_TRY
    EXPECT "a call gate and RETFQ", NONE
    CHECK "RSP", rbx, USER_STACK
    CHECK "SS", rcx, USER_DATA
    # The parameter count means nothing.
    SET_GATE64 GATE, CODE64, probe, FOR_ALL
    mov byte ptr [gdt + GATE + 4], 3
    TRY
    RING3
    call fword ptr [SCRATCH + 0x20]
    END_TRY
    EXPECT "a call gate with a count of parameters", NONE
    TCG_DIFFERS "SDM 3 5.8.5.1: nothing is copied in IA-32e mode"
    CHECK "nothing is copied", "qword ptr [probe_rsp]", (EVENT_STACK - 32)
    # JMP.
    SET_GATE64 GATE, CODE64, probe, FOR_ALL
    TRY
    jmp fword ptr [SCRATCH + 0x20]
    END_TRY
    EXPECT "JMP through a call gate", NONE
    TRY
    RING3
1:  jmp fword ptr [SCRATCH + 0x20]
    END_TRY
    EXPECT "JMP through a call gate to an inner level", V_GP, CODE64, 1b
.macro BAD_CALL name, target, access, vector, error, upper_type=0
    SET_GATE64 GATE, "\target", probe, "\access"
    mov dword ptr [gdt + GATE + 12], \upper_type
    TRY
1:  call fword ptr [SCRATCH + 0x20]
    END_TRY
    EXPECT "\name", \vector, \error, 1b
.endm
    BAD_CALL "a call gate to 32-bit code", CODE32, FOR_ALL, V_GP, CODE32
    BAD_CALL "a call gate to code with L and D", CODE_BOTH, FOR_ALL, V_GP, CODE_BOTH
    BAD_CALL "a call gate to selector 0", 0, FOR_ALL, V_GP, 0
    BAD_CALL "a call gate that is not present", CODE64, 0x6C, V_NP, GATE
    TCG_DIFFERS "SDM 3 5.8.3.1: the type of the upper half must be 0: #GP(gate)"
    BAD_CALL "a call gate with a type in its upper half", CODE64, FOR_ALL, V_GP, GATE, 0x0C00
    BAD_CALL "a 16-bit call gate", CODE64, GATE_CALL16, V_GP, GATE
    BAD_CALL "a task gate", CODE64, GATE_TASK, V_GP, GATE
    FAR_POINTER LAST, main
    mov dword ptr [gdt + LAST + 4], FOR_ALL << 8
    TRY
1:  call fword ptr [SCRATCH + 0x20]
    END_TRY
    TCG_DIFFERS "SDM 3 5.8.3.1: sixteen bytes have to lie in the GDT; TCG reads behind its limit"
    EXPECT "a call gate whose upper half lies behind the GDT", V_GP, LAST, 1b
    ret
gate_return:
    rex.w retf

tables:
    # LTR and LLDT take sixteen bytes.
    SET_SEGMENT_AT TASK_B, tss64, 0x67, ACCESS_TSS32, 0
    mov dword ptr [gdt + TASK_B + 8], 0
    mov dword ptr [gdt + TASK_B + 12], 0x0900
    TRY
    mov eax, TASK_B
1:  ltr ax
    END_TRY
    TCG_DIFFERS "SDM 3 7.2.3: the type of the upper half must be 0: #GP(selector)"
    EXPECT "LTR: a type in the upper half", V_GP, TASK_B, 1b
    SET_SEGMENT_AT TASK_B, tss64, 0x67, ACCESS_TSS32, 0
    mov dword ptr [gdt + TASK_B + 8], 0x8000
    mov dword ptr [gdt + TASK_B + 12], 0
    TRY
    mov eax, TASK_B
1:  ltr ax
    END_TRY
    TCG_DIFFERS "SDM 2 LTR: #GP(0) for a base that is not canonical; TCG takes it"
    EXPECT "LTR: a base that is not canonical", V_GP, 0, 1b
    TCG_DIFFERS "SDM 2 LTR"
    CHECK_BITS "LTR that faults does not mark busy", (gdt + TASK_B + 4), 0xFF00, 0x8900
    SET_SEGMENT_AT TASK16, tss64, 0x67, ACCESS_TSS16, 0
    mov dword ptr [gdt + TASK16 + 12], 0
    TRY
    mov eax, TASK16
1:  ltr ax
    END_TRY
    TCG_DIFFERS "SDM 3 table 3-2: there are no 16-bit TSSs in IA-32e mode; TCG takes one"
    EXPECT "LTR: a 16-bit TSS", V_GP, TASK16, 1b
    SET_SEGMENT_AT TASK_B, tss64, 0x67, ACCESS_TSS32, 0
    mov dword ptr [gdt + TASK_B + 8], 0
    mov dword ptr [gdt + TASK_B + 12], 0
    TRY
    mov eax, TASK_B
    ltr ax
    str ecx
    END_TRY
    EXPECT "LTR", NONE
    CHECK "STR", rcx, TASK_B
    CHECK_BITS "LTR marks it busy", (gdt + TASK_B + 4), 0xFF00, 0x8B00
    SET_SEGMENT LOCAL, 0, 0x1F, ACCESS_LDT, 0
    mov dword ptr [gdt + LOCAL + 8], 0
    mov dword ptr [gdt + LOCAL + 12], 0
    SET_SEGMENT_AT LOCAL, ldt, 0x1F, ACCESS_LDT, 0
    mov dword ptr [ldt + 8], 0x0000FFFF
    mov dword ptr [ldt + 12], 0x00CF9300
    TRY
    mov eax, LOCAL
    lldt ax
    mov eax, 0xC
    mov gs, eax
    END_TRY
    EXPECT "LLDT, and a selector of the LDT", NONE
    CHECK32 "GS", rec_gs, 0xC
    TRY
    mov rbx, 0x5A5A5A5A5A5A5A5A
    mov [SCRATCH + 8], rbx
    sgdt [SCRATCH]
    END_TRY
    EXPECT "SGDT", NONE
    CHECK_BITS "its limit", SCRATCH, 0xFFFF, (SPARE + SPARE_COUNT * 8 - 1)
    CHECK_AT "its base", (SCRATCH + 2), gdt
    CHECK32 "the base's upper half, and nothing behind it", (SCRATCH + 6), 0
    CHECK_BITS "ten bytes", (SCRATCH + 10), 0xFFFF, 0x5A5A
    mov word ptr [SCRATCH], 0xFFFF
    mov rax, NOT_CANONICAL
    mov [SCRATCH + 2], rax
    SKIP_ON_TCG "LGDT and LIDT of a base that is not canonical: TCG takes it (SDM 2 LGDT: #GP(0))", 3f
    TRY
1:  lgdt [SCRATCH]
    END_TRY
    EXPECT "LGDT: a base that is not canonical", V_GP, 0, 1b
    lgdt [gdt_pointer]
    TRY
1:  lidt [SCRATCH]
    END_TRY
    lidt [idt64_pointer]
    EXPECT "LIDT: a base that is not canonical", V_GP, 0, 1b
3:
    # LAR and LSL know the types of IA-32e mode alone.
.macro ASK name, instruction, selector, zf
    TRY
    mov eax, \selector
    mov ecx, 0xAAAAAAAA
    \instruction ecx, eax
    END_TRY
.if \zf == 0
    TCG_DIFFERS "SDM 2 LAR and LSL: types that IA-32e mode has not are not valid; TCG takes those of protected mode"
.endif
    CHECK_BITS "\instruction: \name", rec_flags, FLAG_ZF, (\zf << 6)
.endm
    ASK "a TSS", lar, TASK64, 1
    ASK "a 16-bit TSS", lar, TASK16, 0
    ASK "an LDT", lar, LOCAL, 1
    ASK "a TSS", lsl, TASK64, 1
    ASK "a 16-bit TSS", lsl, TASK16, 0
    ASK "64-bit code", lar, CODE64, 1
    SET_GATE64 GATE, CODE64, probe, FOR_ALL
    ASK "a call gate", lar, GATE, 1
    SET_SEGMENT GATE, 0, 0, GATE_TASK, 0
    ASK "a task gate", lar, GATE, 0
    SET_SEGMENT GATE, 0, 0, GATE_CALL16, 0
    ASK "a 16-bit call gate", lar, GATE, 0
    ret

not_in_64_bits:
.macro UNDEFINED name, bytes:vararg
    TRY
1:  .byte \bytes
    END_TRY
    EXPECT "\name in 64-bit mode", V_UD, -1, 1b
.endm
    UNDEFINED "PUSH ES", 0x06
    UNDEFINED "POP ES", 0x07
    UNDEFINED "PUSH CS", 0x0E
    UNDEFINED "PUSH SS", 0x16
    UNDEFINED "POP SS", 0x17
    UNDEFINED "PUSH DS", 0x1E
    UNDEFINED "POP DS", 0x1F
    UNDEFINED "DAA", 0x27
    UNDEFINED "DAS", 0x2F
    UNDEFINED "AAA", 0x37
    UNDEFINED "AAS", 0x3F
    UNDEFINED "PUSHA", 0x60
    UNDEFINED "POPA", 0x61
    UNDEFINED "82 /0", 0x82, 0xC0, 0x00
    UNDEFINED "CALL ptr16:32", 0x9A, 0, 0, 0, 0, 8, 0
    UNDEFINED "INTO", 0xCE
    UNDEFINED "AAM", 0xD4, 0x0A
    UNDEFINED "AAD", 0xD5, 0x0A
    UNDEFINED "SALC", 0xD6
    UNDEFINED "JMP ptr16:32", 0xEA, 0, 0, 0, 0, 8, 0
    UNDEFINED "MOV to segment register 6", 0x8E, 0xF0
    UNDEFINED "MOV CS", 0x8E, 0xC8
    ret

# --- Compatibility mode -----------------------------------------------------------------------------------------------
compatibility:
    TRY
    COMPATIBLE
    mov eax, cs
    inc eax # The bytes of a REX prefix in 64-bit mode.
    END_COMPATIBLE
    EXPECT "compatibility mode at level 0", NONE
    CHECK "INC EAX is an instruction again", rax, (CODE32 + 1)
    CHECK32 "CS", rec_cs, CODE32
    CHECK32 "an interrupt leads to 64-bit code", rec_handler_cs, CODE64
    TRY
    COMPATIBLE3
    push eax
    pop ebx
    mov ecx, esp
    END_COMPATIBLE
    EXPECT "compatibility mode at level 3", NONE
    CHECK32 "CS of level 3", rec_cs, USER_CODE32
    CHECK32 "SS", rec_ss, USER_DATA
    CHECK "ESP", rcx, USER_STACK
    CHECK32 "the handler's frame", rec_frame, (EVENT_STACK - 40)
    # 32-bit writes clear the upper halves; what is not written keeps them while the mode lasts is up to the processor, so
    # only the written ones are looked at.
    TRY
    mov rax, -1
    COMPATIBLE
    mov eax, 0x12345678
    END_COMPATIBLE
    CHECK "a 32-bit result has no upper half", rax, 0x12345678
    # Segments have limits again.
    TRY
    COMPATIBLE
    mov eax, BASED
    mov ds, eax
1:  mov bl, ds:[0x10]
    END_COMPATIBLE
    TCG_DIFFERS "SDM 3 5.3.1: limits are checked in compatibility mode; TCG checks none"
    EXPECT "a read behind DS's limit", V_GP, 0, 1b
    TRY
    mov byte ptr [SCRATCH + 8], 0x66
    COMPATIBLE
    mov eax, BASED
    mov ds, eax
    mov bl, ds:[8]
    END_COMPATIBLE
    and ebx, 0xFF
    CHECK "and bases", rbx, 0x66
    TRY
    COMPATIBLE
    xor eax, eax
1:  mov ss, eax
    END_COMPATIBLE
    EXPECT "a null SS", V_GP, 0, 1b
    TRY
    COMPATIBLE
    xor eax, eax
    mov ds, eax
1:  mov bl, ds:[SCRATCH]
    END_COMPATIBLE
    TCG_DIFFERS "SDM 3 5.4.1: a null DS faults when it is used"
    EXPECT "a null DS", V_GP, 0, 1b
    # Addresses wrap at 4 GiB.
    TRY
    mov byte ptr [SCRATCH + 0x20], 0x99
    COMPATIBLE
    mov eax, 0xFFFFFFF0
    mov bl, [eax + SCRATCH + 0x30]
    END_COMPATIBLE
    and ebx, 0xFF
    CHECK "an address wraps at 4 GiB", rbx, 0x99
    TRY
    COMPATIBLE
1:  jmp TASK64:0
    END_COMPATIBLE
    EXPECT "JMP to a TSS", V_GP, TASK64, 1b
    TRY
    COMPATIBLE
1:  .byte 0x0F, 0x01, 0xF8
    END_COMPATIBLE
    EXPECT "SWAPGS", V_UD, -1, 1b
    SKIP_ON_TCG "clearing CR4.PAE in IA-32e mode: TCG does it (SDM 2 MOV to CR: #GP(0))", 3f
    TRY
    COMPATIBLE
    mov edx, cr4
    and edx, ~CR4_PAE
1:  mov cr4, edx
    END_COMPATIBLE
    EXPECT "clearing CR4.PAE", V_GP, 0, 1b
3:
    # IRET within compatibility mode has frames of doublewords, without SS:ESP.
    TRY
    COMPATIBLE
    mov ebx, esp
    push FLAG_CF | 2
    push CODE32
    push offset 2f
    iretd
2:  sub ebx, esp
    END_COMPATIBLE
    EXPECT "IRETD within compatibility mode", NONE
    CHECK "three doublewords", rbx, 0
    # A call gate leads from compatibility mode of level 3 to 64-bit code.
    SET_GATE64 GATE, CODE64, probe, FOR_ALL
    TRY
    COMPATIBLE3
    call GATE:0
1:
    END_COMPATIBLE
    EXPECT "a call gate from compatibility mode", NONE
    CHECK "frame of quadwords", "qword ptr [probe_rsp]", (EVENT_STACK - 32)
    CHECK_AT "RIP", probe_frame, 1b
    CHECK "CS", "qword ptr [probe_frame + 8]", USER_CODE32
    # A jump back to 64-bit code of the same level.
    TRY
    COMPATIBLE
    jmp CODE64:2f
    MODE 64
2:  mov rax, 0x123456789ABCDEF0
    END_TRY
    EXPECT "JMP from compatibility mode to 64-bit code", NONE
    CHECK "64 bits", rax, 0x123456789ABCDEF0
    # Virtual-8086 mode does not exist: VM in the image is ignored.
    SKIP_ON_TCG "IRETD with VM in compatibility mode: TCG enters virtual-8086 mode (SDM 2 IRET)", 3f
    TRY
    COMPATIBLE
    mov ebx, esp
    push FLAG_VM | 2
    push CODE32
    push offset 2f
    iretd
2:
    END_COMPATIBLE
    EXPECT "IRETD with VM in the image", NONE
    CHECK_BITS "VM stays clear", rec_flags, FLAG_VM, 0
3:
    # A 16-bit code segment.
    TRY
    COMPATIBLE
    jmp CODE16:2f
    .pushsection .low16, "ax"
    MODE 16
2:  mov ax, 0x1234
    int 0xF0
    .popsection
    MODE 64
9990:
    EXPECT "16-bit code", NONE
    and eax, 0xFFFF
    CHECK "ran", rax, 0x1234
    ret
