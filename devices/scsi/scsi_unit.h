// What a SCSI logical unit is to what carries its commands: a command goes in, and what is to be done comes out.
// Whoever carries it (an ATAPI cable, a virtio queue) moves the data and asks the medium.
#pragma once

#include "base/archive.h"
#include "devices/block_backend.h"

#include <span>
#include <vector>

namespace calque::devices {

namespace scsi {

// SPC-3, 4.5.6 and annex D: key, additional code and its qualifier.
struct Sense {
    u8 key = 0, code = 0, qualifier = 0;
    bool operator==(const Sense&) const = default;
};
inline constexpr Sense no_medium{2, 0x3A, 0}, unrecovered_read{3, 0x11, 0}, write_error{3, 0x0C, 0},
    invalid_operation{5, 0x20, 0}, out_of_range{5, 0x21, 0}, invalid_field{5, 0x24, 0}, no_such_unit{5, 0x25, 0},
    bad_parameter_list{5, 0x26, 0}, parameter_list_length{5, 0x1A, 0}, saving_not_supported{5, 0x39, 0},
    write_protected{7, 0x27, 0}, allocation_failed{7, 0x27, 7}, miscompare{0xE, 0x1D, 0}, target_failure{4, 0x44, 0},
    power_on_reset{6, 0x29, 0}, medium_changed{6, 0x28, 0}, capacity_changed{6, 0x2A, 9};

// Fixed format, current errors (SPC-3, 4.5.3).
std::vector<u8> fixed_sense(Sense sense);

// One command's next thing to do.
struct Step {
    enum class Kind : u8 {
        good,    // The command is at its end.
        check,   // It ended with CHECK CONDITION and `sense`.
        data,    // `bytes` go to the initiator; then good.
        read,    // `count` blocks from `first` on go to it; then good.
        write,   // They come from it; then good.
        receive, // `count` bytes of parameters come from it; then received() says how it goes on.
        flush,   // The medium's cache; then good.
        zero,    // `ranges` are to be zero (with `may_unmap`, room given back); then good.
        discard, // `ranges` may be forgotten; then good.
        fill,    // Each block of `ranges` gets `bytes`, one block; then good.
    };
    // Blocks.
    struct Range {
        u64 first = 0, count = 0;
    };
    Kind kind = Kind::good;
    Sense sense{};
    std::vector<u8> bytes{};
    u64 first = 0;
    u64 count = 0;
    std::vector<Range> ranges{};
    bool force_unit_access = false;
    bool may_unmap = false;

    static Step good() { return {}; }
    static Step check(Sense sense) { return {.kind = Kind::check, .sense = sense}; }
    // Cut to the allocation length.
    static Step data(std::vector<u8> bytes, u64 at_most) {
        if (bytes.size() > at_most) bytes.resize(at_most);
        return {.kind = bytes.empty() ? Kind::good : Kind::data, .bytes = std::move(bytes)};
    }
    static Step receive(u64 count) { return {.kind = count ? Kind::receive : Kind::good, .count = count}; }
};

} // namespace scsi

// Guarded by whoever owns it.
class ScsiUnit {
  public:
    virtual ~ScsiUnit() = default;
    // A command descriptor block, with zeros behind what was given: at least 16 bytes.
    virtual scsi::Step execute(std::span<const u8> cdb) = 0;
    // Its parameters have come, as many as were asked for.
    virtual scsi::Step received(std::span<const u8> cdb, std::span<const u8> parameters) = 0;
    virtual u32 block_size() const = 0;
    // A person changed the medium, or (`wanted`) would like to have it.
    virtual void medium_event(bool wanted) = 0;
    virtual void reset() = 0; // Power-on, hard reset, logical unit reset.
    // Fields of the caller's section.
    virtual void serialize(Archive& archive) = 0;
    virtual BlockBackend& backend() = 0;
};

// What a failed access to the medium is to the initiator.
scsi::Sense sense_of(BlockStatus status, bool reading);

} // namespace calque::devices
