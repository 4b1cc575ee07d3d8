// What an NVMe controller says of itself (NVMe 1.4, 5.15), and its logs (5.14.1).
#include "base/byte_order.h"
#include "devices/nvme/nvme.h"

#include <algorithm>

namespace calque::devices {

using namespace nvme;

namespace {
constexpr u32 highest_namespace = 1;

void put_text(std::vector<u8>& bytes, std::size_t at, std::size_t size, std::string_view text) {
    for (std::size_t i = 0; i < size; ++i)
        bytes[at + i] = static_cast<u8>(i < text.size() && text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ');
}
} // namespace

void Nvme::identify(Command& command) {
    const u32 wanted = command.name_space();
    std::vector<u8> bytes(4096);
    switch (command.words[10] & 0xFF) {
    case 0x00: // Of a namespace; zeros where it is not active.
        if (wanted == 0 || (wanted > highest_namespace && wanted != all_namespaces))
            return finish(command, invalid_namespace | do_not_retry);
        bytes = namespace_data();
        break;
    case 0x01: bytes = controller_data(); break;
    case 0x02: // Active namespaces above one.
        if (wanted >= all_namespaces - 1) return finish(command, invalid_namespace | do_not_retry);
        if (wanted < highest_namespace) store_little(bytes, 0, highest_namespace, 4);
        break;
    case 0x03: // Identifiers of a namespace: its EUI-64.
        if (wanted != 1) return finish(command, invalid_namespace | do_not_retry);
        bytes[0] = 1;
        bytes[1] = 8;
        store_big(bytes, 4, unique_id(), 8);
        break;
    default: return finish(command, invalid_field | do_not_retry);
    }
    answer(command, bytes);
}

// 52-54-00 and a hash (FNV-1a) of the serial number: the same at every start.
u64 Nvme::unique_id() const {
    u64 hash = 0xcbf29ce484222325;
    for (const char c : serial_)
        hash = (hash ^ static_cast<u8>(c)) * 0x100000001b3;
    return u64{0x525400} << 40 | (hash >> 24);
}

// Figure 247.
std::vector<u8> Nvme::controller_data() const {
    std::vector<u8> b(4096);
    const auto put = [&](std::size_t at, unsigned size, u64 value) { store_little(b, at, value, size); };
    put(0, 2, 0x1B36); // Vendors.
    put(2, 2, 0x1AF4);
    put_text(b, 4, 20, serial_);
    put_text(b, 24, 40, "CALQUE NVMe");
    put_text(b, 64, 8, "1.0");
    put(72, 1, 3);        // Arbitration burst: 8.
    put(73, 3, 0x525400); // IEEE OUI.
    put(77, 1, largest_transfer);
    put(80, 4, version);
    put(92, 4, 1 << 8); // Events: namespace attributes.
    put(111, 1, 1);     // An I/O controller.
    put(258, 1, 3);     // Abort commands at once, less one.
    put(259, 1, most_events - 1);
    put(260, 1, 0x03); // One firmware slot, read-only.
    put(261, 1, 0x04); // Get Log Page with a long offset.
    put(262, 1, log_entries - 1);
    put(266, 2, 0x157); // 70 and 100 degrees Celsius.
    put(268, 2, 0x175);
    put(512, 1, SQES << 4 | SQES);
    put(513, 1, CQES << 4 | CQES);
    put(516, 4, highest_namespace);
    put(520, 2, 1 << 0 | 1 << 2 | 1 << 3); // Compare, Dataset Management, Write Zeroes.
    put(525, 1, 0x07);                     // A volatile write cache; flushes of all namespaces at once.
    const std::string nqn = fmt::format("nqn.2014-08.org.nvmexpress:calque:{}", serial_);
    std::copy_n(nqn.begin(), std::min<std::size_t>(nqn.size(), 223), b.begin() + 768);
    put(2048, 2, 2500); // Power state 0: 25 W.
    return b;
}

// Figure 245.
std::vector<u8> Nvme::namespace_data() const {
    std::vector<u8> b(4096);
    const auto put = [&](std::size_t at, unsigned size, u64 value) { store_little(b, at, value, size); };
    put(0, 8, blocks());
    put(8, 8, blocks());
    put(16, 8, blocks());
    put(99, 1, backend_.read_only() ? 1 : 0);
    store_big(b, 120, unique_id(), 8);
    put(130, 1, 9); // Format 0: 512 bytes, no metadata.
    return b;
}

std::vector<u8> Nvme::smart_log() const {
    std::vector<u8> b(512);
    const auto put = [&](std::size_t at, unsigned size, u64 value) { store_little(b, at, value, size); };
    constexpr u64 temperature = 300; // Kelvin.
    put(0, 1, temperature > state_.temperature ? 2 : 0);
    put(1, 2, temperature);
    put(3, 1, 100); // Spare blocks, and the threshold.
    put(4, 1, 10);
    put(32, 8, (state_.sectors_read + 999) / 1000);
    put(48, 8, (state_.sectors_written + 999) / 1000);
    put(64, 8, state_.reads);
    put(80, 8, state_.writes);
    put(112, 8, state_.power_cycles);
    put(160, 8, state_.media_errors);
    put(176, 8, state_.error_count);
    return b;
}

std::vector<u8> Nvme::error_log() const {
    std::vector<u8> b(64 * log_entries);
    for (std::size_t i = 0; i < log_entries; ++i) {
        const LogEntry& entry = state_.errors[i];
        const auto put = [&](std::size_t at, unsigned size, u64 value) { store_little(b, 64 * i + at, value, size); };
        put(0, 8, entry.count);
        put(8, 2, entry.queue);
        put(10, 2, entry.command);
        put(12, 2, entry.status);
        if (entry.count) put(14, 2, 0xFFFF); // No single parameter.
        put(16, 8, entry.lba);
        put(24, 4, entry.name_space);
    }
    return b;
}

// --- Saving

void Nvme::serialize(Archive& archive) {
    archive.section(name_, 1, [&](u32) {
        pci_.serialize(archive);
        std::lock_guard lock(mutex_);
        if (archive.loading()) disable();
        State& s = state_;
        for (u32* field : {&s.configuration, &s.status, &s.masked, &s.admin_sizes, &s.arbitration, &s.power,
                           &s.temperature, &s.recovery, &s.coalescing, &s.atomicity, &s.events})
            archive.field("register", *field);
        archive.field("admin_submission", s.admin_submission);
        archive.field("admin_completion", s.admin_completion);
        for (Submission& sq : s.submissions) {
            archive.field("valid", sq.valid);
            archive.field("base", sq.base);
            archive.field("size", sq.size);
            archive.field("head", sq.head);
            archive.field("tail", sq.tail);
            archive.field("completion", sq.completion);
            if (archive.loading() && sq.valid
                && (sq.size < 2 || sq.size > 4096 || sq.head >= sq.size || sq.tail >= sq.size
                    || sq.completion >= queues))
                archive.fail("a queue that no guest can have made");
        }
        for (Completion& cq : s.completions) {
            archive.field("valid", cq.valid);
            archive.field("base", cq.base);
            archive.field("size", cq.size);
            archive.field("head", cq.head);
            archive.field("tail", cq.tail);
            archive.field("phase", cq.phase);
            archive.field("interrupts", cq.interrupts);
            archive.field("vector", cq.vector);
            archive.field("news", cq.news);
            if (archive.loading() && cq.valid
                && (cq.size < 2 || cq.size > 4096 || cq.head >= cq.size || cq.tail >= cq.size || cq.vector >= queues))
                archive.fail("a queue that no guest can have made");
            if (archive.loading()) cq.reserved = 0; // Nothing is under way while a machine is saved.
        }
        for (bool& uncoalesced : s.uncoalesced)
            archive.field("uncoalesced", uncoalesced);
        archive.field("write_cache", s.write_cache);
        std::vector<u8> requests;
        for (const u16 id : s.event_requests)
            requests.insert(requests.end(), {static_cast<u8>(id), static_cast<u8>(id >> 8)});
        archive.field("event_requests", requests);
        if (requests.size() > 2 * most_events || requests.size() % 2) return archive.fail("too many event requests");
        s.event_requests.clear();
        for (std::size_t i = 0; i < requests.size(); i += 2)
            s.event_requests.push_back(little16(requests, i));
        for (std::size_t i = 0; i < 3; ++i) {
            archive.field("event_waits", s.event_waits[i]);
            archive.field("event_masked", s.event_masked[i]);
            archive.field("event_details", s.event_details[i]);
        }
        archive.field("namespace_changed", s.namespace_changed);
        for (u64* field : {&s.error_count, &s.sectors_read, &s.sectors_written, &s.reads, &s.writes, &s.media_errors,
                           &s.power_cycles})
            archive.field("counter", *field);
        for (LogEntry& entry : s.errors) {
            archive.field("count", entry.count);
            archive.field("queue", entry.queue);
            archive.field("command", entry.command);
            archive.field("status", entry.status);
            archive.field("lba", entry.lba);
            archive.field("name_space", entry.name_space);
        }
    });
    std::lock_guard lock(mutex_);
    if (!archive.loading()) return;
    if (!archive.ok()) {
        disable();
        state_.configuration = 0;
        return;
    }
    for (const Submission& sq : state_.submissions)
        if (sq.valid && !state_.completions[sq.completion].valid) archive.fail("a queue without its other half");
    if (!archive.ok()) {
        disable();
        state_.configuration = 0;
        return;
    }
    backend_.set_write_cache(state_.write_cache);
    pin_ = false;
    update_pin();
    if ((state_.status & CSTS_SHST) == SHST_occurring) shut_down();
    task_->schedule();
}

} // namespace calque::devices
