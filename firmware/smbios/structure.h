// One SMBIOS structure (DSP0134, 6.1): a formatted area and the strings that it numbers.
#pragma once

#include "firmware/bytes.h"

#include <string_view>

namespace calque::firmware {

class SmbiosStructure {
  public:
    SmbiosStructure(u8 type, u16 handle) {
        number(type, 1);
        number(0, 1); // Length: known at the end.
        number(handle, 2);
    }
    SmbiosStructure& number(u64 value, unsigned size) {
        append(formatted_, value, size);
        return *this;
    }
    // A string field: its number in the set, 0 for an empty one. A string ends at a NUL.
    SmbiosStructure& string(std::string_view text) {
        text = text.substr(0, text.find('\0'));
        number(text.empty() || strings_ == 0xFF ? 0 : ++strings_, 1);
        if (formatted_.back() != 0) {
            append(set_, text);
            set_.push_back(0);
        }
        return *this;
    }
    SmbiosStructure& bytes(std::span<const u8> raw) {
        append(formatted_, raw);
        return *this;
    }
    // For type 11, which numbers its strings by a count.
    unsigned add_uncounted(std::string_view text) {
        string(text);
        formatted_.pop_back();
        return strings_;
    }

    // Formatted area, strings, and the zero that ends the set (two when it is empty).
    std::vector<u8> finish() const {
        std::vector<u8> out = formatted_;
        out[1] = static_cast<u8>(formatted_.size());
        append(out, set_);
        out.push_back(0);
        if (set_.empty()) out.push_back(0);
        return out;
    }

  private:
    std::vector<u8> formatted_, set_;
    u8 strings_ = 0;
};

} // namespace calque::firmware
