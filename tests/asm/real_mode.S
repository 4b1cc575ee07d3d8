# Real-address mode (SDM volume 3, chapter 20): limits of 64 KiB, the interrupt table, the A20 gate, and segments that keep
# what protected mode loaded into them ("big real mode").
.include "runtime.inc"
SUITE "real_mode", 32

.text
main:
    call limits
    call interrupt_table
    call instructions
    call address_line_20
    call big_segments
    ret

# --- The limit of 64 KiB ----------------------------------------------------------------------------------------------
limits:
    TRY
    REAL
    mov eax, 0x12345678
    mov bx, 0xFFFF
1:  mov ax, [bx]
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1: an access beyond FFFFh is #GP; TCG checks no limits"
    EXPECT "a word read at FFFFh", V_GP, -1, 1b
    TCG_DIFFERS "SDM 3 20.1.1"
    CHECK "the destination of a faulting load is unchanged", eax, 0x12345678

    TRY
    REAL
    mov bx, 0xFFFE
1:  mov eax, [bx]
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1"
    EXPECT "a doubleword read at FFFEh", V_GP, -1, 1b

    TRY
    REAL
    mov bx, 0xFFFF
1:  mov al, [bx]
    END_TRY16
    EXPECT "a byte read at FFFFh", NONE

    TRY
    REAL 0x4000
    mov bp, 0xFFFF
1:  mov ax, [bp]
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1: beyond the stack segment's limit, #SS"
    EXPECT "a word read at SS:FFFFh", V_SS, -1, 1b

    TRY
    REAL
    mov ebx, 0x10000
1:  mov al, [ebx]
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1"
    EXPECT "a byte read at an offset of 10000h", V_GP, -1, 1b

    TRY
    REAL
    mov ebx, 0x10000
1:  mov byte ptr [ebx + 0x1000], 1
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1"
    EXPECT "a byte written at an offset of 11000h", V_GP, -1, 1b

    TRY
    REAL
    mov esi, 0xFFFF
    mov edi, 0x600
    mov ecx, 2
    cld
1:  rep movsb [edi], [esi]
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1"
    EXPECT "REP MOVSB whose second byte lies beyond the limit", V_GP, -1, 1b
    TCG_DIFFERS "SDM 3 20.1.1"
    CHECK "ECX counts the byte that was moved", ecx, 1
    TCG_DIFFERS "SDM 3 20.1.1"
    CHECK "ESI stands at the byte that was not", esi, 0x10000

    # The offset of a 16-bit address wraps, and so does IP's... but a push at SP = 0 goes to FFFEh.
    TRY
    REAL 0x4000
    xor sp, sp
    mov ax, 0x5AA5
    push ax
    pop bx
    mov cx, sp
    mov sp, REAL_STACK
    END_TRY16
    EXPECT "a push at SP = 0", NONE
    and ebx, 0xFFFF
    CHECK "it wraps to FFFEh", ebx, 0x5AA5
    movzx ecx, cx
    CHECK "and POP brings SP back to 0", ecx, 0

    TRY
    REAL 0x4000
    mov bx, 0xFFFF
    mov si, 2
    mov byte ptr [bx + si], 0x77
    mov al, ds:[1]
    END_TRY16
    EXPECT "16-bit addresses wrap before the limit is asked", NONE
    and eax, 0xFF
    CHECK "to offset 1", eax, 0x77

    # A jump to 64 KiB and above.
    SKIP_ON_TCG "a near jump to 10000h: TCG checks no limits and would run what is there (SDM 2 JMP)", 2f
    TRY
    REAL
    mov eax, 0x10000
1:  jmp eax
    END_TRY16
    EXPECT "a near jump to 10000h", V_GP, -1, 1b
2:
    ret

# --- The interrupt table ----------------------------------------------------------------------------------------------
interrupt_table:
    # Frame: FLAGS, CS, IP of two bytes each; TF and IF cleared; AC as well.
    TRY
    REAL
    mov esp, 0x10FE0
    sti
    stc
    int 0x55
1:
    END_TRY16
    EXPECT "INT n", 0x55, -1, 1b
    CHECK32 "CS of the frame", rec_cs, 0
    CHECK_BITS "FLAGS of the frame: IF and CF", rec_flags, FLAG_IF | FLAG_CF | FLAG_TF, FLAG_IF | FLAG_CF
    CHECK_BITS "the handler runs with IF and TF clear", rec_handler_flags, FLAG_IF | FLAG_TF, 0
    CHECK_BITS "and with the other flags as they were", rec_handler_flags, FLAG_CF, FLAG_CF
    CHECK32 "SP is six bytes lower; the upper half of ESP stays", rec_frame, (0x10FE0 - 6)

    TRY
    REAL
    mov eax, 1
    xor edx, edx
    xor ecx, ecx
1:  div ecx
    END_TRY16
    EXPECT "#DE is a fault without an error code", V_DE, -1, 1b
    CHECK "EAX is unchanged", eax, 1

    TRY
    REAL
1:  int3
2:
    END_TRY16
    EXPECT "INT3 is a trap", V_BP, -1, 2b

    TRY
    REAL
    mov al, 0x7F
    add al, 1
1:  into
2:
    END_TRY16
    EXPECT "INTO with OF", V_OF, -1, 2b
    TRY
    REAL
    xor al, al
    into
    END_TRY16
    EXPECT "INTO without OF", NONE

    TRY
    REAL
    mov word ptr ds:[0x600], 5
    mov word ptr ds:[0x602], 9
    mov ax, 10
1:  bound ax, ds:[0x600]
    END_TRY16
    EXPECT "BOUND beyond the upper bound", V_BR, -1, 1b
    TRY
    REAL
    mov ax, 9
    bound ax, ds:[0x600]
    mov ax, 5
    bound ax, ds:[0x600]
    END_TRY16
    EXPECT "BOUND at both bounds", NONE

    # A table that ends early: the vector beyond it is #GP, also for INT n, and the #GP comes through the table.
    TRY
    REAL
    lidt cs:[short_table]
1:  int 0x55
    END_TRY16
    TCG_DIFFERS "SDM 2 INT n: #GP if the vector is outside the IDT limit; TCG's real mode has it too, with an error code of its own"
    EXPECT "INT n beyond the limit of the IDT", V_GP, -1, 1b

    # The table moves with the IDTR.
    TRY
    REAL
    mov dword ptr ds:[0x5000 + 0x21 * 4], offset moved_handler
    lidt cs:[moved_table]
    mov bx, 0
    int 0x21
    END_TRY16
    EXPECT "an IDT that lies elsewhere", 0xF1
    and ebx, 0xFFFF
    CHECK "its handler ran", ebx, 0x21

    # IRET: takes back what INT pushed.
    TRY
    REAL
    pushf
    pop ax
    or ax, 0x0ED5
    push ax
    push cs
    push offset 1f
    iret
    hlt
1:  cld
    END_TRY16
    EXPECT "IRET", NONE
    CHECK_BITS "loads the flags", rec_flags, 0x0BD5, 0x0AD5
    CHECK32 "and takes six bytes", rec_rsp, REAL_STACK

    TRY
    REAL
    pushfd
    pop eax
    or eax, FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID
    push eax
    push 0
    push 0
    mov word ptr [esp], cs
    push 0
    push offset 1f
    .byte 0x66
    iret
    hlt
1:  pushfd
    pop ecx
    END_TRY16
    EXPECT "a 32-bit IRET", NONE
    and ecx, FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID
    CHECK "loads IOPL, NT, AC and ID", ecx, FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID
    ret

# --- Instructions that real mode has not, and some that it has --------------------------------------------------------
instructions:
.macro UNDEFINED name, instruction:vararg
    TRY
    REAL
1:  \instruction
    END_TRY16
    EXPECT "\name in real mode", V_UD, -1, 1b
.endm
    UNDEFINED "ARPL", arpl ax, bx
    UNDEFINED "LAR", lar ax, bx
    UNDEFINED "LSL", lsl ax, bx
    UNDEFINED "VERR", verr ax
    UNDEFINED "VERW", verw ax
    UNDEFINED "LLDT", lldt ax
    UNDEFINED "LTR", ltr ax
    UNDEFINED "SLDT", sldt ax
    UNDEFINED "STR", str ax
    UNDEFINED "MOV CS, AX", .byte 0x8E, 0xC8
    UNDEFINED "LOCK NOP", .byte 0xF0, 0x90
    TCG_DIFFERS "SDM 2 LOCK: #UD with any instruction but those listed; TCG ignores it here"
    UNDEFINED "LOCK MOV", .byte 0xF0, 0x89, 0x07
    UNDEFINED "RSM outside SMM", rsm
    UNDEFINED "LES with a register", .byte 0xC4, 0xC0
    UNDEFINED "SYSCALL", .byte 0x0F, 0x05
    TRY
    REAL
1:  sysenter
    END_TRY16
    EXPECT "SYSENTER in real mode", V_GP, -1, 1b
    TRY
    REAL
1:  sysexit
    END_TRY16
    EXPECT "SYSEXIT in real mode", V_GP, -1, 1b

    TRY
    REAL
    mov eax, 0xFFFFFFFF
    smsw ax
    END_TRY16
    EXPECT "SMSW", NONE
    and eax, 1
    CHECK "PE is clear", eax, 0
    TRY
    REAL
    mov ax, 0xABCD
    mov fs, ax
    mov ecx, 0xFFFFFFFF
    mov ecx, fs
    END_TRY16
    EXPECT "any selector goes into FS", NONE
    CHECK "and comes back zero-extended", ecx, 0xABCD

    # Far calls and returns push 16-bit selectors, and set CS to whatever is asked.
    TRY
    REAL
    call 0x10:(1f - 0x100)
    .pushsection .low16, 1
1:  mov ax, cs
    mov bx, sp
    mov ecx, ss:[bx]
    retf
    .popsection
    END_TRY16
    EXPECT "a far call and return", NONE
    and eax, 0xFFFF
    CHECK "CS is what was called", eax, 0x10
    shr ecx, 16
    CHECK "the old CS was pushed", ecx, 0
    CHECK32 "the stack is level", rec_rsp, REAL_STACK

    TRY
    REAL
    push 0x1111
    push 0x2222
    push cs
    push offset 1f
    retf 4
1:
    END_TRY16
    EXPECT "RETF 4", NONE
    CHECK32 "drops the parameters", rec_rsp, REAL_STACK

    # PUSH SP pushes the old value; PUSHA that of before.
    TRY
    REAL
    push sp
    pop ax
    mov bp, sp
    pusha
    mov bx, [bp - 10]
    popa
    END_TRY16
    EXPECT "PUSH SP and PUSHA", NONE
    and eax, 0xFFFF
    CHECK "PUSH SP pushes SP as it was", eax, REAL_STACK
    # LOADALL-free entry to protected mode and back is in every TRY; LMSW can set PE but not clear it.
    TRY
    REAL
    mov ax, 1
    lmsw ax
    xor ax, ax
    lmsw ax
    smsw cx
    mov eax, cr0
    and al, 0xFE
    mov cr0, eax
    END_TRY16
    EXPECT "LMSW", NONE
    and ecx, 1
    CHECK "does not clear PE", ecx, 1
    ret

# --- A20 --------------------------------------------------------------------------------------------------------------
# Port 92h (PIIX3 and every PC since) and the keyboard controller's output port, which are combined by OR on this board.
address_line_20:
    mov dword ptr [0x500], 0x11111111
    mov dword ptr [0x100500], 0x22222222
    in al, 0x92
    and al, 0xFE
    or al, 2
    out 0x92, al
    CHECK32 "with A20 on, 1 MiB + 500h is its own place", 0x500, 0x11111111
    CHECK32 "and so is 500h", 0x100500, 0x22222222
    in al, 0x92
    and eax, 2
    CHECK "port 92h reads back bit 1", eax, 2

    TRY
    REAL
    mov ax, 0xFFFF
    mov fs, ax
    mov eax, fs:[0x510]
    END_TRY16
    EXPECT "FFFF:0510 with A20 on", NONE
    CHECK "is 1 MiB + 500h", eax, 0x22222222

    mov al, 0
    call keyboard_controller_a20
    in al, 0x92
    and al, 0xFC
    out 0x92, al
    TRY
    REAL
    mov ax, 0xFFFF
    mov fs, ax
    mov eax, fs:[0x510]
    END_TRY16
    mov ebx, [0x100500]
    mov ecx, [0x200500]
    in al, 0x92
    mov edx, eax
    mov esi, [rec_rax]
    in al, 0x92
    or al, 2
    out 0x92, al
    EXPECT "FFFF:0510 with A20 off", NONE
    CHECK "wraps to 500h", esi, 0x11111111
    CHECK "protected mode wraps as well", ebx, 0x11111111
    and edx, 2
    CHECK "port 92h reads back the cleared bit", edx, 0
    CHECK32 "A20 on again", 0x100500, 0x22222222

    # A write through the wrapped address, then code that was run there before.
    in al, 0x92
    and al, 0xFC
    out 0x92, al
    mov dword ptr [0x100504], 0x33333333
    in al, 0x92
    or al, 2
    out 0x92, al
    CHECK32 "a store with A20 off went to 504h", 0x504, 0x33333333

    # By the keyboard controller alone.
    mov dword ptr [0x500], 0x44444444
    in al, 0x92
    and al, 0xFC
    out 0x92, al
    mov al, 2
    call keyboard_controller_a20
    mov ebx, [0x100500]
    mov al, 0
    call keyboard_controller_a20
    mov ecx, [0x100500]
    mov al, 2
    call keyboard_controller_a20
    in al, 0x92
    or al, 2
    out 0x92, al
    CHECK "the keyboard controller turns A20 on", ebx, 0x22222222
    CHECK "and off", ecx, 0x44444444
    ret

# The output port with bit 1 as AL has it (8042: command D1h).
keyboard_controller_a20:
    mov ah, al
    call 1f
    mov al, 0xD1
    out 0x64, al
    call 1f
    mov al, ah
    or al, 0xDD
    out 0x60, al
1:  in al, 0x64
    test al, 2
    jnz 1b
    ret

# --- Big real mode ----------------------------------------------------------------------------------------------------
big_segments:
    mov dword ptr [SCRATCH], 0xCAFEF00D
    mov dword ptr [SCRATCH + 4], 0
    TRY
    REAL
    call go_big
    mov ebx, SCRATCH
    mov ecx, ds:[ebx]
    mov dword ptr ds:[ebx + 4], 0x600D
    END_TRY16
    EXPECT "a limit of 4 GiB survives the return to real mode", NONE
    CHECK "reading", ecx, 0xCAFEF00D
    CHECK32 "writing", SCRATCH + 4, 0x600D

    TRY
    REAL
    call go_big
    mov ax, 0x10
    mov ds, ax
    mov ebx, SCRATCH - 0x100
    mov ecx, ds:[ebx]
    END_TRY16
    EXPECT "loading DS in real mode changes the base alone", NONE
    CHECK "it is 100h now", ecx, 0xCAFEF00D

    TRY
    REAL
    call go_big
    mov ebx, SCRATCH
1:  mov eax, es:[ebx]
    END_TRY16
    TCG_DIFFERS "SDM 3 20.1.1"
    EXPECT "ES, which was left alone, still ends at 64 KiB", V_GP, -1, 1b

    # A code segment of the wrong rights is no obstacle in real mode, but the type of DS is replaced on loading.
    SET_SEGMENT SPARE, 0, 0xFFFF, ACCESS_DATA_READ, FLAGS_16
    TRY
    REAL
    mov dx, SPARE
    call load_ds_from_dx
    xor ax, ax
    mov ds, ax
    mov byte ptr ds:[0x600], 1
    END_TRY16
    EXPECT "a read-only DS can be written after it was loaded again", NONE

    # A 16-bit push with a big stack segment uses SP only when B is clear: B stays from protected mode.
    TRY
    REAL
    mov dx, DATA32
    call load_ss_from_dx
    mov esp, SCRATCH + 0x100
    push 0x1234
    mov ecx, esp
    mov esp, REAL_STACK
    END_TRY16
    EXPECT "a stack segment with B set", NONE
    CHECK "pushes by ESP", ecx, SCRATCH + 0xFE
    CHECK_BITS "to where ESP points", SCRATCH + 0xFE, 0xFFFF, 0x1234
    ret

.section .low16, "ax"
MODE 16
# Into protected mode and back, DS flat.
go_big:
    mov dx, DATA32
load_ds_from_dx:
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov ds, dx
    and al, 0xFE
    mov cr0, eax
    ret
load_ss_from_dx:
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov ss, dx
    and al, 0xFE
    mov cr0, eax
    ret
moved_handler:
    mov bx, 0x21
    lidtd cs:[ivt_pointer]
    int 0xF1
short_table:
    .word 0x55 * 4 - 1
    .long 0
moved_table:
    .word 256 * 4 - 1
    .long 0x5000
