// "first,key=value,key=value" as QEMU's options have it; a doubled comma stands for a comma. JSON too: {"key": value}.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <string>
#include <string_view>
#include <vector>

namespace calque::cli {

class KeyValues {
  public:
    // With `implied`, a first part without '=' is the value of that key. Other parts without '=' are flags: value "on".
    static Result<KeyValues> parse(std::string_view option, std::string_view text, std::string_view implied = {});

    bool has(std::string_view key) const;
    // Takes a value out; empty when absent. What is never taken is reported by rest().
    std::string take(std::string_view key, std::string_view fallback = {});
    // All that nobody took, in order.
    std::vector<std::pair<std::string, std::string>> take_all();
    Result<bool> take_bool(std::string_view key, bool fallback);
    Result<u64> take_number(std::string_view key, u64 fallback);
    // An error that names a key nobody took, or nothing.
    Result<void> rest(std::string_view known) const;

  private:
    struct Pair {
        std::string key, value;
    };
    std::string option_;
    std::vector<Pair> pairs_;
};

// Decimal, or hexadecimal with 0x.
Result<u64> parse_number(std::string_view option, std::string_view text);
// A size with an optional suffix b, k, M, G, T (powers of 1024); a bare number counts in `unit`.
Result<u64> parse_size(std::string_view option, std::string_view text, u64 unit);

} // namespace calque::cli
