// What the machine starts with: firmware and what it is told, or a kernel without any.
#include "devices/lapic/lapic_registers.h"
#include "firmware/direct_boot.h"
#include "firmware/fw_cfg/files.h"
#include "firmware/loaders/firmware_kernel.h"
#include "firmware/post/post.h"
#include "frontend/machine/firmware_files.h"
#include "frontend/machine/host_file.h"
#include "frontend/machine/machine.h"

#include <algorithm>
#include <filesystem>

namespace calque::machine {

namespace {
constexpr char kernel_rom[] = "genroms/linux.rom"; // SeaBIOS runs the ROMs of this folder.
constexpr u64 largest_image = u64{2} << 30;        // Of a kernel or an initrd: they are loaded below 4 GiB.
} // namespace

Result<void> Machine::read_images() {
    if (!config_.kernel.empty()) {
        auto kernel = read_host_file(config_.kernel, "-kernel", largest_image);
        if (!kernel) return kernel.error();
        kernel_ = std::move(*kernel);
    }
    if (!config_.initrd.empty()) {
        if (config_.kernel.empty()) return error("-initrd '{}' needs a -kernel to go with it", config_.initrd);
        auto initrd = read_host_file(config_.initrd, "-initrd", largest_image);
        if (!initrd) return initrd.error();
        initrd_ = std::move(*initrd);
    }
    return {};
}

bool MachineConfig::boots_network() const {
    return boot.from_network() || std::any_of(devices.begin(), devices.end(), [](const DeviceRequest& device) {
               return device.has("netdev") && device.has("bootindex");
           });
}

// A machine with disks and without a kernel or a -bios gets Debian's SeaBIOS; a name without a folder is looked for
// where firmware lies.
Result<void> Machine::find_firmware() {
    if (config_.bios.empty() && (!config_.kernel.empty() || (backends_.disks.empty() && !config_.boots_network())))
        return {};
    const std::string name = config_.bios.empty() ? "bios-256k.bin" : config_.bios;
    const std::string path = machine::find_firmware(name, config_.firmware_folders);
    if (!path.empty() || !config_.bios.empty()) {
        if (!path.empty()) config_.bios = path; // Else opening it says what is wrong.
        return {};
    }
    return error("there is no BIOS: {} is not in {}; install Debian's package seabios, or name an image with -bios",
                 name, firmware_places(config_.firmware_folders));
}

Result<void> Machine::add_fw_cfg_files() {
    for (const auto& file : config_.fw_cfg) {
        std::vector<u8> data(file.string.begin(), file.string.end());
        if (!file.file.empty()) {
            auto read = read_host_file(file.file, "-fw_cfg", largest_image);
            if (!read) return read.error();
            data = std::move(*read);
        }
        if (auto added = chipset_->fw_cfg().add_file(file.name, std::move(data)); !added) return added.error();
    }
    return {};
}

// For firmware to start: OVMF reads the items, SeaBIOS runs the ROM.
Result<void> Machine::offer_kernel() {
    namespace key = devices::fw_cfg_key;
    firmware::BootRequest request;
    request.kernel = kernel_;
    request.kernel_name = config_.kernel;
    request.command_line = config_.append;
    if (!config_.initrd.empty()) request.modules.push_back({initrd_, config_.initrd, {}});
    auto parts = firmware::firmware_kernel(memory_->layout(), request);
    if (!parts) return parts.error();
    devices::FwCfg& fw_cfg = chipset_->fw_cfg();
    const auto add = [&](u16 address_key, u32 address, u16 size_key, u16 data_key, std::span<const u8> data) {
        fw_cfg.add_u32(address_key, address);
        fw_cfg.add_u32(size_key, static_cast<u32>(data.size()));
        fw_cfg.add(data_key, std::vector<u8>(data.begin(), data.end()));
    };
    using Parts = firmware::FirmwareKernel;
    add(key::SETUP_ADDR, Parts::setup_address, key::SETUP_SIZE, key::SETUP_DATA, parts->setup);
    add(key::KERNEL_ADDR, Parts::kernel_address, key::KERNEL_SIZE, key::KERNEL_DATA, parts->kernel);
    add(key::CMDLINE_ADDR, Parts::command_line_address, key::CMDLINE_SIZE, key::CMDLINE_DATA, parts->command_line);
    add(key::INITRD_ADDR, parts->initrd_address, key::INITRD_SIZE, key::INITRD_DATA, parts->initrd);
    return fw_cfg.add_file(kernel_rom, std::move(parts->rom));
}

Result<void> Machine::describe_to_firmware() {
    namespace key = devices::fw_cfg_key;
    devices::FwCfg& fw_cfg = chipset_->fw_cfg();
    fw_cfg.add_u64(key::RAM_SIZE, config_.ram_bytes);
    fw_cfg.add_u16(key::NB_CPUS, static_cast<u16>(config_.cpus));
    fw_cfg.add_u16(key::MAX_CPUS, static_cast<u16>(config_.cpus));
    fw_cfg.add_u16(key::NOGRAPHIC, 1);
    fw_cfg.add_u16(key::BOOT_MENU, config_.boot.menu);
    if (!memory_->has_firmware()) return {};
    const auto add_number = [&](std::string_view name, u64 value, unsigned size) -> Result<void> {
        std::vector<u8> bytes;
        for (unsigned i = 0; i < size; ++i)
            bytes.push_back(static_cast<u8>(value >> (8 * i)));
        const auto same = [&](const auto& file) { return file.name == name; };
        if (std::any_of(config_.fw_cfg.begin(), config_.fw_cfg.end(), same)) return {}; // The user's own comes.
        return fw_cfg.add_file(name, std::move(bytes));
    };
    if (config_.boot.menu_milliseconds != 0)
        if (auto added = add_number("etc/boot-menu-wait", config_.boot.menu_milliseconds, 2); !added) return added;
    if (config_.boot.retry_milliseconds)
        if (auto added = add_number("etc/boot-fail-wait", *config_.boot.retry_milliseconds, 4); !added) return added;
    std::string order = chipset_->boot_order();
    if (!kernel_.empty()) {
        if (auto offered = offer_kernel(); !offered) return offered;
        order = std::string("/rom@") + kernel_rom + (order.empty() ? "" : "\n") + order;
    }
    if (config_.boot.strict) order += order.empty() ? "HALT" : "\nHALT";
    if (!order.empty()) {
        std::vector<u8> lines(order.begin(), order.end());
        lines.push_back(0);
        if (auto added = fw_cfg.add_file("bootorder", std::move(lines)); !added) return added;
    }
    // SeaBIOS shows its text, and that of whoever calls INT 10h, on a serial port where nobody sees a screen.
    const bool no_screen = config_.serial_console || chipset_->displays().empty();
    if (no_screen && !serial_present_.empty() && serial_present_[0])
        if (auto added = add_number("etc/sercon-port", 0x3F8, 2); !added) return added;
    for (auto& file : firmware::fw_cfg_files(platform())) {
        devices::FwCfg::Item item{std::move(file.bytes), false, {}, {}};
        // By the time that firmware asks for the tables it has put things where it wants them: OVMF's power management
        // block is not where SeaBIOS has it.
        if (file.name == "etc/acpi/tables") item.on_select = [this](std::vector<u8>& data) { refresh_acpi(data); };
        if (auto added = fw_cfg.add_active_file(file.name, std::move(item)); !added) return added.error();
    }
    return {};
}

void Machine::refresh_acpi(std::vector<u8>& tables) {
    firmware::Platform platform = this->platform();
    if (const auto base = chipset_->pm_base()) {
        platform.pm_base = static_cast<u16>(*base);
        platform.gpe0_base = static_cast<u16>(*base + devices::AcpiPm::gpe0);
    }
    for (auto& file : firmware::fw_cfg_files(platform))
        if (file.name == "etc/acpi/tables" && file.bytes.size() == tables.size()) tables = std::move(file.bytes);
}

firmware::Platform Machine::platform() const {
    firmware::Platform platform;
    platform.ram = memory_->layout();
    platform.apic_ids.clear();
    for (u32 i = 0; i < config_.cpus; ++i)
        platform.apic_ids.push_back(i);
    const auto leaf1 = vcpus_[0]->cpu().cpuid(1, 0);
    platform.cpuid_signature = leaf1.eax;
    platform.cpuid_features = leaf1.edx;
    platform.physical_address_bits = mmu::physical_address_bits;
    platform.local_apic_version = static_cast<u8>(devices::lapic_version); // Linux compares the two.
    platform.ioapic_version = 0x20;
    platform.hpet = config_.hpet;
    platform.hpet_id = devices::Hpet::block_id;
    platform.gpe0_base = static_cast<u16>(platform.pm_base + devices::AcpiPm::gpe0);
    platform.pci_hotplug_base = devices::PciHotplug::default_base;
    platform.pci_hotplug_event = Chipset::pci_hotplug_event;
    platform.s5_sleep_type = devices::AcpiPm::sleep_type_s5;
    platform.com1 = !serial_present_.empty() && serial_present_[0];
    platform.com2 = serial_present_.size() > 1 && serial_present_[1];
    platform.pirq_gsi = 16;
    platform.identity = config_.identity;
    platform.vga =
        !boots_directly() && !chipset_->displays().empty(); // Its BIOS has not run where there is no firmware.
    return platform;
}

namespace {
class BusPorts final : public firmware::PortAccess {
  public:
    explicit BusPorts(devices::Bus& bus) : bus_(bus) {}
    u32 in(u16 port, unsigned size) override { return static_cast<u32>(bus_.read(port, size)); }
    void out(u16 port, unsigned size, u32 value) override { bus_.write(port, value, size); }

  private:
    devices::Bus& bus_;
};
} // namespace

Result<void> Machine::power_on() {
    chipset_->set_boot_order(!booted_once_ && !config_.boot.once.empty() ? config_.boot.once
                             : config_.boot.order.empty()                ? "cad"
                                                                         : config_.boot.order);
    booted_once_ = true;
    chipset_->reset();
    memory_->map().set_a20(true);
    for (auto& vcpu : vcpus_)
        vcpu->reset();
    if (!boots_directly()) return {};
    firmware::Platform description = platform();
    BusPorts ports(chipset_->ports());
    firmware::power_on_self_test(ports, description);
    firmware::BootRequest request;
    request.kernel = kernel_;
    request.kernel_name = config_.kernel;
    request.command_line = config_.append;
    if (initrd_.empty() && !config_.initrd.empty()) { // Given back below.
        auto initrd = read_host_file(config_.initrd, "-initrd", largest_image);
        if (!initrd) return initrd.error();
        initrd_ = std::move(*initrd);
    }
    if (!initrd_.empty()) request.modules.push_back({initrd_, config_.initrd, {}});
    auto boot = firmware::direct_boot(*memory_, description, request);
    if (!boot) return boot.error();
    // The guest has its copy. A reset reads the file again, unless it can be read only once.
    std::error_code ignored;
    if (std::filesystem::is_regular_file(config_.initrd, ignored)) std::vector<u8>().swap(initrd_);
    for (const std::string& note : boot->notes)
        fmt::print(stderr, "calque: {}\n", note);
    apply(*boot);
    return {};
}

void Machine::apply(const firmware::BootState& boot) {
    cpu::Cpu& cpu = vcpus_[0]->cpu();
    auto& s = cpu.state;
    const u64 gprs[] = {boot.rax, boot.rcx, boot.rdx, boot.rbx, boot.rsp, boot.rbp, boot.rsi, boot.rdi};
    std::copy(std::begin(gprs), std::end(gprs), s.gpr.begin());
    s.rip() = boot.rip;
    cpu::write_rflags(s, boot.rflags);
    const std::pair<cpu::Segment, const firmware::BootSegment*> segments[] = {
        {cpu::es, &boot.es}, {cpu::cs, &boot.cs}, {cpu::ss, &boot.ss},     {cpu::ds, &boot.ds},
        {cpu::fs, &boot.fs}, {cpu::gs, &boot.gs}, {cpu::ldtr, &boot.ldtr}, {cpu::tr, &boot.tr}};
    for (const auto& [which, from] : segments)
        s.segment[which] = {from->selector, from->rights, from->limit, from->base};
    s.gdtr = {boot.gdtr.base, boot.gdtr.limit};
    s.idtr = {boot.idtr.base, boot.idtr.limit};
    s.cr0 = boot.cr0;
    s.cr3 = boot.cr3;
    s.cr4 = boot.cr4;
    s.efer = boot.efer;
    cpu.update_mode();
    for (auto& vcpu : vcpus_)
        for (const auto& msr : boot.msrs)
            if (!vcpu->cpu().write_msr(msr.index, msr.value)) vcpu->cpu().take_exception();
    vcpus_[0]->lapic().set_virtual_wire();
}

} // namespace calque::machine
