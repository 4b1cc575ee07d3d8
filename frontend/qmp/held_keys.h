// Keys that are let go of some time after they were pressed.
#pragma once

#include "base/clock.h"
#include "frontend/machine/inputs.h"

#include <memory>
#include <mutex>
#include <vector>

namespace calque::qmp {

class HeldKeys {
  public:
    // Time is the guest's: a key that is held stays so while the machine is stopped. Both must outlive it.
    HeldKeys(Clock& clock, machine::Inputs& inputs);
    ~HeldKeys(); // Lets go.

    // In this order; they are let go of in the reverse one. What is still held from before is let go of first.
    void press(std::vector<devices::Key> keys, u64 milliseconds);

  private:
    void release();

    Clock& clock_;
    machine::Inputs& inputs_;
    std::mutex mutex_;
    std::vector<devices::Key> keys_;
    std::unique_ptr<Timer> timer_;
};

} // namespace calque::qmp
