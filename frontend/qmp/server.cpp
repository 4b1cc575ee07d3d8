#include "frontend/qmp/server.h"

#include <chrono>

namespace calque::qmp {

namespace {

u64 microseconds_now() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<u64>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

} // namespace

Server::Server(machine::Machine& machine, Surroundings surroundings)
    : machine_(machine), surroundings_(std::move(surroundings)) {
    machine_.set_observer([this](const machine::Event& event) {
        if (std::holds_alternative<machine::event::MigrationChanged>(event) && !control_.migration_events) return;
        for (const Place& place : places_)
            place.session->send(event);
    });
}

Server::~Server() {
    for (const Place& place : places_)
        place.backend.set_receiver({});
    machine_.set_observer({});
}

void Server::add(devices::CharBackend& backend) {
    Session::Services services;
    services.post = [this](std::function<void()> task) { machine_.post(std::move(task)); };
    services.run = [this, &backend](const Command& command, const Arguments& arguments) {
        control_.take_descriptor = [&backend] { return backends::UniqueFd(backend.take_descriptor()); };
        return command.run(control_, arguments);
    };
    services.room = [&backend] { return backend.transmit_room(); };
    services.transmit = [&backend](std::span<const u8> bytes) { backend.transmit(bytes); };
    services.ready = [&backend] { backend.resume(); };
    services.microseconds = microseconds_now;
    places_.push_back({backend, std::make_unique<Session>(protocol_, std::move(services))});
    Session& session = *places_.back().session;
    backend.set_receiver({[&session] { return session.room(); },
                          [&session](std::span<const u8> bytes) { session.receive(bytes); },
                          {},
                          [&session] { session.opened(); },
                          [&session] { session.closed(); },
                          [&session] { session.drained(); }});
}

} // namespace calque::qmp
