# The programs of 32 bits in compatibility mode.
.include "runtime.inc"
SUITE "programs64", 64
.include "programs.inc"

.text
main:
    TRY
    COMPATIBLE
    mov ebx, SCRATCH
    call program32
    END_COMPATIBLE
    EXPECT "compatibility mode, level 0", NONE
    CHECK "compatibility mode, level 0: the sum", rax, SUM32

    TRY
    COMPATIBLE3
    mov eax, USER_DATA
    mov ds, ax
    mov es, ax
    mov ebx, SCRATCH
    call program32
    END_COMPATIBLE
    EXPECT "compatibility mode, level 3", NONE
    CHECK "compatibility mode, level 3: the sum", rax, SUM32
    ret

PROGRAM32 program32
