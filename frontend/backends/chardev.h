// Character backends: the far ends of serial ports, debug consoles and monitors on the host.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "devices/char_backend.h"
#include "frontend/backends/io_loop.h"

#include <memory>
#include <string>
#include <string_view>

namespace calque::backends {

// What an option such as -serial or -chardev asks for.
struct ChardevOptions {
    enum class Kind : u8 { null, stdio, file, pty, socket, vc };
    Kind kind = Kind::null;
    std::string id;      // -chardev id=..., empty otherwise.
    std::string path;    // file; socket: a Unix socket's, or
    std::string host;    // an IPv4 address (empty: this host's own, 127.0.0.1) with
    u16 port = 0;        // a TCP port, or
    int descriptor = -1; // what the process was started with: it listens already, or is connected.
    bool append = false; // file: keep what is there.
    bool server = false; // socket: listen instead of connecting.
    bool wait = true;    // socket with server: opening waits for the first client.
    bool signals = true; // stdio: the terminal's Ctrl-C and Ctrl-Z act on the process, not on the guest.
    bool mux = false;    // Shared by several users, with the Ctrl-A prefix ("mon:", mux=on).
};

// The short form of -serial, -debugcon, -monitor: "stdio", "mon:stdio", "file:PATH", "null", "pty",
// "unix:PATH[,server][,nowait|wait=off]", "tcp:HOST:PORT[,...]", "chardev:ID" is the caller's. "none" means no device
// and is the caller's too.
Result<ChardevOptions> parse_short_chardev(std::string_view text);
// -chardev KIND,id=ID[,option=value...].
Result<ChardevOptions> parse_chardev(std::string_view text);

// Output that the host does not take is kept up to a bound (16 MiB; 64 KiB for a pty, which may have no reader); beyond
// it the newest is dropped and counted. Without a peer (socket not connected) output is dropped. Destroying a backend
// removes its receiver and writes what is still kept, for as long as the host takes any of it within two seconds.
class Chardev : public devices::CharBackend {
  public:
    // Where people find it ("/dev/pts/3", a socket's path), empty when there is nothing to find.
    virtual std::string address() const { return {}; }
    // A person types here: input must be read even when the guest takes none, or Ctrl-A would not be seen.
    virtual bool interactive() const { return false; }
    virtual u64 dropped_bytes() const { return 0; }
};

// Opens what the options say. The loop must outlive the backend. `mux` is the caller's to act on (Multiplexer).
Result<std::unique_ptr<Chardev>> open_chardev(IoLoop& loop, Log& log, const ChardevOptions& options);

// Opens /dev/null in the place of standard files that the process was started without, so that no file opened later
// gets their numbers. The first thing that main does.
void ensure_standard_files();

} // namespace calque::backends
