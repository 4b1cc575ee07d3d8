// A USB host controller (xHCI 1.2): USB 2 ports, USB 3 ports with nothing in them, MSI-X. Of transfers there are
// those of input devices: control, and interrupts to the host.
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_dma.h"
#include "devices/usb/usb_device.h"
#include "devices/usb/xhci_registers.h"
#include "devices/worker.h"

#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace calque::devices {

// Rings are worked on by the worker. A block is only taken from one when the event ring has room for what it leads to,
// so that no event is ever lost.
class Xhci final : public Device, private UsbSocket {
  public:
    struct Options {
        u16 vendor, device;
        u8 revision;
        unsigned usb2 = 4, usb3 = 4; // Ports, 1 to xhci::most_ports of each.
    };
    Xhci(Log& log, DmaPort& memory, Clock& clock, Worker& worker, const Options& options, std::string name);
    ~Xhci() override;

    // Into a USB 2 port, numbered from 1; the first free one where none is named. Not owned. False: there is no such
    // port that is free.
    bool plug(UsbDevice& device, std::optional<unsigned> port);

    PciFunction& function() { return pci_; }
    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class Registers final : public IoRegion { // BAR 0.
      public:
        explicit Registers(Xhci& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Xhci& device_;
    };
    struct Ring {
        u64 at = 0;
        bool cycle = false;
    };
    struct Endpoint {
        xhci::EndpointState state = xhci::EndpointState::disabled;
        u8 type = 0;
        Ring ring;
        bool rung = false; // The driver has said that there is something in the ring.
        // The transfer under way.
        bool begun = false;    // The device was asked.
        bool skipping = false; // A short packet has ended it; the rest of its blocks is passed over.
        u64 setup = 0;         // The setup packet.
        std::vector<u8> data;  // From the device, or for it.
        u32 done = 0;          // Bytes of `data` that the guest has.
        u32 moved = 0;         // Since the last event data block.
    };
    struct Slot {
        bool enabled = false;
        xhci::SlotState state = xhci::SlotState::enabled;
        u8 port = 0;     // From 1, of USB 2.
        u64 context = 0; // The device context.
        std::array<Endpoint, xhci::endpoints> endpoints;
    };
    struct Port {
        u32 status = xhci::PORT_POWER | xhci::LINK_NO_DEVICE << 5;
        bool news = false; // An event is to tell of it.
    };
    struct Interrupter {
        u32 management = 0, moderation = 4000, table_size = 0;
        u64 table = 0, dequeue = 0;
        u64 base = 0; // The one segment.
        u32 size = 0, index = 0;
        bool cycle = true;
    };
    struct State {
        u32 command = 0, status = xhci::STS_HALTED, notifications = 0, configuration = 0;
        u64 contexts = 0; // DCBAAP.
        Ring commands;
        bool commands_run = false;
        std::array<Port, 2 * xhci::most_ports> ports; // USB 2, then USB 3.
        std::array<Interrupter, xhci::interrupters> interrupters;
        std::array<Slot, xhci::slots + 1> slots; // From 1.
    };
    enum class Fetched : u8 { nothing, block, bad };

    void notice() override { task_->schedule(); }
    void pull(UsbDevice& device) override;

    static PciDescriptor describe(const std::string& name, const Options& options, IoRegion& registers);

    // --- Registers (xhci.cpp)
    u32 read_register(u64 offset);
    u32 read_operational(u64 offset);
    u32 read_runtime(u64 offset);
    void write_register(u64 offset, u32 value);
    void write_operational(u64 offset, u32 value);
    void write_runtime(u64 offset, u32 value);
    void write_command(u32 value);
    void write_command_ring(u64 offset, u32 value);
    void write_port(unsigned number, u32 value);
    void change_port(unsigned number);
    u32 port_status(unsigned number) const;
    void ring_doorbell(unsigned slot, u32 value);
    void reset_controller();
    bool running() const { return (state_.command & xhci::CMD_RUN) && !(state_.status & xhci::STS_HSE); }
    void fatal(std::string_view why);

    // --- Rings and events (xhci_rings.cpp)
    void run();
    bool read_block(u64 at, xhci::Trb& block);
    bool read_context(u64 at, xhci::Context& context);
    bool write_context(u64 at, const xhci::Context& context);
    Fetched fetch(Ring& ring, xhci::Trb& block);
    void take_table(Interrupter& interrupter);
    bool room(unsigned interrupter);
    void post(unsigned interrupter, xhci::Trb event);
    void raise(unsigned interrupter);
    void deliver();
    void update_pin();
    void tell_ports();

    // --- Commands (xhci_commands.cpp)
    bool step_command();
    xhci::Code execute(const xhci::Trb& block, unsigned& slot);
    xhci::Code enable_slot(unsigned& slot);
    xhci::Code address_device(unsigned slot, const xhci::Trb& block);
    xhci::Code configure_endpoints(unsigned slot, const xhci::Trb& block);
    xhci::Code evaluate_context(unsigned slot, const xhci::Trb& block);
    xhci::Code reset_device(unsigned slot);
    xhci::Code endpoint_command(unsigned slot, const xhci::Trb& block);
    void start_endpoint(Slot& slot, unsigned endpoint, xhci::Context& context);
    bool write_endpoint(const Slot& slot, unsigned endpoint);
    bool write_slot(const Slot& slot, u32 entries, u8 address);

    // --- Transfers (xhci_transfers.cpp)
    bool step_transfer(unsigned slot, unsigned endpoint);
    bool step_control(unsigned slot, unsigned endpoint, const xhci::Trb& block, UsbDevice& device);
    bool step_interrupt(unsigned slot, unsigned endpoint, const xhci::Trb& block, UsbDevice& device);
    bool ask_device(Endpoint& endpoint, UsbDevice& device);
    bool move_in(unsigned slot, unsigned endpoint, const xhci::Trb& block);
    bool move_out(Endpoint& endpoint, const xhci::Trb& block);
    void end_block(unsigned slot, unsigned endpoint, const xhci::Trb& block, u32 left, xhci::Code code);
    void halt(unsigned slot, unsigned endpoint, const xhci::Trb& block, xhci::Code code, xhci::EndpointState state);
    UsbDevice* device_of(const Slot& slot);

    void serialize_state(Archive& archive);

    Log& log_;
    Clock& clock_;
    const Options options_;
    const unsigned ports_;
    const std::string name_;
    Registers registers_{*this};
    PciFunction pci_;
    PciDma memory_;
    std::array<UsbDevice*, xhci::most_ports> devices_{}; // In USB 2 ports.
    std::mutex mutex_;
    State state_;
    bool pin_ = false;
    std::unique_ptr<Task> task_; // Last.
};

} // namespace calque::devices
