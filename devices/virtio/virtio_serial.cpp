#include "devices/virtio/virtio_serial.h"

#include "base/byte_order.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio;

namespace {

// Virtio 1.2, 5.3.2, 5.3.3 and 5.3.6.2.
constexpr unsigned control_receive = 2, control_transmit = 3;
constexpr unsigned F_MULTIPORT = 1, F_EMERG_WRITE = 2;
constexpr u16 DEVICE_READY = 0, DEVICE_ADD = 1, PORT_READY = 3, CONSOLE_PORT = 4, PORT_OPEN = 6, PORT_NAME = 7;
constexpr std::size_t control_size = 8;
constexpr u64 emergency_offset = 8;

constexpr std::size_t input_room = 4096, output_chunk = 4096;
constexpr std::size_t most_messages = 256;
constexpr unsigned most_chains_a_turn = 64;
constexpr u64 most_bytes_a_turn = 1 << 20;

} // namespace

VirtioSerial::VirtioSerial(Log& log, DmaPort& memory, Worker& worker, unsigned ports, std::string name)
    : VirtioDevice(log, memory, Id::console, std::move(name), u64{1} << F_MULTIPORT | u64{1} << F_EMERG_WRITE),
      ports_(std::clamp(ports, 1u, most_ports)), slots_(ports_) {
    constexpr u16 size = 128;
    for (unsigned q = 0; q < queue_count_of(ports_); ++q) {
        const unsigned port = q < control_receive ? 0 : q / 2 - 1;
        add_queue(worker, size, [this, q, port] {
            if (q == control_receive) return send_control();
            if (q == control_transmit) return take_control(q);
            q % 2 ? take_output(port, q) : send_input(port);
        });
    }
}

VirtioSerial::~VirtioSerial() {
    for (const Slot& slot : slots_)
        if (slot.port.backend) slot.port.backend->set_receiver({});
    end_tasks();
}

bool VirtioSerial::add_port(unsigned number, Port port) {
    if (number >= ports_ || slots_[number].present) return false;
    CharBackend* const backend = port.backend;
    {
        std::lock_guard lock(mutex());
        slots_[number].present = true;
        slots_[number].port = std::move(port);
        slots_[number].state.host_open = slots_[number].port.console;
    }
    if (backend) backend->set_receiver(receiver(number));
    return true;
}

unsigned VirtioSerial::free_number(bool console) const {
    for (unsigned i = console ? 0 : 1; i < ports_; ++i)
        if (!slots_[i].present) return i;
    return most_ports;
}

// --- From the host. The backend's thread; what comes waits in the port until the guest has buffers.

bool VirtioSerial::listens(const Slot& slot) const {
    return running() && (slot.port.console || !negotiated(F_MULTIPORT) || slot.state.guest_open);
}

CharBackend::Receiver VirtioSerial::receiver(unsigned port) {
    CharBackend::Receiver receiver;
    receiver.room = [this, port] {
        std::lock_guard lock(mutex());
        const Slot& slot = slots_[port];
        return listens(slot) ? input_room - std::min(input_room, slot.state.input.size()) : std::size_t{0};
    };
    receiver.deliver = [this, port](std::span<const u8> bytes) {
        std::lock_guard lock(mutex());
        auto& input = slots_[port].state.input;
        input.insert(input.end(), bytes.begin(), bytes.end());
        schedule(input_queue(port));
    };
    receiver.opened = [this, port] { set_host_open(port, true); };
    receiver.closed = [this, port] { set_host_open(port, false); };
    receiver.drained = [this, port] { schedule(input_queue(port) + 1); };
    return receiver;
}

void VirtioSerial::set_host_open(unsigned port, bool open) {
    std::lock_guard lock(mutex());
    Slot& slot = slots_[port];
    if (slot.port.console || slot.state.host_open == open) return;
    slot.state.host_open = open;
    if (slot.state.ready) tell(port, PORT_OPEN, open);
}

void VirtioSerial::send_input(unsigned port) {
    Slot& slot = slots_[port];
    if (!slot.present || !slot.port.backend) return;
    auto& input = slot.state.input;
    const unsigned queue = input_queue(port);
    VirtioChain chain;
    while (!input.empty() && pop(queue, chain)) {
        const std::size_t count = std::min<u64>(input.size(), chain.writable_bytes());
        if (!chain.write(memory(), 0, std::span(input).first(count))) return needs_reset("a buffer is not in memory");
        push(queue, chain.head, static_cast<u32>(count));
        input.erase(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(count));
    }
    interrupt_if_wanted(queue);
    if (input.empty()) slot.port.backend->resume();
}

// --- From the guest

// Gives the chain's bytes to the host. False: not all of them, or a buffer that is not memory. A console waits for
// nobody.
bool VirtioSerial::write_out(Slot& slot, const VirtioChain& chain, u64 most) {
    CharBackend* const backend = slot.port.backend;
    u64& done = slot.state.output_done;
    const u64 length = chain.readable_bytes(), end = std::min(length, done + most);
    std::vector<u8> bytes;
    while (done < end) {
        const u64 room = !backend || slot.port.console ? output_chunk : backend->transmit_room();
        if (room == 0) return false;
        bytes.resize(std::min<u64>({output_chunk, end - done, room}));
        if (!chain.read(memory(), done, bytes)) return needs_reset("a buffer is not in memory"), false;
        if (backend) backend->transmit(bytes);
        done += bytes.size();
    }
    return done >= length;
}

// A chain that the host has not taken whole stays in the queue.
void VirtioSerial::take_output(unsigned port, unsigned queue) {
    Slot& slot = slots_[port];
    VirtioChain chain;
    for (unsigned taken = 0; pop(queue, chain); ++taken) {
        if (!write_out(slot, chain, most_bytes_a_turn)) {
            if (!running()) return;
            virtqueue(queue).unpop(1);
            const bool host_waits = slot.port.backend && !slot.port.console && slot.port.backend->transmit_room() == 0;
            if (!host_waits) schedule(queue); // A very long one.
            break;
        }
        slot.state.output_done = 0;
        push(queue, chain.head, 0);
        if (taken == most_chains_a_turn) {
            schedule(queue);
            break;
        }
    }
    interrupt_if_wanted(queue);
}

void VirtioSerial::take_control(unsigned queue) {
    VirtioChain chain;
    for (unsigned taken = 0; pop(queue, chain); ++taken) {
        std::array<u8, control_size> bytes{};
        // One that is too short says nothing.
        if (chain.readable_bytes() >= bytes.size()) {
            if (!chain.read(memory(), 0, bytes)) return needs_reset("a control message is not in memory");
            obey(little32(bytes, 0), little16(bytes, 4), little16(bytes, 6));
        }
        push(queue, chain.head, 0);
        if (taken == most_chains_a_turn) {
            schedule(queue);
            break;
        }
    }
    interrupt_if_wanted(queue);
}

void VirtioSerial::obey(u32 port, u16 event, u16 value) {
    if (event == DEVICE_READY) {
        for (unsigned i = 0; i < ports_ && value; ++i)
            if (slots_[i].present) tell(i, DEVICE_ADD, 1);
        return;
    }
    if (port >= ports_ || !slots_[port].present) return;
    Slot& slot = slots_[port];
    if (event == PORT_READY && value) {
        slot.state.ready = true;
        if (slot.port.console) tell(port, CONSOLE_PORT, 1);
        if (!slot.port.name.empty()) tell(port, PORT_NAME, 1, slot.port.name);
        if (slot.state.host_open) tell(port, PORT_OPEN, 1);
    } else if (event == PORT_OPEN) {
        slot.state.guest_open = value;
        if (value && slot.port.backend) slot.port.backend->resume();
    }
}

void VirtioSerial::tell(u32 port, u16 event, u16 value, std::string text) {
    if (messages_.size() >= most_messages) return; // A driver that asks on and never listens.
    messages_.push_back({port, event, value, std::move(text)});
    schedule(control_receive);
}

void VirtioSerial::send_control() {
    VirtioChain chain;
    while (!messages_.empty() && pop(control_receive, chain)) {
        const Message& message = messages_.front();
        std::vector<u8> bytes(control_size);
        store_little(bytes, 0, message.port, 4);
        store_little(bytes, 4, message.event, 2);
        store_little(bytes, 6, message.value, 2);
        bytes.insert(bytes.end(), message.text.begin(), message.text.end());
        bytes.resize(std::min<u64>(bytes.size(), chain.writable_bytes()));
        if (!chain.write(memory(), 0, bytes)) return needs_reset("a buffer is not in memory");
        push(control_receive, chain.head, static_cast<u32>(bytes.size()));
        messages_.pop_front();
    }
    interrupt_if_wanted(control_receive);
}

// --- Configuration

std::vector<u8> VirtioSerial::config() {
    std::vector<u8> bytes(config_size);
    store_little(bytes, 4, ports_, 4);
    return bytes;
}

// 5.3.4: a character without any queue, from a driver that has not got so far, or no further.
void VirtioSerial::config_written(u64 offset, u64 value, unsigned size) {
    static_cast<void>(size);
    const u8 character = static_cast<u8>(value);
    if (offset == emergency_offset && slots_[0].port.backend)
        slots_[0].port.backend->transmit(std::span(&character, 1));
}

void VirtioSerial::stopped() {
    messages_.clear();
    for (Slot& slot : slots_) {
        const bool host_open = slot.state.host_open; // Nothing to do with the guest.
        slot.state = {};
        slot.state.host_open = host_open;
    }
}

void VirtioSerial::save(Archive& archive) {
    for (Slot& slot : slots_) {
        archive.field("ready", slot.state.ready);
        archive.field("guest_open", slot.state.guest_open);
        archive.field("input", slot.state.input);
        archive.field("output_done", slot.state.output_done);
        if (archive.loading() && slot.state.input.size() > input_room) archive.fail("a port holds more than it can");
        if (slot.port.backend && archive.loading()) slot.port.backend->resume();
    }
    u64 count = messages_.size();
    archive.field("messages", count);
    if (count > most_messages) return archive.fail("more control messages than there can be");
    messages_.resize(count);
    for (Message& message : messages_) {
        archive.field("port", message.port);
        archive.field("event", message.event);
        archive.field("value", message.value);
        archive.field("text", message.text);
    }
}

} // namespace calque::devices
