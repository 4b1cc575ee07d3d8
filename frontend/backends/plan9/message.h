// The encoding of 9P2000.L messages: numbers in bytes, lowest first; strings with their length in front.
#pragma once

#include "base/types.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calque::backends::plan9 {

// Types of messages; an answer's is one more than its question's.
enum class Type : u8 {
    lerror = 6,
    statfs = 8,
    lopen = 12,
    lcreate = 14,
    symlink = 16,
    mknod = 18,
    rename = 20,
    readlink = 22,
    getattr = 24,
    setattr = 26,
    xattrwalk = 30,
    xattrcreate = 32,
    readdir = 40,
    fsync = 50,
    lock = 52,
    getlock = 54,
    link = 70,
    mkdir = 72,
    renameat = 74,
    unlinkat = 76,
    version = 100,
    auth = 102,
    attach = 104,
    flush = 108,
    walk = 110,
    read = 116,
    write = 118,
    clunk = 120,
    remove = 122,
};

inline constexpr std::size_t header_size = 7; // Size, type, tag.

// What a file is to 9P.
struct Qid {
    u8 type;
    u32 version;
    u64 path;
};
inline constexpr std::size_t qid_size = 13;

// Reads a message's fields. After one that is not there, good() is false and all further ones are zero or empty.
class Reader {
  public:
    explicit Reader(std::span<const u8> bytes) : bytes_(bytes) {}
    u8 u8_() { return static_cast<u8>(number(1)); }
    u16 u16_() { return static_cast<u16>(number(2)); }
    u32 u32_() { return static_cast<u32>(number(4)); }
    u64 u64_() { return number(8); }
    std::string string();
    std::span<const u8> bytes(std::size_t count);
    bool good() const { return good_; }

  private:
    u64 number(std::size_t size);
    std::span<const u8> bytes_;
    bool good_ = true;
};

class Writer {
  public:
    Writer() : bytes_(header_size) {}
    void u8_(u8 value) { number(value, 1); }
    void u16_(u16 value) { number(value, 2); }
    void u32_(u32 value) { number(value, 4); }
    void u64_(u64 value) { number(value, 8); }
    void string(std::string_view text);
    void qid(const Qid& qid);
    void bytes(std::span<const u8> more) { bytes_.insert(bytes_.end(), more.begin(), more.end()); }
    std::size_t size() const { return bytes_.size(); }
    // Puts `count` zeros, and gives where they are until something else is put.
    std::span<u8> space(std::size_t count);
    void shrink(std::size_t size) { bytes_.resize(size); }
    void set_u32(std::size_t at, u32 value);
    // The whole message.
    std::vector<u8> finish(u8 type, u16 tag) &&;

  private:
    void number(u64 value, std::size_t size);
    std::vector<u8> bytes_;
};

} // namespace calque::backends::plan9
