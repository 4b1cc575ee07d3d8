#include "devices/nvme/nvme.h"

#include "base/bits.h"

#include <algorithm>

namespace calque::devices {

using namespace nvme;

namespace {
// Entries of a queue less one; queues lie in one piece; 10 s to get ready at most; the NVM command set; the largest
// page.
constexpr u64 capabilities = (most_entries - 1) | u64{1} << 16 | u64{20} << 24 | u64{1} << 37 | u64{largest_page} << 52;
constexpr u64 msix_table = 0x2000, msix_pending = 0x3000;
} // namespace

PciDescriptor Nvme::describe(const std::string& name, IoRegion& registers) {
    PciDescriptor d;
    d.name = fmt::format("{}.pci", name);
    d.vendor_id = 0x1B36;
    d.device_id = 0x0010;
    d.revision_id = 2;
    d.class_code = 0x010802; // NVM Express I/O controller.
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.interrupt_pin = 1;
    d.bars[0] = {PciBar::Kind::memory64, register_space, false, &registers};
    d.msix = {queues, 0, msix_table, msix_pending};
    return d;
}

Nvme::Nvme(Log& log, DmaPort& memory, Worker& worker, BlockBackend& backend, std::string serial, std::string name)
    : log_(log), backend_(backend), serial_(std::move(serial)), name_(std::move(name)),
      write_cache_at_reset_(backend.write_cache()), pci_(describe(name_, registers_), log), dma_(pci_, memory) {
    task_ = worker.make_task([this] {
        std::lock_guard lock(mutex_);
        run();
    });
    backend_.set_medium_observer([this](bool) {
        std::lock_guard lock(mutex_);
        state_.namespace_changed = true;
        if (state_.events & 1 << 8) event(event_notice, nvme::namespace_changed, log_changed_namespaces);
        interrupt();
    });
}

Nvme::~Nvme() { backend_.set_medium_observer({}); }

// --- Registers

u64 Nvme::read_register(u64 offset, unsigned size) {
    const auto half = [&](u64 value) { return offset % 8 == 0 && size == 8 ? value : value >> (offset % 8 * 8); };
    switch (offset & ~u64{7}) {
    case CAP: return half(capabilities);
    case VS: return half(version | u64{state_.masked} << 32);
    case INTMC: return half(state_.masked | u64{state_.configuration} << 32); // And CC.
    case CSTS - 4: return half(u64{state_.status} << 32);
    case AQA - 4: return half(u64{state_.admin_sizes} << 32);
    case ASQ: return half(state_.admin_submission);
    case ACQ: return half(state_.admin_completion);
    default: return 0;
    }
}

void Nvme::write_register(u64 offset, u32 value) {
    const auto put = [&](u64& whole, bool upper, u32 mask) {
        whole = upper ? (whole & ~u32{0}) | u64{value} << 32 : (whole >> 32 << 32) | (value & mask);
    };
    switch (offset) {
    case INTMS: state_.masked |= value; return update_pin();
    case INTMC: state_.masked &= ~value; return update_pin();
    case CC: return write_configuration(value);
    case AQA: state_.admin_sizes = value & 0x0FFF'0FFF; return;
    case ASQ: return put(state_.admin_submission, false, ~0xFFFu);
    case ASQ + 4: return put(state_.admin_submission, true, 0);
    case ACQ: return put(state_.admin_completion, false, ~0xFFFu);
    case ACQ + 4: return put(state_.admin_completion, true, 0);
    default:
        if (offset >= doorbells) write_doorbell(offset - doorbells, value);
        return;
    }
}

void Nvme::write_doorbell(u64 offset, u32 value) {
    const u64 queue = offset / 8;
    if (!(state_.status & CSTS_RDY) || offset % 4 != 0) return;
    const bool completion = offset & 4;
    if (queue >= queues || !(completion ? state_.completions[queue].valid : state_.submissions[queue].valid)) {
        event(event_error, invalid_doorbell, log_error);
        return interrupt();
    }
    const u32 size = completion ? state_.completions[queue].size : state_.submissions[queue].size;
    if (value >= size) {
        event(event_error, invalid_doorbell_value, log_error);
        return interrupt();
    }
    if (!completion) {
        state_.submissions[queue].tail = value;
    } else {
        Completion& q = state_.completions[queue];
        // The host can only take what is there.
        if ((value + q.size - q.head) % q.size > (q.tail + q.size - q.head) % q.size) {
            event(event_error, invalid_doorbell_value, log_error);
            return interrupt();
        }
        q.head = value;
        tell_events();
        interrupt();
    }
    task_->schedule();
}

// --- Enabling, shutting down

void Nvme::write_configuration(u32 value) {
    const u32 before = std::exchange(state_.configuration, value & CC_writable);
    const u32 now = state_.configuration;
    if (!(before & CC_EN) && (now & CC_EN)) enable();
    if ((before & CC_EN) && !(now & CC_EN)) disable();
    if (!(before & CC_SHN) && (now & CC_SHN)) shut_down();
    if ((before & CC_SHN) && !(now & CC_SHN)) state_.status &= ~CSTS_SHST;
}

// 3.1.5 and 3.1.8: only the NVM command set, round robin, pages that there are; queues of two entries at least.
bool Nvme::configuration_is_good() const {
    const u32 cc = state_.configuration;
    const u32 sq = state_.admin_sizes & 0xFFF, cq = state_.admin_sizes >> 16;
    return bits(cc, 4, 3) == 0 && bits(cc, 7, 4) <= largest_page && bits(cc, 11, 3) == 0 && sq != 0 && cq != 0
           && sq < 4096 && cq < 4096 && state_.admin_submission % page() == 0 && state_.admin_completion % page() == 0;
}

void Nvme::enable() {
    state_.status &= CSTS_SHST;
    if (!configuration_is_good()) return fatal("the configuration is not one");
    Submission& sq = state_.submissions[0];
    Completion& cq = state_.completions[0];
    sq = {};
    cq = {};
    sq.valid = cq.valid = cq.interrupts = true;
    sq.base = state_.admin_submission;
    sq.size = (state_.admin_sizes & 0xFFF) + 1;
    cq.base = state_.admin_completion;
    cq.size = (state_.admin_sizes >> 16) + 1;
    state_.status |= CSTS_RDY;
}

// A controller reset (7.3): everything but the admin queues' registers, and what the logs have counted.
void Nvme::disable() {
    for (const CommandPtr& command : under_way_)
        command->over = true;
    under_way_.clear();
    const State old = std::exchange(state_, State{});
    state_.configuration = old.configuration;
    state_.admin_sizes = old.admin_sizes;
    state_.admin_submission = old.admin_submission;
    state_.admin_completion = old.admin_completion;
    state_.error_count = old.error_count;
    state_.errors = old.errors;
    state_.sectors_read = old.sectors_read;
    state_.sectors_written = old.sectors_written;
    state_.reads = old.reads;
    state_.writes = old.writes;
    state_.media_errors = old.media_errors;
    state_.power_cycles = old.power_cycles;
    state_.write_cache = write_cache_at_reset_;
    backend_.set_write_cache(write_cache_at_reset_);
    update_pin();
}

// 7.6.2: what the cache holds is on the medium before the shutdown is complete.
void Nvme::shut_down() {
    state_.status = (state_.status & ~CSTS_SHST) | SHST_occurring;
    BlockRequest request{.kind = BlockRequest::Kind::flush};
    request.done = [this](BlockStatus) {
        std::lock_guard lock(mutex_);
        if ((state_.status & CSTS_SHST) == SHST_occurring) state_.status = (state_.status & ~CSTS_SHST) | SHST_complete;
    };
    backend_.submit(std::move(request));
}

// What is wrong cannot be told by a completion: the host finds CSTS.CFS, and has to reset the controller (9.5).
void Nvme::fatal(std::string_view why) {
    if (state_.status & CSTS_CFS) return;
    log_.unimplemented(Channel::disk, fmt::format("{}.driver-error", name_));
    log_.trace(Channel::disk, "{}: controller fatal status: {}", name_, why);
    state_.status |= CSTS_CFS;
}

// --- The BAR

u64 Nvme::Registers::read(u64 offset, unsigned size) {
    if (offset >= msix_table) return device_.pci_.msix_region().read(offset, size);
    std::lock_guard lock(device_.mutex_);
    return device_.read_register(offset, size) & low_mask(8 * size);
}

// Registers are written by doublewords, or two at a time.
void Nvme::Registers::write(u64 offset, u64 value, unsigned size) {
    if (offset >= msix_table) return device_.pci_.msix_region().write(offset, value, size);
    if (size < 4 || offset % 4 != 0) return;
    std::lock_guard lock(device_.mutex_);
    device_.write_register(offset, static_cast<u32>(value));
    if (size == 8) device_.write_register(offset + 4, static_cast<u32>(value >> 32));
}

void Nvme::reset() {
    pci_.reset();
    std::lock_guard lock(mutex_);
    disable();
    const u64 cycles = state_.power_cycles;
    state_ = {};
    state_.power_cycles = cycles;
    state_.write_cache = write_cache_at_reset_;
}

} // namespace calque::devices
