#include "frontend/machine/machine.h"

#include "base/bits.h"
#include "devices/lapic/lapic_registers.h"
#include "firmware/direct_boot.h"
#include "firmware/fw_cfg/files.h"
#include "firmware/loaders/firmware_kernel.h"
#include "firmware/post/post.h"
#include "frontend/machine/firmware_files.h"
#include "frontend/machine/host_file.h"
#include "frontend/machine/registers.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace calque::machine {

namespace {
constexpr char kernel_rom[] = "genroms/linux.rom"; // SeaBIOS runs the ROMs of this folder.
constexpr u64 largest_image = u64{2} << 30;        // Of a kernel or an initrd: they are loaded below 4 GiB.
} // namespace

Machine::Machine(MachineConfig config, Log& log, Clock* time)
    : config_(std::move(config)), log_(log), time_(time ? *time : clock_) {}

Machine::~Machine() {
    if (!vcpus_.empty()) pause();
    drain_disks();
    for (backends::Disk* disk : disks_)
        disk->set_stop_request({});
    vcpus_.clear(); // Their threads end before what they use goes.
}

Result<std::unique_ptr<Machine>> Machine::create(MachineConfig config, Log& log, const ChipsetBackends& backends,
                                                 Clock* time) {
    std::unique_ptr<Machine> machine(new Machine(std::move(config), log, time));
    if (auto built = machine->build(backends); !built) return built.error();
    return machine;
}

Result<void> Machine::build(const ChipsetBackends& backends) {
    // What is typed now is for the machine as it will be, not for serial ports that are about to be loaded over.
    const auto held = backends.hold_input ? backends.hold_input() : nullptr;
    if (auto read = read_images(); !read) return read.error();
    disks_ = backends.disks;
    auto memory = Memory::create(config_.ram_bytes, log_);
    if (!memory) return memory.error();
    memory_ = std::move(*memory);
    if (backends.flash[0] && !config_.bios.empty())
        return error("-bios and -drive if=pflash are both the firmware; leave one of them out");
    if (!backends.flash[0])
        if (auto found = find_firmware(); !found) return found.error();
    if (!config_.bios.empty()) {
        auto image = read_host_file(config_.bios, "-bios", u64{16} << 20);
        if (!image) return image.error();
        if (auto set = memory_->set_rom(std::move(*image), config_.bios); !set) return set.error();
    }
    serial_present_ = backends.serial_present;
    hold_input_ = backends.hold_input;
    networks_ = backends.nets;
    for (backends::Disk* disk : disks_)
        disk->set_stop_request([this](const std::string& why) {
            fmt::print(stderr, "calque: {}; the machine is stopped, the monitor's 'cont' tries again\n", why);
            request_pause();
        });
    chipset_ = std::make_unique<Chipset>(config_, log_, time_, *memory_, backends, chipset_events());
    for (const DeviceRequest& device : config_.devices)
        if (auto plugged = chipset_->plug(device, log_, time_, *memory_, backends); !plugged) return plugged.error();
    memory_->set_io_target(io_space_);
    if (auto added = chipset_->add_flash(backends, log_); !added) return added;
    if (!chipset_->flash_firmware().empty()) memory_->set_flash_firmware(chipset_->flash_firmware());
    for (const auto& [place, index] : config_.ide_boot_indexes) {
        auto path = fmt::format("/pci@i0cf8/ide@1,1/drive@{:x}/disk@{:x}", place / 2, place % 2);
        if (auto ordered = chipset_->add_boot_entry(index, std::move(path)); !ordered) return ordered;
    }
    chipset_->memory_bus().set_change_observer([this] { place_device_memory(); });
    place_device_memory();
    add_vcpus();
    if (auto described = describe_to_firmware(); !described) return described.error();
    if (auto added = add_fw_cfg_files(); !added) return added.error();
    if (!config_.load_state.empty()) return load(config_.load_state);
    return power_on();
}

ChipsetEvents Machine::chipset_events() {
    ChipsetEvents events;
    events.reset = [this] {
        stop_vcpus_soon();
        if (config_.no_reboot)
            post([this] { end(0); });
        else
            request_reset();
    };
    events.power_off = [this] {
        stop_vcpus_soon();
        if (config_.no_shutdown) return request_pause();
        post([this] { end(0); });
    };
    events.debug_exit = [this](u32 value) {
        stop_vcpus_soon();
        post([this, value] { end(static_cast<int>(value & 0xFF)); });
    };
    events.smi = [this] { (Vcpu::current() ? *Vcpu::current() : *vcpus_[0]).smi(); };
    // INIT starts the processors at the reset vector; where no firmware waits there, it can only mean a reset.
    events.init = [this, reset = events.reset] {
        if (!memory_->has_firmware()) return reset();
        for (auto& vcpu : vcpus_)
            vcpu->init();
    };
    events.set_a20 = [this](bool on) { memory_->map().set_a20(on); };
    return events;
}

void Machine::add_vcpus() {
    for (unsigned i = 0; i < config_.cpus; ++i) {
        VcpuServices services{log_,
                              time_,
                              memory_->map(),
                              chipset_->ports(),
                              chipset_->apics(),
                              chipset_->pic(),
                              [this](bool level) { chipset_->set_ferr(level); },
                              [this] { move_apics(); },
                              [this](unsigned vcpu) { triple_fault(vcpu); },
                              config_.engine,
                              config_.translator,
                              &time_ != &clock_};
        vcpus_.push_back(std::make_unique<Vcpu>(i, config_.cpu, std::move(services)));
    }
}

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
    if (config_.bios.empty() && (!config_.kernel.empty() || (disks_.empty() && !config_.boots_network()))) return {};
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

// --- Control

void Machine::post(std::function<void()> request) {
    {
        std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
    }
    posted_.notify_one();
}

void Machine::request_quit(int status) {
    post([this, status] { end(status); });
}
void Machine::request_reset() {
    post([this] {
        stopped([this] {
            if (auto on = power_on(); !on) end(1, on.error().message);
        });
    });
}
void Machine::request_power_button() {
    post([this] { chipset_->pm().press_power_button(); });
}
void Machine::request_pause() {
    post([this] { pause(); });
}
void Machine::request_resume() {
    post([this] { resume(); });
}
void Machine::request_stopped(std::function<void()> task) {
    post([this, task = std::move(task)] { stopped(task); });
}

// From a vCPU's own thread: no instruction of the guest runs after the one that ended it.
void Machine::stop_vcpus_soon() {
    for (auto& vcpu : vcpus_)
        vcpu->request_park();
}

// With every vCPU parked, the clock stopped and input held back. A machine that was stopped stays so.
void Machine::stopped(const std::function<void()>& task) {
    const bool was_running = running_;
    pause();
    {
        const auto held = hold_input_ ? hold_input_() : nullptr;
        drain_disks(); // What tasks began before they were held back.
        task();
    }
    if (was_running && !ended_) resume();
}

void Machine::pause() {
    for (auto& vcpu : vcpus_)
        vcpu->request_park();
    for (auto& vcpu : vcpus_)
        vcpu->park_wait();
    clock_.stop();
    drain_disks();
    running_ = false;
}

// Nothing that a guest began is under way any more, but what waits for the machine to go on.
void Machine::drain_disks() {
    for (backends::Disk* disk : disks_)
        disk->drain();
}

void Machine::flush_disks() {
    for (backends::Disk* disk : disks_)
        if (const int problem = disk->flush_now())
            fmt::print(stderr, "calque: the last flush of {} failed: {}\n", disk->options().id, std::strerror(problem));
}

void Machine::resume() {
    clock_.start();
    running_ = true; // Before the guest can do anything that somebody asks about.
    for (backends::Disk* disk : disks_)
        disk->resume();
    for (auto& vcpu : vcpus_)
        vcpu->resume();
}

void Machine::end(int status, std::string report) {
    if (ended_) return;
    pause();
    flush_disks();
    ended_ = true;
    ending_ = {status, std::move(report)};
}

void Machine::triple_fault(unsigned index) {
    stop_vcpus_soon();
    request_stopped([this, index] {
        if (vcpus_[index]->cpu().state.activity != cpu::Activity::shutdown) return; // Reset meanwhile.
        const std::string report =
            fmt::format("the guest's vCPU {} met a triple fault (a fault while delivering a double fault)\n{}", index,
                        registers(index));
        if (config_.no_reboot) return end(0, report);
        log_.trace(Channel::exception, "{}", report);
        if (auto on = power_on(); !on) end(1, on.error().message);
    });
}

Ending Machine::run() {
    for (auto& vcpu : vcpus_)
        vcpu->start();
    if (!config_.start_stopped) resume();
    while (!ended_) {
        std::function<void()> request;
        {
            std::unique_lock lock(mutex_);
            posted_.wait(lock, [&] { return !requests_.empty(); });
            request = std::move(requests_.front());
            requests_.pop_front();
        }
        request();
    }
    return ending_;
}

std::optional<Ending> Machine::serve_requests() {
    for (;;) {
        if (ended_) return ending_;
        std::function<void()> request;
        {
            std::unique_lock lock(mutex_);
            if (requests_.empty()) return std::nullopt;
            request = std::move(requests_.front());
            requests_.pop_front();
        }
        request();
    }
}

// --- Memory-mapped I/O

devices::LocalApic* Machine::IoSpace::apic_at(PhysicalAddress address) {
    Vcpu* const vcpu = Vcpu::current();
    if (!vcpu) return nullptr;
    devices::LocalApic& apic = vcpu->lapic();
    return apic.mmio_enabled() && apic.base() == address.page() ? &apic : nullptr;
}
// SMRAM is memory for a processor in SMM and the VGA's window for everyone else. It is not part of the memory map then:
// entering SMM must not change what all processors have cached, as firmware enters it for each sector that it reads.
bool Machine::IoSpace::smram_at(PhysicalAddress address) {
    return Memory::in_smram(address) && machine_.memory_->smram_hidden() && Vcpu::current()
           && Vcpu::current()->in_smm();
}
u64 Machine::IoSpace::read(PhysicalAddress address, unsigned size) {
    if (smram_at(address)) return machine_.memory_->read_smram(address, size);
    if (auto* apic = apic_at(address)) return apic->mmio().read(address.page_offset(), size);
    return machine_.chipset_->memory_bus().read(address.value, size);
}
void Machine::IoSpace::write(PhysicalAddress address, u64 value, unsigned size) {
    if (smram_at(address)) return machine_.memory_->write_smram(address, value, size);
    if (auto* apic = apic_at(address)) return apic->mmio().write(address.page_offset(), value, size);
    machine_.chipset_->memory_bus().write(address.value, value, size);
}

void Machine::move_apics() {
    std::vector<PhysicalAddress> pages;
    for (auto& vcpu : vcpus_)
        if (vcpu->lapic().mmio_enabled()) pages.push_back(vcpu->lapic().base());
    memory_->set_apic_pages(std::move(pages));
}

// Of each piece of the bus, the whole pages that have memory behind them.
void Machine::place_device_memory() {
    std::lock_guard lock(device_memory_mutex_);
    std::vector<Memory::DeviceMemory> ranges;
    for (const auto& piece : chipset_->memory_bus().pieces()) {
        const u64 length = piece.last - piece.first + 1, end = piece.offset + length;
        for (const auto& memory : piece.region->direct_memory()) {
            const u64 from = std::max(piece.offset, memory.offset), to = std::min(end, memory.offset + memory.length);
            const u64 first = align_up(piece.first + (from - piece.offset), page_size);
            const u64 last = (piece.first + (to - piece.offset)) & ~u64{page_size - 1};
            if (from >= to || first >= last) continue;
            const u64 offset = piece.offset + (first - piece.first);
            ranges.push_back(
                {PhysicalAddress(first), last - first, memory.data + (offset - memory.offset), memory.writable});
        }
    }
    memory_->set_device_memory(std::move(ranges));
}

// --- Saving and loading

namespace {
// FNV-1a: tells firmware images apart, not forgeries.
u64 fingerprint(std::span<const u8> bytes) {
    u64 hash = 0xcbf29ce484222325;
    for (const u8 byte : bytes)
        hash = (hash ^ byte) * 0x100000001b3;
    return hash;
}
} // namespace

// A state fits only the machine that it was saved from. What differs is named before anything is touched.
void Machine::serialize_identity(Archive& archive) {
    u32 cpus = config_.cpus;
    archive.field("cpus", cpus);
    if (cpus != config_.cpus)
        return archive.fail(
            fmt::format("the saved machine has {} vCPUs, this one {}; start with the same -smp", cpus, config_.cpus));
    u64 ram = config_.ram_bytes;
    archive.field("ram", ram);
    if (ram != config_.ram_bytes)
        return archive.fail(fmt::format("the saved machine has {} MiB of memory, this one {}; start with the same -m",
                                        ram >> 20, config_.ram_bytes >> 20));
    const cpu::CpuModel& model = config_.cpu;
    std::string processor = fmt::format("{} {:x} ", model.name, model.signature());
    for (unsigned i = 0; i < static_cast<unsigned>(cpu::Feature::count); ++i)
        processor += model.features.has(static_cast<cpu::Feature>(i)) ? '+' : '-';
    std::string saved_processor = processor;
    archive.field("processor", saved_processor);
    if (saved_processor != processor)
        return archive.fail("the saved machine has another CPU; start with the same -cpu");
    std::string devices;
    for (const devices::Device* device : chipset_->devices())
        devices += fmt::format("{}{}", devices.empty() ? "" : " ", device->name());
    std::string saved_devices = devices;
    archive.field("devices", saved_devices);
    if (saved_devices != devices)
        return archive.fail("the saved machine has other devices; start with the same -device, -serial and -machine");
    u64 rom = fingerprint(memory_->rom());
    u64 saved_rom = rom;
    archive.field("firmware", saved_rom);
    if (saved_rom != rom) archive.fail("the saved machine has other firmware; start with the same -bios");
}

void Machine::serialize(Archive& archive) {
    archive.section("machine", 1, [&](u32) { serialize_identity(archive); });
    clock_.serialize(archive);
    if (archive.ok()) memory_->serialize(archive);
    if (archive.ok()) chipset_->serialize(archive);
    for (auto& vcpu : vcpus_)
        if (archive.ok()) vcpu->serialize(archive);
    // Firmware of ours opens A20 beside the gates, so the gates' states do not say it all.
    archive.section("a20", 1, [&](u32) {
        bool a20 = memory_->map().a20();
        archive.field("open", a20);
        if (archive.loading() && archive.ok()) memory_->map().set_a20(a20);
    });
    if (!archive.loading() || !archive.ok()) return;
    move_apics();
}

Result<void> Machine::save(const std::string& path) {
    for (const backends::Disk* disk : disks_)
        if (disk->holds_requests())
            return error("requests to {} wait for the host; let the machine go on ('cont') before it is saved",
                         disk->options().id);
    Archive archive = Archive::saver();
    serialize(archive);
    if (!archive.ok()) return archive.result();
    return write_host_file(path, archive.take());
}

Result<void> Machine::load(const std::string& path) {
    // All of RAM and the devices, whose states are small.
    auto data = read_host_file(path, "--load", config_.ram_bytes + config_.ram_bytes / 16 + (u64{64} << 20));
    if (!data) return data.error();
    Archive archive = Archive::loader(std::move(*data));
    serialize(archive);
    if (!archive.ok()) return error("cannot go on from '{}': {}", path, archive.result().error().message);
    return {};
}

// --- Reports

std::string Machine::registers(unsigned vcpu) { return describe_registers(vcpus_.at(vcpu)->cpu()); }

std::string Machine::dumped_units() {
    std::string text;
    for (auto& vcpu : vcpus_)
        text += vcpu->describe_dumped();
    return text;
}

std::string Machine::stats() {
    std::string text;
    for (auto& vcpu : vcpus_)
        text += describe_stats(*vcpu);
    const auto counts = log_.unimplemented_counts();
    text += fmt::format("unimplemented: {}\n", counts.empty() ? "nothing was asked for" : "");
    for (const auto& count : counts)
        text += fmt::format("  {:<32} {}\n", count.name, count.times);
    return text;
}

} // namespace calque::machine
