# Hardware task switches (SDM volume 3, chapter 7): by JMP, CALL, interrupt and IRET, directly and through gates, with the
# busy bits, NT and the link; what a task has of its own; and faults on either side of the switch.
.include "runtime.inc"
SUITE "tasks", 32

OTHER = SPARE        # A 32-bit TSS.
GATE = SPARE + 8     # A task gate to it.
OTHER16 = SPARE + 0x10
LOCAL = SPARE + 0x18 # An LDT.
ABSENT = SPARE + 0x20
SHORT_TSS = SPARE + 0x28
ABSENT_DATA = SPARE + 0x30
BAD_GATE = SPARE + 0x38
FLAT_OF_3 = SPARE + 0x40
OUTSIDE = 0x1000
VECTOR = 0x40
EXT = 1
OTHER_STACK = 0x8C000

# Offsets in a 32-bit TSS (SDM volume 3, figure 7-2).
LINK = 0
T_CR3 = 0x1C
T_EIP = 0x20
T_EFLAGS = 0x24
T_EAX = 0x28
T_ECX = 0x2C
T_EDX = 0x30
T_EBX = 0x34
T_ESP = 0x38
T_EBP = 0x3C
T_ESI = 0x40
T_EDI = 0x44
T_ES = 0x48
T_CS = 0x4C
T_SS = 0x50
T_DS = 0x54
T_FS = 0x58
T_GS = 0x5C
T_LDT = 0x60
T_TRAP = 0x64

.text
main:
    call set_up
    call by_jump
    call by_call
    call by_interrupt
    call by_gates
    call sixteen_bits
    call own_things
    call refusals
    call faults_in_the_new_task
    call to_virtual_8086
    call double_fault_task
    ret

# The other task as every check wants it: ready to run `task_code`, which looks around and ends the TRY.
set_up:
    pushad
    SET_SEGMENT_AT OTHER, other_tss, 0x67, ACCESS_TSS32, 0
    SET_SEGMENT GATE, 0, 0, 0, 0
    mov word ptr [gdt + GATE + 2], OTHER
    mov word ptr [gdt + GATE + 4], (GATE_TASK | ACCESS_DPL3) << 8
    SET_SEGMENT_AT LOCAL, ldt, 0x1F, ACCESS_LDT, 0
    SET_SEGMENT_AT ABSENT, other_tss, 0x67, 0x09, 0
    SET_SEGMENT_AT SHORT_TSS, other_tss, 0x66, ACCESS_TSS32, 0
    SET_SEGMENT ABSENT_DATA, 0, 0xFFFFF, 0x73, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT FLAT_OF_3, 0, 0xFFFFF, 0xF2, FLAGS_32 | FLAGS_PAGES
    mov word ptr [gdt + TASK32 + 4], 0x8B00 # Busy: TR holds it. Its base is below 64 KiB... put back as it was.
    mov eax, offset tss32
    shr eax, 16
    mov [gdt + TASK32 + 4], al
    mov edi, offset other_tss
    mov ecx, 26
    xor eax, eax
    rep stosd
    mov dword ptr [other_tss + T_EIP], offset task_code
    mov dword ptr [other_tss + T_EFLAGS], FLAG_CF | 2
    mov dword ptr [other_tss + T_EAX], 0x11111111
    mov dword ptr [other_tss + T_ECX], 0x22222222
    mov dword ptr [other_tss + T_EDX], 0x33333333
    mov dword ptr [other_tss + T_EBX], 0x44444444
    mov dword ptr [other_tss + T_ESP], OTHER_STACK
    mov dword ptr [other_tss + T_EBP], 0x55555555
    mov dword ptr [other_tss + T_ESI], 0x66666666
    mov dword ptr [other_tss + T_EDI], 0x77777777
    mov dword ptr [other_tss + T_ES], DATA32
    mov dword ptr [other_tss + T_CS], CODE32
    mov dword ptr [other_tss + T_SS], DATA32
    mov dword ptr [other_tss + T_DS], DATA32
    mov dword ptr [other_tss + T_FS], FLAT_OF_3 | 3
    mov dword ptr [other_tss + T_GS], 0
    mov dword ptr [other_tss + T_TRAP], 104 << 16
    mov dword ptr [other_tss + 4], EVENT_STACK
    mov dword ptr [other_tss + 8], DATA32
    popad
    ret

# After a TRY that ended in the other task: the first task is the current one again.
.macro BACK_TO_FIRST
    and byte ptr [gdt + TASK32 + 5], ~2
    mov eax, TASK32
    ltr ax
    mov eax, cr0
    and al, ~CR0_TS
    mov cr0, eax
    xor eax, eax
    lldt ax
    call set_up
.endm

task_code:
    pushfd
    pop dword ptr [seen_flags]
    str word ptr [seen_task]
    sldt word ptr [seen_ldt]
    mov [seen_cr0], eax
    mov eax, cr0
    xchg eax, [seen_cr0]
    mov [seen_esp], esp
    mov [seen_ds], ds
    int 0xF0
.bss
seen_flags: .long 0
seen_task: .long 0
seen_ldt: .long 0
seen_cr0: .long 0
seen_esp: .long 0
seen_ds: .long 0
other_tss: .space 104 + 32 + 8
tss16: .space 48
.text

by_jump:
    TRY
    mov eax, 0xA1A1A1A1
    mov ecx, 0xA2A2A2A2
    mov edi, 0xA3A3A3A3
    push FLAG_AC | FLAG_SF | 2
    popfd
    mov ebx, esp
    jmp OTHER:0x1234
1:
    END_TRY
    EXPECT "JMP to a TSS", NONE
    CHECK32 "the new task's EAX", rec_rax, 0x11111111
    CHECK32 "ECX", rec_rcx, 0x22222222
    CHECK32 "EDX", rec_rdx, 0x33333333
    CHECK32 "EBX", rec_rbx, 0x44444444
    CHECK32 "EBP", rec_rbp, 0x55555555
    CHECK32 "ESI", rec_rsi, 0x66666666
    CHECK32 "EDI", rec_rdi, 0x77777777
    CHECK32 "ESP", seen_esp, OTHER_STACK
    CHECK32 "FS", rec_fs, (FLAT_OF_3 | 3)
    CHECK32 "GS", rec_gs, 0
    CHECK_BITS "flags, with NT clear", seen_flags, 0x3F7FD7, FLAG_CF | 2
    CHECK_BITS "TR", seen_task, 0xFFFF, OTHER
    CHECK_BITS "CR0.TS is set", seen_cr0, CR0_TS, CR0_TS
    CHECK_BITS "the new TSS is busy", (gdt + OTHER + 4), 0xFF00, 0x8B00
    CHECK_BITS "the old one is not", (gdt + TASK32 + 4), 0xFF00, 0x8900
    CHECK32 "no link is written", other_tss, 0
    TCG_DIFFERS "SDM 3 3.4.5.1: loading a segment sets its accessed bit; TCG's task switch does not"
    CHECK_BITS "FS's descriptor is accessed now", (gdt + FLAT_OF_3 + 4), 0xFF00, 0xF300
    CHECK_AT "the old TSS: EIP of the next instruction", (tss32 + T_EIP), 1b
    CHECK32 "the old TSS: EAX", (tss32 + T_EAX), 0xA1A1A1A1
    CHECK32 "the old TSS: ECX", (tss32 + T_ECX), 0xA2A2A2A2
    CHECK32 "the old TSS: EDI", (tss32 + T_EDI), 0xA3A3A3A3
    CHECK_BITS "the old TSS: EFLAGS", (tss32 + T_EFLAGS), 0x3F7FD7, FLAG_AC | FLAG_SF | 2
    CHECK_BITS "the old TSS: CS", (tss32 + T_CS), 0xFFFF, CODE32
    CHECK_BITS "the old TSS: SS", (tss32 + T_SS), 0xFFFF, DATA32
    CHECK_BITS "the old TSS: GS", (tss32 + T_GS), 0xFFFF, DATA32
    mov eax, [tss32 + T_ESP]
    sub eax, [tss32 + T_EBX]
    CHECK "the old TSS: ESP", eax, 0
    BACK_TO_FIRST
    ret

by_call:
    # There and back: IRET in the other task comes behind the CALL.
    mov dword ptr [other_tss + T_EIP], offset nested_task
    TRY
    mov eax, 0xA1A1A1A1
    mov ebx, esp
    call OTHER:0
1:  pushfd
    pop edx
    sub ebx, esp
    str ecx
    END_TRY
    EXPECT "CALL to a TSS, and IRET", NONE
    CHECK32 "EAX is back", rec_rax, 0xA1A1A1A1
    CHECK "ESP is back", ebx, 0
    CHECK "TR is back", ecx, TASK32
    and edx, FLAG_NT
    CHECK "NT is clear in the caller", edx, 0
    CHECK_BITS "NT was set in the called task", seen_flags, FLAG_NT, FLAG_NT
    CHECK_BITS "its link is the caller's TSS", other_tss, 0xFFFF, TASK32
    CHECK_BITS "the caller stayed busy", seen_busy, 0xFF00, 0x8B00
    CHECK_BITS "the called task is not busy any more", (gdt + OTHER + 4), 0xFF00, 0x8900
    CHECK_AT "its EIP is behind its IRET", (other_tss + T_EIP), nested_task_again
    CHECK_BITS "its saved NT is clear", (other_tss + T_EFLAGS), FLAG_NT, 0
    CHECK32 "its EAX was saved", (other_tss + T_EAX), 0x600D
    mov eax, cr0
    and eax, CR0_TS
    CHECK "CR0.TS", eax, CR0_TS
    # Called again it goes on behind the IRET.
    TRY
    call OTHER:0
    END_TRY
    EXPECT "a second CALL goes on where the task stopped", NONE
    CHECK32 "with the registers it had", rec_rbx, 0x600D
    BACK_TO_FIRST
    ret
nested_task:
    pushfd
    pop dword ptr [seen_flags]
    mov eax, [gdt + TASK32 + 4]
    mov [seen_busy], eax
    mov eax, 0x600D
    iretd
nested_task_again:
    mov ebx, eax
    int 0xF0
.bss
seen_busy: .long 0
.text

by_interrupt:
    mov dword ptr [idt32 + VECTOR * 8], OTHER << 16
    mov dword ptr [idt32 + VECTOR * 8 + 4], (GATE_TASK | ACCESS_DPL3) << 8
    mov dword ptr [other_tss + T_EIP], offset nested_task
    TRY
    RING3 FLAG_IF | 2
    mov eax, 0xB1B1B1B1
    int VECTOR
1:  mov ecx, cs
    END_TRY
    EXPECT "INT n through a task gate from level 3, and IRET", NONE
    CHECK "level 3 goes on", ecx, USER_CODE32
    CHECK32 "with its registers", rec_rax, 0xB1B1B1B1
    CHECK_BITS "CS was saved in its TSS", (tss32 + T_CS), 0xFFFF, USER_CODE32
    CHECK_AT "EIP was the next instruction's", (tss32 + T_EIP), 1b
    CHECK_BITS "and IF is back", rec_flags, FLAG_IF, FLAG_IF
    BACK_TO_FIRST
    # An exception with an error code: on the new task's stack, not in the TSS.
    mov dword ptr [idt32 + V_GP * 8], OTHER << 16
    mov dword ptr [idt32 + V_GP * 8 + 4], GATE_TASK << 8
    TRY
    mov eax, OUTSIDE
1:  mov ds, eax
    END_TRY
    RESTORE_VECTORS
    EXPECT "#GP through a task gate", NONE
    CHECK32 "its ESP is four bytes lower", seen_esp, (OTHER_STACK - 4)
    CHECK32 "the error code lies there", (OTHER_STACK - 4), OUTSIDE
    CHECK_AT "the old TSS: EIP of the instruction", (tss32 + T_EIP), 1b
    TCG_DIFFERS "SDM 3 17.3.1.1: a fault saves EFLAGS with RF set, in a TSS too"
    CHECK_BITS "the old TSS: RF is set", (tss32 + T_EFLAGS), FLAG_RF, FLAG_RF
    BACK_TO_FIRST
    ret

by_gates:
    TRY
    jmp GATE:0
    END_TRY
    EXPECT "JMP to a task gate", NONE
    CHECK_BITS "TR", seen_task, 0xFFFF, OTHER
    BACK_TO_FIRST
    TRY
    RING3
    call (GATE | 3):0
    END_TRY
    EXPECT "CALL to a task gate from level 3: the TSS's own level does not matter", NONE
    CHECK_BITS "the link", other_tss, 0xFFFF, TASK32
    CHECK_BITS "the old TSS: CS of level 3", (tss32 + T_CS), 0xFFFF, USER_CODE32
    BACK_TO_FIRST
    ret

sixteen_bits:
    SET_SEGMENT_AT OTHER16, tss16, 0x2B, ACCESS_TSS16, 0
    mov edi, offset tss16
    mov ecx, 12
    xor eax, eax
    rep stosd
    mov word ptr [tss16 + 0x0E], offset low_task
    mov word ptr [tss16 + 0x10], FLAG_CF | 2
    mov word ptr [tss16 + 0x12], 0x1111
    mov word ptr [tss16 + 0x14], 0x2222
    mov word ptr [tss16 + 0x1A], 0x0FF0
    mov word ptr [tss16 + 0x22], DATA32
    mov word ptr [tss16 + 0x24], CODE32
    mov word ptr [tss16 + 0x26], DATA32
    mov word ptr [tss16 + 0x28], DATA32
    TRY
    mov eax, 0xABCD5678
    call OTHER16:0
1:
    END_TRY
    EXPECT "CALL to a 16-bit TSS", NONE
    CHECK_BITS "AX", rec_rax, 0xFFFF, 0x1111
    CHECK_BITS "CX", rec_rcx, 0xFFFF, 0x2222
    CHECK_BITS "SP", seen_esp, 0xFFFF, 0x0FF0
    CHECK_BITS "NT", seen_flags, FLAG_NT | FLAG_CF, FLAG_NT | FLAG_CF
    CHECK_BITS "the link", tss16, 0xFFFF, TASK32
    CHECK_BITS "it is busy", (gdt + OTHER16 + 4), 0xFF00, 0x8300
    CHECK32 "the old TSS: EAX in full", (tss32 + T_EAX), 0xABCD5678
    CHECK_AT "the old TSS: EIP", (tss32 + T_EIP), 1b
    BACK_TO_FIRST
    # From a 16-bit task: its TSS gets words.
    and byte ptr [gdt + OTHER16 + 5], ~2
    mov dword ptr [tss16 + 0x2C], 0x5A5A5A5A
    TRY
    mov eax, OTHER16
    ltr ax
    mov eax, 0x12345678
    mov edi, 0x9ABCDEF0
    jmp OTHER:0
    END_TRY
    EXPECT "JMP from a 16-bit task to a 32-bit one", NONE
    CHECK_BITS "AX was saved", (tss16 + 0x12), 0xFFFF, 0x5678
    CHECK_BITS "DI was saved", (tss16 + 0x20), 0xFFFF, 0xDEF0
    CHECK_BITS "DS was saved", (tss16 + 0x28), 0xFFFF, DATA32
    CHECK32 "nothing behind it was written", (tss16 + 0x2C), 0x5A5A5A5A
    BACK_TO_FIRST
    ret
.pushsection .low16, "ax"
MODE 32
low_task:
    jmp task_code
.popsection

# The LDT, CR3, the T flag, and DR7's local enables.
own_things:
    mov dword ptr [ldt + 8], 0x0000FFFF
    mov dword ptr [ldt + 12], 0x00CF9200
    mov word ptr [other_tss + T_LDT], LOCAL
    mov word ptr [other_tss + T_DS], 0xC
    TRY
    jmp OTHER:0
    END_TRY
    EXPECT "a task with an LDT", NONE
    CHECK_BITS "LDTR", seen_ldt, 0xFFFF, LOCAL
    CHECK_BITS "DS from its LDT", seen_ds, 0xFFFF, 0xC
    BACK_TO_FIRST
    mov word ptr [other_tss + T_TRAP], 1
    TRY
    jmp OTHER:0
    END_TRY
    TCG_DIFFERS_BEGIN "SDM 3 7.2.1 and 17.3.1.5: T raises #DB with DR6.BT before the new task's first instruction; TCG ignores it"
    EXPECT "the T flag: #DB before the first instruction", V_DB, -1, task_code
    CHECK_BITS "DR6.BT", rec_dr6, 0x8000, 0x8000
    CHECK_BITS "the new task's registers are in place", rec_rcx, -1, 0x22222222
    TCG_DIFFERS_END
    xor eax, eax
    mov dr6, eax
    BACK_TO_FIRST
    TRY
    mov eax, 0x3FF & ~0x3C # Local enables of 0 and LE, global ones of all but 1... lengths and kinds 0.
    mov eax, 0x55
    mov edx, offset never_reached
    mov dr0, edx
    mov dr1, edx
    mov dr2, edx
    mov dr3, edx
    mov dr7, eax
    jmp OTHER:0
    END_TRY
    mov eax, dr7
    and eax, 0xFF
    xor ecx, ecx
    mov dr7, ecx
    CHECK "a switch clears DR7's local enables", eax, 0
    BACK_TO_FIRST
    # CR3 is loaded only while paging.
    mov dword ptr [other_tss + T_CR3], 0x12345000
    mov eax, 0x180000
    mov cr3, eax
    TRY
    jmp OTHER:0
    END_TRY
    mov eax, cr3
    EXPECT "a switch without paging", NONE
    CHECK "CR3 stays", eax, 0x180000
    BACK_TO_FIRST
    # With paging, 4 MiB pages mapping everything to itself.
    mov edi, 0x180000
    xor eax, eax
1:  mov ecx, eax
    shl ecx, 22
    or ecx, 0x87
    mov [edi + eax * 4], ecx
    mov [edi + eax * 4 + 0x1000], ecx
    inc eax
    cmp eax, 1024
    jb 1b
    mov dword ptr [edi + 0x1000 + 4 * 4], (SCRATCH & 0xFFC00000) | 0x87 # 16 MiB onto SCRATCH's 4 MiB.
    mov dword ptr [other_tss + T_CR3], 0x181000
    mov dword ptr [tss32 + T_CR3], 0x180000 # A switch does not save CR3; the way back loads what is there.
    mov dword ptr [other_tss + T_EIP], offset paged_task
    mov dword ptr [SCRATCH], 0x600DCAFE
    mov dword ptr [0x1000000 + (SCRATCH & 0x3FFFFF)], 0xBAD
    mov eax, cr4
    or al, CR4_PSE
    mov cr4, eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    TRY
    call OTHER:0
    mov ebx, [0x1000000 + (SCRATCH & 0x3FFFFF)]
    END_TRY
    mov edx, cr3
    mov esi, cr0
    and esi, ~CR0_PG
    mov cr0, esi
    EXPECT "a switch with paging, and back", NONE
    CHECK32 "the new task saw its own memory", seen_memory, 0x600DCAFE
    mov ebx, [rec_rbx]
    mov eax, cr3
    CHECK "back: CR3 of the first TSS", eax, 0x180000
    CHECK "and its memory", ebx, 0xBAD
    BACK_TO_FIRST
    mov dword ptr [tss32 + T_CR3], 0
    ret
paged_task:
    mov eax, [0x1000000 + (SCRATCH & 0x3FFFFF)]
    mov [seen_memory], eax
    iretd
never_reached:
    ud2
.bss
seen_memory: .long 0
.text

.macro REFUSED name, target, vector, error
    TRY
1:  call (\target):0
    END_TRY
    EXPECT "\name", \vector, \error, 1b
.endm
refusals:
    REFUSED "a busy TSS", TASK32, V_GP, TASK32
    REFUSED "a TSS that is not present", ABSENT, V_NP, ABSENT
    REFUSED "a TSS of 66h bytes", SHORT_TSS, V_TS, SHORT_TSS
    REFUSED "a TSS with RPL above its DPL", "OTHER | 3", V_GP, OTHER
    TRY
    RING3
1:  jmp OTHER:0
    END_TRY
    EXPECT "a TSS of level 0 from level 3", V_GP, OTHER, 1b
    CHECK_BITS "nothing was marked busy", (gdt + OTHER + 4), 0xFF00, 0x8900
    mov dword ptr [gdt + BAD_GATE + 4], GATE_TASK << 8
    mov dword ptr [gdt + BAD_GATE], 0
    REFUSED "a task gate to selector 0", BAD_GATE, V_GP, 0
    mov dword ptr [gdt + BAD_GATE], 4 << 16
    TCG_DIFFERS "SDM 2 CALL, TASK-GATE: #GP(TSS selector) when it is local; TCG has #TS"
    REFUSED "a task gate to the LDT", BAD_GATE, V_GP, 4
    mov dword ptr [gdt + BAD_GATE], OUTSIDE << 16
    REFUSED "a task gate to outside the GDT", BAD_GATE, V_GP, OUTSIDE
    mov dword ptr [gdt + BAD_GATE], DATA32 << 16
    REFUSED "a task gate to data", BAD_GATE, V_GP, DATA32
    mov dword ptr [gdt + BAD_GATE], TASK32 << 16
    REFUSED "a task gate to a busy TSS", BAD_GATE, V_GP, TASK32
    mov dword ptr [gdt + BAD_GATE], ABSENT << 16
    REFUSED "a task gate to a TSS that is not present", BAD_GATE, V_NP, ABSENT
    mov dword ptr [gdt + BAD_GATE], OTHER << 16
    mov dword ptr [gdt + BAD_GATE + 4], (GATE_TASK & 0x7F) << 8
    REFUSED "a task gate that is not present", BAD_GATE, V_NP, BAD_GATE
    # IRET with NT and a bad link.
    mov word ptr [tss32], 0
    TRY
    push FLAG_NT | 2
    popfd
1:  iretd
    END_TRY
    EXPECT "IRET with NT and a link of 0", V_TS, 0, 1b
    mov word ptr [tss32], OTHER
    TRY
    push FLAG_NT | 2
    popfd
1:  iretd
    END_TRY
    EXPECT "IRET with NT and a link to a TSS that is not busy", V_TS, OTHER, 1b
    mov word ptr [tss32], DATA32
    TRY
    push FLAG_NT | 2
    popfd
1:  iretd
    END_TRY
    EXPECT "IRET with NT and a link to data", V_TS, DATA32, 1b
    mov word ptr [tss32], 4
    TRY
    push FLAG_NT | 2
    popfd
1:  iretd
    END_TRY
    EXPECT "IRET with NT and a link into the LDT", V_TS, 4, 1b
    mov word ptr [tss32], OUTSIDE
    TRY
    push FLAG_NT | 2
    popfd
1:  iretd
    END_TRY
    EXPECT "IRET with NT and a link outside the GDT", V_TS, OUTSIDE, 1b
    mov word ptr [tss32], 0
    call set_up
    ret

# Faults while the new task's segments are loaded belong to the new task: its CS:EIP is what is saved. The task is one of
# level 3, so that the handler has a stack to run on.
.macro FAULTY name, field, value, vector, error
    mov dword ptr [other_tss + T_CS], USER_CODE32
    mov dword ptr [other_tss + T_SS], USER_DATA
    mov dword ptr [other_tss + T_DS], USER_DATA
    mov dword ptr [other_tss + T_ES], USER_DATA
    mov dword ptr [other_tss + \field], \value
    TRY
    jmp OTHER:0
    END_TRY
    TCG_DIFFERS_BEGIN "SDM 3 7.3: the exception is the new task's; TCG saves the EIP of the switching instruction"
    EXPECT "\name", \vector, \error, task_code
    CHECK32 "\name: ESP is the new task's", rec_rsp, OTHER_STACK
    TCG_DIFFERS_END
    CHECK_BITS "\name: the new TSS is busy", (gdt + OTHER + 4), 0xFF00, 0x8B00
    BACK_TO_FIRST
.endm
faults_in_the_new_task:
    FAULTY "the new task's DS outside the GDT", T_DS, OUTSIDE, V_TS, OUTSIDE
    FAULTY "the new task's DS not present", T_DS, ABSENT_DATA, V_NP, ABSENT_DATA
    FAULTY "the new task's ES: a TSS", T_ES, TASK32, V_TS, TASK32
    FAULTY "the new task's SS null", T_SS, 0, V_TS, 0
    FAULTY "the new task's SS not present", T_SS, ABSENT_DATA | 3, V_SS, ABSENT_DATA
    FAULTY "the new task's SS of another level", T_SS, DATA32 | 3, V_TS, DATA32
    FAULTY "the new task's LDT: data", T_LDT, DATA32, V_TS, DATA32
    # The level is the RPL of the selector.
    mov dword ptr [other_tss + T_CS], USER_DATA
    mov dword ptr [other_tss + T_SS], USER_DATA
    TRY
    jmp OTHER:0
    END_TRY
    EXPECT "the new task's CS: data", V_TS, (USER_DATA & 0xFFFC)
    BACK_TO_FIRST
    ret

to_virtual_8086:
    mov dword ptr [other_tss + T_EFLAGS], FLAG_VM | FLAG_IOPL | 2
    mov dword ptr [other_tss + T_CS], 0x10
    mov dword ptr [other_tss + T_DS], 0x20
    mov dword ptr [other_tss + T_ES], 0x30
    mov dword ptr [other_tss + T_SS], 0
    mov dword ptr [other_tss + T_FS], 0xABCD
    mov dword ptr [other_tss + T_ESP], REAL_STACK
    mov eax, offset virtual_task
    sub eax, 0x100
    mov [other_tss + T_EIP], eax
    TRY
    jmp OTHER:0
    END_TRY
    EXPECT "a task in virtual-8086 mode", V_GP, 0
    CHECK_BITS "VM was set", rec_flags, FLAG_VM, FLAG_VM
    CHECK32 "CS", rec_cs, 0x10
    CHECK32 "DS", rec_ds, 0x20
    CHECK32 "FS", rec_fs, 0xABCD
    CHECK_BITS "DS has its base", rec_rbx, 0xFFFF, 0x1234
    BACK_TO_FIRST
    ret
.pushsection .low16, "ax"
MODE 16
virtual_task:
    mov word ptr ds:[0x500], 0x1234
    mov ax, 0
    mov gs, ax
    mov bx, gs:[0x700]
    hlt
.popsection
MODE 32

# The classical use: a double fault gets a task, because its stack may be gone.
double_fault_task:
    mov dword ptr [idt32 + V_DF * 8], OTHER << 16
    mov dword ptr [idt32 + V_DF * 8 + 4], GATE_TASK << 8
    SET_SEGMENT ABSENT, SCRATCH, 0xF, ACCESS_DATA, FLAGS_32
    SKIP_ON_TCG "a stack that is used up: TCG checks no limits", 2f
    TRY
    mov eax, ABSENT
    mov ss, eax
    mov esp, 4
1:  push eax
    push eax
    END_TRY
    RESTORE_VECTORS
    EXPECT "PUSH beyond the stack's end: #SS, #SS, and a task for the double fault", NONE
    CHECK32 "the double fault's error code is 0", (OTHER_STACK - 4), 0
    CHECK_BITS "the task's link", other_tss, 0xFFFF, TASK32
    CHECK_BITS "the old TSS: SS", (tss32 + T_SS), 0xFFFF, ABSENT
    CHECK32 "the old TSS: ESP", (tss32 + T_ESP), 0
    BACK_TO_FIRST
2:  RESTORE_VECTORS
    ret
