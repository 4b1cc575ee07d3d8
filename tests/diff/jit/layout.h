// Where things are in the small machine that random programs run in.
//
// Linear addresses: one 2 MiB piece at a base that is chosen for each case. By page number in it:
//
//   code 4 | data 16 | alias: the code pages, as data | stack 2 | what the handlers use, for the supervisor only
#pragma once

#include "base/types.h"

namespace calque::diff {

namespace page {
inline constexpr u64 code = 0x10, code_count = 4;
inline constexpr u64 data = 0x20, data_count = 16;
inline constexpr u64 alias = 0x40; // As many as code.
inline constexpr u64 stack = 0x50, stack_count = 2;
inline constexpr u64 tables = 0x60, stubs = 0x61, handler = 0x62, log = 0x63, lengths = 0x64, // As many as code.
    fault_stack = 0x68, page_table = 0x6B, interrupt_stack = 0x69, ring0_stack = 0x6A;
inline constexpr u64 wild = 0x70, wild_count = 16;         // Entries of random bits.
inline constexpr u64 end_data = 0x1FE, end_data_count = 2; // At the end of the piece.
// In two more pieces behind it, where they exist (Setting::more_pieces): all pages of the first again, with other
// rights from above; and physical memory from 0 on as one large page that nothing writes to.
inline constexpr u64 again = 0x200, physical = 0x400;
} // namespace page

// Physical page numbers.
namespace frame {
inline constexpr u64 pml4 = 0, pdpt = 1, directory = 2, table = 3, tables = 4, stubs = 5, handler = 6, log = 7,
                     lengths = 8, fault_stack = 12, interrupt_stack = 13, ring0_stack = 14, stack = 15, code = 17,
                     data = 21, data_count = 8, count = 32;
inline constexpr u64 device = 0x100, unassigned = 0x200;
} // namespace frame

inline constexpr u64 ram_bytes = frame::count * page_size;

// In real mode: the segment whose pages are stubs, handler, log and lengths, one after the other.
inline constexpr u16 real_handlers = frame::stubs << 8;

// Offsets in the page of tables, and selectors.
inline constexpr u64 gdt_at = 0, tss_at = 0x100, idt_at = 0x1000 - 0x810; // 129 gates of 16 bytes.
inline constexpr u16 kernel_code = 0x08, kernel_data = 0x10, user_data = 0x1B, user_code = 0x23, tss_selector = 0x28,
                     user_code32 = 0x3B, kernel_code32 = 0x40, legacy_stack = 0x48;

// Vectors with a meaning of their own.
inline constexpr u8 vector_interrupt = 0x40, vector_end = 0x80;

// The log page: how many exceptions there were, and for each: vector, error code, CR2, RIP.
inline constexpr u64 log_count_at = 0, log_entries_at = 64, log_entry_bytes = 32, most_exceptions = 40;

} // namespace calque::diff
