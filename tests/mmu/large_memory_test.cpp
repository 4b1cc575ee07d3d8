#include "base/types.h"
#include "mmu/large_memory.h"

#include <gtest/gtest.h>
#include <vector>

namespace calque::mmu {
namespace {

TEST(LargeMemory, IsAlignedAndAsLargeAsWanted) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{5000}, std::size_t{3} << 20}) {
        const LargeBytes memory = large_bytes(bytes);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % 4096, 0u);
        memory[0] = std::byte{1};
        memory[bytes - 1] = std::byte{2};
    }
}

TEST(LargeMemory, HoldsVectorsThatGrow) {
    std::vector<u64, LargeAllocator<u64>> numbers;
    for (u64 n = 0; n < 200000; ++n)
        numbers.push_back(n);
    for (u64 n = 0; n < numbers.size(); ++n)
        ASSERT_EQ(numbers[n], n);
    const auto copy = numbers;
    EXPECT_EQ(copy, numbers);
}

} // namespace
} // namespace calque::mmu
