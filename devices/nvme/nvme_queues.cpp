// Queues of an NVMe controller: commands in, completions and interrupts out (NVMe 1.4, 4.1, 4.6, 7.5).
#include "base/byte_order.h"
#include "devices/nvme/nvme.h"

#include <algorithm>

namespace calque::devices {

using namespace nvme;

namespace {
constexpr u64 most_under_way = 64 << 20; // Bytes of data; more commands wait in their queues.
} // namespace

// Round robin, a command of each queue at a time. It ends: every command takes a place in its completion queue, which
// only the host gives back.
void Nvme::run() {
    for (bool any = true; any;) {
        any = false;
        for (u16 queue = 0; queue < queues; ++queue)
            any |= fetch(queue);
    }
    interrupt();
}

bool Nvme::fetch(u16 number) {
    Submission& sq = state_.submissions[number];
    if ((state_.status & (CSTS_RDY | CSTS_CFS)) != CSTS_RDY || !sq.valid || sq.head == sq.tail) return false;
    Completion& cq = state_.completions[sq.completion];
    if (cq.full() || bytes_under_way_ >= most_under_way) return false;
    std::array<u8, 64> bytes;
    if (!dma_.dma_read(PhysicalAddress(sq.base + u64{sq.head} * bytes.size()), bytes))
        return fatal("a submission queue is not in memory"), false;
    sq.head = (sq.head + 1) % sq.size;
    auto command = std::make_shared<Command>();
    for (unsigned i = 0; i < 16; ++i)
        command->words[i] = little32(bytes, 4 * i);
    command->queue = number;
    ++cq.reserved;
    under_way_.push_back(command);
    log_.trace(Channel::disk, "{}: queue {} command {} opcode {:02x} namespace {:x} {:08x} {:08x} {:08x}", name_,
               number, command->id(), command->opcode(), command->name_space(), command->words[10], command->words[11],
               command->words[12]);
    execute(command);
    return true;
}

void Nvme::execute(const CommandPtr& command) {
    const u32 flags = command->words[0] >> 8 & 0xFF;
    if (flags & 0xC3) return finish(*command, invalid_field | do_not_retry); // Fused commands, and SGLs.
    command->queue == 0 ? admin(command) : io(command);
}

// The command's end: exactly once, with the place that was kept for it.
void Nvme::finish(Command& command, u16 status, u32 result) {
    if (std::exchange(command.over, true)) return;
    std::erase_if(under_way_, [&](const CommandPtr& other) { return other.get() == &command; });
    const Submission& sq = state_.submissions[command.queue];
    Completion& cq = state_.completions[sq.completion];
    --cq.reserved;
    if (status != success) note_error(command, status);
    post(cq, command.queue, command.id(), sq.head, status, result);
    if (status != success) event(event_error, 0xFF, log_error);
}

void Nvme::post(Completion& cq, u16 number, u16 command, u32 head, u16 status, u32 result) {
    std::array<u8, 16> bytes{};
    store_little(bytes, 0, result, 4);
    store_little(bytes, 8, head, 2);
    store_little(bytes, 10, number, 2);
    store_little(bytes, 12, command, 2);
    store_little(bytes, 14, u32{status} << 1 | cq.phase, 2);
    if (!dma_.dma_write(PhysicalAddress(cq.base + u64{cq.tail} * bytes.size()), bytes))
        return fatal("a completion queue is not in memory");
    cq.tail = (cq.tail + 1) % cq.size;
    if (cq.tail == 0) cq.phase = !cq.phase;
    cq.news = true;
}

// One message for what came together; the pin follows from the queues (7.5.1).
void Nvme::interrupt() {
    for (Completion& cq : state_.completions)
        if (std::exchange(cq.news, false) && cq.interrupts && pci_.messages_enabled()) pci_.send_message(cq.vector);
    update_pin();
}

void Nvme::update_pin() {
    const bool level = std::any_of(state_.completions.begin(), state_.completions.end(), [&](const Completion& cq) {
        return cq.valid && cq.interrupts && cq.head != cq.tail && !(cq.vector < 32 && state_.masked >> cq.vector & 1);
    });
    if (level == pin_) return;
    pin_ = level;
    pci_.set_intx(level);
}

// `then` runs under the lock, on a thread of the backend, unless the command is over by then.
void Nvme::submit(BlockRequest request, const CommandPtr& command, std::function<void(BlockStatus)> then) {
    bytes_under_way_ += command->data.size();
    request.done = [this, command, then = std::move(then)](BlockStatus status) {
        std::lock_guard lock(mutex_);
        const bool waited = bytes_under_way_ >= most_under_way;
        bytes_under_way_ -= command->data.size();
        if (!command->over) {
            then(status);
            interrupt();
        }
        if (waited) task_->schedule();
    };
    backend_.submit(std::move(request));
}

// --- Errors and events

void Nvme::note_error(const Command& command, u16 status) {
    std::rotate(state_.errors.rbegin(), state_.errors.rbegin() + 1, state_.errors.rend());
    state_.errors[0] = {++state_.error_count,
                        command.queue,
                        command.id(),
                        static_cast<u16>(status << 1),
                        command.queue == 0 ? 0 : command.lba(),
                        command.name_space()};
    if (status >> 8 & 7 && (status & 0x700) == 0x200) ++state_.media_errors;
}

// An event waits for a request; of each type one, until its log has been read (5.2). Errors that a completion told
// (FFh) are none.
void Nvme::event(Event type, u8 what, u8 log) {
    if (what == 0xFF || !(state_.status & CSTS_RDY)) return;
    if (state_.event_waits[type]) return;
    state_.event_waits[type] = true;
    state_.event_details[type] = static_cast<u16>(what | log << 8);
    tell_events();
}

void Nvme::tell_events() {
    Completion& cq = state_.completions[0];
    for (u8 type = 0; type < 3; ++type) {
        if (!state_.event_waits[type] || state_.event_masked[type] || state_.event_requests.empty()) continue;
        if (!cq.valid || cq.full()) return;
        const u16 id = state_.event_requests.front();
        state_.event_requests.erase(state_.event_requests.begin());
        state_.event_waits[type] = false;
        state_.event_masked[type] = true;
        post(cq, 0, id, state_.submissions[0].head, success, type | u32{state_.event_details[type]} << 8);
    }
}

} // namespace calque::devices
