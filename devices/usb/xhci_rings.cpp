// The rings: what the driver asks for comes out of some, events go into others (xHCI 1.2, 4.9).
#include "base/byte_order.h"
#include "devices/usb/xhci.h"

namespace calque::devices {

using namespace xhci;

namespace {
constexpr unsigned most_blocks_a_turn = 256, most_links = 16;
constexpr u32 largest_ring = 4096; // Blocks of an event ring.
} // namespace

// A turn of the worker.
void Xhci::run() {
    std::lock_guard lock(mutex_);
    if (!running()) return;
    tell_ports();
    unsigned left = most_blocks_a_turn;
    while (left != 0 && running() && step_command())
        --left;
    for (unsigned slot = 1; slot <= slots; ++slot)
        for (unsigned endpoint = 1; endpoint < endpoints && state_.slots[slot].enabled; ++endpoint)
            while (left != 0 && running() && step_transfer(slot, endpoint))
                --left;
    if (left == 0) task_->schedule();
}

bool Xhci::read_block(u64 at, Trb& block) {
    std::array<u8, trb_size> bytes{};
    if (!memory_.dma_read(PhysicalAddress(at), bytes)) return false;
    block = {little64(bytes, 0), little32(bytes, 8), little32(bytes, 12)};
    return true;
}

bool Xhci::read_context(u64 at, Context& context) {
    std::array<u8, context_size> bytes{};
    if (!memory_.dma_read(PhysicalAddress(at), bytes)) return false;
    for (std::size_t i = 0; i < context.size(); ++i)
        context[i] = little32(bytes, 4 * i);
    return true;
}

bool Xhci::write_context(u64 at, const Context& context) {
    std::array<u8, context_size> bytes{};
    for (std::size_t i = 0; i < context.size(); ++i)
        store_little(bytes, 4 * i, context[i], 4);
    return memory_.dma_write(PhysicalAddress(at), bytes);
}

// The block at the ring's front, which stays there; links are followed.
Xhci::Fetched Xhci::fetch(Ring& ring, Trb& block) {
    for (unsigned links = 0; links < most_links; ++links) {
        if (!read_block(ring.at, block)) return Fetched::bad;
        if (block.cycle() != ring.cycle) return Fetched::nothing;
        if (block.type() != TRB_LINK) return Fetched::block;
        ring.at = block.parameter & ~u64{15};
        if (block.toggles()) ring.cycle = !ring.cycle;
    }
    return Fetched::bad;
}

// --- Events

// 4.9.4: the table names the segments, of which there is one here.
void Xhci::take_table(Interrupter& interrupter) {
    interrupter.size = interrupter.index = 0;
    interrupter.cycle = true;
    if (interrupter.table_size == 0) return;
    std::array<u8, 16> entry{};
    if (!memory_.dma_read(PhysicalAddress(interrupter.table), entry)) return fatal("the event ring's table");
    interrupter.base = little64(entry, 0) & ~u64{63};
    const u32 size = little32(entry, 8) & 0xFFFF;
    if (size < 2 || size > largest_ring) return fatal("the event ring's size");
    interrupter.size = size;
}

bool Xhci::room(unsigned number) {
    const Interrupter& i = state_.interrupters[number];
    if (i.size == 0) return false;
    const u64 next = i.base + u64{(i.index + 1) % i.size} * trb_size;
    return next != (i.dequeue & ~u64{15});
}

// There is room.
void Xhci::post(unsigned number, Trb event) {
    Interrupter& i = state_.interrupters[number];
    std::array<u8, trb_size> bytes{};
    store_little(bytes, 0, event.parameter, 8);
    store_little(bytes, 8, event.status, 4);
    store_little(bytes, 12, event.control | u32{i.cycle}, 4);
    if (!memory_.dma_write(PhysicalAddress(i.base + u64{i.index} * trb_size), bytes))
        return fatal("the event ring is not in memory");
    i.index = (i.index + 1) % i.size;
    if (i.index == 0) i.cycle = !i.cycle;
    raise(number);
}

// 4.17.2: one interrupt until the driver has moved the dequeue pointer on and says that it is done.
void Xhci::raise(unsigned number) {
    Interrupter& i = state_.interrupters[number];
    state_.status |= STS_EINT;
    if (i.dequeue & ERDP_BUSY) return;
    i.dequeue |= ERDP_BUSY;
    i.management |= IMAN_PENDING;
    deliver();
}

// What is pending waits until interrupts are enabled: Linux turns them off for a moment when a root hub resumes.
void Xhci::deliver() {
    for (unsigned number = 0; number < interrupters; ++number) {
        u32& management = state_.interrupters[number].management;
        if (!(state_.command & CMD_INTE) || !(management & IMAN_PENDING) || !(management & IMAN_ENABLE)
            || !pci_.messages_enabled())
            continue;
        management &= ~IMAN_PENDING; // 5.5.2.1: with messages it clears itself.
        pci_.send_message(number);
    }
    update_pin();
}

void Xhci::update_pin() {
    const u32 management = state_.interrupters[0].management;
    const bool level = (state_.command & CMD_INTE) && (management & IMAN_PENDING) && (management & IMAN_ENABLE)
                       && !pci_.messages_enabled();
    if (std::exchange(pin_, level) != level) pci_.set_intx(level);
}

void Xhci::tell_ports() {
    for (unsigned i = 0; i < ports_; ++i) {
        Port& port = state_.ports[i];
        if (!port.news || !room(0)) continue;
        port.news = false;
        state_.status |= STS_PCD;
        post(0, {u64{i + 1} << 24, u32{static_cast<u8>(Code::success)} << 24, u32{TRB_PORT_STATUS_CHANGE} << 10});
    }
}

// --- Saving

void Xhci::serialize_state(Archive& archive) {
    const auto ring = [&](Ring& r) {
        archive.field("at", r.at);
        archive.field("cycle", r.cycle);
    };
    archive.field("command", state_.command);
    archive.field("status", state_.status);
    archive.field("notifications", state_.notifications);
    archive.field("configuration", state_.configuration);
    archive.field("contexts", state_.contexts);
    ring(state_.commands);
    archive.field("commands_run", state_.commands_run);
    for (Port& port : state_.ports) {
        archive.field("port", port.status);
        archive.field("news", port.news);
    }
    for (Interrupter& i : state_.interrupters) {
        archive.field("management", i.management);
        archive.field("moderation", i.moderation);
        archive.field("table_size", i.table_size);
        archive.field("table", i.table);
        archive.field("dequeue", i.dequeue);
        archive.field("base", i.base);
        archive.field("size", i.size);
        archive.field("index", i.index);
        archive.field("cycle", i.cycle);
        if (i.size > largest_ring || (i.index >= i.size && i.index != 0))
            return archive.fail(fmt::format("the saved {} has an event ring that cannot be", name_));
    }
    for (Slot& slot : state_.slots) {
        archive.field("enabled", slot.enabled);
        if (!slot.enabled) continue;
        archive.field("state", slot.state);
        archive.field("slot_port", slot.port);
        archive.field("context", slot.context);
        for (Endpoint& e : slot.endpoints) {
            archive.field("endpoint", e.state);
            if (e.state == EndpointState::disabled) continue;
            archive.field("type", e.type);
            ring(e.ring);
            archive.field("rung", e.rung);
            archive.field("begun", e.begun);
            archive.field("skipping", e.skipping);
            archive.field("setup", e.setup);
            archive.field("data", e.data);
            archive.field("done", e.done);
            archive.field("moved", e.moved);
            if (e.done > e.data.size())
                return archive.fail(fmt::format("the saved {} has a transfer that cannot be", name_));
        }
        if (slot.port > options_.usb2)
            return archive.fail(fmt::format("the saved {} has a port that is not there", name_));
    }
}

} // namespace calque::devices
