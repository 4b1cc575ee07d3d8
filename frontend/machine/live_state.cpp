#include "frontend/machine/live_state.h"

#include "frontend/machine/machine.h"

namespace calque::machine {

Result<void> LiveState::send(const Background::Context* context, const PageSet& pages, bool zeros) {
    std::vector<u8> record;
    for (u64 page = 0; page < pages.size();) {
        if (context && context->cancelled()) return error("it was cancelled");
        page = machine_.memory().pack(pages, page, zeros, record);
        if (record.empty()) continue;
        if (auto sent = writer_.record(backends::RecordKind::ram, record); !sent) return sent;
        progress_.sent_bytes = writer_.bytes();
        if (watcher_) watcher_(progress_);
    }
    return {};
}

Result<void> LiveState::send_running(const Background::Context& context,
                                     const std::function<bool(const LiveProgress&)>& enough) {
    Memory& memory = machine_.memory();
    if (auto begun = writer_.begin(); !begun) return begun;
    if (auto sent = writer_.record(backends::RecordKind::machine, machine_.state_identity()); !sent) return sent;
    memory.take_dirty_pages(); // From here on they count.
    const PageSet touched = memory.touched_pages();
    progress_.all_bytes = touched.count() * page_size;
    if (auto sent = send(&context, touched, false); !sent) return sent;
    for (;;) {
        left_ = memory.take_dirty_pages();
        ++progress_.passes;
        progress_.dirty_bytes = left_.count() * page_size;
        if (context.cancelled()) return error("it was cancelled");
        if (enough(progress_)) return {};
        if (auto sent = send(&context, left_, true); !sent) return sent;
    }
}

Result<void> LiveState::send_rest() {
    const auto devices = machine_.state_of_devices();
    if (!devices) return devices.error();
    left_.add_all(machine_.memory().take_dirty_pages());
    progress_.dirty_bytes = left_.count() * page_size;
    if (auto sent = send(nullptr, left_, true); !sent) return sent;
    if (auto sent = writer_.record(backends::RecordKind::devices, backends::compress_state(*devices)); !sent)
        return sent;
    progress_.sent_bytes = writer_.bytes();
    return writer_.end();
}

} // namespace calque::machine
