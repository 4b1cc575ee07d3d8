# Code that changes, code over the end of a page, LOCK where it may not be, instructions that are too long (SDM volume 2,
# 2.1 and LOCK; volume 3, 8.1.3).
.include "runtime.inc"
SUITE "code", 32

PLACE = SCRATCH           # Code is put together here.
EDGE = SCRATCH + 0x2000   # The end of a page.

.text
main:
    call modification
    call page_edges
    call locks
    call lengths
    call undefined
    ret

# Writes "MOV EAX, value; RET" to `at`.
.macro PUT_MOV at, value
    mov byte ptr [\at], 0xB8
    mov dword ptr [\at + 1], \value
    mov byte ptr [\at + 5], 0xC3
.endm
.macro CALL_AT at
    mov edx, \at
    call edx
.endm

modification:
    PUT_MOV PLACE, 0x11111111
    CALL_AT PLACE
    CHECK "code that was written", eax, 0x11111111
    # The same code, changed after it ran, many times over: the immediate alone.
    xor ebx, ebx
    mov ecx, 1000
1:  mov [PLACE + 1], ecx
    CALL_AT PLACE
    cmp eax, ecx
    je 2f
    inc ebx
2:  loop 1b
    CHECK "an immediate that is changed a thousand times", ebx, 0
    # By a store of one byte, by string operations, by a locked instruction, by a push.
    PUT_MOV PLACE, 0
    CALL_AT PLACE
    mov byte ptr [PLACE + 4], 0x22
    CALL_AT PLACE
    CHECK "changed by a byte", eax, 0x22000000
    mov edi, PLACE + 1
    mov ecx, 4
    mov al, 0x33
    rep stosb
    CALL_AT PLACE
    CHECK "changed by REP STOSB", eax, 0x33333333
    mov esi, offset pattern
    mov edi, PLACE + 1
    mov ecx, 4
    rep movsb
    CALL_AT PLACE
    CHECK "changed by REP MOVSB", eax, 0x44332211
    mov eax, 0x11223344
    lock xadd [PLACE + 1], eax
    CALL_AT PLACE
    CHECK "changed by LOCK XADD", eax, 0x55555555
    mov edx, esp
    mov esp, PLACE + 5
    push 0x66666666
    mov esp, edx
    CALL_AT PLACE
    CHECK "changed by PUSH", eax, 0x66666666
    fild dword ptr [pattern]
    fistp dword ptr [PLACE + 1]
    CALL_AT PLACE
    CHECK "changed by FISTP", eax, 0x44332211
    mov eax, cr4
    or eax, CR4_OSFXSR
    mov cr4, eax
    mov eax, 0x77777777
    movd xmm0, eax
    movd dword ptr [PLACE + 1], xmm0
    CALL_AT PLACE
    CHECK "changed by MOVD", eax, 0x77777777
    # In the same block: the instruction that follows is the one that is changed. A store and a branch are enough; the
    # processors of today see even the next instruction (SDM volume 3, 8.1.3, asks for a branch or a serializing one).
    TRY
    xor eax, eax
    mov byte ptr [1f + 1], 5
    jmp 1f
1:  mov al, 1
    END_TRY
    EXPECT "the next instruction is changed", NONE
    CHECK "it is the changed one that ran", eax, 5
    # A loop whose body changes itself: the count of the add grows each time.
    TRY
    xor eax, eax
    mov ecx, 10
    mov byte ptr [2f + 2], 0
1:  inc byte ptr [2f + 2]
    jmp 2f
2:  add eax, 0x7F
    loop 1b
    END_TRY
    CHECK "a loop that changes itself", eax, 55
    # A REP MOVSB over the code that it is part of does not stop it.
    TRY
    mov esi, offset 1f
    mov edi, offset 1f
    mov ecx, 16
1:  rep movsb
    nop
    nop
    END_TRY
    EXPECT "REP MOVSB onto itself", NONE
    # Data right beside code, in the same page and line.
    PUT_MOV PLACE, 1
    mov ecx, 100
    xor ebx, ebx
1:  CALL_AT PLACE
    add ebx, eax
    add [PLACE + 8], eax
    loop 1b
    CHECK "code beside data that is written", ebx, 100
    CHECK32 "the data", (PLACE + 8), 100
    # Through another linear address of the same page: with paging, one page twice.
    mov edi, 0x180000
    mov eax, 0x87
    mov ecx, 1024
1:  mov [edi], eax
    add edi, 4
    add eax, 0x400000
    loop 1b
    mov dword ptr [0x180000 + 0x40 * 4], 0x87 # 256 MiB is physical 0 as well.
    mov eax, cr4
    or al, CR4_PSE
    mov cr4, eax
    mov eax, 0x180000
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    PUT_MOV PLACE, 0x12121212
    CALL_AT PLACE
    mov dword ptr [PLACE + 0x10000000 + 1], 0x34343434
    CALL_AT PLACE
    mov ebx, eax
    CALL_AT (PLACE + 0x10000000)
    mov ecx, cr0
    and ecx, ~CR0_PG
    mov cr0, ecx
    CHECK "changed by another address", ebx, 0x34343434
    CHECK "run at another address", eax, 0x34343434
    ret
.data
pattern: .long 0x44332211
.text

page_edges:
    # Every split of a ten-byte instruction over the end of a page.
    mov ebp, 1
1:  mov edi, EDGE
    sub edi, ebp
    mov esi, offset long_instruction
    mov ecx, offset long_instruction_end - long_instruction
    rep movsb
    mov dword ptr [SCRATCH + 0x800], 0
    mov edx, EDGE
    sub edx, ebp
    call edx
    cmp dword ptr [SCRATCH + 0x800], 0x5A5A1234
    jne 2f
    inc ebp
    cmp ebp, 10
    jbe 1b
2:  CHECK "an instruction over the end of a page, split at each of its bytes", ebp, 11
    # Its second half is changed after it ran.
    PUT_MOV "EDGE - 3", 0x01020304
    CALL_AT "EDGE - 3"
    mov byte ptr [EDGE + 1], 0x99
    CALL_AT "EDGE - 3"
    CHECK "its second page is changed", eax, 0x99020304
    mov byte ptr [EDGE - 2], 0x88
    CALL_AT "EDGE - 3"
    CHECK "its first page is changed", eax, 0x99020388
    # A block of NOPs that goes over the edge.
    mov edi, EDGE - 64
    mov ecx, 128
    mov al, 0x40 # INC EAX
    rep stosb
    mov byte ptr [edi], 0xC3
    xor eax, eax
    CALL_AT "EDGE - 64"
    CHECK "a run of instructions over the edge", eax, 128
    mov byte ptr [EDGE + 10], 0x48 # DEC EAX
    xor eax, eax
    CALL_AT "EDGE - 64"
    CHECK "one of them changed behind the edge", eax, 126
    mov byte ptr [EDGE - 10], 0x48
    xor eax, eax
    CALL_AT "EDGE - 64"
    CHECK "one of them changed before the edge", eax, 124
    ret
long_instruction:
    mov dword ptr [SCRATCH + 0x800], 0x5A5A1234
    ret
long_instruction_end:

# --- LOCK -------------------------------------------------------------------------------------------------------------
.macro LOCKED name, vector, bytes:vararg
    TRY
    mov ebx, SCRATCH + 0x100
    mov ecx, 1
1:  .byte 0xF0, \bytes
    END_TRY
.if \vector == NONE
    EXPECT "LOCK \name", NONE
.else
    EXPECT "LOCK \name", \vector, -1, 1b
.endif
.endm
locks:
    LOCKED "ADD [EBX], ECX", NONE, 0x01, 0x0B
    LOCKED "OR", NONE, 0x09, 0x0B
    LOCKED "ADC", NONE, 0x11, 0x0B
    LOCKED "SBB", NONE, 0x19, 0x0B
    LOCKED "AND", NONE, 0x21, 0x0B
    LOCKED "SUB", NONE, 0x29, 0x0B
    LOCKED "XOR", NONE, 0x31, 0x0B
    LOCKED "XCHG", NONE, 0x87, 0x0B
    LOCKED "INC", NONE, 0xFF, 0x03
    LOCKED "DEC", NONE, 0xFF, 0x0B
    LOCKED "NOT", NONE, 0xF7, 0x13
    LOCKED "NEG", NONE, 0xF7, 0x1B
    LOCKED "BTS", NONE, 0x0F, 0xAB, 0x0B
    LOCKED "BTR", NONE, 0x0F, 0xB3, 0x0B
    LOCKED "BTC", NONE, 0x0F, 0xBB, 0x0B
    LOCKED "XADD", NONE, 0x0F, 0xC1, 0x0B
    LOCKED "CMPXCHG", NONE, 0x0F, 0xB1, 0x0B
    LOCKED "CMPXCHG8B", NONE, 0x0F, 0xC7, 0x0B
    LOCKED "ADD [EBX], immediate", NONE, 0x83, 0x03, 1
    LOCKED "ADD ECX, [EBX]", V_UD, 0x03, 0x0B
    LOCKED "ADD EAX, ECX", V_UD, 0x01, 0xC8
    LOCKED "INC EAX by FF", V_UD, 0xFF, 0xC0
    TCG_DIFFERS "SDM 2 LOCK: the destination has to be memory"
    LOCKED "XCHG EAX, ECX", V_UD, 0x87, 0xC8
    TCG_DIFFERS "SDM 2 LOCK: the destination has to be memory"
    LOCKED "BTS EAX, ECX", V_UD, 0x0F, 0xAB, 0xC8
    LOCKED "CMPXCHG EAX, ECX", V_UD, 0x0F, 0xB1, 0xC8
    LOCKED "CMP", V_UD, 0x39, 0x0B
    LOCKED "CMP immediate", V_UD, 0x83, 0x3B, 1
    TCG_DIFFERS_BEGIN "SDM 2 LOCK: #UD with any instruction but those listed; TCG ignores it with many"
    LOCKED "MOV", V_UD, 0x89, 0x0B
    LOCKED "NOP", V_UD, 0x90
    LOCKED "TEST", V_UD, 0x85, 0x0B
    LOCKED "BT", V_UD, 0x0F, 0xA3, 0x0B
    LOCKED "SHL", V_UD, 0xD3, 0x23
    LOCKED "PUSH [EBX]", V_UD, 0xFF, 0x33
    LOCKED "MUL", V_UD, 0xF7, 0x23
    LOCKED "MOVSB", V_UD, 0xA4
    LOCKED "CPUID", V_UD, 0x0F, 0xA2
    LOCKED "JMP", V_UD, 0xEB, 0
    LOCKED "FADD", V_UD, 0xD8, 0x03
    LOCKED "MOVAPS", V_UD, 0x0F, 0x28, 0x03
    TCG_DIFFERS_END
    # What it did: the sum is that of one.
    mov dword ptr [SCRATCH + 0x100], 41
    lock inc dword ptr [SCRATCH + 0x100]
    CHECK32 "LOCK INC", "SCRATCH + 0x100", 42
    # Over the end of a cache line and of a page.
    mov dword ptr [SCRATCH + 0xFFE], 0x0001FFFF
    lock inc dword ptr [SCRATCH + 0xFFE]
    CHECK32 "LOCK INC over the end of a page", "SCRATCH + 0xFFE", 0x00020000
    ret

# --- Fifteen bytes ----------------------------------------------------------------------------------------------------
lengths:
    TRY
    .fill 14, 1, 0x3E
    nop
    END_TRY
    EXPECT "fifteen bytes: fourteen prefixes and NOP", NONE
    TRY
1:  .fill 15, 1, 0x3E
    nop
    END_TRY
    EXPECT "sixteen bytes", V_GP, 0, 1b
    TRY
1:  .fill 6, 1, 0x3E
    .byte 0xC7, 0x05
    .long SCRATCH, 0x66
    END_TRY
    EXPECT "sixteen bytes, the last of them its operand's", V_GP, 0, 1b
    TRY
    .fill 5, 1, 0x3E
    .byte 0xC7, 0x05
    .long SCRATCH, 0x77
    END_TRY
    EXPECT "fifteen bytes with operands", NONE
    CHECK32 "it was executed", SCRATCH, 0x77
    # The sixteenth byte is not asked for: fifteen prefixes at the very end of what is mapped would be #PF otherwise. Here:
    # #GP comes although a UD2 follows.
    TRY
1:  .fill 15, 1, 0x66
    ud2
    END_TRY
    EXPECT "fifteen prefixes and UD2", V_GP, 0, 1b
    ret

undefined:
.macro UNDEFINED name, bytes:vararg
    TRY
    mov ebx, SCRATCH
1:  .byte \bytes
    END_TRY
    EXPECT "\name", V_UD, -1, 1b
.endm
    UNDEFINED "UD2", 0x0F, 0x0B
    UNDEFINED "UD1", 0x0F, 0xB9, 0xC0
    UNDEFINED "UD0", 0x0F, 0xFF, 0xC0
    UNDEFINED "FE /2", 0xFE, 0xD0
    UNDEFINED "FF /7", 0xFF, 0xF8
    TCG_DIFFERS "SDM 2 table A-6: not defined"
    UNDEFINED "C6 /1", 0xC6, 0xC8, 0
    TCG_DIFFERS "SDM 2 table A-6: not defined"
    UNDEFINED "C7 /2", 0xC7, 0xD0, 0, 0, 0, 0
    UNDEFINED "LEA with a register", 0x8D, 0xC0
    UNDEFINED "CMPXCHG8B with a register", 0x0F, 0xC7, 0xC8
    UNDEFINED "MOVNTI with a register", 0x0F, 0xC3, 0xC0
    UNDEFINED "BOUND with a register", 0x62, 0xC0
    SKIP_ON_TCG "8F /1 and far JMP and CALL with a register, which TCG takes for something else (SDM 2 JMP: #UD)", 2f
    UNDEFINED "8F /1", 0x8F, 0xC8
    UNDEFINED "JMP far with a register", 0xFF, 0xE8
    UNDEFINED "CALL far with a register", 0xFF, 0xD8
2:
    ret
