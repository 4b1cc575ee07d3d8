#include "frontend/machine/background.h"

namespace calque::machine {

Result<void> Background::idle() const {
    std::lock_guard lock(mutex_);
    if (ended_) return error("the machine has ended");
    if (name_.empty()) return {};
    return error("{} goes on; try again when it has ended, or cancel it", name_);
}

Result<void> Background::start(const std::string& name, std::function<void(Context&)> work) {
    if (auto free = idle(); !free) return free;
    if (thread_.joinable()) thread_.join(); // The one before has said that it is done.
    {
        std::lock_guard lock(mutex_);
        name_ = name;
    }
    cancelled_ = false;
    thread_ = std::thread([this, work = std::move(work)] {
        Context context(*this);
        work(context);
        set_idle();
    });
    return {};
}

void Background::set_idle() {
    std::lock_guard lock(mutex_);
    name_.clear();
}

void Background::end() {
    cancelled_ = true;
    {
        std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

bool Background::wait_for(const Post& post, std::function<void()> task) {
    enum class Step { posted, running, done, given_up };
    struct Turn {
        std::function<void()> task;
        Step step = Step::posted;
    };
    auto turn = std::make_shared<Turn>();
    turn->task = std::move(task);
    post([this, turn] {
        {
            std::lock_guard lock(mutex_);
            if (turn->step == Step::given_up) return;
            turn->step = Step::running;
        }
        turn->task();
        {
            std::lock_guard lock(mutex_);
            turn->step = Step::done;
        }
        changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn->step == Step::done || (ended_ && turn->step == Step::posted); });
    if (turn->step == Step::done) return true;
    turn->step = Step::given_up;
    return false;
}

} // namespace calque::machine
