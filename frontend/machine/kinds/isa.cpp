// Devices on the ISA bus that the command line sets up itself.
#include "frontend/machine/kinds/kinds.h"

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;

constexpr std::array debug_exit_properties{
    PropertyKind{"iobase", Type::number, "first port (0x501)"},
    PropertyKind{"iosize", Type::number, "number of ports, 1 to 8 (2)"},
};
constexpr std::array debugcon_properties{
    PropertyKind{"iobase", Type::number, "port (0xe9)"},
    PropertyKind{"chardev", Type::text, "the id of a -chardev"},
};
constexpr std::array serial_properties{PropertyKind{"chardev", Type::text, "the id of a -chardev"}};

constexpr std::array kinds{
    DeviceKind{"isa-debug-exit", "ISA", "a write to iobase ends the emulator with status (value << 1) | 1",
               debug_exit_properties, nullptr},
    DeviceKind{"isa-debugcon", "ISA", "a write to iobase is shown on chardev", debugcon_properties, nullptr},
    DeviceKind{"isa-serial", "ISA", "a serial port on chardev", serial_properties, nullptr},
};

} // namespace

std::span<const DeviceKind> isa_kinds() { return kinds; }

} // namespace calque::machine
