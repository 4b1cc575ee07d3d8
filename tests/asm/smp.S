# Two processors (SDM volume 3, 8.4, 10.6): INIT and SIPI, the state a processor starts in, IPIs both ways, locked counters,
# and TLB shootdown.
.include "runtime.inc"
SUITE "smp", 64

LAPIC = 0xFEE00000 # In R15 all the time.
LAPIC_ID = 0x20
LAPIC_TPR = 0x80
LAPIC_EOI = 0xB0
LAPIC_SVR = 0xF0
LAPIC_ICR = 0x300
LAPIC_ICR_HIGH = 0x310
OTHER = 1 << 24 # The second processor's APIC ID, as ICR has it.
INIT = 0x4500
SIPI = 0x4600
DELIVERY_PENDING = 1 << 12
MSR_APIC_BASE = 0x1B
TRAMPOLINE = 0x99000 # The page that SIPI names.
AP_STACK = 0x8A000
WINDOW = 0x800000
TABLE = 0x190000
WINDOW_PDE = 0x182000 + 4 * 8
ALL = 7
ROUNDS = 20000
IPI_WORK = 0x90
IPI_FLUSH = 0x91
IPI_BACK = 0x92

.text
main:
    mov r15d, LAPIC
    mov eax, 1
    cpuid
    shr ebx, 16
    and ebx, 0xFF
    CHECK "CPUID: two logical processors", rbx, 2
    mov dword ptr [r15 + LAPIC_SVR], 0x1FF
    call start_other
    call locked_counters
    call messages
    call shootdown
    call halt_and_wake
    call init_again
    ret

.macro SEND low
    mov dword ptr [r15 + LAPIC_ICR_HIGH], OTHER
    mov dword ptr [r15 + LAPIC_ICR], \low
1:  test dword ptr [r15 + LAPIC_ICR], DELIVERY_PENDING
    jnz 1b
.endm
# Until a 32-bit place has a value; gives up after a long while, so that a failure is a failed check.
.macro WAIT_FOR place, value
    mov ecx, 400000000
1:  cmp dword ptr [\place], \value
    je 2f
    pause
    loop 1b
2:
.endm

start_other:
    mov esi, offset trampoline
    mov edi, TRAMPOLINE
    mov ecx, offset trampoline_end - trampoline
    rep movsb
    # SIPI without INIT: a processor that was never started waits for it already.
    SEND INIT
    mov ecx, 100000
1:  pause
    loop 1b
    SEND "SIPI | (TRAMPOLINE >> 12)"
    WAIT_FOR ap_stage, 2
    CHECK32 "the second processor starts and comes to 64-bit mode", ap_stage, 2
    # A second SIPI is ignored by a processor that runs.
    SEND "SIPI | (TRAMPOLINE >> 12)"
    CHECK_BITS "it started with CS of the page", ap_cs, 0xFFFF, (TRAMPOLINE >> 4)
    CHECK_BITS "with IP 0: the first instruction ran", ap_ip, 0xFFFF, 1
    CHECK_BITS "in real mode, CR0 as after INIT", ap_cr0, 0x80000011, 0x10
    mov eax, 1
    cpuid
    sub eax, [ap_edx]
    CHECK "EDX is CPUID's signature", rax, 0
    CHECK32 "DS 0", ap_ds, 0
    CHECK32 "and is still there", ap_stage, 2
    CHECK32 "its APIC ID", ap_id, OTHER
    CHECK_BITS "it is no bootstrap processor", ap_apic_base, 0x900, 0x800
    CHECK32 "EFER came up clear", ap_efer, 0
    mov ecx, MSR_APIC_BASE
    rdmsr
    and eax, 0x100
    CHECK "the first one is", rax, 0x100
    ret

# Tells the second processor what to do next, and waits until it has done it.
.macro COMMAND number
    mov dword ptr [ap_command], \number
.endm
.macro DONE number
    WAIT_FOR ap_done, \number
    CHECK32 "the second processor has done its part \number", ap_done, \number
.endm

locked_counters:
    COMMAND 1
    mov ecx, ROUNDS
1:  lock inc dword ptr [counter]
    lock add qword ptr [counter64 + 4], 1 # Not aligned to eight.
    mov eax, 1
    lock xadd [counter_split + 62], eax # Over the end of a line.
2:  mov eax, [counter_exchange]
    lea edx, [rax + 1]
    lock cmpxchg [counter_exchange], edx
    jne 2b
3:  lock bts dword ptr [spin], 0
    jc 3b
    inc dword ptr [counter_plain]
    mov dword ptr [spin], 0
    loop 1b
    DONE 1
    CHECK32 "LOCK INC", counter, (2 * ROUNDS)
    CHECK32 "LOCK ADD, not aligned", (counter64 + 4), (2 * ROUNDS)
    CHECK32 "LOCK XADD over a cache line", (counter_split + 62), (2 * ROUNDS)
    CHECK32 "LOCK CMPXCHG", counter_exchange, (2 * ROUNDS)
    CHECK32 "a spin lock by LOCK BTS", counter_plain, (2 * ROUNDS)
    # Order: what one processor writes in order, the other sees in order (SDM volume 3, 8.2.3.2).
    mov dword ptr [first], 0
    mov dword ptr [second], 0
    mov dword ptr [ap_done], 0
    COMMAND 2
    xor ebx, ebx
    mov ecx, 100000
1:  mov eax, [second]
    mov edx, [first]
    cmp edx, eax
    jae 2f
    inc ebx
2:  loop 1b
    DONE 2
    CHECK "stores are seen in their order", rbx, 0
    ret

messages:
    mov dword ptr [ap_done], 0
    COMMAND 3 # It enables interrupts and counts them.
    DONE 3
    mov dword ptr [ap_interrupts], 0
    mov ebx, 1
4:  SEND IPI_WORK
    mov ecx, 400000000
1:  cmp [ap_interrupts], ebx
    je 2f
    pause
    loop 1b
2:  inc ebx
    cmp ebx, 100
    jbe 4b
    CHECK32 "a hundred fixed IPIs", ap_interrupts, 100
    # To all but self, and to all.
    mov dword ptr [r15 + LAPIC_ICR], 0xC4000 | IPI_WORK
    WAIT_FOR ap_interrupts, 101
    CHECK32 "to all but self", ap_interrupts, 101
    # NMI.
    SEND 0x4400
    WAIT_FOR ap_nmis, 1
    CHECK32 "an NMI", ap_nmis, 1
    # It sends one back.
    TRY
    mov dword ptr [ap_interrupts], 0
    mov dword ptr [ap_answer], 1
    SEND IPI_WORK
    sti
    mov ecx, 400000000
1:  pause
    loop 1b
    cli
    END_TRY
    EXPECT "an IPI back", IPI_BACK
    mov dword ptr [r15 + LAPIC_EOI], 0
    mov dword ptr [ap_answer], 0
    # A task priority above it holds it back.
    mov dword ptr [ap_done], 0
    mov dword ptr [ap_interrupts], 0
    COMMAND 4
    DONE 4
    SEND IPI_WORK
    mov ecx, 100000
1:  pause
    loop 1b
    CHECK32 "TPR holds an IPI back", ap_interrupts, 0
    mov dword ptr [ap_done], 0
    COMMAND 5
    DONE 5
    WAIT_FOR ap_interrupts, 1
    CHECK32 "and lets it in", ap_interrupts, 1
    ret

# The other processor reads through a page again and again; it is moved, and after an IPI whose handler does INVLPG, the
# old place must not be seen any more.
shootdown:
    mov ecx, 512
    mov edi, TABLE
    mov eax, SCRATCH | ALL
1:  mov [rdi], rax
    add rdi, 8
    add eax, 0x1000
    loop 1b
    mov qword ptr [WINDOW_PDE], TABLE | ALL
    mov rax, cr3
    mov cr3, rax
    mov dword ptr [ap_done], 0
    mov dword ptr [ap_stale], 0
    mov dword ptr [SCRATCH], 0
    COMMAND 6
    DONE 6
    mov ebx, 1
4:  mov eax, ebx
    and eax, 1
    shl eax, 12
    mov [SCRATCH + rax], ebx # The new page has the number of the round.
    or eax, SCRATCH | ALL
    mov [TABLE], eax
    invlpg [WINDOW]
    mov [ap_round], ebx
    SEND IPI_FLUSH
    mov ecx, 400000000
1:  cmp [ap_flushed], ebx
    je 2f
    pause
    loop 1b
2:  mov ecx, 200
3:  pause
    loop 3b
    inc ebx
    cmp ebx, 200
    jbe 4b
    CHECK32 "two hundred shootdowns", ap_flushed, 200
    CHECK32 "none was followed by an old translation", ap_stale, 0
    # A page that is taken away: #PF there.
    mov dword ptr [TABLE], 0
    mov dword ptr [ap_round], 201
    SEND IPI_FLUSH
    WAIT_FOR ap_faults, 1
    CHECK32 "a page that is taken away faults", ap_faults, 1
    mov dword ptr [ap_done], 0
    COMMAND 7
    DONE 7
    ret

halt_and_wake:
    mov dword ptr [ap_interrupts], 0
    mov dword ptr [ap_done], 0
    COMMAND 8
    DONE 8 # It is about to halt.
    mov ecx, 1000000
1:  pause
    loop 1b
    SEND IPI_WORK
    WAIT_FOR ap_interrupts, 1
    CHECK32 "an IPI ends HLT", ap_interrupts, 1
    WAIT_FOR ap_done, 9
    CHECK32 "and it goes on behind it", ap_done, 9
    ret

# INIT in the middle of everything, then SIPI: it starts anew.
init_again:
    mov dword ptr [ap_stage], 0
    SEND INIT
    mov ecx, 1000000
1:  pause
    loop 1b
    CHECK32 "INIT stops it", ap_stage, 0
    SEND "SIPI | (TRAMPOLINE >> 12)"
    WAIT_FOR ap_stage, 2
    CHECK32 "SIPI starts it again", ap_stage, 2
    CHECK_BITS "in real mode", ap_cr0, 0x80000001, 0
    CHECK32 "EFER is clear again", ap_efer, 0
    ret

# --- The second processor ---------------------------------------------------------------------------------------------
.pushsection .text
MODE 16
trampoline:
    mov word ptr cs:[trampoline_ip - trampoline], 1
    mov ax, cs
    mov bx, ds
    mov esi, edx
    mov ecx, cr0
    xor di, di
    mov ds, di
    mov [ap_cs], ax
    mov [ap_ds], bx
    mov [ap_edx], esi
    mov [ap_cr0], ecx
    mov ax, cs:[trampoline_ip - trampoline]
    mov [ap_ip], ax
    mov ss, di
    mov sp, REAL_STACK + 0x800
    lgdtd [gdt_pointer]
    mov dword ptr [ap_stage], 1
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmpd CODE32, ap32
trampoline_ip: .word 0
trampoline_end:
MODE 32
ap32:
    mov eax, DATA32
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, AP_STACK
    mov ecx, MSR_EFER
    rdmsr
    mov [ap_efer], eax
    mov eax, cr4
    or eax, CR4_PAE | CR4_OSFXSR
    mov cr4, eax
    mov eax, offset page_tables64
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    jmp CODE64:ap64
MODE 64
ap64:
    mov eax, DATA64
    mov ss, eax
    mov rsp, AP_STACK
    mov edi, offset ap_idt
    mov ecx, 256
    lea rax, [ap_unexpected]
1:  call set_ap_gate
    add edi, 16
    loop 1b
    mov edi, offset ap_idt + IPI_WORK * 16
    lea rax, [ap_work]
    call set_ap_gate
    mov edi, offset ap_idt + IPI_FLUSH * 16
    lea rax, [ap_flush]
    call set_ap_gate
    mov edi, offset ap_idt + V_NMI * 16
    lea rax, [ap_nmi]
    call set_ap_gate
    mov edi, offset ap_idt + V_PF * 16
    lea rax, [ap_page_fault]
    call set_ap_gate
    lidt [ap_idt_pointer]
    mov r15d, LAPIC
    mov dword ptr [r15 + LAPIC_SVR], 0x1FF
    mov dword ptr [r15 + LAPIC_TPR], 0
    mov eax, [r15 + LAPIC_ID]
    mov [ap_id], eax
    mov ecx, MSR_APIC_BASE
    rdmsr
    mov [ap_apic_base], eax
    mov dword ptr [ap_command], 0
    mov dword ptr [ap_stage], 2
ap_loop:
    pause
    mov eax, [ap_command]
    test eax, eax
    jz ap_loop
    mov dword ptr [ap_command], 0
    cmp eax, 1
    je ap_count
    cmp eax, 2
    je ap_order
    cmp eax, 3
    je ap_enable
    cmp eax, 4
    je ap_raise
    cmp eax, 5
    je ap_lower
    cmp eax, 6
    je ap_watch
    cmp eax, 8
    je ap_halt
    mov [ap_done], eax
    jmp ap_loop

ap_count:
    mov ecx, ROUNDS
1:  lock inc dword ptr [counter]
    lock add qword ptr [counter64 + 4], 1
    mov eax, 1
    lock xadd [counter_split + 62], eax
2:  mov eax, [counter_exchange]
    lea edx, [rax + 1]
    lock cmpxchg [counter_exchange], edx
    jne 2b
3:  lock bts dword ptr [spin], 0
    jc 3b
    inc dword ptr [counter_plain]
    mov dword ptr [spin], 0
    loop 1b
    mov dword ptr [ap_done], 1
    jmp ap_loop
ap_order:
    mov ecx, 100000
1:  inc dword ptr [first]
    inc dword ptr [second]
    loop 1b
    mov dword ptr [ap_done], 2
    jmp ap_loop
ap_enable:
    sti
    mov dword ptr [ap_done], 3
    jmp ap_loop
ap_raise:
    mov dword ptr [r15 + LAPIC_TPR], 0x90
    mov dword ptr [ap_done], 4
    jmp ap_loop
ap_lower:
    mov dword ptr [r15 + LAPIC_TPR], 0
    mov dword ptr [ap_done], 5
    jmp ap_loop
# Reads the window all the time. What it reads may be old only while it has not flushed for the round.
ap_watch:
    mov dword ptr [ap_done], 6
1:  mov edx, [ap_flushed]
    mov eax, [WINDOW]
ap_after_read:
    cmp eax, edx
    jae 2f
    inc dword ptr [ap_stale]
2:  cmp dword ptr [ap_command], 7
    jne 1b
    mov dword ptr [ap_command], 0
    mov dword ptr [ap_done], 7
    jmp ap_loop
ap_halt:
    cli
    mov dword ptr [ap_done], 8
    sti
    hlt
    mov dword ptr [ap_done], 9
    jmp ap_loop

ap_work:
    push rax
    lock inc dword ptr [ap_interrupts]
    mov dword ptr [r15 + LAPIC_EOI], 0
    cmp dword ptr [ap_answer], 0
    je 1f
    mov dword ptr [r15 + LAPIC_ICR_HIGH], 0
    mov dword ptr [r15 + LAPIC_ICR], 0x4000 | IPI_BACK
1:  pop rax
    iretq
ap_flush:
    push rax
    invlpg [WINDOW]
    mov eax, [ap_round]
    mov [ap_flushed], eax
    mov dword ptr [r15 + LAPIC_EOI], 0
    pop rax
    iretq
ap_nmi:
    lock inc dword ptr [ap_nmis]
    iretq
# The page that was taken away: goes on behind the read with the highest number.
ap_page_fault:
    add rsp, 8
    lock inc dword ptr [ap_faults]
    mov dword ptr [rsp], offset ap_fault_done
    iretq
ap_fault_done:
    mov dword ptr [TABLE], SCRATCH | ALL
    mov eax, -1
    jmp ap_after_read
ap_unexpected:
    mov dword ptr [ap_stage], 0xDEAD
1:  hlt
    jmp 1b
# The gate at EDI leads to RAX.
set_ap_gate:
    mov [rdi], ax
    mov word ptr [rdi + 2], CODE64
    mov word ptr [rdi + 4], 0x8E00
    mov edx, eax
    shr edx, 16
    mov [rdi + 6], dx
    mov qword ptr [rdi + 8], 0
    ret
.popsection

.section .record, "aw"
    .align 4
ap_cs: .long 0
ap_ds: .long 0
ap_edx: .long 0
ap_cr0: .long 0
ap_ip: .long 0
ap_stage: .long 0
    .word 0
ap_idt_pointer: .word 256 * 16 - 1
    .long ap_idt, 0
.bss
    .align 64
ap_idt: .space 256 * 16
ap_id: .long 0
ap_efer: .long 0
ap_apic_base: .long 0
ap_command: .long 0
ap_done: .long 0
ap_interrupts: .long 0
ap_answer: .long 0
ap_nmis: .long 0
ap_faults: .long 0
ap_round: .long 0
ap_flushed: .long 0
ap_stale: .long 0
first: .long 0
second: .long 0
spin: .long 0
    .align 64
counter: .long 0
counter_exchange: .long 0
counter_plain: .long 0
    .align 64
counter64: .space 64
counter_split: .space 128
