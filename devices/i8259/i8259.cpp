#include "devices/i8259/i8259.h"

namespace calque::devices {

namespace {
constexpr unsigned cascade = 2; // The master's input that the slave's INT drives.
constexpr unsigned spurious = 7;
} // namespace

I8259Pair::I8259Pair(Log& log, IrqLine intr) : log_(log), intr_(intr) {}

void I8259Pair::reset() {
    std::lock_guard lock(mutex_);
    master_.reset();
    slave_.reset();
    update();
}

void I8259Pair::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 1, [&](u32) {
        master_.serialize(archive, "master");
        slave_.serialize(archive, "slave");
    });
    if (!archive.loading()) return;
    driven_ = master_.output();
    intr_.set(driven_);
}

void I8259Pair::update() {
    master_.set_input(cascade, slave_.output());
    if (master_.output() == driven_) return;
    driven_ = !driven_;
    intr_.set(driven_);
}

void I8259Pair::set_irq(unsigned number, bool level) {
    if (number == cascade || number > 15) return;
    std::lock_guard lock(mutex_);
    (number < 8 ? master_ : slave_).set_input(number & 7, level);
    update();
}

bool I8259Pair::masked(unsigned irq) const {
    std::lock_guard lock(mutex_);
    return (irq < 8 ? master_ : slave_).state().imr >> (irq & 7) & 1;
}

u8 I8259Pair::acknowledge() {
    std::unique_lock lock(mutex_);
    const int ir = master_.acknowledge();
    int irq = ir;
    u8 vector = 0;
    if (ir == cascade) {
        const int slave_ir = slave_.acknowledge();
        irq = slave_ir < 0 ? -1 : 8 + slave_ir;
        vector = slave_.vector(slave_ir < 0 ? spurious : static_cast<unsigned>(slave_ir));
        // The slave's INT falls between its requests, so a further one is a new edge for the master.
        master_.set_input(cascade, false);
    } else {
        vector = master_.vector(ir < 0 ? spurious : static_cast<unsigned>(ir));
    }
    if (ir < 0) log_.trace(Channel::irq, "8259: spurious interrupt, vector {:02x}", vector);
    // So does the master's, for an edge-triggered input of an IOAPIC or a LINT pin.
    if (driven_) intr_.lower();
    driven_ = false;
    update();
    lock.unlock();
    if (irq >= 0 && taken_) taken_(static_cast<unsigned>(irq));
    return vector;
}

bool I8259Pair::intr() const {
    std::lock_guard lock(mutex_);
    return driven_;
}

std::array<I8259Chip::State, 2> I8259Pair::snapshot() const {
    std::lock_guard lock(mutex_);
    return {master_.state(), slave_.state()};
}

u8 I8259Pair::ChipPorts::read_byte(u64 offset) {
    std::lock_guard lock(pair_.mutex_);
    const u8 value = chip_.read(offset);
    pair_.update(); // A poll acknowledges.
    return value;
}

void I8259Pair::ChipPorts::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(pair_.mutex_);
    chip_.write(offset, value);
    pair_.update();
}

u8 I8259Pair::ElcrPorts::read_byte(u64 offset) {
    std::lock_guard lock(pair_.mutex_);
    return (offset == 0 ? pair_.master_ : pair_.slave_).state().elcr;
}

void I8259Pair::ElcrPorts::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(pair_.mutex_);
    (offset == 0 ? pair_.master_ : pair_.slave_).write_elcr(value);
    pair_.update();
}

} // namespace calque::devices
