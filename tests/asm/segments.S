# Protected-mode segmentation (SDM volume 3, chapters 3 and 5): what may be loaded, what a loaded segment allows, and what
# may be asked about it.
.include "runtime.inc"
SUITE "segments", 32

# The descriptors that the checks use.
READ_ONLY = SPARE
READ_WRITE = SPARE + 8 # One page of 1000h bytes at SCRATCH.
EXPAND_DOWN = SPARE + 0x10
EXPAND_DOWN16 = SPARE + 0x18
CODE_ONLY = SPARE + 0x20
CODE_READ = SPARE + 0x28
CONFORMING = SPARE + 0x30
ABSENT = SPARE + 0x38
ABSENT_CODE = SPARE + 0x40
USER_READ_WRITE = SPARE + 0x48
USER_CONFORMING = SPARE + 0x50
LOCAL_TABLE = SPARE + 0x58
ABSENT_TABLE = SPARE + 0x60
SHORT_CODE = SPARE + 0x68
GATE = SPARE + 0x70
TASK16 = SPARE + 0x78
PAGES = SPARE + 0x80 # Limit in pages: one page and a bit is two pages.
CONFORMING_ONLY = SPARE + 0x88
RESERVED = SPARE + 0x90
TASK_GATE = SPARE + 0x98
INTERRUPT_GATE = SPARE + 0xA0
USER_STACK_SHORT = SPARE + 0xA8
ABSENT_TASK = SPARE + 0xB0
OUTSIDE = 0x1000 # Beyond the GDT.

.text
main:
    SET_SEGMENT READ_ONLY, SCRATCH, 0xFFF, 0x90, FLAGS_32
    SET_SEGMENT READ_WRITE, SCRATCH, 0xFFF, 0x92, FLAGS_32
    SET_SEGMENT EXPAND_DOWN, SCRATCH, 0xFFF, 0x96, FLAGS_32
    SET_SEGMENT EXPAND_DOWN16, SCRATCH, 0xFFF, 0x96, FLAGS_16
    SET_SEGMENT CODE_ONLY, 0, 0xFFFFF, 0x98, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CODE_READ, 0, 0xFFFFF, 0x9A, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CONFORMING, 0, 0xFFFFF, 0x9E, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT CONFORMING_ONLY, 0, 0xFFFFF, 0x9C, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT ABSENT, SCRATCH, 0xFFF, 0x12, FLAGS_32
    SET_SEGMENT ABSENT_CODE, 0, 0xFFFFF, 0x1A, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT USER_READ_WRITE, SCRATCH, 0xFFF, 0xF2, FLAGS_32
    SET_SEGMENT USER_CONFORMING, 0, 0xFFFFF, 0xFE, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT_AT LOCAL_TABLE, ldt, 0x1F, ACCESS_LDT, 0
    SET_SEGMENT_AT ABSENT_TABLE, ldt, 0x1F, 0x02, 0
    SET_SEGMENT SHORT_CODE, 0, 0xFFF, 0x9A, FLAGS_32
    SET_SEGMENT GATE, 0, 0, 0xEC, 0
    SET_SEGMENT TASK16, SCRATCH, 0x2B, ACCESS_TSS16, 0
    SET_SEGMENT PAGES, SCRATCH, 1, 0x92, FLAGS_32 | FLAGS_PAGES
    SET_SEGMENT RESERVED, SCRATCH, 0xFFF, 0x88, 0
    SET_SEGMENT TASK_GATE, 0, 0, GATE_TASK, 0
    SET_SEGMENT INTERRUPT_GATE, 0, 0, GATE_INTERRUPT32, 0
    SET_SEGMENT USER_STACK_SHORT, SCRATCH, 0xFFF, 0xF2, FLAGS_32
    SET_SEGMENT ABSENT_TASK, SCRATCH, 0x67, 0x09, 0
    call loads
    call stack_loads
    call local_table
    call accesses
    call expand_down
    call user_loads
    call direct_jumps
    call far_returns
    call questions
    call adjustments
    call table_registers
    ret

# A load of `segment` with `selector`, and what it ends with.
.macro LOAD name, segment, selector, vector, error=-1
    TRY
    mov eax, \selector
1:  mov \segment, eax
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
.macro LOAD3 name, segment, selector, vector, error=-1
    TRY
    RING3
    mov eax, \selector
1:  mov \segment, eax
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm

loads:
    LOAD "DS: data, read-only", ds, READ_ONLY, NONE
    CHECK32 "DS: has the selector", rec_ds, READ_ONLY
    LOAD "DS: data, read-write", ds, READ_WRITE, NONE
    LOAD "DS: code, readable", ds, CODE_READ, NONE
    LOAD "DS: code, execute-only", ds, CODE_ONLY, V_GP, CODE_ONLY
    CHECK32 "DS: is what it was", rec_ds, DATA32
    LOAD "DS: conforming code", ds, CONFORMING, NONE
    LOAD "DS: conforming code, execute-only", ds, CONFORMING_ONLY, V_GP, CONFORMING_ONLY
    LOAD "DS: conforming code with RPL 3", ds, CONFORMING | 3, NONE
    LOAD "DS: data of level 0 with RPL 3", ds, READ_WRITE | 3, V_GP, READ_WRITE
    LOAD "DS: data of level 0 with RPL 1", ds, READ_WRITE | 1, V_GP, READ_WRITE
    LOAD "DS: data of level 3 with RPL 3", ds, USER_READ_WRITE | 3, NONE
    LOAD "DS: data of level 3 with RPL 0", ds, USER_READ_WRITE, NONE
    LOAD "DS: not present", ds, ABSENT, V_NP, ABSENT
    LOAD "DS: a TSS", ds, TASK32, V_GP, TASK32
    LOAD "DS: a call gate", ds, GATE, V_GP, GATE
    LOAD "DS: outside the GDT", ds, OUTSIDE, V_GP, OUTSIDE
    LOAD "DS: outside the GDT with RPL 3", ds, OUTSIDE | 3, V_GP, OUTSIDE
    LOAD "DS: null", ds, 0, NONE
    LOAD "DS: null with RPL 3", ds, 3, NONE
    CHECK32 "DS: the null selector keeps its RPL", rec_ds, 3
    LOAD "ES: execute-only", es, CODE_ONLY, V_GP, CODE_ONLY
    LOAD "FS: not present", fs, ABSENT, V_NP, ABSENT
    LOAD "GS: outside the GDT", gs, OUTSIDE, V_GP, OUTSIDE

    # Not present is found last, after type and privilege.
    SET_SEGMENT ABSENT, SCRATCH, 0xFFF, 0x18, FLAGS_32
    LOAD "DS: execute-only and not present", ds, ABSENT, V_GP, ABSENT
    SET_SEGMENT ABSENT, SCRATCH, 0xFFF, 0x12, FLAGS_32
    LOAD "DS: RPL 3 and not present", ds, ABSENT | 3, V_GP, ABSENT

    # The accessed bit: by a load, and not by one that faults.
    SET_SEGMENT READ_WRITE, SCRATCH, 0xFFF, 0x92, FLAGS_32
    LOAD "DS: a segment not accessed so far", ds, READ_WRITE, NONE
    CHECK_BITS "the accessed bit is set", (gdt + READ_WRITE + 4), 0xFF00, 0x9300
    CHECK_BITS "a refused load does not set it", (gdt + CODE_ONLY + 4), 0xFF00, 0x9800
    CHECK_BITS "nor one that is not present", (gdt + ABSENT + 4), 0xFF00, 0x1200

    # POP and LDS load likewise; their stack pointer and register stay when they fault.
    TRY
    push OUTSIDE
    mov ecx, esp
1:  pop ds
    END_TRY
    EXPECT "POP DS: outside the GDT", V_GP, OUTSIDE, 1b
    mov eax, [rec_rsp]
    sub eax, ecx
    CHECK "POP DS: ESP is unchanged", eax, 0
    TRY
    mov dword ptr [SCRATCH], 0x12345678
    mov dword ptr [SCRATCH + 4], ABSENT
    mov ebx, 0xAAAA5555
1:  lds ebx, [SCRATCH]
    END_TRY
    EXPECT "LDS: not present", V_NP, ABSENT, 1b
    CHECK "LDS: the register is unchanged", ebx, 0xAAAA5555
    TRY
    mov dword ptr [SCRATCH + 4], READ_WRITE
    lfs ebx, [SCRATCH]
    END_TRY
    EXPECT "LFS", NONE
    CHECK "LFS: the register", ebx, 0x12345678
    CHECK32 "LFS: the selector", rec_fs, READ_WRITE
    TRY
1:  .byte 0x8E, 0xC8
    END_TRY
    EXPECT "MOV CS, AX", V_UD, -1, 1b
    TRY
1:  .byte 0x8E, 0xF0
    END_TRY
    EXPECT "MOV to segment register 6", V_UD, -1, 1b
    TRY
    mov eax, 0xFFFF
    mov fs, eax
    END_TRY
    EXPECT "selector FFFFh: the LDT's, which is not there", V_GP, 0xFFFC
    TRY
    mov ecx, 0xFFFFFFFF
    mov ecx, ds
    mov edx, 0xFFFFFFFF
    mov dx, ds
    push 0
    mov [esp + 1], ds
    pop ebx
    END_TRY
    CHECK "MOV r32 from DS zero-extends", ecx, DATA32
    CHECK "MOV r16 from DS leaves the upper half", edx, (0xFFFF0000 + DATA32)
    CHECK "MOV m16 from DS writes two bytes", ebx, (DATA32 << 8)
    ret

stack_loads:
    LOAD "SS: null", ss, 0, V_GP, 0
    LOAD "SS: null with RPL 3", ss, 3, V_GP, 0
    LOAD "SS: read-only data", ss, READ_ONLY, V_GP, READ_ONLY
    LOAD "SS: code", ss, CODE_READ, V_GP, CODE_READ
    LOAD "SS: RPL other than CPL", ss, DATA32 | 3, V_GP, DATA32
    LOAD "SS: DPL other than CPL", ss, USER_READ_WRITE, V_GP, USER_READ_WRITE
    LOAD "SS: DPL and RPL other than CPL", ss, USER_READ_WRITE | 3, V_GP, USER_READ_WRITE
    LOAD "SS: not present is #SS", ss, ABSENT, V_SS, ABSENT
    LOAD "SS: outside the GDT", ss, OUTSIDE, V_GP, OUTSIDE
    LOAD "SS: a TSS", ss, TASK32, V_GP, TASK32
    LOAD3 "SS at level 3: null", ss, 0, V_GP, 0
    LOAD3 "SS at level 3: data of level 0", ss, DATA32, V_GP, DATA32
    LOAD3 "SS at level 3: data of level 3 with RPL 0", ss, USER_READ_WRITE, V_GP, USER_READ_WRITE
    LOAD3 "SS at level 3", ss, USER_READ_WRITE | 3, NONE
    CHECK32 "SS at level 3: the selector", rec_ss, (USER_READ_WRITE | 3)

    # The stack's width is SS.B's.
    TRY
    mov eax, DATA16
    mov ebx, esp
    mov ss, eax
    mov esp, 0x12340FF0
    push eax
    mov ecx, esp
    mov eax, DATA32
    mov ss, eax
    mov esp, ebx
    END_TRY
    EXPECT "a 16-bit stack segment", NONE
    CHECK "only SP moves", ecx, 0x12340FEC
    # LSS loads both at once.
    TRY
    mov dword ptr [SCRATCH], 0xABC0
    mov dword ptr [SCRATCH + 4], DATA16
    mov ebx, esp
    lss esp, [SCRATCH]
    mov ecx, esp
    mov edx, ss
    mov eax, DATA32
    mov ss, eax
    mov esp, ebx
    END_TRY
    EXPECT "LSS", NONE
    CHECK "LSS: ESP", ecx, 0xABC0
    CHECK "LSS: SS", edx, DATA16
    ret

local_table:
    mov dword ptr [ldt], 0x0000FFFF
    mov dword ptr [ldt + 4], 0x00CF9200
    mov dword ptr [ldt + 8], 0x0000FFFF
    mov dword ptr [ldt + 12], 0x00CF9200
    mov dword ptr [ldt + 0x20], 0x0000FFFF # Beyond the limit.
    mov dword ptr [ldt + 0x24], 0x00CF9200
    xor eax, eax
    lldt ax
    LOAD "without an LDT: selector 4", ds, 4, V_GP, 4
    LOAD "without an LDT: selector Ch", ds, 0xC, V_GP, 0xC
.macro LOAD_TABLE name, selector, vector, error=-1
    TRY
    mov eax, \selector
1:  lldt ax
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
    LOAD_TABLE "LLDT: not present", ABSENT_TABLE, V_NP, ABSENT_TABLE
    LOAD_TABLE "LLDT: a data segment", DATA32, V_GP, DATA32
    LOAD_TABLE "LLDT: a TSS", TASK32, V_GP, TASK32
    LOAD_TABLE "LLDT: outside the GDT", OUTSIDE, V_GP, OUTSIDE
    LOAD_TABLE "LLDT: a selector of the LDT", 4, V_GP, 4
    LOAD_TABLE "LLDT: null", 3, NONE
    LOAD_TABLE "LLDT", LOCAL_TABLE, NONE
    xor eax, eax
    sldt eax
    CHECK "SLDT", eax, LOCAL_TABLE
    CHECK_BITS "the descriptor is as it was", (gdt + LOCAL_TABLE + 4), 0xFF00, 0x8200
    LOAD "the LDT's entry 0 is no null selector", ds, 4, NONE
    CHECK_BITS "and its accessed bit is set", (ldt + 4), 0xFF00, 0x9300
    LOAD "the LDT's entry 1", ds, 0xC, NONE
    LOAD "beyond the LDT's limit", ds, 0x24, V_GP, 0x24
    LOAD3 "LDT entry of level 0 at level 3", ds, 0xC | 3, V_GP, 0xC
    ret

# --- What a segment allows --------------------------------------------------------------------------------------------
# One instruction with DS as `selector`.
.macro ACCESS name, selector, vector, error, instruction:vararg
    TRY
    mov eax, \selector
    mov ds, eax
    mov ebx, 0xFFD
1:  \instruction
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
accesses:
    TCG_DIFFERS_BEGIN "SDM 3 5.3 to 5.5: limits, types and null selectors are checked at each access; TCG does not"
    ACCESS "a byte at the limit", READ_WRITE, NONE, -1, mov al, [ebx + 2]
    ACCESS "a byte behind the limit", READ_WRITE, V_GP, 0, mov al, [ebx + 3]
    ACCESS "a word at the limit", READ_WRITE, V_GP, 0, mov ax, [ebx + 2]
    ACCESS "a word up to the limit", READ_WRITE, NONE, -1, mov ax, [ebx + 1]
    ACCESS "a doubleword over the limit", READ_WRITE, V_GP, 0, mov eax, [ebx]
    ACCESS "a quadword over the limit", READ_WRITE, V_GP, 0, fld qword ptr [ebx - 4]
    ACCESS "an offset of FFFFFFFFh", READ_WRITE, V_GP, 0, mov al, [0xFFFFFFFF]
    ACCESS "a write behind the limit", READ_WRITE, V_GP, 0, mov [ebx + 3], al
    ACCESS "a read-modify-write behind the limit", READ_WRITE, V_GP, 0, inc byte ptr [ebx + 3]
    ACCESS "CMPXCHG behind the limit", READ_WRITE, V_GP, 0, cmpxchg [ebx], ecx
    # Bit FFDh of the doubleword at FF9h lies in byte 1F8h + FF9h.
    ACCESS "BTS reaches behind the limit by its bit offset", READ_WRITE, V_GP, 0, bts dword ptr [ebx - 4], ebx
    ACCESS "a limit in pages: its last byte", PAGES, NONE, -1, mov al, [0x1FFF]
    ACCESS "a limit in pages: behind it", PAGES, V_GP, 0, mov al, [0x2000]
    ACCESS "LEA asks nothing", READ_WRITE, NONE, -1, lea eax, [0x100000]
    ACCESS "CLFLUSH behind the limit", READ_WRITE, V_GP, 0, clflush [ebx + 0x1000]
    ACCESS "PREFETCHT0 behind the limit asks nothing", READ_WRITE, NONE, -1, prefetcht0 [ebx + 0x1000]
    ACCESS "a read of a read-only segment", READ_ONLY, NONE, -1, mov al, [0]
    ACCESS "a write to a read-only segment", READ_ONLY, V_GP, 0, mov [0], al
    ACCESS "XCHG with a read-only segment", READ_ONLY, V_GP, 0, xchg [0], al
    ACCESS "ADD to a read-only segment", READ_ONLY, V_GP, 0, add dword ptr [0], 1
    ACCESS "CMP with a read-only segment", READ_ONLY, NONE, -1, cmp dword ptr [0], 1
    ACCESS "a write to a readable code segment", CODE_READ, V_GP, 0, mov [SCRATCH], al
    ACCESS "a read of a readable code segment", CODE_READ, NONE, -1, mov al, [SCRATCH]
    ACCESS "a read by a null selector", 0, V_GP, 0, mov al, [SCRATCH]
    ACCESS "a write by a null selector", 3, V_GP, 0, mov [SCRATCH], al
    ACCESS "PUSH of memory by a null selector", 0, V_GP, 0, push dword ptr [SCRATCH]
    ACCESS "LODSB by a null selector", 0, V_GP, 0, lodsb
    ACCESS "XLATB by a null selector", 0, V_GP, 0, xlatb

    TRY
    mov eax, READ_WRITE
    mov es, eax
    mov esi, SCRATCH
    mov edi, 0xFFE
    mov ecx, 8
1:  rep movsb
    END_TRY
    EXPECT "REP MOVSB up to the limit of ES", V_GP, 0, 1b
    CHECK "it moved what fits", ecx, 6
    CHECK "EDI stands at the limit", edi, 0x1000

    # The stack segment: #SS.
    TRY
    mov ebx, esp
    mov eax, READ_WRITE
    mov ss, eax
    mov esp, 0xFFD
1:  pop ecx
    mov eax, DATA32
    mov ss, eax
    mov esp, ebx
    END_TRY
    EXPECT "POP over the limit of SS", V_SS, 0, 1b
    CHECK32 "ESP is unchanged", rec_ss, READ_WRITE
    TRY
    mov ebx, esp
    mov eax, READ_WRITE
    mov ss, eax
    mov esp, 0x800
    mov ebp, 0xFFE
1:  mov eax, [ebp]
    mov eax, DATA32
    mov ss, eax
    mov esp, ebx
    END_TRY
    EXPECT "[EBP] over the limit of SS", V_SS, 0, 1b
    TRY
    mov ebx, esp
    mov eax, READ_WRITE
    mov ss, eax
    mov esp, 0x800
    mov ebp, 0xFFE
    mov eax, ds:[ebp]
    mov eax, ss:[0x10]
1:  mov eax, ss:[0x1000]
    mov eax, DATA32
    mov ss, eax
    mov esp, ebx
    END_TRY
    EXPECT "an override to SS beyond its limit, one to DS within", V_SS, 0, 1b
    TRY
    mov ebx, esp
    mov eax, READ_WRITE
    mov ss, eax
    mov esp, 0x800
    mov ebp, 0xFFE
1:  leave
    mov eax, DATA32
    mov ss, eax
    mov esp, ebx
    END_TRY
    EXPECT "LEAVE with EBP over the limit", V_SS, 0, 1b
    CHECK "LEAVE: EBP is unchanged", ebp, 0xFFE
    CHECK32 "LEAVE: ESP is unchanged", rec_rsp, 0x800

    # Code: execute-only, and its limit.
    TRY
    jmp CODE_ONLY:2f
2:
1:  mov al, cs:[main]
    END_TRY
    EXPECT "a read by CS of an execute-only segment", V_GP, 0, 1b
    TRY
1:  mov cs:[SCRATCH], al
    END_TRY
    EXPECT "a write by CS", V_GP, 0, 1b
    TCG_DIFFERS_END
    TRY
    mov al, cs:[main]
    END_TRY
    EXPECT "a read by CS of a readable segment", NONE
    ret

expand_down:
    TCG_DIFFERS_BEGIN "SDM 3 5.3: an expand-down segment's offsets lie above its limit; TCG does not check"
    ACCESS "expand-down: at the limit", EXPAND_DOWN, V_GP, 0, mov al, [0xFFF]
    ACCESS "expand-down: above the limit", EXPAND_DOWN, NONE, -1, mov al, [0x1000]
    ACCESS "expand-down: over the limit from below", EXPAND_DOWN, V_GP, 0, mov eax, [0xFFE]
    ACCESS "expand-down: at 0", EXPAND_DOWN, V_GP, 0, mov al, [0]
    ACCESS "expand-down, 32 bits: at 64 KiB", EXPAND_DOWN, NONE, -1, mov al, [0x10000]
    ACCESS "expand-down, 16 bits: at FFFFh", EXPAND_DOWN16, NONE, -1, mov al, [0xFFFF]
    ACCESS "expand-down, 16 bits: at 64 KiB", EXPAND_DOWN16, V_GP, 0, mov al, [0x10000]
    ACCESS "expand-down, 16 bits: a word over 64 KiB", EXPAND_DOWN16, V_GP, 0, mov ax, [0xFFFF]
    TCG_DIFFERS_END
    ret

# --- Level 3 ----------------------------------------------------------------------------------------------------------
.macro USER name, vector, error, instruction:vararg
    TRY
    RING3
1:  \instruction
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
user_loads:
    LOAD3 "level 3: DS of level 0", ds, DATA32, V_GP, DATA32
    LOAD3 "level 3: DS of level 3 with RPL 0", ds, USER_READ_WRITE, NONE
    LOAD3 "level 3: DS, conforming code of level 0", ds, CONFORMING, NONE
    LOAD3 "level 3: DS, code of level 0", ds, CODE_READ, V_GP, CODE_READ
    LOAD3 "level 3: DS, null", ds, 0, NONE
    USER "level 3: HLT", V_GP, 0, hlt
    USER "level 3: CLI", V_GP, 0, cli
    USER "level 3: STI", V_GP, 0, sti
    USER "level 3: CLTS", V_GP, 0, clts
    USER "level 3: LMSW", V_GP, 0, lmsw ax
    USER "level 3: MOV from CR0", V_GP, 0, mov eax, cr0
    USER "level 3: MOV to CR3", V_GP, 0, mov cr3, eax
    USER "level 3: MOV from DR7", V_GP, 0, mov eax, dr7
    USER "level 3: INVLPG", V_GP, 0, invlpg [eax]
    USER "level 3: INVD", V_GP, 0, invd
    USER "level 3: WBINVD", V_GP, 0, wbinvd
    USER "level 3: LGDT", V_GP, 0, lgdt [gdt_pointer]
    USER "level 3: LIDT", V_GP, 0, lidt [idt32_pointer]
    USER "level 3: LLDT", V_GP, 0, lldt ax
    USER "level 3: LTR", V_GP, 0, ltr ax
    USER "level 3: RDMSR", V_GP, 0, rdmsr
    USER "level 3: WRMSR", V_GP, 0, wrmsr
    USER "level 3: SGDT without UMIP", NONE, -1, sgdt [SCRATCH + 0x100]
    USER "level 3: SLDT without UMIP", NONE, -1, sldt [SCRATCH + 0x100]
    USER "level 3: STR without UMIP", NONE, -1, str [SCRATCH + 0x100]
    USER "level 3: SMSW without UMIP", NONE, -1, smsw [SCRATCH + 0x100]
    USER "level 3: CPUID", NONE, -1, cpuid
    USER "level 3: RSM outside SMM", V_UD, -1, rsm
    USER "level 3: UD2", V_UD, -1, ud2
    USER "level 3: INT n through a gate of level 0", V_GP, (0x40 * 8 + 2), int 0x40
    USER "level 3: INT n through the gate of #GP", V_GP, (13 * 8 + 2), int 13
    TRY
    RING3
    .byte 0xF1
1:
    END_TRY
    TCG_DIFFERS "SDM 2 INT1: #DB, a trap; TCG makes it #UD here"
    EXPECT "level 3: ICEBP asks no privilege", V_DB, -1, 1b
    CHECK32 "it leaves SS:ESP on the inner stack", rec_frame, (EVENT_STACK - 20)
    CHECK32 "SS of the handler", rec_handler_ss, DATA32
    CHECK32 "CS of the handler", rec_handler_cs, CODE32
    CHECK32 "SS of the frame", rec_ss, USER_DATA
    CHECK32 "ESP of the frame", rec_rsp, USER_STACK
    CHECK32 "CS of the frame", rec_cs, USER_CODE32
    # With IOPL 3, CLI, STI and I/O are allowed.
    TRY
    RING3 FLAG_IOPL | 2
    sti
    pushfd
    pop ecx
    cli
    pushfd
    pop edx
    in al, 0x80
    END_TRY
    EXPECT "level 3 with IOPL 3: STI, CLI, IN", NONE
    and ecx, FLAG_IF
    CHECK "STI sets IF", ecx, FLAG_IF
    and edx, FLAG_IF
    CHECK "CLI clears it", edx, 0
    # POPF at level 3 leaves IOPL, and IF with IOPL below 3.
    TRY
    RING3
    push FLAG_IOPL | FLAG_IF | FLAG_NT | FLAG_CF | 2
    popfd
    pushfd
    pop ecx
    push 2
    popfd
    END_TRY
    EXPECT "level 3: POPFD with IOPL and IF", NONE
    and ecx, FLAG_IOPL | FLAG_IF | FLAG_NT | FLAG_CF
    CHECK "they stay as they are; NT and CF are loaded", ecx, (FLAG_NT | FLAG_CF)
    ret

# --- Direct far jumps and calls ---------------------------------------------------------------------------------------
.macro JUMP name, ring, selector, vector, error=-1
    TRY
.if \ring == 3
    RING3
.endif
1:  jmp (\selector):2f
2:
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
direct_jumps:
    JUMP "JMP: null", 0, 0, V_GP, 0
    JUMP "JMP: null with RPL 3", 0, 3, V_GP, 0
    JUMP "JMP: data", 0, DATA32, V_GP, DATA32
    JUMP "JMP: outside the GDT", 0, OUTSIDE, V_GP, OUTSIDE
    JUMP "JMP: not present", 0, ABSENT_CODE, V_NP, ABSENT_CODE
    JUMP "JMP: RPL above CPL", 0, CODE_READ | 3, V_GP, CODE_READ
    JUMP "JMP: code of level 3 from level 0", 0, USER_CODE32, V_GP, USER_CODE32 & 0xFFFC
    JUMP "JMP: execute-only code", 0, CODE_ONLY, NONE
    CHECK32 "JMP: CS", rec_cs, CODE_ONLY
    JUMP "JMP: conforming code", 0, CONFORMING, NONE
    JUMP "JMP: conforming code with RPL 3", 0, CONFORMING | 3, NONE
    CHECK32 "JMP: CS has the CPL, not the RPL", rec_cs, CONFORMING
    JUMP "JMP: conforming code of level 3 from level 0", 0, USER_CONFORMING, V_GP, USER_CONFORMING
    JUMP "JMP: a target beyond the limit", 0, SHORT_CODE, V_GP, 0
    JUMP "JMP: an LDT descriptor", 0, LOCAL_TABLE, V_GP, LOCAL_TABLE
    JUMP "JMP: an interrupt gate", 0, INTERRUPT_GATE, V_GP, INTERRUPT_GATE
    JUMP "JMP: a reserved type", 0, RESERVED, V_GP, RESERVED
    JUMP "level 3, JMP: code of level 0", 3, CODE32, V_GP, CODE32
    JUMP "level 3, JMP: conforming code of level 0", 3, CONFORMING, NONE
    CHECK32 "level 3, JMP: CPL stays 3 in conforming code", rec_cs, (CONFORMING | 3)
    JUMP "level 3, JMP: code of level 3 with RPL 0", 3, (USER_CODE32 & ~3), NONE
    CHECK32 "level 3, JMP: CS gets RPL 3", rec_cs, USER_CODE32
    JUMP "level 3, JMP: conforming code of level 3", 3, USER_CONFORMING, NONE
    TRY
    RING3
    jmp CONFORMING:2f
2:
1:  cli
    END_TRY
    EXPECT "CLI in conforming code of level 0 at level 3", V_GP, 0, 1b
    # CALL pushes the return address last of all: ESP is unchanged by one that faults.
    TRY
    mov ecx, esp
1:  call ABSENT_CODE:1b
    END_TRY
    EXPECT "CALL: not present", V_NP, ABSENT_CODE, 1b
    mov eax, [rec_rsp]
    sub eax, ecx
    CHECK "CALL: ESP is unchanged", eax, 0
    TRY
    mov ecx, esp
1:  call SHORT_CODE:1b
    END_TRY
    TCG_DIFFERS "SDM 2 CALL: #GP(0) for an offset beyond the limit; TCG's has the selector"
    EXPECT "CALL: beyond the limit", V_GP, 0, 1b
    mov eax, [rec_rsp]
    sub eax, ecx
    CHECK "CALL: ESP is unchanged too", eax, 0
    TRY
    mov ecx, esp
    call CODE_READ:2f
1:
2:  sub ecx, esp
    mov eax, [esp]
    mov ebx, [esp + 4]
    END_TRY
    EXPECT "CALL", NONE
    CHECK "CALL pushes eight bytes", ecx, 8
    sub eax, offset 1b
    CHECK "the return address", eax, 0
    and ebx, 0xFFFF
    CHECK "and CS", ebx, CODE32
    ret

# --- Far returns ------------------------------------------------------------------------------------------------------
# RETF with a frame made by hand; to an outer level when stack_selector is given.
.macro RETURN name, selector, vector, error=-1, stack_selector=none, target=2f
    TRY
.ifnc \stack_selector,none
    push \stack_selector
    push USER_STACK - 0x40
.endif
    push \selector
    push offset \target
1:  retf
2:
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
far_returns:
    RETURN "RETF: same level", CODE_READ, NONE
    CHECK32 "RETF: CS", rec_cs, CODE_READ
    RETURN "RETF: null", 0, V_GP, 0
    RETURN "RETF: data", DATA32, V_GP, DATA32
    RETURN "RETF: outside the GDT", OUTSIDE, V_GP, OUTSIDE
    RETURN "RETF: not present", ABSENT_CODE, V_NP, ABSENT_CODE
    RETURN "RETF: code of level 0 with RPL 3", CODE_READ | 3, V_GP, CODE_READ
    RETURN "RETF: code of level 3 with RPL 0", USER_CODE32 & ~3, V_GP, USER_CODE32 & ~3
    RETURN "RETF: a TSS", TASK32, V_GP, TASK32
    TCG_DIFFERS "SDM 2 RET: #GP(0) for an offset beyond the limit; TCG does not check"
    RETURN "RETF: beyond the limit", SHORT_CODE, V_GP, 0
    RETURN "RETF outwards", USER_CODE32, NONE, -1, USER_DATA
    CHECK32 "RETF outwards: ESP", rec_rsp, (USER_STACK - 0x40)
    CHECK32 "RETF outwards: SS", rec_ss, USER_DATA
    CHECK32 "RETF outwards: DS of level 0 is null now", rec_ds, 0
    CHECK32 "RETF outwards: FS as well", rec_fs, 0
    RETURN "RETF outwards: conforming code of level 0 at level 3", CONFORMING | 3, NONE, -1, USER_DATA
    CHECK32 "RETF outwards: CS is conforming at level 3", rec_cs, (CONFORMING | 3)
    RETURN "RETF outwards: SS null", USER_CODE32, V_GP, 0, 0
    RETURN "RETF outwards: SS null with RPL 3", USER_CODE32, V_GP, 0, 3
    RETURN "RETF outwards: SS of level 0", USER_CODE32, V_GP, DATA32, DATA32
    RETURN "RETF outwards: SS of level 0 with RPL 3", USER_CODE32, V_GP, DATA32, DATA32 | 3
    RETURN "RETF outwards: SS with RPL 0", USER_CODE32, V_GP, USER_DATA & ~3, USER_DATA & ~3
    RETURN "RETF outwards: SS outside the GDT", USER_CODE32, V_GP, OUTSIDE, OUTSIDE | 3
    SET_SEGMENT ABSENT, SCRATCH, 0xFFF, 0x72, FLAGS_32
    TCG_DIFFERS "SDM 2 RET: #SS(selector) when the stack segment is not present; TCG has #NP"
    RETURN "RETF outwards: SS not present is #SS", USER_CODE32, V_SS, ABSENT, ABSENT | 3
    SET_SEGMENT ABSENT, SCRATCH, 0xFFF, 0x12, FLAGS_32
    CHECK32 "RETF that faults: DS is as it was", rec_ds, DATA32

    # Parameters are dropped from both stacks.
    TRY
    push USER_DATA
    push USER_STACK - 0x40
    push 0x11111111
    push 0x22222222
    push USER_CODE32
    push offset 2f
1:  retf 8
2:
    END_TRY
    EXPECT "RETF 8 outwards", NONE
    CHECK32 "the outer ESP is eight higher", rec_rsp, (USER_STACK - 0x40 + 8)
    TRY
    mov ecx, esp
    push 0x11111111
    push 0x22222222
    push CODE32
    push offset 2f
    retf 8
2:  sub ecx, esp
    END_TRY
    EXPECT "RETF 8", NONE
    CHECK "drops its parameters", ecx, 0
    # DS of level 3 and conforming code stay.
    TRY
    mov eax, USER_READ_WRITE
    mov ds, eax
    mov eax, CONFORMING
    mov es, eax
    mov eax, CODE_READ
    mov fs, eax
    push USER_DATA
    push USER_STACK
    push USER_CODE32
    push offset 2f
    retf
2:
    END_TRY
    EXPECT "RETF outwards with usable segments", NONE
    CHECK32 "DS of level 3 stays", rec_ds, USER_READ_WRITE
    CHECK32 "ES with conforming code stays", rec_es, CONFORMING
    CHECK32 "FS with code of level 0 is null", rec_fs, 0
    # Inwards is not possible.
    TRY
    RING3
    push CODE32
    push offset 2f
1:  retf
2:
    END_TRY
    EXPECT "RETF inwards", V_GP, CODE32, 1b
    CHECK32 "RETF inwards: ESP is unchanged", rec_rsp, (USER_STACK - 8)
    # 16 bits: the frame has words.
    TRY
    mov ecx, esp
    push word ptr CODE16
    push word ptr offset 2f
    .byte 0x66
    retf
    .pushsection .low16, "ax"
    MODE 16
2:  jmpd CODE32:3f
    .popsection
    MODE 32
3:  sub ecx, esp
    END_TRY
    EXPECT "a 16-bit RETF", NONE
    CHECK "a 16-bit RETF: four bytes", ecx, 0
    ret

# --- LAR, LSL, VERR, VERW ---------------------------------------------------------------------------------------------
# The flags of the answer are ZF alone; CF, SF and the rest stay. The destination stays when ZF is clear.
.macro ASK name, instruction, selector, zf, value=0xAAAAAAAA
    TRY
    mov eax, \selector
    mov ecx, 0xAAAAAAAA
.if \zf
    push FLAG_CF | FLAG_SF | FLAG_OF | FLAG_AF | 2
.else
    push FLAG_CF | FLAG_ZF | FLAG_SF | FLAG_OF | FLAG_AF | 2
.endif
    popfd
    \instruction ecx, eax
    END_TRY
    CHECK_BITS "\instruction: \name: ZF", rec_flags, 0x8D5, ((\zf << 6) | FLAG_CF | FLAG_SF | FLAG_OF | FLAG_AF)
.ifc \instruction,lar
    mov dword ptr [check_mask], 0xFFF0FFFF # Bits 19 to 16 are undefined (SDM volume 2, LAR).
.endif
    CHECK "\instruction: \name: result", ecx, (\value)
.endm
.macro VERIFY name, instruction, ring, selector, zf
    TRY
.if \ring == 3
    RING3
.endif
    mov eax, \selector
    push (1 - \zf) << 6 | 3
    popfd
    \instruction ax
    END_TRY
    CHECK_BITS "\instruction at level \ring: \name", rec_flags, FLAG_ZF | FLAG_CF, ((\zf << 6) | FLAG_CF)
.endm
questions:
    SET_SEGMENT READ_WRITE, SCRATCH, 0xFFF, 0x92, FLAGS_32
    ASK "data", lar, READ_WRITE, 1, 0x00409200
    ASK "code", lar, CODE32, 1, 0x00C09B00
    ASK "not present", lar, ABSENT, 1, 0x00401200
    ASK "null", lar, 0, 0
    ASK "null with RPL 3", lar, 3, 0
    ASK "outside the GDT", lar, OUTSIDE, 0
    ASK "RPL 3 of a segment of level 0", lar, READ_WRITE | 3, 0
    ASK "RPL 3 of conforming code", lar, CONFORMING | 3, 1, 0x00C09F00
    ASK "a TSS, busy", lar, TASK32, 1, 0x00008B00
    ASK "a 16-bit TSS", lar, TASK16, 1, 0x00008100
    ASK "an LDT", lar, LOCAL_TABLE, 1, 0x00008200
    ASK "a call gate", lar, GATE, 1, 0x0000EC00
    ASK "a task gate", lar, TASK_GATE, 1, 0x00008500
    ASK "an interrupt gate", lar, INTERRUPT_GATE, 0
    ASK "a reserved type", lar, RESERVED, 0
    ASK "bytes", lsl, READ_WRITE, 1, 0xFFF
    ASK "pages", lsl, PAGES, 1, 0x1FFF
    ASK "4 GiB", lsl, DATA32, 1, 0xFFFFFFFF
    ASK "a TSS", lsl, TASK32, 1, 0x67
    ASK "an LDT", lsl, LOCAL_TABLE, 1, 0x1F
    ASK "a 16-bit TSS", lsl, TASK16, 1, 0x2B
    ASK "a call gate", lsl, GATE, 0
    ASK "a task gate", lsl, TASK_GATE, 0
    ASK "a reserved type", lsl, RESERVED, 0
    ASK "null", lsl, 0, 0
    ASK "RPL 3 of a segment of level 0", lsl, READ_WRITE | 3, 0
    CHECK_BITS "neither sets the accessed bit", (gdt + READ_WRITE + 4), 0xFF00, 0x9200
    VERIFY "data", verr, 0, READ_WRITE, 1
    VERIFY "data", verw, 0, READ_WRITE, 1
    VERIFY "read-only data", verr, 0, READ_ONLY, 1
    VERIFY "read-only data", verw, 0, READ_ONLY, 0
    VERIFY "readable code", verr, 0, CODE_READ, 1
    VERIFY "readable code", verw, 0, CODE_READ, 0
    VERIFY "execute-only code", verr, 0, CODE_ONLY, 0
    VERIFY "conforming code", verr, 3, CONFORMING, 1
    VERIFY "code of level 0", verr, 3, CODE_READ, 0
    VERIFY "data of level 0", verr, 3, READ_WRITE, 0
    VERIFY "data of level 0", verw, 3, READ_WRITE, 0
    VERIFY "data of level 3", verr, 3, USER_READ_WRITE, 1
    VERIFY "data of level 3", verw, 3, USER_READ_WRITE, 1
    VERIFY "data of level 0 with RPL 3", verr, 0, READ_WRITE | 3, 0
    VERIFY "a TSS", verr, 0, TASK32, 0
    VERIFY "null", verr, 0, 0, 0
    VERIFY "null", verw, 0, 0, 0
    VERIFY "outside the GDT", verr, 0, OUTSIDE, 0
    TRY
    mov eax, CODE32
    mov ecx, 0xAAAAAAAA
    lar cx, ax
    END_TRY
    CHECK "lar: 16 bits", ecx, 0xAAAA9B00
    ret

adjustments:
.macro ADJUST name, selector, asker, zf, value
    TRY
    mov eax, 0x55550000 + \selector
    mov ecx, \asker
    push (1 - \zf) << 6 | 3
    popfd
    arpl ax, cx
    END_TRY
    CHECK_BITS "ARPL \name: ZF", rec_flags, FLAG_ZF | FLAG_CF, ((\zf << 6) | FLAG_CF)
    CHECK "ARPL \name: result", eax, (0x55550000 + \value)
.endm
    ADJUST "0 by 3", 0x1230, 0xFF3, 1, 0x1233
    ADJUST "3 by 0", 0x1233, 0xFF0, 0, 0x1233
    ADJUST "2 by 2", 0x1232, 2, 0, 0x1232
    ADJUST "1 by 2", 0x1231, 2, 1, 0x1232
    TRY
    mov word ptr [SCRATCH], 0x5550
    mov ecx, 1
    arpl [SCRATCH], cx
    END_TRY
    CHECK_BITS "ARPL in memory", SCRATCH, 0xFFFF, 0x5551
    ret

# --- LTR and the tables -----------------------------------------------------------------------------------------------
.macro LOAD_TASK name, selector, vector, error=-1
    TRY
    mov eax, \selector
1:  ltr ax
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, \error, 1b
.endif
.endm
table_registers:
    LOAD_TASK "LTR: busy", TASK32, V_GP, TASK32
    TCG_DIFFERS "SDM 2 LTR: #GP(0) for a null selector; TCG loads it"
    LOAD_TASK "LTR: null", 0, V_GP, 0
    LOAD_TASK "LTR: data", DATA32, V_GP, DATA32
    LOAD_TASK "LTR: an LDT", LOCAL_TABLE, V_GP, LOCAL_TABLE
    LOAD_TASK "LTR: not present", ABSENT_TASK, V_NP, ABSENT_TASK
    LOAD_TASK "LTR: a selector of the LDT", 4, V_GP, 4
    LOAD_TASK "LTR: outside the GDT", OUTSIDE, V_GP, OUTSIDE
    CHECK_BITS "an LTR that faults marks nothing busy", (gdt + ABSENT_TASK + 4), 0xFF00, 0x0900
    LOAD_TASK "LTR: a 16-bit TSS", TASK16, NONE
    CHECK_BITS "LTR marks it busy", (gdt + TASK16 + 4), 0xFF00, 0x8300
    mov eax, 0xFFFFFFFF
    str eax
    CHECK "STR zero-extends to 32 bits", eax, TASK16
    and byte ptr [gdt + TASK32 + 5], ~2
    LOAD_TASK "LTR: back to the first", TASK32, NONE
    CHECK_BITS "LTR leaves the old task busy", (gdt + TASK16 + 4), 0xFF00, 0x8300

    TRY
    mov dword ptr [SCRATCH + 8], 0
    sgdt [SCRATCH]
    END_TRY
    EXPECT "SGDT", NONE
    CHECK_BITS "SGDT: limit", SCRATCH, 0xFFFF, ((SPARE + SPARE_COUNT * 8) - 1)
    CHECK_AT "SGDT: base", (SCRATCH + 2), gdt
    CHECK_BITS "SGDT: writes six bytes", (SCRATCH + 6), 0xFFFF0000, 0
    # With a 16-bit operand LGDT loads 24 bits of base.
    TRY
    mov word ptr [SCRATCH + 0x20], (SPARE + SPARE_COUNT * 8) - 1
    mov dword ptr [SCRATCH + 0x22], offset gdt
    or byte ptr [SCRATCH + 0x25], 0xAB
    .byte 0x66
    lgdt [SCRATCH + 0x20]
    sgdt [SCRATCH]
    lgdt [gdt_pointer]
    END_TRY
    EXPECT "a 16-bit LGDT", NONE
    CHECK_AT "loads 24 bits of base", (SCRATCH + 2), gdt
    # A GDT that is cut short counts for the next load, not for what is loaded.
    TRY
    mov word ptr [SCRATCH + 0x20], READ_WRITE + 6
    mov dword ptr [SCRATCH + 0x22], offset gdt
    lgdt [SCRATCH + 0x20]
    mov eax, READ_WRITE
    END_TRY
    TRY
    mov eax, READ_WRITE
1:  mov fs, eax
    lgdt [gdt_pointer]
    END_TRY
    EXPECT "a descriptor that ends behind the limit of the GDT", V_GP, READ_WRITE, 1b
    lgdt [gdt_pointer]
    # The table registers themselves.
    TRY
1:  .byte 0x0F, 0x01, 0xD0
    END_TRY
    EXPECT "LGDT's encoding with a register (XGETBV without OSXSAVE)", V_UD, -1, 1b
    TRY
1:  .byte 0x0F, 0x01, 0xD8
    END_TRY
    TCG_DIFFERS "this is AMD's VMRUN, which TCG has: #GP or #UD by EFER.SVME"
    EXPECT "LIDT's encoding with a register", V_UD, -1, 1b
    ret
