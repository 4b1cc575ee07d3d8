#include "frontend/monitor/commands.h"

#include "base/text.h"
#include "frontend/backends/block/drive.h"
#include "frontend/backends/net/open.h"
#include "frontend/machine/address_space.h"
#include "frontend/monitor/device_commands.h"
#include "frontend/monitor/examine.h"
#include "frontend/monitor/processors.h"
#include "frontend/monitor/remote.h"
#include "frontend/monitor/screen.h"

#include <algorithm>
#include <charconv>

namespace calque::monitor {

namespace {
constexpr std::string_view help_text =
    "help                 this list\n"
    "quit                 end the emulator\n"
    "stop, cont           stop the guest, let it go on\n"
    "system_reset         press the reset button\n"
    "system_powerdown     press the power button\n"
    "savestate FILE       save the whole machine (go on from it with --load FILE)\n"
    "savevm NAME, loadvm NAME, delvm NAME   save the machine and its disks in qcow2 images, go back to that, remove "
    "it\n"
    "info snapshots       what was saved so\n"
    "migrate [-d] WHERE   send the machine to a calque started with -incoming: tcp:HOST:PORT, unix:PATH; or to\n"
    "                     exec:COMMAND, file:PATH (-d: do not wait for the end); migrate_cancel\n"
    "info migrate         how that goes\n"
    "migrate_set_parameter max-bandwidth|downtime-limit N   bytes a second; milliseconds\n"
    "info status          whether the guest runs\n"
    "info registers       registers of every CPU\n"
    "info mem             what the processor's page tables map, by rights\n"
    "info tlb             the same page by page, with global, dirty and accessed\n"
    "info irq             the interrupt controllers, and what waits in them\n"
    "info jit             what the translator has done\n"
    "info mtree           memory and port map\n"
    "info pci             PCI functions\n"
    "info network         networks, their connections and counts\n"
    "hostfwd_add [ID] tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT   forward a host port to the guest\n"
    "hostfwd_remove [ID] tcp|udp:[ADDRESS]:PORT               end that\n"
    "set_link NAME on|off                 a network's cable: the name of the network or of the card\n"
    "balloon N            leave the guest N megabytes of memory (virtio-balloon-pci)\n"
    "info balloon         how much it has\n"
    "device_add DRIVER,PROPERTY=VALUE,...  plug a PCI or USB device in, as -device has it\n"
    "device_del [-f] ID   ask the guest for it, and take it out when it has let go (-f: at once, whatever it does with "
    "it)\n"
    "drive_add 0 if=none,id=ID,file=FILE,...   open a drive for device_add\n"
    "drive_del ID         close one that no device has\n"
    "netdev_add KIND,id=ID,...   open a network for device_add\n"
    "netdev_del ID        close one that no device has\n"
    "info block           disks and CD drives\n"
    "eject [-f] DRIVE     take the medium out (-f: although the guest has locked it)\n"
    "change DRIVE FILE    put another medium in\n"
    "screendump [-f ppm|png] FILE   a picture of the screen\n"
    "screentext           the characters on the screen, in a text mode\n"
    "sendkey KEYS         press keys together, such as ctrl-alt-delete\n"
    "mouse_move X Y [Z]   move a mouse to the right and down, turn its wheel\n"
    "mouse_button N       which of its buttons are down: 1 left, 2 middle, 4 right\n"
    "mouse_set N          use that pointer\n"
    "info mice            the pointers\n"
    "info vnc             the viewers of the screen by VNC\n"
    "set_password vnc PASSWORD   what viewers must know from now on (with -vnc ..,password=on)\n"
    "change vnc password PASSWORD   the same\n"
    "expire_password vnc TIME    when it is good no more: now, never, +SECONDS, SECONDS since 1970\n"
    "info stats           counters, and what was asked for and is not implemented\n"
    "cpu N                the processor that x, info mem and the like mean from now on\n"
    "x /NFS ADDRESS       N items of memory, as the processor's page tables map it\n"
    "xp /NFS ADDRESS      the same of physical memory\n"
    "print /F VALUE       a sum of numbers and registers\n"
    "  F: x d u o c (numbers, characters) or i (instructions); S: b h w g (1 2 4 8 bytes)\n"
    "  ADDRESS: numbers and registers, such as $pc, $rsp+8\n";

// The words of its line in the help that are to be typed as they stand: "info mem", "hostfwd_add", "stop" and "cont".
void add_completions(std::string_view help_line, std::vector<std::string>& out) {
    std::string_view head = help_line.substr(0, help_line.find("  "));
    if (head.empty()) return;
    while (!head.empty()) {
        const std::size_t comma = head.find(", ");
        const std::string_view words = head.substr(0, comma);
        const std::size_t end = std::min(words.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ[/"), words.size());
        std::string_view literal = trim(words.substr(0, end));
        if (const std::size_t choice = literal.find('|'); choice != literal.npos)
            literal = literal.substr(0, literal.rfind(' ', choice));
        out.emplace_back(literal);
        head = comma == head.npos ? std::string_view() : head.substr(comma + 2);
    }
}
} // namespace

std::vector<std::string> Commands::completions(std::string_view line) {
    std::vector<std::string> all;
    for (std::string_view rest = help_text; !rest.empty();) {
        const std::size_t end = rest.find('\n');
        add_completions(rest.substr(0, end), all);
        rest.remove_prefix(end + 1);
    }
    std::erase_if(all, [&](const std::string& command) { return !command.starts_with(line); });
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

void Commands::execute(const std::string& line) {
    const std::size_t space = line.find_first_of(" /"); // As in x/10i.
    const std::string command = line.substr(0, space);
    std::string argument =
        space == std::string::npos ? "" : line.substr(std::min(line.find_first_not_of(' ', space), line.size()));
    while (!argument.empty() && argument.back() == ' ')
        argument.pop_back();
    if (command == "info") return info(argument);
    if (snapshot(command, argument) || migration(command, argument) || hotplug(command, argument)) return;
    if (command == "help" || command == "?") {
        output_.print(help_text);
    } else if (command == "quit" || command == "q") {
        machine_.request_quit(0, machine::Cause::host_monitor);
    } else if (command == "stop") {
        machine_.request_pause();
    } else if (command == "cont" || command == "c") {
        machine_.request_resume();
    } else if (command == "system_reset") {
        machine_.request_reset();
    } else if (command == "system_powerdown") {
        machine_.request_power_button();
    } else if (command == "savestate") {
        if (argument.empty()) {
            output_.print("savestate needs a file name\n");
            return output_.done();
        }
        return machine_.request_stopped([this, argument] {
            auto saved = machine_.save(argument);
            output_.print(saved ? fmt::format("saved to {}\n", argument) : saved.error().message + "\n");
            output_.done();
        });
    } else if (command == "hostfwd_add" || command == "hostfwd_remove") {
        output_.print(forward(argument, command == "hostfwd_add"));
    } else if (command == "set_link") {
        output_.print(set_link(machine_, argument));
    } else if (command == "balloon") {
        output_.print(set_balloon(machine_, argument));
    } else if (command == "set_password") {
        output_.print(set_password(machine_, argument));
    } else if (command == "expire_password") {
        output_.print(expire_password(machine_, argument));
    } else if (command == "change" && (argument == "vnc" || argument.starts_with("vnc "))) {
        output_.print(change_password(machine_, argument));
    } else if (command == "eject" || command == "change") {
        output_.print(change_medium(command, argument));
    } else if (command == "screendump") {
        output_.print(screendump(machine_, argument));
    } else if (command == "screentext") {
        output_.print(screen_text(machine_));
    } else if (command == "sendkey") {
        output_.print(send_keys(machine_, argument));
    } else if (command == "mouse_move") {
        output_.print(move_pointer(machine_, argument));
    } else if (command == "mouse_button") {
        output_.print(press_buttons(machine_, argument));
    } else if (command == "mouse_set") {
        output_.print(select_pointer(machine_, argument));
    } else if (command == "cpu") {
        unsigned index = 0;
        const auto [end, problem] = std::from_chars(argument.data(), argument.data() + argument.size(), index);
        if (problem != std::errc() || end != argument.data() + argument.size() || index >= machine_.vcpus().size())
            output_.print(fmt::format("cpu takes a number from 0 to {}\n", machine_.vcpus().size() - 1));
        else
            cpu_ = index;
    } else if (command == "x" || command == "xp") {
        return look(argument, command == "x" ? machine::AddressSpace::linear : machine::AddressSpace::physical);
    } else if (command == "print" || command == "p") {
        return while_stopped([argument](const cpu::Cpu& cpu) {
            return print_value(argument, [&](auto name) { return machine::register_value(cpu, name); });
        });
    } else if (!command.empty()) {
        output_.print(fmt::format("there is no command '{}'; 'help' lists them\n", command));
    }
    output_.done();
}

void Commands::while_stopped(std::function<std::string(const cpu::Cpu&)> say) {
    machine_.request_stopped([this, say = std::move(say)] {
        output_.print(say(machine_.vcpus()[cpu_]->cpu()));
        output_.done();
    });
}

void Commands::look(const std::string& argument, machine::AddressSpace space) {
    while_stopped([this, argument, space](const cpu::Cpu& cpu) {
        const auto what = parse_examine(argument, [&](auto name) { return machine::register_value(cpu, name); });
        if (what) return examine(*what, space, cpu, machine_.memory().map());
        return fmt::format("{} takes /NFS ADDRESS: {}\n", space == machine::AddressSpace::linear ? "x" : "xp",
                           what.error().message);
    });
}

// A bus, and those behind its bridges, by the numbers that software gave them.
void Commands::show_pci(const devices::PciBus& bus, unsigned number) {
    for (const auto& slot : bus.slots()) {
        const auto& d = slot.pci->descriptor();
        output_.print(fmt::format("  bus {}, device {:2}, function {}: {:04x}:{:04x} class {:06x} {}\n", number,
                                  slot.device, slot.function, d.vendor_id, d.device_id, d.class_code, d.name));
        if (const auto* behind = devices::PciBus::behind(*slot.pci))
            show_pci(*behind, slot.pci->get(devices::pci::SECONDARY_BUS, 1));
    }
}

void Commands::info(const std::string& what) {
    if (what == "status") {
        output_.print(fmt::format("VM status: {}\n", machine_.running() ? "running" : "paused"));
        return output_.done();
    }
    if (what == "mtree") {
        output_.print(memory_map());
        return output_.done();
    }
    if (what == "pci") {
        show_pci(machine_.chipset().pci(), 0);
        return output_.done();
    }
    if (what == "network" || what == "usernet") {
        const auto held = machine_.hold_backends();
        for (const auto& [id, port] : machine_.networks())
            output_.print(fmt::format("{}: {}  {}\n", id, port->describe(), port->counters()));
        return output_.done();
    }
    if (what == "mice") {
        output_.print(describe_pointers(machine_));
        return output_.done();
    }
    if (what == "vnc") {
        output_.print(describe_viewers(machine_));
        return output_.done();
    }
    if (what == "balloon") {
        output_.print(describe_balloon(machine_));
        return output_.done();
    }
    if (what == "stats") return while_stopped([this](const cpu::Cpu&) { return machine_.stats(); });
    if (what == "registers")
        return while_stopped([this](const cpu::Cpu&) {
            std::string text;
            for (unsigned i = 0; i < machine_.vcpus().size(); ++i)
                text += machine_.registers(i);
            return text;
        });
    if (what == "mem")
        return while_stopped(
            [this](const auto& cpu) { return machine::describe_address_space(cpu, machine_.memory().map()); });
    if (what == "tlb")
        return while_stopped([this](const auto& cpu) { return machine::describe_pages(cpu, machine_.memory().map()); });
    if (what == "irq") return while_stopped([this](const cpu::Cpu&) { return describe_interrupts(machine_); });
    if (what == "jit") return while_stopped([this](const cpu::Cpu&) { return describe_translator(machine_); });
    if (what == "block") {
        output_.print(describe_disks());
        return output_.done();
    }
    if (snapshot("info " + what, {}) || migration("info " + what, {})) return;
    output_.print(
        "info shows: status, registers, mem, tlb, irq, jit, mtree, pci, block, snapshots, migrate, network, mice, "
        "vnc, balloon, stats\n");
    output_.done();
}

std::string Commands::describe_disks() const {
    std::string text;
    const auto held = machine_.hold_backends();
    for (const backends::Disk* disk : machine_.disks()) {
        const auto image = disk->image();
        text += fmt::format("{}: {}{}\n", disk->options().id, image ? image->name() : "[not inserted]",
                            image && image->read_only() ? " (read-only)" : "");
        if (image) text += fmt::format("    Size:       {} bytes\n", disk->size());
        if (disk->options().removable)
            text += fmt::format("    Removable:  {}locked\n", disk->medium_locked() ? "" : "not ");
        text += fmt::format("    Cache mode: {}\n", disk->write_cache() ? "writeback" : "writethrough");
        if (disk->holds_requests()) text += "    Requests wait for the host; 'cont' tries them again\n";
    }
    return text.empty() ? "there are no disks\n" : text;
}

// eject [-f] ID, change ID FILE.
std::string Commands::change_medium(const std::string& command, std::string argument) {
    const bool force = argument.starts_with("-f ");
    if (force) argument.erase(0, argument.find_first_not_of(' ', 2));
    const std::size_t space = argument.find(' ');
    const std::string id = argument.substr(0, space);
    const std::string file = space == std::string::npos ? "" : argument.substr(argument.find_first_not_of(' ', space));
    if (id.empty() || (command == "change") == file.empty())
        return command == "change" ? "change takes a drive and a file: change ide1-cd0 FILE\n"
                                   : "eject takes a drive: eject ide1-cd0\n";
    const auto held = machine_.hold_backends();
    for (backends::Disk* disk : machine_.disks()) {
        if (disk->options().id != id) continue;
        backends::Disk::Image image;
        if (!file.empty()) {
            backends::DriveOptions options;
            options.file = file;
            options.cdrom = disk->options().disc;
            auto opened = backends::open_drive_image(machine_.log(), options);
            if (!opened) return opened.error().message + "\n";
            image = std::move(*opened);
        }
        auto changed = disk->change_medium(std::move(image), force);
        return changed ? "" : changed.error().message + "\n";
    }
    return fmt::format("there is no drive '{}'; 'info block' lists them\n", id);
}

// With or without the id of a network; without, the first user network.
std::string Commands::forward(const std::string& argument, bool add) {
    const std::size_t space = argument.find(' ');
    const std::string id = space == std::string::npos ? "" : argument.substr(0, space);
    const auto parsed =
        backends::parse_host_forward(space == std::string::npos ? argument : argument.substr(space + 1), add);
    if (!parsed) return fmt::format("'{}': {}\n", argument, parsed.error().message);
    Result<void> done = error("there is no {}user network", id.empty() ? "" : "network " + id + " that is a ");
    const auto held = machine_.hold_backends();
    for (const auto& [name, port] : machine_.networks()) {
        if (!id.empty() && name != id) continue;
        done = add ? backends::add_host_forward(*port, *parsed) : backends::remove_host_forward(*port, *parsed);
        if (done || !id.empty()) break;
    }
    return done ? "" : done.error().message + "\n";
}

std::string Commands::memory_map() const {
    std::string text = "memory, by priority:\n";
    for (const auto& region : machine_.memory().map().regions())
        text += fmt::format("  {:016x}-{:016x} prio {} {}\n", region.base.value, region.base.value + region.length - 1,
                            region.priority, region.name);
    text += "memory-mapped devices:\n";
    for (const auto& range : machine_.chipset().memory_bus().ranges())
        text += fmt::format("  {:016x}-{:016x} {}\n", range.base, range.base + range.length - 1, range.name);
    text += "ports:\n";
    for (const auto& range : machine_.chipset().ports().ranges())
        text += fmt::format("  {:04x}-{:04x} {}\n", range.base, range.base + range.length - 1, range.name);
    return text;
}

} // namespace calque::monitor
