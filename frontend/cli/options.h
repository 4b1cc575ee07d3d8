// The command line, as QEMU's users write it.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/drive.h"
#include "frontend/backends/chardev.h"
#include "frontend/backends/net/net_options.h"
#include "frontend/backends/plan9/server.h"
#include "frontend/machine/config.h"

#include <span>
#include <string>
#include <vector>

namespace calque::cli {

struct Options {
    machine::MachineConfig machine;
    std::vector<backends::ChardevOptions> chardevs;      // -chardev, by id.
    std::vector<std::string> monitors;                   // -monitor, and -mon as "chardev:ID".
    std::vector<std::string> controls;                   // -qmp, and -mon with mode=control.
    std::vector<machine::DeviceRequest> objects;         // -object: kind, id and properties.
    std::vector<backends::NetOptions> networks;          // -netdev and -nic.
    std::vector<machine::DeviceRequest> dumps;           // -object filter-dump.
    std::vector<backends::plan9::FolderOptions> folders; // -fsdev and -virtfs.
    std::size_t nics = 0;                                // Devices that -nic made: the first ones.
    bool no_default_nic = false;
    std::vector<std::string> serials;           // -serial, in order, as given.
    std::vector<backends::DriveOptions> drives; // -drive and its short forms, with ids and places.
    std::vector<Json> block_nodes;              // -blockdev, as given.
    bool snapshot = false;
    std::string debugcon;
    bool no_graphic = false;
    bool no_defaults = false;
    bool display_none = false;
    struct Window {
        bool asked = false; // -display sdl: an error where there is none.
        bool full_screen = false, close = true, show_cursor = false;
        std::string keyboard = "en-us"; // -k
    };
    Window window;
    struct Vnc {
        bool asked = false; // -vnc
        std::string address = "127.0.0.1";
        u16 port = 0;
        bool wants_password = false;
        std::string secret, password; // The password is that of the secret, once all options are known.
    };
    Vnc vnc;
    std::vector<machine::DeviceRequest> secrets; // -object secret.
    bool has_window = false;                     // Settled when the host's display has been looked for.
    std::string vga;                             // -vga; empty: none was given.
    std::string debugger;                        // -gdb, -s
    std::string log_file;                        // -D
    std::string channels;                        // --trace, -d
    bool stats = false;                          // --stats
    std::string pid_file;
    bool daemonize = false;
    bool machine_none = false; // -machine none: there is nothing to run, only to ask.
    // Text to print and leave with status 0 (-help, -version, -cpu help, ...).
    std::string print;
};

// One clear sentence for everything that is wrong: the option by name, and the nearest thing that there is.
Result<Options> parse_options(std::span<const std::string> arguments);
// Without their dashes.
std::vector<std::string> option_names();

} // namespace calque::cli
