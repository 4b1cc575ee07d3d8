// MP configuration table (MultiProcessor Specification 1.4) and PCI interrupt routing table ($PIR), for guests that do
// not use ACPI.
#pragma once

#include "firmware/platform.h"

#include <vector>

namespace calque::firmware {

// The floating pointer (16 bytes) and behind it the configuration table, for placement at `address` (a multiple of 16).
// Processors whose APIC ID does not fit in eight bits are left out, as the table cannot name them.
std::vector<u8> build_mp_table(const Platform& platform, PhysicalAddress address);

// The $PIR table, position-independent, for a multiple of 16 in 0xF0000-0xFFFFF.
std::vector<u8> build_pir_table(const Platform& platform);

} // namespace calque::firmware
