// What the TLB keeps for translated code: execute ids, the target cache, refills. And that it goes when it must.
#include "mmu/execute_ids.h"
#include "mmu/tlb_pool.h"
#include "tests/mmu/fixture.h"

#include <functional>
#include <set>

namespace calque::mmu {
namespace {

struct ExecuteTest : testing::Test {
    ExecuteTest()
        : tables(memory, 0x100000), second(memory, 0x200000), mmu(memory.map, memory.log),
          context(long_mode(tables.root() | 1)), other(context) {
        context.cr4 |= cr4_pcide;
        other.cr4 |= cr4_pcide;
        other.cr3 = second.root() | 2;
        for (LongTables* each : {&tables, &second}) {
            each->map(page, frame(1));
            each->map(next, frame(2));
            each->map(far, frame(3));
            each->map(global, frame(4) | G);
            each->map(large, 0 | P | W | PS, 21);
            each->map(huge, 0 | P | W | PS, 30);
        }
        mmu.load_cr3(context, false);
    }
    u64 frame(u64 n) const { return n * page_size | P | W; }

    // What the current table, looked at as translated code does, has for an address.
    struct Found {
        ExecuteId id;
        const void* code;
        bool operator==(const Found&) const = default;
    };
    Found look(u64 linear) const {
        const u8* const base = reinterpret_cast<const u8*>(mmu.view().table);
        const auto* ids = reinterpret_cast<const ExecuteId*>(base + tlb_execute_ids_offset);
        const auto* targets = reinterpret_cast<const TlbTarget*>(base + tlb_targets_offset);
        const TlbTarget& target = targets[tlb_target_slot(linear)];
        return {ids[(linear >> page_shift) & (tlb_execute_id_count - 1)],
                target.linear == linear ? target.code : nullptr};
    }
    Found enter(u64 linear) {
        const ExecuteId id = mmu.execute_id(LinearAddress(linear));
        mmu.remember_target(LinearAddress(linear), code);
        EXPECT_NE(id, 0u);
        EXPECT_EQ(look(linear), (Found{id, code}));
        return {id, code};
    }
    static constexpr Found nothing{0, nullptr};

    Memory memory;
    LongTables tables, second;
    Mmu mmu;
    PagingContext context, other;
    static constexpr u64 page = 0x40'0000, next = 0x40'1000, far = 0x40'8000, global = 0xFFFF'8000'0000'3000,
                         large = 0x7000'0000'0000, huge = 0x7100'0000'0000;
    static constexpr int code[1] = {};
};

TEST_F(ExecuteTest, AnIdNamesOnePairInEveryTableOfEveryVcpu) {
    Mmu another(memory.map, memory.log);
    another.load_cr3(context, false);
    std::set<ExecuteId> ids;
    for (const u64 linear : {page, next, far, global, large, huge}) {
        const ExecuteId id = mmu.execute_id(LinearAddress(linear + 0x123));
        EXPECT_NE(id, 0u);
        EXPECT_TRUE(ids.insert(id).second);
        EXPECT_EQ(mmu.execute_id(LinearAddress(linear)), id);
        EXPECT_EQ(another.execute_id(LinearAddress(linear)), id);
    }
    tables.map(page, frame(5)); // Another frame: another pair.
    mmu.flush_page(LinearAddress(page));
    EXPECT_TRUE(ids.insert(mmu.execute_id(LinearAddress(page))).second);
    second.map(page, frame(5)); // The same pair in another space.
    const ExecuteId id = mmu.execute_id(LinearAddress(page));
    mmu.load_cr3(other, false);
    EXPECT_EQ(mmu.execute_id(LinearAddress(page)), id);
    second.map(far, frame(5)); // The same frame elsewhere.
    EXPECT_TRUE(ids.insert(mmu.execute_id(LinearAddress(far))).second);
}

TEST_F(ExecuteTest, AFetchEntersTheId) {
    Mmu::CodePage found;
    ASSERT_TRUE(mmu.fetch(LinearAddress(page + 5), found));
    const ExecuteId id = look(page).id;
    EXPECT_NE(id, 0u);
    EXPECT_EQ(mmu.execute_id(LinearAddress(page)), id);
    const u64 same_slot = page + tlb_execute_id_count * page_size; // Takes the slot, not the entry of a large TLB.
    tables.map(same_slot, frame(6));
    ASSERT_TRUE(mmu.fetch(LinearAddress(same_slot), found));
    EXPECT_NE(look(page).id, id);
    EXPECT_EQ(look(page).id, mmu.execute_id(LinearAddress(same_slot)));
    ASSERT_TRUE(mmu.fetch(LinearAddress(page), found));
    EXPECT_EQ(look(page).id, id);
}

TEST_F(ExecuteTest, NoIdForWhatCannotBeExecutedOrIsNoMemory) {
    tables.map(page, frame(1) | XD);
    context.efer |= efer_nxe;
    mmu.load_cr3(context, false);
    EXPECT_EQ(mmu.execute_id(LinearAddress(page)), 0u);
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::page_fault);
    EXPECT_EQ(mmu.execute_id(LinearAddress(u64{1} << 50)), 0u);
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical);
    tables.map(far, 0xFE00'0000 | P | W); // Nothing there.
    EXPECT_EQ(mmu.execute_id(LinearAddress(far)), 0u);
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::none);
    EXPECT_EQ(look(far), nothing);
}

// A library's pages have the same numbers wherever a process has them, and move together.
TEST_F(ExecuteTest, PagesMappedElsewhereHaveTheSameNumberAndAnotherShift) {
    constexpr u64 here = 0x7F12'3456'7000, there = 0x7ABC'DEF0'1000;
    for (u64 n = 0; n < 3; ++n) {
        tables.map(here + n * page_size, frame(8 + n));
        second.map(there + n * page_size, frame(8 + n));
    }
    const ExecuteId first = mmu.execute_id(LinearAddress(here));
    const ExecuteId after = mmu.execute_id(LinearAddress(here + page_size));
    EXPECT_NE(execute_number(first), execute_number(after));
    EXPECT_EQ(execute_shift(first), execute_shift(after));
    const u64 place = here - execute_shift(first);
    EXPECT_GE(place, ExecuteIds::places);
    EXPECT_LT(place, ExecuteIds::places_end);
    mmu.load_cr3(other, false);
    const ExecuteId moved = mmu.execute_id(LinearAddress(there));
    EXPECT_EQ(execute_number(moved), execute_number(first));
    EXPECT_EQ(there - execute_shift(moved), place);
    // New to everybody, but beside what is known.
    const ExecuteId last = mmu.execute_id(LinearAddress(there + 2 * page_size));
    EXPECT_EQ(execute_shift(last), execute_shift(moved));
    mmu.load_cr3(context, false);
    const ExecuteId last_here = mmu.execute_id(LinearAddress(here + 2 * page_size));
    EXPECT_EQ(execute_number(last_here), execute_number(last));
    EXPECT_EQ(execute_shift(last_here), execute_shift(first));
    // As translated code sees it, at both of its slots.
    EXPECT_EQ(mmu.execute_id(LinearAddress(here)), first);
    const auto* ids =
        reinterpret_cast<const ExecuteId*>(reinterpret_cast<const u8*>(mmu.view().table) + tlb_execute_ids_offset);
    const u64 slot = (here >> page_shift) & (tlb_execute_id_count - 1);
    EXPECT_EQ(ids[slot], first);
    EXPECT_EQ(ids[slot + tlb_execute_id_count], first);
    EXPECT_EQ(execute_shift(mmu.execute_id(LinearAddress(page))), 0u);   // Below 4 GiB nothing moves,
    EXPECT_EQ(execute_shift(mmu.execute_id(LinearAddress(global))), 0u); // nor in the upper half.
}

// With 32-bit linear addresses the upper half does not count.
TEST_F(ExecuteTest, IdsOf32BitAddresses) {
    mmu.set_context({});
    const ExecuteId id = mmu.execute_id(LinearAddress(0x5000));
    EXPECT_NE(id, 0u);
    EXPECT_EQ(mmu.execute_id(LinearAddress(0x7'0000'5000)), id);
}

// Whatever makes a translation go whose entry has changed takes its id and targets along; each is tried on every kind
// of page.
TEST_F(ExecuteTest, EveryInvalidationEmpties) {
    struct Way {
        const char* name;
        bool global; // Global pages go, too.
        std::function<void(u64)> act;
    };
    const Way ways[] = {
        {"INVLPG", true, [&](u64 linear) { mmu.flush_page(LinearAddress(linear + 7)); }},
        {"INVPCID 0", true, [&](u64 linear) { mmu.flush_pcid_page(1, LinearAddress(linear + 7)); }},
        {"INVPCID 1", false, [&](u64) { mmu.flush_pcid(1); }},
        {"INVPCID 2", true, [&](u64) { mmu.flush_all(true); }},
        {"INVPCID 3", false, [&](u64) { mmu.flush_all(false); }},
        {"MOV CR3", false, [&](u64) { mmu.load_cr3(context, false); }},
        {"another space under the PCID", false,
         [&](u64) {
             PagingContext moved = context;
             moved.cr3 = second.root() | 1;
             mmu.load_cr3(moved, true);
             mmu.load_cr3(context, true);
         }},
        {"CR4.PGE", true,
         [&](u64) {
             PagingContext changed = context;
             changed.cr4 &= ~cr4_pge;
             mmu.set_context(changed);
             mmu.set_context(context);
         }},
        {"change of the map", true,
         [&](u64) {
             memory.map.set_regions(memory.map.regions());
             mmu.serve_requests();
         }},
        {"A20", true,
         [&](u64) {
             memory.map.set_a20(false);
             memory.map.set_a20(true);
             mmu.serve_requests();
         }},
        {"page fault", true,
         [&](u64 linear) {
             PagingContext user = context;
             user.cpl = 3; // All pages are the supervisor's.
             mmu.set_context(user);
             u8 byte;
             EXPECT_FALSE(mmu.load(LinearAddress(linear + 7), byte));
             mmu.set_context(context);
         }},
        {"other address spaces", false,
         [&](u64) {
             PagingContext many = context;
             for (u64 n = 10; n < 10 + 2 * TlbPool::count; ++n) {
                 many.cr3 = (0x90'0000 + n * page_size) | n;
                 mmu.load_cr3(many, false);
             }
             mmu.load_cr3(context, true);
         }},
    };
    for (const Way& way : ways)
        for (const u64 linear : {page, global, large + 0x5000, huge + 0x3'5000}) {
            enter(linear + 0x10);
            if (!way.global && linear == global) continue;
            const u64 entry = tables.entry(linear, linear - huge < u64{1} << 30    ? 30
                                                   : linear - large < u64{1} << 21 ? 21
                                                                                   : 12);
            memory.put(entry, memory.get<u64>(entry) & ~A);
            way.act(linear);
            EXPECT_EQ(look(linear + 0x10), nothing) << way.name << std::hex << " of " << linear;
            u64 entered = 0;
            mmu.load_cr3(context, true);
            mmu.view().table->for_each_live([&](u64 at, const TlbEntry&) { entered += at == linear; });
            EXPECT_EQ(entered, 0u) << way.name;
        }
}

// What is global is so in every address space: a new one begins with it.
TEST_F(ExecuteTest, ANewAddressSpaceHasTheGlobalPages) {
    const Found here = enter(global + 0x10), local = enter(page + 0x10);
    mmu.load_cr3(other, false);
    EXPECT_EQ(look(global + 0x10), (Found{here.id, nullptr}));
    EXPECT_NE(look(page + 0x10).id, local.id);
    u64 walks = mmu.counters().walks, value;
    ASSERT_TRUE(mmu.load(LinearAddress(global + 0x20), value));
    EXPECT_EQ(mmu.counters().walks, walks);
    mmu.flush_page(LinearAddress(global)); // In all of them.
    EXPECT_EQ(look(global + 0x10), nothing);
    mmu.load_cr3(context, true);
    EXPECT_EQ(look(global + 0x10), nothing);

    enter(global + 0x10);
    PagingContext elsewhere = other; // Other rights: CR0.WP.
    elsewhere.cr0 ^= cr0_wp;
    elsewhere.cr3 = second.root() | 3;
    mmu.load_cr3(elsewhere, false);
    EXPECT_EQ(look(global + 0x10), nothing);
}

TEST_F(ExecuteTest, WhatLeavesTheTranslationLeavesTheRest) {
    const Found found = enter(page + 0x10);
    mmu.flush_page(LinearAddress(far));
    mmu.flush_pcid(2);
    mmu.flush_pcid_page(2, LinearAddress(page));
    EXPECT_EQ(look(page + 0x10), found);
    mmu.load_cr3(other, false);
    EXPECT_EQ(look(page + 0x10), nothing);
    mmu.load_cr3(context, true);
    EXPECT_EQ(look(page + 0x10), found);
    PagingContext user = context;
    user.cpl = 3;
    mmu.set_context(user);
    EXPECT_EQ(look(page + 0x10), nothing);
    mmu.set_context(context);
    EXPECT_EQ(look(page + 0x10), found);
    u64 value;
    for (u64 n = 1; n < 8; ++n) { // Its entry is driven out, and the table grows.
        tables.map(page + n * tlb_largest * page_size, frame(n));
        ASSERT_TRUE(mmu.load(LinearAddress(page + n * tlb_largest * page_size), value));
    }
    while (mmu.view().table->grow()) {
    }
    EXPECT_EQ(look(page + 0x10), found);
}

// Code may go on from the page of its first byte into the next.
TEST_F(ExecuteTest, TheFollowingPageTakesTargetsAlong) {
    const Found found = enter(page + 0xFF8);
    mmu.flush_page(LinearAddress(next));
    EXPECT_EQ(look(page + 0xFF8), (Found{found.id, nullptr}));
    EXPECT_EQ(mmu.execute_id(LinearAddress(page)), found.id);
}

TEST_F(ExecuteTest, AGlobalPageGoesFromEverySpace) {
    enter(global + 0x10);
    mmu.load_cr3(other, false);
    enter(global + 0x10);
    const Found found = enter(page + 0x20);
    mmu.flush_page(LinearAddress(global));
    EXPECT_EQ(look(global + 0x10), nothing);
    EXPECT_EQ(look(page + 0x20), found);
    mmu.load_cr3(context, true);
    EXPECT_EQ(look(global + 0x10), nothing);
}

TEST_F(ExecuteTest, ForgettingTargetsConcernsEveryTableAndNoId) {
    const Found here = enter(page + 0x10);
    mmu.load_cr3(other, false);
    const Found there = enter(page + 0x10);
    mmu.forget_targets();
    EXPECT_EQ(look(page + 0x10), (Found{there.id, nullptr}));
    mmu.load_cr3(context, true);
    EXPECT_EQ(look(page + 0x10), (Found{here.id, nullptr}));
    enter(page + 0x10);
}

TEST_F(ExecuteTest, TheCodeKeyIsItsTables) {
    EXPECT_EQ(mmu.view().table->code_key(), 0u);
    mmu.view().table->set_code_key(5);
    u64 raw;
    std::memcpy(&raw, reinterpret_cast<const u8*>(mmu.view().table) + tlb_code_key_offset, sizeof raw);
    EXPECT_EQ(raw, 5u);
    mmu.load_cr3(other, false);
    EXPECT_EQ(mmu.view().table->code_key(), 0u);
    mmu.load_cr3(context, true);
    EXPECT_EQ(mmu.view().table->code_key(), 5u);
    mmu.load_cr3(context, false); // Nothing has changed.
    EXPECT_EQ(mmu.view().table->code_key(), 5u);
    mmu.flush_all(true);
    EXPECT_EQ(mmu.view().table->code_key(), 0u);
}

// With alignment checks in force every access takes the slow path, whatever it has filled.
TEST_F(ExecuteTest, AlignmentChecksLeaveTheTableEmpty) {
    tables.map(page, frame(1) | U);
    tables.map(far, 0x9000 | P | W | U);
    context.cpl = 3;
    context.ac = context.alignment_check = true;
    mmu.load_cr3(context, false);
    const TlbView view = mmu.view();
    u64 value;
    Mmu::CodePage found;
    ASSERT_TRUE(mmu.load(LinearAddress(page + 8), value));
    ASSERT_TRUE(mmu.store(LinearAddress(far + 8), value));
    ASSERT_TRUE(mmu.fetch(LinearAddress(page), found));
    EXPECT_NE(mmu.execute_id(LinearAddress(page)), 0u);
    mmu.remember_target(LinearAddress(page), code);
    EXPECT_EQ(mmu.refill(LinearAddress(page), 8, Access::read), memory.ram.data() + 0x1000);
    EXPECT_EQ(mmu.refill(LinearAddress(page + 1), 8, Access::read), nullptr);
    EXPECT_EQ(look(page), nothing);
    for (u64 n = 0; n < tlb_smallest; ++n) {
        const TlbEntry& entry = view.entry(n << page_shift);
        for (const u64 tag : {entry.read_tag, entry.write_tag, entry.execute_tag})
            ASSERT_FALSE(tlb_hit(tag, (page & ~((tlb_smallest << page_shift) - 1)) | n << page_shift, 1));
    }
    ASSERT_FALSE(mmu.load(LinearAddress(page + 1), value));
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::alignment);
    context.alignment_check = false;
    mmu.set_context(context);
    EXPECT_TRUE(mmu.load(LinearAddress(page + 1), value));
}

// ---- Refills ----

struct RefillTest : ExecuteTest {
    bool hits(u64 linear, Access access) const {
        const TlbEntry& entry = mmu.view().entry(linear);
        return tlb_hit(access == Access::write ? entry.write_tag : entry.read_tag, linear, 1);
    }
    u8* refill(u64 linear, u64 size, Access access) { return mmu.refill(LinearAddress(linear), size, access); }
};

TEST_F(RefillTest, FillsTheTableAndGivesThePointer) {
    EXPECT_EQ(refill(page + 0x18, 8, Access::read), memory.ram.data() + 0x1018);
    EXPECT_TRUE(hits(page, Access::read));
    EXPECT_FALSE(memory.get<u64>(tables.entry(page)) & D);
    EXPECT_EQ(refill(page + 0xFF8, 8, Access::write), memory.ram.data() + 0x1FF8);
    EXPECT_TRUE(hits(page, Access::write));
    EXPECT_TRUE(memory.get<u64>(tables.entry(page)) & D);
    const u64 fills = mmu.counters().fills;
    u64 value = 7;
    EXPECT_TRUE(mmu.store(LinearAddress(page), value));
    EXPECT_EQ(mmu.counters().fills, fills);
    EXPECT_EQ(mmu.counters().refills, 2u);
}

TEST_F(RefillTest, NullWhereTheInstructionHasToBeInterpreted) {
    tables.map(page, 0x1000 | P);
    tables.map(far, 0xFE00'0000 | P | W);
    for (const Access access : {Access::read, Access::write}) {
        EXPECT_EQ(refill(next + 0xFF9, 8, access), nullptr);
        EXPECT_EQ(refill(next, page_size + 1, access), nullptr);
        EXPECT_EQ(refill(far, 8, access), nullptr);
        EXPECT_EQ(refill(0x1234'5000, 8, access), nullptr);
        EXPECT_EQ(refill(u64{1} << 50, 8, access), nullptr);
        EXPECT_EQ(refill(0x7FFF'FFFF'FFFF, 8, access), nullptr);
    }
    EXPECT_EQ(refill(page, 8, Access::write), nullptr);
    EXPECT_NE(refill(page, 8, Access::read), nullptr);
}

TEST_F(RefillTest, StoresToPagesWithCodeTellNobody) {
    struct Observer final : CodeWriteObserver {
        void code_written(PhysicalAddress, u64) override { ++told; }
        int told = 0;
    } observer;
    memory.map.add_observer(observer);
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x1100), 16));
    EXPECT_EQ(refill(page + 0x100, 8, Access::write), nullptr);
    EXPECT_EQ(refill(page + 0x800, 8, Access::write), memory.ram.data() + 0x1800); // Beside the code.
    EXPECT_EQ(refill(page + 0xFC, 8, Access::write), nullptr);                     // Partly.
    EXPECT_EQ(refill(page + 0x800, page_size, Access::write), nullptr);
    EXPECT_NE(refill(page + 0x100, 8, Access::read), nullptr);
    EXPECT_FALSE(hits(page, Access::write));
    EXPECT_EQ(observer.told, 0);
    EXPECT_TRUE(memory.map.code_marked(PhysicalAddress(0x1100), 16));
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x1200), 16)); // Nor did it let a writer in.
    EXPECT_TRUE(mmu.store(LinearAddress(page + 0x100), u64{1}));
    EXPECT_TRUE(mmu.store(LinearAddress(page + 0x200), u64{1}));
    EXPECT_EQ(observer.told, 2);
    EXPECT_NE(refill(page + 0x100, 8, Access::write), nullptr);
    memory.map.remove_observer(observer);
}

// ---- Tables ----

TEST_F(ExecuteTest, EachTableGrowsByItself) {
    for (u64 n = 0; n < 3000; ++n)
        second.map(far + n * page_size, frame(n & 15));
    mmu.load_cr3(other, false);
    u64 value;
    for (int round = 0; round < 4; ++round)
        for (u64 n = 0; n < 3000; ++n)
            ASSERT_TRUE(mmu.load(LinearAddress(far + n * page_size), value));
    EXPECT_EQ(mmu.view().table->size(), 4096u);
    EXPECT_EQ(mmu.view().index_mask, 4095 * sizeof(TlbEntry));
    mmu.load_cr3(context, true);
    EXPECT_EQ(mmu.view().table->size(), tlb_smallest);
    mmu.load_cr3(other, true);
    EXPECT_EQ(mmu.view().table->size(), 4096u);
    mmu.flush_all(false); // Used again, for a space that is small until it has grown.
    EXPECT_EQ(mmu.view().table->size(), tlb_smallest);
    for (u64 n = 0; n < 3000; ++n)
        ASSERT_TRUE(mmu.load(LinearAddress(far + n * page_size), value));
}

// More spaces than there are tables, each of which sees its own frames, in both rights modes, again and again.
TEST_F(ExecuteTest, ManyAddressSpaces) {
    constexpr u64 spaces = 60;
    std::vector<std::unique_ptr<LongTables>> roots;
    for (u64 n = 0; n < spaces; ++n) {
        roots.push_back(std::make_unique<LongTables>(memory, 0x400000 + n * 0x10000));
        roots[n]->map(page, frame(n % 13 + 1) | U);
        memory.put(frame(n % 13 + 1) & ~page_offset_mask, n % 13 + 1);
    }
    const auto enter_space = [&](u64 n, bool keep) {
        context.cr3 = roots[n]->root() | (n + 1);
        mmu.load_cr3(context, keep);
    };
    const auto check = [&](u64 n) {
        for (const u8 cpl : {u8{0}, u8{3}}) {
            context.cpl = cpl;
            mmu.set_context(context);
            u64 value;
            ASSERT_TRUE(mmu.load(LinearAddress(page), value));
            ASSERT_EQ(value, n % 13 + 1);
            Mmu::CodePage found;
            ASSERT_TRUE(mmu.fetch(LinearAddress(page), found));
            ASSERT_EQ(found.address.value, (n % 13 + 1) * page_size);
        }
    };
    for (u64 round = 0; round < 5; ++round)
        for (u64 n = 0; n < spaces; ++n) {
            const u64 at = round % 2 ? n : n * 7 % spaces;
            enter_space(at, round != 0);
            check(at);
        }
    // The latest spaces still have theirs.
    const u64 fills = mmu.counters().fills;
    for (u64 n = 0; n < 5; ++n) {
        enter_space((spaces - 1 - n) * 7 % spaces, true);
        check((spaces - 1 - n) * 7 % spaces);
    }
    EXPECT_EQ(mmu.counters().fills, fills);
}

TEST(ExecuteIds, NoIdIsUsedTwiceWhenTheOldestAreForgotten) {
    ExecuteIds ids;
    constexpr u64 pairs = 600'000;
    u32 last = 0;
    for (u64 n = 0; n < pairs; ++n) {
        const u32 id = ids.id_of(LinearAddress(n << page_shift), nullptr);
        ASSERT_GT(id, last);
        last = id;
    }
    EXPECT_EQ(ids.id_of(LinearAddress((pairs - 1) << page_shift), nullptr), last);
    EXPECT_GT(ids.id_of(LinearAddress(0), nullptr), last); // Forgotten, and new.
}

} // namespace
} // namespace calque::mmu
