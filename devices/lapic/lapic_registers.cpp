// The registers, by MMIO and by MSR (SDM volume 3, 11.4.1 and 11.12).
#include "devices/lapic/atomic_word.h"
#include "devices/lapic/lapic.h"

#include <algorithm>

namespace calque::devices {

namespace {
std::optional<LvtEntry> lvt_entry(unsigned number) {
    if (number == apic_reg::lvt_cmci) return LvtEntry::cmci;
    if (number >= apic_reg::lvt_timer && number <= apic_reg::lvt_error)
        return static_cast<LvtEntry>(number - apic_reg::lvt_timer);
    return std::nullopt;
}
} // namespace

// --- reading

std::optional<u32> LocalApic::read_register(unsigned number) {
    const bool x2apic = x2apic_enabled();
    if (number >= apic_reg::isr && number < apic_reg::isr + 8) return load(state_.isr[number & 7]);
    if (number >= apic_reg::tmr && number < apic_reg::tmr + 8) return load(state_.tmr[number & 7]);
    if (number >= apic_reg::irr && number < apic_reg::irr + 8) return load(state_.irr[number & 7]);
    std::lock_guard lock(mutex_);
    if (const auto entry = lvt_entry(number)) return state_.lvt[static_cast<unsigned>(*entry)];
    switch (number) {
    case apic_reg::id: return x2apic ? config_.apic_id : state_.id;
    case apic_reg::version: return lapic_version;
    case apic_reg::tpr: return state_.tpr;
    case apic_reg::ppr: return ppr_.load();
    case apic_reg::ldr: return x2apic ? x2apic_ldr(config_.apic_id) : state_.ldr;
    case apic_reg::svr: return state_.svr;
    case apic_reg::esr: return state_.esr;
    case apic_reg::icr_low: return static_cast<u32>(state_.icr);
    case apic_reg::timer_initial: return state_.timer_initial;
    case apic_reg::timer_current: return timer_current_held();
    case apic_reg::timer_divide: return state_.timer_divide;
    default: break;
    }
    if (x2apic) return std::nullopt;
    switch (number) {
    case apic_reg::apr: return arbitration_priority();
    case apic_reg::eoi:
    case apic_reg::rrd: return 0;
    case apic_reg::dfr: return state_.dfr;
    case apic_reg::icr_high: return static_cast<u32>(state_.icr >> 32);
    default: return std::nullopt;
    }
}

// SDM volume 3, 11.6.2.4, the formula of the processors that have this register.
u32 LocalApic::arbitration_priority() const {
    const auto highest = [](const std::array<u32, 8>& words) {
        for (unsigned i = 8; i-- > 0;)
            if (const u32 word = load(words[i])) return i * 32 + 31 - static_cast<u32>(__builtin_clz(word));
        return u32{0};
    };
    const u32 tpr = load(state_.tpr);
    const u32 irrv = highest(state_.irr) >> 4;
    const u32 isrv = highest(state_.isr) >> 4;
    if (tpr >> 4 >= irrv && tpr >> 4 > isrv) return tpr;
    return std::max({tpr >> 4, isrv, irrv}) << 4;
}

u64 LocalApic::Mmio::read(u64 offset, unsigned size) {
    if (!apic_.mmio_enabled()) return low_mask(8 * size);
    if (offset & 0xc) return 0; // Registers are 4 bytes at every 16.
    const auto value = apic_.read_register(static_cast<unsigned>(offset >> 4));
    if (!value) {
        std::lock_guard lock(apic_.mutex_);
        apic_.report_error_held(esr::illegal_register_address);
        return 0;
    }
    return (*value >> (8 * (offset & 3))) & low_mask(8 * size);
}

// --- writing

void LocalApic::Mmio::write(u64 offset, u64 value, unsigned size) {
    if (!apic_.mmio_enabled()) return;
    if (size < 4 || (offset & 0xf)) {
        apic_.log_.trace(Channel::mmio, "{}: a write of {} bytes at {:03x} is no access to a register", apic_.name_,
                         size, offset);
        return;
    }
    if (apic_.write_register(static_cast<unsigned>(offset >> 4), static_cast<u32>(value))) return;
    std::lock_guard lock(apic_.mutex_);
    apic_.report_error_held(esr::illegal_register_address);
}

// xAPIC mode, and what x2APIC mode has in common with it. Writes of read-only registers are ignored.
bool LocalApic::write_register(unsigned number, u32 value) {
    if (const auto entry = lvt_entry(number)) {
        write_lvt(*entry, value);
        return true;
    }
    switch (number) {
    case apic_reg::tpr: write_tpr(static_cast<u8>(value)); return true;
    case apic_reg::eoi: end_of_interrupt(); return true;
    case apic_reg::svr: write_svr(value); return true;
    case apic_reg::esr: write_esr(); return true;
    case apic_reg::timer_initial: write_timer_initial(value); return true;
    case apic_reg::timer_divide: write_timer_divide(value); return true;
    case apic_reg::id: store(state_.id, value & 0xff00'0000); return true;
    case apic_reg::ldr: store(state_.ldr, value & 0xff00'0000); return true;
    case apic_reg::dfr: store(state_.dfr, value | 0x0fff'ffff); return true;
    case apic_reg::icr_low: {
        u64 command = 0;
        {
            std::lock_guard lock(mutex_);
            command = state_.icr = (state_.icr & ~low_mask(32)) | (value & icr::writable);
        }
        send_ipi(command);
        return true;
    }
    case apic_reg::icr_high: {
        std::lock_guard lock(mutex_);
        state_.icr = with_bits(state_.icr, 32, 32, value & 0xff00'0000);
        return true;
    }
    default: return read_register(number).has_value();
    }
}

void LocalApic::write_svr(u32 value) {
    {
        std::lock_guard lock(mutex_);
        store(state_.svr, value & svr::writable);
        if (!software_enabled()) {
            for (u32& entry : state_.lvt)
                entry |= lvt::masked;
            timer_arm_held();
        }
        update_ext_int_held();
    }
    update_line();
}

u32 LocalApic::writable_lvt(LvtEntry entry) const {
    switch (entry) {
    case LvtEntry::timer:
        return lvt::vector | lvt::masked | (config_.tsc_deadline && tsc_ ? lvt::timer_mode : lvt::timer_periodic);
    case LvtEntry::error: return lvt::vector | lvt::masked;
    case LvtEntry::lint0:
    case LvtEntry::lint1: return lvt::vector | lvt::delivery_mode | lvt::polarity_low | lvt::level | lvt::masked;
    default: return lvt::vector | lvt::delivery_mode | lvt::masked;
    }
}

void LocalApic::write_lvt(LvtEntry entry, u32 value) {
    {
        std::lock_guard lock(mutex_);
        u32& place = state_.lvt[static_cast<unsigned>(entry)];
        if (entry == LvtEntry::timer) timer_catch_up_held(); // What is due came before this write.
        const u32 old = place;
        place = value & writable_lvt(entry);
        if (!software_enabled()) place |= lvt::masked;
        if (entry == LvtEntry::timer) {
            const auto deadline_mode = [](u32 v) { return (v & lvt::timer_mode) == lvt::timer_tsc_deadline; };
            if (deadline_mode(old) != deadline_mode(place)) timer_stop_held();
            timer_arm_held();
        } else if (entry == LvtEntry::lint0 || entry == LvtEntry::lint1) {
            if (place & lvt::level) place |= old & lvt::remote_irr;
            level_lint_held(entry == LvtEntry::lint0 ? 0 : 1);
            update_ext_int_held();
        }
    }
    update_line();
}

// Each write shows the errors since the last one (SDM volume 3, 11.5.3).
void LocalApic::write_esr() {
    std::lock_guard lock(mutex_);
    state_.esr = state_.esr_pending;
    state_.esr_pending = 0;
}

// --- inter-processor interrupts (11.6.1; the valid combinations are in table 11-3)

void LocalApic::send_ipi(u64 command) {
    const auto mode = static_cast<DeliveryMode>(bits(command, 8, 3));
    const unsigned shorthand = static_cast<unsigned>(bits(command, 18, 2));
    const bool deassert = (command & icr::trigger_level) && !(command & icr::assert_level);
    log_.trace(Channel::smp, "{}: ICR {:016x}", name_, command);
    if (mode == DeliveryMode::init && deassert) return; // Only older processors do something for it.
    if (mode == DeliveryMode::ext_int) return;          // Reserved in the ICR, as 3 is.
    ApicMessage message;
    message.mode = static_cast<u8>(mode);
    message.vector = static_cast<u8>(command);
    if ((mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority) && message.vector < 16) {
        std::lock_guard lock(mutex_);
        return report_error_held(esr::send_illegal_vector);
    }
    switch (shorthand) {
    case 1: // Self.
        if (mode == DeliveryMode::fixed && enabled()) deliver(mode, message.vector, false);
        return;
    case 2: // All including self.
        if (mode != DeliveryMode::fixed) return;
        message.destination = ApicMessage::broadcast;
        bus_.deliver(message);
        return;
    case 3: // All excluding self.
        message.destination = ApicMessage::broadcast;
        bus_.deliver(message, this);
        return;
    default: break;
    }
    message.logical = command & icr::logical;
    message.destination = static_cast<u32>(command >> 32);
    if (!x2apic_enabled()) {
        message.destination >>= 24;
        if (message.destination == 0xff && !message.logical) message.destination = ApicMessage::broadcast;
    }
    bus_.deliver(message);
}

// --- MSRs

std::optional<u64> LocalApic::read_msr(u32 index) {
    if (index == msr::apic_base) return load(state_.apic_base);
    if (index == msr::tsc_deadline) {
        if (!config_.tsc_deadline || !tsc_) return std::nullopt;
        std::lock_guard lock(mutex_);
        if (timer_mode() == lvt::timer_tsc_deadline) timer_catch_up_held();
        return state_.tsc_deadline;
    }
    if (!owns_msr(index) || !x2apic_enabled()) return std::nullopt;
    const unsigned number = index - msr::x2apic;
    if (number == apic_reg::icr_low) {
        std::lock_guard lock(mutex_);
        return state_.icr;
    }
    const auto value = read_register(number);
    return value ? std::optional<u64>(*value) : std::nullopt;
}

bool LocalApic::write_msr(u32 index, u64 value) {
    if (index == msr::apic_base) return write_apic_base(value);
    if (index == msr::tsc_deadline) {
        if (!config_.tsc_deadline || !tsc_) return false;
        write_tsc_deadline(value);
        return true;
    }
    if (!owns_msr(index) || !x2apic_enabled()) return false;
    return write_x2apic(index - msr::x2apic, value);
}

// Reserved bits and read-only registers raise #GP (11.12.1.2).
bool LocalApic::write_x2apic(unsigned number, u64 value) {
    if (number == apic_reg::icr_low) {
        if (value & low_mask(32) & ~u64{icr::writable}) return false;
        {
            std::lock_guard lock(mutex_);
            state_.icr = value;
        }
        send_ipi(value);
        return true;
    }
    u64 writable = 0;
    if (const auto entry = lvt_entry(number)) {
        writable = writable_lvt(*entry);
        // Delivery status and remote IRR are read-only bits, not reserved ones.
        writable |= 1 << 12;
        if (*entry == LvtEntry::lint0 || *entry == LvtEntry::lint1) writable |= lvt::remote_irr;
    } else {
        switch (number) {
        case apic_reg::tpr: writable = 0xff; break;
        case apic_reg::svr: writable = svr::writable; break;
        case apic_reg::timer_initial: writable = 0xffff'ffff; break;
        case apic_reg::timer_divide: writable = 0xb; break;
        case apic_reg::self_ipi: writable = 0xff; break;
        case apic_reg::eoi:
        case apic_reg::esr: break; // Only 0 can be written.
        default: return false;
        }
    }
    if (value & ~writable) return false;
    if (number == apic_reg::self_ipi) {
        deliver(DeliveryMode::fixed, static_cast<u8>(value), false);
        return true;
    }
    return write_register(number, static_cast<u32>(value));
}

bool LocalApic::write_apic_base(u64 value) {
    using namespace apic_base;
    const u64 old = load(state_.apic_base);
    const u64 allowed = bsp | en | (config_.x2apic ? extd : 0) | (low_mask(config_.physical_address_bits) & address);
    if (value & ~allowed) return false;
    // Figure 11-27: x2APIC mode is entered from xAPIC mode only, and left for the disabled state only.
    if ((value & extd) && !(value & en)) return false;
    if ((old & extd) && (value & en) && !(value & extd)) return false;
    if (!(old & en) && (value & extd)) return false;
    {
        std::lock_guard lock(mutex_);
        store(state_.apic_base, value);
        if (!(value & en) && (old & en)) power_up_registers_held();
        update_ext_int_held();
    }
    log_.trace(Channel::msr, "{}: IA32_APIC_BASE {:x}", name_, value);
    update_line();
    vcpu_.apic_base_changed(base(), mmio_enabled());
    return true;
}

// --- saving

void LocalApic::serialize(Archive& archive) {
    {
        std::lock_guard lock(mutex_);
        state_.ext_int_message = ext_int_message_;
        archive.section(name_, 1, [&](u32) {
            archive.field("apic_base", state_.apic_base);
            archive.field("id", state_.id);
            archive.field("tpr", state_.tpr);
            archive.field("ldr", state_.ldr);
            archive.field("dfr", state_.dfr);
            archive.field("svr", state_.svr);
            archive.field("esr", state_.esr);
            archive.field("esr_pending", state_.esr_pending);
            archive.field("icr", state_.icr);
            archive.field("lvt", state_.lvt);
            archive.field("timer_divide", state_.timer_divide);
            archive.field("timer_initial", state_.timer_initial);
            archive.field("timer_count", state_.timer_count);
            archive.field("timer_start", state_.timer_start);
            archive.field("tsc_deadline", state_.tsc_deadline);
            archive.field("irr", state_.irr);
            archive.field("isr", state_.isr);
            archive.field("tmr", state_.tmr);
            archive.field("lint", state_.lint);
            archive.field("ext_int_message", state_.ext_int_message);
        });
        if (!archive.loading()) return;
        ext_int_message_ = state_.ext_int_message;
        update_ext_int_held();
        update_ppr();
        timer_arm_held();
    }
    update_line();
    vcpu_.apic_base_changed(base(), mmio_enabled());
}

} // namespace calque::devices
