// Files and patterns for tests of disk images.
#pragma once

#include "base/types.h"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace calque::backends::test {

// A folder that goes with the test. On a disk file system: tmpfs lacks O_DIRECT and some of fallocate().
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = "/var/tmp/calque-test-XXXXXX";
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        path_ = pattern;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

// Bytes that tell where they belong: no two sectors are alike.
inline std::vector<u8> pattern(std::size_t size, u32 seed = 1) {
    std::vector<u8> bytes(size);
    u32 x = seed * 2654435761u + 1;
    for (u8& byte : bytes) {
        x = x * 1664525u + 1013904223u;
        byte = static_cast<u8>(x >> 24);
    }
    return bytes;
}

} // namespace calque::backends::test
