// The protocol on the program's character backends, over the machine.
#pragma once

#include "devices/char_backend.h"
#include "frontend/machine/machine.h"
#include "frontend/qmp/session.h"

#include <memory>
#include <vector>

namespace calque::qmp {

// Observes the machine. Made before the machine runs, destroyed after it has ended.
class Server {
  public:
    Server(machine::Machine& machine, Surroundings surroundings); // The machine must outlive it.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // A place where clients come, one at a time. The backend must outlive the server.
    void add(devices::CharBackend& backend);

  private:
    struct Place {
        devices::CharBackend& backend;
        std::unique_ptr<Session> session;
    };
    machine::Machine& machine_;
    const Protocol protocol_;
    const Surroundings surroundings_;
    Control control_{machine_, protocol_, surroundings_};
    std::vector<Place> places_;
};

} // namespace calque::qmp
