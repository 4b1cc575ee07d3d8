// What each option of the command line becomes, and the sentence for everything that is wrong with it.
#include "frontend/cli/options.h"

#include <gtest/gtest.h>

namespace calque::cli {
namespace {

Options parsed(std::vector<std::string> words) {
    auto options = parse_options(words);
    EXPECT_TRUE(options) << (options ? "" : options.error().message);
    return options ? *options : Options{};
}

TEST(Options, NothingGivenIsTheDefaultMachine) {
    const Options o = parsed({});
    EXPECT_EQ(o.machine.ram_bytes, u64{128} << 20);
    EXPECT_EQ(o.machine.cpus, 1u);
    EXPECT_TRUE(o.machine.hpet);
    EXPECT_FALSE(o.machine.no_reboot || o.machine.no_shutdown || o.machine.start_stopped || o.stats);
}

TEST(Options, FilesAndTexts) {
    const Options o = parsed({"-kernel", "k", "-initrd", "i", "-append", "a b", "-bios", "f", "-name", "n,process=p",
                              "-pidfile", "p", "-D", "l", "--load", "s"});
    EXPECT_EQ(o.machine.kernel, "k");
    EXPECT_EQ(o.machine.initrd, "i");
    EXPECT_EQ(o.machine.append, "a b");
    EXPECT_EQ(o.machine.bios, "f");
    EXPECT_EQ(o.machine.name, "n");
    EXPECT_EQ(o.pid_file, "p");
    EXPECT_EQ(o.log_file, "l");
    EXPECT_EQ(o.machine.load_state, "s");
}

TEST(Options, Switches) {
    const Options o =
        parsed({"-nographic", "-nodefaults", "-no-user-config", "-no-hpet", "-no-reboot", "-no-shutdown", "-S",
                "--stats", "-display", "none", "-vga", "none", "-parallel", "none", "-nic", "none", "-net", "none"});
    EXPECT_TRUE(o.no_graphic && o.no_defaults && o.display_none && o.stats);
    EXPECT_TRUE(o.machine.no_reboot && o.machine.no_shutdown && o.machine.start_stopped);
    EXPECT_FALSE(o.machine.hpet);
}

TEST(Options, Windows) {
    const Options o = parsed({"-display", "sdl,gl=off,window-close=off,show-cursor=on", "-full-screen", "-k", "de"});
    EXPECT_TRUE(o.window.asked && o.window.full_screen && !o.window.close && o.window.show_cursor);
    EXPECT_EQ(o.window.keyboard, "de");
    EXPECT_FALSE(o.display_none || o.has_window); // Whether there is a display is found out later.
    EXPECT_FALSE(parsed({"-display", "sdl", "-display", "none"}).window.asked);
    EXPECT_TRUE(parsed({"-display", "sdl,full-screen=on"}).window.full_screen);
    EXPECT_FALSE(parsed({}).window.asked);
}

TEST(Options, OrderOfBooting) {
    const Options o = parsed({"-boot", "order=dc,menu=on,strict=on,reboot-timeout=5000", "-drive",
                              "file=a,if=none,id=a", "-device", "ide-cd,drive=a,bus=ide.1,unit=1,bootindex=7"});
    EXPECT_EQ(o.machine.boot.order, "dc");
    EXPECT_TRUE(o.machine.boot.menu && o.machine.boot.strict);
    EXPECT_EQ(o.machine.boot.retry_milliseconds, 5000u);
    EXPECT_EQ(o.machine.ide_boot_indexes, (std::map<unsigned, u64>{{3, 7}}));
    EXPECT_FALSE(o.machine.boots_network());
    EXPECT_EQ(parsed({"-boot", "reboot-timeout=-1"}).machine.boot.retry_milliseconds, 0xFFFF'FFFFu);
    EXPECT_TRUE(parsed({"-netdev", "user,id=n", "-device", "e1000,netdev=n,bootindex=1"}).machine.boots_network());
}

TEST(Options, SizesOfMemory) {
    const std::pair<const char*, u64> sizes[] = {{"512", 512},      {"512M", 512},       {"2G", 2048},
                                                 {"size=1g", 1024}, {"4m", 4},           {"8192k", 8},
                                                 {"5000K", 5},      {"524288M", 524288}, {"64,slots=2,maxmem=1G", 64}};
    for (const auto& [text, mib] : sizes)
        EXPECT_EQ(parsed({"-m", text}).machine.ram_bytes, mib << 20) << text;
}

TEST(Options, NumbersOfProcessors) {
    const std::pair<const char*, u32> counts[] = {
        {"1", 1}, {"255", 255}, {"cpus=4", 4}, {"sockets=2,cores=3,threads=2", 12}, {"2,maxcpus=4", 2}};
    for (const auto& [text, count] : counts) {
        EXPECT_EQ(parsed({"-smp", text}).machine.cpus, count) << text;
        EXPECT_EQ(parsed({"-smp", text, "-cpu", "max"}).machine.cpu.cores, count) << text;
    }
}

TEST(Options, MachineAndAccelerator) {
    EXPECT_FALSE(parsed({"-machine", "pc,accel=tcg,hpet=off"}).machine.hpet);
    parsed({"-M", "pc-i440fx-7.2", "-accel", "interp", "-accel", "tcg,thread=multi,tb-size=64"});
    const Options o = parsed({"-accel", "jit,hot-after=1,longest-unit=2"});
    EXPECT_EQ(o.machine.translator.hot_after, 1u);
    EXPECT_EQ(o.machine.translator.longest_unit, 2u);
}

TEST(Options, WhatToSeeOfTheTranslator) {
    const Options o = parsed({"-accel", "jit,count=on,perf-map=on", "--dump", "guest,host@0xffffffff81000000"});
    EXPECT_TRUE(o.machine.translator.counting == jit::Counting::all && o.machine.translator.perf_map);
    ASSERT_TRUE(o.machine.translator.dump);
    EXPECT_EQ(o.machine.translator.dump->address, 0xFFFFFFFF81000000u);
    EXPECT_FALSE(o.machine.translator.dump->parts.ir);
    EXPECT_EQ(parsed({"-accel", "jit,count=speed"}).machine.translator.counting, jit::Counting::speed);
    EXPECT_EQ(parsed({"-accel", "jit,count=off"}).machine.translator.counting, jit::Counting::none);
    EXPECT_EQ(parsed({}).machine.translator.counting, std::nullopt);
    const std::vector<std::string> no_count{"-accel", "jit,count=some"};
    EXPECT_FALSE(parse_options(no_count));
    const std::vector<std::string> wrong{"--dump", "host"};
    const auto refused = parse_options(wrong);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("--dump"), std::string::npos);
}

// Each switch that -accel takes is in its help.
TEST(Options, TheHelpOfAccelHasAllSwitches) {
    const std::string help = parsed({"-accel", "help"}).print;
    const std::vector<std::string> wrong{"-accel", "jit,nonsense=on"};
    const auto refused = parse_options(wrong);
    ASSERT_FALSE(refused);
    for (const char* name :
         {"check-elimination", "flag-liveness", "loop-unrolling", "loop-heads", "regions", "patch-fields", "mirror",
          "x87", "hot-after", "longest-unit", "verify", "count", "perf-map"}) {
        EXPECT_NE(help.find(std::string(name) + "="), std::string::npos) << name;
        EXPECT_NE(refused.error().message.find(name), std::string::npos) << name;
    }
}

TEST(Options, Devices) {
    const Options o =
        parsed({"-device", "isa-debug-exit,iobase=0xf4,iosize=0x4", "-device", "isa-debugcon,iobase=0x402,chardev=d",
                "-device", "isa-serial,chardev=s", "-fw_cfg", "name=opt/a,string=text,,more"});
    ASSERT_TRUE(o.machine.debug_exit);
    EXPECT_EQ(o.machine.debug_exit->base, 0xF4);
    EXPECT_EQ(o.machine.debug_exit->size, 4);
    EXPECT_EQ(o.machine.debugcon_port, 0x402);
    EXPECT_EQ(o.debugcon, "chardev:d");
    EXPECT_EQ(o.serials, std::vector<std::string>{"chardev:s"});
    ASSERT_EQ(o.machine.fw_cfg.size(), 1u);
    EXPECT_EQ(o.machine.fw_cfg[0].string, "text,more");
}

TEST(Options, Consoles) {
    const Options o = parsed({"-serial", "stdio", "-serial", "null", "-monitor", "none", "-debugcon", "file:f",
                              "-chardev", "null,id=c", "-mon", "chardev=c,mode=readline"});
    EXPECT_EQ(o.serials, (std::vector<std::string>{"stdio", "null"}));
    EXPECT_EQ(o.monitors, (std::vector<std::string>{"none", "chardev:c"}));
    EXPECT_EQ(o.debugcon, "file:f");
    ASSERT_EQ(o.chardevs.size(), 1u);
    EXPECT_EQ(o.chardevs[0].id, "c");
}

TEST(Options, PlacesOfTheMachineProtocol) {
    const Options o = parsed({"-qmp", "unix:/q,server=on,wait=off", "-chardev", "null,id=c", "-mon",
                              "chardev=c,mode=control", "-mon", "chardev=c,id=m", "-daemonize"});
    EXPECT_EQ(o.controls, (std::vector<std::string>{"unix:/q,server=on,wait=off", "chardev:c"}));
    EXPECT_EQ(o.monitors, std::vector<std::string>{"chardev:c"});
    EXPECT_TRUE(o.daemonize);
    EXPECT_TRUE(parsed({"-machine", "none,accel=kvm:tcg"}).machine_none);
}

// libvirt gives them to every guest.
TEST(Options, WhatTheHostDoesAnywayMayBeAskedFor) {
    parsed({"-object", "secret,id=masterKey0,format=raw,file=/f", "-overcommit", "mem-lock=off", "-audiodev",
            R"({"id":"audio1","driver":"none"})", "-msg", "timestamp=on", "-chardev", "null,id=c", "-device",
            "isa-serial,chardev=c,id=serial0,index=0"});
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"-overcommit", "mem-lock=on"},
                                               {"-audiodev", "alsa,id=a"},
                                               {"-msg", "colour=on"},
                                               {"-object", "secret,id=s,colour=red"},
                                               {"-device", "isa-serial,chardev=c,index=1"}})
        EXPECT_FALSE(parse_options(words)) << words[0];
}

TEST(Options, KeysMayComeAsJson) {
    const Options o = parsed({"-device", R"({"driver": "virtio-balloon-pci", "id": "b", "addr": "0x5"})", "-object",
                              R"({"qom-type": "rng-random", "id": "r", "filename": "/a,b"})"});
    EXPECT_EQ(o.machine.devices.back().id, "b");
    EXPECT_EQ(o.machine.devices.back().get("addr"), "0x5");
    EXPECT_EQ(o.objects.at(0).get("filename"), "/a,b");
}

TEST(Options, TimeAndIdentity) {
    EXPECT_EQ(parsed({"-rtc", "base=utc,clock=host"}).machine.rtc_offset, 0);
    EXPECT_LT(parsed({"-rtc", "base=2006-06-17T16:01:21"}).machine.rtc_offset, -400'000'000);
    EXPECT_LT(parsed({"-rtc", "base=2006-06-17"}).machine.rtc_offset, -400'000'000);
    EXPECT_TRUE(parsed({"-uuid", "12345678-1234-1234-1234-123456789abc"}).machine.identity.uuid.has_value());
    EXPECT_EQ(parsed({"-smbios", "type=1,product=thing"}).machine.identity.system.product, "thing");
}

TEST(Options, Questions) {
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{"-help"},
                                                                                       {"-h"},
                                                                                       {"--version"},
                                                                                       {"-cpu", "help"},
                                                                                       {"-accel", "help"},
                                                                                       {"-machine", "help"},
                                                                                       {"-device", "help"},
                                                                                       {"--trace", "help"}})
        EXPECT_GT(parsed(words).print.size(), 10u) << words[0];
}

struct Wrong {
    std::vector<std::string> words;
    const char* says;
};

TEST(Options, EveryMistakeIsNamed) {
    const Wrong wrongs[] = {
        {{""}, "neither an option nor a disk image"},
        {{"-"}, "neither an option nor a disk image"},
        {{"-frob"}, "there is no option '-frob'"},
        {{"--frob"}, "there is no option '--frob'"},
        {{"-m"}, "-m needs an argument"},
        {{"-m", "0"}, "-m 0 is not possible"},
        {{"-m", "3M"}, "4 MiB to 512 GiB"},
        {{"-m", "513G"}, "4 MiB to 512 GiB"},
        {{"-m", "99999999T"}, "more than any machine has"},
        {{"-m", "lots"}, "takes a size"},
        {{"-m", "M"}, "takes a size"},
        {{"-m", ""}, "-m"},
        {{"-m", "1G,,"}, "-m"},
        {{"-m", "1G,colour=red"}, "colour"},
        {{"-smp", "0"}, "1 to 255"},
        {{"-smp", "256"}, "1 to 255"},
        {{"-smp", "999"}, "1 to 255"},
        {{"-smp", "two"}, "takes a number"},
        {{"-smp", "4,maxcpus=2"}, "maxcpus is less"},
        {{"-smp", "4,hats=2"}, "hats"},
        {{"-smp", "sockets=18446744073709551615,cores=2"}, "1 to 255"},
        {{"-cpu", "pentium9"}, "pentium9"},
        {{"-cpu", "max,+telepathy"}, "telepathy"},
        {{"-machine", "q35"}, "'q35' does not exist here; there are: pc"},
        {{"-machine", "pc,accel=kvm"}, "accel=kvm"},
        {{"-machine", "pc,acpi=off"}, "acpi=off"},
        {{"-machine", "pc,hpet=maybe"}, "neither on nor off"},
        {{"-machine", "pc,wings=on"}, "wings"},
        {{"-accel", "kvm"}, "-accel kvm needs virtualisation hardware"},
        {{"-accel", "warp"}, "'warp' does not exist"},
        {{"-enable-kvm"}, "-enable-kvm does not exist here yet; leave it out"},
        {{"-device", "flux"}, "'flux' does not exist here"},
        {{"-device", "isa-debug-exit,colour=red"}, "colour"},
        {{"-device", "isa-debug-exit,iosize=9"}, "port space"},
        {{"-device", "isa-debug-exit,iobase=0x10000"}, "port space"},
        {{"-device", "isa-debugcon,iobase=0x10402,chardev=c"}, "port space"},
        {{"-device", "isa-debugcon,iobase=0x402"}, "chardev"},
        {{"-device", "isa-serial"}, "chardev"},
        {{"-display", "sdl,gl=on"}, "gl=on does not exist here"},
        {{"-display", "sdl,sound=on"}, "'sound'"},
        {{"-k", "xx"}, "there are: en-us"},
        {{"-display", "gtk"}, "'gtk' does not exist here"},
        {{"-vga", "qxl"}, "-vga qxl"},
        {{"-nic", "vde"}, "vde"},
        {{"-nic", "user,model=ne2k_pci"}, "ne2k_pci"},
        {{"-nic", "user,hostfwd=tcp:22"}, "tcp:22"},
        {{"-netdev", "user"}, "id"},
        {{"-netdev", "user,id=n", "-netdev", "user,id=n"}, "id=n"},
        {{"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n", "-device", "virtio-net-pci,netdev=n"},
         "each takes one"},
        {{"-device", "virtio-net-pci,netdev=n,mac=1:2"}, "mac=1:2"},
        {{"-object", "filter-dump,id=d,netdev=none,file=f"}, "id=none"},
        {{"-net", "nic"}, "-nic user"},
        {{"-parallel", "stdio"}, "-parallel stdio"},
        {{"-rtc", "base=yesterday"}, "yesterday"},
        {{"-rtc", "clock=vm"}, "clock=vm"},
        {{"-uuid", "x"}, "x"},
        {{"-smbios", "type=99"}, "99"},
        {{"-fw_cfg", "name=a"}, "-fw_cfg"},
        {{"-fw_cfg", "string=a"}, "-fw_cfg"},
        {{"-chardev", "null"}, "id"},
        {{"-chardev", "pigeon,id=p"}, "pigeon"},
        {{"-chardev", "null,id=a", "-chardev", "null,id=a"}, "given twice"},
        {{"-mon", "chardev=c,mode=magic"}, "mode=magic"},
        {{"-mon", "chardev=c,colour=on"}, "colour"},
        {{"-device", "{\"driver\": 5"}, "not JSON"},
        {{"-drive", "if=ide"}, "no file="},
        {{"-drive", "file=x,if=sd"}, "if=sd"},
        {{"-drive", "file=x,media=tape"}, "media=tape"},
        {{"-drive", "file=x,cache=some"}, "cache=some"},
        {{"-drive", "file=x,werror=weep"}, "werror=weep"},
        {{"-drive", "file=x,rerror=enospc"}, "rerror=enospc"},
        {{"-drive", "file=x,speed=fast"}, "'speed'"},
        {{"-drive", "file=x,index=4"}, "no IDE drive with index 4"},
        {{"-drive", "file=x,index=0", "-hda", "y"}, "two drives have index 0"},
        {{"-drive", "file=x,id=a", "-drive", "file=y,id=a"}, "two drives have id=a"},
        {{"-hda", "a", "-hdb", "b", "-hdc", "c", "-hdd", "d", "-drive", "file=e"}, "more than 4 IDE drives"},
        {{"-boot", "order=xyz"}, "order=xyz"},
        {{"-boot", "colour=red"}, "'colour'"},
        {{"-drive", "file=x,if=floppy,index=2"}, "no floppy drive with index 2"},
        {{"-fda", "x", "-drive", "file=y,if=floppy,index=0"}, "two drives have index 0"},
        {{"-gdb", "tcp::0"}, "-gdb tcp::0: "},
        {{"-gdb", "nowhere"}, "-gdb nowhere: "},
    };
    for (const Wrong& wrong : wrongs) {
        const auto options = parse_options(wrong.words);
        std::string line;
        for (const std::string& word : wrong.words)
            line += word + " ";
        EXPECT_FALSE(options) << line;
        if (options) continue;
        EXPECT_NE(options.error().message.find(wrong.says), std::string::npos)
            << line << "said: " << options.error().message;
        EXPECT_EQ(options.error().message.find('\n'), std::string::npos) << line;
    }
}

TEST(Options, ACardOfItsOwnUnlessThereIsAWord) {
    const auto cards = [](std::vector<std::string> arguments) {
        const auto options = parse_options(arguments);
        EXPECT_TRUE(options.ok());
        std::vector<std::string> found;
        for (const auto& device : options->machine.devices)
            if (device.has("netdev"))
                found.push_back(device.driver + " " + device.get("netdev") + " " + device.get("mac"));
        return found;
    };
    using Cards = std::vector<std::string>;
    EXPECT_EQ(cards({}).size(), 1u);
    EXPECT_EQ(cards({"-nic", "none"}), Cards{});
    EXPECT_EQ(cards({"-nodefaults"}), Cards{});
    EXPECT_EQ(cards({"-netdev", "user,id=n"}), Cards{});
    EXPECT_EQ(cards({"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:00:00:01"}),
              Cards{"virtio-net-pci n 52:54:00:00:00:01"});
    EXPECT_EQ(cards({"-nic", "user,model=virtio", "-nic", "user,id=second,model=virtio"}),
              (Cards{"virtio-net-pci nic0 52:54:00:12:34:56", "virtio-net-pci second 52:54:00:12:34:57"}));
}

TEST(Options, AVgaInTheFirstSlotUnlessThereIsAWord) {
    const auto adapters = [](std::vector<std::string> arguments) {
        const auto options = parse_options(arguments);
        EXPECT_TRUE(options.ok());
        std::vector<std::string> found;
        for (const auto& device : options->machine.devices)
            if (device.driver == "VGA" || device.driver == "virtio-vga")
                found.push_back(device.driver + (&device == &options->machine.devices[0] ? " first" : " later"));
        return found;
    };
    using Adapters = std::vector<std::string>;
    EXPECT_EQ(adapters({"-device", "virtio-rng-pci"}), Adapters{"VGA first"});
    EXPECT_EQ(adapters({"-vga", "none"}), Adapters{});
    EXPECT_EQ(adapters({"-nodefaults"}), Adapters{});
    EXPECT_EQ(adapters({"-nodefaults", "-vga", "std"}), Adapters{"VGA first"});
    EXPECT_EQ(adapters({"-vga", "virtio"}), Adapters{"virtio-vga first"});
    EXPECT_EQ(adapters({"-nic", "none", "-device", "virtio-rng-pci", "-device", "virtio-vga"}),
              Adapters{"virtio-vga later"});
    EXPECT_EQ(adapters({"-nic", "none", "-device", "virtio-rng-pci", "-device", "VGA,vgamem_mb=32"}),
              Adapters{"VGA later"});
}

} // namespace
} // namespace calque::cli
