# SYSCALL, SYSRET, SYSENTER, SYSEXIT and SWAPGS in 64-bit and compatibility mode (SDM volume 3, 5.8.7 and 5.8.8).
.include "runtime.inc"
SUITE "fast_calls", 64

MSR_STAR = 0xC0000081
MSR_LSTAR = 0xC0000082
MSR_CSTAR = 0xC0000083
MSR_FMASK = 0xC0000084
MSR_FS_BASE = 0xC0000100
MSR_GS_BASE = 0xC0000101
MSR_KERNEL_GS_BASE = 0xC0000102
SYSENTER_CS = 0x174
SYSENTER_ESP = 0x175
SYSENTER_EIP = 0x176
NOT_CANONICAL = 0x0000800000000000
# SYSRET's base: +8 is the stack, +16 64-bit code: what level 3 has from USER_CODE32 on.
RETURN_BASE = USER_CODE32

.text
main:
    TRY
1:  .byte 0x0F, 0x05
    END_TRY
    EXPECT "SYSCALL without EFER.SCE", V_UD, -1, 1b
    TRY
1:  .byte 0x48, 0x0F, 0x07
    END_TRY
    EXPECT "SYSRET without EFER.SCE", V_UD, -1, 1b
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_SCE
    wrmsr
    WRITE_MSR MSR_STAR, (RETURN_BASE << 16) | CODE64, 0
    WRITE_MSR MSR_LSTAR, 0, "offset entry"
    WRITE_MSR MSR_FMASK, 0, FLAG_TF | FLAG_DF | FLAG_IF | FLAG_AC
    call calls
    call returns
    call sysenter_sysexit
    call bases
    ret

entry:
    mov [seen_rsp], rsp
    mov eax, ss # In a register: at once, where a translator may not have told anybody of SYSCALL yet.
    mov [seen_ss], eax
    mov eax, cs
    mov [seen_cs], eax
    mov rsp, EVENT_STACK - 0x200
    pushfq
    pop qword ptr [seen_flags]
    int 0xF0
.bss
seen_rsp: .quad 0
seen_ss: .quad 0
seen_cs: .quad 0
seen_flags: .quad 0
.text

calls:
    TRY
    RING3 FLAG_IF | 2
    mov rbx, 0x1234567812345678
    push FLAG_IF | FLAG_DF | FLAG_CF | FLAG_NT | 2
    popfq
    .byte 0x0F, 0x05
1:
    END_TRY
    EXPECT "SYSCALL from level 3", NONE
    CHECK_AT "RCX is the return address", rec_rcx, 1b
    CHECK_BITS "R11 is RFLAGS", rec_r11, 0x3F7FD7, FLAG_IF | FLAG_DF | FLAG_CF | FLAG_NT | 2
    TCG_DIFFERS "SDM 2 SYSCALL: RFLAGS AND NOT FMASK; TCG loses the arithmetic flags (R11 has them)"
    CHECK_BITS "RFLAGS without the bits of FMASK", seen_flags, 0x3F7FD7, FLAG_CF | FLAG_NT | 2
    CHECK32 "CS", seen_cs, CODE64
    CHECK32 "SS", seen_ss, (CODE64 + 8)
    CHECK "RSP is level 3's", "qword ptr [seen_rsp]", (USER_STACK)
    CHECK "RBX is unchanged", "qword ptr [rec_rbx]", 0x1234567812345678
    # At level 0 as well; STAR's RPL bits do not count.
    WRITE_MSR MSR_STAR, (RETURN_BASE << 16) | CODE64 | 3, 0
    TRY
    .byte 0x0F, 0x05
    END_TRY
    EXPECT "SYSCALL at level 0", NONE
    CHECK32 "CS has RPL 0", seen_cs, CODE64
    # The descriptors are not read.
    WRITE_MSR MSR_STAR, (RETURN_BASE << 16) | 0xF000, 0
    TRY
    RING3
    .byte 0x0F, 0x05
    END_TRY
    EXPECT "SYSCALL to selectors beyond the GDT", NONE
    CHECK32 "CS", seen_cs, 0xF000
    CHECK32 "SS", seen_ss, 0xF008
    WRITE_MSR MSR_STAR, (RETURN_BASE << 16) | CODE64, 0
    TRY
    COMPATIBLE3
1:  .byte 0x0F, 0x05
    END_COMPATIBLE
    TCG_DIFFERS "SDM 2 SYSCALL: #UD outside 64-bit mode; TCG has AMD's behaviour"
    EXPECT "SYSCALL in compatibility mode", V_UD, -1, 1b
    TRY
    COMPATIBLE
1:  .byte 0x0F, 0x07
    END_COMPATIBLE
    TCG_DIFFERS "SDM 2 SYSRET: #UD outside 64-bit mode"
    EXPECT "SYSRET in compatibility mode", V_UD, -1, 1b
    TRY
1:  .byte 0xF0, 0x0F, 0x05
    END_TRY
    TCG_DIFFERS "SDM 2 LOCK"
    EXPECT "LOCK SYSCALL", V_UD, -1, 1b
    ret

returns:
    TRY
    mov rcx, offset 2f
    mov r11d, FLAG_IF | FLAG_CF | FLAG_ID | FLAG_IOPL | FLAG_RF | FLAG_VM | 2
    mov rsp, USER_STACK - 0x80
    .byte 0x48, 0x0F, 0x07
2:  pushfq
    pop rbx
    END_TRY
    EXPECT "SYSRET to 64-bit code", NONE
    CHECK32 "CS", rec_cs, ((RETURN_BASE + 16) | 3)
    CHECK32 "SS", rec_ss, ((RETURN_BASE + 8) | 3)
    CHECK "RSP is unchanged", "qword ptr [rec_rsp]", (USER_STACK - 0x80)
    and ebx, 0x3F7FD7
    CHECK "RFLAGS from R11, without RF and VM", rbx, "FLAG_IF | FLAG_CF | FLAG_ID | FLAG_IOPL | 2"
    TRY
    mov ecx, offset 2f
    mov r11d, 2
    mov rsp, USER_STACK - 0x80
    .byte 0x0F, 0x07
    MODE 32
2:  inc eax
    mov eax, cs
    END_COMPATIBLE
    EXPECT "SYSRET to compatibility mode", NONE
    CHECK "CS", rax, (RETURN_BASE | 3)
    CHECK32 "SS", rec_ss, ((RETURN_BASE + 8) | 3)
    TRY
    mov rcx, NOT_CANONICAL
    mov r11d, 2
1:  .byte 0x48, 0x0F, 0x07
    END_TRY
    TCG_DIFFERS_BEGIN "SDM 2 SYSRET: #GP(0) at level 0 when RCX is not canonical; TCG faults at level 3"
    EXPECT "SYSRET to an address that is not canonical", V_GP, 0, 1b
    CHECK32 "at level 0", rec_cs, CODE64
    TCG_DIFFERS_END
    TRY
    RING3
1:  .byte 0x48, 0x0F, 0x07
    END_TRY
    EXPECT "SYSRET at level 3", V_GP, 0, 1b
    # TF in R11: a trap behind the first instruction of level 3... Intel's: before it.
    TRY
    mov ecx, offset 2f
    mov r11d, FLAG_TF | 2
    mov rsp, USER_STACK - 0x80
    .byte 0x48, 0x0F, 0x07
2:  nop
3:  nop
    END_TRY
    mov eax, [rec_vector]
    CHECK "SYSRET with TF in R11: #DB", rax, V_DB
    xor eax, eax
    mov dr6, rax
    ret

sysenter_sysexit:
    WRITE_MSR SYSENTER_CS, 0, 0
    TRY
1:  sysenter
    END_TRY
    EXPECT "SYSENTER with a null CS", V_GP, 0, 1b
    TRY
1:  .byte 0x0F, 0x35
    END_TRY
    EXPECT "SYSEXIT with a null CS", V_GP, 0, 1b
    WRITE_MSR SYSENTER_CS, 0, CODE64 | 3
    WRITE_MSR SYSENTER_ESP, 0, "EVENT_STACK - 0x100"
    WRITE_MSR SYSENTER_EIP, 0, "offset entry_by_sysenter"
    TRY
    RING3 FLAG_IF | 2
    mov rbx, rsp
    push FLAG_IF | FLAG_DF | FLAG_CF | FLAG_NT | 2
    popfq
    sysenter
    END_TRY
    EXPECT "SYSENTER from level 3", NONE
    CHECK "RSP", "qword ptr [seen_rsp]", (EVENT_STACK - 0x100)
    CHECK32 "CS", seen_cs, CODE64
    CHECK32 "SS", seen_ss, (CODE64 + 8)
    CHECK_BITS "IF is clear, the rest stays", seen_flags, 0x3F7FD7, FLAG_DF | FLAG_CF | FLAG_NT | 2
    TRY
    COMPATIBLE3
    sysenter
    END_COMPATIBLE
    EXPECT "SYSENTER from compatibility mode leads to 64-bit code", NONE
    CHECK32 "CS", seen_cs, CODE64
    # SYSEXIT: CS + 16 is 32-bit code, + 32 64-bit code, always with RPL 3.
    TRY
    mov ecx, USER_STACK - 0x40
    mov edx, offset 2f
    .byte 0x48, 0x0F, 0x35
2:  mov rax, 0x1122334455667788
    END_TRY
    EXPECT "SYSEXIT to 64-bit code", NONE
    CHECK "64 bits", rax, 0x1122334455667788
    CHECK32 "CS", rec_cs, ((CODE64 + 32) | 3)
    CHECK32 "SS", rec_ss, ((CODE64 + 40) | 3)
    CHECK "RSP is RCX", "qword ptr [rec_rsp]", (USER_STACK - 0x40)
    TRY
    mov ecx, USER_STACK - 0x40
    mov edx, offset 2f
    .byte 0x0F, 0x35
    MODE 32
2:  mov eax, 1
    inc eax
    END_COMPATIBLE
    EXPECT "SYSEXIT to compatibility mode", NONE
    CHECK "32 bits", rax, 2
    CHECK32 "CS", rec_cs, ((CODE64 + 16) | 3)
    CHECK32 "SS", rec_ss, ((CODE64 + 24) | 3)
    TRY
    mov rdx, NOT_CANONICAL
    mov ecx, USER_STACK
1:  .byte 0x48, 0x0F, 0x35
    END_TRY
    TCG_DIFFERS_BEGIN "SDM 2 SYSEXIT: #GP(0) when RCX or RDX is not canonical; TCG does not check"
    EXPECT "SYSEXIT: RDX not canonical", V_GP, 0, 1b
    CHECK32 "at level 0", rec_cs, CODE64
    TRY
    mov rcx, NOT_CANONICAL
    mov edx, offset 2f
1:  .byte 0x48, 0x0F, 0x35
2:
    END_TRY
    EXPECT "SYSEXIT: RCX not canonical", V_GP, 0, 1b
    TCG_DIFFERS_END
    TRY
    RING3
1:  .byte 0x48, 0x0F, 0x35
    END_TRY
    EXPECT "SYSEXIT at level 3", V_GP, 0, 1b
    ret
entry_by_sysenter:
    mov [seen_rsp], rsp
    mov [seen_ss], ss
    mov [seen_cs], cs
    pushfq
    pop qword ptr [seen_flags]
    int 0xF0

bases:
    WRITE_MSR MSR_GS_BASE, 0x1111, 0x22222220
    WRITE_MSR MSR_KERNEL_GS_BASE, 0xFFFFC333, 0x44444440
    TRY
    swapgs
    END_TRY
    EXPECT "SWAPGS", NONE
    mov ecx, MSR_GS_BASE
    rdmsr
    CHECK "GS.base: high", rdx, 0xFFFFC333
    CHECK "GS.base: low", rax, 0x44444440
    mov ecx, MSR_KERNEL_GS_BASE
    rdmsr
    CHECK "KERNEL_GS_BASE: high", rdx, 0x1111
    CHECK "KERNEL_GS_BASE: low", rax, 0x22222220
    TRY
    RING3
1:  swapgs
    END_TRY
    EXPECT "SWAPGS at level 3", V_GP, 0, 1b
    # RDFSBASE and its kin.
    TRY
1:  rdfsbase rax
    END_TRY
    EXPECT "RDFSBASE without CR4.FSGSBASE", V_UD, -1, 1b
    mov rax, cr4
    or eax, CR4_FSGSBASE
    mov cr4, rax
    TRY
    RING3
    mov rbx, 0x0000123456789AB0
    wrfsbase rbx
    rdfsbase rcx
    mov rdx, -1
    rdfsbase edx
    END_TRY
    EXPECT "WRFSBASE and RDFSBASE at level 3", NONE
    CHECK "64 bits", rcx, 0x0000123456789AB0
    CHECK "32 bits are zero-extended", rdx, 0x56789AB0
    TRY
    mov rbx, NOT_CANONICAL
1:  wrgsbase rbx
    END_TRY
    TCG_DIFFERS "SDM 2 WRGSBASE: #GP(0) when not canonical"
    EXPECT "WRGSBASE: not canonical", V_GP, 0, 1b
    TRY
    mov rbx, -1
    wrgsbase ebx
    rdgsbase rcx
    END_TRY
    CHECK "WRGSBASE of 32 bits", rcx, 0xFFFFFFFF
    TRY
    COMPATIBLE
1:  .byte 0xF3, 0x0F, 0xAE, 0xC0
    END_COMPATIBLE
    EXPECT "RDFSBASE in compatibility mode", V_UD, -1, 1b
    # Bases above 4 GiB are used in 64-bit mode.
    WRITE_MSR MSR_FS_BASE, 0xFFFFFFFF, 0xFFFF0000
    TRY
    mov byte ptr [SCRATCH], 0x3C
    mov bl, fs:[SCRATCH + 0x10000]
    END_TRY
    and ebx, 0xFF
    CHECK "FS with a negative base", rbx, 0x3C
    # A null selector clears the base.
    TRY
    xor eax, eax
    mov fs, eax
    rdfsbase rcx
    END_TRY
    CHECK "loading a null FS clears its base", rcx, 0
    mov rax, cr4
    and eax, ~CR4_FSGSBASE
    mov cr4, rax
    ret
