# Interrupts and exceptions through the 32-bit IDT (SDM volume 3, chapter 6): gates, frames, stack switches, error codes
# with the EXT and IDT bits, double faults, external interrupts and NMI.
.include "runtime.inc"
SUITE "interrupts", 32

ABSENT_CODE = SPARE
ABSENT_STACK = SPARE + 8
CONFORMING = SPARE + 0x10
SMALL_STACK = SPARE + 0x18
SHORT_CODE = SPARE + 0x20
CODE_OF_3 = SPARE + 0x28
STACK_OF_3 = SPARE + 0x30
READ_ONLY = SPARE + 0x38
CONFORMING_OF_3 = SPARE + 0x40
CODE_OF_1 = SPARE + 0x48
STACK_OF_1 = SPARE + 0x50
STACK16 = SPARE + 0x58
OUTSIDE = 0x1000
EXT = 1
IDT = 2
VECTOR = 0x40 # The one whose gate the checks change.

LAPIC = 0xFEE00000
LAPIC_ID = LAPIC + 0x20
LAPIC_TPR = LAPIC + 0x80
LAPIC_EOI = LAPIC + 0xB0
LAPIC_SVR = LAPIC + 0xF0
LAPIC_ICR = LAPIC + 0x300
LAPIC_ICR_HIGH = LAPIC + 0x310
TO_SELF = 0x44000
DELIVER_NMI = 0x4400

.text
main:
    SET_SEGMENT ABSENT_CODE, 0, 0xFFFFF, 0x1B, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT ABSENT_STACK, 0, 0xFFFFF, 0x13, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CONFORMING, 0, 0xFFFFF, ACCESS_CONFORMING, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT SMALL_STACK, 0, 0x7, ACCESS_DATA, FLAGS_32
    SET_SEGMENT SHORT_CODE, 0, 0xFFF, ACCESS_CODE, FLAGS_32
    SET_SEGMENT CODE_OF_3, 0, 0xFFFFF, ACCESS_CODE | ACCESS_DPL3, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT STACK_OF_3, 0, 0xFFFFF, ACCESS_DATA | ACCESS_DPL3, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT READ_ONLY, 0, 0xFFFFF, ACCESS_DATA_READ, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CONFORMING_OF_3, 0, 0xFFFFF, ACCESS_CONFORMING | ACCESS_DPL3, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CODE_OF_1, 0, 0xFFFFF, ACCESS_CODE | 0x20, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT STACK_OF_1, 0, 0xFFFFF, ACCESS_DATA | 0x20, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT STACK16, 0, 0xFFFF, ACCESS_DATA, FLAGS_16
    call flags
    call frames
    call bad_gates
    call bad_gates_with_ext
    call stack_switches
    call bad_stacks
    call conforming_handlers
    call double_faults
    call external
    call nmi
    ret

# A handler that looks around and then ends the TRY. DS is flat.
probe:
    mov [probe_esp], esp
    mov [probe_ss], ss
    mov [probe_cs], cs
    pushfd
    pop dword ptr [probe_flags]
    mov [probe_registers], eax
    mov [probe_registers + 4], ecx
    mov [probe_registers + 8], edx
    mov eax, ss
    lar eax, eax
    mov edx, esp
    bt eax, 22 # B: without it the stack pointer is SP.
    jc 2f
    movzx edx, dx
2:  xor ecx, ecx
1:  mov eax, ss:[edx + ecx * 4]
    mov [probe_frame + ecx * 4], eax
    inc ecx
    cmp ecx, 10
    jb 1b
    mov eax, [probe_registers]
    mov ecx, [probe_registers + 4]
    mov edx, [probe_registers + 8]
    int 0xF0

.bss
probe_esp: .long 0
probe_ss: .long 0
probe_cs: .long 0
probe_flags: .long 0
probe_registers: .space 12
probe_frame: .space 40
.text

flags:
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32
    TRY
    push FLAG_IF | FLAG_NT | FLAG_AC | FLAG_ID | FLAG_DF | FLAG_CF | 2
    popfd
    int VECTOR
1:
    END_TRY
    EXPECT "INT n through an interrupt gate", NONE
    CHECK_BITS "it clears IF, TF, NT and leaves the rest", probe_flags, 0x3F4FD7, FLAG_AC | FLAG_ID | FLAG_DF | FLAG_CF | 2
    CHECK_AT "EIP of the frame is the next instruction's", probe_frame, 1b
    CHECK_BITS "CS of the frame", (probe_frame + 4), 0xFFFF, CODE32
    CHECK_BITS "EFLAGS of the frame", (probe_frame + 8), 0x3F7FD7, FLAG_IF | FLAG_NT | FLAG_AC | FLAG_ID | FLAG_DF | FLAG_CF | 2
    SET_VECTOR VECTOR, CODE32, probe, GATE_TRAP32
    TRY
    push FLAG_IF | FLAG_NT | 2
    popfd
    int VECTOR
    END_TRY
    CHECK_BITS "a trap gate leaves IF", probe_flags, FLAG_IF | FLAG_NT | FLAG_TF, FLAG_IF
    # RF in the image: set by a fault, clear by INT n.
    TRY
1:  ud2
    END_TRY
    EXPECT "UD2", V_UD, -1, 1b
    TCG_DIFFERS "SDM 3 17.3.1.1: a fault saves EFLAGS with RF set"
    CHECK_BITS "a fault saves RF set", rec_flags, FLAG_RF, FLAG_RF
    CHECK_BITS "its handler finds RF clear", rec_handler_flags, FLAG_RF, 0
    TRY
    int3
1:
    END_TRY
    EXPECT "INT3", V_BP, -1, 1b
    CHECK_BITS "INT3 saves RF clear", rec_flags, FLAG_RF, 0
    TRY
    .byte 0xCD, 0x03
1:
    END_TRY
    EXPECT "INT 3 in two bytes", V_BP, -1, 1b
    TRY
    mov eax, 0x7FFFFFFF
    inc eax
    into
1:
    END_TRY
    EXPECT "INTO", V_OF, -1, 1b
    TRY
    mov eax, 10
    mov dword ptr [SCRATCH], 11
    mov dword ptr [SCRATCH + 4], 20
1:  bound eax, [SCRATCH]
    END_TRY
    EXPECT "BOUND below the lower bound", V_BR, -1, 1b
    TRY
    mov eax, 0x80000000
    cdq
    mov ecx, -1
1:  idiv ecx
    END_TRY
    EXPECT "IDIV whose quotient overflows", V_DE, -1, 1b
    CHECK "IDIV: EAX is unchanged", eax, 0x80000000
    CHECK "IDIV: EDX is unchanged", edx, 0xFFFFFFFF
    TRY
    mov eax, 5
1:  aam 0
    END_TRY
    EXPECT "AAM 0", V_DE, -1, 1b
    ret

frames:
    # 16-bit gates push words and take the low half of the offset.
    TRY
    SET_VECTOR VECTOR, CODE32, low_probe, GATE_INTERRUPT16
    mov ebx, esp
    push FLAG_IF | FLAG_CF | 2
    popfd
    int VECTOR
1:
    END_TRY
    EXPECT "INT n through a 16-bit interrupt gate", NONE
    sub ebx, [probe_esp]
    CHECK "pushes six bytes", ebx, 6
    mov eax, offset 1b
    shl eax, 16
    mov ax, word ptr [probe_frame]
    ror eax, 16
    sub ax, word ptr [probe_frame]
    movzx eax, ax
    CHECK "IP of the frame", eax, 0
    CHECK_BITS "CS of the frame", (probe_frame + 2), 0xFFFF, CODE32
    CHECK_BITS "FLAGS of the frame", (probe_frame + 4), (0xFFFF & 0x4FD7), FLAG_IF | FLAG_CF | 2
    CHECK_BITS "IF is clear", probe_flags, FLAG_IF, 0
    SET_VECTOR VECTOR, CODE32, low_probe, GATE_TRAP16
    TRY
    push FLAG_IF | 2
    popfd
    int VECTOR
    END_TRY
    EXPECT "INT n through a 16-bit trap gate", NONE
    CHECK_BITS "IF stays", probe_flags, FLAG_IF, FLAG_IF
    # An exception with an error code through a 16-bit gate: a word.
    SET_VECTOR V_GP, CODE32, low_probe, GATE_INTERRUPT16
    TRY
    mov ebx, esp
    mov eax, 0xABC8
1:  mov ds, eax
    END_TRY
    RESTORE_VECTORS
    EXPECT "#GP through a 16-bit gate", NONE
    sub ebx, [probe_esp]
    CHECK "pushes eight bytes", ebx, 8
    CHECK_BITS "the error code", probe_frame, 0xFFFF, 0xABC8
    CHECK_BITS "CS", (probe_frame + 4), 0xFFFF, CODE32
    # 16-bit code and stack through a 32-bit gate.
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32
    TRY
    mov ebx, esp
    mov eax, STACK16
    mov ss, eax
    mov esp, 0x12340FF0
    jmp CODE16:1f
    .pushsection .low16, "ax"
    MODE 16
1:  int VECTOR
2:
    .popsection
    MODE 32
    END_TRY
    EXPECT "from 16-bit code through a 32-bit gate", NONE
    CHECK32 "SP alone moved", probe_esp, (0x12340FF0 - 12)
    CHECK_AT "EIP", probe_frame, 2b
    CHECK_BITS "CS", (probe_frame + 4), 0xFFFF, CODE16
    ret

.pushsection .low16, "ax"
MODE 32
low_probe:
    jmp probe
.popsection

# --- What a gate may not be -------------------------------------------------------------------------------------------
.macro BAD_GATE name, selector, access, vector, error, target=probe
    SET_VECTOR VECTOR, "\selector", \target, "\access"
    TRY
1:  int VECTOR
    END_TRY
    EXPECT "\name", \vector, \error, 1b
.endm
bad_gates:
    BAD_GATE "a gate that is not present", CODE32, 0x0E, V_NP, (VECTOR * 8 + IDT)
    BAD_GATE "a gate of type 0", CODE32, 0x80, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a call gate in the IDT", CODE32, GATE_CALL32, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a TSS in the IDT", CODE32, ACCESS_TSS32, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a data segment in the IDT", CODE32, ACCESS_DATA, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "type 0 and not present", CODE32, 0x00, V_GP, (VECTOR * 8 + IDT)
    BAD_GATE "a gate to selector 0", 0, GATE_INTERRUPT32, V_GP, 0
    BAD_GATE "a gate to selector 3", 3, GATE_INTERRUPT32, V_GP, 0
    BAD_GATE "a gate to data", DATA32, GATE_INTERRUPT32, V_GP, DATA32
    BAD_GATE "a gate to a TSS", TASK32, GATE_INTERRUPT32, V_GP, TASK32
    BAD_GATE "a gate to outside the GDT", OUTSIDE | 3, GATE_INTERRUPT32, V_GP, OUTSIDE
    BAD_GATE "a gate to code that is not present", ABSENT_CODE, GATE_INTERRUPT32, V_NP, ABSENT_CODE
    BAD_GATE "a gate to code of level 3", CODE_OF_3, GATE_INTERRUPT32, V_GP, CODE_OF_3
    BAD_GATE "a gate to conforming code of level 3", CONFORMING_OF_3, GATE_INTERRUPT32, V_GP, CONFORMING_OF_3
    TCG_DIFFERS "SDM 2 INT n: #GP(EXT) when the offset is beyond the limit; TCG does not check"
    BAD_GATE "a gate to beyond the limit", SHORT_CODE, GATE_INTERRUPT32, V_GP, 0
    # The RPL of the gate's selector means nothing.
    SET_VECTOR VECTOR, CODE32 | 3, probe, GATE_INTERRUPT32
    TRY
    int VECTOR
    END_TRY
    EXPECT "a gate whose selector has RPL 3", NONE
    CHECK32 "the handler's CS has RPL 0", probe_cs, CODE32
    # The table's limit.
    mov word ptr [SCRATCH], VECTOR * 8 + 6
    mov dword ptr [SCRATCH + 2], offset idt32
    TRY
    lidt [SCRATCH]
1:  int VECTOR
    END_TRY
    lidt [idt32_pointer]
    EXPECT "a gate that ends behind the limit of the IDT", V_GP, (VECTOR * 8 + IDT), 1b
    # Level 3 and gates of lower levels.
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32
    TRY
    RING3
1:  int VECTOR
    END_TRY
    EXPECT "INT n at level 3 through a gate of level 0", V_GP, (VECTOR * 8 + IDT), 1b
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32 & 0x7F
    TRY
    RING3
1:  int VECTOR
    END_TRY
    EXPECT "level is asked before presence", V_GP, (VECTOR * 8 + IDT), 1b
    ret

# The same for an exception, whose error codes carry EXT. #UD is benign: the second exception is delivered by itself.
.macro BAD_UD name, selector, access, vector, error, target=probe
    SET_VECTOR V_UD, "\selector", \target, "\access"
    TRY
1:  ud2
    END_TRY
    EXPECT "#UD: \name", \vector, \error, 1b
.endm
bad_gates_with_ext:
    TCG_DIFFERS_BEGIN "SDM 3 6.13: EXT is set in the error codes of delivering an exception; TCG leaves it clear"
    BAD_UD "a gate that is not present", CODE32, 0x0E, V_NP, (V_UD * 8 + IDT + EXT)
    BAD_UD "a gate of type 0", CODE32, 0x80, V_GP, (V_UD * 8 + IDT + EXT)
    BAD_UD "a gate to selector 0", 0, GATE_INTERRUPT32, V_GP, EXT
    BAD_UD "a gate to data", DATA32, GATE_INTERRUPT32, V_GP, (DATA32 + EXT)
    BAD_UD "a gate to outside the GDT", OUTSIDE, GATE_INTERRUPT32, V_GP, (OUTSIDE + EXT)
    BAD_UD "a gate to code that is not present", ABSENT_CODE, GATE_INTERRUPT32, V_NP, (ABSENT_CODE + EXT)
    BAD_UD "a gate to beyond the limit", SHORT_CODE, GATE_INTERRUPT32, V_GP, EXT
    # INT3 and INTO are software interrupts: EXT is clear (SDM volume 3, 6.13).
    SET_VECTOR V_BP, CODE32, probe, 0x6E
    TRY
1:  int3
    END_TRY
    EXPECT "INT3 through a gate that is not present", V_NP, (V_BP * 8 + IDT), 1b
    SET_VECTOR V_DB, CODE32, probe, 0x0E
    TRY
1:  .byte 0xF1
    END_TRY
    EXPECT "INT1 through a gate that is not present: EXT is set", V_NP, (V_DB * 8 + IDT + EXT)
    TCG_DIFFERS_END
    RESTORE_VECTORS
    ret

# --- From level 3 to level 0 ------------------------------------------------------------------------------------------
stack_switches:
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
1:
    END_TRY
    EXPECT "INT n from level 3", NONE
    CHECK32 "ESP is the TSS's less twenty bytes", probe_esp, (EVENT_STACK - 20)
    CHECK32 "SS is the TSS's", probe_ss, DATA32
    CHECK32 "CS has RPL 0", probe_cs, CODE32
    CHECK_AT "EIP", probe_frame, 1b
    CHECK_BITS "CS", (probe_frame + 4), 0xFFFF, USER_CODE32
    CHECK32 "ESP", (probe_frame + 12), USER_STACK
    CHECK_BITS "SS", (probe_frame + 16), 0xFFFF, USER_DATA
    SET_VECTOR VECTOR, CODE32, low_probe, GATE_INTERRUPT16 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
    END_TRY
    EXPECT "INT n from level 3 through a 16-bit gate", NONE
    CHECK32 "pushes ten bytes", probe_esp, (EVENT_STACK - 10)
    CHECK_BITS "SP", (probe_frame + 6), 0xFFFF, (USER_STACK & 0xFFFF)
    CHECK_BITS "SS", (probe_frame + 8), 0xFFFF, USER_DATA
    # An exception with an error code.
    SET_VECTOR V_GP, CODE32, probe, GATE_INTERRUPT32
    TRY
    RING3
1:  hlt
    END_TRY
    RESTORE_VECTORS
    EXPECT "#GP from level 3", NONE
    CHECK32 "pushes twenty-four bytes", probe_esp, (EVENT_STACK - 24)
    CHECK32 "the error code lies lowest", probe_frame, 0
    CHECK_AT "then EIP", (probe_frame + 4), 1b
    # To level 1: SS1 and ESP1.
    SET_VECTOR VECTOR, CODE_OF_1, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    mov dword ptr [tss32 + 12], EVENT_STACK - 0x400
    mov dword ptr [tss32 + 16], STACK_OF_1 | 1
    TRY
    RING3
    int VECTOR
    END_TRY
    EXPECT "INT n from level 3 to level 1, and from there to 0", NONE
    CHECK32 "ESP1", probe_esp, (EVENT_STACK - 0x400 - 20)
    CHECK32 "SS1", probe_ss, (STACK_OF_1 | 1)
    CHECK32 "CS has RPL 1", probe_cs, (CODE_OF_1 | 1)
    CHECK32 "level 1 was left for level 0", rec_cs, (CODE_OF_1 | 1)
    # A 16-bit inner stack moves SP alone.
    mov dword ptr [tss32 + 4], 0x00010FF0
    mov dword ptr [tss32 + 8], STACK16
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
    END_TRY
    mov dword ptr [tss32 + 4], EVENT_STACK
    mov dword ptr [tss32 + 8], DATA32
    EXPECT "INT n to a 16-bit stack", NONE
    CHECK_BITS "SP", probe_esp, 0xFFFF, (0x0FF0 - 20)
    # Data segments go along as they are.
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    mov eax, 3
    mov fs, eax
    int VECTOR
    END_TRY
    CHECK32 "FS is what level 3 had", rec_fs, 3
    CHECK32 "DS is what level 3 had", rec_ds, USER_DATA
    ret

.macro BAD_STACK name, selector, vector, error
    mov dword ptr [tss32 + 12], EVENT_STACK - 0x400
    mov dword ptr [tss32 + 16], \selector
    TRY
    RING3
1:  int VECTOR
    END_TRY
    EXPECT "\name", \vector, \error, 1b
.endm
# The stack of level 1 is the one that is bad: the fault itself goes to level 0.
bad_stacks:
    SET_VECTOR VECTOR, CODE_OF_1, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    BAD_STACK "SS1 null", 0, V_TS, 0
    BAD_STACK "SS1 null with RPL 1", 1, V_TS, 0
    BAD_STACK "SS1 with RPL 0", STACK_OF_1, V_TS, STACK_OF_1
    BAD_STACK "SS1 of level 0", DATA32 | 1, V_TS, DATA32
    BAD_STACK "SS1 of code", CODE_OF_1 | 1, V_TS, CODE_OF_1
    BAD_STACK "SS1 outside the GDT", OUTSIDE | 1, V_TS, OUTSIDE
    SET_SEGMENT READ_ONLY, 0, 0xFFFFF, ACCESS_DATA_READ | 0x20, FLAGS_32 | FLAGS_PAGES
    BAD_STACK "SS1 read-only", READ_ONLY | 1, V_TS, READ_ONLY
    SET_SEGMENT ABSENT_STACK, 0, 0xFFFFF, 0x33, FLAGS_32 | FLAGS_PAGES
    TCG_DIFFERS "SDM 2 INT n: #SS(selector) when the new stack segment is not present; TCG has #TS"
    BAD_STACK "SS1 not present is #SS", ABSENT_STACK | 1, V_SS, ABSENT_STACK
    SET_SEGMENT SMALL_STACK, 0, 0x7, ACCESS_DATA | 0x20, FLAGS_32
    TCG_DIFFERS "SDM 2 INT n: #SS(selector) when the new stack has no room; TCG checks no limits"
    BAD_STACK "SS1 without room is #SS with its selector", SMALL_STACK | 1, V_SS, SMALL_STACK
    TCG_DIFFERS "see before"
    CHECK32 "the frame shows level 3's stack", rec_rsp, USER_STACK
    # The TSS itself too short for the stack of level 1 (bytes 12 to 17).
    mov word ptr [gdt + TASK32], 16
    and byte ptr [gdt + TASK32 + 5], ~2
    mov eax, TASK32
    ltr ax
    mov dword ptr [tss32 + 16], STACK_OF_1 | 1
    TRY
    RING3
1:  int VECTOR
    END_TRY
    mov word ptr [gdt + TASK32], 0x67
    and byte ptr [gdt + TASK32 + 5], ~2
    mov eax, TASK32
    ltr ax
    EXPECT "a TSS without room for SS1", V_TS, TASK32, 1b
    # On the current stack: #SS(0).
    SET_VECTOR VECTOR, CODE32, probe, GATE_INTERRUPT32
    RESTORE_VECTORS
    ret

conforming_handlers:
    SET_VECTOR VECTOR, CONFORMING, probe, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    RING3
    int VECTOR
1:
    END_TRY
    EXPECT "INT n from level 3 to conforming code of level 0", NONE
    CHECK32 "the level stays 3", probe_cs, (CONFORMING | 3)
    CHECK32 "and so does the stack", probe_ss, USER_DATA
    CHECK32 "twelve bytes", probe_esp, (USER_STACK - 12)
    RESTORE_VECTORS
    ret

# --- Double faults (SDM volume 3, table 6-5) --------------------------------------------------------------------------
double_faults:
    SET_VECTOR V_GP, CODE32, probe, 0x0E
    TRY
    mov eax, OUTSIDE
1:  mov ds, eax
    END_TRY
    EXPECT "#GP, then #NP: a double fault, error code 0", V_DF, 0, 1b
    CHECK32 "one event", event_count, 1
    RESTORE_VECTORS
    SET_VECTOR V_DE, CODE32, probe, 0x0E
    TRY
    xor ecx, ecx
1:  div ecx
    END_TRY
    EXPECT "#DE, then #NP: a double fault", V_DF, 0, 1b
    RESTORE_VECTORS
    SET_VECTOR V_NP, DATA32, probe, GATE_INTERRUPT32
    SET_SEGMENT ABSENT_STACK, 0, 0xFFFFF, 0x13, FLAGS_32 | FLAGS_PAGES
    TRY
    mov eax, ABSENT_STACK
1:  mov ds, eax
    END_TRY
    EXPECT "#NP, then #GP: a double fault", V_DF, 0, 1b
    TRY
    mov eax, ABSENT_STACK
1:  mov ss, eax
    END_TRY
    EXPECT "#SS by itself", V_SS, ABSENT_STACK, 1b
    RESTORE_VECTORS
    # Benign first: the second is delivered by itself (bad_gates_with_ext has it for #UD). A chain: #UD, then #NP, whose
    # gate is bad as well.
    SET_VECTOR V_UD, CODE32, probe, 0x0E
    SET_VECTOR V_NP, CODE32, probe, 0x0E
    TRY
1:  ud2
    END_TRY
    EXPECT "#UD, then #NP, then #NP: a double fault", V_DF, 0, 1b
    RESTORE_VECTORS
    # INT n is no exception: what its delivery meets is the first.
    SET_VECTOR VECTOR, CODE32, probe, 0x0E
    TRY
1:  int VECTOR
    END_TRY
    EXPECT "INT n, then #NP: no double fault", V_NP, (VECTOR * 8 + IDT), 1b
    RESTORE_VECTORS
    ret

# --- External interrupts ----------------------------------------------------------------------------------------------
external:
    mov dword ptr [LAPIC_SVR], 0x1FF
    mov dword ptr [LAPIC_TPR], 0
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x80
    nop
    nop
    nop
    sti
    nop
1:  nop
    nop
    nop
    nop
    cli
    END_TRY
    EXPECT "an interrupt waits for STI and the instruction after it", 0x80, -1, 1b
    CHECK_BITS "IF was set", rec_flags, FLAG_IF, FLAG_IF
    CHECK_BITS "RF is saved clear", rec_flags, FLAG_RF, 0
    mov dword ptr [LAPIC_EOI], 0
    # STI; HLT: the interrupt comes behind HLT.
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x81
    sti
    hlt
1:  cli
    END_TRY
    EXPECT "STI; HLT with an interrupt waiting", 0x81, -1, 1b
    mov dword ptr [LAPIC_EOI], 0
    # In a sequence of instructions that hold interrupts back only the first is sure to (SDM volume 2, STI).
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x82
    mov eax, DATA32
    push FLAG_IF | 2
    sti
    mov ss, eax
    nop
    nop
    nop
    cli
    END_TRY
    EXPECT "MOV SS in the shadow of STI", 0x82
    mov dword ptr [LAPIC_EOI], 0
    # POPF has no shadow.
    TRY
    push FLAG_IF | 2
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x83
    popfd
1:  nop
    nop
    cli
    END_TRY
    EXPECT "POPF that sets IF lets it in at once", 0x83, -1, 1b
    mov dword ptr [LAPIC_EOI], 0
    # STI with IF set already has no shadow; CLI in the shadow keeps it out.
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x84
    sti
    cli
    nop
    nop
    END_TRY
    EXPECT "STI; CLI lets nothing in", NONE
    TRY
    sti
    nop
    nop
    cli
    END_TRY
    EXPECT "it was waiting all the time", 0x84
    mov dword ptr [LAPIC_EOI], 0
    # The gate of an external interrupt that is not present: EXT is set, and it is no double fault.
    SET_VECTOR 0x85, CODE32, probe, 0x0E
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x85
    sti
    nop
    nop
    cli
    END_TRY
    TCG_DIFFERS "SDM 3 6.13: EXT is set; TCG leaves it clear"
    EXPECT "an interrupt whose gate is not present", V_NP, (0x85 * 8 + IDT + EXT)
    mov dword ptr [LAPIC_EOI], 0
    SET_VECTOR 0x85, CODE32, probe, GATE_INTERRUPT32 # Level 0, and level 3 is interrupted all the same.
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x85
    RING3 FLAG_IF | 2
1:  jmp 1b
    END_TRY
    EXPECT "an external interrupt asks no gate's privilege", NONE
    CHECK_AT "it came before the first instruction of level 3", probe_frame, 1b
    mov dword ptr [LAPIC_EOI], 0
    # Priority: two that wait come by their numbers.
    TRY
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x90
    mov dword ptr [LAPIC_ICR], TO_SELF | 0xA0
    sti
    nop
    nop
    cli
    END_TRY
    EXPECT "the higher vector comes first", 0xA0
    TRY
    sti
    nop
    nop
    cli
    END_TRY
    EXPECT "the lower waits for EOI", NONE
    mov dword ptr [LAPIC_EOI], 0
    TRY
    sti
    nop
    nop
    cli
    END_TRY
    EXPECT "and comes then", 0x90
    mov dword ptr [LAPIC_EOI], 0
    # REP: interrupted between two iterations, with the registers telling where.
    TRY
    mov dword ptr [LAPIC_TPR], 0xF0
    mov dword ptr [LAPIC_ICR], TO_SELF | 0x91
    mov dword ptr [LAPIC_TPR], 0
    sti
    nop
    cli
    END_TRY
    EXPECT "TPR holds back what is not above it", 0x91
    mov dword ptr [LAPIC_EOI], 0
    RESTORE_VECTORS
    ret

# --- NMI --------------------------------------------------------------------------------------------------------------
nmi:
    SET_VECTOR V_NMI, CODE32, nmi_handler, GATE_INTERRUPT32
    mov eax, [LAPIC_ID]
    mov [LAPIC_ICR_HIGH], eax
    TRY
    mov dword ptr [nmi_count], 0
    mov dword ptr [LAPIC_ICR], DELIVER_NMI
    nop
    nop
    nop
    END_TRY
    EXPECT "NMI comes with IF clear", NONE
    CHECK32 "once", nmi_count, 1
    # A second NMI inside the handler waits for its IRET.
    TRY
    mov dword ptr [nmi_count], 0
    mov dword ptr [nmi_again], 1
    mov dword ptr [LAPIC_ICR], DELIVER_NMI
    nop
    nop
    nop
    END_TRY
    EXPECT "NMI inside NMI", NONE
    CHECK32 "it did not nest", nmi_depth_most, 1
    CHECK32 "it came after IRET", nmi_count, 2
    # An IRET that faults ends the blocking too (SDM volume 3, 6.7.1).
    SET_VECTOR V_NMI, CODE32, nmi_bad_return, GATE_INTERRUPT32
    TRY
    mov dword ptr [nmi_count], 0
    mov dword ptr [LAPIC_ICR], DELIVER_NMI
    nop
    nop
    END_TRY
    EXPECT "IRET of an NMI handler to a null selector", V_GP, 0
    SET_VECTOR V_NMI, CODE32, nmi_handler, GATE_INTERRUPT32
    TRY
    mov dword ptr [nmi_count], 0
    mov dword ptr [nmi_again], 0
    mov dword ptr [LAPIC_ICR], DELIVER_NMI
    nop
    nop
    END_TRY
    TCG_DIFFERS "SDM 3 6.7.1: IRET unblocks NMI also when it faults"
    CHECK32 "the next NMI comes", nmi_count, 1
    RESTORE_VECTORS
    ret

nmi_handler:
    inc dword ptr [nmi_count]
    inc dword ptr [nmi_depth]
    push eax
    mov eax, [nmi_depth]
    cmp eax, [nmi_depth_most]
    jbe 1f
    mov [nmi_depth_most], eax
1:  cmp dword ptr [nmi_again], 0
    je 2f
    mov dword ptr [nmi_again], 0
    mov dword ptr [LAPIC_ICR], DELIVER_NMI
    nop
    nop
    nop
2:  pop eax
    dec dword ptr [nmi_depth]
    iretd
nmi_bad_return:
    mov dword ptr [esp + 4], 0
    iretd

.bss
nmi_count: .long 0
nmi_again: .long 0
nmi_depth: .long 0
nmi_depth_most: .long 0
