# MSRs, CPUID, XSAVE and UMIP: what may be written, what has to agree with what, and what level 3 may not ask
# (SDM volume 2; volume 3, 2.2.1, 2.5; volume 4; volume 1, chapter 13).
.include "runtime.inc"
SUITE "model_specific", 64

MSR_TSC = 0x10
MSR_APIC_BASE = 0x1B
MSR_TSC_ADJUST = 0x3B
MSR_PAT = 0x277
MSR_MTRR_DEF_TYPE = 0x2FF
MSR_LSTAR = 0xC0000082
MSR_FMASK = 0xC0000084
MSR_FS_BASE = 0xC0000100
MSR_KERNEL_GS_BASE = 0xC0000102
MSR_TSC_AUX = 0xC0000103
SYSENTER_EIP = 0x176
AREA = SCRATCH + 0x1000
HEADER = AREA + 512

.text
main:
    call registers
    call time_stamps
    call control_registers
    call cpuid_leaves
    call xsave_setup
    call xsave_area
    call umip
    ret

.macro WRITE name, index, high, low, vector
    TRY
    mov ecx, \index
    mov edx, \high
    mov eax, \low
1:  wrmsr
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, 0, 1b
.endif
.endm
registers:
    TRY
    mov ecx, 0x1FFFFFFF
    mov eax, 0x55
1:  rdmsr
    END_TRY
    TCG_DIFFERS "SDM 2 RDMSR: #GP(0) for a reserved or unimplemented MSR; TCG reads 0"
    EXPECT "RDMSR of one that is not", V_GP, 0, 1b
    TCG_DIFFERS "SDM 2 WRMSR: #GP(0) for a reserved or unimplemented MSR; TCG ignores it"
    WRITE "WRMSR of one that is not", 0x1FFFFFFF, 0, 0, V_GP
    mov ecx, MSR_EFER
    rdmsr
    mov ebx, eax
    CHECK "EFER has LME and LMA", rax, (EFER_LME | EFER_LMA)
    TCG_DIFFERS_BEGIN "SDM 3 2.2.1: reserved bits of EFER are #GP(0); TCG ignores them"
    WRITE "EFER with bit 1", MSR_EFER, 0, (EFER_LME | EFER_LMA | 2), V_GP
    WRITE "EFER with bit 32", MSR_EFER, 1, (EFER_LME | EFER_LMA), V_GP
    WRITE "EFER with bit 9", MSR_EFER, 0, (EFER_LME | EFER_LMA | 0x200), V_GP
    WRITE "EFER without LME while paging", MSR_EFER, 0, EFER_LMA, V_GP
    TCG_DIFFERS_END
    mov ecx, MSR_EFER
    mov eax, EFER_LME | EFER_LMA
    xor edx, edx
    wrmsr
    WRITE "EFER: LMA is read-only and may be written as it likes", MSR_EFER, 0, EFER_LME, NONE
    mov ecx, MSR_EFER
    rdmsr
    CHECK "LMA stays", rax, (EFER_LME | EFER_LMA)
    TCG_DIFFERS_BEGIN "SDM 2 WRMSR: #GP(0) for addresses that are not canonical; TCG takes them"
    WRITE "FS_BASE: not canonical", MSR_FS_BASE, 0x8000, 0, V_GP
    WRITE "KERNEL_GS_BASE: not canonical", MSR_KERNEL_GS_BASE, 0xFFFF7FFF, 0, V_GP
    WRITE "LSTAR: not canonical", MSR_LSTAR, 0x8000, 0, V_GP
    WRITE "SYSENTER_EIP: not canonical", SYSENTER_EIP, 0x8000, 0, V_GP
    TCG_DIFFERS_END
    WRITE "LSTAR: canonical", MSR_LSTAR, 0xFFFF8000, 0x10, NONE
    WRITE "FS_BASE: the lower half's end", MSR_FS_BASE, 0x7FFF, 0xFFFFFFFF, NONE
    mov ecx, MSR_FS_BASE
    rdmsr
    CHECK "FS_BASE reads back: high", rdx, 0x7FFF
    CHECK "FS_BASE reads back: low", rax, 0xFFFFFFFF
    WRITE "FS_BASE: 0", MSR_FS_BASE, 0, 0, NONE
    TCG_DIFFERS_BEGIN "SDM 3 11.12.4 and 11.11.2.1: reserved types are #GP(0); TCG takes them"
    WRITE "PAT with a reserved type", MSR_PAT, 0x00070406, 0x00070402, V_GP
    WRITE "PAT with bits above the type", MSR_PAT, 0x00070406, 0x08070406, V_GP
    WRITE "MTRR_DEF_TYPE with a reserved type", MSR_MTRR_DEF_TYPE, 0, 0x802, V_GP
    TCG_DIFFERS_END
    WRITE "PAT as at reset", MSR_PAT, 0x00070406, 0x00070406, NONE
    TCG_DIFFERS "SDM 3 10.4.4: bits 7 to 0 of APIC_BASE are reserved"
    WRITE "APIC_BASE with a reserved bit", MSR_APIC_BASE, 0, 0xFEE00901, V_GP
    mov ecx, MSR_APIC_BASE
    rdmsr
    and eax, 0xFFFFF900
    CHECK "APIC_BASE: where it is, on, the bootstrap processor's", rax, 0xFEE00900
    # RDMSR clears the upper halves of RAX and RDX, and RCX's upper half is ignored.
    TRY
    mov rax, -1
    mov rdx, -1
    mov rcx, 0xFFFFFFFF00000000 | MSR_FMASK
    rdmsr
    mov rbx, rax
    or rbx, rdx
    shr rbx, 32
    END_TRY
    EXPECT "RDMSR with an upper half in RCX", NONE
    CHECK "no upper halves", rbx, 0
    ret

time_stamps:
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov rbx, rax
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, rbx
    sar rax, 63
    CHECK "the time stamp does not go back", rax, 0
    WRITE_MSR MSR_TSC, 0x100, 0
    rdtsc
    sub edx, 0x100
    TCG_DIFFERS "SDM 3 17.17.3: the counter can be written; TCG ignores it"
    CHECK "the time stamp is what was written", rdx, 0
    WRITE_MSR MSR_TSC_AUX, 0, 0x1234
    rdtscp
    CHECK "RDTSCP gives TSC_AUX", rcx, 0x1234
    TCG_DIFFERS "SDM 4: the upper half of TSC_AUX is reserved; TCG takes it"
    WRITE "TSC_AUX with an upper half", MSR_TSC_AUX, 1, 0, V_GP
    WRITE_MSR MSR_TSC_AUX, 0, 0
    TRY
    RING3
    rdtsc
    END_TRY
    EXPECT "RDTSC at level 3", NONE
    mov rax, cr4
    or eax, CR4_TSD
    mov cr4, rax
    TRY
    RING3
1:  rdtsc
    END_TRY
    EXPECT "RDTSC at level 3 with TSD", V_GP, 0, 1b
    TRY
    RING3
1:  rdtscp
    END_TRY
    EXPECT "RDTSCP at level 3 with TSD", V_GP, 0, 1b
    TRY
    rdtsc
    END_TRY
    EXPECT "RDTSC at level 0 with TSD", NONE
    mov rax, cr4
    and eax, ~CR4_TSD
    mov cr4, rax
    TRY
    RING3
    xor ecx, ecx
1:  rdpmc
    END_TRY
    EXPECT "RDPMC at level 3 without PCE", V_GP, 0, 1b
    ret

.macro CONTROL name, register, value, vector
    TRY
    mov rax, \value
1:  mov \register, rax
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, 0, 1b
.endif
.endm
control_registers:
    SKIP_ON_TCG "reserved bits and combinations of CR0 and CR4, which TCG takes (SDM 2 MOV to CR: #GP(0))", 2f
    CONTROL "CR0 with an upper half", cr0, 0x100000000 | 0x80000011, V_GP
    CONTROL "CR0 with PG and without PE", cr0, 0x80000010, V_GP
    CONTROL "CR0 with NW and without CD", cr0, 0xA0000011, V_GP
    CONTROL "CR0 without PG in 64-bit mode", cr0, 0x11, V_GP
    CONTROL "CR4 without PAE", cr4, 0x600, V_GP
    CONTROL "CR4 with bit 63", cr4, 0x8000000000000620, V_GP
    CONTROL "CR4 with bit 31", cr4, 0x80000620, V_GP
    CONTROL "CR4 with VMXE, which is not announced", cr4, 0x2620, V_GP
    CONTROL "CR8 with bit 4", cr8, 0x10, V_GP
2:  CONTROL "CR8", cr8, 9, NONE
    mov rax, cr8
    CHECK "CR8 reads back", rax, 9
    mov eax, [0xFEE00080]
    CHECK "CR8 is the upper half of the local APIC's TPR", rax, 0x90
    CONTROL "CR8: 0", cr8, 0, NONE
    TRY
1:  .byte 0x0F, 0x20, 0xC8 # MOV RAX, CR1
    END_TRY
    EXPECT "CR1", V_UD, -1, 1b
    TRY
1:  .byte 0x0F, 0x20, 0xE8 # MOV RAX, CR5
    END_TRY
    EXPECT "CR5", V_UD, -1, 1b
    # MOV to CR ignores the mod field: a "memory" form is the register.
    TRY
    mov rcx, -1
    .byte 0x0F, 0x20, 0x11 # MOV RCX, CR2 with mod 0.
    mov rax, cr2
    xor rcx, rax
    END_TRY
    EXPECT "MOV from CR2 with mod 0", NONE
    CHECK "the mod field is ignored", rcx, 0
    ret

cpuid_leaves:
    xor eax, eax
    cpuid
    mov esi, eax
    cmp eax, 0xD
    setae al
    movzx eax, al
    CHECK "there are at least the leaves up to Dh", rax, 1
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000008
    setae al
    movzx eax, al
    CHECK "there are the leaves up to 80000008h", rax, 1
    # The upper halves are cleared.
    mov rbx, -1
    mov rdx, -1
    mov eax, 1
    cpuid
    mov rdi, rbx
    or rdi, rdx
    shr rdi, 32
    CHECK "CPUID clears the upper halves", rdi, 0
    # What long mode cannot be without, in leaf 1's EDX: FPU, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, FXSR, SSE, SSE2.
    mov eax, edx
    and eax, 0x0700AB71
    CHECK "leaf 1 EDX", rax, 0x0700AB71
    mov eax, 1
    cpuid
    bt ecx, 27
    setc al
    movzx eax, al
    CHECK "OSXSAVE is clear", rax, 0
    mov eax, 0x80000001
    cpuid
    and edx, (1 << 29) | (1 << 20) | (1 << 11)
    CHECK "LM, NX, SYSCALL", rdx, ((1 << 29) | (1 << 20) | (1 << 11))
    # In compatibility mode Intel's SYSCALL bit is clear.
    TRY
    COMPATIBLE
    mov eax, 0x80000001
    cpuid
    and edx, 1 << 11
    END_COMPATIBLE
    TCG_DIFFERS "SDM 2 CPUID: bit 11 is set in 64-bit mode alone"
    CHECK "SYSCALL's bit in compatibility mode", rdx, 0
    # Beyond the highest basic leaf: the highest one's data.
    xor eax, eax
    cpuid
    mov r9d, eax
    mov eax, 0x3FFFFFFF
    xor ecx, ecx
    cpuid
    mov r8d, edx
    mov r10d, eax
    mov eax, r9d
    xor ecx, ecx
    cpuid
    xor r8d, edx
    xor r10d, eax
    or r8d, r10d
    TCG_DIFFERS "SDM 2 CPUID: the data of the highest basic leaf"
    CHECK "a leaf beyond the highest", r8, 0
    # Physical and linear widths.
    mov eax, 0x80000008
    cpuid
    mov ecx, eax
    shr ecx, 8
    and ecx, 0xFF
    TCG_DIFFERS "TCG announces 57 bits with -cpu max"
    CHECK "48 bits of linear address", rcx, 48
    and eax, 0xFF
    cmp eax, 36
    setae al
    movzx eax, al
    CHECK "36 bits or more of physical address", rax, 1
    # The local APIC's ID is the same in leaf 1 and in the APIC.
    mov eax, 1
    cpuid
    shr ebx, 24
    mov eax, [0xFEE00020]
    shr eax, 24
    xor eax, ebx
    CHECK "the APIC's ID", rax, 0
    # Every CR4 bit that is announced can be set: SMEP, SMAP, UMIP, FSGSBASE, PCID.
    mov eax, 7
    xor ecx, ecx
    cpuid
    xor r8d, r8d
    bt ebx, 7
    jnc 1f
    or r8d, CR4_SMEP
1:  bt ebx, 20
    jnc 1f
    or r8d, CR4_SMAP
1:  bt ecx, 2
    jnc 1f
    or r8d, CR4_UMIP
1:  bt ebx, 0
    jnc 1f
    or r8d, CR4_FSGSBASE
1:  CHECK "SMEP, SMAP, UMIP and FSGSBASE are announced", r8, (CR4_SMEP | CR4_SMAP | CR4_UMIP | CR4_FSGSBASE)
    ret

xsave_setup:
    TRY
    xor ecx, ecx
1:  xgetbv
    END_TRY
    EXPECT "XGETBV without OSXSAVE", V_UD, -1, 1b
    TRY
1:  xsave [AREA]
    END_TRY
    EXPECT "XSAVE without OSXSAVE", V_UD, -1, 1b
    mov rax, cr4
    or eax, CR4_OSXSAVE
    mov cr4, rax
    mov eax, 1
    cpuid
    bt ecx, 27
    setc al
    movzx eax, al
    CHECK "CPUID's OSXSAVE follows CR4", rax, 1
    xor ecx, ecx
    xgetbv
    CHECK "XCR0 at reset: x87 alone", rax, 1
    CHECK "XCR0's upper half", rdx, 0
.macro SET_XCR0 name, high, low, vector, number=0
    TRY
    mov ecx, \number
    mov edx, \high
    mov eax, \low
1:  xsetbv
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, 0, 1b
.endif
.endm
    SET_XCR0 "XCR0 without x87", 0, 2, V_GP
    SET_XCR0 "XCR0 with AVX and without SSE", 0, 5, V_GP
    SET_XCR0 "XCR0 with a bit that does not exist", 0x40000000, 3, V_GP
    SET_XCR0 "XCR1", 0, 3, V_GP, 1
    SET_XCR0 "XCR0: x87 and SSE", 0, 3, NONE
    TRY
1:  .byte 0xC5, 0xFC, 0x58, 0xC1 # VADDPS YMM0, YMM0, YMM1
    END_TRY
    EXPECT "AVX without XCR0.AVX", V_UD, -1, 1b
    SET_XCR0 "XCR0: x87, SSE and AVX", 0, 7, NONE
    TRY
    .byte 0xC5, 0xFC, 0x58, 0xC1
    END_TRY
    EXPECT "AVX with XCR0.AVX", NONE
    TRY
    RING3
    xor ecx, ecx
    xgetbv
    END_TRY
    EXPECT "XGETBV at level 3", NONE
    CHECK "XCR0", rax, 7
    TRY
    RING3
1:  xsetbv
    END_TRY
    EXPECT "XSETBV at level 3", V_GP, 0, 1b
    TRY
    mov ecx, 7
1:  xgetbv
    END_TRY
    TCG_DIFFERS "SDM 2 XGETBV: #GP(0) for an invalid XCR"
    EXPECT "XGETBV of XCR7", V_GP, 0, 1b
    # Leaf Dh agrees with XCR0: the size of what is on is 832 bytes with AVX.
    mov eax, 0xD
    xor ecx, ecx
    cpuid
    CHECK "CPUID leaf Dh: the size for XCR0", rbx, 832
    mov eax, 0xD
    mov ecx, 2
    cpuid
    CHECK "CPUID leaf Dh, AVX: size", rax, 256
    CHECK "CPUID leaf Dh, AVX: offset", rbx, 576
    ret

.macro RESTORE name, vector
    TRY
    mov eax, 7
    xor edx, edx
1:  xrstor [AREA]
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, 0, 1b
.endif
.endm
xsave_area:
    mov edi, AREA
    mov ecx, 1024 / 8
    xor eax, eax
    rep stosq
    fninit
    fld1
    mov rax, 0x1122334455667788
    movq xmm0, rax
    TRY
    mov eax, 7
    xor edx, edx
    xsave [AREA]
    END_TRY
    EXPECT "XSAVE", NONE
    CHECK_BITS "XSTATE_BV has x87 and SSE", HEADER, 3, 3
    CHECK32 "XCOMP_BV is 0", (HEADER + 8), 0
    CHECK "XMM0 in the legacy area", "qword ptr [AREA + 160]", 0x1122334455667788
    CHECK32 "MXCSR", (AREA + 24), 0x1F80
    xorps xmm0, xmm0
    RESTORE "XRSTOR", NONE
    movq rax, xmm0
    CHECK "XMM0 is back", rax, 0x1122334455667788
    # A component whose bit is clear in XSTATE_BV gets its initial state.
    and dword ptr [HEADER], ~2
    RESTORE "XRSTOR without SSE in XSTATE_BV", NONE
    movq rax, xmm0
    CHECK "XMM0 is 0", rax, 0
    # Faults of the header.
    TCG_DIFFERS "SDM 1 13.8.1: bits of XSTATE_BV that XCR0 has not: #GP(0)"
    or dword ptr [HEADER], 8
    RESTORE "XSTATE_BV with a bit that is not in XCR0", V_GP
    and dword ptr [HEADER], ~8
    mov dword ptr [HEADER + 8], 1
    RESTORE "XCOMP_BV not 0, in the standard form", V_GP
    mov dword ptr [HEADER + 8], 0
    mov dword ptr [HEADER + 16], 1
    RESTORE "a reserved byte of the header", V_GP
    mov dword ptr [HEADER + 16], 0
    or dword ptr [HEADER], 2
    mov dword ptr [AREA + 24], 0x10000
    TCG_DIFFERS "SDM 2 XRSTOR: #GP(0) for reserved bits of MXCSR"
    RESTORE "MXCSR with a reserved bit", V_GP
    mov dword ptr [AREA + 24], 0x1F80
    TRY
    mov eax, 7
    xor edx, edx
1:  xsave [AREA + 32]
    END_TRY
    EXPECT "XSAVE at an address that is not on a boundary of 64", V_GP, 0, 1b
    TRY
    mov eax, 7
    xor edx, edx
1:  xrstor [AREA + 32]
    END_TRY
    EXPECT "XRSTOR at an address that is not on a boundary of 64", V_GP, 0, 1b
    mov rax, cr0
    or eax, CR0_TS
    mov cr0, rax
    TRY
1:  xsave [AREA]
    END_TRY
    clts
    TCG_DIFFERS "SDM 2 XSAVE: #NM with CR0.TS; TCG does not ask"
    EXPECT "XSAVE with TS", V_NM, -1, 1b
    # Only what EDX:EAX asks for is written, and its bits alone in XSTATE_BV.
    mov qword ptr [AREA + 160], 0
    mov dword ptr [HEADER], 2
    mov rax, 0x5566
    movq xmm0, rax
    TRY
    mov eax, 1
    xor edx, edx
    xsave [AREA]
    END_TRY
    CHECK "XSAVE of x87 leaves XMM0's place", "qword ptr [AREA + 160]", 0
    CHECK_BITS "and the bit of SSE", HEADER, 3, 3
    fninit
    ret

umip:
    mov rax, cr4
    or eax, CR4_UMIP
    mov cr4, rax
.macro USER name, vector, instruction:vararg
    TRY
    RING3
1:  \instruction
    END_TRY
    EXPECT "UMIP: \name at level 3", \vector, 0, 1b
.endm
    USER "SGDT", V_GP, sgdt [SCRATCH]
    USER "SIDT", V_GP, sidt [SCRATCH]
    USER "SLDT", V_GP, sldt eax
    USER "STR", V_GP, str eax
    USER "SMSW", V_GP, smsw eax
    USER "SMSW to memory", V_GP, smsw [SCRATCH]
    TRY
    sgdt [SCRATCH]
    sidt [SCRATCH]
    sldt eax
    str eax
    smsw eax
    END_TRY
    EXPECT "UMIP: all of them at level 0", NONE
    mov rax, cr4
    and eax, ~CR4_UMIP
    mov cr4, rax
    # SMSW of 64 bits gives all of CR0.
    TRY
    mov rcx, -1
    .byte 0x48, 0x0F, 0x01, 0xE1 # SMSW RCX
    mov rax, cr0
    xor rcx, rax
    END_TRY
    CHECK "SMSW of 64 bits", rcx, 0
    ret
