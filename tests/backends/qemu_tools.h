// QEMU's own tools, to compare with.
#pragma once

#include "base/types.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>
#include <vector>

namespace calque::backends::test {

struct Ran {
    int status = -1; // As the command ended.
    std::string output;
};

inline Ran run(const std::string& command) {
    Ran ran;
    FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (!pipe) return ran;
    std::array<char, 4096> buffer;
    while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
        ran.output.append(buffer.data(), got);
    const int status = ::pclose(pipe);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
}

inline bool have_qemu_tools() {
    static const bool there = run("qemu-img --version && qemu-io --version && qemu-nbd --version").status == 0;
    return there;
}
#define NEEDS_QEMU_TOOLS()                                                                                             \
    if (!calque::backends::test::have_qemu_tools()) GTEST_SKIP() << "qemu-utils is not installed"

inline std::vector<u8> file_bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_file(const std::string& path, const std::vector<u8>& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

} // namespace calque::backends::test
