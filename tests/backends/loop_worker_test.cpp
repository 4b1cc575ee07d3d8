// Tasks on the thread of an I/O loop.
#include "frontend/backends/loop_worker.h"

#include <condition_variable>
#include <gtest/gtest.h>
#include <mutex>

namespace calque::backends {
namespace {

// The loop may be anywhere in its round when a worker comes and has something to do at once.
TEST(LoopWorker, ATaskOfAWorkerThatIsNewRuns) {
    IoLoop loop;
    LoopWorker other(loop);
    const auto noise = other.make_task([] {});
    for (int n = 0; n < 3000; ++n) {
        noise->schedule(); // Keeps the loop going round.
        LoopWorker worker(loop);
        std::mutex mutex;
        std::condition_variable changed;
        bool ran = false;
        const auto task = worker.make_task([&] {
            std::lock_guard lock(mutex);
            ran = true;
            changed.notify_all();
        });
        task->schedule();
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return ran; });
    }
}

} // namespace
} // namespace calque::backends
