# From the loader (Multiboot 1, machine state of 3.2) to main, and from main to the end.
.include "runtime.inc"

.globl gdt, idt32, idt64, tss32, tss64, fault_tss, ldt, on_tcg, suite_bits_runtime
.globl idt32_pointer, idt64_pointer, ivt_pointer, gdt_pointer, enter_real, real_target, real_segment, page_tables64

.section .multiboot, "a"
    .align 4
    .long 0x1BADB002, 0, -0x1BADB002

.section .boot, "ax"
.code32
.globl boot_entry
boot_entry:
    cli
    cld
    mov esi, offset low_load
    mov edi, offset low_start
    mov ecx, offset low_end
    sub ecx, edi
    shr ecx, 2
    rep movsd
    mov eax, offset start32
    jmp eax

.text
.code32
start32:
    lgdt [gdt_pointer]
    jmp CODE32:1f
1:  mov eax, DATA32
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, MAIN_STACK
    push 2
    popfd
    mov al, 0xFF # Both interrupt controllers masked.
    out 0x21, al
    out 0xA1, al
    mov eax, 0x40000000
    cpuid
    xor eax, eax
    cmp ebx, 0x54474354 # "TCGT"
    sete al
    mov [on_tcg], eax
    call set_up_tasks
    mode_bits = 32
    RESTORE_VECTORS
    lidt [idt32_pointer]
    mov eax, offset suite_bits
    cmp eax, 64
    je start64
    mov eax, TASK32
    ltr ax
    call main
    jmp finish32

# Bases of the TSSs, in descriptors that are otherwise assembled in place.
set_up_tasks:
    mov eax, offset tss32
    mov edx, TASK32
    call set_base
    mov eax, offset fault_tss
    mov edx, FAULT_TASK
    call set_base
    mov eax, offset tss64
    mov edx, TASK64
set_base:
    mov [gdt + edx + 2], ax
    shr eax, 16
    mov [gdt + edx + 4], al
    ret

# The first 4 GiB mapped to themselves with 2 MiB pages for every privilege level.
PRESENT_WRITE_USER = 7
LARGE = 0x80
page_tables64 = 0x180000
start64:
    mov edi, offset page_tables64
    mov ecx, 6 * 1024
    xor eax, eax
    rep stosd
    mov edi, offset page_tables64
    lea eax, [edi + 0x1000 + PRESENT_WRITE_USER]
    mov [edi], eax
    xor ecx, ecx
1:  mov eax, ecx
    shl eax, 12
    lea eax, [edi + eax + 0x2000 + PRESENT_WRITE_USER]
    mov [edi + ecx * 8 + 0x1000], eax
    inc ecx
    cmp ecx, 4
    jb 1b
    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 21
    or eax, PRESENT_WRITE_USER | LARGE
    mov [edi + ecx * 8 + 0x2000], eax
    inc ecx
    cmp ecx, 2048
    jb 2b
    mov eax, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, eax
    mov cr3, edi
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    or eax, CR0_PG | CR0_PE
    mov cr0, eax
    jmp CODE64:3f
.code64
3:  mov eax, DATA64
    mov ss, ax
    mov esp, MAIN_STACK
    lidt [idt64_pointer]
    mov eax, TASK64
    ltr ax
    call main
    jmp finish64

# To real mode at 0:real_target with DS, ES, FS, GS and SS as real_segment. The segments' limits become 64 KiB first.
.code32
enter_real:
    mov [real_eax], eax
    jmp CODE16:1f
    .pushsection .low16, "ax"
    .code16
1:  mov ax, DATA16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, cr0
    and al, 0xFE
    mov cr0, eax
    ljmp 0, 2f
2:  lidtd cs:[ivt_pointer]
    mov ax, cs:[real_segment]
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, REAL_STACK
    mov eax, cs:[real_eax]
    jmp word ptr cs:[real_target]
    .popsection

.section .record, "aw"
    .align 8
real_eax: .long 0
real_target: .long 0
real_segment: .long 0
on_tcg: .long 0
    .word 0
gdt_pointer: .word gdt_end - gdt - 1
    .long gdt, 0
    .align 8
    .word 0, 0, 0
idt32_pointer: .word 256 * 8 - 1
    .long idt32, 0
    .word 0
idt64_pointer: .word 256 * 16 - 1
    .long idt64, 0
    .word 0
ivt_pointer: .word 256 * 4 - 1
    .long 0, 0

.data
    .align 16
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF # CODE32
    .quad 0x00CF93000000FFFF # DATA32
    .quad 0x00AF9B000000FFFF # CODE64
    .quad 0x00CF93000000FFFF # DATA64
    .quad 0x00009B000000FFFF # CODE16
    .quad 0x000093000000FFFF # DATA16
    .quad 0x00CFFB000000FFFF # USER_CODE32
    .quad 0x00CFF3000000FFFF # USER_DATA
    .quad 0x00AFFB000000FFFF # USER_CODE64
    .quad 0x0000890000000067 # TASK32
    .quad 0x0000890000000067 # FAULT_TASK
    .quad 0x0000890000000067 # TASK64
    .quad 0
    .fill SPARE_COUNT, 8, 0
gdt_end:
    .align 16
ldt: .fill 16, 8, 0

    .align 16
tss32: # SDM volume 3, figure 7-2.
    .long 0, EVENT_STACK, DATA32, 0, 0, 0, 0
    .fill 18, 4, 0
    .word 0, 104
    .fill 32 + 8192 + 4, 1, 0
    .align 16
tss64: # Figure 7-11.
    .long 0, EVENT_STACK, 0, 0, 0, 0, 0
    .fill 18, 4, 0
    .word 0, 104
    .fill 8192 + 4, 1, 0
    .align 16
fault_tss:
    .fill 26, 4, 0

.bss
    .align 16
idt32: .space 256 * 8
idt64: .space 256 * 16
