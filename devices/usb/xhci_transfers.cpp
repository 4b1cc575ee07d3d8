// Transfers between devices and the guest's memory (xHCI 1.2, 4.11).
#include "base/byte_order.h"
#include "devices/usb/xhci.h"

#include <algorithm>

namespace calque::devices {

using namespace xhci;

UsbDevice* Xhci::device_of(const Slot& slot) {
    if (slot.port == 0 || slot.port > options_.usb2) return nullptr;
    const bool enabled = state_.ports[slot.port - 1u].status & PORT_ENABLED;
    return enabled ? devices_[slot.port - 1u] : nullptr;
}

// One block of an endpoint's ring. False: there is none, or it waits: for the device, or for room for its event.
bool Xhci::step_transfer(unsigned number, unsigned e) {
    Slot& slot = state_.slots[number];
    Endpoint& endpoint = slot.endpoints[e];
    if (endpoint.state != EndpointState::running || !endpoint.rung) return false;
    Trb block;
    const Fetched fetched = fetch(endpoint.ring, block);
    if (fetched == Fetched::nothing) {
        endpoint.rung = false;
        return false;
    }
    if (!room(block.interrupter() < interrupters ? block.interrupter() : 0)) return false;
    const bool suspended = slot.port != 0 && (state_.ports[slot.port - 1u].status & PORT_LINK) >> 5 == LINK_U3;
    if (suspended) return false;
    UsbDevice* const device = device_of(slot);
    if (fetched == Fetched::bad) {
        halt(number, e, block, Code::trb_error, EndpointState::error);
    } else if (!device) {
        halt(number, e, block, Code::transaction_error, EndpointState::halted);
    } else if (block.type() == TRB_EVENT_DATA || block.type() == TRB_NO_OP || endpoint.skipping) {
        endpoint.ring.at += trb_size;
        end_block(number, e, block, endpoint.skipping ? block.length() : 0,
                  endpoint.skipping ? Code::short_packet : Code::success);
    } else if (endpoint.type == ENDPOINT_CONTROL) {
        return step_control(number, e, block, *device);
    } else if (endpoint.type == ENDPOINT_INTERRUPT_IN && block.type() == TRB_NORMAL) {
        return step_interrupt(number, e, block, *device);
    } else {
        halt(number, e, block, Code::trb_error, EndpointState::error);
    }
    return true;
}

// A block has been done with, of which `left` bytes were not moved.
void Xhci::end_block(unsigned number, unsigned e, const Trb& block, u32 left, Code code) {
    Endpoint& endpoint = state_.slots[number].endpoints[e];
    const bool data_event = block.type() == TRB_EVENT_DATA;
    const bool failed = code != Code::success && code != Code::short_packet;
    const bool tell =
        failed || block.on_completion() || (code == Code::short_packet && block.on_short() && !endpoint.skipping);
    if (tell) {
        const u64 where = data_event ? block.parameter : endpoint.ring.at - (failed ? 0 : trb_size);
        const u32 length = data_event ? endpoint.moved & 0xFFFFFF : left;
        post(block.interrupter() < interrupters ? block.interrupter() : 0,
             {where, length | u32{static_cast<u8>(code)} << 24,
              u32{TRB_TRANSFER_EVENT} << 10 | u32{data_event} << 2 | e << 16 | number << 24});
    }
    if (data_event) endpoint.moved = 0;
    endpoint.skipping = (endpoint.skipping || code == Code::short_packet) && block.chained();
    if (!block.chained()) endpoint.moved = 0;
}

// The block stays at the ring's front.
void Xhci::halt(unsigned number, unsigned e, const Trb& block, Code code, EndpointState state) {
    Endpoint& endpoint = state_.slots[number].endpoints[e];
    endpoint.state = state;
    endpoint.rung = false;
    static_cast<void>(write_endpoint(state_.slots[number], e));
    end_block(number, e, block, block.length(), code);
}

// --- Control transfers: setup, data either way, status

bool Xhci::step_control(unsigned number, unsigned e, const Trb& block, UsbDevice& device) {
    Endpoint& endpoint = state_.slots[number].endpoints[e];
    const auto stall = [&] { halt(number, e, block, Code::stall, EndpointState::halted); };
    const auto to_host = [&] { return (endpoint.setup & 0x80) != 0; };
    switch (block.type()) {
    case TRB_SETUP:
        endpoint.setup = block.parameter;
        endpoint.begun = endpoint.skipping = false;
        endpoint.data.clear();
        endpoint.done = endpoint.moved = 0;
        endpoint.ring.at += trb_size;
        end_block(number, e, block, 0, Code::success);
        return true;
    case TRB_DATA:
    case TRB_NORMAL:
        if (!to_host()) {
            if (!move_out(endpoint, block)) return stall(), true;
            endpoint.ring.at += trb_size;
            end_block(number, e, block, 0, Code::success);
            return true;
        }
        if (!endpoint.begun && !ask_device(endpoint, device)) return stall(), true;
        return move_in(number, e, block);
    case TRB_STATUS:
        if (!endpoint.begun && !ask_device(endpoint, device)) return stall(), true;
        endpoint.begun = false;
        endpoint.ring.at += trb_size;
        end_block(number, e, block, 0, Code::success);
        return true;
    default: halt(number, e, block, Code::trb_error, EndpointState::error); return true;
    }
}

bool Xhci::ask_device(Endpoint& endpoint, UsbDevice& device) {
    const auto part = [&](unsigned shift) { return static_cast<u16>(endpoint.setup >> shift); };
    const UsbSetup setup{static_cast<u8>(part(0)), static_cast<u8>(part(8)), part(16), part(32), part(48)};
    endpoint.begun = true;
    return device.control(setup, endpoint.data) == UsbAnswer::done;
}

// No more than the setup packet has announced.
bool Xhci::move_out(Endpoint& endpoint, const Trb& block) {
    const std::size_t announced = endpoint.setup >> 48, before = endpoint.data.size();
    if (block.length() > announced - std::min(announced, before)) return false;
    endpoint.data.resize(before + block.length());
    const auto part = std::span(endpoint.data).subspan(before);
    if (block.immediate()) {
        for (std::size_t i = 0; i < part.size(); ++i)
            part[i] = i < 8 ? static_cast<u8>(block.parameter >> (8 * i)) : u8{0};
        return true;
    }
    return memory_.dma_read(PhysicalAddress(block.parameter), part);
}

// What is left of the device's bytes, as far as the block goes. Fewer than that end the transfer's data.
bool Xhci::move_in(unsigned number, unsigned e, const Trb& block) {
    Endpoint& endpoint = state_.slots[number].endpoints[e];
    const auto rest = std::span(endpoint.data).subspan(endpoint.done);
    const u32 count = static_cast<u32>(std::min<std::size_t>(rest.size(), block.length()));
    if (count != 0 && !memory_.dma_write(PhysicalAddress(block.parameter), rest.first(count))) {
        halt(number, e, block, Code::trb_error, EndpointState::error);
        return true;
    }
    endpoint.done += count;
    endpoint.moved += count;
    endpoint.ring.at += trb_size;
    const u32 left = block.length() - count;
    end_block(number, e, block, left, left ? Code::short_packet : Code::success);
    return true;
}

// --- Interrupts to the host: a report for each transfer

bool Xhci::step_interrupt(unsigned number, unsigned e, const Trb& block, UsbDevice& device) {
    Endpoint& endpoint = state_.slots[number].endpoints[e];
    if (!endpoint.begun) {
        const UsbAnswer answer = device.in(e / 2, endpoint.data);
        if (answer == UsbAnswer::nothing) return false;
        if (answer == UsbAnswer::stall) return halt(number, e, block, Code::stall, EndpointState::halted), true;
        endpoint.begun = true;
        endpoint.done = 0;
    }
    const bool last = !block.chained() || endpoint.data.size() - endpoint.done < block.length();
    move_in(number, e, block);
    if (last) endpoint.begun = false;
    return true;
}

} // namespace calque::devices
