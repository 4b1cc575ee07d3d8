#include "devices/i8259/i8259.h"

namespace calque::devices {

namespace {
// ICW1 and OCW3 are told apart by bits 4 and 3 of a write to A0 = 0.
constexpr u8 icw1_select = 0x10;
constexpr u8 icw1_ic4 = 0x01;
constexpr u8 icw1_sngl = 0x02;
constexpr u8 icw4_upm = 0x01;
constexpr u8 icw4_aeoi = 0x02;
constexpr u8 icw4_sfnm = 0x10;
constexpr u8 ocw3_select = 0x08;
constexpr u8 ocw3_rr = 0x02;
constexpr u8 ocw3_ris = 0x01;
constexpr u8 ocw3_p = 0x04;
constexpr u8 ocw3_esmm = 0x40;
constexpr u8 ocw3_smm = 0x20;
constexpr u8 poll_interrupt = 0x80;
// PIIX3, ELCR1 and ELCR2: the timer, keyboard, cascade, clock and coprocessor inputs are always edge-triggered.
constexpr u8 elcr_master_writable = 0xf8;
constexpr u8 elcr_slave_writable = 0xde;

constexpr u8 mask_of(unsigned ir) { return static_cast<u8>(1u << (ir & 7)); }
} // namespace

void I8259Chip::reset() {
    const u8 lines = state_.lines;
    state_ = State{};
    state_.lines = lines;
}

void I8259Chip::set_input(unsigned ir, bool level) {
    const u8 mask = mask_of(ir);
    const bool was = state_.lines & mask;
    if (!level) {
        // Both kinds of request must stand until the acknowledge (datasheet, "Interrupt Request Register").
        state_.lines &= static_cast<u8>(~mask);
        state_.irr &= static_cast<u8>(~mask);
        return;
    }
    state_.lines |= mask;
    if (!was || (state_.elcr & mask)) state_.irr |= mask;
}

// In special mask mode an interrupt in service whose level is masked holds nothing back.
u8 I8259Chip::inhibiting() const {
    return state_.special_mask ? static_cast<u8>(state_.isr & ~state_.imr) : state_.isr;
}

int I8259Chip::best_request() const {
    if (state_.next_icw != 0) return -1;
    const u8 requests = static_cast<u8>(state_.irr & ~state_.imr);
    if (requests == 0) return -1;
    // In special fully nested mode the slave in service may interrupt again: it knows its own priorities.
    const u8 nested = master_ && (state_.icw4 & icw4_sfnm) ? mask_of(2) : u8{0};
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned ir = (state_.lowest_priority + i) & 7;
        const u8 mask = mask_of(ir);
        const bool in_service = inhibiting() & mask;
        if ((requests & mask) && (!in_service || (nested & mask))) return static_cast<int>(ir);
        if (in_service) return -1;
    }
    return -1;
}

int I8259Chip::highest_in_service() const {
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned ir = (state_.lowest_priority + i) & 7;
        if (inhibiting() & mask_of(ir)) return static_cast<int>(ir);
    }
    return -1;
}

int I8259Chip::acknowledge() {
    const int request = best_request();
    if (request < 0) return -1;
    const u8 mask = mask_of(static_cast<unsigned>(request));
    if (!(state_.elcr & mask)) state_.irr &= static_cast<u8>(~mask);
    if (!(state_.icw4 & icw4_aeoi))
        state_.isr |= mask;
    else if (state_.rotate_on_auto_eoi)
        state_.lowest_priority = static_cast<u8>(request);
    return request;
}

u8 I8259Chip::read(u64 offset) {
    if (state_.poll) {
        state_.poll = false;
        const int request = acknowledge();
        return request < 0 ? u8{0} : static_cast<u8>(poll_interrupt | request);
    }
    if (offset & 1) return state_.imr;
    return state_.read_isr ? state_.isr : state_.irr;
}

void I8259Chip::write(u64 offset, u8 value) {
    if (offset & 1) {
        if (state_.next_icw != 0)
            write_icw(value);
        else
            state_.imr = value; // OCW1.
    } else if (value & icw1_select) {
        initialise(value);
    } else if (value & ocw3_select) {
        write_ocw3(value);
    } else {
        write_ocw2(value);
    }
}

// LTIM (bit 3) does nothing in a PC's chipset: the ELCR stands in its place (PIIX3, ICW1).
void I8259Chip::initialise(u8 icw1) {
    State fresh;
    fresh.lines = state_.lines;
    fresh.elcr = state_.elcr;
    fresh.irr = static_cast<u8>(state_.lines & state_.elcr); // The edge sense circuits are reset.
    fresh.vector_base = state_.vector_base;
    fresh.next_icw = 2;
    fresh.single = icw1 & icw1_sngl;
    fresh.wants_icw4 = icw1 & icw1_ic4;
    state_ = fresh;
}

void I8259Chip::write_icw(u8 value) {
    switch (state_.next_icw) {
    case 2:
        state_.vector_base = value & 0xf8;
        state_.next_icw = !state_.single ? 3 : state_.wants_icw4 ? 4 : 0;
        break;
    case 3: // The cascade is wired inside the chipset, whatever ICW3 says.
        state_.next_icw = state_.wants_icw4 ? 4 : 0;
        break;
    default:
        state_.icw4 = value;
        if (!(value & icw4_upm)) log_.unimplemented(Channel::irq, "i8259.mcs80_mode");
        state_.next_icw = 0;
    }
}

void I8259Chip::write_ocw2(u8 value) {
    const bool rotate = value & 0x80;
    const bool specific = value & 0x40;
    const bool eoi = value & 0x20;
    const u8 level = value & 7;
    if (!eoi) {
        if (specific && rotate)
            state_.lowest_priority = level;
        else if (!specific)
            state_.rotate_on_auto_eoi = rotate;
        return;
    }
    const int ir = specific ? level : highest_in_service();
    if (ir < 0) return;
    state_.isr &= static_cast<u8>(~mask_of(static_cast<unsigned>(ir)));
    if (rotate) state_.lowest_priority = static_cast<u8>(ir);
}

void I8259Chip::write_ocw3(u8 value) {
    if (value & ocw3_esmm) state_.special_mask = value & ocw3_smm;
    if (value & ocw3_p)
        state_.poll = true;
    else if (value & ocw3_rr)
        state_.read_isr = value & ocw3_ris;
}

void I8259Chip::write_elcr(u8 value) {
    const u8 old = state_.elcr;
    state_.elcr = value & (master_ ? elcr_master_writable : elcr_slave_writable);
    // An input that becomes level-triggered requests at once when it is high; one that becomes edge-triggered keeps
    // what it has requested.
    state_.irr |= static_cast<u8>(state_.lines & state_.elcr & ~old);
}

void I8259Chip::serialize(Archive& archive, std::string_view section) {
    archive.section(section, 1, [&](u32) {
        archive.field("irr", state_.irr);
        archive.field("isr", state_.isr);
        archive.field("imr", state_.imr);
        archive.field("lines", state_.lines);
        archive.field("vector_base", state_.vector_base);
        archive.field("icw4", state_.icw4);
        archive.field("elcr", state_.elcr);
        archive.field("next_icw", state_.next_icw);
        archive.field("lowest_priority", state_.lowest_priority);
        archive.field("single", state_.single);
        archive.field("wants_icw4", state_.wants_icw4);
        archive.field("read_isr", state_.read_isr);
        archive.field("poll", state_.poll);
        archive.field("special_mask", state_.special_mask);
        archive.field("rotate_on_auto_eoi", state_.rotate_on_auto_eoi);
        if (archive.loading() && (state_.next_icw > 4 || state_.lowest_priority > 7))
            archive.fail("an 8259 has no such state");
    });
}

} // namespace calque::devices
