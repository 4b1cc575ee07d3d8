# Debug registers and single-stepping (SDM volume 3, chapter 17): what is reported when, in DR6, and what suppresses it.
.include "runtime.inc"
SUITE "debug", 32

# DR7: enable of breakpoint n, its kind and length.
L0 = 1
LOCAL_EXACT = 0x100
GD = 1 << 13
KIND_X = 0
KIND_W = 1
KIND_IO = 2
KIND_RW = 3
LEN_1 = 0
LEN_2 = 1
LEN_8 = 2
LEN_4 = 3
B0 = 1
BD = 1 << 13
BS = 1 << 14
BT = 1 << 15
CELL = SCRATCH + 0x100

.text
main:
    call instruction_breakpoints
    call data_breakpoints
    call io_breakpoints
    call single_step
    call shadows
    call registers
    ret

# DR0 at `address`, of a kind and length, and DR6 cleared. Code: an offset in this image.
.macro BREAK address, kind, length
    mov eax, offset \address
    mov dr0, eax
    SET_BREAK \kind, \length
.endm
.macro BREAK_AT address, kind, length
    mov eax, \address
    mov dr0, eax
    SET_BREAK \kind, \length
.endm
.macro SET_BREAK kind, length
    mov eax, 0xFFFF0FF0
    mov dr6, eax
    mov eax, L0 | (\kind << 16) | (\length << 18)
    mov dr7, eax
.endm
.macro NO_BREAKS
    xor eax, eax
    mov dr7, eax
    mov eax, 0xFFFF0FF0
    mov dr6, eax
.endm
.macro DR6_IS name, value
    CHECK_BITS "\name: DR6", rec_dr6, 0xFFFF, (0x0FF0 | \value)
.endm

instruction_breakpoints:
    BREAK 1f, KIND_X, LEN_1
    TRY
    xor ecx, ecx
1:  inc ecx
    END_TRY
    NO_BREAKS
    EXPECT "an instruction breakpoint is a fault", V_DB, -1, 1b
    CHECK32 "the instruction was not executed", rec_rcx, 0
    DR6_IS "instruction breakpoint", B0
    TCG_DIFFERS "SDM 3 17.3.1.1 asks that RF is set by the handler: the processor pushes RF as it was"
    CHECK_BITS "RF in the frame is clear", rec_flags, FLAG_RF, 0
    # RF in the image that IRET loads lets the instruction run, once.
    BREAK 1f, KIND_X, LEN_1
    TRY
    xor ecx, ecx
    mov edx, 2
    push FLAG_RF | 2
    push CODE32
    push offset 1f
    iretd
1:  inc ecx
    dec edx
    jnz 1b
    END_TRY
    NO_BREAKS
    EXPECT "IRET with RF passes the breakpoint once", V_DB, -1, 1b
    CHECK32 "the instruction was executed once", rec_rcx, 1
    # POPF cannot set RF.
    BREAK 1f, KIND_X, LEN_1
    TRY
    push FLAG_RF | 2
    popfd
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "POPFD does not set RF", V_DB, -1, 1b
    # Not within an instruction, only at its first byte.
    BREAK 1f+1, KIND_X, LEN_1
    TRY
1:  mov eax, 0x12345678
    END_TRY
    NO_BREAKS
    EXPECT "a breakpoint on the second byte of an instruction", NONE
    # A prefix is the first byte.
    BREAK 1f, KIND_X, LEN_1
    TRY
1:  .byte 0x3E, 0x8B, 0x05
    .long SCRATCH
    END_TRY
    NO_BREAKS
    EXPECT "a breakpoint on a prefix", V_DB, -1, 1b
    # Disabled: nothing happens.
    BREAK 1f, KIND_X, LEN_1
    xor eax, eax
    mov dr7, eax
    TRY
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "a breakpoint that is not enabled", NONE
    # The global enable is as good.
    BREAK 1f, KIND_X, LEN_1
    mov eax, 2
    mov dr7, eax
    TRY
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "a global breakpoint", V_DB, -1, 1b
    # Two on the same instruction.
    BREAK 1f, KIND_X, LEN_1
    mov eax, offset 1f
    mov dr3, eax
    mov eax, L0 | (1 << 6)
    mov dr7, eax
    TRY
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "two breakpoints on one instruction", V_DB, -1, 1b
    DR6_IS "two breakpoints", B0 | 8
    # The breakpoint comes before the fault of the instruction itself, and before one that the fetch... takes.
    BREAK 1f, KIND_X, LEN_1
    TRY
1:  ud2
    END_TRY
    NO_BREAKS
    EXPECT "a breakpoint on UD2", V_DB, -1, 1b
    # REP: at the first iteration alone.
    BREAK 1f, KIND_X, LEN_1
    TRY
    mov ecx, 4
    mov edi, CELL
1:  rep stosb
    END_TRY
    NO_BREAKS
    EXPECT "a breakpoint on REP STOSB", V_DB, -1, 1b
    CHECK32 "no iteration was done", rec_rcx, 4
    BREAK 1f, KIND_X, LEN_1
    TRY
    mov ecx, 4
    mov edi, CELL
    push FLAG_RF | 2
    push CODE32
    push offset 1f
    iretd
1:  rep stosb
    END_TRY
    NO_BREAKS
    TCG_DIFFERS "SDM 3 17.3.1.1: RF is cleared when the instruction has ended, after its last iteration"
    EXPECT "RF lasts through all iterations of REP STOSB", NONE
    ret

.macro DATA name, address, kind, length, hit, instruction:vararg
    BREAK_AT "\address", \kind, \length
    TRY
    mov ebx, CELL
    mov ecx, 1
    \instruction
1:
    END_TRY
    NO_BREAKS
.if \hit
    EXPECT "\name", V_DB, -1, 1b
    DR6_IS "\name", B0
.else
    EXPECT "\name", NONE
    DR6_IS "\name", 0
.endif
.endm
data_breakpoints:
    DATA "write breakpoint: a write", CELL, KIND_W, LEN_1, 1, mov [ebx], al
    DATA "write breakpoint: a read", CELL, KIND_W, LEN_1, 0, mov al, [ebx]
    DATA "write breakpoint: the byte before", CELL, KIND_W, LEN_1, 0, mov [ebx - 1], al
    DATA "write breakpoint: a doubleword that covers it", (CELL + 2), KIND_W, LEN_1, 1, mov [ebx], eax
    DATA "write breakpoint: behind a doubleword", (CELL + 4), KIND_W, LEN_1, 0, mov [ebx], eax
    DATA "write breakpoint of two bytes: the second", CELL, KIND_W, LEN_2, 1, mov [ebx + 1], al
    DATA "write breakpoint of two bytes: the third", CELL, KIND_W, LEN_2, 0, mov [ebx + 2], al
    TCG_DIFFERS_BEGIN "SDM 3 17.2.5: the low bits of the address are masked by the length"
    DATA "write breakpoint of two bytes: address bit 0 is ignored", (CELL + 1), KIND_W, LEN_2, 1, mov [ebx], al
    TCG_DIFFERS_END
    DATA "write breakpoint of four bytes: the fourth", CELL, KIND_W, LEN_4, 1, mov [ebx + 3], al
    DATA "write breakpoint of four bytes: the fifth", CELL, KIND_W, LEN_4, 0, mov [ebx + 4], al
    TCG_DIFFERS_BEGIN "SDM 3 17.2.5: the low bits of the address are masked by the length"
    DATA "write breakpoint of four bytes: address bits 0 and 1 are ignored", (CELL + 3), KIND_W, LEN_4, 1, mov [ebx], al
    TCG_DIFFERS_END
    TCG_DIFFERS_BEGIN "SDM 3 17.2.4: bits 10b are eight bytes; TCG's legacy modes have it too"
    DATA "write breakpoint of eight bytes: the eighth", CELL, KIND_W, LEN_8, 1, mov [ebx + 7], al
    TCG_DIFFERS_END
    TCG_DIFFERS_BEGIN "SDM 3 17.2.4: R/W 11b breaks on reads as well; QEMU's watchpoints see them too"
    DATA "access breakpoint: a read", CELL, KIND_RW, LEN_4, 1, mov al, [ebx]
    TCG_DIFFERS_END
    DATA "access breakpoint: a write", CELL, KIND_RW, LEN_4, 1, mov [ebx], al
    DATA "access breakpoint: CMP", CELL, KIND_RW, LEN_4, 1, cmp [ebx], eax
    DATA "access breakpoint: an instruction fetch does not count", main, KIND_RW, LEN_1, 0, nop
    DATA "write breakpoint: XCHG", CELL, KIND_W, LEN_4, 1, xchg [ebx], eax
    DATA "write breakpoint: INC", CELL, KIND_W, LEN_4, 1, inc dword ptr [ebx]
    DATA "write breakpoint: CMPXCHG that does not match writes too", CELL, KIND_W, LEN_4, 1, cmpxchg [ebx], ecx
    DATA "access breakpoint: LEA", CELL, KIND_RW, LEN_4, 0, lea eax, [ebx]
    TRY
    BREAK_AT CELL, KIND_W, LEN_4
    mov esi, offset main
    mov edi, CELL + 3
    movsb
1:
    END_TRY
    NO_BREAKS
    EXPECT "write breakpoint: MOVSB", V_DB, -1, 1b
    # The stack.
    TRY
    BREAK_AT "MAIN_STACK - 0x40", KIND_W, LEN_4
    mov edx, esp
    mov esp, MAIN_STACK - 0x3C
    push eax
1:  mov esp, edx
    END_TRY
    NO_BREAKS
    EXPECT "write breakpoint: PUSH", V_DB, -1, 1b
    # It is a trap: the write has been done.
    mov dword ptr [CELL], 0
    BREAK_AT CELL, KIND_W, LEN_4
    TRY
    mov dword ptr [CELL], 0x5A5A
1:
    END_TRY
    NO_BREAKS
    CHECK32 "a data breakpoint is a trap", CELL, 0x5A5A
    # REP: after the iteration that hit, RCX tells which.
    BREAK_AT "CELL + 2", KIND_W, LEN_1
    TRY
    mov edi, CELL
    mov ecx, 8
1:  rep stosb
    END_TRY
    NO_BREAKS
    mov eax, [rec_vector]
    CHECK "write breakpoint in REP STOSB", eax, V_DB
    CHECK32 "it stops behind the iteration", rec_rcx, 5
    CHECK32 "EDI", rec_rdi, (CELL + 3)
    CHECK_AT "EIP is the instruction's", rec_rip, 1b
    # A write that faults does not break.
    SET_SEGMENT SPARE, 0, 0xFF, ACCESS_DATA, FLAGS_32
    BREAK_AT 0x100, KIND_W, LEN_4
    TRY
    mov eax, SPARE
    mov es, eax
1:  mov es:[0x100], eax
    END_TRY
    NO_BREAKS
    TCG_DIFFERS_BEGIN "TCG checks no limits (SDM 3 5.3)"
    EXPECT "a write that faults", V_GP, 0, 1b
    DR6_IS "a write that faults", 0
    TCG_DIFFERS_END
    ret

io_breakpoints:
    mov eax, cr4
    or al, CR4_DE
    mov cr4, eax
    BREAK_AT 0x80, KIND_IO, LEN_1
    TRY
    out 0x80, al
1:
    END_TRY
    NO_BREAKS
    EXPECT "an I/O breakpoint: OUT", V_DB, -1, 1b
    DR6_IS "an I/O breakpoint", B0
    BREAK_AT 0x80, KIND_IO, LEN_1
    TRY
    in al, 0x80
1:
    END_TRY
    NO_BREAKS
    EXPECT "an I/O breakpoint: IN", V_DB, -1, 1b
    BREAK_AT 0x80, KIND_IO, LEN_1
    TRY
    in al, 0x84
    END_TRY
    NO_BREAKS
    EXPECT "an I/O breakpoint: another port", NONE
    BREAK_AT 0x84, KIND_IO, LEN_4
    TRY
    in al, 0x86
1:
    END_TRY
    NO_BREAKS
    EXPECT "an I/O breakpoint of four ports", V_DB, -1, 1b
    mov eax, cr4
    and al, ~CR4_DE
    mov cr4, eax
    ret

single_step:
    TRY
    push FLAG_TF | 2
    popfd
    nop
1:  nop
    END_TRY
    EXPECT "TF by POPFD: the trap comes behind the next instruction", V_DB, -1, 1b
    DR6_IS "single-step", BS
    CHECK_BITS "TF is set in the frame", rec_flags, FLAG_TF, FLAG_TF
    CHECK_BITS "and clear in the handler", rec_handler_flags, FLAG_TF, 0
    NO_BREAKS
    TRY
    push FLAG_TF | 2
    push CODE32
    push offset 2f
    iretd
2:  nop
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "TF by IRET", V_DB, -1, 1b
    TRY
    push FLAG_TF | 2
    popfd
    push 2
    popfd
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "PUSH is stepped", V_DB
    # POPFD that clears TF is stepped itself.
    TRY
    push 2
    push FLAG_TF | 2
    popfd
    popfd
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "POPFD that clears TF is stepped itself", V_DB, -1, 1b
    # A branch; a REP, iteration by iteration.
    TRY
    push FLAG_TF | 2
    popfd
    jmp 1f
    nop
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "a branch", V_DB, -1, 1b
    TRY
    mov ecx, 3
    mov edi, CELL
    push FLAG_TF | 2
    popfd
1:  rep stosb
    END_TRY
    NO_BREAKS
    EXPECT "REP STOSB: behind the first iteration", V_DB, -1, 1b
    CHECK32 "two are left", rec_rcx, 2
    TRY
    xor ecx, ecx
    mov edi, CELL
    push FLAG_TF | 2
    popfd
    rep stosb
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "REP STOSB of none", V_DB, -1, 1b
    # INT n clears TF: no trap in or before the handler; the frame has it.
    SET_VECTOR 0x40, CODE32, no_trap_handler, GATE_TRAP32
    TRY
    push FLAG_TF | 2
    popfd
    int 0x40
1:  nop
    END_TRY
    NO_BREAKS
    RESTORE_VECTORS
    EXPECT "INT n with TF: the handler is not stepped", NONE
    CHECK32 "it ran as far as it goes", rec_rcx, 0x1234
    # A fault with TF: the fault's handler, no trap.
    TRY
    push FLAG_TF | 2
    popfd
1:  ud2
    END_TRY
    EXPECT "a fault with TF", V_UD, -1, 1b
    DR6_IS "a fault with TF", 0
    # Data breakpoint and step together: one #DB with both.
    TRY
    BREAK_AT CELL, KIND_W, LEN_4
    push FLAG_TF | 2
    popfd
    mov dword ptr [CELL], 1
1:  nop
    END_TRY
    NO_BREAKS
    TCG_DIFFERS "SDM 3 17.3.1.2: one #DB reports both"
    EXPECT "a step with a data breakpoint", V_DB, -1, 1b
    DR6_IS "a step with a data breakpoint", BS | B0
    # A step onto an instruction breakpoint: the step first.
    TRY
    BREAK 1f, KIND_X, LEN_1
    push FLAG_TF | 2
    popfd
    nop
1:  nop
    END_TRY
    NO_BREAKS
    mov eax, [rec_vector]
    CHECK "a step onto an instruction breakpoint", eax, V_DB
    CHECK_BITS "the step is reported", rec_dr6, BS, BS
    # ICEBP.
    TRY
    .byte 0xF1
1:  nop
    END_TRY
    NO_BREAKS
    TCG_DIFFERS_BEGIN "SDM 2 INT1: #DB, a trap, DR6 as it was; TCG makes it #UD"
    EXPECT "ICEBP", V_DB, -1, 1b
    DR6_IS "ICEBP", 0
    TCG_DIFFERS_END
    # Bits of DR6 that software leaves stay; the processor never clears them (B0 to B3 excepted).
    mov eax, 0xFFFF0FF0 | BT | 4
    mov dr6, eax
    TRY
    push FLAG_TF | 2
    popfd
    nop
    END_TRY
    CHECK_BITS "DR6.BT stays when a step is reported", rec_dr6, BS | BT, BS | BT
    NO_BREAKS
    ret
no_trap_handler:
    mov ecx, 0x1234
    nop
    int 0xF0

# Instructions after which nothing is reported.
shadows:
    TRY
    mov edx, DATA32
    push FLAG_TF | 2
    popfd
    mov ss, edx
    nop
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "MOV SS with TF: the trap comes one instruction later", V_DB, -1, 1b
    TRY
    push DATA32
    push FLAG_TF | 2
    popfd
    pop ss
    nop
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "POP SS with TF", V_DB, -1, 1b
    TRY
    push FLAG_TF | 2
    popfd
    sti
1:  nop
    END_TRY
    NO_BREAKS
    TCG_DIFFERS "SDM 2 STI: interrupts are held back, not debug traps"
    EXPECT "STI with TF holds no trap back", V_DB, -1, 1b
    # An instruction breakpoint in the shadow of MOV SS is lost.
    TRY
    BREAK 1f, KIND_X, LEN_1
    mov edx, DATA32
    mov ss, edx
1:  nop
    END_TRY
    NO_BREAKS
    TCG_DIFFERS "SDM 3 6.8.3: breakpoints on the instruction behind MOV SS are suppressed"
    EXPECT "an instruction breakpoint behind MOV SS", NONE
    # A data breakpoint that MOV SS itself meets is reported behind the next instruction.
    TRY
    mov dword ptr [CELL], DATA32
    BREAK_AT CELL, KIND_RW, LEN_2
    mov ss, [CELL]
    nop
1:  nop
    END_TRY
    NO_BREAKS
    TCG_DIFFERS "SDM 3 6.8.3: held back by one instruction"
    EXPECT "a data breakpoint met by MOV SS", V_DB, -1, 1b
    # And before INT n in the shadow: delivered with the handler's first instruction... the processor reports it as the
    # interrupt is delivered, so that the frame points into the handler.
    TRY
    mov edx, DATA32
    mov ss, edx
    int3
1:
    END_TRY
    EXPECT "INT3 behind MOV SS", V_BP, -1, 1b
    ret

registers:
    # Reserved bits.
    TRY
    mov eax, 0xFFFFFFFF
    mov dr6, eax
    mov ecx, dr6
    xor eax, eax
    mov dr6, eax
    mov edx, dr6
    END_TRY
    TCG_DIFFERS "SDM 3 17.2.3: bit 12 is always 0"
    CHECK "DR6 with all bits", ecx, 0xFFFFEFFF
    CHECK "DR6 with none", edx, 0xFFFF0FF0
    TRY
    mov eax, 0xFFFF0000 # No breakpoint enabled.
    mov dr7, eax
    mov ecx, dr7
    xor eax, eax
    mov dr7, eax
    mov edx, dr7
    END_TRY
    CHECK "DR7 with lengths and kinds", ecx, 0xFFFF0400
    CHECK "DR7 with none: bit 10 is set", edx, 0x400
    # DR4 and DR5.
    NO_BREAKS
    TRY
    .byte 0x0F, 0x21, 0xE1 # MOV ECX, DR4
    .byte 0x0F, 0x21, 0xEA # MOV EDX, DR5
    END_TRY
    EXPECT "DR4 and DR5 without CR4.DE", NONE
    CHECK "DR4 is DR6", ecx, 0xFFFF0FF0
    CHECK "DR5 is DR7", edx, 0x400
    mov eax, cr4
    or al, CR4_DE
    mov cr4, eax
    TRY
1:  .byte 0x0F, 0x21, 0xE1
    END_TRY
    EXPECT "DR4 with CR4.DE", V_UD, -1, 1b
    mov eax, cr4
    and al, ~CR4_DE
    mov cr4, eax
    # GD: any access is #DB before the instruction; the handler has it clear.
    mov eax, GD
    mov dr7, eax
    TRY
    mov ecx, 0x55
1:  mov ecx, dr0
    END_TRY
    mov eax, dr7
    NO_BREAKS
    TCG_DIFFERS "SDM 3 17.2.4: GD; TCG has it not"
    EXPECT "a MOV from DR0 with GD", V_DB, -1, 1b
    TCG_DIFFERS "SDM 3 17.2.4"
    CHECK32 "its register is unchanged", rec_rcx, 0x55
    TCG_DIFFERS "SDM 3 17.2.4"
    DR6_IS "general detect", BD
    and eax, GD
    mov eax, GD
    mov dr7, eax
    TRY
1:  mov dr0, eax
    END_TRY
    mov ecx, dr7
    NO_BREAKS
    TCG_DIFFERS "SDM 3 17.2.4"
    EXPECT "a MOV to DR0 with GD", V_DB, -1, 1b
    and ecx, GD
    TCG_DIFFERS "SDM 3 17.2.4"
    CHECK "#DB clears GD", ecx, 0
    TRY
    RING3
1:  mov eax, dr0
    END_TRY
    EXPECT "DR0 at level 3", V_GP, 0, 1b
    # All 32 bits of the addresses.
    mov eax, 0x89ABCDEF
    mov dr1, eax
    mov ecx, dr1
    CHECK "DR1", ecx, 0x89ABCDEF
    # Breakpoints are by linear address: the segment's base counts.
    SET_SEGMENT SPARE, CELL, 0xFFF, ACCESS_DATA, FLAGS_32
    BREAK_AT CELL, KIND_W, LEN_1
    TRY
    mov eax, SPARE
    mov es, eax
    mov es:[0], al
1:
    END_TRY
    NO_BREAKS
    EXPECT "a write through a segment with a base", V_DB, -1, 1b
    # At level 3 too.
    BREAK 1f, KIND_X, LEN_1
    TRY
    RING3
    nop
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "an instruction breakpoint at level 3", V_DB, -1, 1b
    TRY
    RING3 FLAG_TF | 2
    nop
1:  nop
    END_TRY
    NO_BREAKS
    EXPECT "a step at level 3", V_DB, -1, 1b
    ret
