// What takes long and goes on beside the guest: saving it, sending it elsewhere. One thing at a time.
#pragma once

#include "base/result.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace calque::machine {

class Background {
  public:
    // How a task gets to the thread that serves the machine's requests: at once in its turn, or with the guest stopped.
    using Post = std::function<void(std::function<void()> task)>;
    Background(Post post, Post post_stopped) : post_(std::move(post)), post_stopped_(std::move(post_stopped)) {}
    ~Background() { end(); }

    // What work sees of its surroundings.
    class Context {
      public:
        const std::atomic<bool>& cancelled() const { return background_.cancelled_; }
        // Runs the task on the machine's thread and waits for it; false: the machine has ended, and it will not run.
        bool on_machine(std::function<void()> task) { return background_.wait_for(background_.post_, std::move(task)); }
        bool while_stopped(std::function<void()> task) {
            return background_.wait_for(background_.post_stopped_, std::move(task));
        }

        // The last of it, on the machine's thread, where something else can be started afterwards.
        bool conclude(std::function<void()> task) {
            return on_machine([this, &task] {
                background_.set_idle();
                task();
            });
        }

      private:
        friend class Background;
        explicit Context(Background& background) : background_(background) {}
        Background& background_;
    };

    // Runs `work` on a thread of its own. `name` is what goes on, for people: it fails while something else does.
    Result<void> start(const std::string& name, std::function<void(Context&)> work);
    Result<void> idle() const;           // An error that says what goes on.
    void cancel() { cancelled_ = true; } // Work looks at it now and then.
    // Cancels, and returns when nothing runs any more; nothing starts after it. On the machine's thread.
    void end();

  private:
    void set_idle();
    bool wait_for(const Post& post, std::function<void()> task);

    const Post post_, post_stopped_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::string name_; // Empty: nothing goes on.
    bool ended_ = false;
    std::atomic<bool> cancelled_{false};
    std::thread thread_;
};

} // namespace calque::machine
