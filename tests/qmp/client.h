// A client of a session whose commands do nothing, and what such a session needs around it.
#pragma once

#include "frontend/qmp/session.h"

#include <gtest/gtest.h>

namespace calque::qmp {

class Client {
  public:
    Client() {
        Session::Services services;
        services.post = [this](std::function<void()> task) {
            tasks_.push_back(std::move(task));
            if (!later) perform();
        };
        services.run = [this](const Command& command, const Arguments&) -> Answer {
            ran.emplace_back(command.name);
            if (command.name == "query-status") return Object{{"running", true}};
            if (command.name == "query-version") return version();
            if (command.name == "query-qmp-schema") return protocol.schema().describe();
            return {};
        };
        services.room = [this] { return room; };
        services.transmit = [this](std::span<const u8> bytes) {
            said_.append(bytes.begin(), bytes.end());
            room -= std::min(room, bytes.size());
        };
        services.ready = [] {};
        services.microseconds = [] { return 3'000'005; };
        session_ = std::make_unique<Session>(protocol, std::move(services));
    }

    Session& session() { return *session_; }
    void connect() { session_->opened(); }
    void negotiate() {
        connect();
        type(R"({"execute": "qmp_capabilities"})");
        take();
    }
    void type(std::string_view text) { session_->receive({reinterpret_cast<const u8*>(text.data()), text.size()}); }
    std::string take() { return std::exchange(said_, {}); }
    // The class of the error that comes back, or nothing.
    std::string ask(const std::string& text) {
        type(text);
        const auto answer = Json::parse(take());
        if (!answer) return "no single answer";
        const Json* error = answer->find("error");
        return error ? *error->find("class")->string() : "";
    }
    void perform_one() {
        if (tasks_.empty()) return;
        const auto task = std::move(tasks_.front());
        tasks_.pop_front();
        task();
    }
    void perform() {
        while (!tasks_.empty())
            perform_one();
    }

    const Protocol protocol;
    bool later = false; // Tasks wait for perform().
    std::size_t room = ~std::size_t{0};
    std::vector<std::string> ran;

  private:
    std::deque<std::function<void()>> tasks_;
    std::string said_;
    std::unique_ptr<Session> session_;
};

} // namespace calque::qmp
