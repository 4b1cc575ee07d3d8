#include "devices/usb/xhci.h"

#include <algorithm>

namespace calque::devices {

using namespace xhci;

PciDescriptor Xhci::describe(const std::string& name, const Options& options, IoRegion& registers) {
    PciDescriptor d;
    d.name = name + "_pci";
    d.vendor_id = options.vendor;
    d.device_id = options.device;
    d.revision_id = options.revision;
    d.class_code = 0x0C0330;
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.interrupt_pin = 1;
    d.bars[0] = {PciBar::Kind::memory64, space, false, &registers};
    constexpr unsigned serial_bus_release = 0x60;
    d.registers.push_back({serial_bus_release, {0x30}, {}, {}}); // 5.2.3: USB 3.0.
    d.msix.vectors = interrupters;
    d.msix.bar = 2;
    return d;
}

Xhci::Xhci(Log& log, DmaPort& memory, Clock& clock, Worker& worker, const Options& options, std::string name)
    : log_(log), clock_(clock), options_(options), ports_(options.usb2 + options.usb3), name_(std::move(name)),
      pci_(describe(name_, options, registers_), log), memory_(pci_, memory),
      task_(worker.make_task([this] { run(); })) {}

Xhci::~Xhci() {
    task_.reset();
    for (UsbDevice* const device : devices_)
        if (device) device->set_socket(nullptr);
}

// What is in a slot for it ends with transaction errors, until the driver has heard.
void Xhci::pull(UsbDevice& device) {
    std::lock_guard lock(mutex_);
    const auto found = std::find(devices_.begin(), devices_.end(), &device);
    if (found == devices_.end()) return;
    *found = nullptr;
    change_port(static_cast<unsigned>(found - devices_.begin()));
}

bool Xhci::plug(UsbDevice& device, std::optional<unsigned> port) {
    std::lock_guard lock(mutex_);
    for (unsigned i = 0; i < options_.usb2; ++i) {
        if (devices_[i] || (port && *port != i + 1)) continue;
        devices_[i] = &device;
        device.set_socket(this);
        device.bus_reset();
        change_port(i);
        return true;
    }
    return false;
}

// 4.19.3: a device has come or gone.
void Xhci::change_port(unsigned number) {
    constexpr u32 kept = PORT_POWER | PORT_INDICATOR | PORT_WAKE | PORT_CHANGES;
    Port& port = state_.ports[number];
    port.status = (port.status & kept) | PORT_CONNECT_CHANGE | port_status(number);
    port.news = running();
    task_->schedule();
}

u32 Xhci::port_status(unsigned number) const {
    const UsbDevice* const device = number < options_.usb2 ? devices_[number] : nullptr;
    if (!device) return LINK_NO_DEVICE << 5;
    return PORT_CONNECTED | LINK_POLLING << 5 | static_cast<u32>(device->speed()) << 10;
}

void Xhci::reset() {
    {
        std::lock_guard lock(mutex_);
        reset_controller();
    }
    pci_.reset();
}

void Xhci::reset_controller() {
    state_ = {};
    for (unsigned i = 0; i < options_.usb2; ++i) {
        UsbDevice* const device = devices_[i];
        if (!device) continue;
        device->bus_reset();
        state_.ports[i].status = PORT_POWER | PORT_CONNECT_CHANGE | port_status(i);
    }
    update_pin();
}

// What a driver has got so wrong that there is no going on (4.10.2.6).
void Xhci::fatal(std::string_view why) {
    if (state_.status & STS_HSE) return;
    log_.unimplemented(Channel::bus, fmt::format("{}.driver-error", name_));
    log_.trace(Channel::bus, "{}: stopped: {}", name_, why);
    state_.command &= ~CMD_RUN;
    state_.status |= STS_HSE | STS_HALTED;
}

// --- Reading. Registers are doublewords; other sizes are parts of them.

u64 Xhci::Registers::read(u64 offset, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    u64 value = device_.read_register(offset & ~u64{3});
    if (size == 8) value |= u64{device_.read_register((offset & ~u64{3}) + 4)} << 32;
    return value >> (8 * (offset & 3));
}

u32 Xhci::read_register(u64 offset) {
    constexpr u32 release = 0x0100;
    if (offset >= doorbells) return 0;
    if (offset >= runtime) return read_runtime(offset - runtime);
    if (offset >= extended) { // 7.2: the ports of each protocol.
        const std::array<u32, 8> protocols{0x0200'0402,
                                           0x2042'5355,
                                           1 | options_.usb2 << 8,
                                           0,
                                           0x0300'0002,
                                           0x2042'5355,
                                           (options_.usb2 + 1) | options_.usb3 << 8,
                                           0};
        const u64 index = (offset - extended) / 4;
        return index < protocols.size() ? protocols[index] : 0;
    }
    if (offset >= operational) return read_operational(offset - operational);
    switch (offset) {
    case CAPLENGTH: return operational | release << 16;
    case HCSPARAMS1: return slots | interrupters << 8 | ports_ << 24;
    case HCSPARAMS2: return 0xF;                      // One segment in a table of the event ring; no scratchpad.
    case HCCPARAMS1: return 1 | (extended / 4) << 16; // Addresses of 64 bits; contexts of 32 bytes.
    case DBOFF: return doorbells;
    case RTSOFF: return runtime;
    default: return 0;
    }
}

u32 Xhci::read_operational(u64 offset) {
    if (offset >= port_registers - operational) {
        const u64 at = offset - (port_registers - operational), number = at / 16;
        return number < ports_ && at % 16 == 0 ? state_.ports[number].status : 0;
    }
    switch (offset) {
    case USBCMD: return state_.command;
    case USBSTS: return state_.status;
    case PAGESIZE: return 1; // 4 KiB.
    case DNCTRL: return state_.notifications;
    case CRCR: return state_.commands_run ? CRCR_RUNNING : 0;
    case DCBAAP: return static_cast<u32>(state_.contexts);
    case DCBAAP + 4: return static_cast<u32>(state_.contexts >> 32);
    case CONFIG: return state_.configuration;
    default: return 0;
    }
}

u32 Xhci::read_runtime(u64 offset) {
    constexpr Nanoseconds microframe = 125'000;
    constexpr u32 frames = 0x3FFF;
    if (offset == 0) return running() ? static_cast<u32>(clock_.now() / microframe) & frames : 0; // MFINDEX.
    const u64 number = offset / 32 - 1; // Below the first it wraps to what there is not.
    if (number >= interrupters) return 0;
    const Interrupter& i = state_.interrupters[number];
    switch (offset % 32) {
    case 0x00: return i.management;
    case 0x04: return i.moderation;
    case 0x08: return i.table_size;
    case 0x10: return static_cast<u32>(i.table);
    case 0x14: return static_cast<u32>(i.table >> 32);
    case 0x18: return static_cast<u32>(i.dequeue);
    case 0x1C: return static_cast<u32>(i.dequeue >> 32);
    default: return 0;
    }
}

// --- Writing

namespace {
void set_low(u64& value, u32 low) { value = (value & ~u64{0xFFFF'FFFF}) | low; }
void set_high(u64& value, u32 high) { value = (value & 0xFFFF'FFFF) | u64{high} << 32; }
} // namespace

void Xhci::Registers::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    if (size < 4 || offset % 4 != 0) return device_.log_.unimplemented(Channel::bus, "xhci.narrow-write");
    device_.write_register(offset, static_cast<u32>(value));
    if (size == 8) device_.write_register(offset + 4, static_cast<u32>(value >> 32));
}

void Xhci::write_register(u64 offset, u32 value) {
    if (offset >= doorbells) return ring_doorbell(static_cast<unsigned>((offset - doorbells) / 4), value);
    if (offset >= runtime) return write_runtime(offset - runtime, value);
    if (offset >= operational && offset < extended) write_operational(offset - operational, value);
}

void Xhci::write_operational(u64 offset, u32 value) {
    if (offset >= port_registers - operational) {
        const u64 at = offset - (port_registers - operational);
        if (at / 16 < ports_ && at % 16 == 0) write_port(static_cast<unsigned>(at / 16), value);
        return;
    }
    switch (offset) {
    case USBCMD: return write_command(value);
    case USBSTS: state_.status &= ~(value & (STS_HSE | STS_EINT | STS_PCD | STS_SRE)); return update_pin();
    case DNCTRL: state_.notifications = value & 0xFFFF; return;
    case CRCR:
    case CRCR + 4: return write_command_ring(offset, value);
    case DCBAAP: return set_low(state_.contexts, value & ~u32{63});
    case DCBAAP + 4: return set_high(state_.contexts, value);
    case CONFIG: state_.configuration = value & 0x3FF; return;
    default: return;
    }
}

void Xhci::write_command(u32 value) {
    if (value & CMD_RESET) return reset_controller();
    state_.command = value & (CMD_RUN | CMD_INTE | CMD_HSEE | CMD_EWE);
    if (value & CMD_SAVE) log_.unimplemented(Channel::bus, "xhci.save-state");
    if (value & CMD_RESTORE) state_.status |= STS_SRE; // 4.23.2: a driver then begins anew.
    if (value & CMD_RUN) {
        state_.status &= ~STS_HALTED;
        for (Port& port : state_.ports)
            port.news |= (port.status & PORT_CHANGES) != 0;
        task_->schedule();
    } else {
        state_.status |= STS_HALTED;
        state_.commands_run = false;
    }
    deliver();
}

// 5.4.5: the pointer is heeded while the ring stands still.
void Xhci::write_command_ring(u64 offset, u32 value) {
    if (offset != CRCR) {
        if (!state_.commands_run) set_high(state_.commands.at, value);
        return;
    }
    if (value & (CRCR_STOP | CRCR_ABORT)) {
        if (!std::exchange(state_.commands_run, false)) return;
        if (room(0))
            post(0, {state_.commands.at, u32{static_cast<u8>(Code::command_ring_stopped)} << 24,
                     u32{TRB_COMMAND_COMPLETION} << 10});
        return;
    }
    if (state_.commands_run) return;
    set_low(state_.commands.at, value & ~u32{63});
    state_.commands.cycle = value & CRCR_CYCLE;
}

void Xhci::write_port(unsigned number, u32 value) {
    Port& port = state_.ports[number];
    UsbDevice* const device = number < options_.usb2 ? devices_[number] : nullptr;
    port.status &= ~(value & PORT_CHANGES);
    port.status = (port.status & ~(PORT_INDICATOR | PORT_WAKE)) | (value & (PORT_INDICATOR | PORT_WAKE));
    if (!device) return;
    const auto set_link = [&](u32 link) { port.status = (port.status & ~PORT_LINK) | link << 5; };
    if (value & PORT_ENABLED) { // Writing 1 disables.
        port.status &= ~PORT_ENABLED;
        set_link(LINK_POLLING);
    }
    if (value & PORT_RESET) {
        device->bus_reset();
        set_link(LINK_U0);
        port.status |= PORT_ENABLED | PORT_RESET_CHANGE;
        port.news = true;
    } else if ((value & PORT_LINK_WRITE) && (port.status & PORT_ENABLED)) {
        const u32 link = (value & PORT_LINK) >> 5, before = (port.status & PORT_LINK) >> 5;
        if (link != LINK_U0 && link != LINK_U3 && link != LINK_RESUME) return;
        set_link(link);
        if (link == LINK_U0 && before != LINK_U0) {
            port.status |= PORT_LINK_CHANGE;
            port.news = true;
        }
    }
    task_->schedule();
}

void Xhci::ring_doorbell(unsigned slot, u32 value) {
    if (slot > slots || !running()) return;
    if (slot == 0) {
        state_.commands_run = true;
        return task_->schedule();
    }
    const unsigned number = value & 0xFF;
    if (number == 0 || number >= endpoints || !state_.slots[slot].enabled) return;
    Endpoint& endpoint = state_.slots[slot].endpoints[number];
    if (endpoint.state != EndpointState::running && endpoint.state != EndpointState::stopped) return;
    if (endpoint.state == EndpointState::stopped) {
        endpoint.state = EndpointState::running;
        static_cast<void>(write_endpoint(state_.slots[slot], number));
    }
    endpoint.rung = true;
    task_->schedule();
}

void Xhci::write_runtime(u64 offset, u32 value) {
    const u64 number = offset / 32 - 1;
    if (offset < 32 || number >= interrupters) return;
    Interrupter& i = state_.interrupters[number];
    switch (offset % 32) {
    case 0x00:
        i.management = (i.management & ~IMAN_ENABLE & ~(value & IMAN_PENDING)) | (value & IMAN_ENABLE);
        return deliver();
    case 0x04: i.moderation = value; return;
    case 0x08: i.table_size = value & 0xFFFF; return;
    case 0x10: return set_low(i.table, value & ~u32{63});
    case 0x14: set_high(i.table, value); return take_table(i);
    case 0x18: { // Bit 3 is cleared by writing it.
        const u64 busy = i.dequeue & ERDP_BUSY & ~u64{value};
        set_low(i.dequeue, value & ~u32{15});
        i.dequeue |= busy | (value & 7);
        return;
    }
    case 0x1C:
        set_high(i.dequeue, value);
        // What came meanwhile is told of again.
        if (i.size != 0 && !(i.dequeue & ERDP_BUSY) && (i.dequeue & ~u64{15}) != i.base + u64{i.index} * trb_size)
            raise(static_cast<unsigned>(number));
        return task_->schedule();
    default: return;
    }
}

// --- Saving

void Xhci::serialize(Archive& archive) {
    {
        std::lock_guard lock(mutex_);
        archive.section(name_, 1, [&](u32) { serialize_state(archive); });
        if (archive.loading()) {
            if (!archive.ok()) state_ = {};
            pin_ = false;
        }
    }
    pci_.serialize(archive);
    if (!archive.loading()) return;
    std::lock_guard lock(mutex_);
    update_pin();
    task_->schedule();
}

} // namespace calque::devices
