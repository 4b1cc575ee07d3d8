// q and Q packets.
#include "frontend/gdb/session.h"

#include <algorithm>

namespace calque::gdb {

namespace {
constexpr std::size_t longest_piece = longest_packet / 2; // Its escapes may double it.
} // namespace

void Session::query(Fields fields) {
    if (fields.skip("Supported")) {
        knows_breakpoint_reasons_ = fields.rest().find("swbreak+") != std::string_view::npos;
        return reply(fmt::format(
            "PacketSize={:x};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+", longest_packet));
    }
    if (fields.skip("Xfer:features:read:")) return read_description(fields);
    if (fields.rest() == "fThreadInfo") {
        listed_ = 0;
        return list_threads();
    }
    if (fields.rest() == "sThreadInfo") return list_threads();
    if (fields.skip("ThreadExtraInfo,")) return describe_thread(fields);
    if (fields.rest() == "C") return reply(fmt::format("QC{:x}", selected_ + 1));
    if (fields.rest().starts_with("Attached")) return reply("1"); // Leaving it lets it go on.
    if (fields.skip("Rcmd,")) {
        const auto line = bytes_of_hex(fields.rest());
        return line ? command(*line) : fail(1);
    }
    if (fields.rest() == "qemu.PhyMemMode") return reply(physical_ ? "1" : "0");
    reply("");
}

void Session::set(Fields fields) {
    if (fields.rest() == "StartNoAckMode") {
        ok();
        acknowledges_ = false;
        return;
    }
    if (fields.skip("qemu.PhyMemMode:")) {
        if (fields.rest() != "0" && fields.rest() != "1") return fail(1);
        physical_ = fields.rest() == "1";
        return ok();
    }
    reply("");
}

// target.xml:OFFSET,LENGTH
void Session::read_description(Fields fields) {
    if (fields.until(':') != "target.xml") return reply("E00");
    const auto offset = fields.number();
    const auto length = fields.skip(',') ? fields.number() : std::nullopt;
    const std::string_view all = registers_.description();
    if (!offset || !length || *offset > all.size()) return reply("E01");
    const std::string_view piece = all.substr(*offset, std::min<u64>(*length, longest_piece));
    reply((*offset + piece.size() < all.size() ? "m" : "l") + std::string(piece));
}

// As many as fit, then the rest, then the end.
void Session::list_threads() {
    constexpr std::size_t at_once = 64;
    if (listed_ >= cpus_.size()) return reply("l");
    std::string text = "m";
    for (std::size_t n = 0; n < at_once && listed_ < cpus_.size(); ++n)
        text += fmt::format("{}{:x}", n == 0 ? "" : ",", ++listed_);
    reply(text);
}

void Session::describe_thread(Fields fields) {
    const auto which = thread(fields);
    if (!which) return fail(1);
    const cpu::Cpu& cpu = *cpus_[*which];
    const char* what = "running";
    switch (cpu.state.activity) {
    case cpu::Activity::running: break;
    case cpu::Activity::halted: what = "halted"; break;
    case cpu::Activity::wait_for_sipi: what = "waits to be started"; break;
    case cpu::Activity::shutdown: what = "shut down"; break;
    }
    reply(to_hex(fmt::format("CPU#{} [{}]", *which, what)));
}

} // namespace calque::gdb
