#include "devices/rtl8139/rtl8139.h"

#include "base/bits.h"
#include "base/byte_order.h"
#include "devices/rtl8139/registers.h"

#include <algorithm>

namespace calque::devices {

using namespace rtl8139;

namespace {

constexpr u64 timer_ns = 30; // A tick of the 33 MHz PCI clock.

// Where each register begins that an address belongs to, and how wide it is; width 0 marks what does not exist.
struct Field {
    u8 at = 0, width = 0;
};
constexpr auto fields = [] {
    std::array<Field, Rtl8139::register_space> map{};
    const auto add = [&](u32 first, u32 end, u8 width) {
        for (u32 at = first; at < end; ++at)
            map[at] = {static_cast<u8>(first + (at - first) / width * width), width};
    };
    add(IDR0, IDR0 + 6, 1);
    add(MAR0, MAR0 + 8, 1);
    add(TSD0, RBSTART + 4, 4);
    add(ERBCR, ERBCR + 2, 2);
    add(ERSR, CR + 1, 1);
    add(CAPR, ISR + 2, 2);
    add(TCR, MPC + 4, 4);
    add(EECR, CONFIG1 + 1, 1);
    add(TIMER_INT, TIMER_INT + 4, 4);
    add(MSR, CONFIG4 + 1, 1);
    add(MULINT, MULINT + 2, 2);
    add(RERID, RERID + 1, 1);
    add(TSAD, CSCR + 2, 2);
    add(CONFIG5, TPPOLL + 1, 1);
    add(CPCR, CPCR + 4, 2);
    add(RDSAR, RDSAR + 8, 4);
    add(ETTHR, ETTHR + 1, 1);
    return map;
}();

} // namespace

PciDescriptor Rtl8139::describe(const std::string& name, bool plus, IoRegion& registers) {
    PciDescriptor d;
    d.name = fmt::format("{}.pci", name);
    d.vendor_id = 0x10EC;
    d.device_id = 0x8139;
    d.revision_id = plus ? 0x20 : 0x10;
    d.class_code = 0x020000;
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.interrupt_pin = 1;
    d.bars[0] = {PciBar::Kind::io, register_space, false, &registers};
    d.bars[1] = {PciBar::Kind::memory32, register_space, false, &registers};
    return d;
}

Rtl8139::Rtl8139(Log& log, Clock& clock, DmaPort& memory, NetBackend& backend, const Rtl8139Options& options,
                 std::string name)
    : log_(log), clock_(clock), name_(std::move(name)), backend_(backend), options_(options),
      pci_(describe(name_, options.plus, registers_), log), dma_(pci_, memory) {
    timer_ = clock_.make_timer([this] {
        std::lock_guard lock(mutex_);
        raise(ISR_TIMEOUT);
    });
    again_ = clock_.make_timer([this] { look_again(); });
    reset_chip();
    load_address();
    transmit_task_ = backend_.worker().make_task([this] { transmit(); });
    backend_.set_client(this);
}

Rtl8139::~Rtl8139() { backend_.set_client(nullptr); }

u32 Rtl8139::get(u32 offset, unsigned size) const {
    u32 value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= u32{state_.registers[offset + i]} << (8 * i);
    return value;
}

void Rtl8139::put(u32 offset, u32 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        state_.registers[offset + i] = static_cast<u8>(value >> (8 * i));
}

// CR.RST and power-on (6.6): the address and what the EEPROM gave stay.
void Rtl8139::reset_chip() {
    std::array<u8, 6> address{};
    std::copy_n(state_.registers.begin(), address.size(), address.begin());
    state_.registers = {};
    std::copy(address.begin(), address.end(), state_.registers.begin());
    for (u32 i = 0; i < 4; ++i)
        put(TSD0 + 4 * i, TSD_OWN, 4);
    put(CAPR, 0xFFF0, 2);
    put(CR, CR_BUFE, 1);
    put(TCR, options_.plus ? TCR_VERSION_CPLUS : TCR_VERSION_C, 4);
    put(CONFIG1, 0x0C, 1); // The registers are there as ports and as memory.
    put(BMCR, 0x3100, 2);  // Auto-negotiation, 100 Mb/s, full duplex,
    put(BMSR, 0x7809, 2);  // which a link adds to.
    put(ANAR, 0x05E1, 2);
    put(ANLPAR, 0x45E1, 2);
    put(ANER, 0x0001, 2);
    state_.next_buffer = 0;
    state_.normal_at = state_.high_at = state_.receive_at = 0;
    state_.frame.clear();
    state_.spoiled = state_.starved = false;
    state_.timer_start = clock_.now();
    timer_->disarm();
    again_->disarm();
}

// The EEPROM as the chip has it (5.10): its signature, identifiers, the address.
void Rtl8139::load_address() {
    auto& words = state_.eeprom;
    words = {};
    words[0] = 0x8129;
    words[1] = 0x10EC;
    words[2] = 0x8139;
    for (unsigned i = 0; i < 3; ++i)
        words[7 + i] = static_cast<u16>(options_.mac[2 * i] | options_.mac[2 * i + 1] << 8);
    std::copy(options_.mac.begin(), options_.mac.end(), state_.registers.begin() + IDR0);
}

void Rtl8139::raise(u32 causes) {
    put(ISR, get(ISR, 2) | causes, 2);
    update_line();
}

void Rtl8139::update_line() { pci_.set_intx((get(ISR, 2) & get(IMR, 2)) != 0); }

bool Rtl8139::unlocked() const { return (get(EECR, 1) & EECR_MODE) == EECR_UNLOCKED; }

// A 93C46: a start bit, an opcode of two bits and six of address; then the word comes out, highest bit first.
void Rtl8139::clock_eeprom(u32 value, u32 before) {
    if (!(value & EECR_CS)) {
        state_.serial_in = state_.serial_bits = 0;
        state_.serial_out = 0;
        return;
    }
    if ((before & EECR_SK) || !(value & EECR_SK)) return; // Rising edges only.
    constexpr u32 command_bits = 9, read_opcode = 6;      // 1 for the start, 10 for reading.
    const bool bit_in = value & EECR_DI;
    if (state_.serial_bits < command_bits) {
        if (state_.serial_bits == 0 && !bit_in) return; // Before the start bit.
        state_.serial_in = state_.serial_in << 1 | bit_in;
        if (++state_.serial_bits == command_bits && state_.serial_in >> 6 == read_opcode)
            state_.serial_out = state_.eeprom[state_.serial_in & 0x3F];
        return;
    }
    if (state_.serial_bits < command_bits + 16) ++state_.serial_bits;
}

// --- The timer (6.25): it counts from the last write to it, and interrupts when it is TimerInt.

u32 Rtl8139::timer_count() const { return static_cast<u32>((clock_.now() - state_.timer_start) / timer_ns); }

void Rtl8139::arm_timer() {
    const u32 at = get(TIMER_INT, 4);
    if (at == 0) return timer_->disarm();
    const u32 left = at - timer_count(); // Around, when it was passed.
    timer_->arm(clock_.now() + (left == 0 ? u64{1} << 32 : u64{left}) * timer_ns);
}

// A driver may acknowledge an overflow together with the frames that it has just read, and not make enough room by
// them: it hears of it once more, or both sides would wait for each other.
void Rtl8139::look_again() {
    {
        std::lock_guard lock(mutex_);
        if (!(get(ISR, 2) & ISR_RXOVW)) state_.starved = false;
    }
    backend_.resume();
}

// --- Registers

// What is not simply what was written.
void Rtl8139::refresh() {
    put(TCTR, timer_count(), 4);
    put(CR, (get(CR, 1) & ~CR_BUFE) | (ring_used() == 0 ? CR_BUFE : 0), 1);
    put(MSR, (get(MSR, 1) & ~MSR_LINKB) | (state_.link ? 0 : MSR_LINKB), 1);
    put(BMSR, (get(BMSR, 2) & ~0x24u) | (state_.link ? 0x24u : 0), 2); // Negotiation complete, and link.
    u32 all = 0; // TSAD (6.13): own, abort, underrun and good of all four buffers.
    for (u32 i = 0; i < 4; ++i) {
        const u32 tsd = get(TSD0 + 4 * i, 4);
        all |= (tsd & TSD_OWN ? 1u : 0) << i | (tsd & TSD_TABT ? 1u : 0) << (4 + i)
               | (tsd & TSD_TUN ? 1u : 0) << (8 + i) | (tsd & TSD_TOK ? 1u : 0) << (12 + i);
    }
    put(TSAD, all, 2);
    u32 eecr = get(EECR, 1) & ~EECR_DO;
    const unsigned out = state_.serial_bits >= 10 ? state_.serial_bits - 10u : 16u;
    if (!(eecr & EECR_CS) || (out < 16 && state_.serial_out >> (15 - out) & 1)) eecr |= EECR_DO;
    put(EECR, eecr, 1);
}

u64 Rtl8139::read(u32 offset, unsigned size) {
    std::lock_guard lock(mutex_);
    refresh();
    u64 value = get(offset, std::min(size, 4u));
    if (size == 8) value |= u64{get(offset + 4, 4)} << 32;
    return value;
}

// An access may lie across registers, or reach a part of one: each gets what is meant for it, its other bytes staying
// as they are; those of registers whose ones clear are zeros.
void Rtl8139::write(u32 offset, u64 value, unsigned size) {
    std::lock_guard lock(mutex_);
    for (u32 at = offset; at < offset + size;) {
        const Field field = fields[at];
        if (field.width == 0) {
            ++at;
            continue;
        }
        const u32 end = std::min<u32>(field.at + field.width, offset + size);
        const u32 before = get(field.at, field.width);
        u32 next = field.at == ISR ? 0 : before;
        for (; at < end; ++at)
            next = static_cast<u32>(with_bits(next, 8 * (at - field.at), 8, value >> (8 * (at - offset)) & 0xFF));
        write_register(field.at, next, before);
    }
}

void Rtl8139::write_register(u32 at, u32 value, u32 before) {
    if (at < MAR0 + 8) { // The address can be written while the EEPROM's mode allows it.
        if (at >= MAR0 || unlocked()) put(at, value, 1);
        return;
    }
    if (at >= TSD0 && at < TSAD0) {
        const bool plus = get(CPCR, 2) & CPCR_TE;
        if (!plus)
            value = (value & (TSD_OWN | 0x3F'0000 | TSD_SIZE)) | (before & ~(TSD_OWN | TSD_TOK | TSD_TUN | 0x3F'1FFF));
        put(at, value, 4);
        if (plus && at == DTCCR && (value & DTCCR_COMMAND)) dump_counters();
        if (!plus) transmit_task_->schedule();
        return;
    }
    if (at >= TSAD0 && at < RBSTART) {
        if (at < THPDS)
            state_.normal_at = 0;
        else
            state_.high_at = 0;
        return put(at, value, 4);
    }
    switch (at) {
    case RBSTART: put(CBR, 0, 2); return put(at, value, 4);
    case CR: return write_command(value, before);
    case CAPR: put(at, value, 2); return backend_.resume();
    case IMR: put(at, value, 2); return update_line(), backend_.resume();
    case ISR: put(at, before & ~value, 2); return update_line(), backend_.resume();
    case TCR: return put(at, (value & ~TCR_VERSION_MASK) | (before & TCR_VERSION_MASK), 4);
    case RCR: put(at, value, 4); return backend_.resume();
    case TCTR: state_.timer_start = clock_.now(); return arm_timer();
    case TIMER_INT: put(at, value, 4); return arm_timer();
    case MPC: return put(at, 0, 4);
    case EECR:
        if ((value & EECR_MODE) == EECR_AUTOLOAD) {
            load_address();
            value &= ~EECR_MODE; // It is over at once.
        }
        clock_eeprom(value, before);
        return put(at, value & ~EECR_DO, 1);
    case CONFIG0:
    case CONFIG1:
    case CONFIG3:
    case CONFIG4:
    case CONFIG5:
        if (unlocked()) put(at, value, 1);
        return;
    case BMCR: return put(at, value & ~0x8200u, 2); // Reset and restart of the negotiation are over at once.
    case TPPOLL:
        if (value & TPPOLL_SW) raise(ISR_SW);
        if (value & (TPPOLL_NORMAL | TPPOLL_HIGH)) transmit_task_->schedule();
        return;
    case CPCR:
        if (!options_.plus) return;
        if (value & ~before & CPCR_TE) state_.normal_at = state_.high_at = 0;
        put(at, value & 0x7F, 2);
        return backend_.resume();
    case RDSAR:
    case RDSAR + 4: state_.receive_at = 0; return put(at, value, 4);
    case MULINT:
    case ANAR:
    case CSCR:
    case CPCR + 2: return put(at, value, 2); // The last: IntrMitigate, which nothing here waits for.
    case MSR: return put(at, value & 0xC0, 1);
    case ETTHR: return put(at, value, 1);
    default: return; // Read only.
    }
}

void Rtl8139::write_command(u32 value, u32 before) {
    if (value & CR_RST) {
        reset_chip();
        return update_line();
    }
    put(CR, value & (CR_TE | CR_RE), 1);
    if (!(before & CR_TE) && (value & CR_TE)) {
        state_.next_buffer = 0;
        transmit_task_->schedule();
    }
    if (!(before & CR_RE) && (value & CR_RE)) backend_.resume();
}

// 6.4: the counters go to memory, and the command bit is clear again.
void Rtl8139::dump_counters() {
    std::array<u8, 64> bytes{};
    const Counters& counters = state_.counters;
    store_little(bytes, 0, counters.sent, 8);
    store_little(bytes, 8, counters.received, 8);
    store_little(bytes, 28, counters.missed, 2);
    store_little(bytes, 40, counters.unicast, 8);
    store_little(bytes, 48, counters.broadcast, 8);
    store_little(bytes, 56, counters.multicast, 4);
    const u64 to = (get(DTCCR, 4) & ~u64{0x3F}) | u64{get(DTCCR + 4, 4)} << 32;
    if (!dma_.dma_write(PhysicalAddress(to), bytes))
        log_.trace(Channel::net, "{}: the counters' place is not memory", name_);
    put(DTCCR, get(DTCCR, 4) & ~DTCCR_COMMAND, 4);
}

void Rtl8139::set_link(bool up) {
    std::lock_guard lock(mutex_);
    if (std::exchange(state_.link, up) != up) raise(ISR_LINK);
}

void Rtl8139::reset() {
    {
        std::lock_guard lock(mutex_);
        const bool link = state_.link;
        state_ = {};
        state_.link = link;
        reset_chip();
        load_address();
    }
    pci_.set_intx(false);
    pci_.reset();
}

void Rtl8139::serialize(Archive& archive) {
    pci_.serialize(archive);
    std::lock_guard lock(mutex_);
    archive.section(name_, 1, [&](u32) {
        archive.field("registers", state_.registers);
        archive.field("eeprom", state_.eeprom);
        archive.field("serial_in", state_.serial_in);
        archive.field("serial_out", state_.serial_out);
        archive.field("serial_bits", state_.serial_bits);
        archive.field("next_buffer", state_.next_buffer);
        archive.field("link", state_.link);
        archive.field("normal_at", state_.normal_at);
        archive.field("high_at", state_.high_at);
        archive.field("receive_at", state_.receive_at);
        archive.field("timer_start", state_.timer_start);
        for (u64* counter : {&state_.counters.sent, &state_.counters.received})
            archive.field("frames", *counter);
        for (u32* counter : {&state_.counters.unicast, &state_.counters.broadcast, &state_.counters.multicast})
            archive.field("frames", *counter);
        archive.field("missed", state_.counters.missed);
        archive.field("starved", state_.starved);
        archive.field("frame", state_.frame);
        archive.field("spoiled", state_.spoiled);
        archive.field("command", state_.command);
        archive.field("vlan", state_.vlan);
    });
    if (!archive.loading()) return;
    if (!archive.ok() || state_.frame.size() > largest_frame) state_.frame.clear();
    state_.next_buffer &= 3;
    state_.serial_bits = std::min<u8>(state_.serial_bits, 25);
    if (state_.timer_start > clock_.now()) state_.timer_start = clock_.now();
    arm_timer();
    update_line();
    transmit_task_->schedule();
    backend_.resume();
}

} // namespace calque::devices
