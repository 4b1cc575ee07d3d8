# 32-bit and PAE paging (SDM volume 3, 4.3 and 4.4), and page faults in protected mode. Rights, accessed and dirty bits and
# flushing in full are paging64.S's; here is what differs.
.include "runtime.inc"
SUITE "paging_legacy", 32

DIRECTORY = 0x180000
TABLE = 0x181000
DIRECTORY_B = 0x182000
PDPT = 0x184000 # Of PAE.
PAE_PD = 0x185000
PAE_TABLE = 0x189000
WINDOW = 0x800000
P = 1
RW = 2
US = 4
A = 0x20
D = 0x40
PS = 0x80
G = 0x100
ALL = P | RW | US
E_P = 1
E_W = 2
E_U = 4
E_R = 8
E_I = 16
NOTHING = -1

.text
main:
    call build32
    call paging32
    call leave_paging
    call build_pae
    call pae
    call leave_paging
    ret

.macro PAGING_ON root, cr4_bits
    mov eax, cr4
    and eax, ~(CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)
    or eax, \cr4_bits
    mov cr4, eax
    mov eax, \root
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
.endm
leave_paging:
    mov eax, cr0
    and eax, ~(CR0_PG | CR0_WP)
    mov cr0, eax
    mov eax, cr4
    and eax, ~(CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)
    mov cr4, eax
    ret

# 4 MiB pages onto themselves, and a table for the window: page n is page n from SCRATCH on.
build32:
    mov edi, DIRECTORY
    mov eax, PS | ALL
    mov ecx, 1024
1:  mov [edi], eax
    add edi, 4
    add eax, 0x400000
    loop 1b
    mov edi, TABLE
    mov eax, SCRATCH | ALL
    mov ecx, 1024
1:  mov [edi], eax
    add edi, 4
    add eax, 0x1000
    loop 1b
    mov dword ptr [DIRECTORY + 2 * 4], TABLE | ALL
    ret

# One access with the window's first entry as given. `table` says which, `high` its upper half under PAE.
.macro ACCESS_IN table, name, ring, low, error, instruction:vararg
    mov dword ptr [\table], SCRATCH | (\low)
    invlpg [WINDOW]
    TRY
.if \ring == 3
    RING3
.endif
1:  \instruction
    END_TRY
.if \error == NOTHING
    EXPECT "\name", NONE
.else
    EXPECT "\name", V_PF, "\error", 1b
    CHECK32 "\name: CR2", rec_cr2, WINDOW
.endif
.endm
.macro ACCESS name, ring, low, error, instruction:vararg
    ACCESS_IN TABLE, "\name", \ring, "\low", "\error", \instruction
.endm

paging32:
    PAGING_ON DIRECTORY, CR4_PSE
    mov byte ptr [SCRATCH], 0xC3
    ACCESS "32-bit: supervisor read", 0, ALL, NOTHING, mov al, [WINDOW]
    CHECK_BITS "32-bit: A", TABLE, A | D, A
    CHECK_BITS "32-bit: A of the PDE", (DIRECTORY + 8), A, A
    ACCESS "32-bit: a write", 0, ALL, NOTHING, mov byte ptr [WINDOW], 0xC3
    CHECK_BITS "32-bit: A and D", TABLE, A | D, A | D
    ACCESS "32-bit: not present", 0, RW, 0, mov al, [WINDOW]
    ACCESS "32-bit: user read, supervisor page", 3, P | RW, E_U | E_P, mov al, [WINDOW]
    ACCESS "32-bit: user write, read-only page", 3, P | US, E_U | E_P | E_W, mov [WINDOW], al
    ACCESS "32-bit: supervisor write, read-only page, without WP", 0, P | US, NOTHING, mov byte ptr [WINDOW], 0xC3
    mov eax, cr0
    or eax, CR0_WP
    mov cr0, eax
    ACCESS "32-bit: supervisor write, read-only page, with WP", 0, P | US, E_P | E_W, mov [WINDOW], al
    # Fetches have no I bit here, without SMEP.
    mov dword ptr [TABLE], 0
    invlpg [WINDOW]
    TRY
    mov eax, WINDOW
    call eax
    END_TRY
    EXPECT "32-bit: a fetch, not present: no I bit", V_PF, 0
    CHECK32 "32-bit: its EIP", rec_rip, WINDOW
    # 4 MiB pages.
    and dword ptr [DIRECTORY + 3 * 4], ~(A | D)
    invlpg [0xC00000]
    TRY
    mov al, [0xC12345]
    END_TRY
    EXPECT "a 4 MiB page", NONE
    CHECK_BITS "a 4 MiB page: A in the PDE", (DIRECTORY + 12), A | D, A
    mov [0xC12345], al
    CHECK_BITS "a 4 MiB page: D in the PDE", (DIRECTORY + 12), A | D, A | D
    mov dword ptr [DIRECTORY + 3 * 4], 0xC00000 | PS | P | US
    invlpg [0xC00000]
    TRY
    RING3
1:  mov [0xC12345], al
    END_TRY
    EXPECT "a 4 MiB page, read-only", V_PF, "E_P | E_U | E_W", 1b
    CHECK32 "CR2 has all bits of the address", rec_cr2, 0xC12345
    # PSE-36: bits 13 and up are the address's upper ones, bit 21 is reserved.
    mov dword ptr [DIRECTORY + 3 * 4], 0xC00000 | 0x200000 | PS | ALL
    invlpg [0xC00000]
    TRY
1:  mov al, [0xC00000]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "a 4 MiB page, bit 21", V_PF, "E_P | E_R", 1b
    mov dword ptr [DIRECTORY + 3 * 4], 0xC00000 | PS | ALL
    invlpg [0xC00000]
    # Without CR4.PSE bit 7 is ignored: the PDE names a table. One whose entries map the place itself.
    mov edi, 0x400000
    mov eax, 0x400000 | ALL
    mov ecx, 1024
1:  mov [edi + 0x100000], eax
    add edi, 4
    add eax, 0x1000
    loop 1b
    mov edi, 0
    mov eax, ALL
    mov ecx, 1024
1:  mov [edi + 0x501000], eax
    add edi, 4
    add eax, 0x1000
    loop 1b
    mov dword ptr [DIRECTORY_B], 0x501000 | PS | ALL # PS is set, and means nothing.
    mov dword ptr [DIRECTORY_B + 4], 0x500000 | ALL
    mov dword ptr [DIRECTORY_B + 8], TABLE | PS | ALL
    mov dword ptr [TABLE], SCRATCH | ALL
    mov dword ptr [SCRATCH + 4], 0x600DCAFE
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    PAGING_ON DIRECTORY_B, 0
    TRY
    mov ebx, [WINDOW + 4]
    END_TRY
    EXPECT "bit 7 of a PDE without CR4.PSE", NONE
    CHECK "it names a table", ebx, 0x600DCAFE
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    PAGING_ON DIRECTORY, CR4_PSE
    # SMEP gives the I bit.
    and dword ptr [DIRECTORY], ~US
    mov eax, DIRECTORY
    mov cr3, eax
    mov eax, cr4
    or eax, CR4_SMEP
    mov cr4, eax
    mov dword ptr [TABLE], SCRATCH | ALL
    invlpg [WINDOW]
    TRY
    mov eax, WINDOW
    call eax
    END_TRY
    EXPECT "32-bit, SMEP: a fetch from a user page", V_PF, "E_P | E_I"
    mov eax, cr4
    and eax, ~CR4_SMEP
    or eax, CR4_SMAP
    mov cr4, eax
    TRY
1:  mov al, [WINDOW]
    END_TRY
    EXPECT "32-bit, SMAP: a read of a user page", V_PF, E_P, 1b
    mov eax, cr4
    and eax, ~CR4_SMAP
    mov cr4, eax
    or dword ptr [DIRECTORY], US
    mov eax, DIRECTORY
    mov cr3, eax
    # A page fault in the middle of things: an INT whose inner stack is not present; a segment descriptor that is not.
    mov dword ptr [TABLE], 0
    invlpg [WINDOW]
    # The GDT's second page is the window's: a descriptor that cannot be read is #PF, not a user's even at level 3.
    mov esi, offset gdt
    mov edi, WINDOW + 0x400000 - 0x1000
    mov ecx, (SPARE + SPARE_COUNT * 8) / 4
    mov dword ptr [TABLE + 4092], (SCRATCH + 0x5000) | ALL
    mov dword ptr [DIRECTORY + 3 * 4], TABLE | ALL # The page before the next one that is the window's again.
    mov eax, cr3
    mov cr3, eax
    rep movsd
    mov word ptr [SCRATCH + 0x100], 0x1FFF
    mov dword ptr [SCRATCH + 0x102], WINDOW + 0x400000 - 0x1000
    lgdt [SCRATCH + 0x100]
    TRY
    RING3
    mov ecx, 0x1008 | 3
1:  mov fs, ecx
    END_TRY
    lgdt [gdt_pointer]
    EXPECT "a descriptor on a page that is not present: a supervisor's read", V_PF, 0, 1b
    CHECK32 "its address", rec_cr2, (WINDOW + 0x400000 + 8)
    mov dword ptr [DIRECTORY + 3 * 4], 0xC00000 | PS | ALL
    mov eax, cr3
    mov cr3, eax
    ret

build_pae:
    mov edi, PAE_PD
    mov eax, PS | ALL
    mov ecx, 2048
1:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add edi, 8
    add eax, 0x200000
    loop 1b
    mov edi, PAE_TABLE
    mov eax, SCRATCH | ALL
    mov ecx, 512
1:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add edi, 8
    add eax, 0x1000
    loop 1b
    mov dword ptr [PAE_PD + 4 * 8], PAE_TABLE | ALL
    mov dword ptr [PDPT], PAE_PD | P
    mov dword ptr [PDPT + 8], (PAE_PD + 0x1000) | P
    mov dword ptr [PDPT + 16], (PAE_PD + 0x2000) | P
    mov dword ptr [PDPT + 24], (PAE_PD + 0x3000) | P
    xor eax, eax
    mov [PDPT + 4], eax
    mov [PDPT + 12], eax
    mov [PDPT + 20], eax
    mov [PDPT + 28], eax
    ret

.macro PAE_ACCESS name, ring, low, error, instruction:vararg
    ACCESS_IN PAE_TABLE, "\name", \ring, "\low", "\error", \instruction
.endm
pae:
    PAGING_ON PDPT, CR4_PAE
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    mov byte ptr [SCRATCH], 0xC3
    PAE_ACCESS "PAE: supervisor read", 0, ALL, NOTHING, mov al, [WINDOW]
    CHECK_BITS "PAE: A", PAE_TABLE, A | D, A
    PAE_ACCESS "PAE: a write", 0, ALL, NOTHING, mov byte ptr [WINDOW], 0xC3
    CHECK_BITS "PAE: A and D", PAE_TABLE, A | D, A | D
    PAE_ACCESS "PAE: user write, read-only page", 3, P | US, E_U | E_P | E_W, mov [WINDOW], al
    PAE_ACCESS "PAE: not present", 0, 0, E_W, mov [WINDOW], al
    # The PDPT's entries have no A bit, and no rights.
    TCG_DIFFERS "SDM 3 4.4.1: PDPTEs have no accessed bit; TCG sets one"
    CHECK_BITS "PAE: the PDPT entry is as it was", PDPT, 0xFFF, P
    # NX.
    mov dword ptr [PAE_TABLE + 4], 0x80000000
    PAE_ACCESS "PAE: a read of an NX page", 0, ALL, NOTHING, mov al, [WINDOW]
    TRY
    mov eax, WINDOW
    call eax
    END_TRY
    EXPECT "PAE: a fetch from an NX page", V_PF, "E_P | E_I"
    # Bits 62 to 52 are reserved under PAE.
    mov dword ptr [PAE_TABLE + 4], 0x00100000
    invlpg [WINDOW]
    TRY
1:  mov al, [WINDOW]
    END_TRY
    TCG_DIFFERS "SDM 3 4.4.2, 4.7: bits 62 to 52 are reserved, RSVD comes with P; TCG differs in one of them"
    EXPECT "PAE: PTE bit 52", V_PF, "E_P | E_R", 1b
    mov dword ptr [PAE_TABLE + 4], 0
    invlpg [WINDOW]
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_NXE
    wrmsr
    mov dword ptr [PAE_TABLE + 4], 0x80000000
    invlpg [WINDOW]
    TRY
1:  mov al, [WINDOW]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PAE: NX without NXE", V_PF, "E_P | E_R", 1b
    mov dword ptr [PAE_TABLE + 4], 0
    invlpg [WINDOW]
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    # 2 MiB pages, whatever CR4.PSE is.
    and dword ptr [PAE_PD + 5 * 8], ~(A | D)
    invlpg [0xA00000]
    mov [0xA54321], al
    CHECK_BITS "PAE: a 2 MiB page has A and D", (PAE_PD + 5 * 8), A | D, A | D
    mov dword ptr [PAE_PD + 5 * 8], 0xA00000 | 0x2000 | PS | ALL
    invlpg [0xA00000]
    TRY
1:  mov al, [0xA00000]
    END_TRY
    TCG_DIFFERS "SDM 3 4.7: RSVD comes with P; TCG leaves P clear"
    EXPECT "PAE: a 2 MiB page, bit 13", V_PF, "E_P | E_R", 1b
    mov dword ptr [PAE_PD + 5 * 8], 0xA00000 | PS | ALL
    invlpg [0xA00000]
    # The PDPT's entries are loaded with CR3 and held.
    mov dword ptr [PDPT + 16], 0
    TRY
    mov al, [0x80000000]
    END_TRY
    TCG_DIFFERS "SDM 3 4.4.1: the PDPTEs are registers, loaded with CR3; TCG reads memory"
    EXPECT "PAE: a PDPT entry that was taken away after CR3 was loaded", NONE
    mov eax, cr3
    mov cr3, eax
    TRY
1:  mov al, [0x80000000]
    END_TRY
    EXPECT "PAE: it counts after a load of CR3", V_PF, 0, 1b
    CHECK32 "PAE: CR2", rec_cr2, 0x80000000
    mov dword ptr [PDPT + 16], (PAE_PD + 0x2000) | P | RW # Bit 1 is reserved.
    TRY
    mov eax, cr3
1:  mov cr3, eax
    END_TRY
    TCG_DIFFERS "SDM 3 4.4.1: a PDPTE with reserved bits is #GP(0) when CR3 is loaded; TCG does not look"
    EXPECT "PAE: a PDPT entry with a reserved bit", V_GP, 0, 1b
    mov dword ptr [PDPT + 16], (PAE_PD + 0x2000) | P
    mov eax, cr3
    mov cr3, eax
    TRY
    mov al, [0x80000000]
    END_TRY
    EXPECT "PAE: all is well again", NONE
    # CR3's low bits: the table is aligned to 32 bytes.
    mov esi, PDPT
    mov edi, PDPT + 0x20
    mov ecx, 8
    rep movsd
    TRY
    mov eax, PDPT + 0x20
    mov cr3, eax
    mov al, [WINDOW]
    END_TRY
    EXPECT "PAE: a table of 32 bytes", NONE
    mov eax, PDPT
    mov cr3, eax
    # Global pages.
    mov eax, cr4
    or eax, CR4_PGE
    mov cr4, eax
    mov dword ptr [SCRATCH + 4], 0x11111111
    mov dword ptr [SCRATCH + 0x1004], 0x22222222
    mov dword ptr [PAE_TABLE], SCRATCH | ALL | G
    invlpg [WINDOW]
    mov eax, [WINDOW + 4]
    mov dword ptr [PAE_TABLE], (SCRATCH + 0x1000) | ALL | G
    invlpg [WINDOW]
    mov eax, [WINDOW + 4]
    CHECK "PAE: INVLPG removes a global page", eax, 0x22222222
    ret
