# Call gates of 32-bit protected mode (SDM volume 3, 5.8.2 to 5.8.6): privilege, stack switch, parameters, and the way back.
.include "runtime.inc"
SUITE "call_gates", 32

GATE = SPARE
CONFORMING = SPARE + 8
ABSENT_CODE = SPARE + 0x10
CODE_OF_1 = SPARE + 0x18
STACK_OF_1 = SPARE + 0x20
CODE_OF_3 = SPARE + 0x28
SMALL_STACK = SPARE + 0x30
SHORT_CODE = SPARE + 0x38
STACK16 = SPARE + 0x40
ABSENT_STACK = SPARE + 0x48
FOR_ALL = GATE_CALL32 | ACCESS_DPL3
OUTSIDE = 0x1000

.text
main:
    SET_SEGMENT CONFORMING, 0, 0xFFFFF, ACCESS_CONFORMING, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT ABSENT_CODE, 0, 0xFFFFF, 0x1B, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CODE_OF_1, 0, 0xFFFFF, ACCESS_CODE | 0x20, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT STACK_OF_1, 0, 0xFFFFF, ACCESS_DATA | 0x20, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CODE_OF_3, 0, 0xFFFFF, ACCESS_CODE | ACCESS_DPL3, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT SMALL_STACK, 0, 0x7, ACCESS_DATA | 0x20, FLAGS_32
    SET_SEGMENT SHORT_CODE, 0, 0xFFF, ACCESS_CODE, FLAGS_32
    SET_SEGMENT STACK16, 0, 0xFFFF, ACCESS_DATA, FLAGS_16
    SET_SEGMENT ABSENT_STACK, 0, 0xFFFFF, 0x33, FLAGS_32 | FLAGS_PAGES
    call same_level
    call inwards
    call parameters
    call sixteen_bits
    call conforming
    call refusals
    call bad_stacks
    ret

# What a gate leads to: it looks around and returns, dropping `probe_drop` bytes of parameters by the routine chosen.
probe:
    mov [probe_esp], esp
    mov [probe_ss], ss
    mov [probe_cs], cs
    pushfd
    pop dword ptr [probe_flags]
    push eax
    push ecx
    push edx
    mov eax, ss
    lar eax, eax
    mov edx, [probe_esp]
    bt eax, 22
    jc 1f
    movzx edx, dx
1:  xor ecx, ecx
2:  mov eax, ss:[edx + ecx * 4]
    mov [probe_frame + ecx * 4], eax
    inc ecx
    cmp ecx, 12
    jb 2b
    pop edx
    pop ecx
    pop eax
    ret
probe_return:
    call probe
    retf
probe_return8:
    call probe
    retf 8
probe_return124:
    call probe
    retf 31 * 4
probe_end:
    call probe
    int 0xF0

.bss
probe_esp: .long 0
probe_ss: .long 0
probe_cs: .long 0
probe_flags: .long 0
probe_frame: .space 48
.text

same_level:
    SET_GATE GATE, CODE32, probe_return, GATE_CALL32, 2
    TRY
    mov ebx, esp
    stc
    call GATE:0xFFFFFFFF
1:  sub ebx, esp
    END_TRY
    EXPECT "a call through a gate without a change of level", NONE
    CHECK_AT "pushes EIP (below it the CALL in the probe)", (probe_frame + 4), 1b
    CHECK_BITS "and CS", (probe_frame + 8), 0xFFFF, CODE32
    CHECK "and comes back level: nothing was copied", ebx, 0
    CHECK_BITS "flags are untouched", probe_flags, FLAG_CF, FLAG_CF
    # JMP through a gate: no frame.
    SET_GATE GATE, CODE32, probe_end, GATE_CALL32, 0
    TRY
    mov ebx, esp
    jmp GATE:0
    END_TRY
    EXPECT "a jump through a gate", NONE
    sub ebx, [probe_esp]
    CHECK "pushes nothing (four bytes are the CALL in the probe)", ebx, 4
    SET_GATE GATE, CODE32, probe_end, FOR_ALL, 0
    TRY
    RING3
1:  jmp GATE:0
    END_TRY
    EXPECT "a jump through a gate does not change the level", V_GP, CODE32, 1b
    # An indirect call takes the gate as well.
    SET_GATE GATE, CODE32, probe_end, FOR_ALL, 0
    mov word ptr [SCRATCH + 4], GATE
    TRY
    call fword ptr [SCRATCH]
    END_TRY
    EXPECT "an indirect far call through a gate", NONE
    ret

inwards:
    SET_GATE GATE, CODE32, probe_return, FOR_ALL, 0
    TRY
    RING3
    stc
    call (GATE | 3):0
1:  mov ebx, esp
    mov ecx, cs
    mov edx, ss
    END_TRY
    EXPECT "a call from level 3 to level 0, and back", NONE
    CHECK32 "in the gate: CS", probe_cs, CODE32
    CHECK32 "in the gate: SS is the TSS's", probe_ss, DATA32
    CHECK32 "in the gate: sixteen bytes of frame (and the CALL's)", probe_esp, (EVENT_STACK - 20)
    CHECK_AT "frame: EIP", (probe_frame + 4), 1b
    CHECK_BITS "frame: CS", (probe_frame + 8), 0xFFFF, USER_CODE32
    CHECK32 "frame: ESP", (probe_frame + 12), USER_STACK
    CHECK_BITS "frame: SS", (probe_frame + 16), 0xFFFF, USER_DATA
    CHECK_BITS "flags go in", probe_flags, FLAG_CF, FLAG_CF
    CHECK "back: ESP", ebx, USER_STACK
    CHECK "back: CS", ecx, USER_CODE32
    CHECK "back: SS", edx, USER_DATA
    # By way of level 1: RPL of the gate's own selector is checked against its DPL alone.
    mov dword ptr [tss32 + 12], EVENT_STACK - 0x400
    mov dword ptr [tss32 + 16], STACK_OF_1 | 1
    SET_GATE GATE, CODE_OF_1, probe_return, FOR_ALL, 0
    TRY
    RING3
    call GATE:0
    END_TRY
    EXPECT "a call to level 1, and back", NONE
    CHECK32 "CS", probe_cs, (CODE_OF_1 | 1)
    CHECK32 "SS", probe_ss, (STACK_OF_1 | 1)
    CHECK32 "ESP", probe_esp, (EVENT_STACK - 0x400 - 20)
    ret

parameters:
    SET_GATE GATE, CODE32, probe_return8, FOR_ALL, 2
    TRY
    RING3
    push 0x11111111
    push 0x22222222
    call GATE:0
1:  mov ebx, esp
    END_TRY
    EXPECT "two parameters", NONE
    CHECK32 "ESP is 24 bytes lower (and the CALL's four)", probe_esp, (EVENT_STACK - 28)
    CHECK_AT "EIP", (probe_frame + 4), 1b
    CHECK32 "the last parameter", (probe_frame + 12), 0x22222222
    CHECK32 "the first parameter", (probe_frame + 16), 0x11111111
    CHECK32 "ESP of the caller, with its parameters", (probe_frame + 20), (USER_STACK - 8)
    CHECK "RETF 8 drops them outside", ebx, USER_STACK
    SET_GATE GATE, CODE32, probe_return124, FOR_ALL, 31
    TRY
    RING3
    mov ecx, 31
1:  push ecx
    loop 1b
    call GATE:0
    mov ebx, esp
    END_TRY
    EXPECT "thirty-one parameters", NONE
    CHECK32 "ESP", probe_esp, (EVENT_STACK - 20 - 124)
    CHECK32 "the last pushed lies lowest", (probe_frame + 12), 1
    CHECK32 "the next", (probe_frame + 16), 2
    CHECK "dropped", ebx, USER_STACK
    # The upper bits of the count do not count.
    SET_GATE GATE, CODE32, probe_return, FOR_ALL, 0xE0
    TRY
    RING3
    call GATE:0
    END_TRY
    EXPECT "bits 5 to 7 of the parameter count are ignored", NONE
    CHECK32 "no parameters", probe_esp, (EVENT_STACK - 20)
    # Parameters that lie behind the caller's stack limit: #SS(0), nothing has changed.
    SET_SEGMENT SMALL_STACK, SCRATCH, 0xFFF, ACCESS_DATA | ACCESS_DPL3, FLAGS_32
    SET_GATE GATE, CODE32, probe_return, FOR_ALL, 2
    TRY
    RING3
    mov eax, SMALL_STACK | 3
    mov ss, eax
    mov esp, 0xFFC
1:  call GATE:0
    END_TRY
    TCG_DIFFERS_BEGIN "SDM 2 CALL: the copy is checked against the limit; TCG does not"
    EXPECT "parameters that lie behind the caller's limit", V_SS, 0, 1b
    CHECK32 "ESP is unchanged", rec_rsp, 0xFFC
    CHECK32 "SS is unchanged", rec_ss, (SMALL_STACK | 3)
    TCG_DIFFERS_END
    ret

sixteen_bits:
    SET_GATE GATE, CODE32, low_probe_end, GATE_CALL16 | ACCESS_DPL3, 3
    SKIP_ON_TCG "the high half of a 16-bit gate's offset, which does not count, would be used by TCG (SDM 3 5.8.3)", 1f
    mov word ptr [gdt + GATE + 6], 0x5555
1:
    TRY
    RING3
    push word ptr 0x1111
    push word ptr 0x2222
    push word ptr 0x3333
    call GATE:0
1:
    END_TRY
    EXPECT "a 16-bit gate with three parameters", NONE
    CHECK32 "ESP is fourteen bytes lower", probe_esp, (EVENT_STACK - 14 - 4)
    CHECK_BITS "CS", (probe_frame + 4 + 2), 0xFFFF, USER_CODE32
    CHECK32 "the parameters", (probe_frame + 4 + 4), 0x22223333
    CHECK_BITS "the first of them", (probe_frame + 4 + 8), 0xFFFF, 0x1111
    CHECK_BITS "SP", (probe_frame + 4 + 10), 0xFFFF, (USER_STACK - 6) & 0xFFFF
    CHECK_BITS "SS", (probe_frame + 4 + 12), 0xFFFF, USER_DATA
    mov dword ptr [tss32 + 4], 0xABCD0FF0
    mov dword ptr [tss32 + 8], STACK16
    SET_GATE GATE, CODE32, probe_return, FOR_ALL, 0
    TRY
    RING3
    call GATE:0
    END_TRY
    mov dword ptr [tss32 + 4], EVENT_STACK
    mov dword ptr [tss32 + 8], DATA32
    EXPECT "a 16-bit inner stack", NONE
    CHECK_BITS "SP", probe_esp, 0xFFFF, (0xFF0 - 20)
    ret
.pushsection .low16, "ax"
MODE 32
low_probe_end:
    jmp probe_end
.popsection

conforming:
    SET_GATE GATE, CONFORMING, probe_return, FOR_ALL, 2
    TRY
    RING3
    call GATE:0
    mov ebx, esp
    END_TRY
    EXPECT "a gate to conforming code of level 0", NONE
    TCG_DIFFERS "SDM 3 5.8.4: a conforming target does not change CPL; TCG writes its DPL to CS.RPL"
    CHECK32 "the level stays", probe_cs, (CONFORMING | 3)
    CHECK32 "the stack stays, nothing is copied", probe_esp, (USER_STACK - 12)
    TRY
    RING3
    jmp GATE:0
    END_TRY
    SET_GATE GATE, CONFORMING, probe_end, FOR_ALL, 0
    TRY
    RING3
    jmp GATE:0
    END_TRY
    EXPECT "a jump through a gate to conforming code", NONE
    CHECK32 "its level stays as well", probe_cs, (CONFORMING | 3)
    ret

.macro REFUSED name, ring, rpl, target, access, vector, error
    SET_GATE GATE, "\target", probe_end, "\access", 0
    TRY
.if \ring == 3
    RING3
.endif
1:  call (GATE | \rpl):0
    END_TRY
    EXPECT "\name", \vector, \error, 1b
.endm
refusals:
    REFUSED "the gate's DPL is below CPL", 3, 0, CODE32, GATE_CALL32, V_GP, GATE
    REFUSED "the gate's DPL is below RPL", 0, 3, CODE32, GATE_CALL32, V_GP, GATE
    REFUSED "the gate is not present", 0, 0, CODE32, 0x0C, V_NP, GATE
    REFUSED "level is asked before presence", 3, 3, CODE32, 0x0C, V_GP, GATE
    REFUSED "the target is null", 0, 0, 0, GATE_CALL32, V_GP, 0
    REFUSED "the target is outside the GDT", 0, 0, OUTSIDE, GATE_CALL32, V_GP, OUTSIDE
    REFUSED "the target is data", 0, 0, DATA32, GATE_CALL32, V_GP, DATA32
    REFUSED "the target is a TSS", 0, 0, TASK32, GATE_CALL32, V_GP, TASK32
    REFUSED "the target is not present", 0, 0, ABSENT_CODE, GATE_CALL32, V_NP, ABSENT_CODE
    REFUSED "the target's level is outer", 0, 0, CODE_OF_3, GATE_CALL32, V_GP, CODE_OF_3
    SKIP_ON_TCG "a gate to beyond the limit: TCG does not check, and would run what is there (SDM 2 CALL)", 3f
    REFUSED "the target is beyond the limit", 0, 0, SHORT_CODE, GATE_CALL32, V_GP, 0
3:
    SET_GATE GATE, CODE32, probe_return, FOR_ALL, 0
    # The way back can be refused too: a return to level 0's own code from an inner frame is just a return.
    TRY
    RING3
    push 0
    push offset 2f
1:  retf
2:
    END_TRY
    EXPECT "RETF to a null selector at level 3", V_GP, 0, 1b
    ret

.macro BAD_STACK name, selector, vector, error
    mov dword ptr [tss32 + 12], EVENT_STACK - 0x400
    mov dword ptr [tss32 + 16], \selector
    TRY
    RING3
1:  call GATE:0
    END_TRY
    EXPECT "\name", \vector, \error, 1b
.endm
bad_stacks:
    SET_GATE GATE, CODE_OF_1, probe_end, FOR_ALL, 0
    BAD_STACK "SS1 null", 0, V_TS, 0
    BAD_STACK "SS1 with RPL 0", STACK_OF_1, V_TS, STACK_OF_1
    BAD_STACK "SS1 of level 0", DATA32 | 1, V_TS, DATA32
    BAD_STACK "SS1 of code", CODE_OF_1 | 1, V_TS, CODE_OF_1
    BAD_STACK "SS1 outside the GDT", OUTSIDE | 1, V_TS, OUTSIDE
    TCG_DIFFERS "SDM 2 CALL: #SS(selector) when the new stack segment is not present; TCG has #TS"
    BAD_STACK "SS1 not present is #SS", ABSENT_STACK | 1, V_SS, ABSENT_STACK
    SET_SEGMENT SMALL_STACK, 0, 0x7, ACCESS_DATA | 0x20, FLAGS_32
    TCG_DIFFERS_BEGIN "SDM 2 CALL: #SS(selector) when the new stack has no room; TCG checks no limits"
    BAD_STACK "SS1 without room", SMALL_STACK | 1, V_SS, SMALL_STACK
    CHECK32 "the caller's ESP is unchanged", rec_rsp, USER_STACK
    TCG_DIFFERS_END
    ret
