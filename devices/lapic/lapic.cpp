// Requests, priorities, messages and pins (SDM volume 3, 11.6, 11.8; 11.5 for local interrupts).
#include "devices/lapic/lapic.h"

#include "devices/lapic/atomic_word.h"

#include <bit>

namespace calque::devices {

namespace {
constexpr u8 priority_class(unsigned vector) { return static_cast<u8>(vector >> 4); }
constexpr u8 first_legal_vector = 16;

int highest_bit(const std::array<u32, 8>& words) {
    for (int i = 7; i >= 0; --i)
        if (const u32 word = load(words[static_cast<unsigned>(i)])) return i * 32 + 31 - std::countl_zero(word);
    return -1;
}
void set_bit(std::array<u32, 8>& words, u8 vector) {
    std::atomic_ref<u32>(words[vector / 32]).fetch_or(u32{1} << (vector % 32));
}
void clear_bit(std::array<u32, 8>& words, u8 vector) {
    std::atomic_ref<u32>(words[vector / 32]).fetch_and(~(u32{1} << (vector % 32)));
}
bool test_bit(const std::array<u32, 8>& words, u8 vector) { return load(words[vector / 32]) >> (vector % 32) & 1; }

DeliveryMode mode_of(u32 entry) { return static_cast<DeliveryMode>(bits(entry, 8, 3)); }
} // namespace

LocalApic::LocalApic(Log& log, Clock& clock, const LapicConfig& config, ApicBus& bus, VcpuPort& vcpu,
                     const TscSource* tsc, InterruptAcknowledge* pic)
    : log_(log), clock_(clock), config_(config), bus_(bus), vcpu_(vcpu), tsc_(tsc), pic_(pic),
      name_(fmt::format("lapic{}", config.apic_id)), timer_(clock.make_timer([this] { timer_fired(); })) {
    {
        std::lock_guard lock(mutex_);
        power_up_registers_held();
        state_.apic_base |= apic_base::en | (config_.bootstrap ? apic_base::bsp : 0);
    }
    bus_.attach(*this);
}

LocalApic::~LocalApic() { bus_.detach(*this); }

// --- reset

// Other processors may send while this one takes an INIT: what they touch is written word by word.
void LocalApic::reset_registers_held() {
    const State fresh;
    timer_->disarm();
    store(state_.svr, fresh.svr); // First: from here on fixed interrupts are refused.
    store(state_.tpr, fresh.tpr);
    store(state_.ldr, fresh.ldr);
    store(state_.dfr, fresh.dfr);
    for (unsigned i = 0; i < 8; ++i) {
        store(state_.irr[i], u32{0});
        store(state_.isr[i], u32{0});
        store(state_.tmr[i], u32{0});
    }
    state_.esr = fresh.esr;
    state_.esr_pending = fresh.esr_pending;
    state_.icr = fresh.icr;
    state_.lvt = fresh.lvt;
    state_.timer_divide = fresh.timer_divide;
    timer_stop_held();
    ext_int_message_ = false;
    update_ext_int_held(); // The pins are no registers: they stay.
    update_ppr();
}

void LocalApic::power_up_registers_held() {
    store(state_.id, config_.apic_id << 24);
    reset_registers_held();
}

void LocalApic::reset() {
    {
        std::lock_guard lock(mutex_);
        store(state_.apic_base, default_base | apic_base::en | (config_.bootstrap ? apic_base::bsp : 0));
        power_up_registers_held();
    }
    update_line();
    vcpu_.apic_base_changed(base(), mmio_enabled());
}

void LocalApic::init_reset() {
    {
        std::lock_guard lock(mutex_);
        reset_registers_held();
    }
    update_line();
}

void LocalApic::set_virtual_wire() {
    write_svr(svr::enable | 0xff);
    write_lvt(LvtEntry::lint0, static_cast<u32>(DeliveryMode::ext_int) << 8);
    write_lvt(LvtEntry::lint1, static_cast<u32>(DeliveryMode::nmi) << 8);
}

// --- what the machine asks

PhysicalAddress LocalApic::base() const { return PhysicalAddress(load(state_.apic_base) & apic_base::address); }
bool LocalApic::enabled() const { return load(state_.apic_base) & apic_base::en; }
bool LocalApic::x2apic_enabled() const { return load(state_.apic_base) & apic_base::extd; }
bool LocalApic::mmio_enabled() const {
    return (load(state_.apic_base) & (apic_base::en | apic_base::extd)) == apic_base::en;
}
bool LocalApic::software_enabled() const { return load(state_.svr) & svr::enable; }
bool LocalApic::takes_fixed() const { return software_enabled(); }

LocalApic::State LocalApic::snapshot() const {
    std::lock_guard lock(mutex_);
    State copy = state_;
    for (unsigned i = 0; i < 8; ++i) {
        copy.irr[i] = load(state_.irr[i]);
        copy.isr[i] = load(state_.isr[i]);
        copy.tmr[i] = load(state_.tmr[i]);
    }
    copy.ext_int_message = ext_int_message_;
    return copy;
}

// --- requests and priorities

int LocalApic::highest_request() const { return highest_bit(state_.irr); }

bool LocalApic::pending() const {
    if (ext_int_line_.load() || ext_int_message_.load()) return true;
    const int request = highest_request();
    return request >= 0 && priority_class(static_cast<unsigned>(request)) > priority_class(ppr_.load());
}

// The request is in the IRR before the priority is read here, and update_ppr() writes the priority before update_line()
// reads the IRR: one of the two sees the other, so no request is forgotten.
void LocalApic::accept(u8 vector, bool level) {
    if (level)
        set_bit(state_.tmr, vector);
    else
        clear_bit(state_.tmr, vector);
    set_bit(state_.irr, vector);
    if (priority_class(vector) > priority_class(ppr_.load())) vcpu_.interrupt_line(true);
}

void LocalApic::accept_held(u8 vector, bool level) {
    if (vector < first_legal_vector) return report_error_held(esr::receive_illegal_vector);
    accept(vector, level);
}

void LocalApic::update_ppr() {
    const u8 tpr = static_cast<u8>(load(state_.tpr));
    const int in_service = highest_bit(state_.isr);
    const u8 isrv = in_service < 0 ? u8{0} : static_cast<u8>(in_service);
    ppr_ = priority_class(tpr) >= priority_class(isrv) ? tpr : static_cast<u8>(isrv & 0xf0);
}

// A request that comes between the two questions has raised the line before it is lowered here, or is seen by the
// second.
void LocalApic::update_line() {
    if (pending()) return vcpu_.interrupt_line(true);
    vcpu_.interrupt_line(false);
    if (pending()) vcpu_.interrupt_line(true);
}

std::optional<u8> LocalApic::acknowledge() {
    if (ext_int_message_.exchange(false) || ext_int_line_.load()) {
        std::optional<u8> vector;
        if (pic_) vector = pic_->acknowledge();
        update_line();
        return vector;
    }
    const int request = highest_request();
    if (request < 0 || priority_class(static_cast<unsigned>(request)) <= priority_class(ppr_.load())) {
        update_line();
        return std::nullopt;
    }
    const u8 vector = static_cast<u8>(request);
    clear_bit(state_.irr, vector);
    set_bit(state_.isr, vector);
    update_ppr();
    update_line();
    bus_.interrupt_taken(vector);
    return vector;
}

void LocalApic::write_tpr(u8 value) {
    store(state_.tpr, u32{value});
    update_ppr();
    update_line();
}

u8 LocalApic::cr8() const { return static_cast<u8>(load(state_.tpr) >> 4); }

void LocalApic::set_cr8(u8 value) { write_tpr(static_cast<u8>(value << 4)); }

void LocalApic::end_of_interrupt() {
    const int in_service = highest_bit(state_.isr);
    if (in_service < 0) return;
    const u8 vector = static_cast<u8>(in_service);
    clear_bit(state_.isr, vector);
    update_ppr();
    if (test_bit(state_.tmr, vector)) {
        {
            std::lock_guard lock(mutex_);
            end_level_interrupt_held(vector);
        }
        if (!(load(state_.svr) & svr::suppress_eoi_broadcast)) bus_.broadcast_eoi(vector);
    }
    update_line();
}

// --- messages

bool LocalApic::matches(const ApicMessage& message) const {
    const u64 base = load(state_.apic_base);
    if (!(base & apic_base::en)) return false;
    if (message.destination == ApicMessage::broadcast) return true;
    const bool x2apic = base & apic_base::extd;
    const u32 destination = message.destination;
    if (!message.logical) return destination == (x2apic ? config_.apic_id : load(state_.id) >> 24);
    if (x2apic) {
        const u32 ldr = x2apic_ldr(config_.apic_id);
        return destination >> 16 == ldr >> 16 && (destination & ldr & 0xffff);
    }
    if (destination > 0xff) return false;
    if (destination == 0xff) return true;
    const u32 ldr = load(state_.ldr) >> 24;
    const bool cluster = load(state_.dfr) >> 28 == 0;
    if (!cluster) return destination & ldr;
    return destination >> 4 == ldr >> 4 && (destination & ldr & 15);
}

void LocalApic::deliver(DeliveryMode mode, u8 vector, bool level) {
    if (mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority) {
        if (!software_enabled()) return;
        if (vector >= first_legal_vector) return accept(vector, level);
    }
    std::lock_guard lock(mutex_);
    deliver_event_held(mode, vector, level);
}

void LocalApic::deliver_event_held(DeliveryMode mode, u8 vector, bool level) {
    switch (mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority: return accept_held(vector, level);
    case DeliveryMode::smi: return vcpu_.smi();
    case DeliveryMode::nmi: return vcpu_.nmi();
    case DeliveryMode::init: return vcpu_.init();
    case DeliveryMode::startup: return vcpu_.startup(vector);
    case DeliveryMode::ext_int: ext_int_message_ = true; return vcpu_.interrupt_line(true);
    }
}

// --- local interrupts

void LocalApic::report_error_held(u32 bit) {
    if (state_.esr_pending & bit) return;
    state_.esr_pending |= bit;
    local_event_held(LvtEntry::error);
}

void LocalApic::local_event_held(LvtEntry entry) {
    u32& value = state_.lvt[static_cast<unsigned>(entry)];
    if (value & lvt::masked) return;
    const bool timer_or_error = entry == LvtEntry::timer || entry == LvtEntry::error;
    const DeliveryMode mode = timer_or_error ? DeliveryMode::fixed : mode_of(value);
    if (entry == LvtEntry::perf) value |= lvt::masked; // Software clears it for the next (SDM 3, 11.5.1).
    deliver_event_held(mode, static_cast<u8>(value), false);
}

void LocalApic::raise_local(LvtEntry entry) {
    std::lock_guard lock(mutex_);
    local_event_held(entry);
}

// With the APIC disabled its pins are the processor's INTR and NMI.
void LocalApic::update_ext_int_held() {
    const u32 lint0 = state_.lvt[static_cast<unsigned>(LvtEntry::lint0)];
    const bool passes = !enabled() || (!(lint0 & lvt::masked) && mode_of(lint0) == DeliveryMode::ext_int);
    ext_int_line_ = state_.lint[0] && passes;
}

// A level-triggered fixed LINT pin requests while it is high and no earlier request waits for its EOI.
void LocalApic::level_lint_held(unsigned pin) {
    u32& value = state_.lvt[static_cast<unsigned>(LvtEntry::lint0) + pin];
    if (!state_.lint[pin] || (value & (lvt::masked | lvt::remote_irr)) || !(value & lvt::level)) return;
    if (mode_of(value) != DeliveryMode::fixed) return;
    value |= lvt::remote_irr;
    accept_held(static_cast<u8>(value), true);
}

void LocalApic::end_level_interrupt_held(u8 vector) {
    for (unsigned pin = 0; pin < 2; ++pin) {
        u32& value = state_.lvt[static_cast<unsigned>(LvtEntry::lint0) + pin];
        if (!(value & lvt::remote_irr) || static_cast<u8>(value) != vector) continue;
        value &= ~lvt::remote_irr;
        level_lint_held(pin);
    }
}

void LocalApic::set_lint(unsigned pin, bool level) {
    {
        std::lock_guard lock(mutex_);
        if (pin > 1 || state_.lint[pin] == level) return;
        state_.lint[pin] = level;
        update_ext_int_held();
        if (level && !enabled()) {
            if (pin == 1) vcpu_.nmi();
        } else if (level) {
            const auto entry = pin == 0 ? LvtEntry::lint0 : LvtEntry::lint1;
            const u32 value = state_.lvt[static_cast<unsigned>(entry)];
            const DeliveryMode mode = mode_of(value);
            if (mode == DeliveryMode::fixed && (value & lvt::level))
                level_lint_held(pin);
            else if (mode != DeliveryMode::ext_int)
                local_event_held(entry);
        }
    }
    if (pin == 0) update_line();
}

} // namespace calque::devices
