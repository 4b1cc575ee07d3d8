#include "base/archive.h"

#include <cstring>

namespace calque {

namespace {
constexpr std::string_view magic = "CALQUE-STATE-01\n";

// FNV-1a over the payload: finds truncation and flipped bits, not forgery.
u64 checksum(std::span<const u8> data) {
    u64 hash = 0xcbf29ce484222325;
    for (u8 byte : data)
        hash = (hash ^ byte) * 0x100000001b3;
    return hash;
}
} // namespace

Archive Archive::saver() { return {}; }

Archive Archive::loader(std::vector<u8> data) {
    Archive archive;
    archive.loading_ = true;
    if (data.size() < magic.size() + 8 || std::memcmp(data.data(), magic.data(), magic.size()) != 0) {
        archive.fail("this is not a saved machine state (the header is wrong)");
        return archive;
    }
    u64 sum = 0;
    std::memcpy(&sum, data.data() + magic.size(), 8);
    data.erase(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(magic.size() + 8));
    if (sum != checksum(data)) archive.fail("the saved state is damaged (its checksum does not match)");
    archive.data_ = std::move(data);
    archive.end_ = archive.data_.size();
    return archive;
}

Result<void> Archive::result() const {
    if (ok()) return {};
    return Error{error_};
}

void Archive::fail(std::string_view why) {
    if (error_.empty()) error_ = where_.empty() ? std::string(why) : fmt::format("{} (in {})", why, where_);
}

std::vector<u8> Archive::take() {
    std::vector<u8> out(magic.begin(), magic.end());
    const u64 sum = checksum(data_);
    const auto* p = reinterpret_cast<const u8*>(&sum);
    out.insert(out.end(), p, p + 8);
    out.insert(out.end(), data_.begin(), data_.end());
    data_.clear();
    return out;
}

void Archive::put(const void* data, std::size_t size) {
    const auto* p = static_cast<const u8*>(data);
    data_.insert(data_.end(), p, p + size);
}

bool Archive::get(void* data, std::size_t size) {
    if (!ok()) return false;
    if (size > end_ - at_) {
        fail("the saved state ends too early");
        return false;
    }
    if (size != 0) std::memcpy(data, data_.data() + at_, size); // An empty vector's data() may be null.
    at_ += size;
    return true;
}

// A header is the name's length (one byte), the name, and the size of what follows (eight bytes).
void Archive::header(std::string_view name, u64& size) {
    u8 length = static_cast<u8>(name.size());
    if (!loading_) {
        put(&length, 1);
        put(name.data(), length);
        put(&size, 8);
        return;
    }
    char found[256];
    if (!get(&length, 1) || !get(found, length) || !get(&size, 8)) return;
    if (std::string_view(found, length) != name)
        return fail(fmt::format("'{}' stands where '{}' belongs", std::string_view(found, length), name));
    if (size > end_ - at_) fail(fmt::format("'{}' is longer than the saved state", name));
}

void Archive::section(std::string_view name, u32 version, const std::function<void(u32)>& body) {
    if (!ok()) return;
    const std::string outer = where_;
    where_ = outer.empty() ? std::string(name) : fmt::format("{}.{}", outer, name);
    u64 size = 0;
    const std::size_t start = data_.size();
    header(name, size);
    if (loading_) {
        const std::size_t outer_end = end_;
        if (ok()) end_ = at_ + size;
        u32 saved = 0;
        if (get(&saved, 4) && saved > version)
            fail(fmt::format("version {} is newer than this program's {}", saved, version));
        if (ok()) body(saved);
        if (ok() && at_ != end_) fail("the section is longer than this program expects");
        end_ = outer_end;
    } else {
        put(&version, 4);
        body(version);
        size = data_.size() - start - 1 - name.size() - 8;
        std::memcpy(data_.data() + start + 1 + name.size(), &size, 8);
    }
    if (ok()) where_ = outer;
}

void Archive::integer(std::string_view name, u64& value, unsigned size) {
    if (!ok()) return;
    u64 length = size;
    header(name, length);
    u8 little[8] = {};
    if (!loading_) {
        for (unsigned i = 0; i < size; ++i)
            little[i] = static_cast<u8>(value >> (8 * i));
        return put(little, size);
    }
    if (ok() && length != size) return fail(fmt::format("field {} has {} bytes where {} belong", name, length, size));
    if (!get(little, size)) return;
    value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= u64{little[i]} << (8 * i);
}

void Archive::field(std::string_view name, std::vector<u8>& bytes) {
    if (!ok()) return;
    u64 size = bytes.size();
    header(name, size);
    if (!loading_) return put(bytes.data(), bytes.size());
    if (!ok()) return;
    bytes.resize(size);
    get(bytes.data(), size);
}

void Archive::field(std::string_view name, std::string& text) {
    std::vector<u8> raw(text.begin(), text.end());
    field(name, raw);
    if (loading_ && ok()) text.assign(raw.begin(), raw.end());
}

void Archive::bytes(std::string_view name, std::span<u8> fixed) {
    if (!ok()) return;
    u64 size = fixed.size();
    header(name, size);
    if (!loading_) return put(fixed.data(), fixed.size());
    if (ok() && size != fixed.size())
        return fail(fmt::format("field {} has {} bytes where {} belong", name, size, fixed.size()));
    get(fixed.data(), fixed.size());
}

} // namespace calque
