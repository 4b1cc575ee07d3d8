// One end of the protocol: bytes of a client in, bytes for it out.
#pragma once

#include "frontend/qmp/commands.h"
#include "frontend/qmp/events.h"
#include "frontend/qmp/json_splitter.h"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace calque::qmp {

// Commands are carried out one after another, each when the answer to the one before has been taken by the client. So a
// client that sends without reading is not read from any more, and what is kept for it has a bound: some commands, one
// answer, and as many events as go into `event_limit` bytes; further ones are dropped.
// Any thread may call any of these. No lock is held while a command runs.
class Session {
  public:
    static constexpr std::size_t event_limit = 1 << 20;
    static constexpr std::size_t queue_limit = 4;   // Commands that wait, after which no more is read.
    static constexpr std::size_t read_limit = 4096; // Bytes at a time.

    struct Services {
        std::function<void(std::function<void()>)> post; // Runs tasks in their order, later or at once.
        std::function<Answer(const Command&, const Arguments&)> run;
        std::function<std::size_t()> room; // How many bytes transmit() takes now. After 0, drained() is to be called.
        std::function<void(std::span<const u8>)> transmit;
        std::function<void()> ready;       // room() is no longer 0.
        std::function<u64()> microseconds; // The host's time since 1970.
    };
    // `protocol` must outlive it, and so must what runs the tasks.
    Session(const Protocol& protocol, Services services);

    void opened(); // A client is there; it is greeted.
    void closed(); // What it has sent is still carried out.
    std::size_t room() const;
    void receive(std::span<const u8> bytes); // One thread at a time.
    void drained();
    void send(const machine::Event& event); // Nothing, before the client has said qmp_capabilities.

  private:
    struct Client {
        bool negotiated = false;
    };
    struct Request {
        std::shared_ptr<Client> client;
        Json command;
        std::string garbage; // Not empty: what is wrong with what was to be a command.
    };
    void enqueue(Json command, std::string garbage);
    void start_next();
    void perform(const Request& request);
    Answer dispatch(const Request& request, const Command*& command);
    Answer negotiate(const Request& request, const Arguments& arguments);
    void respond(const Request& request, const Answer::Done& done);
    void finish();
    void write(std::string_view text); // With the lock.
    void flush();                      // With the lock.

    const Protocol& protocol_;
    const Services services_;
    JsonSplitter splitter_;
    mutable std::mutex mutex_;
    std::shared_ptr<Client> client_; // Null: nobody is there.
    std::deque<Request> queue_;
    bool busy_ = false;
    std::string output_; // Not transmitted yet.
};

} // namespace calque::qmp
