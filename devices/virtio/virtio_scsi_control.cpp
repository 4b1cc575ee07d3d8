// The SCSI host's control and event queues (virtio 1.2, 5.6.6.2 and 5.6.6.3).
#include "base/byte_order.h"
#include "devices/virtio/virtio_scsi.h"
#include "devices/virtio/virtio_scsi_registers.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio_scsi;

void VirtioScsi::serve_control() {
    VirtioChain chain;
    while (pop(control_queue, chain)) {
        std::array<u8, 4> type;
        if (!chain.read(memory(), 0, type)) return needs_reset("a control request without its header");
        switch (little32(type, 0)) {
        case T_TMF: manage(chain); break;
        case T_AN_QUERY:
        case T_AN_SUBSCRIBE: notifications(chain); break;
        default: answer_control(chain, std::array<u8, 1>{S_FUNCTION_REJECTED}); break;
        }
        if (!running()) return;
    }
    interrupt_if_wanted(control_queue);
}

void VirtioScsi::answer_control(const VirtioChain& chain, std::span<const u8> answer) {
    if (chain.writable_bytes() < answer.size() || !chain.write(memory(), 0, answer))
        return needs_reset("a control request without its response");
    push(control_queue, chain.head, static_cast<u32>(answer.size()));
}

// No asynchronous notification is there to subscribe to: units tell by unit attentions.
void VirtioScsi::notifications(VirtioChain& chain) {
    std::array<u8, 16> request;
    if (!chain.read(memory(), 0, request)) return needs_reset("a control request without its header");
    Address address;
    const bool known = decode(std::span(request).subspan(4, 8), address) && units_.contains(address);
    answer_control(chain, std::array<u8, 5>{0, 0, 0, 0, known ? u8{S_OK} : u8{S_BAD_TARGET}});
}

void VirtioScsi::manage(VirtioChain& chain) {
    std::array<u8, 24> request;
    if (chain.writable_bytes() == 0 || !chain.read(memory(), 0, request))
        return needs_reset("a control request without its header or response");
    const auto respond = [&](u8 response) { answer_control(chain, std::span<const u8>(&response, 1)); };
    const u32 function = little32(request, 4);
    const u64 tag = little64(request, 16);
    Address address;
    if (!decode(std::span(request).subspan(8, 8), address) || !target_exists(address.first))
        return respond(S_BAD_TARGET);
    if (function != TMF_I_T_NEXUS_RESET && !units_.contains(address)) return respond(S_INCORRECT_LUN);
    const auto of_unit = [&](const Request& r) { return r.address == address; };
    const auto of_tag = [&](const Request& r) { return r.address == address && r.tag == tag; };
    const auto any = [&](const auto& which) {
        return std::any_of(under_way_.begin(), under_way_.end(), [&](const RequestPtr& r) { return which(*r); });
    };
    auto management = std::make_shared<Management>();
    management->epoch = epoch_;
    management->chain = chain;
    switch (function) {
    case TMF_ABORT_TASK: abort_requests(management, of_tag); break;
    case TMF_ABORT_TASK_SET:
    case TMF_CLEAR_TASK_SET: abort_requests(management, of_unit); break;
    case TMF_LOGICAL_UNIT_RESET:
        abort_requests(management, of_unit);
        units_[address]->reset();
        break;
    case TMF_I_T_NEXUS_RESET:
        abort_requests(management, [&](const Request& r) { return r.address.first == address.first; });
        for (const auto& [place, unit] : units_)
            if (place.first == address.first) unit->reset();
        break;
    case TMF_QUERY_TASK: return respond(any(of_tag) ? u8{S_FUNCTION_SUCCEEDED} : S_FUNCTION_COMPLETE);
    case TMF_QUERY_TASK_SET: return respond(any(of_unit) ? u8{S_FUNCTION_SUCCEEDED} : S_FUNCTION_COMPLETE);
    case TMF_CLEAR_ACA: return respond(S_FUNCTION_COMPLETE); // Nobody asked for ACA.
    default: return respond(S_FUNCTION_REJECTED);
    }
    settle_management(management);
}

// The host's I/O cannot be called back: what is under way ends as aborted once its current part is done, and the
// function is complete when all have.
void VirtioScsi::abort_requests(const std::shared_ptr<Management>& management,
                                const std::function<bool(const Request&)>& which) {
    for (const RequestPtr& request : under_way_) {
        if (!which(*request)) continue;
        request->aborted = true;
        request->managements.push_back(management);
        ++management->waits;
    }
}

void VirtioScsi::settle_management(const std::shared_ptr<Management>& management) {
    if (management->waits != 0 || management->epoch != epoch_ || !running()) return;
    answer_control(management->chain, std::array<u8, 1>{S_FUNCTION_COMPLETE});
    interrupt_if_wanted(control_queue);
}

// --- Events

void VirtioScsi::medium_changed(Address address, bool wanted) {
    units_[address]->medium_event(wanted);
    if (wanted || !running() || !negotiated(F_CHANGE)) return;
    const scsi::Sense what =
        units_[address]->block_size() == 512 ? scsi::capacity_changed : scsi::medium_changed; // A disk, or a CD.
    const bool waits =
        std::any_of(events_.begin(), events_.end(), [&](const Event& e) { return e.address == address; });
    if (!waits) events_.push_back({T_PARAM_CHANGE, what.code | u32{what.qualifier} << 8, address});
    schedule(event_queue);
}

void VirtioScsi::serve_events() {
    while (!events_.empty()) {
        VirtioChain chain;
        if (!pop(event_queue, chain)) break;
        const Event event = events_.front();
        events_.erase(events_.begin());
        std::array<u8, event_size> bytes{};
        store_little(bytes, 0, event.event, 4);
        bytes[4] = 1;
        bytes[5] = static_cast<u8>(event.address.first);
        bytes[6] = static_cast<u8>(0x40 | event.address.second >> 8);
        bytes[7] = static_cast<u8>(event.address.second);
        store_little(bytes, 12, event.reason, 4);
        if (chain.writable_bytes() < bytes.size() || !chain.write(memory(), 0, bytes))
            return needs_reset("an event's buffer is too small, or not in memory");
        push(event_queue, chain.head, event_size);
    }
    interrupt_if_wanted(event_queue);
}

} // namespace calque::devices
