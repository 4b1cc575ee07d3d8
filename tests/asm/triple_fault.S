# A triple fault: with -no-reboot the emulator ends.
.include "runtime.inc"
SUITE "triple_fault", 32

.text
main:
    # No gate for the exception, none for the double fault.
    mov word ptr [SCRATCH], 6 * 8 - 1
    mov dword ptr [SCRATCH + 2], offset idt32
    TRY
    END_TRY
    EXPECT "the machine works", NONE
    ABOUT_TO_RESET
    lidt [SCRATCH]
    TRY
    ud2
    END_TRY
    EXPECT "nothing comes behind a triple fault", -2
    ret
