# 4-level paging (SDM volume 3, 4.5 to 4.10): rights, NX, SMEP, SMAP, WP, reserved bits, exact error codes and CR2, accessed
# and dirty bits, large pages, global pages, PCIDs, INVLPG, INVPCID, and double faults by way of page faults.
.include "runtime.inc"
SUITE "paging64", 64

PML4 = 0x180000
PDPT = 0x181000
PD0 = 0x182000
TABLE = 0x190000  # For the window's 2 MiB.
TABLE2 = 0x191000 # Another one, of other address spaces.
PML4_B = 0x192000
PDPT_B = 0x193000
PD_B = 0x194000
WINDOW = 0x800000
WINDOW_PDE = PD0 + 4 * 8
GIANT = 0x100000000 # Above what the runtime maps: PDPT entry 4.
P = 1
RW = 2
US = 4
PWT = 8
A = 0x20
D = 0x40
PS = 0x80
G = 0x100
NX = 0x80000000 # In the upper half.
ALL = P | RW | US
# Error codes.
E_P = 1
E_W = 2
E_U = 4
E_R = 8
E_I = 16
NOTHING = -1 # No fault.

.text
main:
    # The window's own table: page n of it is page n from SCRATCH on.
    mov ecx, 512
    mov edi, offset TABLE
    mov eax, SCRATCH | ALL
1:  mov [rdi], rax
    add rdi, 8
    add eax, 0x1000
    loop 1b
    mov qword ptr [WINDOW_PDE], TABLE | ALL
    mov rax, cr3
    mov cr3, rax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    mov byte ptr [SCRATCH], 0xC3 # RET, for calls into the window.
    mov byte ptr [SCRATCH + 0x1000], 0xC3
    call rights
    call no_execute
    call reserved_bits
    call upper_levels
    call accessed_dirty
    call accesses
    call smep_smap
    call large_pages
    call translations
    call global_pages
    SKIP_ON_TCG "PCIDs and INVPCID, which TCG has not", 1f
    call pcids
    call invpcid_instruction
1:  call double_faults
    ret

# The first page of the window.
.macro PAGE low, high=0
    mov dword ptr [TABLE + 4], \high
    mov dword ptr [TABLE], \low
    invlpg [WINDOW]
.endm

# One access with the window's first page as given; at CPL 3 or 0. `error` NOTHING: no fault.
.macro ACCESS name, ring, low, error, instruction:vararg
    PAGE "SCRATCH | (\low)"
    TRY
.if \ring == 3
    RING3
.endif
1:  \instruction
    END_TRY
    RESULT "\name", "\error"
.endm
.macro RESULT name, error
.if \error == NOTHING
    EXPECT "\name", NONE
.else
    EXPECT "\name", V_PF, "\error", 1b
    CHECK "\name: CR2", "qword ptr [rec_cr2]", WINDOW
.endif
.endm

rights:
    ACCESS "supervisor read, all rights", 0, ALL, NOTHING, mov al, [WINDOW]
    ACCESS "supervisor read, not present", 0, RW | US, 0, mov al, [WINDOW]
    ACCESS "supervisor write, not present", 0, 0, E_W, mov [WINDOW], al
    ACCESS "user read, not present", 3, RW | US, E_U, mov al, [WINDOW]
    ACCESS "user write, not present", 3, RW | US, E_U | E_W, mov [WINDOW], al
    ACCESS "user read, supervisor page", 3, P | RW, E_U | E_P, mov al, [WINDOW]
    ACCESS "user write, supervisor page", 3, P | RW, E_U | E_P | E_W, mov [WINDOW], al
    ACCESS "user read, read-only page", 3, P | US, NOTHING, mov al, [WINDOW]
    ACCESS "user write, read-only page", 3, P | US, E_U | E_P | E_W, mov [WINDOW], al
    ACCESS "supervisor read, supervisor page", 0, P | RW, NOTHING, mov al, [WINDOW]
    ACCESS "supervisor write without WP, read-only page", 0, P, NOTHING, mov byte ptr [WINDOW], 0xC3
    ACCESS "supervisor write without WP, read-only user page", 0, P | US, NOTHING, mov byte ptr [WINDOW], 0xC3
    TCG_DIFFERS "SDM 3 4.7: a read-modify-write is a write; TCG reads first"
    ACCESS "user read-modify-write, not present", 3, 0, E_U | E_W, inc dword ptr [WINDOW]
    ACCESS "user read-modify-write, read-only page", 3, P | US, E_U | E_P | E_W, inc dword ptr [WINDOW]
    ACCESS "user LOCK ADD, read-only page", 3, P | US, E_U | E_P | E_W, lock add dword ptr [WINDOW], 1
    ACCESS "user XCHG, read-only page", 3, P | US, E_U | E_P | E_W, xchg [WINDOW], eax
    ACCESS "user CMPXCHG that does not match, read-only page", 3, P | US, E_U | E_P | E_W, cmpxchg [WINDOW], ecx
    ACCESS "user CMP, read-only page", 3, P | US, NOTHING, cmp dword ptr [WINDOW], 1
    ACCESS "user PUSH from memory, supervisor page", 3, P | RW, E_U | E_P, push qword ptr [WINDOW]
    ACCESS "user SSE store, read-only page", 3, P | US, E_U | E_P | E_W, movups [WINDOW], xmm0
    ACCESS "user FSTP, read-only page", 3, P | US, E_U | E_P | E_W, fst dword ptr [WINDOW]
    ACCESS "user PREFETCHW, not present", 3, 0, NOTHING, prefetchw [WINDOW]
    TCG_DIFFERS_BEGIN "SDM 2 CLFLUSH: as a load"
    ACCESS "user CLFLUSH, supervisor page", 3, P | RW, E_U | E_P, clflush [WINDOW]
    TCG_DIFFERS_END
    mov rax, cr0
    or eax, CR0_WP
    mov cr0, rax
    ACCESS "supervisor write with WP, read-only page", 0, P, E_P | E_W, mov [WINDOW], al
    ACCESS "supervisor write with WP, read-only user page", 0, P | US, E_P | E_W, mov [WINDOW], al
    ACCESS "supervisor write with WP, writable page", 0, P | RW, NOTHING, mov byte ptr [WINDOW], 0xC3
    # The processor's own accesses are supervisor accesses, also at level 3: the descriptor tables can be the system's.
    PAGE "SCRATCH | ALL"
    ret

no_execute:
    ACCESS "supervisor fetch", 0, P, NOTHING, call far_window
    # Fetches: the saved RIP and CR2 are the target's.
.macro FETCH name, ring, low, high, error
    PAGE "SCRATCH | (\low)", "\high"
    TRY
.if \ring == 3
    RING3
.endif
    mov eax, WINDOW
    call rax
    END_TRY
.if \error == NOTHING
    EXPECT "\name", NONE
.else
    EXPECT "\name", V_PF, "\error"
    CHECK "\name: CR2", "qword ptr [rec_cr2]", WINDOW
    CHECK "\name: RIP", "qword ptr [rec_rip]", WINDOW
.endif
.endm
    FETCH "supervisor fetch, NX", 0, ALL, NX, E_P | E_I
    FETCH "user fetch, NX", 3, ALL, NX, E_P | E_U | E_I
    FETCH "user fetch", 3, P | US, 0, NOTHING
    FETCH "user fetch, supervisor page", 3, P | RW, 0, E_P | E_U | E_I
    FETCH "user fetch, not present", 3, 0, 0, E_U | E_I
    FETCH "supervisor fetch, not present", 0, 0, 0, E_I
    FETCH "supervisor fetch from a user page without SMEP", 0, ALL, 0, NOTHING
    ACCESS "a read of an NX page", 0, ALL, NOTHING, mov al, [WINDOW]
    # NX of an upper level.
    PAGE "SCRATCH | ALL"
    mov dword ptr [WINDOW_PDE + 4], NX
    FETCH "NX in the PDE", 0, ALL, 0, E_P | E_I
    mov dword ptr [WINDOW_PDE + 4], 0
    PAGE "SCRATCH | ALL"
    # An instruction that goes over the end of a page: CR2 is the second page's.
    mov dword ptr [TABLE + 8 + 4], NX
    invlpg [WINDOW + 0x1000]
    mov dword ptr [SCRATCH + 0xFFE], 0xC08948
    TRY
    mov eax, WINDOW + 0xFFE
    call rax
    END_TRY
    EXPECT "an instruction whose last byte is on an NX page", V_PF, "E_P | E_I"
    CHECK "its RIP", "qword ptr [rec_rip]", "WINDOW + 0xFFE"
    CHECK "CR2", "qword ptr [rec_cr2]", "WINDOW + 0x1000"
    mov dword ptr [TABLE + 8 + 4], 0
    invlpg [WINDOW + 0x1000]
    # Without EFER.NXE bit 63 is reserved.
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_NXE
    wrmsr
    PAGE "SCRATCH | ALL", NX
    TRY
1:  mov al, [WINDOW]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "NX without EFER.NXE", V_PF, "E_P | E_R", 1b
    FETCH "supervisor fetch without NXE and SMEP, not present: no I bit", 0, 0, 0, 0
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    PAGE "SCRATCH | ALL"
    ret

far_window:
    mov eax, WINDOW
    jmp rax

reserved_bits:
    # Above the width that CPUID gives, up to bit 51.
    PAGE "SCRATCH | ALL", 0x80000
    TRY
1:  mov al, [WINDOW]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PTE bit 51", V_PF, "E_P | E_R", 1b
    TRY
    RING3
1:  mov [WINDOW], al
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PTE bit 51, user write", V_PF, "E_P | E_R | E_W | E_U", 1b
    PAGE "SCRATCH | RW", 0x80000
    TRY
1:  mov al, [WINDOW]
    END_TRY
    EXPECT "PTE bit 51, not present: no R bit", V_PF, 0, 1b
    # Bits 52 to 58 are the system's; 59 to 62 too without PKE.
    PAGE "SCRATCH | ALL", 0x7FF00000
    TRY
    mov al, [WINDOW]
    END_TRY
    EXPECT "PTE bits 52 to 62 are ignored", NONE
    PAGE "SCRATCH | ALL"
    mov dword ptr [WINDOW_PDE + 4], 0x80000
    invlpg [WINDOW]
    TRY
1:  mov al, [WINDOW]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PDE bit 51", V_PF, "E_P | E_R", 1b
    mov dword ptr [WINDOW_PDE + 4], 0
    invlpg [WINDOW]
    # A 2 MiB page: bits 20 to 13.
    mov dword ptr [PD0 + 5 * 8], 0xA00000 | 0x2000 | PS | ALL
    invlpg [0xA00000]
    TRY
1:  mov al, [0xA00000]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PDE of a 2 MiB page, bit 13", V_PF, "E_P | E_R", 1b
    mov dword ptr [PD0 + 5 * 8], 0xA00000 | 0x1000 | PS | ALL
    invlpg [0xA00000]
    TRY
    mov al, [0xA00000]
    END_TRY
    EXPECT "PDE of a 2 MiB page, bit 12: PAT", NONE
    mov dword ptr [PD0 + 5 * 8], 0xA00000 | PS | ALL
    invlpg [0xA00000]
    # PML4 entries have no PS.
    mov qword ptr [PML4 + 8], PDPT | PS | ALL
    mov rbx, 0x8000000000
    TRY
1:  mov al, [rbx]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PML4 entry with PS", V_PF, "E_P | E_R", 1b
    mov rcx, rbx
    xor rcx, [rec_cr2]
    CHECK "CR2 has 64 bits", rcx, 0
    mov qword ptr [PML4 + 8], 0
    SKIP_ON_TCG "reserved bits of CR3, which TCG does not check (SDM 2 MOV to CR: #GP(0))", 3f
    TRY
    mov rax, 0x8000000000180000
1:  mov cr3, rax
    END_TRY
    EXPECT "CR3 with bit 63 without PCIDE", V_GP, 0, 1b
    TRY
    mov rax, 0x0008000000180000
1:  mov cr3, rax
    END_TRY
    EXPECT "CR3 with bit 51", V_GP, 0, 1b
3:
    ret

# Rights of the upper levels are combined with AND; those of U and W together decide.
upper_levels:
    mov dword ptr [WINDOW_PDE], TABLE | P | RW
    ACCESS "user read, supervisor PDE", 3, ALL, E_U | E_P, mov al, [WINDOW]
    mov dword ptr [WINDOW_PDE], TABLE | P | US
    ACCESS "user write, read-only PDE", 3, ALL, E_U | E_P | E_W, mov [WINDOW], al
    ACCESS "supervisor write with WP, read-only PDE", 0, ALL, E_P | E_W, mov [WINDOW], al
    mov dword ptr [WINDOW_PDE], TABLE | RW | US
    ACCESS "user read, PDE not present", 3, ALL, E_U, mov al, [WINDOW]
    mov dword ptr [WINDOW_PDE], TABLE | ALL
    invlpg [WINDOW]
    mov rbx, 0x8000000000
    mov rcx, 0x8040000000
    mov qword ptr [PML4 + 8], PDPT_B | ALL
    TRY
1:  mov al, [rbx]
    END_TRY
    EXPECT "PDPT entry not present", V_PF, 0, 1b
    mov qword ptr [PML4 + 8], 0
    TRY
1:  mov [rbx], al
    END_TRY
    EXPECT "PML4 entry not present", V_PF, E_W, 1b
    ret

accessed_dirty:
    ACCESS "a read", 0, ALL, NOTHING, mov al, [WINDOW]
    CHECK_BITS "sets A alone", TABLE, A | D, A
    ACCESS "a write", 0, ALL, NOTHING, mov byte ptr [WINDOW], 0xC3
    CHECK_BITS "sets A and D", TABLE, A | D, A | D
    # A write after a read without INVLPG sets D.
    PAGE "SCRATCH | ALL"
    mov al, [WINDOW]
    mov byte ptr [WINDOW], 0xC3
    CHECK_BITS "a write after a read sets D", TABLE, A | D, A | D
    ACCESS "a write that faults", 3, P | US, E_U | E_P | E_W, mov [WINDOW], al
    CHECK_BITS "does not set D", TABLE, D, 0
    ACCESS "an access to a page that is not present", 0, RW | US, 0, mov al, [WINDOW]
    CHECK_BITS "sets nothing", TABLE, A | D, 0
    mov dword ptr [WINDOW_PDE], TABLE | ALL
    ACCESS "an access", 0, ALL, NOTHING, mov al, [WINDOW]
    CHECK_BITS "sets A of the PDE", WINDOW_PDE, A | D, A
    CHECK_BITS "PDPT entry has A", PDPT, A, A
    CHECK_BITS "PML4 entry has A", PML4, A, A
    and dword ptr [PD0 + 5 * 8], ~(A | D)
    invlpg [0xA00000]
    mov al, [0xA00000]
    CHECK_BITS "a read of a 2 MiB page sets A", (PD0 + 5 * 8), A | D, A
    mov [0xA00000], al
    CHECK_BITS "a write sets D in the PDE", (PD0 + 5 * 8), A | D, A | D
    # CMPXCHG that does not match writes all the same.
    PAGE "SCRATCH | ALL"
    mov dword ptr [SCRATCH], 0xC3
    xor eax, eax
    cmpxchg [WINDOW], ecx
    CHECK_BITS "CMPXCHG that does not match sets D", TABLE, A | D, A | D
    CHECK32 "and leaves the memory", SCRATCH, 0xC3
    # INVLPG after clearing A: it is set again.
    and dword ptr [TABLE], ~(A | D)
    invlpg [WINDOW]
    mov al, [WINDOW]
    CHECK_BITS "A comes back after INVLPG", TABLE, A | D, A
    FETCH "a fetch", 0, ALL, 0, NOTHING
    CHECK_BITS "sets A", TABLE, A | D, A
    ret

# Accesses of more than one page, and instructions of more than one access.
accesses:
    mov dword ptr [TABLE + 8], (SCRATCH + 0x1000) | P | US # The second page is read-only; WP is set.
    invlpg [WINDOW + 0x1000]
    PAGE "SCRATCH | ALL"
    mov qword ptr [SCRATCH + 0xFF8], 0
    TRY
    mov rbx, 0x1122334455667788
1:  mov [WINDOW + 0xFFC], rbx
    END_TRY
    EXPECT "a write over the end of a page, the second read-only", V_PF, "E_P | E_W", 1b
    CHECK "CR2 is the second page's", "qword ptr [rec_cr2]", "WINDOW + 0x1000"
    CHECK "nothing was written on the first", "qword ptr [SCRATCH + 0xFF8]", 0
    mov dword ptr [TABLE + 8], 0
    invlpg [WINDOW + 0x1000]
    TRY
    mov rax, 0x5555555555555555
1:  mov rax, [WINDOW + 0xFFC]
    END_TRY
    EXPECT "a read over the end of a page, the second not present", V_PF, 0, 1b
    CHECK "its register is unchanged", rax, 0x5555555555555555
    mov dword ptr [TABLE + 8], (SCRATCH + 0x1000) | ALL
    mov dword ptr [TABLE], 0
    invlpg [WINDOW]
    invlpg [WINDOW + 0x1000]
    TRY
1:  mov rax, [WINDOW + 0xFFC]
    END_TRY
    EXPECT "the first not present", V_PF, 0, 1b
    CHECK "CR2 is the first byte's", "qword ptr [rec_cr2]", "WINDOW + 0xFFC"
    # REP MOVSB stops at the page, with the registers there.
    PAGE "SCRATCH | ALL"
    mov dword ptr [TABLE + 8], 0
    invlpg [WINDOW + 0x1000]
    TRY
    mov esi, SCRATCH + 0x4000
    mov edi, WINDOW + 0xFF0
    mov ecx, 0x40
1:  rep movsb
    END_TRY
    EXPECT "REP MOVSB into a page that is not present", V_PF, E_W, 1b
    CHECK "RCX", rcx, 0x30
    CHECK "RDI", rdi, "WINDOW + 0x1000"
    CHECK "RSI", rsi, "SCRATCH + 0x4010"
    CHECK "CR2", "qword ptr [rec_cr2]", "WINDOW + 0x1000"
    TRY
    mov edi, WINDOW + 0xFFC
    mov ecx, 4
1:  rep stosq
    END_TRY
    EXPECT "REP STOSQ over the end of a page", V_PF, E_W, 1b
    CHECK "RCX counts what was stored", rcx, 4
    CHECK "RDI", rdi, "WINDOW + 0xFFC"
    ret

smep_smap:
    mov dword ptr [TABLE + 8], (SCRATCH + 0x1000) | ALL
    invlpg [WINDOW + 0x1000]
    # From here on the pages of this code have to be the supervisor's: a copy of PD0's first entry.
    mov rax, cr4
    or eax, CR4_SMEP
    and dword ptr [PD0], ~US
    and dword ptr [PD0 + 8], ~US
    mov rbx, cr3
    mov cr3, rbx
    mov cr4, rax
    FETCH "SMEP: supervisor fetch from a user page", 0, ALL, 0, E_P | E_I
    FETCH "SMEP: supervisor fetch from a supervisor page", 0, P | RW, 0, NOTHING
    ACCESS "SMEP: supervisor read of a user page", 0, ALL, NOTHING, mov al, [WINDOW]
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_NXE
    wrmsr
    FETCH "SMEP without NXE: the I bit is there", 0, 0, 0, E_I
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    mov rax, cr4
    and eax, ~CR4_SMEP
    or eax, CR4_SMAP
    mov cr4, rax
    clac
    ACCESS "SMAP: supervisor read of a user page", 0, ALL, E_P, mov al, [WINDOW]
    ACCESS "SMAP: supervisor write of a user page", 0, ALL, E_P | E_W, mov [WINDOW], al
    ACCESS "SMAP: supervisor read of a supervisor page", 0, P | RW, NOTHING, mov al, [WINDOW]
    ACCESS "SMAP: not present: no P bit", 0, RW | US, 0, mov al, [WINDOW]
    FETCH "SMAP: fetches are not concerned", 0, ALL, 0, NOTHING
    PAGE "SCRATCH | ALL"
    TRY
    stac
    mov al, [WINDOW]
    mov [WINDOW + 0x10], al
    END_TRY
    EXPECT "SMAP: after STAC", NONE
    TRY
    stac
    clac
1:  mov al, [WINDOW]
    END_TRY
    EXPECT "SMAP: after CLAC", V_PF, E_P, 1b
    CHECK_BITS "the handler finds AC clear", rec_handler_flags, FLAG_AC, 0
    TRY
    push FLAG_AC | 2
    popfq
    mov al, [WINDOW]
    push 2
    popfq
1:  mov al, [WINDOW]
    END_TRY
    EXPECT "SMAP: POPF changes AC as well", V_PF, E_P, 1b
    # A write of a read-only user page with AC set: WP is what counts.
    PAGE "SCRATCH | P | US"
    TRY
    stac
1:  mov [WINDOW], al
    END_TRY
    EXPECT "SMAP with AC: a read-only page", V_PF, "E_P | E_W", 1b
    PAGE "SCRATCH | ALL"
    # Level 3 runs in pages of its own again.
    mov rax, cr4
    and eax, ~CR4_SMAP
    mov cr4, rax
    or dword ptr [PD0], US
    or dword ptr [PD0 + 8], US
    mov rbx, cr3
    mov cr3, rbx
    TRY
    RING3
1:  stac
    END_TRY
    EXPECT "STAC at level 3", V_UD, -1, 1b
    TRY
    RING3
1:  clac
    END_TRY
    EXPECT "CLAC at level 3", V_UD, -1, 1b
    ret

large_pages:
    # A page of 1 GiB at 4 GiB, which maps physical 0.
    mov qword ptr [PDPT + 4 * 8], PS | ALL
    mov rbx, GIANT
    TRY
    mov dword ptr [SCRATCH + 0x40], 0x1234ABCD
    mov eax, [rbx + SCRATCH + 0x40]
    mov dword ptr [rbx + SCRATCH + 0x44], 0x77
    END_TRY
    EXPECT "a page of 1 GiB", NONE
    CHECK "reading", rax, 0x1234ABCD
    CHECK32 "writing", "SCRATCH + 0x44", 0x77
    CHECK_BITS "A and D in the PDPT entry", (PDPT + 4 * 8), A | D, A | D
    mov dword ptr [PDPT + 4 * 8], 0x2000 | PS | ALL
    invlpg [rbx]
    TRY
1:  mov al, [rbx]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "a page of 1 GiB, bit 13", V_PF, "E_P | E_R", 1b
    mov dword ptr [PDPT + 4 * 8], PS | P | US
    mov dword ptr [PDPT + 4 * 8 + 4], NX
    invlpg [rbx]
    TRY
    RING3
1:  mov [rbx], al
    END_TRY
    EXPECT "a page of 1 GiB, read-only", V_PF, "E_P | E_U | E_W", 1b
    TRY
    lea rax, [rbx + SCRATCH]
    call rax
    END_TRY
    EXPECT "a page of 1 GiB, NX", V_PF, "E_P | E_I"
    mov qword ptr [PDPT + 4 * 8], 0
    invlpg [rbx]
    # INVLPG of any address of a 2 MiB page.
    mov al, [0xA00000]
    mov dword ptr [PD0 + 5 * 8], PS | RW | US
    invlpg [0xA12345]
    TRY
1:  mov al, [0xA00000]
    END_TRY
    EXPECT "INVLPG within a 2 MiB page", V_PF, 0, 1b
    mov dword ptr [PD0 + 5 * 8], 0xA00000 | PS | ALL
    ret

# What the translations that are cached may and may not do.
translations:
    mov dword ptr [SCRATCH], 0x11111111
    mov dword ptr [SCRATCH + 0x1000], 0x22222222
    PAGE "SCRATCH | ALL"
    mov eax, [WINDOW]
    mov dword ptr [TABLE], (SCRATCH + 0x1000) | ALL
    invlpg [WINDOW]
    mov ecx, [WINDOW]
    CHECK "before INVLPG", rax, 0x11111111
    CHECK "after INVLPG", rcx, 0x22222222
    mov dword ptr [TABLE], SCRATCH | ALL
    mov rax, cr3
    mov cr3, rax
    mov ecx, [WINDOW]
    CHECK "after a load of CR3", rcx, 0x11111111
    # Not-present entries are not cached: no flush is needed.
    mov dword ptr [TABLE], 0
    invlpg [WINDOW]
    TRY
1:  mov eax, [WINDOW]
    END_TRY
    EXPECT "not present", V_PF, 0, 1b
    mov dword ptr [TABLE], SCRATCH | ALL
    mov ecx, [WINDOW]
    CHECK "made present without INVLPG", rcx, 0x11111111
    # More rights without a flush: the fault that is spurious may come, but not twice; the handler here would end the TRY,
    # so INVLPG is given. Fewer rights with one.
    mov dword ptr [TABLE], SCRATCH | P | US
    invlpg [WINDOW]
    TRY
    RING3
1:  mov [WINDOW], eax
    END_TRY
    EXPECT "made read-only", V_PF, "E_P | E_W | E_U", 1b
    # The same page by two addresses.
    PAGE "SCRATCH | ALL"
    mov dword ptr [WINDOW + 0x80], 0x5AA5
    CHECK32 "one page by two addresses", "SCRATCH + 0x80", 0x5AA5
    # Writing a page table through the paging it describes, then using it after INVLPG.
    mov dword ptr [WINDOW + 0x84], 1
    # MOV to CR0 and CR4 bits that flush.
    mov dword ptr [TABLE], (SCRATCH + 0x1000) | ALL
    mov rax, cr4
    xor eax, CR4_PGE
    mov cr4, rax
    mov ecx, [WINDOW]
    CHECK "a change of CR4.PGE flushes", rcx, 0x22222222
    xor eax, CR4_PGE
    mov cr4, rax
    PAGE "SCRATCH | ALL"
    ret

global_pages:
    mov rax, cr4
    or eax, CR4_PGE
    mov cr4, rax
    PAGE "SCRATCH | ALL | G"
    mov eax, [WINDOW]
    mov dword ptr [TABLE], (SCRATCH + 0x1000) | ALL | G
    mov rax, cr3
    mov cr3, rax
    mov ebx, [WINDOW] # Either may be seen: a cached global translation outlives CR3, but need not.
    invlpg [WINDOW]
    mov ecx, [WINDOW]
    CHECK "INVLPG removes a global page", rcx, 0x22222222
    mov dword ptr [TABLE], SCRATCH | ALL | G
    mov rax, cr4
    and eax, ~CR4_PGE
    mov cr4, rax
    mov ecx, [WINDOW]
    CHECK "clearing PGE removes global pages", rcx, 0x11111111
    PAGE "SCRATCH | ALL"
    ret

pcids:
    # Two address spaces whose window differs.
    mov esi, PML4
    mov edi, PML4_B
    mov ecx, 512
    rep movsq
    mov esi, PDPT
    mov edi, PDPT_B
    mov ecx, 512
    rep movsq
    mov esi, PD0
    mov edi, PD_B
    mov ecx, 512
    rep movsq
    mov esi, TABLE
    mov edi, TABLE2
    mov ecx, 512
    rep movsq
    mov qword ptr [PML4_B], PDPT_B | ALL
    mov qword ptr [PDPT_B], PD_B | ALL
    mov qword ptr [PD_B + 4 * 8], TABLE2 | ALL
    mov qword ptr [TABLE2], (SCRATCH + 0x1000) | ALL
    TRY
    mov rax, PML4 | 5
    mov cr3, rax
    mov rax, cr4
    or eax, CR4_PCIDE
1:  mov cr4, rax
    END_TRY
    EXPECT "CR4.PCIDE with CR3[11:0] not 0", V_GP, 0, 1b
    mov rax, PML4
    mov cr3, rax
    mov rax, cr4
    or eax, CR4_PCIDE
    mov cr4, rax
    mov rax, PML4_B | 1
    mov cr3, rax
    mov ecx, [WINDOW]
    mov rax, cr3
    mov rdx, PML4
    mov cr3, rdx
    mov ebx, [WINDOW]
    CHECK "PCID 1", rcx, 0x22222222
    CHECK "PCID 0", rbx, 0x11111111
    CHECK "CR3 has the PCID", rax, "PML4_B | 1"
    # With bit 63 nothing is flushed; the bit is not kept.
    mov rax, 0x8000000000000000 | PML4_B | 1
    mov cr3, rax
    mov ecx, [WINDOW]
    mov rax, cr3
    CHECK "PCID 1 again, without a flush", rcx, 0x22222222
    CHECK "CR3 reads back without bit 63", rax, "PML4_B | 1"
    # Without bit 63 PCID 1's are flushed.
    mov qword ptr [TABLE2], SCRATCH | ALL
    mov rax, PML4_B | 1
    mov cr3, rax
    mov ecx, [WINDOW]
    CHECK "a load of CR3 flushes its PCID", rcx, 0x11111111
    mov rdx, PML4
    mov cr3, rdx
    TRY
    mov rax, cr0
    and eax, ~CR0_PG
1:  mov cr0, rax
    END_TRY
    EXPECT "clearing CR0.PG with PCIDE (and in 64-bit mode)", V_GP, 0, 1b
    ret

.macro INVALIDATE name, type, pcid, address, vector, ring=0
    mov qword ptr [SCRATCH + 0x800], \pcid
    mov rax, \address
    mov [SCRATCH + 0x808], rax
    TRY
.if \ring == 3
    RING3
.endif
    mov ecx, \type
1:  invpcid rcx, [SCRATCH + 0x800]
    END_TRY
.if \vector == NONE
    EXPECT "\name", NONE
.else
    EXPECT "\name", \vector, 0, 1b
.endif
.endm
invpcid_instruction:
    INVALIDATE "INVPCID type 4", 4, 0, 0, V_GP
    INVALIDATE "INVPCID with bits above the PCID", 1, 0x1000, 0, V_GP
    INVALIDATE "INVPCID of an address that is not canonical", 0, 1, 0x0000800000000000, V_GP
    INVALIDATE "INVPCID type 1 does not mind the address", 1, 1, 0x0000800000000000, NONE
    INVALIDATE "INVPCID at level 3", 2, 0, 0, V_GP, 3
    # Type 0: one address of a PCID.
    PAGE "SCRATCH | ALL"
    mov rax, PML4_B | 1
    mov cr3, rax
    mov eax, [WINDOW]
    mov qword ptr [TABLE2], (SCRATCH + 0x1000) | ALL
    INVALIDATE "INVPCID type 0", 0, 1, WINDOW, NONE
    mov ecx, [WINDOW]
    CHECK "the address is translated anew", rcx, 0x22222222
    mov qword ptr [TABLE2], SCRATCH | ALL
    INVALIDATE "INVPCID type 1", 1, 1, 0, NONE
    mov ecx, [WINDOW]
    CHECK "the PCID is translated anew", rcx, 0x11111111
    mov qword ptr [TABLE2], (SCRATCH + 0x1000) | ALL
    INVALIDATE "INVPCID type 2", 2, 0, 0, NONE
    mov ecx, [WINDOW]
    CHECK "everything is", rcx, 0x22222222
    mov qword ptr [TABLE2], SCRATCH | ALL
    INVALIDATE "INVPCID type 3", 3, 0, 0, NONE
    mov ecx, [WINDOW]
    CHECK "everything but global pages is", rcx, 0x11111111
    mov rax, PML4
    mov cr3, rax
    mov rax, cr4
    and eax, ~CR4_PCIDE
    mov cr4, rax
    INVALIDATE "INVPCID without PCIDE: PCID 1", 1, 1, 0, V_GP
    INVALIDATE "INVPCID without PCIDE: PCID 0", 1, 0, 0, NONE
    ret

double_faults:
    # A page fault whose delivery meets a contributory exception, and one that meets a page fault.
    SET_VECTOR64 V_PF, CODE64, stubs64, 0x0E
    PAGE 0
    TRY
1:  mov al, [WINDOW]
    END_TRY
    RESTORE_VECTORS
    EXPECT "#PF, then #NP: a double fault", V_DF, 0, 1b
    mov dword ptr [tss64 + 36], WINDOW + 0x800 # IST1: not present.
    SET_VECTOR64 V_PF, CODE64, "stubs64 + V_PF * 16", GATE_INTERRUPT32, 1
    TRY
1:  mov al, [WINDOW]
    END_TRY
    RESTORE_VECTORS
    EXPECT "#PF, then #PF: a double fault", V_DF, 0, 1b
    CHECK "CR2 is the second's", "qword ptr [rec_cr2]", "WINDOW + 0x800 - 8"
    # A contributory exception, then a page fault: the page fault is delivered.
    SET_VECTOR64 V_GP, CODE64, "stubs64 + V_GP * 16", GATE_INTERRUPT32, 1
    TRY
    mov eax, 0x1000
1:  mov ds, eax
    END_TRY
    RESTORE_VECTORS
    EXPECT "#GP, then #PF: a page fault", V_PF, E_W, 1b
    # An interrupt whose stack is not present: a page fault, EXT or not; the error code has no such bit.
    SET_VECTOR64 0x40, CODE64, "stubs64 + 0x40 * 16", GATE_INTERRUPT32, 1
    TRY
1:  int 0x40
    END_TRY
    RESTORE_VECTORS
    EXPECT "INT n, then #PF", V_PF, E_W, 1b
    # From level 3 the frame is written with supervisor rights: the user bit is clear.
    SET_VECTOR64 0x40, CODE64, "stubs64 + 0x40 * 16", GATE_INTERRUPT32 | ACCESS_DPL3, 1
    TRY
    RING3
1:  int 0x40
    END_TRY
    RESTORE_VECTORS
    EXPECT "INT n at level 3, then #PF: not a user access", V_PF, E_W, 1b
    ret
