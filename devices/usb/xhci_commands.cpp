// What the driver asks of the controller itself (xHCI 1.2, 4.6).
#include "devices/usb/xhci.h"

namespace calque::devices {

using namespace xhci;

namespace {
u64 ring_pointer(const Context& context) { return (context[2] | u64{context[3]} << 32) & ~u64{15}; }
} // namespace

// Takes one from the command ring. False: there is none, or no room for its event.
bool Xhci::step_command() {
    if (!state_.commands_run || !room(0)) return false;
    Trb block;
    switch (fetch(state_.commands, block)) {
    case Fetched::nothing: return false;
    case Fetched::bad: fatal("the command ring"); return false;
    case Fetched::block: break;
    }
    unsigned slot = block.slot();
    const Code code = execute(block, slot);
    log_.trace(Channel::bus, "{}: command {} of slot {}: {}", name_, block.type(), slot, static_cast<unsigned>(code));
    post(0, {state_.commands.at, u32{static_cast<u8>(code)} << 24, u32{TRB_COMMAND_COMPLETION} << 10 | slot << 24});
    state_.commands.at += trb_size;
    return true;
}

Code Xhci::execute(const Trb& block, unsigned& slot) {
    if (block.type() == TRB_NO_OP_COMMAND) return Code::success;
    if (block.type() == TRB_ENABLE_SLOT) return enable_slot(slot);
    if (block.type() < TRB_ENABLE_SLOT || block.type() > TRB_RESET_DEVICE) {
        log_.unimplemented(Channel::bus, fmt::format("xhci.command-{}", block.type()));
        return Code::trb_error;
    }
    if (slot == 0 || slot > slots || !state_.slots[slot].enabled) return Code::slot_not_enabled;
    switch (block.type()) {
    case TRB_DISABLE_SLOT:
        static_cast<void>(write_slot(state_.slots[slot], 0, 0));
        state_.slots[slot] = {};
        return Code::success;
    case TRB_ADDRESS_DEVICE: return address_device(slot, block);
    case TRB_CONFIGURE_ENDPOINT: return configure_endpoints(slot, block);
    case TRB_EVALUATE_CONTEXT: return evaluate_context(slot, block);
    case TRB_RESET_DEVICE: return reset_device(slot);
    default: return endpoint_command(slot, block);
    }
}

Code Xhci::enable_slot(unsigned& slot) {
    for (slot = 1; slot <= slots; ++slot) {
        if (state_.slots[slot].enabled) continue;
        state_.slots[slot].enabled = true;
        return Code::success;
    }
    slot = 0;
    return Code::no_slots;
}

// The state and the address in a slot's context; `entries` 0 leaves them.
bool Xhci::write_slot(const Slot& slot, u32 entries, u8 address) {
    Context context;
    if (slot.context == 0 || !read_context(slot.context, context)) return false;
    constexpr u32 entries_mask = 0x1Fu << 27;
    if (entries != 0) context[0] = (context[0] & ~entries_mask) | entries << 27;
    context[3] = static_cast<u32>(slot.state) << 27 | address;
    return write_context(slot.context, context);
}

bool Xhci::write_endpoint(const Slot& slot, unsigned number) {
    const Endpoint& endpoint = slot.endpoints[number];
    const u64 at = slot.context + context_size * number;
    Context context;
    if (!read_context(at, context)) return false;
    context[0] = (context[0] & ~7u) | static_cast<u32>(endpoint.state);
    context[2] = static_cast<u32>(endpoint.ring.at) | u32{endpoint.ring.cycle};
    context[3] = static_cast<u32>(endpoint.ring.at >> 32);
    return write_context(at, context);
}

// As the driver describes it.
void Xhci::start_endpoint(Slot& slot, unsigned number, Context& context) {
    Endpoint& endpoint = slot.endpoints[number] = {};
    endpoint.state = EndpointState::running;
    endpoint.type = context[1] >> 3 & 7;
    endpoint.ring = {ring_pointer(context), (context[2] & 1) != 0};
    context[0] = (context[0] & ~7u) | static_cast<u32>(endpoint.state);
    if (endpoint.type != ENDPOINT_CONTROL && endpoint.type != ENDPOINT_INTERRUPT_IN)
        log_.unimplemented(Channel::bus, fmt::format("xhci.endpoint-type-{}", endpoint.type));
}

Code Xhci::address_device(unsigned number, const Trb& block) {
    Slot& slot = state_.slots[number];
    const u64 input = block.parameter & ~u64{15};
    const bool only_default = block.control & 1 << 9; // BSR
    Context control, context, endpoint;
    if (!read_context(input, control) || !read_context(input + context_size, context)
        || !read_context(input + 2 * context_size, endpoint))
        return Code::trb_error;
    constexpr u32 both = 3;
    if (slot.state >= SlotState::addressed) return Code::context_state_error;
    if (control[0] != 0 || (control[1] & both) != both) return Code::trb_error;
    const u32 port = context[1] >> 16 & 0xFF, route = context[0] & 0xFFFFF;
    if (port == 0 || port > options_.usb2 || !devices_[port - 1] || route != 0) return Code::transaction_error;
    std::array<u8, 8> place{};
    if (!memory_.dma_read(PhysicalAddress(state_.contexts + 8 * u64{number}), place)) return Code::trb_error;
    u64 at = 0;
    for (std::size_t i = 0; i < place.size(); ++i)
        at |= u64{place[i]} << (8 * i);
    slot.context = at & ~u64{63};
    slot.port = static_cast<u8>(port);
    slot.state = only_default ? SlotState::reset : SlotState::addressed;
    context[3] = static_cast<u32>(slot.state) << 27 | (only_default ? 0 : number);
    start_endpoint(slot, 1, endpoint);
    return write_context(slot.context, context) && write_context(slot.context + context_size, endpoint)
               ? Code::success
               : Code::trb_error;
}

Code Xhci::configure_endpoints(unsigned number, const Trb& block) {
    Slot& slot = state_.slots[number];
    if (slot.state < SlotState::addressed) return Code::context_state_error;
    const auto drop = [&](unsigned e) {
        slot.endpoints[e] = {};
        static_cast<void>(write_endpoint(slot, e));
    };
    if (block.control & 1 << 9) { // DC
        for (unsigned e = 2; e < endpoints; ++e)
            drop(e);
        slot.state = SlotState::addressed;
        return write_slot(slot, 1, static_cast<u8>(number)) ? Code::success : Code::trb_error;
    }
    const u64 input = block.parameter & ~u64{15};
    Context control, context;
    if (!read_context(input, control) || !read_context(input + context_size, context)) return Code::trb_error;
    if ((control[0] & 3) != 0 || (control[1] & 3) != 1) return Code::trb_error;
    for (unsigned e = 2; e < endpoints; ++e) {
        if (control[0] >> e & 1) drop(e);
        if (!(control[1] >> e & 1)) continue;
        Context endpoint;
        if (!read_context(input + context_size * (e + 1), endpoint)) return Code::trb_error;
        start_endpoint(slot, e, endpoint);
        if (!write_context(slot.context + context_size * e, endpoint)) return Code::trb_error;
    }
    slot.state = SlotState::configured;
    return write_slot(slot, context[0] >> 27, static_cast<u8>(number)) ? Code::success : Code::trb_error;
}

// 4.6.7: the latency and interrupter of a slot, the packet size of its default endpoint.
Code Xhci::evaluate_context(unsigned number, const Trb& block) {
    const Slot& slot = state_.slots[number];
    if (slot.state == SlotState::enabled) return Code::context_state_error;
    const u64 input = block.parameter & ~u64{15};
    Context control;
    if (!read_context(input, control)) return Code::trb_error;
    const auto copy = [&](unsigned e, unsigned word, u32 mask) {
        Context given, ours;
        const u64 at = slot.context + context_size * e;
        if (!read_context(input + context_size * (e + 1), given) || !read_context(at, ours)) return false;
        ours[word] = (ours[word] & ~mask) | (given[word] & mask);
        return write_context(at, ours);
    };
    constexpr u32 latency = 0xFFFF, interrupter = 0x3FFu << 22, packet = 0xFFFFu << 16;
    if ((control[1] & 1) && (!copy(0, 1, latency) || !copy(0, 2, interrupter))) return Code::trb_error;
    if ((control[1] & 2) && !copy(1, 1, packet)) return Code::trb_error;
    return Code::success;
}

Code Xhci::reset_device(unsigned number) {
    Slot& slot = state_.slots[number];
    if (slot.state < SlotState::addressed) return Code::context_state_error;
    for (unsigned e = 2; e < endpoints; ++e) {
        slot.endpoints[e] = {};
        static_cast<void>(write_endpoint(slot, e));
    }
    slot.state = SlotState::reset;
    return write_slot(slot, 1, 0) ? Code::success : Code::trb_error;
}

// 4.6.8 to 4.6.10.
Code Xhci::endpoint_command(unsigned number, const Trb& block) {
    Slot& slot = state_.slots[number];
    const unsigned e = block.endpoint();
    if (e == 0) return Code::trb_error;
    Endpoint& endpoint = slot.endpoints[e];
    if (endpoint.state == EndpointState::disabled) return Code::endpoint_not_enabled;
    const auto forget = [&] { // The transfer under way.
        endpoint.begun = endpoint.skipping = false;
        endpoint.data.clear();
        endpoint.done = endpoint.moved = 0;
    };
    if (block.type() == TRB_STOP_ENDPOINT) {
        if (endpoint.state != EndpointState::running) return Code::context_state_error;
        endpoint.state = EndpointState::stopped;
    } else if (block.type() == TRB_RESET_ENDPOINT) {
        if (endpoint.state != EndpointState::halted) return Code::context_state_error;
        endpoint.state = EndpointState::stopped;
        forget();
    } else {
        if (endpoint.state != EndpointState::stopped && endpoint.state != EndpointState::error)
            return Code::context_state_error;
        endpoint.state = EndpointState::stopped;
        endpoint.ring = {block.parameter & ~u64{15}, (block.parameter & 1) != 0};
        forget();
    }
    endpoint.rung = false;
    return write_endpoint(slot, e) ? Code::success : Code::trb_error;
}

} // namespace calque::devices
