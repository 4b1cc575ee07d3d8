#include "frontend/cli/machine_options.h"

#include "firmware/smbios/smbios.h"
#include "frontend/cli/accel_options.h"
#include "frontend/cli/keyval.h"

#include <ctime>

namespace calque::cli {

Result<void> machine_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-machine", text, "type");
    if (!kv) return kv.error();
    const std::string type = kv->take("type", "pc");
    if (type == "help") {
        o.print = "Supported machines are:\npc    Standard PC (i440FX + PIIX, 1996) (default)\n"
                  "none  nothing to run: for programs that ask by -qmp what there is\n";
        return {};
    }
    if (type == "none") {
        o.machine_none = o.machine.start_stopped = true;
        o.machine.ram_bytes = u64{4} << 20;
    } else if (type != "pc" && !type.starts_with("pc-i440fx"))
        return error("-machine '{}' does not exist here; there are: pc, none", type);
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

} // namespace calque::cli
