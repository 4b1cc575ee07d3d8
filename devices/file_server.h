// Who answers the 9P messages of a shared folder's guest.
#pragma once

#include "base/types.h"

#include <functional>
#include <string>
#include <vector>

namespace calque::devices {

class FileServer {
  public:
    virtual ~FileServer() = default;
    // A message as the guest sent it. `done` gets the answer, of at most `most` bytes, on the server's thread, never
    // inside submit(). Any thread; never waits for the host. Messages are answered in the order of their coming.
    virtual void submit(std::vector<u8> message, std::size_t most,
                        std::function<void(std::vector<u8> answer)> done) = 0;
    // What the guest has open is closed, after what was submitted before: the guest starts anew.
    virtual void close_all() = 0;
};

} // namespace calque::devices
