// What a vCPU's page tables map, as a person reads it.
#pragma once

#include "cpu/cpu.h"
#include "mmu/physical_map.h"

#include <string>

namespace calque::machine {

// Both: only while the vCPU is stopped. Rights are u (programs have them too), r, w and x.

// As `info mem` shows it: a line for each run of pages with the same rights.
std::string describe_address_space(const cpu::Cpu& cpu, mmu::PhysicalMap& map);
// As `info tlb` shows it: a line for each page, with g (global), d (dirty) and a (accessed).
std::string describe_pages(const cpu::Cpu& cpu, mmu::PhysicalMap& map);

} // namespace calque::machine
