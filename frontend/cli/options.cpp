#include "frontend/cli/options.h"

#include "firmware/smbios/smbios.h"
#include "frontend/cli/accel_options.h"
#include "frontend/cli/blockdev_options.h"
#include "frontend/cli/device_options.h"
#include "frontend/cli/drive_options.h"
#include "frontend/cli/folder_options.h"
#include "frontend/cli/host_options.h"
#include "frontend/cli/keyval.h"
#include "frontend/cli/machine_options.h"
#include "frontend/cli/network_options.h"
#include "frontend/cli/vnc_options.h"
#include "frontend/console/layouts.h"

#include <algorithm>
#include <array>

namespace calque::cli {

namespace {

using Handler = Result<void> (*)(Options&, const std::string&);

struct Option {
    std::string_view name;     // Without its dash.
    std::string_view argument; // Empty: takes none.
    std::string_view help;     // Empty: a synonym, not listed.
    Handler handle;
};

Result<void> display_option(Options& o, const std::string& text) {
    if (text.starts_with("vnc=")) return vnc_option(o, text.substr(4));
    auto kv = KeyValues::parse("-display", text, "type");
    if (!kv) return kv.error();
    const std::string type = kv->take("type");
    if (type != "none" && type != "sdl")
        return error("-display '{}' does not exist here; there are: sdl, vnc=, none (and -nographic for the terminal)",
                     type);
    o.display_none = type == "none";
    o.window.asked = type == "sdl";
    if (o.display_none) return kv->rest("type");
    if (const std::string gl = kv->take("gl", "off"); gl != "off")
        return error("-display sdl,gl={} does not exist here; there is: off", gl);
    for (const auto& [key, value] :
         {std::pair{"full-screen", &o.window.full_screen}, std::pair{"window-close", &o.window.close},
          std::pair{"show-cursor", &o.window.show_cursor}}) {
        const auto on = kv->take_bool(key, *value);
        if (!on) return on.error();
        *value = *on;
    }
    return kv->rest("gl, full-screen, window-close, show-cursor");
}

Result<void> keyboard_option(Options& o, const std::string& text) {
    if (text == "help") {
        o.print = fmt::format("Keyboard layouts for pasted text and remote keyboards (-k NAME): {}\n",
                              console::layout_names());
        return {};
    }
    if (!console::find_layout(text))
        return error("-k {}: there is no such layout; there are: {}", text, console::layout_names());
    o.window.keyboard = text;
    return {};
}

Result<void> chardev_option(Options& o, const std::string& text) {
    auto chardev = backends::parse_chardev(text);
    if (!chardev) return chardev.error();
    for (const auto& other : o.chardevs)
        if (other.id == chardev->id) return error("-chardev id={} is given twice; names are unique", chardev->id);
    o.chardevs.push_back(std::move(*chardev));
    return {};
}

Result<void> mon_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-mon", text, "chardev");
    if (!kv) return kv.error();
    const std::string mode = kv->take("mode", "readline");
    if (mode != "readline" && mode != "control")
        return error("-mon mode={} does not exist here; there are: readline, control (QMP)", mode);
    (mode == "control" ? o.controls : o.monitors).push_back("chardev:" + kv->take("chardev"));
    kv->take("id");     // Nobody asks for it by its name.
    kv->take("pretty"); // For people; what is read is the same.
    return kv->rest("chardev, mode, id");
}

// A place to listen at needs no more words: whoever debugs comes and goes.
Result<void> gdb_option(Options& o, const std::string& text) {
    o.debugger = text == "none" ? "" : text;
    if (text == "none" || text.starts_with("chardev:")) return {};
    if (text.starts_with("tcp:") || text.starts_with("unix:")) o.debugger += ",server=on,wait=off";
    const auto place = backends::parse_short_chardev(o.debugger);
    if (!place) return error("-gdb {}: {}", text, place.error().message);
    return {};
}

Result<void> drive_option(Options& o, const std::string& text) {
    auto drive = parse_drive(text);
    if (!drive) return drive.error();
    o.drives.push_back(std::move(*drive));
    return {};
}

Result<void> blockdev_option(Options& o, const std::string& text) {
    auto node = parse_blockdev(text);
    if (!node) return node.error();
    o.block_nodes.push_back(std::move(*node));
    return {};
}

Result<void> only_none(std::string_view option, const std::string& text) {
    if (text == "none") return {};
    return error("{} {} does not exist here; there is: none", option, text);
}

Result<void> vga_option(Options& o, const std::string& text) {
    if (text != "std" && text != "virtio" && text != "none")
        return error("-vga {} does not exist here; there are: std, virtio, none (and what -device help lists)", text);
    o.vga = text;
    return {};
}

// A machine has a VGA unless it was asked for without, or with another; it has the first slot, as in QEMU.
void settle_display(Options& o) {
    const bool own = std::any_of(o.machine.devices.begin(), o.machine.devices.end(), [](const auto& device) {
        return device.driver == "VGA" || device.driver == "virtio-vga";
    });
    if (o.vga.empty()) o.vga = o.no_defaults || own ? "none" : "std";
    if (o.vga != "none")
        o.machine.devices.insert(o.machine.devices.begin(),
                                 machine::DeviceRequest{o.vga == "virtio" ? "virtio-vga" : "VGA", "", {}});
    o.machine.serial_console = o.no_graphic;
}

Result<void> append_channels(Options& o, const std::string& text) {
    if (text == "help") {
        o.print = fmt::format("Log channels (--trace a,b,c, or all):\n{}", Log::channel_help());
        return {};
    }
    o.channels += (o.channels.empty() ? "" : ",") + text;
    return {};
}

#define SET(body)                                                                                                      \
    [](Options& o, const std::string& v) -> Result<void> {                                                             \
        (void)o;                                                                                                       \
        (void)v;                                                                                                       \
        body;                                                                                                          \
        return {};                                                                                                     \
    }
const std::array options_table{
    Option{"machine", "pc[,hpet=on|off]", "the machine: pc", machine_option},
    Option{"M", "pc", "", machine_option},
    Option{"accel", "jit|tcg|interp[,..]", "how guest code runs (-accel help lists its switches)", accel_option},
    Option{"cpu", "max[,+feature,-feature]", "the guest's CPU (-cpu help lists models and features)", cpu_option},
    Option{"smp", "N", "number of CPUs, 1 to 255", smp_option},
    Option{"m", "SIZE", "memory, for example 512M or 4G (128M)", memory_option},
    Option{"kernel", "FILE", "a kernel to start: bzImage, multiboot or PVH ELF", SET(o.machine.kernel = v)},
    Option{"initrd", "FILE", "its initial RAM disk or module", SET(o.machine.initrd = v)},
    Option{"append", "TEXT", "its command line", SET(o.machine.append = v)},
    Option{"bios", "FILE", "a firmware image to start; it boots the -kernel, if there is one", SET(o.machine.bios = v)},
    Option{"L", "FOLDER", "where firmware images lie", SET(o.machine.firmware_folders.push_back(v))},
    Option{
        "boot", "order=cdan,once=..,menu=on,strict=on",
        "what firmware boots from: c disk, d CD, a floppy, n network; before them what has a bootindex=", boot_option},
    Option{"drive", "file=F,if=ide|virtio|pflash|none,..",
           "a disk or CD: file=, if=ide, index=, media=disk|cdrom, format=raw, id=, "
           "readonly=, snapshot=, cache=, werror=, rerror=, discard=, serial=",
           drive_option},
    Option{"blockdev", "driver=qcow2,node-name=N,file=M",
           "an image for -device drive=N: raw, qcow2, file, nbd nodes that name each other; JSON too", blockdev_option},
    Option{"hda", "FILE", "the first IDE disk (-hdb, -hdc, -hdd: the others)",
           SET(o.drives.push_back(short_drive(v, 0, false)))},
    Option{"hdb", "FILE", "", SET(o.drives.push_back(short_drive(v, 1, false)))},
    Option{"hdc", "FILE", "", SET(o.drives.push_back(short_drive(v, 2, false)))},
    Option{"hdd", "FILE", "", SET(o.drives.push_back(short_drive(v, 3, false)))},
    Option{"cdrom", "FILE", "the disc in the CD drive", SET(o.drives.push_back(short_drive(v, 2, true)))},
    Option{"pflash", "FILE", "firmware in a flash chip (the second one keeps its variables)",
           SET(o.drives.push_back(pflash_drive(v)))},
    Option{"fda", "FILE", "the diskette in the first floppy drive (-fdb: the second)",
           SET(o.drives.push_back(short_floppy(v, 0)))},
    Option{"fdb", "FILE", "", SET(o.drives.push_back(short_floppy(v, 1)))},
    Option{"snapshot", "", "changes to disks are gone at the end", SET(o.snapshot = true)},
    Option{"serial", "DEV", "a serial port: stdio, mon:stdio, vc, file:F, unix:P[,server][,nowait], pty, null, none",
           SET(o.serials.push_back(v))},
    Option{"chardev", "KIND,id=ID,..", "a character device for -serial chardev:ID and others", chardev_option},
    Option{"debugcon", "DEV", "debug console at port E9h", SET(o.debugcon = v)},
    Option{"device", "NAME,prop=value", "a device (-device help lists them)", device_option},
    Option{"object", "KIND,id=ID,..", "what devices draw on (-object help lists the kinds)", object_option},
    Option{"monitor", "DEV", "the monitor's place: stdio, vc, unix:P,server,nowait, none",
           SET(o.monitors.push_back(v))},
    Option{"qmp", "DEV", "the machine protocol, for programs: unix:P,server=on,wait=off, tcp:HOST:PORT,server=on, ..",
           SET(o.controls.push_back(v))},
    Option{"mon", "chardev=ID,mode=readline|control", "the monitor, or the machine protocol, on a -chardev",
           mon_option},
    Option{"nographic", "", "the guest's console on this terminal (Ctrl-A h for help)", SET(o.no_graphic = true)},
    Option{"display", "sdl|none,..", "a window (full-screen=on, window-close=off, show-cursor=on), or none",
           display_option},
    Option{"full-screen", "", "the window on the whole screen", SET(o.window.full_screen = true)},
    Option{"k", "LAYOUT", "the guest's keyboard, for text that is pasted (-k help lists them)", keyboard_option},
    Option{"vnc", "[ADDRESS]:N[,..]",
           "show the screen to VNC viewers, at port 5900 + N (password-secret=, password=on)", vnc_option},
    Option{"vga", "std|virtio|none", "the display adapter (std)", vga_option},
    Option{"parallel", "none", "parallel port: none", SET(return only_none("-parallel", v))},
    Option{"nic", "user|socket|tap|none,..", "a network card with its network (user; -nic user,model=help)",
           nic_option},
    Option{"netdev", "user|socket|tap,id=ID,..", "a network for a -device with netdev=ID", netdev_option},
    Option{"net", "none", "", net_option},
    Option{"virtfs", "local,path=F,mount_tag=TAG,..",
           "a folder for the guest: security_model=none|passthrough|mapped-xattr, readonly=", virtfs_option},
    Option{"fsdev", "local,id=ID,path=F,..", "a folder for a -device virtio-9p-pci with fsdev=ID", fsdev_option},
    Option{"nodefaults", "", "no serial port and monitor but those asked for", SET(o.no_defaults = true)},
    Option{"no-user-config", "", "", SET()},
    Option{"overcommit", "mem-lock=off", "", overcommit_option},
    Option{"audiodev", "none", "", audiodev_option},
    Option{"msg", "timestamp=on", "", msg_option},
    Option{"no-hpet", "", "", SET(o.machine.hpet = false)},
    Option{"no-reboot", "", "end instead of resetting", SET(o.machine.no_reboot = true)},
    Option{"no-shutdown", "", "stop instead of ending when the guest powers off", SET(o.machine.no_shutdown = true)},
    Option{"S", "", "start stopped (the monitor's 'cont', or gdb's, goes on)", SET(o.machine.start_stopped = true)},
    Option{"gdb", "tcp::PORT|unix:PATH", "where gdb connects to debug the guest", gdb_option},
    Option{"s", "", "the same at tcp::1234", SET(return gdb_option(o, "tcp::1234"))},
    Option{"rtc", "base=utc|localtime|DATE", "the guest's clock", rtc_option},
    Option{"name", "NAME", "the guest's name", name_option},
    Option{"uuid", "UUID", "the guest's system UUID", uuid_option},
    Option{"smbios", "type=N,field=value", "SMBIOS fields",
           SET(return firmware::apply_smbios_option(o.machine.identity, v))},
    Option{"fw_cfg", "name=N,file=F|string=S", "a file of the firmware configuration device", fw_cfg_option},
    Option{"pidfile", "FILE", "write the process's number", SET(o.pid_file = v)},
    Option{"daemonize", "", "go into the background when all is ready", SET(o.daemonize = true)},
    Option{"D", "FILE", "where log messages go (stderr)", SET(o.log_file = v)},
    Option{"d", "CHANNELS", "", append_channels},
    Option{"trace", "CHANNELS", "log channels to show (--trace help lists them)", append_channels},
    Option{"stats", "", "print what the machine did when it ends", SET(o.stats = true)},
    Option{"dump", "guest,ir,host@ADDRESS",
           "print what the translator makes of the code at a linear address, and what became of it", dump_option},
    Option{"incoming", "tcp:[HOST]:PORT|unix:PATH|exec:COMMAND|file:PATH|fd:N|defer",
           "wait for the machine that another process sends by 'migrate', and go on with it",
           SET(o.machine.incoming = v)},
    Option{"loadvm", "NAME", "go on from a snapshot that the monitor's 'savevm' took",
           SET(o.machine.load_snapshot = v)},
    Option{"load", "FILE", "go on from a state that the monitor's 'savestate' wrote", SET(o.machine.load_state = v)},
};
#undef SET

std::string help_text() {
    std::string text = "usage: calque [options] [disk image]\n\n";
    for (const Option& option : options_table)
        if (!option.help.empty())
            text += fmt::format("  -{:<32} {}\n", fmt::format("{} {}", option.name, option.argument), option.help);
    return text + "\nOptions may begin with one dash or two.\n";
}

// What QEMU has and this program does not, with what to use instead.
struct Missing {
    std::string_view name;
    std::string_view instead;
};
constexpr std::array missing{
    Missing{"enable-kvm", "leave it out: this emulator runs in software"},
    Missing{"icount", "leave it out"},
    Missing{"usb", "leave it out"},
};

} // namespace

std::vector<std::string> option_names() {
    std::vector<std::string> names;
    for (const Option& option : options_table)
        names.emplace_back(option.name);
    return names;
}

Result<Options> parse_options(std::span<const std::string> arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size() && options.print.empty(); ++i) {
        const std::string& word = arguments[i];
        if (word.empty() || word == "-") return error("'{}' is neither an option nor a disk image; see -help", word);
        if (word[0] != '-') { // A disk image: the first IDE disk.
            options.drives.push_back(short_drive(word, 0, false));
            continue;
        }
        const std::string_view name = std::string_view(word).substr(word.starts_with("--") ? 2 : 1);
        if (name == "help" || name == "h") {
            options.print = help_text();
            break;
        }
        if (name == "version") {
            options.print = "Calque 0.1.0, a full-system x86-64 emulator\n";
            break;
        }
        const auto found =
            std::find_if(options_table.begin(), options_table.end(), [&](const Option& o) { return o.name == name; });
        if (found == options_table.end()) {
            for (const Missing& m : missing)
                if (m.name == name) return error("-{} does not exist here yet; {}", name, m.instead);
            return error("there is no option '{}'; -help lists them all", word);
        }
        std::string value;
        if (!found->argument.empty()) {
            if (++i >= arguments.size()) return error("-{} needs an argument: {}", name, found->argument);
            value = arguments[i];
        }
        if (auto handled = found->handle(options, value); !handled) return handled.error();
    }
    if (options.print.empty())
        if (auto settled = settle_networks(options); !settled) return settled.error();
    if (auto joined = join_blockdevs(options.block_nodes, options.drives); !joined) return joined.error();
    if (auto taken = take_drive_behaviour(options.drives, options.machine.devices); !taken) return taken.error();
    if (auto placed = place_ide_devices(options.drives, options.machine.devices); !placed) return placed.error();
    if (auto assigned = assign_drives(options.drives, options.snapshot); !assigned) return assigned.error();
    for (const auto& drive : options.drives)
        if (drive.boot_index && drive.index) options.machine.ide_boot_indexes[*drive.index] = *drive.boot_index;
    settle_display(options);
    if (auto settled = settle_vnc(options); !settled) return settled.error();
    if (auto connected = connect_drives(options.drives, options.machine.devices); !connected) return connected.error();
    return options;
}

} // namespace calque::cli
