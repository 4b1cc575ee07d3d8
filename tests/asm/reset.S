# Ways to reset: each starts the guest anew, with the processor as after power-up. Which one comes next is kept in the CMOS
# RAM, which a reset leaves alone.
.include "runtime.inc"
SUITE "reset", 32

CMOS_STEP = 0x6E
CMOS_MARK = 0x6F
MARK = 0xA7

.text
main:
    mov al, CMOS_MARK
    call read_cmos
    cmp al, MARK
    je 1f
    mov ah, MARK
    mov al, CMOS_MARK
    call write_cmos
    mov ah, 0
    mov al, CMOS_STEP
    call write_cmos
1:  mov al, CMOS_STEP
    call read_cmos
    movzx ebx, al
    mov ah, bl
    inc ah
    mov al, CMOS_STEP
    call write_cmos
    # What each reset has to leave behind.
    mov eax, cr4
    CHECK "CR4", eax, 0
    mov eax, dr7
    CHECK "DR7", eax, 0x400
    mov ecx, MSR_EFER
    rdmsr
    CHECK "EFER", eax, 0
    cmp ebx, 0
    je by_triple_fault
    cmp ebx, 1
    je by_keyboard_controller
    cmp ebx, 2
    je by_port_cf9
    CHECK "three resets", ebx, 3
    mov ah, 0
    mov al, CMOS_MARK
    call write_cmos
    ret

# Dirties what the checks look at.
dirty:
    mov eax, cr4
    or eax, CR4_PSE | CR4_DE
    mov cr4, eax
    mov eax, 0x1
    mov dr7, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    ret
by_triple_fault:
    call dirty
    ABOUT_TO_RESET
    mov dword ptr [SCRATCH], 0
    mov dword ptr [SCRATCH + 4], 0
    lidt [SCRATCH]
    ud2
by_keyboard_controller:
    call dirty
    ABOUT_TO_RESET
1:  in al, 0x64
    test al, 2
    jnz 1b
    mov al, 0xFE
    out 0x64, al
    jmp waiting
by_port_cf9:
    call dirty
    ABOUT_TO_RESET
    mov edx, 0xCF9
    mov al, 2
    out dx, al
    mov al, 6
    out dx, al
waiting:
    mov ecx, 100000000
1:  pause
    loop 1b
    CHECK "the reset came", ecx, 1
    ret

read_cmos:
    out 0x70, al
    in al, 0x71
    ret
write_cmos:
    out 0x70, al
    mov al, ah
    out 0x71, al
    ret
