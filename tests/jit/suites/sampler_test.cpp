// The thread that asks where a vCPU is.
#include "jit/sampler.h"
#include "tests/cpu/system_board.h"

#include <future>

namespace calque::cpu::testing {
namespace {

class JitSampler : public ::testing::Test {
  protected:
    bool asked() { return b.cpu().events.load() & event_sample; }
    void wait_until_asked() {
        while (!asked())
            std::this_thread::yield();
    }
    Board b{Board::Mode::long64};
    jit::Sampler sampler;
};

TEST_F(JitSampler, AsksWhileTheVcpuRuns) {
    EXPECT_FALSE(asked());
    for (int n = 0; n < 3; ++n) { // Also after it has gone to sleep, perhaps.
        sampler.sample(b.cpu());
        for (int again = 0; again < 3; ++again) {
            wait_until_asked();
            b.cpu().withdraw(event_sample);
            sampler.found(again != 0);
        }
        sampler.stop_sampling();
        EXPECT_FALSE(asked());
    }
}

TEST_F(JitSampler, DoesWhatItIsGivenAndAsksThen) {
    std::promise<std::thread::id> done;
    sampler.post([&] { done.set_value(std::this_thread::get_id()); }); // No vCPU runs.
    EXPECT_NE(done.get_future().get(), std::this_thread::get_id());
    sampler.sample(b.cpu());
    for (int n = 0; n < 12; ++n)
        sampler.found(false);
    sampler.post([] {});
    wait_until_asked();
}

TEST_F(JitSampler, EndsWithTasksThatNobodyWaitsFor) {
    for (int n = 0; n < 1000; ++n)
        sampler.post([] { std::this_thread::yield(); });
}

} // namespace
} // namespace calque::cpu::testing
