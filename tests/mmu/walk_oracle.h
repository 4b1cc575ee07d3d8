// What a page walk must do, written straight from the manual's text (SDM volume 3, 4.3 to 4.8) with no regard to speed:
// one list of levels, one list of reasons to fault, one formula for the error code.
#pragma once

#include "tests/mmu/fixture.h"

#include <optional>
#include <vector>

namespace calque::mmu {

enum class PagingMode { bits32, pae, level4 };

struct WalkCase {
    PagingMode mode = PagingMode::level4;
    u64 page_bytes = page_size; // Of the leaf that the tables are built for.
    // From the root's entry to the leaf. In PAE mode the first is a PDPTE, a register.
    std::vector<u64> entries;
    PagingContext context;
    Access access = Access::read;
    Privilege privilege = Privilege::current;
};

struct WalkAnswer {
    bool fault = false;
    u32 error_code = 0;
    u64 frame = 0; // Of the page, without fault.
    u64 size = 0;
    std::vector<u64> entries; // As they are afterwards.
};

class WalkOracle {
  public:
    static WalkAnswer answer(const WalkCase& c) {
        WalkOracle oracle(c);
        oracle.run();
        return oracle.result_;
    }

  private:
    explicit WalkOracle(const WalkCase& c) : c_(c) { result_.entries = c.entries; }

    bool cr0(u64 bit) const { return c_.context.cr0 & bit; }
    bool cr4(u64 bit) const { return c_.context.cr4 & bit; }
    bool nxe() const { return c_.context.efer & efer_nxe; }
    bool user_access() const { return c_.privilege == Privilege::current && c_.context.cpl == 3; }
    bool implicit() const { return c_.privilege == Privilege::system; }

    // Bit n of x.
    static bool is(u64 x, unsigned n) { return x >> n & 1; }

    // The size that an entry at depth i maps, if it is a leaf.
    std::optional<u64> leaf_size(std::size_t i) const {
        const u64 e = c_.entries[i];
        if (c_.mode == PagingMode::bits32) {
            if (i == 1) return 4096;
            return is(e, 7) && cr4(cr4_pse) ? std::optional<u64>(4 << 20) : std::nullopt;
        }
        const std::size_t depth = c_.mode == PagingMode::pae ? i + 1 : i; // 0 PML4, 1 PDPT, 2 PD, 3 PT
        if (depth == 3) return 4096;
        if (depth == 2 && is(e, 7)) return 2 << 20;
        if (depth == 1 && is(e, 7) && c_.mode == PagingMode::level4) return 1 << 30;
        return std::nullopt;
    }

    bool reserved_bits_set(std::size_t i) const {
        const u64 e = c_.entries[i];
        if (c_.mode == PagingMode::bits32) return leaf_size(i) == 4u << 20 && is(e, 21);
        if (c_.mode == PagingMode::pae && i == 0) return false; // Checked when it was loaded.
        for (unsigned n = 40; n <= 51; ++n)
            if (is(e, n)) return true;
        if (c_.mode == PagingMode::pae)
            for (unsigned n = 52; n <= 62; ++n)
                if (is(e, n)) return true;
        if (is(e, 63) && !nxe()) return true;
        if (c_.mode == PagingMode::level4 && i == 0 && is(e, 7)) return true;
        const auto size = leaf_size(i);
        if (size == 2u << 20)
            for (unsigned n = 13; n <= 20; ++n)
                if (is(e, n)) return true;
        if (size == 1u << 30)
            for (unsigned n = 13; n <= 29; ++n)
                if (is(e, n)) return true;
        return false;
    }

    bool fetch_flag() const { return c_.access == Access::execute && (cr4(cr4_smep) || (cr4(cr4_pae) && nxe())); }

    void fault(bool present, bool reserved, bool key) {
        result_.fault = true;
        result_.error_code = (present ? 1u : 0) | (c_.access == Access::write ? 2u : 0) | (user_access() ? 4u : 0)
                             | (reserved ? 8u : 0) | (fetch_flag() ? 16u : 0) | (key ? 32u : 0);
    }

    void run() {
        const std::size_t last = c_.entries.size() - 1;
        bool all_w = true, all_u = true, any_xd = false;
        for (std::size_t i = 0;; ++i) {
            const u64 e = c_.entries[i];
            if (!is(e, 0)) return fault(false, false, false);
            if (reserved_bits_set(i)) return fault(true, true, false);
            const bool pdpte_register = c_.mode == PagingMode::pae && i == 0;
            if (!pdpte_register) {
                all_w = all_w && is(e, 1);
                all_u = all_u && is(e, 2);
                any_xd = any_xd || (c_.mode != PagingMode::bits32 && is(e, 63));
            }
            if (leaf_size(i)) return at_leaf(i, all_w, all_u, any_xd);
            if (!pdpte_register) result_.entries[i] |= A;
            ASSERT_LT(i, last);
        }
    }

    void at_leaf(std::size_t i, bool all_w, bool all_u, bool any_xd) {
        const u64 e = c_.entries[i];
        // Protection keys: user-mode addresses, data accesses, 4-level paging.
        bool key = false;
        if (c_.mode == PagingMode::level4 && cr4(cr4_pke) && all_u && c_.access != Access::execute) {
            const unsigned k = static_cast<unsigned>(e >> 59 & 15);
            const bool ad = is(c_.context.pkru, 2 * k), wd = is(c_.context.pkru, 2 * k + 1);
            key = ad || (wd && c_.access == Access::write && (user_access() || cr0(cr0_wp)));
        }
        if (!allowed(all_w, all_u, any_xd) || key) return fault(true, false, key);
        result_.entries[i] |= A;
        if (c_.access == Access::write) result_.entries[i] |= D;
        result_.size = *leaf_size(i);
        result_.frame = (e & 0x000F'FFFF'FFFF'F000) / result_.size * result_.size;
        if (c_.mode == PagingMode::bits32) {
            result_.frame = (e & 0xFFFF'F000) / result_.size * result_.size;
            if (result_.size != 4096) result_.frame += (e >> 13 & 0xFF) << 32;
        }
    }

    // SDM volume 3, 4.6.1.
    bool allowed(bool all_w, bool all_u, bool any_xd) const {
        if (user_access()) {
            if (!all_u) return false;
            if (c_.access == Access::write) return all_w;
            if (c_.access == Access::execute) return !any_xd;
            return true;
        }
        if (c_.access == Access::execute) {
            if (all_u && cr4(cr4_smep)) return false;
            return !any_xd;
        }
        if (all_u && cr4(cr4_smap) && (implicit() || !c_.context.ac)) return false;
        return c_.access == Access::read || all_w || !cr0(cr0_wp);
    }

    const WalkCase& c_;
    WalkAnswer result_;
};

// Puts a case's tables into memory, walks it, and compares.
class WalkChecker {
  public:
    explicit WalkChecker(Memory& memory) : memory_(memory) {}

    // Entries that lead on are given without an address; the checker links them. Leaves carry their frame.
    void check(WalkCase c) {
        install(c);
        const WalkAnswer expected = WalkOracle::answer(c);
        Translation found;
        Fault fault;
        // A look changes nothing and sees the same.
        const bool looked =
            walk(memory_.map, c.context, linear_, c.access, c.privilege, WalkEffect::none, found, fault);
        ASSERT_EQ(looked, !expected.fault) << describe(c);
        ASSERT_EQ(installed(c), c.entries) << describe(c);
        fault = {};
        const bool ok =
            walk(memory_.map, c.context, linear_, c.access, c.privilege, WalkEffect::set_bits, found, fault);
        ASSERT_EQ(ok, !expected.fault) << describe(c);
        ASSERT_EQ(installed(c), expected.entries) << describe(c);
        if (!ok) {
            ASSERT_EQ(fault.kind, Fault::Kind::page_fault);
            ASSERT_EQ(fault.error_code, expected.error_code) << describe(c);
            ASSERT_EQ(fault.address, linear_);
            return;
        }
        ASSERT_EQ(found.size, expected.size) << describe(c);
        ASSERT_EQ(found.address.value, expected.frame + (linear_.value & (expected.size - 1))) << describe(c);
        check_rights(c, expected, found);
    }

  private:
    static constexpr u64 tables_ = 0x10000; // One page per level.

    unsigned shift(const WalkCase& c, std::size_t i) const {
        if (c.mode == PagingMode::bits32) return i == 0 ? 22 : 12;
        return (c.mode == PagingMode::pae ? 30 : 39) - 9 * static_cast<unsigned>(i);
    }
    u64 where(const WalkCase& c, std::size_t i) const {
        const u64 index = linear_.value >> shift(c, i);
        if (c.mode == PagingMode::bits32) return tables_ + i * page_size + (index & 1023) * 4;
        return tables_ + i * page_size + (index & 511) * 8;
    }
    void install(WalkCase& c) {
        linear_ = LinearAddress(c.mode == PagingMode::level4 ? 0xFFFF'9234'5678'9ABC : 0x9234'5ABC);
        c.context.cr3 = tables_;
        for (std::size_t i = 0; i < c.entries.size(); ++i) {
            const bool leads_on = i + 1 < c.entries.size();
            if (leads_on) c.entries[i] |= tables_ + (i + 1) * page_size;
            if (c.mode == PagingMode::pae && i == 0)
                c.context.pdpte[linear_.value >> 30 & 3] = c.entries[0];
            else if (c.mode == PagingMode::bits32)
                memory_.put(where(c, i), static_cast<u32>(c.entries[i]));
            else
                memory_.put(where(c, i), c.entries[i]);
        }
    }
    std::vector<u64> installed(const WalkCase& c) const {
        std::vector<u64> entries = c.entries;
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (c.mode == PagingMode::pae && i == 0) continue;
            entries[i] = c.mode == PagingMode::bits32 ? memory_.get<u32>(where(c, i)) : memory_.get<u64>(where(c, i));
        }
        return entries;
    }
    void check_rights(const WalkCase& c, const WalkAnswer& after, const Translation& found) {
        WalkCase other = c;
        other.entries = after.entries;
        other.access = Access::read;
        ASSERT_EQ(found.readable, !WalkOracle::answer(other).fault) << describe(c);
        other.access = Access::execute;
        ASSERT_EQ(found.executable, !WalkOracle::answer(other).fault) << describe(c);
        other.access = Access::write;
        const WalkAnswer write = WalkOracle::answer(other);
        ASSERT_EQ(found.writable, !write.fault && write.entries == after.entries) << describe(c);
        ASSERT_EQ(found.global, (after.entries.back() & G) && (c.context.cr4 & cr4_pge)) << describe(c);
    }
    static std::string describe(const WalkCase& c) {
        std::string text =
            fmt::format("mode {} cr0 {:x} cr4 {:x} efer {:x} pkru {:x} cpl {} ac {} access {} privilege {}",
                        static_cast<int>(c.mode), c.context.cr0, c.context.cr4, c.context.efer, c.context.pkru,
                        c.context.cpl, c.context.ac, static_cast<int>(c.access), static_cast<int>(c.privilege));
        for (const u64 entry : c.entries)
            text += fmt::format(" {:x}", entry);
        return text;
    }

    Memory& memory_;
    LinearAddress linear_;
};

} // namespace calque::mmu
