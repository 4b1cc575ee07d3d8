# The same small programs in each mode of 32 and of 16 bits: protected mode at levels 0 and 3, flat and with segments, real
# mode and virtual-8086 mode. What they compute must be the same everywhere.
.include "runtime.inc"
SUITE "programs", 32
.include "programs.inc"

CODE32_AT = SPARE
DATA32_AT = SPARE + 8
CODE16_AT = SPARE + 16
DATA16_AT = SPARE + 24
STACK16_AT = SPARE + 32
DATA_SEGMENT = 0x4000 # The paragraph of the 16-bit programs' memory.
DATA = DATA_SEGMENT << 4

.text
main:
    mov ebx, SCRATCH
    call program32
    mov [expected32], eax
    CHECK "32 bits, level 0, flat", eax, SUM32

    TRY
    RING3
    mov ebx, SCRATCH + 0x10000
    call program32
    END_TRY
    EXPECT "32 bits, level 3", NONE
    CHECK "32 bits, level 3, flat: the sum", eax, SUM32

    # Code, data and stack by segments that end behind what is in them.
    SET_SEGMENT_AT CODE32_AT, program32, (program32_end - program32 + 15), ACCESS_CODE, FLAGS_32
    SET_SEGMENT DATA32_AT, DATA, 0xFFFF, ACCESS_DATA, FLAGS_32
    TRY
    push DATA32_AT
    pop ds
    push DATA32_AT
    pop es
    xor ebx, ebx
    call CODE32_AT:(program32_far - program32)
    END_TRY
    EXPECT "32 bits, segments", NONE
    CHECK "32 bits, segments: the sum", eax, SUM32

    TRY
    REAL DATA_SEGMENT
    mov esp, 0xFFF0
    call program16
    END_TRY16
    EXPECT "real mode", NONE
    and eax, 0xFFFF
    CHECK "real mode: the sum", eax, SUM16

    TRY
    VM86 FLAG_IOPL
    mov ax, DATA_SEGMENT
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0xFFF0
    call program16
    END_TRY16
    EXPECT "virtual-8086 mode", NONE
    and eax, 0xFFFF
    CHECK "virtual-8086 mode: the sum", eax, SUM16

    SET_SEGMENT CODE16_AT, 0, 0xFFFF, ACCESS_CODE, FLAGS_16
    SET_SEGMENT DATA16_AT, DATA, 0x1FFF, ACCESS_DATA, FLAGS_16
    SET_SEGMENT STACK16_AT, (DATA + 0x8000), 0xFFF, ACCESS_DATA, FLAGS_16
    TRY
    mov ax, DATA16_AT
    mov ds, ax
    mov es, ax
    jmp CODE16_AT:1f
    .pushsection .low16, "ax"
    MODE 16
1:  mov ax, STACK16_AT
    mov ss, ax
    mov sp, 0x1000
    call program16
    END_TRY16
    EXPECT "16 bits, protected mode", NONE
    and eax, 0xFFFF
    CHECK "16 bits, protected mode: the sum", eax, SUM16
    ret

expected32: .long 0

PROGRAM32 program32
program32_far:
    call program32
    retf
program32_end:
MODE 32

    .pushsection .low16, "ax"
    PROGRAM16 program16
    .popsection
    MODE 32
