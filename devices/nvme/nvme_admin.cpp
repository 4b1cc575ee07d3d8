// Admin commands (NVMe 1.4, chapter 5).
#include "base/bits.h"
#include "base/byte_order.h"
#include "devices/nvme/nvme.h"

#include <algorithm>

namespace calque::devices {

using namespace nvme;

namespace {
constexpr u64 mdts = u64{4096} << largest_transfer;
} // namespace

void Nvme::admin(const CommandPtr& pointer) {
    Command& command = *pointer;
    const auto end = [&](u16 status) { finish(command, status == success ? status : u16(status | do_not_retry)); };
    switch (static_cast<Admin>(command.opcode())) {
    case Admin::delete_sq: return end(delete_submission(command));
    case Admin::create_sq: return end(create_submission(command));
    case Admin::delete_cq: return end(delete_completion(command));
    case Admin::create_cq: return end(create_completion(command));
    case Admin::get_log_page: return get_log_page(command);
    case Admin::identify: return identify(command);
    case Admin::abort: return finish(command, success, 1); // Not aborted: the host's I/O cannot be called back.
    case Admin::set_features: return set_feature(pointer);
    case Admin::get_features: return get_feature(command);
    case Admin::async_event_request:
        if (state_.event_requests.size() >= most_events) return end(async_event_limit);
        // It may wait for ever: it keeps no place in the completion queue.
        command.over = true;
        std::erase(under_way_, pointer);
        --state_.completions[0].reserved;
        state_.event_requests.push_back(command.id());
        return tell_events();
    }
    end(invalid_opcode);
}

// --- Queues

u16 Nvme::create_completion(const Command& command) {
    const u32 number = command.words[10] & 0xFFFF, size = (command.words[10] >> 16) + 1;
    const u32 vector = command.words[11] >> 16;
    if (number == 0 || number >= queues || state_.completions[number].valid) return invalid_queue_identifier;
    if (size < 2 || size > most_entries) return invalid_queue_size;
    if (vector >= queues) return invalid_interrupt_vector;
    if (!(command.words[11] & 1) || bits(state_.configuration, 20, 4) != CQES) return invalid_field;
    if (command.prp1() % page() != 0) return invalid_prp_offset;
    Completion& cq = state_.completions[number];
    cq = {};
    cq.valid = true;
    cq.base = command.prp1();
    cq.size = size;
    cq.interrupts = command.words[11] & 2;
    cq.vector = static_cast<u16>(vector);
    return success;
}

u16 Nvme::create_submission(const Command& command) {
    const u32 number = command.words[10] & 0xFFFF, size = (command.words[10] >> 16) + 1;
    const u32 completion = command.words[11] >> 16;
    if (completion == 0 || completion >= queues) return invalid_queue_identifier;
    if (!state_.completions[completion].valid) return completion_queue_invalid;
    if (number == 0 || number >= queues || state_.submissions[number].valid) return invalid_queue_identifier;
    if (size < 2 || size > most_entries) return invalid_queue_size;
    if (!(command.words[11] & 1) || bits(state_.configuration, 16, 4) != SQES) return invalid_field;
    if (command.prp1() % page() != 0) return invalid_prp_offset;
    Submission& sq = state_.submissions[number];
    sq = {};
    sq.valid = true;
    sq.base = command.prp1();
    sq.size = size;
    sq.completion = static_cast<u16>(completion);
    return success;
}

u16 Nvme::delete_completion(const Command& command) {
    const u32 number = command.words[10] & 0xFFFF;
    if (number == 0 || number >= queues || !state_.completions[number].valid) return invalid_queue_identifier;
    const auto uses = [&](const Submission& sq) { return sq.valid && sq.completion == number; };
    if (std::any_of(state_.submissions.begin(), state_.submissions.end(), uses)) return invalid_queue_deletion;
    state_.completions[number] = {};
    return success;
}

// What is under way on it ends first (5.6).
u16 Nvme::delete_submission(const Command& command) {
    const u32 number = command.words[10] & 0xFFFF;
    if (number == 0 || number >= queues || !state_.submissions[number].valid) return invalid_queue_identifier;
    const std::vector<CommandPtr> all = under_way_;
    for (const CommandPtr& other : all)
        if (other->queue == number) finish(*other, aborted_by_sq_deletion);
    state_.submissions[number] = {};
    return success;
}

// --- Data for the host

// As many bytes as the command's PRPs take of what `bytes` has.
void Nvme::answer(Command& command, std::span<const u8> bytes) {
    PrpList where;
    if (const u16 status = where.collect(dma_, command.prp1(), command.prp2(), bytes.size(), page()); status != success)
        return finish(command, status | do_not_retry);
    if (!where.write(dma_, bytes)) return finish(command, data_transfer_error | do_not_retry);
    finish(command, success);
}

void Nvme::get_log_page(Command& command) {
    const u64 length = ((u64{command.words[11] & 0xFFFF} << 16 | command.words[10] >> 16) + 1) * 4;
    const u64 offset = command.words[12] | u64{command.words[13]} << 32;
    const bool keep_event = command.words[10] >> 15 & 1;
    std::vector<u8> page;
    std::size_t type = event_error;
    switch (command.words[10] & 0xFF) {
    case log_error: page = error_log(); break;
    case log_smart:
        page = smart_log();
        type = event_smart;
        break;
    case log_firmware:
        page.resize(512);
        page[0] = 1; // Slot 1 is active.
        std::copy_n("1.0     ", 8, page.begin() + 8);
        break;
    case log_changed_namespaces:
        page.resize(4096);
        if (std::exchange(state_.namespace_changed, false)) page[0] = 1;
        type = event_notice;
        break;
    default: return finish(command, invalid_log_page | do_not_retry);
    }
    if (length > mdts || offset % 4 != 0 || offset > page.size()) return finish(command, invalid_field | do_not_retry);
    if (!keep_event) state_.event_masked[type] = false;
    page.erase(page.begin(), page.begin() + static_cast<std::ptrdiff_t>(offset));
    page.resize(length);
    answer(command, page);
    tell_events();
}

// --- Features (5.21)

void Nvme::set_write_cache(const CommandPtr& command) {
    state_.write_cache = command->words[11] & 1;
    backend_.set_write_cache(state_.write_cache);
    if (state_.write_cache) return finish(*command, success);
    // What it held goes to the medium now.
    submit({.kind = BlockRequest::Kind::flush}, command, [this, command](BlockStatus status) {
        finish(*command, status == BlockStatus::ok ? success : write_fault);
    });
}

void Nvme::set_feature(const CommandPtr& pointer) {
    Command& command = *pointer;
    const u32 value = command.words[11];
    if (command.words[10] >> 31) return finish(command, feature_not_saveable | do_not_retry);
    switch (command.words[10] & 0xFF) {
    case arbitration: state_.arbitration = value; break;
    case power_management:
        if (value & 0x1F) return finish(command, invalid_field | do_not_retry); // One state.
        state_.power = value;
        break;
    case temperature_threshold:
        if ((value >> 16 & 0xF) == 0 && (value >> 20 & 3) == 0) state_.temperature = value & 0xFFFF;
        break;
    case error_recovery: state_.recovery = value & 0xFFFF; break;
    case volatile_write_cache: return set_write_cache(pointer);
    case number_of_queues: {
        const auto created = [](const auto& queue) { return queue.valid; };
        if (std::any_of(state_.completions.begin() + 1, state_.completions.end(), created))
            return finish(command, command_sequence_error | do_not_retry);
        if ((value & 0xFFFF) == 0xFFFF || value >> 16 == 0xFFFF) return finish(command, invalid_field | do_not_retry);
        return finish(command, success, (queue_pairs - 1) * 0x10001);
    }
    case interrupt_coalescing: state_.coalescing = value & 0xFFFF; break;
    case interrupt_vector:
        if ((value & 0xFFFF) >= queues) return finish(command, invalid_field | do_not_retry);
        state_.uncoalesced[value & 0xFFFF] = value >> 16 & 1;
        break;
    case write_atomicity: state_.atomicity = value & 1; break;
    case async_event_configuration: state_.events = value & 0x1FF; break;
    default: return finish(command, invalid_field | do_not_retry);
    }
    finish(command, success);
}

void Nvme::get_feature(Command& command) {
    const u32 value = command.words[11];
    switch (command.words[10] & 0xFF) {
    case arbitration: return finish(command, success, state_.arbitration);
    case power_management: return finish(command, success, state_.power);
    case temperature_threshold: // Nothing is too cold.
        return finish(command, success, (value >> 16 & 0xF) == 0 && (value >> 20 & 3) == 0 ? state_.temperature : 0);
    case error_recovery: return finish(command, success, state_.recovery);
    case volatile_write_cache: return finish(command, success, state_.write_cache);
    case number_of_queues: return finish(command, success, (queue_pairs - 1) * 0x10001);
    case interrupt_coalescing: return finish(command, success, state_.coalescing);
    case interrupt_vector:
        if ((value & 0xFFFF) >= queues) return finish(command, invalid_field | do_not_retry);
        return finish(command, success, (value & 0xFFFF) | u32{state_.uncoalesced[value & 0xFFFF]} << 16);
    case write_atomicity: return finish(command, success, state_.atomicity);
    case async_event_configuration: return finish(command, success, state_.events);
    default: return finish(command, invalid_field | do_not_retry);
    }
}

} // namespace calque::devices
