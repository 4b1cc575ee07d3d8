// Units as text: the guest's code, the intermediate form, and the host's code (--dump, --trace jit).
#pragma once

#include "base/log.h"
#include "jit/cache/code_cache.h"
#include "jit/debug/unit_dump_request.h"
#include "jit/ir/unit.h"
#include "jit/translate/translate.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace calque::jit {

// A unit that has just been made.
struct MadeUnit {
    const ir::Unit& unit;
    std::span<const u8> bytes; // Of the guest.
    const UnitMode& mode;
    const EmittedUnit& emitted;
    const std::byte *code, *cold; // Where it will run.
};
std::string describe(const MadeUnit& made, const UnitParts& parts);

class UnitDump {
  public:
    explicit UnitDump(const UnitDumpRequest& request) : request_(request) {}
    // A unit that runs so far from where its addresses say, now (a movable one elsewhere, too).
    bool wants(const ir::Unit& unit, u64 shift) const {
        return request_.keep_all || std::any_of(unit.ops.begin(), unit.ops.end(), [&](const ir::Op& op) {
                   return request_.address - (op.rip + shift) < op.guest.length;
               });
    }
    // The unit is about to be inserted in the cache.
    void add(const MadeUnit& made, const CodeCache& cache, Log& log);
    // Of each unit that was wanted: what became of it, and its host code as it is linked now.
    std::string describe(const CodeCache& cache) const;
    // Of the unit that has this number now, with keep_all.
    std::string text_of(u32 unit) const { return unit < texts_.size() ? texts_[unit] : std::string(); }

  private:
    static constexpr std::size_t most_units = 256; // That are written: code may be rewritten without end.
    struct Dumped {
        u32 number;
        u64 linear, flushes;
    };
    UnitDumpRequest request_;
    std::vector<Dumped> dumped_;
    u64 left_out_ = 0;
    std::vector<std::string> texts_; // By unit number.
};

} // namespace calque::jit
