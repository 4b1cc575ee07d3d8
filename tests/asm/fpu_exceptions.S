# x87 and SSE exceptions and availability: #NM by CR0.TS, EM and MP; #MF by the next waiting instruction, or IRQ 13 with
# CR0.NE clear; #XM and MXCSR (SDM volume 1, 8.6 and 8.7, 11.5; volume 3, 2.5 and 13.1).
.include "runtime.inc"
SUITE "fpu_exceptions", 32

CELL = SCRATCH + 0x100
CW_ALL_MASKED = 0x37F
IE = 1
ZE = 4
IRQ13 = 0x75

.text
main:
    mov eax, cr4
    or eax, CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, eax
    call availability
    call x87_faults
    SKIP_ON_TCG "IRQ 13: QEMU 7.2 aborts with an assertion of its own", 1f
    call irq13
1:  call sse_faults
    ret

.macro CR0_BITS set
    mov eax, cr0
    and eax, ~(CR0_MP | CR0_EM | CR0_TS | CR0_NE)
    or eax, \set
    mov cr0, eax
.endm
.macro WITH name, bits, vector, instruction:vararg
    CR0_BITS "\bits"
    TRY
1:  \instruction
    END_TRY
    CR0_BITS CR0_NE
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, -1, 1b
.endif
.endm
availability:
    fninit
    WITH "x87 with TS", CR0_TS, V_NM, fld1
    WITH "x87 with EM", CR0_EM, V_NM, fld1
    WITH "FNINIT with EM", CR0_EM, V_NM, fninit
    WITH "WAIT with TS alone", CR0_TS, NONE, fwait
    WITH "WAIT with MP alone", CR0_MP, NONE, fwait
    WITH "WAIT with MP and TS", "CR0_MP | CR0_TS", V_NM, fwait
    WITH "WAIT with EM alone", CR0_EM, NONE, fwait
    WITH "FNSTSW with TS", CR0_TS, V_NM, fnstsw ax
    WITH "MMX with TS", CR0_TS, V_NM, paddb mm0, mm1
    WITH "MMX with EM", CR0_EM, V_UD, paddb mm0, mm1
    TCG_DIFFERS "SDM 2 EMMS: #UD when CR0.EM is set"
    WITH "EMMS with EM", CR0_EM, V_UD, emms
    WITH "SSE with TS", CR0_TS, V_NM, addps xmm0, xmm1
    WITH "SSE with EM", CR0_EM, V_UD, addps xmm0, xmm1
    TCG_DIFFERS "SDM 3 13.1: #UD by EM comes before #NM by TS"
    WITH "SSE with EM and TS: #UD comes first", "CR0_EM | CR0_TS", V_UD, addps xmm0, xmm1
    WITH "LDMXCSR with TS", CR0_TS, V_NM, ldmxcsr [CELL]
    WITH "FXSAVE with TS", CR0_TS, V_NM, fxsave [SCRATCH]
    WITH "FXSAVE with EM", CR0_EM, V_NM, fxsave [SCRATCH]
    WITH "MOVNTI with TS is no SSE instruction of registers", CR0_TS, NONE, movnti [CELL], eax
    WITH "PREFETCHT0 with EM", CR0_EM, NONE, prefetcht0 [CELL]
    WITH "SFENCE with EM and TS", "CR0_EM | CR0_TS", NONE, sfence
    WITH "PAUSE with EM and TS", "CR0_EM | CR0_TS", NONE, pause
    WITH "CRC32 with EM and TS", "CR0_EM | CR0_TS", NONE, crc32 eax, ebx
    WITH "POPCNT with EM and TS", "CR0_EM | CR0_TS", NONE, popcnt eax, ebx
    # CLTS.
    CR0_BITS CR0_TS
    TRY
    clts
    fld1
    fstp st
    END_TRY
    EXPECT "x87 after CLTS", NONE
    CR0_BITS CR0_NE
    mov eax, cr4
    and eax, ~CR4_OSFXSR
    mov cr4, eax
    TRY
1:  addps xmm0, xmm1
    END_TRY
    EXPECT "SSE without OSFXSR", V_UD, -1, 1b
    TRY
    paddb mm0, mm1
    emms
    END_TRY
    EXPECT "MMX without OSFXSR", NONE
    mov eax, cr4
    or eax, CR4_OSFXSR
    mov cr4, eax
    TRY
1:  .byte 0xC5, 0xF8, 0x58, 0xC1 # VADDPS XMM0, XMM0, XMM1
    END_TRY
    EXPECT "AVX without OSXSAVE", V_UD, -1, 1b
    # MMX sets the tags, EMMS clears them.
    fninit
    pxor mm0, mm0
    fnstenv [SCRATCH]
    mov ax, [SCRATCH + 8]
    movzx eax, ax
    mov ecx, eax
    shr ecx, 1
    and ecx, eax
    and ecx, 0x5555
    CHECK "an MMX instruction marks no register empty", ecx, 0
    and eax, 3
    TCG_DIFFERS "SDM 1 9.5.1: an MMX result has an exponent of all ones, which is special"
    CHECK "its own register is special", eax, 2
    emms
    fnstenv [SCRATCH]
    mov ax, [SCRATCH + 8]
    movzx eax, ax
    CHECK "EMMS empties them", eax, 0xFFFF
    ret

.macro CONTROL word
    mov word ptr [CELL], \word
    fldcw [CELL]
.endm
x87_faults:
    CR0_BITS CR0_NE
    # Masked: the result, and a flag.
    fninit
    TRY
    fld1
    fldz
    fdivp
    fnstsw ax
    END_TRY
    EXPECT "division by zero, masked", NONE
    and eax, 0x80FF
    CHECK "sets ZE and no summary", eax, ZE
    # Unmasked: the fault comes with the next waiting instruction.
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    TRY
    fld1
    fldz
2:  fdivp
    mov ecx, 1
    fnstsw ax
    .byte 0x90
1:  fld1
    END_TRY
    fnclex
    TCG_DIFFERS "SDM 1 8.7: every waiting instruction raises it; TCG only FWAIT"
    EXPECT "division by zero, unmasked: the next waiting instruction", V_MF, -1, 1b
    CHECK32 "instructions between were executed", rec_rcx, 1
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    TRY
    fld1
    fldz
    fdivp
1:  fwait
    END_TRY
    EXPECT "WAIT with an exception pending", V_MF, -1, 1b
    # What does not wait.
    TRY
    fnstsw ax
    fnstcw [CELL + 4]
    fnstenv [SCRATCH]
    fnsave [SCRATCH]
    fninit
    END_TRY
    EXPECT "FNSTSW, FNSTCW, FNSTENV, FNSAVE and FNINIT do not wait", NONE
    and eax, 0x80FF
    CHECK "the status has ES, B and ZE", eax, (0x8080 | ZE)
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    TRY
    fld1
    fldz
    fdivp
    fnclex
    fwait
    END_TRY
    EXPECT "FNCLEX clears it", NONE
    # MMX waits too.
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    TRY
    fld1
    fldz
    fdivp
1:  movd mm0, eax
    END_TRY
    fnclex
    TCG_DIFFERS "SDM 1 8.7"
    EXPECT "MMX with an exception pending", V_MF, -1, 1b
    # SSE does not, nor FXSAVE.
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    TRY
    fld1
    fldz
    fdivp
    addps xmm0, xmm1
    fxsave [SCRATCH]
    END_TRY
    fnclex
    EXPECT "SSE and FXSAVE with an exception pending", NONE
    # By FLDCW and FLDENV: unmasking one whose flag is set.
    fninit
    TRY
    fld1
    fldz
    fdivp
    CONTROL CW_ALL_MASKED & ~ZE
1:  fld1
    END_TRY
    fnclex
    TCG_DIFFERS "SDM 1 8.7"
    EXPECT "FLDCW that unmasks a flag that is set", V_MF, -1, 1b
    # A stack fault: IE with SF.
    fninit
    CONTROL CW_ALL_MASKED & ~IE
    TRY
    fstp dword ptr [CELL + 8]
1:  fwait
    END_TRY
    fnstsw ax
    TCG_DIFFERS "SDM 1 8.5.1: IE and SF; TCG knows no stack faults"
    EXPECT "FSTP of an empty register", V_MF, -1, 1b
    and eax, 0x00FF
    TCG_DIFFERS "SDM 1 8.5.1"
    CHECK "IE, SF and ES", eax, 0xC1
    fnclex
    # The pointer to the instruction that caused it.
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    TRY
    fld1
    fldz
2:  fdivp
1:  fwait
    END_TRY
    fnstenv [SCRATCH]
    TCG_DIFFERS "SDM 1 8.1.8: TCG keeps no pointers in 7.2"
    CHECK_AT "FIP is the division's", (SCRATCH + 12), 2b
    TCG_DIFFERS "SDM 1 8.1.9"
    CHECK_BITS "FOP is its opcode", (SCRATCH + 18), 0x7FF, 0x6F9
    fninit
    RESTORE_VECTORS
    ret

# CR0.NE clear: FERR# becomes IRQ 13, which a write to port F0h takes back. The slave controller's line 5.
irq13:
    mov al, 0x11
    out 0x20, al
    out 0xA0, al
    mov al, 0x68
    out 0x21, al
    mov al, 0x70
    out 0xA1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xA1, al
    mov al, 1
    out 0x21, al
    out 0xA1, al
    mov al, 0xFB # The cascade alone.
    out 0x21, al
    mov al, 0xDF # Line 13 alone.
    out 0xA1, al
    CR0_BITS 0
    SET_VECTOR IRQ13, CODE32, irq13_handler, GATE_INTERRUPT32
    fninit
    CONTROL CW_ALL_MASKED & ~ZE
    mov dword ptr [irq13_count], 0
    TRY
    sti
    fld1
    fldz
    fdivp
    fwait # The processor stops here until the interrupt has come.
    nop
    nop
    cli
    END_TRY
    EXPECT "CR0.NE clear: IRQ 13 in place of #MF", NONE
    CHECK32 "once", irq13_count, 1
    TRY
    sti
    fninit
    fld1
    fwait
    nop
    cli
    END_TRY
    EXPECT "no second one after FNCLEX and port F0h", NONE
    CHECK32 "still once", irq13_count, 1
    mov al, 0xFF
    out 0x21, al
    out 0xA1, al
    CR0_BITS CR0_NE
    RESTORE_VECTORS
    ret
irq13_handler:
    inc dword ptr [irq13_count]
    push eax
    xor eax, eax
    out 0xF0, al
    fnclex
    mov al, 0x20
    out 0xA0, al
    out 0x20, al
    pop eax
    iretd
.bss
irq13_count: .long 0
.text

.macro MXCSR value
    mov dword ptr [CELL], \value
    ldmxcsr [CELL]
.endm
sse_faults:
    xorps xmm1, xmm1
    mov eax, 0x3F800000
    movd xmm0, eax
    MXCSR 0x1F80
    TRY
    divss xmm0, xmm1
    stmxcsr [CELL]
    END_TRY
    EXPECT "DIVSS by zero, masked", NONE
    CHECK_BITS "sets ZE", CELL, 0x3F, ZE
    TCG_DIFFERS_BEGIN "SDM 1 11.5.2: TCG raises no SIMD floating-point exceptions and takes any MXCSR"
    mov eax, 0x3F800000
    movd xmm0, eax
    MXCSR 0x1D80
    TRY
1:  divss xmm0, xmm1
    END_TRY
    EXPECT "DIVSS by zero, unmasked: #XM at once", V_XM, -1, 1b
    movd eax, xmm0
    CHECK "its destination is unchanged", eax, 0x3F800000
    stmxcsr [CELL]
    CHECK_BITS "and ZE is set", CELL, 0x3F, ZE
    mov eax, cr4
    and eax, ~CR4_OSXMMEXCPT
    mov cr4, eax
    TRY
1:  divss xmm0, xmm1
    END_TRY
    EXPECT "without OSXMMEXCPT: #UD", V_UD, -1, 1b
    mov eax, cr4
    or eax, CR4_OSXMMEXCPT
    mov cr4, eax
    # A packed operation with one lane that faults leaves all lanes.
    mov eax, 0x3F800000
    movd xmm0, eax
    shufps xmm0, xmm0, 0
    movaps xmm1, xmm0
    xor eax, eax
    movd xmm2, eax
    movss xmm1, xmm2
    TRY
1:  divps xmm0, xmm1
    END_TRY
    EXPECT "DIVPS with one lane that faults", V_XM, -1, 1b
    movd eax, xmm0
    CHECK "its lanes are unchanged", eax, 0x3F800000
    # Setting a flag together with its mask clear by LDMXCSR raises nothing.
    TRY
    MXCSR (0x1D80 | ZE)
    addss xmm0, xmm0
    END_TRY
    EXPECT "a flag that was set by LDMXCSR raises nothing", NONE
    TRY
    mov dword ptr [CELL], 0x10000
1:  ldmxcsr [CELL]
    END_TRY
    EXPECT "LDMXCSR with a reserved bit", V_GP, 0, 1b
    TCG_DIFFERS_END
    MXCSR 0x1F80
    TRY
    mov ebx, SCRATCH + 8
1:  movaps xmm0, [ebx]
    END_TRY
    EXPECT "MOVAPS at an address that is not aligned", V_GP, 0, 1b
    TRY
    mov ebx, SCRATCH + 8
1:  addps xmm0, [ebx]
    END_TRY
    TCG_DIFFERS "SDM 3 6.15 (#GP): operands of 16 bytes have to be aligned: #GP; TCG 7.2 does not check"
    EXPECT "ADDPS with an operand that is not aligned", V_GP, 0, 1b
    TRY
    mov ebx, SCRATCH + 8
1:  fxsave [ebx]
    END_TRY
    EXPECT "FXSAVE at an address that is not aligned", V_GP, 0, 1b
    # Comparisons: UCOMISS minds signalling NaNs alone.
    mov eax, 0x7FC00000
    movd xmm0, eax
    MXCSR 0x1F00 # IE unmasked.
    TRY
    ucomiss xmm0, xmm1
    END_TRY
    EXPECT "UCOMISS of a quiet NaN", NONE
    TRY
1:  comiss xmm0, xmm1
    END_TRY
    TCG_DIFFERS "SDM 1 11.5.2"
    EXPECT "COMISS of a quiet NaN, unmasked", V_XM, -1, 1b
    MXCSR 0x1F80
    # Alignment check: level 3 with AC and CR0.AM.
    mov eax, cr0
    or eax, CR0_AM
    mov cr0, eax
    TRY
    RING3 FLAG_AC | 2
1:  mov eax, [SCRATCH + 1]
    END_TRY
    TCG_DIFFERS "SDM 3 6.15 (#AC): TCG 7.2 has none"
    EXPECT "alignment check at level 3", V_AC, 0, 1b
    TRY
    RING3 FLAG_AC | 2
    mov al, [SCRATCH + 1]
    mov ax, [SCRATCH + 2]
    fld dword ptr [SCRATCH + 4]
    END_TRY
    EXPECT "aligned accesses", NONE
    TRY
    RING3 FLAG_AC | 2
1:  fld qword ptr [SCRATCH + 4]
    END_TRY
    TCG_DIFFERS "SDM 3 6.15 (#AC), table 6-7: 8 bytes for double precision"
    EXPECT "FLD of a double on a boundary of four", V_AC, 0, 1b
    TRY
    push FLAG_AC | 2
    popfd
    mov eax, [SCRATCH + 1]
    push 2
    popfd
    END_TRY
    EXPECT "level 0 is not checked", NONE
    mov eax, cr0
    and eax, ~CR0_AM
    mov cr0, eax
    TRY
    RING3 FLAG_AC | 2
    mov eax, [SCRATCH + 1]
    END_TRY
    EXPECT "nor level 3 without CR0.AM", NONE
    ret
