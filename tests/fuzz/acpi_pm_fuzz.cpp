#include "devices/acpi_pm/acpi_pm.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    AcpiPm pm(log, clock, {.timer_32_bit = size > 0 && (data[0] & 1)}, IrqLine(sink, 9), {[] {}, [] {}});
    Bus ports(Bus::Kind::ports, log);
    ports.map(AcpiPm::default_base, AcpiPm::block_size, pm.pm_ports(), "pm");
    ports.map(0xb2, 2, pm.apm_ports(), "apm");
    const auto extra = [&](u8 operation, fuzz::Input&) {
        switch (operation & 3) {
        case 0: return pm.press_power_button();
        case 1: return pm.press_sleep_button();
        case 2: return pm.set_apm_smi_enabled(operation & 0x80);
        default: return pm.set_gpe(operation >> 2 & 31, operation & 0x80);
        }
    };
    fuzz::drive({data, size}, pm, ports, clock, {{AcpiPm::default_base, AcpiPm::block_size}, {0xb2, 2}}, extra);
    return 0;
}
