// The PC around the processors: every device, its wires, and where it sits on the buses.
#pragma once

#include "devices/acpi_pm/acpi_pm.h"
#include "devices/bus/bus.h"
#include "devices/debugcon/debugcon.h"
#include "devices/entropy_source.h"
#include "devices/file_server.h"
#include "devices/floppy/floppy.h"
#include "devices/fw_cfg/fw_cfg.h"
#include "devices/hpet/hpet.h"
#include "devices/i8042/i8042.h"
#include "devices/i8237/i8237.h"
#include "devices/i8254/i8254.h"
#include "devices/i8259/i8259.h"
#include "devices/ide/piix3_ide.h"
#include "devices/ioapic/ioapic.h"
#include "devices/isa_debug_exit/isa_debug_exit.h"
#include "devices/lapic/apic_bus.h"
#include "devices/mc146818/mc146818.h"
#include "devices/pc_router/pc_router.h"
#include "devices/pci/i440fx.h"
#include "devices/pci/option_rom.h"
#include "devices/pci/pci_bridge.h"
#include "devices/pci/pci_bus.h"
#include "devices/pci/piix3.h"
#include "devices/pci/piix4_pm.h"
#include "devices/pci_hotplug/pci_hotplug.h"
#include "devices/pflash/pflash.h"
#include "devices/port92/port92.h"
#include "devices/post/post.h"
#include "devices/reset_control/reset_control.h"
#include "devices/uart16550/uart16550.h"
#include "devices/worker.h"
#include "frontend/backends/block/disk.h"
#include "frontend/backends/net/net_port.h"
#include "frontend/machine/config.h"
#include "frontend/machine/host_side.h"
#include "frontend/machine/inputs.h"
#include "frontend/machine/kinds/kinds.h"
#include "frontend/machine/memory.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace calque::machine {

// What the guest can ask of the machine as a whole. Called on any thread; each returns at once.
struct ChipsetEvents {
    std::function<void()> reset;
    std::function<void()> power_off;
    std::function<void(u32)> debug_exit; // The exit status.
    std::function<void()> smi;           // To the processor that wrote the port.
    std::function<void()> init;          // INIT to the processors: keyboard controller, port 92h, CF9's soft reset.
    std::function<void(bool)> set_a20;
    std::function<void(u32 slots)> slots_let_go; // The guest gives up the devices in these PCI slots.
};

// The character backends that devices use; null: not connected. Not owned.
struct ChipsetBackends {
    std::vector<devices::CharBackend*> serials; // By port; a port without a device is absent from `serial_present`.
    std::vector<bool> serial_present;
    devices::CharBackend* debugcon = nullptr;
    devices::Piix3Ide::Drives ide;                          // In the order of -hda to -hdd.
    std::array<backends::Disk*, 2> flash{};                 // The first one's end is at 4 GiB, the other lies below it.
    devices::Floppy::Drives floppies{};                     // -fda and -fdb.
    std::vector<backends::Disk*> disks;                     // All of them, whoever uses them.
    std::map<std::string, devices::EntropySource*> entropy; // By the id of their -object.
    std::map<std::string, backends::NetPort*> nets;         // By the id of their -netdev.
    std::map<std::string, devices::CharBackend*> chars;     // By the id of their -chardev: those that -device names.
    std::map<std::string, devices::FileServer*> folders;    // By the id of their -fsdev.
    devices::EntropySource* default_entropy = nullptr;
    devices::Worker* worker = nullptr; // For what devices do off the vCPUs' threads.
    // While the result lives, no backend calls a device and no device's task runs: input waits on the host. To be let
    // go of on the thread that asked. May be empty.
    std::function<std::shared_ptr<void>()> hold_input;
    HostSide* host = nullptr; // Opens what comes while the machine runs; null: nothing does.
};

class Chipset {
  public:
    static constexpr unsigned serial_port_count = 4;
    static constexpr unsigned pci_hotplug_event = 1; // GPE0's bit.

    Chipset(const MachineConfig& config, Log& log, Clock& clock, Memory& memory, const ChipsetBackends& backends,
            ChipsetEvents events);
    ~Chipset();

    devices::Bus& ports() { return ports_; }
    devices::Bus& memory_bus() { return memory_bus_; }
    devices::ApicBus& apics() { return apics_; }
    devices::I8259Pair& pic() { return pic_; }
    devices::IoApic& ioapic() { return ioapic_; }
    devices::FwCfg& fw_cfg() { return fw_cfg_; }
    devices::PciBus& pci() { return pci_; }
    devices::AcpiPm& pm() { return pm_; }
    devices::Mc146818& rtc() { return rtc_; }
    // The keyboards and pointers: what a person does goes in there.
    Inputs& inputs() { return inputs_; }
    // Where the power management ports are, if they are decoded.
    std::optional<u64> pm_base() const { return pm_function_.pm_base(); }
    // What firmware finds in CMOS: the letters of -boot order=.
    void set_boot_order(std::string_view letters);

    // Adds a device of -device. What it asks for was not looked at before.
    Result<void> plug(const DeviceRequest& request, Log& log, Clock& clock, Memory& memory,
                      const ChipsetBackends& backends);
    // The same while the machine runs, from Machine::request_stopped(): a PCI device into a free slot of the root bus,
    // or a USB device. When it fails everything is as before.
    Result<void> hot_plug(const DeviceRequest& request, Log& log, Clock& clock, Memory& memory,
                          const ChipsetBackends& backends);
    // What was plugged in, in that order.
    struct Plugged {
        DeviceRequest request;
        std::string name;
        std::string parent;                        // The device that it is on or in; empty: a bus of the board.
        devices::Device* device = nullptr;         // Null: it is part of its parent.
        devices::PciFunction* function = nullptr;  // Of the device.
        devices::InputDevice* input = nullptr;     // Likewise.
        std::unique_ptr<devices::OptionRom> rom{}; // Of the function.
        std::optional<unsigned> root_slot{};       // Where it is on the root bus.
        std::string place{};                       // "pci.0:04.0"; empty for what is no PCI device.
    };
    const std::vector<std::unique_ptr<Plugged>>& inventory() const { return inventory_; }
    // By what -device calls it (id=); null: there is none.
    const Plugged* find(std::string_view id) const;
    // Whether it can go while the machine runs, by itself or when the guest gives it up.
    Result<void> can_unplug(const Plugged& what) const;
    // Takes it out with all that is on it, from Machine::request_stopped(). Gives what went: the outermost first.
    std::vector<DeviceRequest> unplug(const std::string& name);
    devices::PciHotplug& pci_hotplug() { return pci_hotplug_; }
    // Puts something before or behind the others in the order in which firmware boots: the least index first. Firmware
    // finds it by its Open Firmware device path. An error when the index is taken.
    Result<void> add_boot_entry(u64 index, std::string path);
    // Its lines, for the file "bootorder" of fw_cfg.
    std::string boot_order() const;
    // Those of plug(), in their order.
    const std::vector<std::unique_ptr<devices::Device>>& plugged() const { return plugged_; }

    // The screens, the first one first.
    const std::vector<devices::Display*>& displays() const { return displays_; }

    // Puts the flash chips below 4 GiB.
    Result<void> add_flash(const ChipsetBackends& backends, Log& log);
    // The last bytes below 4 GiB, when they are a flash chip's: the firmware.
    std::span<u8> flash_firmware() { return flash_.empty() ? std::span<u8>() : flash_[0]->contents(); }

    // Puts devices that were plugged in into the order of these names, in which a saved state has them.
    void order_as(const std::vector<std::string>& names);
    void set_ferr(bool level) { router_.set_irq(devices::PcRouter::ferr, level); }
    void reset();
    void serialize(Archive& archive);
    // Every device, in the order in which they are reset and saved: who drives a line comes before who samples it, so
    // that the sampler's own state has the last word.
    const std::vector<devices::Device*>& devices() const { return all_; }

  private:
    // PIRQA#-PIRQD# go to the ISA bridge, which steers them to an ISA IRQ, and to IOAPIC pins 16 to 19.
    class PirqFanout final : public devices::IrqSink {
      public:
        PirqFanout(devices::IrqSink& bridge, devices::IrqSink& router) : bridge_(bridge), router_(router) {}
        void set_irq(unsigned pirq, bool level) override {
            bridge_.set_irq(pirq, level);
            router_.set_irq(devices::PcRouter::gsi + 16 + pirq, level);
        }

      private:
        devices::IrqSink& bridge_;
        devices::IrqSink& router_;
    };

    void map_ports(const MachineConfig& config);
    // A PCI bus as -device names it.
    struct NamedBus {
        std::string name;
        devices::PciBus* bus;
        std::string boot_path;
        unsigned first_slot; // That a device gets which asks for none.
        std::vector<devices::Device*> devices{};
    };
    Result<NamedBus*> bus_for(const DeviceRequest& request);
    Result<std::string> attach(devices::PciFunction& function, const DeviceRequest& request, const NamedBus& bus,
                               std::string_view boot_node, Plugged& entry);
    void add_bridge(devices::PciBridge& bridge, std::string boot_path);
    void reset_behind(const devices::PciBus& bus);
    Result<std::string> plug_as(const DeviceRequest& request, std::string name, Log& log, Clock& clock, Memory& memory,
                                const ChipsetBackends& backends);
    Result<std::string> name_for(const DeviceRequest& request) const;
    void forget(const Plugged& what);
    void watch_slot(unsigned slot, bool tell);
    Result<std::unique_ptr<devices::OptionRom>> option_rom(devices::PciFunction& function, const DeviceRequest& request,
                                                           std::string_view own);
    void update_a20();
    void fill_cmos(const MachineConfig& config, const Memory& memory);
    void describe_drives(const devices::Piix3Ide::Drives& drives);
    void describe_floppies(const devices::Floppy::Drives& drives);

    ChipsetEvents events_;
    devices::Bus ports_, memory_bus_;
    devices::ApicBus apics_;
    devices::IrqFanout intr_;
    devices::I8259Pair pic_;
    devices::IoApic ioapic_;
    devices::PcRouter router_;
    devices::I8254 pit_;
    devices::Mc146818 rtc_;
    std::unique_ptr<devices::Hpet> hpet_; // Null with hpet=off.
    devices::AcpiPm pm_;
    devices::PciHotplug pci_hotplug_;
    devices::FwCfg fw_cfg_;
    devices::PciBus pci_;
    devices::I440fx host_bridge_;
    devices::Piix3 isa_bridge_;
    devices::Piix3Ide ide_;
    devices::Piix4Pm pm_function_;
    PirqFanout pirq_;
    devices::I8237 dma_;
    std::unique_ptr<devices::Floppy> floppy_; // Null without drives.
    std::atomic<bool> a20_keyboard_{false}, a20_fast_{false};
    devices::I8042 keyboard_;
    Inputs inputs_{keyboard_};
    devices::Port92 port92_;
    devices::ResetControl reset_control_;
    devices::PostPort post_;
    std::unique_ptr<devices::Debugcon> debugcon_;
    std::unique_ptr<devices::IsaDebugExit> debug_exit_;
    std::vector<std::unique_ptr<devices::Uart16550>> uarts_;
    std::vector<std::unique_ptr<devices::Pflash>> flash_;
    const unsigned cpus_;
    const std::vector<std::string> firmware_folders_; // Where option ROMs are looked for first.
    const bool network_boot_;
    std::vector<std::unique_ptr<Plugged>> inventory_; // Before the devices whose functions have its ROMs.
    std::vector<std::unique_ptr<NamedBus>> buses_;
    std::map<u64, std::string> boot_order_;
    std::vector<std::unique_ptr<devices::Device>> plugged_; // A bridge comes before what is behind it.
    std::vector<devices::Display*> displays_;
    std::vector<std::unique_ptr<DriveController>> controllers_;
    DriveControllers controller_names_;
    std::vector<devices::Device*> all_;
};

} // namespace calque::machine
