// Whoever debugs the guest from outside (frontend/gdb).
#pragma once

namespace calque::machine {

// Called on the thread that carries out the machine's requests, with the machine stopped. It goes on when it is asked
// to (Machine::request_resume).
class DebugListener {
  public:
    virtual ~DebugListener() = default;
    // At least one vCPU has come to one of its stops: Cpu::debug.stop says which and is to be cleared.
    virtual void vcpu_stopped() = 0;
    virtual void paused() = 0; // For another reason.
    virtual void ended(int status) = 0;
};

} // namespace calque::machine
