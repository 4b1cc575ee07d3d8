#include "tests/diff/jit/world.h"

#include "tests/diff/state_difference.h"

#include <cstring>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace calque::diff {

using namespace cpu;

u64 Device::read(PhysicalAddress address, unsigned size) {
    ++accesses_;
    mix(address.value << 8 | size);
    return hash_;
}

void Device::write(PhysicalAddress address, u64 value, unsigned size) {
    ++accesses_;
    mix(address.value << 8 | size | 0x80);
    mix(value);
    if ((address.value & 8) && interrupt) interrupt();
    if ((address.value & 16) && dma) dma(value);
}

GuardedRam::GuardedRam(std::size_t bytes) : bytes_(bytes) {
    void* const whole = ::mmap(nullptr, bytes + 2 * guard_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) throw std::bad_alloc();
    ram_ = static_cast<u8*>(whole) + guard_bytes;
    file_ = ::memfd_create("diff-jit-ram", MFD_CLOEXEC);
    if (file_ < 0 || ::ftruncate(file_, static_cast<off_t>(bytes)) != 0) throw std::bad_alloc();
    if (::mmap(ram_, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_, 0) == MAP_FAILED)
        throw std::bad_alloc();
}

GuardedRam::~GuardedRam() {
    ::munmap(ram_ - guard_bytes, bytes_ + 2 * guard_bytes);
    ::close(file_);
}

World::World(EngineKind kind, jit::EngineOptions options) : kind_(kind) {
    mmu::Region ram;
    ram.length = ram_bytes;
    ram.kind = mmu::RegionKind::ram;
    ram.host = ram_.get();
    ram.name = "ram";
    mmu::Region device;
    device.base = PhysicalAddress(frame::device << page_shift);
    device.length = page_size;
    device.kind = mmu::RegionKind::io;
    device.target = &device_;
    device.name = "device";
    memory_.set_ram_file(ram_.file());
    memory_.set_regions({ram, device});
    cpu_ = std::make_unique<Cpu>(0, model_, memory_, platform_, log_);
    platform_.cpu = cpu_.get();
    if (kind == EngineKind::interpreter) {
        engine_ = std::make_unique<Interpreter>(memory_, log_, 1u << 18);
    } else {
        if (kind == EngineKind::jit_single) options.longest_unit = 1;
        if (kind == EngineKind::jit_bounded) options.counting = jit::Counting::bounded;
        auto engine = std::make_unique<jit::Engine>(memory_, log_, options);
        jit_ = engine.get();
        engine_ = std::move(engine);
    }
    device_.interrupt = [this] {
        if (interrupts_) platform_.raise();
    };
    device_.dma = [this](u64 value) {
        if (constant_code_) return;
        const u64 at = (frame::code << page_shift) + value % (page::code_count * page_size - 8);
        memory_.dma_write(PhysicalAddress(at), std::span(reinterpret_cast<const u8*>(&value), 4));
    };
    cpu_->mmu.unpark();
}

World::~World() { cpu_->mmu.park(); }

void World::disturb(Random& random) {
    switch (random.below(16)) {
    case 0: return engine_->flush();
    case 1: // A program that writes to its page table without saying so may see that.
        if (!remaps_) cpu_->mmu.request_flush_all();
        return;
    case 2:
    case 3:
    case 4:
    case 5: {
        const bool program = constant_code_ && random.one_in(2);
        const u64 first = program ? frame::code : frame::stubs, pages = program ? page::code_count : 2;
        const u64 at = (first << page_shift) + random.below(pages * page_size - 256);
        return memory_.before_code_write(PhysicalAddress(at), 1 + random.below(256));
    }
    default:
        if (interrupts_) platform_.raise();
    }
}

u32 World::exceptions() const {
    u32 count;
    std::memcpy(&count, &ram_[frame::log * page_size + log_count_at], sizeof count);
    return count;
}

u64 World::translated() const { return jit_ ? jit_->cache_counters().units.load() : 0; }

void World::load(const Image& image) {
    for (u64 n = 0; n < frame::count; ++n) {
        const auto wanted = std::span(image.ram).subspan(n * page_size, page_size);
        if (std::memcmp(&ram_[n * page_size], wanted.data(), page_size) == 0) continue;
        memory_.write(PhysicalAddress(n * page_size), wanted);
    }
    device_.reset();
    platform_.raised = false;
    platform_.writes.clear();
    platform_.input.clear();
    platform_.time = 0;
    platform_.priority = 0;
    remaps_ = image.setting.remaps;
    constant_code_ = image.setting.constant_code;
    interrupts_ = image.setting.interrupts;
    cpu_->reset();
    cpu_->withdraw(~(event_mmu | event_code));
    cpu_->state = image.state;
    cpu_->mmu.flush_all(true);
    cpu_->update_mode();
    if (cpu_->mmu.requests_pending()) cpu_->mmu.serve_requests();
}

ExitReason World::run(u64 budget) { return engine_->run(*cpu_, budget); }

namespace {

void compare_memory(std::string& text, const World& expected, const World& got, Accessed accessed) {
    constexpr u8 accessed_bit = 0x20;
    unsigned shown = 0;
    for (u64 n = 0; n < frame::count; ++n) {
        if (n == frame::interrupt_stack) continue; // Interrupts may come anywhere between two instructions.
        const u8 *x = &expected.ram()[n * page_size], *y = &got.ram()[n * page_size];
        if (std::memcmp(x, y, page_size) == 0) continue;
        const bool early = accessed == Accessed::may_be_early && n <= frame::table;
        for (u64 at = 0; at < page_size && shown < 12; ++at)
            if (x[at] != y[at] && !(early && at % 8 == 0 && (x[at] | accessed_bit) == y[at]))
                compare(text, fmt::format("byte {:#x} of frame {}", at, n), x[at], y[at]), ++shown;
    }
}

} // namespace

std::string difference(const World& expected, const World& got, Accessed accessed) {
    std::string text = state_difference(expected.state(), got.state());
    compare(text, "device accesses", expected.device().accesses(), got.device().accesses());
    compare(text, "device hash", expected.device().hash(), got.device().hash());
    compare_memory(text, expected, got, accessed);
    return text;
}

} // namespace calque::diff
