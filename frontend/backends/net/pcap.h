// A capture file, as tcpdump and Wireshark read it (libpcap's file format, version 2.4).
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <cstdio>
#include <memory>
#include <span>
#include <string>

namespace calque::backends {

class Pcap {
  public:
    // Creates or truncates the file.
    static Result<std::unique_ptr<Pcap>> create(const std::string& path, std::size_t longest);
    void write(std::span<const u8> frame); // With the time that it is.

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    Pcap(std::FILE* file, std::size_t longest) : file_(file), longest_(longest) {}
    std::unique_ptr<std::FILE, Close> file_;
    std::size_t longest_;
};

} // namespace calque::backends
