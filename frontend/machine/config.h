// What a machine is made of: the command line, understood.
#pragma once

#include "base/types.h"
#include "cpu/model.h"
#include "firmware/platform.h"
#include "frontend/machine/device_request.h"
#include "jit/debug/unit_dump_request.h"
#include "jit/emit/counting.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace calque::jit::ir {
struct Unit;
}

namespace calque::machine {

struct MachineConfig {
    u64 ram_bytes = 128ull << 20;
    u32 cpus = 1;
    cpu::CpuModel cpu;

    std::string kernel, initrd, append;        // Host files; empty: none.
    std::string bios;                          // A firmware image; it starts the kernel, if there is one.
    std::vector<std::string> firmware_folders; // -L: where images without a folder are looked for, before Debian's.
    // What firmware boots from, as letters: a floppy, c disk, d CD, n network. Empty: c, a, d.
    struct Boot {
        std::string order;
        std::string once; // The order until the first reset.
        bool menu = false;
        u16 menu_milliseconds = 0;             // 0: as the firmware has it.
        std::optional<u32> retry_milliseconds; // When nothing could be booted, all is tried again so much later.
        bool strict = false;                   // Only from what has a bootindex.
        bool from_network() const { return (order + once).find('n') != std::string::npos; }
    };
    Boot boot;

    // Where each serial port goes, in the short form of -serial ("stdio", "file:F", "null", ...); "none" leaves a port
    // out.
    std::vector<std::string> serials;
    std::string debugcon; // Likewise; empty: no debug console.
    u16 debugcon_port = 0xE9;
    std::string monitor; // Likewise; empty or "none": no monitor.
    struct DebugExit {
        u16 base = 0x501;
        u16 size = 2;
    };
    std::optional<DebugExit> debug_exit;
    struct FwCfgFile {
        std::string name;
        std::string file;   // A host file with the contents, or
        std::string string; // the contents.
    };
    std::vector<FwCfgFile> fw_cfg;
    std::vector<DeviceRequest> devices;       // In the order of their slots.
    std::map<unsigned, u64> ide_boot_indexes; // bootindex= of drives on the PC's own IDE cables, by place.
    // Firmware tries a network card, by the letter or by the card's bootindex.
    bool boots_network() const;
    bool serial_console = false; // Firmware shows its text on the first serial port, even if there is a screen.

    enum class Engine : u8 { interpreter, translator }; // The translator where the host can run its code.
    Engine engine = Engine::translator;
    struct Translator {
        u32 hot_after = 0;     // Entries of a block before it is translated; 0: as the translator has it.
        u32 longest_unit = 0;  // Guest instructions in a unit; 0: as the translator has it.
        u32 sample_passes = 0; // jit::EngineOptions::sample_passes, instead of samples in time.
        // Its passes, and what it may do (jit::Switches).
        bool check_elimination = true, flag_liveness = true, loop_unrolling = true, loop_heads = true, regions = true,
             patch_fields = true, mirror = true, return_stack = true, x87 = true;
        bool verify = false;
        bool perf_map = false;
        std::optional<jit::Counting> counting;     // Unset: nothing is counted, unless somebody shows it.
        std::optional<jit::UnitDumpRequest> dump;  // --dump
        std::function<void(jit::ir::Unit&)> spoil; // See jit::EngineOptions.
    };
    Translator translator;
    bool hpet = true;
    bool no_reboot = false;
    bool no_shutdown = false;
    bool start_stopped = false; // -S
    i64 rtc_offset = 0;         // Seconds from the host's UTC to what the guest's clock shows.
    std::string name;           // -name: for people and titles.
    firmware::Identity identity;
    std::string load_state;    // --load: a saved machine to go on from.
    std::string incoming;      // -incoming: where another process' machine comes from, or "defer".
    std::string load_snapshot; // -loadvm: the name of a snapshot in the disks to go on from.
};

} // namespace calque::machine
