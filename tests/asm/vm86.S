# Virtual-8086 mode (SDM volume 3, 20.2 to 20.4; volume 1, 19.5): entry and exit, IOPL, VME with the virtual interrupt flag
# and the redirection bitmap, PVI, and the I/O permission bitmap.
.include "runtime.inc"
SUITE "vm86", 32

IO_MAP = tss32 + 104 + 32
REDIRECTION = tss32 + 104
VECTOR = 0x40
IDT = 2
IOPL3 = FLAG_IOPL

.text
main:
    # The TSS with its bitmaps: redirection clear, all ports forbidden.
    mov word ptr [tss32 + 102], 104 + 32
    mov word ptr [gdt + TASK32], 104 + 32 + 8192
    mov edi, offset IO_MAP
    mov ecx, 8193
    mov al, 0xFF
    rep stosb
    and byte ptr [gdt + TASK32 + 5], ~2
    mov eax, TASK32
    ltr ax
    call entry_and_exit
    call sensitive
    call interrupts_without_vme
    call interrupts_with_vme
    call virtual_flag
    call pvi
    call io_map
    ret

# A check whose code runs in virtual-8086 mode with the flags given, one instruction long.
.macro VIRTUAL name, flags, vector, error, instruction:vararg
    TRY
    VM86 "\flags"
1:  \instruction
    END_TRY16
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm

entry_and_exit:
    TRY
    push 0x3333
    push 0x4444
    push 0x1111
    push 0x2222
    push 0x5000
    push 0x0FF0
    push FLAG_VM | IOPL3 | FLAG_CF | FLAG_NT | FLAG_AC | 2
    push 0x20
    mov eax, offset 1f
    sub eax, 0x200
    push eax
    mov ebx, 0x12345678
    iretd
    .pushsection .low16, "ax"
    MODE 16
1:  mov ax, cs
    mov cx, ss
    pushf
    pop dx
2:  ud2
    .popsection
    MODE 32
9990:
    EXPECT "#UD in virtual-8086 mode", V_UD
    mov eax, offset 2b
    sub eax, 0x200
    sub eax, [rec_rip]
    CHECK "EIP is an offset", eax, 0
    CHECK32 "the frame has CS", rec_cs, 0x20
    CHECK32 "SS", rec_ss, 0x5000
    CHECK32 "ESP", rec_rsp, 0xFF0
    CHECK32 "ES", rec_es, 0x2222
    CHECK32 "DS", rec_ds, 0x1111
    CHECK32 "FS", rec_fs, 0x4444
    CHECK32 "GS", rec_gs, 0x3333
    CHECK_BITS "flags", rec_flags, 0x3F7FD7 & ~FLAG_RF, FLAG_VM | IOPL3 | FLAG_CF | FLAG_NT | FLAG_AC | 2
    CHECK32 "the frame lies 36 bytes below the TSS's ESP0", rec_frame, (EVENT_STACK - 36)
    CHECK_BITS "the handler has VM and NT clear", rec_handler_flags, FLAG_VM | FLAG_NT | FLAG_TF | FLAG_IF, 0
    CHECK32 "the handler's CS", rec_handler_cs, CODE32
    CHECK32 "EBX is unchanged", rec_rbx, 0x12345678
    CHECK_BITS "AX: CS as a paragraph", rec_rax, 0xFFFF, 0x20
    CHECK_BITS "PUSHF shows IOPL 3, NT", rec_rdx, 0xFFFF, IOPL3 | FLAG_NT | FLAG_CF | 2
    # The handler finds null data segments, which level 0 could not use.
    SET_VECTOR VECTOR, CODE32, look_at_segments, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    VM86 IOPL3
    mov ax, 0x1234
    mov fs, ax
    mov gs, ax
    int VECTOR
    END_TRY16
    RESTORE_VECTORS
    EXPECT "INT n with IOPL 3", NONE
    CHECK32 "DS of the handler is null", seen_segments, 0
    CHECK32 "FS of the handler is null", (seen_segments + 4), 0
    CHECK32 "GS of the handler is null", (seen_segments + 8), 0

    # Segments are paragraphs, 64 KiB long, always writable.
    TRY
    VM86 IOPL3
    mov ax, 0x50
    mov ds, ax
    mov byte ptr ds:[0], 0x5A
    mov bl, cs:[0x500]
    END_TRY16
    EXPECT "a segment is a paragraph", NONE
    CHECK_BITS "its base", rec_rbx, 0xFF, 0x5A
    TCG_DIFFERS_BEGIN "SDM 3 20.2.1: limits of FFFFh; TCG checks none"
    VIRTUAL "a word at FFFFh", IOPL3, V_GP, 0, mov ax, ds:[0xFFFF]
    VIRTUAL "a word at SS:FFFFh", IOPL3, V_SS, 0, mov ax, ss:[0xFFFF]
    TCG_DIFFERS_END
    VIRTUAL "MOV from CR0", IOPL3, V_GP, 0, mov eax, cr0
    VIRTUAL "MOV to DR0", IOPL3, V_GP, 0, mov dr0, eax
    VIRTUAL "HLT", IOPL3, V_GP, 0, hlt
    VIRTUAL "LGDT", IOPL3, V_GP, 0, lgdt [0x500]
    VIRTUAL "LMSW", IOPL3, V_GP, 0, lmsw ax
    VIRTUAL "SMSW", IOPL3, NONE, -1, smsw ax
    VIRTUAL "SGDT", IOPL3, NONE, -1, sgdt [0x500]
    VIRTUAL "CLTS", IOPL3, V_GP, 0, clts
    VIRTUAL "WRMSR", IOPL3, V_GP, 0, wrmsr
    VIRTUAL "INVLPG", IOPL3, V_GP, 0, invlpg [bx]
    VIRTUAL "SLDT", IOPL3, V_UD, -1, sldt ax
    VIRTUAL "STR", IOPL3, V_UD, -1, str ax
    VIRTUAL "LLDT", IOPL3, V_UD, -1, lldt ax
    VIRTUAL "LTR", IOPL3, V_UD, -1, ltr ax
    VIRTUAL "LAR", IOPL3, V_UD, -1, lar ax, bx
    VIRTUAL "VERR", IOPL3, V_UD, -1, verr ax
    VIRTUAL "ARPL", IOPL3, V_UD, -1, arpl ax, bx
    VIRTUAL "SYSEXIT", IOPL3, V_GP, 0, sysexit
    VIRTUAL "SYSCALL", IOPL3, V_UD, -1, .byte 0x0F, 0x05
    ret
look_at_segments:
    push ds
    push fs
    push gs
    push DATA32
    pop ds
    pop dword ptr [seen_segments + 8]
    pop dword ptr [seen_segments + 4]
    pop dword ptr [seen_segments]
    and dword ptr [seen_segments], 0xFFFF
    and dword ptr [seen_segments + 4], 0xFFFF
    and dword ptr [seen_segments + 8], 0xFFFF
    int 0xF0
.bss
seen_segments: .space 12
.text

# With IOPL below 3: CLI, STI, PUSHF, POPF, INT n, IRET are #GP(0), in every size.
sensitive:
    VIRTUAL "IOPL 0: CLI", 0, V_GP, 0, cli
    VIRTUAL "IOPL 0: STI", 0, V_GP, 0, sti
    VIRTUAL "IOPL 0: PUSHF", 0, V_GP, 0, pushf
    VIRTUAL "IOPL 0: PUSHFD", 0, V_GP, 0, pushfd
    VIRTUAL "IOPL 0: POPF", 0, V_GP, 0, popf
    VIRTUAL "IOPL 0: IRET", 0, V_GP, 0, iret
    VIRTUAL "IOPL 2: CLI", 0x2000, V_GP, 0, cli
    VIRTUAL "IOPL 0: INT n", 0, V_GP, 0, int VECTOR
    VIRTUAL "IOPL 0: INT 3 in two bytes", 0, V_GP, 0, .byte 0xCD, 3
    CHECK32 "SP is unchanged", rec_rsp, REAL_STACK
    # INT3, INTO and BOUND are not sensitive to IOPL.
    TRY
    VM86 0
    int3
1:
    END_TRY16
    EXPECT "IOPL 0: INT3", V_BP, -1, 1b
    TRY
    VM86 FLAG_OF
    into
1:
    END_TRY16
    EXPECT "IOPL 0: INTO", V_OF, -1, 1b
    # With IOPL 3 they do as in real mode, but IOPL itself stays.
    TRY
    VM86 IOPL3
    sti
    pushf
    pop ax
    push word ptr FLAG_NT | FLAG_CF | 2
    popf
    pushf
    pop bx
    push word ptr FLAG_IF | FLAG_ZF | 2
    push cs
    push offset 1f
    iret
1:  pushf
    pop cx
    cli
    END_TRY16
    EXPECT "IOPL 3: STI, PUSHF, POPF, IRET, CLI", NONE
    CHECK_BITS "STI", rec_rax, FLAG_IF, FLAG_IF
    CHECK_BITS "POPF leaves IOPL", rec_rbx, 0xFFFF, IOPL3 | FLAG_NT | FLAG_CF | 2
    CHECK_BITS "IRET leaves IOPL", rec_rcx, 0xFFFF, IOPL3 | FLAG_IF | FLAG_ZF | 2
    CHECK_BITS "CLI", rec_flags, FLAG_IF | FLAG_VM, FLAG_VM
    TRY
    VM86 IOPL3
    push dword ptr FLAG_ID | FLAG_AC | FLAG_VIF | FLAG_VIP | 2
    popfd
    pushfd
    pop ecx
    END_TRY16
    EXPECT "IOPL 3: POPFD", NONE
    CHECK_BITS "loads AC and ID; VM, VIF, VIP and IOPL stay (VM reads as 0)", rec_rcx, 0x3F7FD7, FLAG_ID | FLAG_AC | IOPL3 | 2
    CHECK_BITS "VM is still set", rec_flags, FLAG_VM | FLAG_VIF | FLAG_VIP, FLAG_VM
    ret

interrupts_without_vme:
    TRY
    VM86 IOPL3
    int VECTOR
1:
    END_TRY16
    EXPECT "IOPL 3: INT n through a gate of level 0", V_GP, (VECTOR * 8 + IDT)
    # Handlers have to be of level 0 and not conforming.
    SET_SEGMENT SPARE, 0, 0xFFFFF, ACCESS_CODE | ACCESS_DPL3, FLAGS_32 | FLAGS_PAGES
    SET_VECTOR VECTOR, SPARE, stubs32, GATE_INTERRUPT32 | ACCESS_DPL3
    TRY
    VM86 IOPL3
1:  int VECTOR
    END_TRY16
    TCG_DIFFERS "SDM 2 INT n: #GP(selector) when a handler for virtual-8086 mode is not of level 0"
    EXPECT "a handler of level 3", V_GP, SPARE, 1b
    SET_SEGMENT SPARE, 0, 0xFFFFF, ACCESS_CONFORMING, FLAGS_32 | FLAGS_PAGES
    TRY
    VM86 IOPL3
1:  int VECTOR
    END_TRY16
    TCG_DIFFERS "SDM 2 INT n: #GP(selector) when a handler for virtual-8086 mode is conforming"
    EXPECT "a conforming handler", V_GP, SPARE, 1b
    # A 16-bit gate: a frame of words.
    SET_VECTOR VECTOR, CODE32, low_look, GATE_INTERRUPT16 | ACCESS_DPL3
    TRY
    VM86 IOPL3
    int VECTOR
    END_TRY16
    EXPECT "a 16-bit gate", NONE
    CHECK32 "eighteen bytes", seen_segments, (EVENT_STACK - 18)
    RESTORE_VECTORS
    ret
.pushsection .low16, "ax"
MODE 32
low_look:
    push DATA32
    pop ds
    mov [seen_segments], esp
    int 0xF0
.popsection

# --- VME (SDM volume 3, 20.3) -----------------------------------------------------------------------------------------
interrupts_with_vme:
    mov eax, cr4
    or al, CR4_VME
    mov cr4, eax
    TCG_DIFFERS_BEGIN "SDM 3 20.3: TCG announces VME and does not have it"
    or byte ptr [REDIRECTION + 0xF0 / 8], 1 # END_TRY goes to the IDT.
    mov dword ptr [0x21 * 4], 0 # The program's own table; the handler is set below.
    mov word ptr [0x21 * 4], offset program_handler
    # The bit of vector 21h is clear: INT 21h goes to the program, without leaving virtual-8086 mode.
    TRY
    VM86 IOPL3 | FLAG_CF | FLAG_NT
    sti
    xor bx, bx
    stc
    int 0x21
1:  mov cx, sp
    END_TRY16
    EXPECT "VME, IOPL 3: INT 21h goes to the program", NONE
    CHECK_BITS "its handler ran", rec_rbx, 0xFFFF, 0x2121
    CHECK_BITS "FLAGS that were pushed have IF", rec_rdx, FLAG_IF | FLAG_CF | FLAG_IOPL, FLAG_IF | FLAG_CF | FLAG_IOPL
    CHECK_BITS "IF was clear in the handler", rec_rsi, FLAG_IF | FLAG_NT, 0
    CHECK_BITS "SP is level after IRET", rec_rcx, 0xFFFF, REAL_STACK
    # Below IOPL 3 the virtual flag stands in.
    TRY
    VM86 FLAG_VIF
    xor bx, bx
    int 0x21
1:
    nop
    END_TRY16
    EXPECT "VME, IOPL 0: INT 21h goes to the program; INT F0h is #GP", V_GP, 0
    CHECK_BITS "its handler ran", rec_rbx, 0xFFFF, 0x2121
    CHECK_BITS "FLAGS that were pushed show VIF as IF, and IOPL 3", rec_rdx, FLAG_IF | FLAG_IOPL, FLAG_IF | FLAG_IOPL
    CHECK_BITS "IRET brought VIF back", rec_flags, FLAG_VIF | FLAG_IF, FLAG_VIF
    # Redirected to the IDT: the bit is set.
    or byte ptr [REDIRECTION + 0x21 / 8], 1 << (0x21 & 7)
    VIRTUAL "VME, IOPL 0: INT 21h with its bit set is #GP", 0, V_GP, 0, int 0x21
    TRY
    VM86 IOPL3
1:  int 0x21
    END_TRY16
    EXPECT "VME, IOPL 3: INT 21h with its bit set goes to the IDT", V_GP, (0x21 * 8 + IDT), 1b
    and byte ptr [REDIRECTION + 0x21 / 8], ~(1 << (0x21 & 7))
    # INT3 does not ask the bitmap.
    TRY
    VM86 0
    int3
1:
    END_TRY16
    EXPECT "VME: INT3 goes to the IDT", V_BP, -1, 1b
    TCG_DIFFERS_END
    mov eax, cr4
    and al, ~CR4_VME
    mov cr4, eax
    ret
.pushsection .low16, "ax"
MODE 16
program_handler:
    mov bx, 0x2121
    mov bp, sp
    mov dx, [bp + 4]
    pushf
    pop si
    iret
.popsection
MODE 32

# Checks in here end by HLT, which is #GP in any case: INT n would go to the program.
.macro VIRTUAL_FLAGS name, flags, mask, result, instructions:vararg
    TRY
    VM86 "\flags"
    \instructions
1:  hlt
    .popsection
    MODE 32
9990:
    EXPECT "\name", V_GP, 0, 1b
    CHECK_BITS "\name: EFLAGS", rec_flags, \mask, \result
.endm
virtual_flag:
    TCG_DIFFERS_BEGIN "SDM 3 20.3: TCG announces VME and does not have it"
    mov eax, cr4
    or al, CR4_VME
    mov cr4, eax
    VIRTUAL_FLAGS "VME: STI sets VIF", 0, FLAG_VIF | FLAG_IF | FLAG_VIP, FLAG_VIF, sti
    VIRTUAL_FLAGS "VME: CLI clears VIF", FLAG_VIF, FLAG_VIF | FLAG_IF, 0, cli
    VIRTUAL_FLAGS "VME: CLI leaves IF", FLAG_VIF | FLAG_IF, FLAG_VIF | FLAG_IF, FLAG_IF, cli
    VIRTUAL "VME: STI with VIP is #GP", FLAG_VIP, V_GP, 0, sti
    VIRTUAL_FLAGS "VME: CLI with VIP is not", (FLAG_VIP | FLAG_VIF), FLAG_VIP | FLAG_VIF, FLAG_VIP, cli
    VIRTUAL_FLAGS "VME, IOPL 3: STI sets IF", IOPL3, FLAG_VIF | FLAG_IF, FLAG_IF, sti
    TRY
    VM86 FLAG_VIF
    pushf
    pop cx
    hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: PUSHF", V_GP, 0
    CHECK_BITS "shows VIF as IF, and IOPL 3", rec_rcx, FLAG_IF | FLAG_IOPL, FLAG_IF | FLAG_IOPL
    TRY
    VM86 FLAG_IF
    pushf
    pop cx
    hlt
    .popsection
    MODE 32
9990:
    CHECK_BITS "VME: PUSHF does not show the real IF", rec_rcx, FLAG_IF, 0
    VIRTUAL "VME: PUSHFD is #GP all the same", 0, V_GP, 0, pushfd
    VIRTUAL "VME: POPFD is #GP all the same", 0, V_GP, 0, popfd
    TRY
    VM86 0
    push word ptr FLAG_IF | FLAG_CF | FLAG_NT | 2
    popf
    hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: POPF", V_GP, 0
    CHECK_BITS "puts IF into VIF; IOPL and IF stay", rec_flags, FLAG_VIF | FLAG_IF | FLAG_IOPL | FLAG_CF | FLAG_NT, FLAG_VIF | FLAG_CF | FLAG_NT
    TRY
    VM86 FLAG_VIP
    push word ptr FLAG_IF | 2
1:  popf
    hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: POPF of IF with VIP is #GP", V_GP, 0, 1b
    CHECK32 "SP is unchanged", rec_rsp, (REAL_STACK - 2)
    TRY
    VM86 0
    push word ptr FLAG_TF | 2
1:  popf
    hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: POPF of TF is #GP", V_GP, 0, 1b
    TRY
    VM86 0
    push word ptr FLAG_IF | FLAG_CF | 2
    push cs
    push offset 1f
    iret
1:  hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: IRET", V_GP, 0, 1b
    CHECK_BITS "puts IF into VIF", rec_flags, FLAG_VIF | FLAG_IF | FLAG_CF, FLAG_VIF | FLAG_CF
    TRY
    VM86 FLAG_VIP
    push word ptr FLAG_IF | 2
    push cs
    push offset 1f
2:  iret
1:  hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: IRET of IF with VIP is #GP", V_GP, 0, 2b
    CHECK_BITS "VIF is unchanged", rec_flags, FLAG_VIF | FLAG_VIP, FLAG_VIP
    TRY
    VM86 0
    push word ptr FLAG_TF | FLAG_IF | 2
    push cs
    push offset 1f
2:  iret
1:  hlt
    .popsection
    MODE 32
9990:
    EXPECT "VME: IRET of TF is #GP", V_GP, 0, 2b
    CHECK_BITS "VIF is unchanged then too", rec_flags, FLAG_VIF, 0
    # IRETD of level 0 to virtual-8086 mode loads VIF and VIP.
    TRY
    VM86 FLAG_VIF | FLAG_VIP
    hlt
    .popsection
    MODE 32
9990:
    CHECK_BITS "IRETD at level 0 loads VIF and VIP", rec_flags, FLAG_VIF | FLAG_VIP, FLAG_VIF | FLAG_VIP
    TCG_DIFFERS_END
    mov eax, cr4
    and al, ~CR4_VME
    mov cr4, eax
    ret

# --- PVI: the same flag for level 3 of protected mode (20.4) ----------------------------------------------------------
pvi:
    TCG_DIFFERS_BEGIN "SDM 3 20.4: TCG has no PVI"
    mov eax, cr4
    or al, CR4_PVI
    mov cr4, eax
    TRY
    RING3
    sti
    END_TRY
    EXPECT "PVI: STI at level 3", NONE
    CHECK_BITS "sets VIF", rec_flags, FLAG_VIF | FLAG_IF, FLAG_VIF
    TRY
    RING3 FLAG_VIF | 2
    cli
    END_TRY
    EXPECT "PVI: CLI at level 3", NONE
    CHECK_BITS "clears VIF", rec_flags, FLAG_VIF | FLAG_IF, 0
    TRY
    RING3 FLAG_VIP | 2
1:  sti
    END_TRY
    EXPECT "PVI: STI with VIP is #GP", V_GP, 0, 1b
    TRY
    RING3 FLAG_VIF | 2
    pushfd
    pop ecx
    push FLAG_IF | 2
    popfd
    END_TRY
    EXPECT "PVI: PUSHFD and POPFD", NONE
    CHECK_BITS "PUSHFD shows the real IF", rec_rcx, FLAG_IF, 0
    CHECK_BITS "POPFD touches neither", rec_flags, FLAG_VIF | FLAG_IF, FLAG_VIF
    TCG_DIFFERS_END
    mov eax, cr4
    and al, ~CR4_PVI
    mov cr4, eax
    ret

# --- The I/O permission bitmap ----------------------------------------------------------------------------------------
.macro PORT_IS name, port, size, allowed
    TRY
    RING3
    mov edx, \port
.ifc \size,1
1:  in al, dx
.endif
.ifc \size,2
1:  in ax, dx
.endif
.ifc \size,4
1:  in eax, dx
.endif
    END_TRY
.if \allowed
    EXPECT "\name", NONE
.else
    EXPECT "\name", V_GP, 0, 1b
.endif
.endm
.macro ALLOW port
    and byte ptr [IO_MAP + \port / 8], ~(1 << (\port & 7))
.endm
io_map:
    PORT_IS "a port whose bit is set", 0x80, 1, 0
    ALLOW 0x80
    PORT_IS "a port whose bit is clear", 0x80, 1, 1
    PORT_IS "two bytes, one of them forbidden", 0x80, 2, 0
    ALLOW 0x81
    PORT_IS "two bytes", 0x80, 2, 1
    PORT_IS "four bytes, two of them forbidden", 0x80, 4, 0
    ALLOW 0x82
    ALLOW 0x83
    PORT_IS "four bytes", 0x80, 4, 1
    ALLOW 0x87
    PORT_IS "two bytes over the end of a byte of the map", 0x87, 2, 0
    ALLOW 0x88
    PORT_IS "and with both bits clear", 0x87, 2, 1
    ALLOW 0xFFFF
    PORT_IS "the last port", 0xFFFF, 1, 1
    # In virtual-8086 mode the map is asked whatever IOPL is.
    TRY
    VM86 IOPL3
    mov dx, 0x90
1:  in al, dx
    END_TRY16
    EXPECT "virtual-8086 mode with IOPL 3: a forbidden port", V_GP, 0, 1b
    TRY
    VM86 0
    in al, 0x80
1:  in al, 0x90
    END_TRY16
    EXPECT "virtual-8086 mode with IOPL 0: an allowed port, a forbidden one", V_GP, 0, 1b
    TRY
    RING3 FLAG_IOPL | 2
    in al, 0x90
    END_TRY
    EXPECT "level 3 with IOPL 3 asks no map", NONE
    TRY
    RING3
    mov edx, 0x90
    mov edi, SCRATCH
    mov ecx, 3
1:  rep insb
    END_TRY
    EXPECT "REP INSB from a forbidden port", V_GP, 0, 1b
    CHECK "ECX is unchanged", ecx, 3
    TRY
    RING3
    mov edx, 0x90
    xor ecx, ecx
1:  rep insb
    END_TRY
    TCG_DIFFERS "SDM 2 REP: the instruction is not executed when the count is 0; TCG checks the port all the same"
    EXPECT "REP INSB from a forbidden port, no iterations", NONE
    # The map ends with the TSS's limit.
    mov word ptr [tss32 + 102], 104 + 32 + 8192 - 0x10
    ALLOW 0
    mov byte ptr [tss32 + 104 + 32 + 8192 - 0x10], 0
    mov word ptr [tss32 + 104 + 32 + 8192 - 1], 0
    PORT_IS "a map that starts late: port 0", 0, 1, 1
    PORT_IS "a port whose second byte lies behind the limit", 0x80, 1, 0
    mov word ptr [tss32 + 102], 0xFFFF
    PORT_IS "a map behind the limit", 0, 1, 0
    mov word ptr [tss32 + 102], 104 + 32
    mov word ptr [gdt + TASK32], 0x66
    and byte ptr [gdt + TASK32 + 5], ~2
    mov eax, TASK32
    ltr ax
    PORT_IS "a TSS too short to say where its map is", 0x80, 1, 0
    ret
