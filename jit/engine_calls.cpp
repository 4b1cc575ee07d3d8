// What translated code calls: TLB misses, exits that lead to nothing yet, and instructions done by their handlers.
#include "cpu/dispatch.h"
#include "cpu/table.h"
#include "jit/engine.h"
#include "jit/x87.h"
#include "mmu/guest_copy.h"
#include "mmu/tlb_table.h"

#include <utility>

namespace calque::jit {

using cpu::Cpu;
using cpu::Flow;

void Engine::sync_now() {
    const u8 untold = std::exchange(context_.unsynced, u8{0});
    if (untold & sync_system_call) cpu_->finish_system_call();
    if (untold & sync_system_return) cpu_->finish_system_return();
    if (untold & sync_access) cpu_->finish_access_change();
    mode_key_ = mode_key();
}

u64 Engine::refill(u64 address) {
    sync();
    const u64 host = find_host(address);
    note_table_sizes();
    return host;
}

// After anything that may have put a page into the table.
void Engine::note_table_sizes() {
    for (unsigned mode = 0; mode < mmu::rights_modes; ++mode) {
        const mmu::TlbTable& table = cpu_->mmu.table(mode);
        context_.index_masks[mode] = static_cast<u32>(table.index_mask());
        context_.mirror_masks[mode] = (table.size() - 1) << (options_.fast_pext ? page_shift : 0);
    }
}

// What lies on two pages of plain memory, put together; null when it does not, or cannot be read.
u8* Engine::read_across_pages(LinearAddress address, u64 size) {
    const u64 first = page_size - address.page_offset();
    if (first >= size) return nullptr;
    // Over the end of 4 GiB: beyond any limit, or around to 0.
    if (!cpu_->mode.mode64 && (address + size).value >> 32 != 0) return nullptr;
    const u8* const low = cpu_->mmu.refill(address, first, mmu::Access::read);
    const u8* const high = low ? cpu_->mmu.refill(address + first, size - first, mmu::Access::read) : nullptr;
    if (!high) return nullptr;
    u8* const together = reinterpret_cast<u8*>(context_.across.data());
    mmu::copy_from_guest(together, low, first);
    mmu::copy_from_guest(together + first, high, size - first);
    ++counters_.page_crossings;
    return together;
}

u64 Engine::find_host(u64 address) {
    const Site& site = cache_.site(context_.exit_site);
    const bool misaligned = site.aligned && (address & (site.access_bytes - 1)) != 0;
    if (!misaligned) {
        const auto access = site.write ? mmu::Access::write : mmu::Access::read;
        const mmu::TlbEntry& entry = cpu_->mmu.view().entry(address);
        if (mmu::tlb_hit(site.write ? entry.write_tag : entry.read_tag, address, site.access_bytes))
            note_hot(LinearAddress(address)); // That is why it was called.
        u8* host = cpu_->mmu.refill(LinearAddress(address), site.access_bytes, access);
        // Beside code on its page only these bytes may be written.
        const u64 tag = cpu_->mmu.view().entry(address).write_tag;
        if (site.piece && site.write && !mmu::tlb_hit(tag, address, site.access_bytes)) host = nullptr;
        if (host) {
            ++counters_.refills;
            return reinterpret_cast<std::uintptr_t>(host);
        }
        if (!site.write && !site.window && !site.piece && !cpu_->mmu.checks_alignment()) {
            if (u8* const host = read_across_pages(LinearAddress(address), site.access_bytes))
                return reinterpret_cast<std::uintptr_t>(host);
        }
        // Watched: the handler does it, and the unit is left after it.
        if (cpu_->mmu.watches(LinearAddress(address), access)) {
            ++counters_.slow_accesses;
            return 0;
        }
        // A page with code (not for a range, whose address lasts too long): the store may go ahead once it is told,
        // unless it hits the unit that makes it, or the one that comes next.
        if (site.write && !site.window && !site.piece && cpu_->mmu.fault().kind == mmu::Fault::Kind::none) {
            const u64 killed = cache_.counters().killed;
            u8* const host = cpu_->mmu.host_for_write(LinearAddress(address), site.access_bytes);
            const bool knows_dead = site.knows_code && killed != cache_.counters().killed;
            if (host && !cache_.unit(site.unit).dead && !knows_dead) {
                ++counters_.code_stores;
                return reinterpret_cast<std::uintptr_t>(host);
            }
        }
    }
    ++counters_.slow_accesses;
    return 0;
}

// One in so many accesses outside the mirror shows which pages are worth their place there.
void Engine::note_hot(LinearAddress address) {
    context_.until_mirrored = options_.mirror_interval;
    if (cpu_->mmu.mirror(address, false)) return; // At once: a loop may not come by the end of a unit for long.
    if (hot_count_ < hot_.size()) hot_[hot_count_++] = address;
}

// Between units. What lies in the mirror stays there while a unit runs.
void Engine::mirror_hot_pages() {
    while (hot_count_ != 0)
        cpu_->mmu.mirror(hot_[--hot_count_]);
}

const void* Engine::find_target() {
    sync();
    mirror_hot_pages();
    ++counters_.targets_found;
    const u64 linear = context_.leave_rip;
    const auto unit = find(*cpu_, LinearAddress(linear));
    if (!unit) {
        nothing_here_ = true;
        cpu_->mmu.view().table->forget_target(linear); // Of a unit that is no more (Thunks::gone), perhaps.
        return cache_.thunk(cache_.thunks().leave_computed);
    }
    const void* const code = cache_.unit(*unit).at(cache_.unit(*unit).entry_computed);
    cpu_->mmu.remember_target(LinearAddress(linear), code);
    return entered(code);
}

const void* Engine::resolve() {
    sync();
    mirror_hot_pages();
    Cpu& cpu = *cpu_;
    const u32 number = context_.exit_site & ~exit_bit;
    const Exit& exit = cache_.exit(number);
    // Whatever waits, these two go on: without a step forward they would end here again.
    if (exit.alone) {
        cpu.state.rip() = target_of(exit);
        store_flags(cpu, FlagsIn::packed, {});
        return continue_alone(cpu, number);
    }
    if (exit.second_page) {
        if (!second_page_there(cpu, exit.unit)) return nullptr;
        return entered(cache_.unit(exit.unit).at(cache_.unit(exit.unit).entry_packed));
    }
    if (!undisturbed(cpu)) return nullptr;
    ++counters_.resolved;
    if (cpu.events.load(std::memory_order_relaxed) & cpu::event_interrupt) cpu.put_interrupt_aside();
    // A loop that looked for events.
    if (exit.in_page && exit.linked_to != 0)
        return entered(cache_.unit(exit.linked_to - 1).at(cache_.unit(exit.linked_to - 1).entry_packed));
    cpu.state.rip() = target_of(exit);
    const auto target = code_address();
    const auto unit = target ? find(cpu, *target) : std::nullopt;
    if (!unit) {
        nothing_here_ = true;
        return nullptr;
    }
    link(number, *unit, *target);
    return entered(entry_at(*unit, *target));
}

// Where the exit and the unit move together.
void Engine::link(u32 number, u32 unit, LinearAddress target) {
    const Exit& exit = cache_.exit(number);
    const UnitKey &from = cache_.unit(exit.unit).key, &to = cache_.unit(unit).key;
    if (exit.jump == 0) return;
    if (from.movable != to.movable || (from.movable && exit.target != to.linear)) {
        ++counters_.apart;
        return;
    }
    cache_.link(number, unit, exit.in_page ? 0 : mmu::execute_number(cpu_->mmu.execute_id(target)));
}

const void* Engine::interpret() {
    sync();
    Cpu& cpu = *cpu_;
    Site& site = cache_.site(context_.exit_site);
    if (counting()) --cpu.instructions; // It was counted when it began.
    take_x87_notes(context_, cpu.state);
    if (site.x87_note) take_x87_note(*site.x87_note, shift_of(site.unit), cpu.state);
    if (site.window && undisturbed(cpu))
        if (const void* alone = continue_alone(cpu, site)) return alone;
    ++counters_.interpreted;
    ++interpreted_rows_[site.record.row];
    handled_[0] = site.record;
    store_flags(cpu, site.flags, site.recipe);
    if (site.patched && !decode_again(site)) {
        cpu.state.rip() = rip_of(site);
        return nullptr;
    }
    const cpu::Instruction* const record = handled_.data();
    if (site.x87_state) leave_x87();
    cpu.state.rip() = rip_of(site);
    cpu.dispatch.first = record;
    cpu.dispatch.limit = 0;
    const u64 flushes = cache_.counters().flushes;
    record->handler(cpu, record);
    switch (cpu.exit_.flow) {
    case Flow::next: ++cpu.instructions; break;
    case Flow::trap: ++cpu.instructions; [[fallthrough]];
    case Flow::fault: interpreter_.deliver(cpu); return undisturbed(cpu) ? entered(continue_at_rip(cpu)) : nullptr;
    case Flow::jump:
    case Flow::exit: ++cpu.instructions; return undisturbed(cpu) ? entered(continue_at_rip(cpu)) : nullptr;
    case Flow::again: return nullptr;
    }
    if (!site.resumes || site.window || !undisturbed(cpu) || flushes != cache_.counters().flushes) return nullptr;
    const TranslatedUnit& unit = cache_.unit(site.unit);
    if (unit.dead || unit_mode().key() != mode_key_) return nullptr;
    load_context(cpu);
    return unit.at(site.resume);
}

// The record of an instruction whose immediate is patched, as it is now. False when the bytes are another instruction.
bool Engine::decode_again(const Site& site) {
    const TranslatedUnit& unit = cache_.unit(site.unit);
    const PhysicalAddress at(unit.key.physical + ((site.rip - unit.key.linear) & page_offset_mask));
    std::array<u8, cpu::longest_instruction> bytes;
    const std::span copy(bytes.data(), std::min<u64>(bytes.size(), page_size - at.page_offset()));
    memory_.read(at, copy);
    cpu::Instruction now;
    cpu::Form form;
    if (decoder_->decode(copy, unit_mode().decode, now, &form) != cpu::DecodeStatus::ok) return false;
    cpu::Instruction& record = handled_[0];
    if (now.row != record.row || now.length != record.length || now.handler != record.handler) return false;
    record.immediate = now.immediate;
    return true;
}

// The range of several accesses could not be had at once: it crosses a page, or some of it faults, or is a device's.
const void* Engine::continue_alone(Cpu& cpu, const Site& site) {
    store_flags(cpu, site.flags, site.recipe);
    cpu.state.rip() = rip_of(site);
    return continue_alone(cpu, std::nullopt);
}
const void* Engine::continue_alone(Cpu& cpu, std::optional<u32> exit) {
    ++counters_.ranges_refused;
    UnitMode mode = unit_mode();
    mode.is.alone = true;
    const u64 flushes = cache_.counters().flushes;
    const auto unit = translate_at_rip(cpu, mode);
    if (!unit) return nullptr;
    const LinearAddress rip(code_base() + cpu.state.rip());
    if (exit && flushes == cache_.counters().flushes) link(*exit, *unit, rip);
    load_context(cpu);
    return entered(entry_at(*unit, rip));
}

// Whether the guards of translated code see this id for the page now. Never while alignment checks are in force.
bool Engine::guard_holds(const Cpu& cpu, LinearAddress page, mmu::ExecuteId id) const {
    const u64 slot = page.page_number() & (mmu::tlb_execute_id_count - 1);
    return cpu.mmu.view().table->execute_ids()[slot] == id;
}

// The second page of the unit's instruction is what it was; the table knows it from now on. Else the unit is dead.
bool Engine::second_page_there(Cpu& cpu, u32 number) {
    const u64 shift = shift_of(number);
    const LinearAddress second = LinearAddress(cache_.unit(number).key.linear + shift).page() + page_size;
    const mmu::ExecuteId id = cache_.unit(number).second.id + mmu::execute_id(0, shift);
    mmu::Mmu::CodePage page;
    if (cpu.mmu.fetch(second, page) && page.host && guard_holds(cpu, second, id)) return true;
    cache_.kill(number);
    forget_target(cache_.unit(number).key);
    return false;
}

} // namespace calque::jit
