#include "frontend/cli/options.h"

#include "firmware/smbios/smbios.h"
#include "frontend/cli/blockdev_options.h"
#include "frontend/cli/drive_options.h"
#include "frontend/cli/folder_options.h"
#include "frontend/cli/keyval.h"
#include "frontend/cli/network_options.h"
#include "frontend/machine/kinds/kinds.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace calque::cli {

namespace {

using Handler = Result<void> (*)(Options&, const std::string&);

struct Option {
    std::string_view name;     // Without its dash.
    std::string_view argument; // Empty: takes none.
    std::string_view help;     // Empty: a synonym, not listed.
    Handler handle;
};

// False for a name that is none.
bool choose_engine(Options& o, const std::string& accel) {
    using Engine = machine::MachineConfig::Engine;
    if (accel != "jit" && accel != "tcg" && accel != "interp") return false;
    o.machine.engine = accel == "interp" ? Engine::interpreter : Engine::translator;
    return true;
}

Result<void> machine_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-machine", text, "type");
    if (!kv) return kv.error();
    const std::string type = kv->take("type", "pc");
    if (type == "help") {
        o.print = "Supported machines are:\npc    Standard PC (i440FX + PIIX, 1996) (default)\n";
        return {};
    }
    if (type != "pc" && !type.starts_with("pc-i440fx"))
        return error("-machine '{}' does not exist here; there is: pc", type);
    if (kv->has("accel")) {
        const std::string accel = kv->take("accel");
        if (!choose_engine(o, accel))
            return error(
                "-machine accel={} does not exist here: this emulator runs guests in software; there are: jit, "
                "tcg (which means jit), interp",
                accel);
    }
    auto hpet = kv->take_bool("hpet", o.machine.hpet);
    if (!hpet) return hpet.error();
    o.machine.hpet = *hpet;
    for (const char* on_only : {"acpi", "pit", "i8042"}) {
        auto on = kv->take_bool(on_only, true);
        if (!on) return on.error();
        if (!*on) return error("-machine {}=off does not exist here: this machine always has it", on_only);
    }
    for (const char* off_only : {"usb", "vmport", "dump-guest-core", "mem-merge"})
        kv->take(off_only);
    return kv->rest("accel, hpet");
}

constexpr char accel_help[] = R"(Engines (-accel NAME[,switch=on|off]):
jit       translates hot code to the host's (default)
tcg       means jit
interp    interprets all code
Switches of jit:
check-elimination=on|off  accesses near each other share one check (on)
flag-liveness=on|off      flags that nobody sees are not computed (on)
loop-unrolling=on|off     several rounds of a loop in one unit (on)
loop-heads=on|off         loops go from round to round inside their unit (on)
patch-fields=on|off       immediates that the guest patches are read each time (on)
mirror=on|off             hot pages are mapped at places that follow from their addresses (on)
x87=on|off                x87 and MMX instructions on the host's unit (on)
hot-after=N               entries of a block before it is translated (16)
longest-unit=N            guest instructions in a unit (64)
verify=on|off             checks units after each pass (off)
count=on|off              translated code counts for --stats what it does (off)
perf-map=on|off           names translated code for perf (off)
)";

Result<void> accel_option(Options& o, const std::string& text) {
    if (text == "help") {
        o.print = accel_help;
        return {};
    }
    auto kv = KeyValues::parse("-accel", text, "accel");
    if (!kv) return kv.error();
    const std::string accel = kv->take("accel");
    if (accel == "kvm" || accel == "hvf" || accel == "whpx" || accel == "xen")
        return error("-accel {} needs virtualisation hardware, which this emulator does without; use -accel tcg",
                     accel);
    if (!choose_engine(o, accel))
        return error("-accel '{}' does not exist; there are: jit, tcg (which means jit), interp", accel);
    kv->take("thread");  // Guest CPUs always have a thread each.
    kv->take("tb-size"); // The cache is sized by the program.
    constexpr u64 most = 1'000'000;
    for (const auto& [key, value] : {std::pair{"hot-after", &o.machine.translator.hot_after},
                                     std::pair{"longest-unit", &o.machine.translator.longest_unit}}) {
        const auto number = kv->take_number(key, 0);
        if (!number) return number.error();
        if (*number > most) return error("-accel {}={}: at most {}", key, *number, most);
        *value = static_cast<u32>(*number);
    }
    auto& t = o.machine.translator;
    bool count = t.counting != jit::Counting::none;
    for (const auto& [key, value] :
         {std::pair{"check-elimination", &t.check_elimination}, std::pair{"flag-liveness", &t.flag_liveness},
          std::pair{"loop-unrolling", &t.loop_unrolling}, std::pair{"loop-heads", &t.loop_heads},
          std::pair{"patch-fields", &t.patch_fields}, std::pair{"mirror", &t.mirror},
          std::pair{"return-stack", &t.return_stack}, std::pair{"x87", &t.x87}, std::pair{"verify", &t.verify},
          std::pair{"perf-map", &t.perf_map}, std::pair{"count", &count}}) {
        const auto on = kv->take_bool(key, *value);
        if (!on) return on.error();
        *value = *on;
    }
    t.counting = count ? jit::Counting::all : jit::Counting::none;
    return kv->rest(
        "thread, tb-size, hot-after, longest-unit, check-elimination, flag-liveness, loop-unrolling, loop-heads, "
        "patch-fields, mirror, return-stack, x87, verify, perf-map, count");
}

Result<void> dump_option(Options& o, const std::string& text) {
    auto request = jit::parse_unit_dump(text);
    if (!request) return error("--dump: {}", request.error().message);
    o.machine.translator.dump = *request;
    return {};
}

Result<void> cpu_option(Options& o, const std::string& text) {
    if (text == "help") {
        o.print = cpu::CpuModel::help();
        return {};
    }
    auto model = cpu::CpuModel::parse(text);
    if (!model) return model.error();
    const u32 cores = o.machine.cpu.cores;
    o.machine.cpu = *model;
    o.machine.cpu.cores = cores;
    return {};
}

Result<void> smp_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-smp", text, "cpus");
    if (!kv) return kv.error();
    const bool cpus_given = kv->has("cpus");
    auto cpus = kv->take_number("cpus", 0);
    if (!cpus) return cpus.error();
    u64 product = 1;
    for (const char* level : {"sockets", "dies", "cores", "threads"}) {
        auto n = kv->take_number(level, 1);
        if (!n) return n.error();
        product = *n == 0 || *n > 255 ? 256 : product * *n;
    }
    auto maximum = kv->take_number("maxcpus", 0);
    if (!maximum) return maximum.error();
    const u64 count = cpus_given ? *cpus : product;
    if (*maximum != 0 && *maximum < count) return error("-smp {}: maxcpus is less than the number of CPUs", text);
    if (count < 1 || count > 255) return error("-smp {} is not possible: a machine has 1 to 255 CPUs", text);
    o.machine.cpus = static_cast<u32>(count);
    o.machine.cpu.cores = o.machine.cpus;
    return kv->rest("cpus, sockets, dies, cores, threads, maxcpus");
}

Result<void> memory_option(Options& o, const std::string& text) {
    if (text.empty()) return error("-m takes a size such as 512M or 4G, not nothing");
    auto kv = KeyValues::parse("-m", text, "size");
    if (!kv) return kv.error();
    auto size = parse_size("-m", kv->take("size", "128"), u64{1} << 20);
    if (!size) return size.error();
    kv->take("slots");
    kv->take("maxmem");
    const u64 mib = u64{1} << 20;
    if (*size < 4 * mib || *size > (u64{512} << 30))
        return error("-m {} is not possible: a machine has 4 MiB to 512 GiB of memory", text);
    o.machine.ram_bytes = (*size + mib - 1) / mib * mib;
    return kv->rest("size");
}

Result<void> rtc_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-rtc", text, "base");
    if (!kv) return kv.error();
    const std::string base = kv->take("base", "utc");
    const std::time_t now = std::time(nullptr);
    std::tm when{};
    if (base == "utc") {
        o.machine.rtc_offset = 0;
    } else if (base == "localtime") {
        localtime_r(&now, &when);
        o.machine.rtc_offset = when.tm_gmtoff;
    } else {
        const char* end = strptime(base.c_str(), "%Y-%m-%dT%H:%M:%S", &when);
        if (!end) {
            when = {};
            end = strptime(base.c_str(), "%Y-%m-%d", &when);
        }
        if (!end || *end) return error("-rtc base={} is no date; there are: utc, localtime, 2006-06-17T16:01:21", base);
        o.machine.rtc_offset = static_cast<i64>(timegm(&when)) - now;
    }
    const std::string clock = kv->take("clock", "host");
    if (clock != "host") return error("-rtc clock={} does not exist here; there is: host", clock);
    kv->take("driftfix");
    return kv->rest("base, clock");
}

Result<void> device_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-device", text, "driver");
    if (!kv) return kv.error();
    const std::string driver = kv->take("driver");
    if (driver == "help" || driver == "?") {
        o.print = machine::device_help();
        return {};
    }
    if (kv->has("help") || kv->has("?")) {
        auto help = machine::device_help(driver);
        if (!help) return help.error();
        o.print = *help;
        return {};
    }
    machine::DeviceRequest request{driver, kv->take("id"), {}};
    if (const auto* kind = machine::find_device_kind(driver); !kind || kind->make) {
        for (auto& [key, value] : kv->take_all())
            request.properties.push_back({std::move(key), std::move(value)});
        for (const auto& other : o.machine.devices)
            if (!request.id.empty() && other.id == request.id)
                return error("-device id={} is given twice; names are unique", request.id);
        if (auto good = machine::check_device(request); !good) return good;
        o.machine.devices.push_back(std::move(request));
        return {};
    }
    if (driver == "isa-debug-exit") {
        machine::MachineConfig::DebugExit exit;
        auto base = kv->take_number("iobase", exit.base);
        auto size = kv->take_number("iosize", exit.size);
        if (!base) return base.error();
        if (!size) return size.error();
        if (*size < 1 || *size > 8 || *base > 0x10000 - *size)
            return error("-device isa-debug-exit: iobase {:#x} and iosize {} do not lie in the port space", *base,
                         *size);
        o.machine.debug_exit = {static_cast<u16>(*base), static_cast<u16>(*size)};
        return kv->rest("iobase, iosize");
    }
    if (driver == "isa-debugcon") {
        auto base = kv->take_number("iobase", 0xE9);
        if (!base) return base.error();
        if (*base > 0xFFFF) return error("-device isa-debugcon: iobase {:#x} does not lie in the port space", *base);
        if (!kv->has("chardev")) return error("-device isa-debugcon needs chardev=ID, the id of a -chardev");
        o.machine.debugcon_port = static_cast<u16>(*base);
        o.debugcon = "chardev:" + kv->take("chardev");
        return kv->rest("iobase, chardev");
    }
    if (driver == "isa-serial") {
        if (!kv->has("chardev")) return error("-device isa-serial needs chardev=ID, the id of a -chardev");
        o.serials.push_back("chardev:" + kv->take("chardev"));
        return kv->rest("chardev");
    }
    return error("-device {} cannot be set up here", driver);
}

constexpr std::string_view object_help =
    "rng-random,id=ID[,filename=FILE]   random numbers from a file (/dev/urandom), for -device virtio-rng-pci\n"
    "rng-builtin,id=ID                  random numbers from the host's own generator\n"
    "filter-dump,id=ID,netdev=ID,file=FILE[,maxlen=N]   every frame of a network to a capture file\n";

Result<void> object_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-object", text, "qom-type");
    if (!kv) return kv.error();
    const std::string kind = kv->take("qom-type");
    if (kind == "help") {
        o.print = object_help;
        return {};
    }
    machine::DeviceRequest object{kind, kv->take("id"), {}};
    if (kind == "filter-dump") {
        for (const char* key : {"netdev", "file", "maxlen"})
            if (kv->has(key)) object.properties.push_back({key, kv->take(key)});
        if (auto good = kv->rest("id, netdev, file, maxlen"); !good) return good;
        return dump_option(o, std::move(object));
    }
    if (kind != "rng-random" && kind != "rng-builtin")
        return error("-object '{}' does not exist here; there are: rng-random, rng-builtin, filter-dump", kind);
    if (object.id.empty()) return error("-object {} has no id; add id=NAME", kind);
    for (const auto& other : o.objects)
        if (other.id == object.id) return error("-object id={} is given twice; names are unique", object.id);
    if (kind == "rng-random") object.properties.push_back({"filename", kv->take("filename", "/dev/urandom")});
    o.objects.push_back(std::move(object));
    return kv->rest(kind == "rng-random" ? "id, filename" : "id");
}

Result<void> fw_cfg_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-fw_cfg", text, "name");
    if (!kv) return kv.error();
    machine::MachineConfig::FwCfgFile file{kv->take("name"), kv->take("file"), kv->take("string")};
    if (file.name.empty() || file.file.empty() == file.string.empty())
        return error("-fw_cfg {}: give name= and one of file= and string=", text);
    o.machine.fw_cfg.push_back(std::move(file));
    return kv->rest("name, file, string");
}

Result<void> name_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-name", text, "guest");
    if (!kv) return kv.error();
    o.machine.name = kv->take("guest");
    kv->take("process");
    kv->take("debug-threads");
    return kv->rest("guest");
}

Result<void> uuid_option(Options& o, const std::string& text) {
    auto uuid = firmware::parse_uuid(text);
    if (!uuid) return uuid.error();
    o.machine.identity.uuid = *uuid;
    return {};
}

Result<void> display_option(Options& o, const std::string& text) {
    if (text != "none")
        return error("-display '{}' does not exist here; there are: none (and -nographic for the terminal)", text);
    o.display_none = true;
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
    if (mode != "readline") return error("-mon mode={} does not exist here; there is: readline", mode);
    o.monitors.push_back("chardev:" + kv->take("chardev"));
    return kv->rest("chardev, mode");
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

Result<void> boot_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-boot", text, "order");
    if (!kv) return kv.error();
    auto& boot = o.machine.boot;
    boot.order = kv->take("order", boot.order);
    boot.once = kv->take("once", boot.once);
    for (const std::string& letters : {boot.order, boot.once})
        if (letters.find_first_not_of("abcdn") != std::string::npos)
            return error("-boot order={}: the letters are a and b (floppy), c (disk), d (CD) and n (network)", letters);
    auto menu = kv->take_bool("menu", boot.menu);
    if (!menu) return menu.error();
    boot.menu = *menu;
    auto wait = kv->take_number("splash-time", boot.menu_milliseconds);
    if (!wait) return wait.error();
    if (*wait > 0xFFFF) return error("-boot splash-time={}: at most 65535 milliseconds", *wait);
    boot.menu_milliseconds = static_cast<u16>(*wait);
    auto strict = kv->take_bool("strict", boot.strict);
    if (!strict) return strict.error();
    boot.strict = *strict;
    if (kv->has("reboot-timeout")) {
        const std::string text_of = kv->take("reboot-timeout");
        const auto retry = text_of == "-1" ? Result<u64>(0xFFFF'FFFF) : machine::parse_count(text_of);
        if (!retry || (*retry > 0xFFFF && text_of != "-1"))
            return error("-boot reboot-timeout={}: milliseconds, at most 65535, or -1 for never", text_of);
        boot.retry_milliseconds = static_cast<u32>(*retry);
    }
    return kv->rest("order, once, menu, splash-time, reboot-timeout, strict");
}

Result<void> only_none(std::string_view option, const std::string& text) {
    if (text == "none") return {};
    return error("{} {} does not exist here; there is: none", option, text);
}

Result<void> vga_option(Options& o, const std::string& text) {
    if (text != "std" && text != "none")
        return error("-vga {} does not exist here; there are: std, none (and what -device help lists)", text);
    o.vga = text;
    return {};
}

// A machine has a VGA unless it was asked for without, or with another; it has the first slot, as in QEMU.
void settle_display(Options& o) {
    const bool own = std::any_of(o.machine.devices.begin(), o.machine.devices.end(),
                                 [](const auto& device) { return device.driver == "VGA"; });
    if (o.vga.empty()) o.vga = o.no_defaults || own ? "none" : "std";
    if (o.vga == "std") o.machine.devices.insert(o.machine.devices.begin(), machine::DeviceRequest{"VGA", "", {}});
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
    Option{"serial", "DEV", "a serial port: stdio, mon:stdio, file:F, unix:P[,server][,nowait], pty, null, none",
           SET(o.serials.push_back(v))},
    Option{"chardev", "KIND,id=ID,..", "a character device for -serial chardev:ID and others", chardev_option},
    Option{"debugcon", "DEV", "debug console at port E9h", SET(o.debugcon = v)},
    Option{"device", "NAME,prop=value", "a device (-device help lists them)", device_option},
    Option{"object", "KIND,id=ID,..", "what devices draw on (-object help lists the kinds)", object_option},
    Option{"monitor", "DEV", "the monitor's place: stdio, unix:P,server,nowait, none", SET(o.monitors.push_back(v))},
    Option{"mon", "chardev=ID", "the monitor on a -chardev", mon_option},
    Option{"nographic", "", "the guest's console on this terminal (Ctrl-A h for help)", SET(o.no_graphic = true)},
    Option{"display", "none", "no window", display_option},
    Option{"vga", "std|none", "the display adapter (std)", vga_option},
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
    Option{"no-hpet", "", "", SET(o.machine.hpet = false)},
    Option{"no-reboot", "", "end instead of resetting", SET(o.machine.no_reboot = true)},
    Option{"no-shutdown", "", "stop instead of ending when the guest powers off", SET(o.machine.no_shutdown = true)},
    Option{"S", "", "start stopped (the monitor's 'cont' goes on)", SET(o.machine.start_stopped = true)},
    Option{"rtc", "base=utc|localtime|DATE", "the guest's clock", rtc_option},
    Option{"name", "NAME", "the guest's name", name_option},
    Option{"uuid", "UUID", "the guest's system UUID", uuid_option},
    Option{"smbios", "type=N,field=value", "SMBIOS fields",
           SET(return firmware::apply_smbios_option(o.machine.identity, v))},
    Option{"fw_cfg", "name=N,file=F|string=S", "a file of the firmware configuration device", fw_cfg_option},
    Option{"pidfile", "FILE", "write the process's number", SET(o.pid_file = v)},
    Option{"D", "FILE", "where log messages go (stderr)", SET(o.log_file = v)},
    Option{"d", "CHANNELS", "", append_channels},
    Option{"trace", "CHANNELS", "log channels to show (--trace help lists them)", append_channels},
    Option{"stats", "", "print what the machine did when it ends", SET(o.stats = true)},
    Option{"dump", "guest,ir,host@ADDRESS",
           "print what the translator makes of the code at a linear address, and what became of it", dump_option},
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
    Missing{"vnc", "use -nographic"},
    Missing{"qmp", "use -monitor unix:PATH,server,nowait"},
    Missing{"gdb", "use --trace insn"},
    Missing{"s", "use --trace insn"},
    Missing{"enable-kvm", "leave it out: this emulator runs in software"},
    Missing{"icount", "leave it out"},
    Missing{"loadvm", "use --load FILE"},
    Missing{"incoming", "use --load FILE"},
    Missing{"daemonize", "start it in the background"},
    Missing{"usb", "leave it out"},
    Missing{"full-screen", "use -nographic"},
};

} // namespace

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
    if (auto connected = connect_drives(options.drives, options.machine.devices); !connected) return connected.error();
    return options;
}

} // namespace calque::cli
