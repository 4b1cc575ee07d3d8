// Cuts what a client sends into JSON values, which need nothing between them.
#pragma once

#include "base/types.h"

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace calque::qmp {

// Keeps at most `longest` bytes. What is no object or array, nested deeper than `deepest`, or too long is told once and
// passed over up to the end of its line.
class JsonSplitter {
  public:
    static constexpr std::size_t longest = 1 << 20;
    static constexpr unsigned deepest = 60; // Less than Json::parse() takes.

    struct Sink {
        std::function<void(std::string_view text)> value; // Begins and ends as a value does; not parsed yet.
        std::function<void(std::string_view why)> garbage;
    };
    explicit JsonSplitter(Sink sink) : sink_(std::move(sink)) {}

    void feed(std::span<const u8> bytes);
    void reset(); // Somebody else sends from here on.

  private:
    void take(char c);
    void give_up(std::string_view why);

    Sink sink_;
    std::string text_;
    unsigned depth_ = 0;
    bool in_string_ = false, escaped_ = false;
    bool skipping_ = false; // Up to the end of the line.
};

} // namespace calque::qmp
