#include "devices/lapic/lapic.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

namespace {
struct Tsc final : TscSource {
    explicit Tsc(const Clock& clock) : clock(clock) {}
    u64 tsc() const override { return clock.now(); }
    Nanoseconds time_of_tsc(u64 tsc) const override { return tsc; }
    const Clock& clock;
};
struct Pic final : InterruptAcknowledge {
    u8 acknowledge() override { return 7; }
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    Tsc tsc(clock);
    Pic pic;
    fuzz::NoVcpu vcpu;
    ApicBus bus(log);
    LapicConfig config;
    config.bootstrap = true;
    LocalApic apic(log, clock, config, bus, vcpu, &tsc, &pic);
    config.apic_id = 1;
    LocalApic other(log, clock, config, bus, vcpu, nullptr, nullptr);
    Bus memory(Bus::Kind::memory, log);
    memory.map(0, LocalApic::mmio_size, apic.mmio(), "lapic");
    const auto extra = [&](u8 operation, fuzz::Input& input) {
        switch (operation & 15) {
        case 0: apic.init_reset(); break;
        case 1: apic.set_virtual_wire(); break;
        case 2: bus.set_irq(operation >> 4 & 3, operation & 0x80); break;
        case 3: bus.send_msi(PhysicalAddress(0xfee0'0000 | input.number(3)), static_cast<u32>(input.number(2))); break;
        case 4: apic.raise_local(static_cast<LvtEntry>(operation / 16 % lvt_count)); break;
        case 5: apic.write_msr(msr::apic_base, LocalApic::default_base | input.number(2)); break;
        case 6: apic.write_msr(msr::tsc_deadline, clock.now() + input.number(3)); break;
        case 7:
        case 8: apic.write_msr(msr::x2apic + input.byte(), input.number(operation & 0x80 ? 8 : 3)); break;
        case 9: apic.read_msr(msr::x2apic + input.byte()); break;
        case 10: apic.set_cr8(operation >> 4); break;
        case 11: memory.write(u64{input.byte()} << 4, input.number(4), 4); break;
        default: apic.acknowledge();
        }
    };
    fuzz::drive({data, size}, apic, memory, clock, {{0, 0x400}, {0, LocalApic::mmio_size}}, extra);
    return 0;
}
