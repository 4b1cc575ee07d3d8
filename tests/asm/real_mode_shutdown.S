# A fault in real mode whose frame has no room, again and again, is a triple fault too (SDM volume 3, 6.15, #DF).
.include "runtime.inc"
SUITE "real_mode_shutdown", 32

.text
main:
    TRY
    END_TRY
    EXPECT "the machine works", NONE
    ABOUT_TO_RESET
    TRY
    REAL 0x4000
    mov sp, 1
    push ax
    END_TRY16
    EXPECT "nothing comes behind a shutdown", -2
    ret
