#include "frontend/qmp/session.h"

#include <algorithm>

namespace calque::qmp {

namespace {

Answer fail(std::string description, ErrorClass error_class = ErrorClass::generic) {
    return Failure{error_class, std::move(description)};
}

const Json& arguments_of(const Json& command) {
    static const Json none{Json::Object{}};
    const Json* given = command.find("arguments");
    return given ? *given : none;
}

} // namespace

Session::Session(const Protocol& protocol, Services services)
    : protocol_(protocol), services_(std::move(services)),
      splitter_({[this](std::string_view text) {
                     auto parsed = Json::parse(text);
                     if (parsed)
                         enqueue(std::move(*parsed), {});
                     else
                         enqueue({}, parsed.error().message);
                 },
                 [this](std::string_view why) { enqueue({}, std::string(why)); }}) {}

void Session::opened() {
    splitter_.reset();
    std::lock_guard lock(mutex_);
    client_ = std::make_shared<Client>();
    output_.clear();
    const Json greeting = Object{{"QMP", Object{{"version", version()}, {"capabilities", Json::Array{}}}}};
    write(greeting.text());
}

void Session::closed() {
    {
        std::lock_guard lock(mutex_);
        client_.reset();
        output_.clear();
    }
    start_next(); // It may have waited for the client to read.
}

std::size_t Session::room() const {
    std::lock_guard lock(mutex_);
    return queue_.size() < queue_limit ? read_limit : 0;
}

void Session::receive(std::span<const u8> bytes) { splitter_.feed(bytes); }

void Session::drained() {
    {
        std::lock_guard lock(mutex_);
        flush();
    }
    start_next();
}

void Session::enqueue(Json command, std::string garbage) {
    {
        std::lock_guard lock(mutex_);
        queue_.push_back({client_, std::move(command), std::move(garbage)});
    }
    start_next();
}

void Session::start_next() {
    auto request = std::make_shared<Request>();
    {
        std::lock_guard lock(mutex_);
        if (busy_ || queue_.empty() || !output_.empty()) return;
        busy_ = true;
        *request = std::move(queue_.front());
        queue_.pop_front();
    }
    services_.post([this, request] { perform(*request); });
}

void Session::perform(const Request& request) {
    const Command* command = nullptr;
    auto answer = std::make_shared<Answer>(dispatch(request, command));
    if (command && command->answer_first) respond(request, Json(Json::Object{}));
    if (command) *answer = services_.run(*command, Arguments(arguments_of(request.command)));
    if (command && command->answer_first) return finish();
    // After what the command requested of the machine.
    const auto say = [this, kept = std::make_shared<Request>(request), answer] {
        services_.post([this, kept, answer] {
            respond(*kept, answer->take());
            finish();
        });
    };
    answer->when() ? answer->when()(say) : say();
}

// What is wrong with the request; or the command that it asks for, whose answer is to be had.
Answer Session::dispatch(const Request& request, const Command*& command) {
    if (!request.garbage.empty()) return fail("this is not JSON: " + request.garbage);
    const Json::Object* members = request.command.object();
    if (!members) return fail("a command is an object: {\"execute\": \"NAME\"}");
    for (const auto& [name, value] : *members)
        if (name != "execute" && name != "arguments" && name != "id")
            return fail(name == "exec-oob" ? std::string("commands out of band (the capability oob) do not exist here")
                                           : fmt::format("a command has no member '{}'", name));
    const Json* execute = request.command.find("execute");
    if (!execute || !execute->string()) return fail("a command needs \"execute\": \"NAME\"");
    const std::string& name = *execute->string();
    const Json& arguments = arguments_of(request.command);
    if (!arguments.object()) return fail("'arguments' must be an object");
    if (!request.client || !request.client->negotiated) return negotiate(request, Arguments(arguments));
    const Command* found = protocol_.find(name);
    if (!found || name == "qmp_capabilities")
        return fail(found ? "capabilities have been negotiated already"
                          : fmt::format("there is no command '{}'; query-commands lists them", name),
                    ErrorClass::command_not_found);
    if (auto good = protocol_.schema().check_arguments(*protocol_.schema().command(name), arguments); !good)
        return fail(fmt::format("{}: {}", name, good.error().message));
    command = found;
    return {};
}

Answer Session::negotiate(const Request& request, const Arguments& arguments) {
    if (*request.command.find("execute")->string() != "qmp_capabilities")
        return fail("capabilities are negotiated first, by the command qmp_capabilities",
                    ErrorClass::command_not_found);
    const auto* message = protocol_.schema().command("qmp_capabilities");
    for (const Json& capability : arguments.list("enable"))
        if (capability.string() && *capability.string() == "oob")
            return fail("the capability oob does not exist here: commands are carried out one after another");
    if (auto good = protocol_.schema().check_arguments(*message, arguments.json()); !good)
        return fail(fmt::format("qmp_capabilities: {}", good.error().message));
    std::lock_guard lock(mutex_);
    if (request.client) request.client->negotiated = true;
    return {};
}

void Session::respond(const Request& request, const Answer::Done& done) {
    Object message;
    if (const auto* failure = std::get_if<Failure>(&done))
        message.add("error", Object{{"class", name_of(failure->error_class)}, {"desc", failure->description}});
    else
        message.add("return", std::get<Json>(done));
    if (const Json* id = request.command.find("id")) message.add("id", *id);
    const std::string text = Json(message).text();
    std::lock_guard lock(mutex_);
    if (client_ && request.client == client_) write(text);
}

void Session::finish() {
    {
        std::lock_guard lock(mutex_);
        busy_ = false;
    }
    services_.ready();
    start_next();
}

void Session::send(const machine::Event& event) {
    const EventMessage said = describe(event);
    const u64 now = services_.microseconds();
    Object message{{"timestamp", Object{{"seconds", now / 1'000'000}, {"microseconds", now % 1'000'000}}},
                   {"event", said.name}};
    if (said.data) message.add("data", *said.data);
    const std::string text = Json(message).text();
    std::lock_guard lock(mutex_);
    if (client_ && client_->negotiated && output_.size() + text.size() <= event_limit) write(text);
}

void Session::write(std::string_view text) {
    output_ += text;
    output_ += "\r\n";
    flush();
}

void Session::flush() {
    while (!output_.empty()) {
        const std::size_t count = std::min(services_.room(), output_.size());
        if (count == 0) return;
        services_.transmit({reinterpret_cast<const u8*>(output_.data()), count});
        output_.erase(0, count);
    }
}

} // namespace calque::qmp
