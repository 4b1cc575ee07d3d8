// Saving and loading state in named, versioned sections. One function lists an object's fields for both directions:
//
//   void Pit::serialize(Archive& a) { a.section("i8254", 1, [&](u32) { a.field("count", state_.count); ... }); }
//
// On disk: magic, then sections {name, version, length, fields {name, length, bytes little-endian}}. Loading validates
// names, lengths and bounds: a mismatch makes the archive fail (ok() false, error() says where), and every later call
// does nothing.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <array>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace calque {

class Archive {
  public:
    // An archive that collects what is saved.
    static Archive saver();
    // An archive that reads what a saver collected. Fails at once on a wrong magic or a bad checksum.
    static Archive loader(std::vector<u8> data);

    bool loading() const { return loading_; }
    bool ok() const { return error_.empty(); }
    Result<void> result() const;
    // Marks the archive as failed: for a State that does not pass its own validation.
    void fail(std::string_view why);
    // The bytes of a saver, with header and checksum.
    std::vector<u8> take();

    // Opens a section, runs `body` with the version that was saved (the current one when saving), closes it.
    void section(std::string_view name, u32 version, const std::function<void(u32)>& body);

    template <class T> void field(std::string_view name, T& value) {
        if constexpr (std::is_enum_v<T>) {
            auto raw = static_cast<std::underlying_type_t<T>>(value);
            field(name, raw);
            value = static_cast<T>(raw);
        } else if constexpr (std::is_same_v<T, bool>) {
            u8 raw = value;
            field(name, raw);
            value = raw != 0;
        } else {
            static_assert(std::is_integral_v<T>, "list the members of a struct one by one");
            u64 raw = static_cast<u64>(value);
            integer(name, raw, sizeof(T));
            value = static_cast<T>(raw);
        }
    }
    template <class T, std::size_t N> void field(std::string_view name, std::array<T, N>& values) {
        elements(name, std::span<T>(values));
    }
    // A sequence of fixed size: the loader fails when the saved size differs.
    template <class T> void elements(std::string_view name, std::span<T> values) {
        static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
        u64 count = values.size();
        integer(name, count, 8);
        if (count != values.size())
            return fail(fmt::format("field {}: {} elements where {} belong", name, count, values.size()));
        for (T& value : values)
            field(name, value);
    }
    void field(std::string_view name, std::vector<u8>& bytes); // Any size up to the archive's own.
    void field(std::string_view name, std::string& text);
    void bytes(std::string_view name, std::span<u8> fixed); // Raw bytes of a fixed size.

  private:
    Archive() = default;
    void integer(std::string_view name, u64& value, unsigned size);
    void put(const void* data, std::size_t size);
    bool get(void* data, std::size_t size);
    void header(std::string_view name, u64& size);

    bool loading_ = false;
    std::vector<u8> data_;
    std::size_t at_ = 0;
    std::size_t end_ = 0; // Where the section that is being loaded ends.
    std::string where_;   // "section.field", for messages.
    std::string error_;
};

} // namespace calque
