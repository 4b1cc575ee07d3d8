# What a test says, on port E9h, and how it ends: isa-debug-exit with 10h when all checks passed, 11h when not. The
# routines exist twice, from the same lines: for main in 32-bit and in 64-bit mode. They leave registers and flags alone.
.include "runtime.inc"

.globl check_name, check_actual, check_expected, check_mask, expect_vector, expect_error, expect_address
.globl expect_any_address, tcg_reason, tcg_reason_lasts
.globl check32, check64, expect32, expect64, skipping_on_tcg32, skipping_on_tcg64, finish32, finish64
.globl unexpected_event32, unexpected_event64, restore_vectors32, restore_vectors64
.globl about_to_reset32, about_to_reset64

DEBUG_PORT = 0xE9
EXIT_PORT = 0xF4
EXIT_PASSED = 0x10
EXIT_FAILED = 0x11

.section .record, "aw"
    .align 8
check_actual: .quad 0
check_expected: .quad 0
check_mask: .quad -1
check_name: .quad 0
expect_vector: .long 0
expect_error: .long 0
expect_address: .long 0
expect_any_address: .long 0
tcg_reason: .long 0
tcg_reason_lasts: .long 0
checks_done: .long 0
checks_failed: .long 0
verdict: .long 0

.section .rodata
text_suite: .asciz "suite "
text_ok: .asciz "ok    "
text_fail: .asciz "FAIL  "
text_known: .asciz "known "
text_skip: .asciz "skip  "
text_expected: .asciz ": expected "
text_got: .asciz " got "
text_vector: .asciz "vector "
text_error: .asciz " error code "
text_address: .asciz " at "
text_because: .asciz " ["
text_because_end: .asciz "]"
text_unexpected: .asciz "FAIL  an event that nothing expected, after this check: "
text_cr2: .asciz " cr2 "
text_flags: .asciz " flags "
text_cs: .asciz " cs "
text_stack: .asciz " stack "
text_reset: .asciz "about to reset\n"
text_checks: .asciz "checks "
text_failed: .asciz " failed "

.macro SAY routine, text
    mov esi, offset \text
    call print\routine
.endm
.macro SAVE_ALL bits
.if \bits == 64
    pushfq
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
.else
    pushfd
    pushad
.endif
    cld
.endm
.macro RESTORE_ALL bits
.if \bits == 64
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    popfq
.else
    popad
    popfd
.endif
    ret
.endm

.macro ROUTINES bits
.text
.code\bits

# ESI: a text with an end of zero.
print\bits:
1:  mov al, [esi]
    test al, al
    jz 2f
    out DEBUG_PORT, al
    lea esi, [esi + 1]
    jmp 1b
2:  ret

# EAX in hexadecimal, without leading zeros.
print_hex\bits:
    mov edx, eax
    mov ecx, 32
1:  sub ecx, 4
    jz 2f
    mov eax, edx
    shr eax, cl
    jz 1b
2:  mov eax, edx
    shr eax, cl
    and eax, 15
    cmp al, 10
    jb 3f
    add al, 'a' - '0' - 10
3:  add al, '0'
    out DEBUG_PORT, al
    sub ecx, 4
    jns 2b
    ret

# EAX in decimal.
print_decimal\bits:
    xor ecx, ecx
    mov ebx, 10
1:  xor edx, edx
    div ebx
    mov [digits + ecx], dl
    lea ecx, [ecx + 1]
    test eax, eax
    jnz 1b
2:  mov al, [digits + ecx - 1]
    add al, '0'
    out DEBUG_PORT, al
    sub ecx, 1
    jnz 2b
    ret

# EDX:EAX in hexadecimal.
print_wide\bits:
    mov ebx, eax
    test edx, edx
    jz 1f
    mov eax, edx
    call print_hex\bits
    mov al, '_'
    out DEBUG_PORT, al
1:  mov eax, ebx
    jmp print_hex\bits

end_line\bits:
    mov al, 10
    out DEBUG_PORT, al
    ret

# ECX: 0 when the check passed. Prints the line's head and counts; leaves what it is in `verdict`: 0 passed.
head\bits:
    mov [verdict], ecx
    add dword ptr [checks_done], 1
    mov esi, offset text_ok
    test ecx, ecx
    jz 2f
    mov esi, offset text_fail
    cmp dword ptr [on_tcg], 0
    je 1f
    cmp dword ptr [tcg_reason], 0
    je 1f
    mov esi, offset text_known
    jmp 2f
1:  add dword ptr [checks_failed], 1
2:  call print\bits
    mov esi, [check_name]
    jmp print\bits

tail\bits:
    cmp dword ptr [verdict], 0
    je 1f
    cmp dword ptr [on_tcg], 0
    je 1f
    cmp dword ptr [tcg_reason], 0
    je 1f
    SAY \bits, text_because
    mov esi, [tcg_reason]
    call print\bits
    SAY \bits, text_because_end
1:  cmp dword ptr [tcg_reason_lasts], 0
    jne 2f
    mov dword ptr [tcg_reason], 0
2:  jmp end_line\bits

check\bits:
    SAVE_ALL \bits
    mov eax, [check_actual]
    xor eax, [check_expected]
    and eax, [check_mask]
    mov ecx, eax
    mov eax, [check_actual + 4]
    xor eax, [check_expected + 4]
    or ecx, eax
    call head\bits
    cmp dword ptr [verdict], 0
    je 1f
    SAY \bits, text_expected
    mov eax, [check_expected]
    mov edx, [check_expected + 4]
    call print_wide\bits
    SAY \bits, text_got
    mov eax, [check_actual]
    and eax, [check_mask]
    mov edx, [check_actual + 4]
    call print_wide\bits
1:  call tail\bits
    mov dword ptr [check_mask], -1
    RESTORE_ALL \bits

# EAX vector, EBX error code, EDI address.
print_event\bits:
    mov [event_error], ebx
    SAY \bits, text_vector
    call print_decimal_saving\bits
    mov eax, [event_error]
    cmp eax, -1
    je 1f
    SAY \bits, text_error
    mov eax, [event_error]
    call print_hex\bits
1:  SAY \bits, text_address
    mov eax, edi
    jmp print_hex\bits
print_decimal_saving\bits:
    mov eax, [event_vector]
    jmp print_decimal\bits

expect\bits:
    SAVE_ALL \bits
    xor ecx, ecx
    mov eax, [rec_vector]
    xor eax, [expect_vector]
    or ecx, eax
    mov eax, [rec_error]
    xor eax, [expect_error]
    or ecx, eax
    cmp dword ptr [expect_any_address], 0
    jne 1f
    mov eax, [rec_rip]
    xor eax, [expect_address]
    or ecx, eax
1:  call head\bits
    cmp dword ptr [verdict], 0
    je 3f
    SAY \bits, text_expected
    mov eax, [expect_vector]
    mov [event_vector], eax
    mov ebx, [expect_error]
    mov edi, [expect_address]
    call print_event\bits
    SAY \bits, text_got
    mov eax, [rec_vector]
    mov [event_vector], eax
    mov ebx, [rec_error]
    mov edi, [rec_rip]
    call print_event\bits
3:  call tail\bits
    RESTORE_ALL \bits

about_to_reset\bits:
    SAVE_ALL \bits
    SAY \bits, text_reset
    RESTORE_ALL \bits

# Says what is left out, when it is.
skipping_on_tcg\bits:
    SAVE_ALL \bits
    cmp dword ptr [on_tcg], 0
    je 1f
    SAY \bits, text_skip
    mov esi, [check_name]
    call print\bits
    call end_line\bits
1:  RESTORE_ALL \bits

unexpected_event\bits:
    add dword ptr [checks_failed], 1
    SAY \bits, text_unexpected
    mov eax, [rec_vector]
    mov [event_vector], eax
    mov ebx, [rec_error]
    mov edi, [rec_rip]
    call print_event\bits
    SAY \bits, text_cs
    mov eax, [rec_cs]
    call print_hex\bits
    SAY \bits, text_flags
    mov eax, [rec_flags]
    call print_hex\bits
    SAY \bits, text_stack
    mov eax, [rec_rsp]
    call print_hex\bits
    SAY \bits, text_cr2
    mov eax, [rec_cr2]
    call print_hex\bits
    call end_line\bits
    jmp finish\bits

finish\bits:
    SAY \bits, text_suite
    SAY \bits, suite_name
    mov al, ' '
    out DEBUG_PORT, al
    SAY \bits, text_checks
    mov eax, [checks_done]
    call print_decimal\bits
    SAY \bits, text_failed
    mov eax, [checks_failed]
    call print_decimal\bits
    call end_line\bits
    mov al, EXIT_PASSED
    cmp dword ptr [checks_failed], 0
    je 1f
    mov al, EXIT_FAILED
1:  out EXIT_PORT, al
2:  cli
    hlt
    jmp 2b

# Every gate of the three tables as the runtime wants it: INT 3, INTO and the end of a TRY for every privilege level.
restore_vectors\bits:
    SAVE_ALL \bits
    xor ecx, ecx
1:  mov edx, 0x8E00
    cmp ecx, 0xF0
    je 2f
    cmp ecx, 3
    je 2f
    cmp ecx, 4
    jne 3f
2:  mov edx, 0xEE00
3:  mov eax, ecx
    shl eax, 4
    lea ebx, [eax + stubs32]
    mov [idt32 + ecx * 8], bx
    mov word ptr [idt32 + ecx * 8 + 2], CODE32
    and ebx, 0xFFFF0000
    or ebx, edx
    mov [idt32 + ecx * 8 + 4], ebx
    lea ebx, [eax + stubs64]
    mov [idt64 + eax], bx
    mov word ptr [idt64 + eax + 2], CODE64
    and ebx, 0xFFFF0000
    or ebx, edx
    mov [idt64 + eax + 4], ebx
    mov dword ptr [idt64 + eax + 8], 0
    mov dword ptr [idt64 + eax + 12], 0
    shr eax, 1
    lea ebx, [eax + stubs16]
    mov [ecx * 4], ebx
    lea ecx, [ecx + 1]
    cmp ecx, 256
    jb 1b
    RESTORE_ALL \bits
.endm

ROUTINES 32
ROUTINES 64

.bss
digits: .fill 16, 1, 0
event_vector: .long 0
event_error: .long 0
