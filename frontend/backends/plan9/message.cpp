#include "frontend/backends/plan9/message.h"

#include "base/byte_order.h"

namespace calque::backends::plan9 {

u64 Reader::number(std::size_t size) {
    u64 value = 0;
    const auto from = bytes(size);
    for (std::size_t i = 0; i < from.size(); ++i)
        value |= u64{from[i]} << (8 * i);
    return value;
}

std::span<const u8> Reader::bytes(std::size_t count) {
    if (!good_ || count > bytes_.size()) {
        good_ = false;
        return {};
    }
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
}

std::string Reader::string() {
    const auto text = bytes(u16_());
    return {text.begin(), text.end()};
}

void Writer::number(u64 value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
        bytes_.push_back(static_cast<u8>(value >> (8 * i)));
}

void Writer::string(std::string_view text) {
    u16_(static_cast<u16>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
}

void Writer::qid(const Qid& qid) {
    u8_(qid.type);
    u32_(qid.version);
    u64_(qid.path);
}

std::span<u8> Writer::space(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return std::span(bytes_).last(count);
}

void Writer::set_u32(std::size_t at, u32 value) { store_little(bytes_, at, value, 4); }

std::vector<u8> Writer::finish(u8 type, u16 tag) && {
    store_little(bytes_, 0, bytes_.size(), 4);
    bytes_[4] = type;
    store_little(bytes_, 5, tag, 2);
    return std::move(bytes_);
}

} // namespace calque::backends::plan9
