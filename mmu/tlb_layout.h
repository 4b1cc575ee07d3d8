// The first level of the software TLB as translated code sees it: one table per address space and rights mode, laid out
// so that everything is addressed relative to one base register. The tables of one address space follow each other in
// the order of RightsMode, tlb_table_size apart; behind the last is the address space's mirror (mmu/mirror.h).
//
// A table is a contiguous piece of reserved memory:
//
//   tlb_index_mask_offset   u64                     (entries - 1) * 32: (address >> tlb_index_shift) & index_mask is
//                                                   the byte offset of the entry for an address
//   tlb_code_key_offset     u64                     what kind of code the target cache is for: the translator's
//   tlb_any_target_offset, tlb_targets_touched_offset     what is to be noted with a target that is entered: 1, bit
//                                                   slot / tlb_target_group
//   tlb_target_chunks_offset                        and bit linear / tlb_target_chunk % tlb_target_chunk_bits
//   ...                                             the rest of TlbTable: the Mmu's own
//   tlb_execute_ids_offset  ExecuteId[2 * 4096]     by page number: the id of the executable page there, or 0; twice,
//   so
//                                                   that a sum of two slots needs no mask
//   tlb_returns_offset      TlbTarget[128]          by the stack pointer / 8 at the return address: return addresses of
//                                                   calls under way, and where code goes on there
//   tlb_targets_offset      TlbTarget[16384]        by tlb_target_slot() of the linear address
//   tlb_entries_offset      TlbEntry[up to 65536]
//   tlb_frames_offset       u32[65536]              by entry: the Mmu's own
//   tlb_mirrored_read_offset, tlb_mirrored_write_offset
//                           u64[65536]              by entry: its tags again, as far as the page is mirrored
//
// Memory of zeros is an empty table but for the first entry and the first target: an address that leads to any other
// slot does not match the zero there. So a fresh table costs nothing until it is used.
#pragma once

#include "base/bits.h"
#include "base/types.h"
#include "mmu/address_spaces.h"

#include <cstddef>
#include <type_traits>

namespace calque::mmu {

// A tag is the linear address of the page, when the page is plain memory that may be accessed so under the table's
// rights mode without further check. Any other page has a tag that no address of its slot matches.
struct TlbEntry {
    u64 read_tag;
    u64 write_tag;
    u64 execute_tag;
    u64 host; // Host address of the page's first byte.
};
static_assert(sizeof(TlbEntry) == 32 && std::is_standard_layout_v<TlbEntry>);

// Where translated code for a linear address is. Empty when the slot is not that of `linear`. Outside 64-bit mode
// addresses have 32 bits: above them whoever remembers targets may tell kinds of code apart.
struct TlbTarget {
    u64 linear;
    const void* code;
};

inline constexpr u64 tlb_return_count = 128;

// What an executable page is known by: a number for the pair of a *place* and the host page there, and the distance of
// the page's linear address from that place. Together they stand for the pair of the linear and the host page. Code
// that is mapped at different addresses, as that of shared libraries is, has the same number at all of them.
using ExecuteId = u64;
inline constexpr unsigned execute_id_bits = 28;    // Of the number.
inline constexpr unsigned execute_shift_left = 16; // From the distance, whole pages, to its place in the id.
constexpr ExecuteId execute_id(u32 number, u64 shift) { return number + (shift << execute_shift_left); }
constexpr u32 execute_number(ExecuteId id) { return static_cast<u32>(id) & ((u32{1} << execute_id_bits) - 1); }
constexpr u64 execute_shift(ExecuteId id) { return id >> execute_shift_left & ~page_offset_mask; }

inline constexpr u64 tlb_smallest = 1024; // Entries.
inline constexpr u64 tlb_largest = 65536;
inline constexpr u64 tlb_execute_id_count = 4096;
inline constexpr u64 tlb_target_count = 16384;
inline constexpr unsigned tlb_index_shift = 7; // From an address to the byte offset of its entry, before masking.

// Multiples of 64 KiB where pieces of memory are given back, so that they are whole pages on every host.
inline constexpr u64 tlb_index_mask_offset = 0;
inline constexpr u64 tlb_code_key_offset = 8;
inline constexpr u64 tlb_any_target_offset = 16;      // bool.
inline constexpr u64 tlb_targets_touched_offset = 24; // u64[tlb_target_count / tlb_target_group / 64].
inline constexpr u64 tlb_target_group = 64;           // Targets.
inline constexpr u64 tlb_execute_ids_offset = 0x1000;
inline constexpr u64 tlb_execute_pages_offset = 0x1'1000; // TlbExecutePage[4096].
inline constexpr u64 tlb_target_chunks_offset = 0x2'1000;
inline constexpr u64 tlb_target_chunk = 64;                  // Bytes of code.
inline constexpr u64 tlb_target_chunk_bits = u64{64} * 4096; // Of 4096 pages.
inline constexpr u64 tlb_returns_offset = 0x2'A000;
inline constexpr u64 tlb_targets_offset = 0x3'0000;
inline constexpr u64 tlb_entries_offset = 0x7'0000;
inline constexpr u64 tlb_frames_offset = tlb_entries_offset + tlb_largest * sizeof(TlbEntry); // u32[65536].
// What translated code looks at first: with a tag that matches, the access goes to the mirror (mmu/mirror.h). The tags
// are those of the entry when its page is mirrored; else ones that no address of the slot matches.
inline constexpr u64 tlb_mirrored_read_offset = tlb_frames_offset + tlb_largest * sizeof(u32);
inline constexpr u64 tlb_mirrored_write_offset = tlb_mirrored_read_offset + tlb_largest * sizeof(u64);
inline constexpr u64 tlb_table_size = tlb_mirrored_write_offset + tlb_largest * sizeof(u64);
// From the first table of an address space to its mirror, which begins at a multiple of the host's large pages.
inline constexpr u64 tlb_mirror_alignment = u64{2} << 20;
inline constexpr u64 tlb_mirror_distance = align_up(rights_modes * tlb_table_size, tlb_mirror_alignment);
static_assert(tlb_table_size % 0x1'0000 == 0);

// The target slot of an address. The page number is part of it, so that functions, which begin at multiples of 16, do
// not all meet in the same few slots.
constexpr u64 tlb_target_slot(u64 linear) { return (linear + (linear >> page_shift)) & (tlb_target_count - 1); }

// The tag of an empty slot: an address that indexes the slot differs from it in bit 12.
constexpr u64 tlb_empty_tag(u64 slot) { return (slot ^ 1) << page_shift; }
// The write tag of a page that may be written, but holds code: no address matches it, and it says that only the marks
// are in the way (Mmu::refill). No slot's empty tag is odd.
constexpr u64 tlb_code_tag(u64 page) { return (page ^ page_size) | 1; }
// Whether an access of `size` bytes (1 to 4096) at `address` lies wholly in the page of `tag`.
constexpr bool tlb_hit(u64 tag, u64 address, u64 size) { return (address ^ tag) <= page_size - size; }

} // namespace calque::mmu
