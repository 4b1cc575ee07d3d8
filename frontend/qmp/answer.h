// What becomes of a command.
#pragma once

#include "frontend/qmp/value.h"

#include <functional>
#include <string>
#include <string_view>
#include <variant>

namespace calque::qmp {

// The classes that clients tell errors apart by.
enum class ErrorClass : u8 { generic, command_not_found, device_not_found, device_not_active };
constexpr std::string_view name_of(ErrorClass error_class) {
    switch (error_class) {
    case ErrorClass::command_not_found: return "CommandNotFound";
    case ErrorClass::device_not_found: return "DeviceNotFound";
    case ErrorClass::device_not_active: return "DeviceNotActive";
    case ErrorClass::generic: break;
    }
    return "GenericError";
}

struct Failure {
    ErrorClass error_class = ErrorClass::generic;
    std::string description; // One sentence.
};

class Answer {
  public:
    using Done = std::variant<Json, Failure>;
    // Asked once the machine has done what the command requested of it,
    using Later = std::function<Done()>;
    // and, with this, once it has been called back, on the same thread: for what takes longer.
    using When = std::function<void(std::function<void()> ready)>;

    Answer() : content_(Done(Json(Json::Object{}))) {} // It is done; there is nothing to say.
    Answer(Json value) : content_(Done(std::move(value))) {}
    Answer(Json::Array value) : content_(Done(Json(std::move(value)))) {}
    Answer(Object object) : content_(Done(Json(std::move(object)))) {}
    Answer(Failure failure) : content_(Done(std::move(failure))) {}
    Answer(const Error& error) : content_(Done(Failure{ErrorClass::generic, error.message})) {}
    Answer(Result<void> result) : Answer() {
        if (!result) content_ = Done(Failure{ErrorClass::generic, result.error().message});
    }
    Answer(Later later, When when = {}) : content_(std::move(later)), when_(std::move(when)) {}

    Done take() const {
        const auto* later = std::get_if<Later>(&content_);
        return later ? (*later)() : std::get<Done>(content_);
    }

    const When& when() const { return when_; } // May be empty.

  private:
    std::variant<Done, Later> content_;
    When when_;
};

} // namespace calque::qmp
