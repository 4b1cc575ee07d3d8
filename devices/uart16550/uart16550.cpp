#include "devices/uart16550/uart16550.h"

#include <algorithm>

namespace calque::devices {

namespace {

// PC16550D datasheet, 8.0 (registers) and table II.
enum Register : u64 { RBR_THR = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
constexpr u8 IER_ERBFI = 1 << 0, IER_ETBEI = 1 << 1, IER_ELSI = 1 << 2, IER_EDSSI = 1 << 3, IER_MASK = 0x0F;
constexpr u8 IIR_NONE = 0x01, IIR_LINE_STATUS = 0x06, IIR_DATA = 0x04, IIR_TIMEOUT = 0x0C, IIR_THRE = 0x02,
             IIR_MODEM = 0x00, IIR_FIFOS = 0xC0;
constexpr u8 FCR_ENABLE = 1 << 0, FCR_CLEAR_RX = 1 << 1, FCR_CLEAR_TX = 1 << 2, FCR_DMA_MODE = 1 << 3,
             FCR_TRIGGER = 0xC0;
constexpr u8 LCR_STOP = 1 << 2, LCR_PARITY = 1 << 3, LCR_BREAK = 1 << 6, LCR_DLAB = 1 << 7;
constexpr u8 MCR_DTR = 1 << 0, MCR_RTS = 1 << 1, MCR_OUT1 = 1 << 2, MCR_OUT2 = 1 << 3, MCR_LOOP = 1 << 4,
             MCR_MASK = 0x1F;
constexpr u8 LSR_DR = 1 << 0, LSR_OE = 1 << 1, LSR_FE = 1 << 3, LSR_BI = 1 << 4, LSR_THRE = 1 << 5, LSR_TEMT = 1 << 6,
             LSR_FIFO_ERROR = 1 << 7, LSR_CHARACTER_ERRORS = 0x1C;
constexpr u8 MSR_DELTAS = 0x0F, MSR_CTS = 1 << 4, MSR_DSR = 1 << 5, MSR_RI = 1 << 6, MSR_DCD = 1 << 7;
constexpr u64 clock_hz = 1'843'200; // The PC's crystal; a bit takes 16 x divisor of its cycles.
constexpr Nanoseconds longest_character = 10'000'000;
// Nobody waits for a line's baud rate: the transmitter is empty again as soon as the guest has left its handler.
constexpr Nanoseconds transmit_pause = 2'000;

} // namespace

Uart16550::Uart16550(Log& log, Clock& clock, IrqLine irq, CharBackend* backend, std::string name)
    : log_(log), clock_(clock), irq_(irq), backend_(backend), name_(std::move(name)) {
    thre_timer_ = clock.make_timer([this] { thre_due(); });
    timeout_timer_ = clock.make_timer([this] { timeout_due(); });
    reset();
    if (!backend_) return;
    backend_->set_receiver({[this] { return room(); }, [this](std::span<const u8> bytes) { deliver(bytes); },
                            [this] { deliver_break(); }});
}

Uart16550::~Uart16550() {
    if (backend_) backend_->set_receiver({});
}

unsigned Uart16550::trigger_level() const {
    constexpr std::array<unsigned, 4> levels{1, 4, 8, 14};
    return fifo_enabled() ? levels[state_.fcr >> 6] : 1;
}

Nanoseconds Uart16550::character_time() const {
    const u64 bits = 1 + 5 + (state_.lcr & 3) + (state_.lcr & LCR_PARITY ? 1 : 0) + (state_.lcr & LCR_STOP ? 2 : 1);
    const u64 divisor = state_.divisor ? state_.divisor : 0x10000;
    return std::min<Nanoseconds>(bits * 16 * divisor * 1'000'000'000 / clock_hz, longest_character);
}

// Datasheet table IV: the pending interrupt of the highest priority.
u8 Uart16550::interrupt_id() const {
    const State& s = state_;
    if ((s.ier & IER_ELSI) && ((s.lsr & LSR_OE) || s.line_errors)) return IIR_LINE_STATUS;
    if ((s.ier & IER_ERBFI) && s.rx_count >= trigger_level()) return IIR_DATA;
    if ((s.ier & IER_ERBFI) && s.timeout_pending) return IIR_TIMEOUT;
    if ((s.ier & IER_ETBEI) && s.thre_pending) return IIR_THRE;
    if ((s.ier & IER_EDSSI) && s.msr_delta) return IIR_MODEM;
    return IIR_NONE;
}

// The board's driver is enabled by OUT2, which loopback holds inactive (datasheet 8.6.3, bit 4).
void Uart16550::update_irq() {
    const bool gate = (state_.mcr & MCR_OUT2) && !(state_.mcr & MCR_LOOP);
    const bool level = gate && interrupt_id() != IIR_NONE;
    if (level == irq_level_) return;
    irq_level_ = level;
    irq_.set(level);
}

// Sets the delta bits for what changed. Loopback feeds the outputs back: DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to
// DCD.
void Uart16550::update_modem_inputs() {
    u8 inputs = backend_ ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
    if (state_.mcr & MCR_LOOP) {
        inputs = 0;
        if (state_.mcr & MCR_RTS) inputs |= MSR_CTS;
        if (state_.mcr & MCR_DTR) inputs |= MSR_DSR;
        if (state_.mcr & MCR_OUT1) inputs |= MSR_RI;
        if (state_.mcr & MCR_OUT2) inputs |= MSR_DCD;
    }
    u8 changed = inputs ^ state_.modem_inputs;
    if (inputs & MSR_RI) changed &= static_cast<u8>(~MSR_RI); // TERI tells the trailing edge only.
    state_.msr_delta |= changed >> 4;
    state_.modem_inputs = inputs;
}

u8 Uart16550::read_byte(u64 offset) {
    bool took = false;
    u8 value = 0xFF;
    {
        std::lock_guard lock(mutex_);
        switch (offset) {
        case RBR_THR:
            if (state_.lcr & LCR_DLAB) {
                value = static_cast<u8>(state_.divisor);
            } else {
                value = read_rbr();
                took = true;
            }
            break;
        case IER: value = state_.lcr & LCR_DLAB ? static_cast<u8>(state_.divisor >> 8) : state_.ier; break;
        case IIR_FCR: value = read_iir(); break;
        case LCR: value = state_.lcr; break;
        case MCR: value = state_.mcr; break;
        case LSR: value = read_lsr(); break;
        case MSR: value = read_msr(); break;
        case SCR: value = state_.scr; break;
        default: break;
        }
        update_irq();
    }
    if (took && backend_) backend_->resume();
    return value;
}

void Uart16550::write_byte(u64 offset, u8 value) {
    bool room_may_have_grown = false;
    {
        std::lock_guard lock(mutex_);
        switch (offset) {
        case RBR_THR:
            if (state_.lcr & LCR_DLAB)
                state_.divisor = static_cast<u16>((state_.divisor & 0xFF00) | value);
            else
                write_thr(value);
            break;
        case IER:
            if (state_.lcr & LCR_DLAB)
                state_.divisor = static_cast<u16>((state_.divisor & 0x00FF) | value << 8);
            else
                write_ier(value);
            break;
        case IIR_FCR:
            write_fcr(value);
            room_may_have_grown = true;
            break;
        case LCR:
            // In loopback a break that is sent is received.
            if ((value & LCR_BREAK) && !(state_.lcr & LCR_BREAK) && (state_.mcr & MCR_LOOP)) push({0, LSR_BI | LSR_FE});
            state_.lcr = value;
            log_.trace(Channel::serial, "{}: LCR {:02x}, divisor {}", name_, value, state_.divisor);
            break;
        case MCR:
            write_mcr(value);
            room_may_have_grown = true;
            break;
        case SCR: state_.scr = value; break;
        default: break; // LSR and MSR are for reading; writing them is for factory tests.
        }
        update_irq();
    }
    if (room_may_have_grown && backend_) backend_->resume();
}

u8 Uart16550::read_rbr() {
    State& s = state_;
    if (s.rx_count == 0) return s.rbr;
    s.rbr = s.rx_data[0];
    std::copy(s.rx_data.begin() + 1, s.rx_data.end(), s.rx_data.begin());
    std::copy(s.rx_errors.begin() + 1, s.rx_errors.end(), s.rx_errors.begin());
    --s.rx_count;
    at_top();
    arm_receive_timeout();
    return s.rbr;
}

// A character came to the top of the FIFO: its errors show in LSR (datasheet 8.6.1, bits 2-4).
void Uart16550::at_top() {
    if (state_.rx_count == 0) return;
    state_.line_errors |= state_.rx_errors[0];
    state_.rx_errors[0] = 0;
}

void Uart16550::push(Character character) {
    State& s = state_;
    const unsigned capacity = fifo_enabled() ? fifo_size : 1;
    if (s.rx_count >= capacity) {
        s.lsr |= LSR_OE;
        if (fifo_enabled()) return; // The character in the shift register is lost; the FIFO keeps what it has.
        s.rx_count = 0;             // Without FIFO the new character takes RBR.
    }
    s.rx_data[s.rx_count] = character.data;
    s.rx_errors[s.rx_count] = character.errors;
    if (++s.rx_count == 1) at_top();
    arm_receive_timeout();
}

// Datasheet 8.9: with characters in the FIFO, nothing received and nothing read for four character times.
void Uart16550::arm_receive_timeout() {
    state_.timeout_pending = false;
    if (fifo_enabled() && state_.rx_count > 0) {
        state_.timeout_deadline = clock_.now() + 4 * character_time();
        timeout_timer_->arm(state_.timeout_deadline);
    } else if (state_.timeout_deadline != never) {
        state_.timeout_deadline = never;
        timeout_timer_->disarm();
    }
}

void Uart16550::timeout_due() {
    std::lock_guard lock(mutex_);
    if (state_.timeout_deadline == never || clock_.now() < state_.timeout_deadline) return;
    state_.timeout_deadline = never;
    state_.timeout_pending = fifo_enabled() && state_.rx_count > 0;
    update_irq();
}

u8 Uart16550::read_iir() {
    const u8 id = interrupt_id();
    if (id == IIR_THRE) state_.thre_pending = false;
    return id | (fifo_enabled() ? IIR_FIFOS : 0);
}

u8 Uart16550::read_lsr() {
    State& s = state_;
    u8 value = s.lsr | s.line_errors | (s.rx_count ? LSR_DR : 0);
    if (fifo_enabled()
        && (s.line_errors
            || std::any_of(s.rx_errors.begin(), s.rx_errors.begin() + s.rx_count, [](u8 e) { return e; })))
        value |= LSR_FIFO_ERROR;
    s.lsr &= static_cast<u8>(~LSR_OE);
    s.line_errors = 0;
    return value;
}

u8 Uart16550::read_msr() {
    const u8 value = state_.modem_inputs | state_.msr_delta;
    state_.msr_delta = 0;
    return value;
}

void Uart16550::write_thr(u8 value) {
    state_.thre_pending = false;
    if (state_.mcr & MCR_LOOP)
        push({value, 0});
    else if (backend_)
        backend_->transmit({&value, 1});
    // The interrupt that says "empty again" comes when the character would have left.
    if (!(state_.ier & IER_ETBEI)) {
        state_.thre_pending = true;
    } else if (state_.thre_deadline == never) {
        state_.thre_deadline = clock_.now() + std::min(character_time(), transmit_pause);
        thre_timer_->arm(state_.thre_deadline);
    }
}

void Uart16550::thre_due() {
    std::lock_guard lock(mutex_);
    if (state_.thre_deadline == never || clock_.now() < state_.thre_deadline) return;
    state_.thre_deadline = never;
    state_.thre_pending = true;
    update_irq();
}

// Enabling the interrupt while the transmitter is empty raises it at once, even when it was enabled before
// (what drivers rely on to get the first one).
void Uart16550::write_ier(u8 value) {
    state_.ier = value & IER_MASK;
    if ((state_.ier & IER_ETBEI) && state_.thre_deadline == never) state_.thre_pending = true;
}

void Uart16550::write_fcr(u8 value) {
    // A change of the enable bit clears both FIFOs; other bits count only while it is set (datasheet 8.6.4).
    if ((value ^ state_.fcr) & FCR_ENABLE) value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    state_.fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_DMA_MODE | FCR_TRIGGER) : 0;
    if (value & FCR_CLEAR_RX) clear_rx();
    if ((value & FCR_CLEAR_TX) && state_.thre_deadline != never) {
        state_.thre_deadline = never;
        thre_timer_->disarm();
        state_.thre_pending = true;
    }
}

void Uart16550::clear_rx() {
    state_.rx_count = 0;
    state_.rx_errors.fill(0);
    arm_receive_timeout();
}

void Uart16550::write_mcr(u8 value) {
    state_.mcr = value & MCR_MASK;
    update_modem_inputs();
}

// In loopback the serial input is cut off: what comes from the host waits there.
std::size_t Uart16550::room() {
    std::lock_guard lock(mutex_);
    if (state_.mcr & MCR_LOOP) return 0;
    return (fifo_enabled() ? fifo_size : 1u) - std::min<unsigned>(state_.rx_count, fifo_enabled() ? fifo_size : 1u);
}

void Uart16550::deliver(std::span<const u8> bytes) {
    std::lock_guard lock(mutex_);
    const u8 data_mask = static_cast<u8>(0xFF >> (3 - (state_.lcr & 3)));
    for (const u8 byte : bytes)
        push({static_cast<u8>(byte & data_mask), 0});
    update_irq();
}

void Uart16550::deliver_break() {
    std::lock_guard lock(mutex_);
    if (state_.mcr & MCR_LOOP) return;
    push({0, LSR_BI | LSR_FE});
    update_irq();
}

void Uart16550::reset() {
    std::lock_guard lock(mutex_);
    thre_timer_->disarm();
    timeout_timer_->disarm();
    state_ = {};
    update_modem_inputs();
    state_.msr_delta = 0;
    update_irq();
}

void Uart16550::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    State& s = state_;
    archive.section(name_, 1, [&](u32) {
        archive.field("ier", s.ier);
        archive.field("fcr", s.fcr);
        archive.field("lcr", s.lcr);
        archive.field("mcr", s.mcr);
        archive.field("scr", s.scr);
        archive.field("lsr", s.lsr);
        archive.field("msr_delta", s.msr_delta);
        archive.field("modem_inputs", s.modem_inputs);
        archive.field("line_errors", s.line_errors);
        archive.field("divisor", s.divisor);
        archive.field("rbr", s.rbr);
        archive.field("thre_pending", s.thre_pending);
        archive.field("timeout_pending", s.timeout_pending);
        archive.field("rx_count", s.rx_count);
        archive.field("rx_data", s.rx_data);
        archive.field("rx_errors", s.rx_errors);
        archive.field("thre_deadline", s.thre_deadline);
        archive.field("timeout_deadline", s.timeout_deadline);
    });
    if (!archive.loading()) return;
    s.ier &= IER_MASK;
    s.mcr &= MCR_MASK;
    s.lsr = LSR_THRE | LSR_TEMT | (s.lsr & LSR_OE);
    s.line_errors &= LSR_CHARACTER_ERRORS;
    s.msr_delta &= MSR_DELTAS;
    if (s.rx_count > (fifo_enabled() ? fifo_size : 1u)) archive.fail("the receive FIFO holds more than fits");
    s.rx_count = std::min<u8>(s.rx_count, fifo_size);
    thre_timer_->disarm();
    timeout_timer_->disarm();
    if (s.thre_deadline != never) thre_timer_->arm(s.thre_deadline);
    if (s.timeout_deadline != never) timeout_timer_->arm(s.timeout_deadline);
    update_modem_inputs();
    update_irq();
}

} // namespace calque::devices
