// What perf needs in order to name translated code: a map of names, and code in memory that no file stands for.
#include "jit/cache/arena.h"
#include "jit/debug/perf_map.h"

#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace calque::jit {
namespace {

// The line of /proc/self/maps with this address.
std::string mapping_of(const void* address) {
    std::ifstream maps("/proc/self/maps");
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t first = 0, last = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx", &first, &last) == 2 && at >= first && at < last) return line;
    }
    return {};
}

TEST(PerfMap, ItsCodeIsInNoFileAndRuns) {
    CodeArena arena(std::size_t{1} << 20, CodeArena::Mapping::anonymous);
    const u8 code[] = {0xB8, 0x2A, 0x00, 0x00, 0x00, 0xC3}; // MOV EAX, 42; RET
    const std::byte* const at = arena.append(code);
    EXPECT_EQ(reinterpret_cast<int (*)()>(reinterpret_cast<std::uintptr_t>(at))(), 42);
    arena.patch(at + 1, 43);
    EXPECT_EQ(reinterpret_cast<int (*)()>(reinterpret_cast<std::uintptr_t>(at))(), 43);
    const std::string line = mapping_of(at);
    EXPECT_NE(line.find(" r-x"), std::string::npos) << line; // Never writable there.
    EXPECT_NE(line.find("/dev/zero"), std::string::npos) << line;
}

TEST(PerfMap, NamesUnitsAndWhatIsSeldomRunOfThem) {
    const std::string path = fmt::format("/tmp/perf-{}.map", ::getpid());
    const auto* const base = reinterpret_cast<const std::byte*>(u64{0x7000'0000'1000});
    {
        PerfMap map;
        ASSERT_TRUE(map.open());
        map.add_unit({base, 0x20}, {base + 0x100, 0x10}, 0xFFFF'FFFF'8100'0000, true);
        map.add_unit({base + 0x20, 8}, {}, 0x40'0000, false);
    }
    std::ifstream file(path);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    ::unlink(path.c_str());
    EXPECT_EQ(text, "700000001000 20 guest_kernel_ffffffff81000000\n"
                    "700000001100 10 guest_kernel_ffffffff81000000_seldom\n"
                    "700000001020 8 guest_400000\n");
}

} // namespace
} // namespace calque::jit
