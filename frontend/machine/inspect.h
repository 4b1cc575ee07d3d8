// What a person or a debugger sees of a guest, which notices nothing of it: no accessed bits, no device accesses, no
// faults.
#pragma once

#include "cpu/cpu.h"
#include "mmu/physical_map.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calque::machine {

enum class AddressSpace : u8 { physical, linear };

// All of these: only while the vCPU is stopped.

// Reads memory as the vCPU's tables map it now, whatever its privilege. Returns how many bytes were there before the
// first that no RAM or ROM answers.
std::size_t peek(const cpu::Cpu& cpu, mmu::PhysicalMap& map, AddressSpace space, u64 address, std::span<u8> out);

// Writes memory in the same way; code that was made of it goes. All of it or, where some is no RAM, nothing: false.
bool poke(const cpu::Cpu& cpu, mmu::PhysicalMap& map, AddressSpace space, u64 address, std::span<const u8> in);

// A line for each of `count` instructions in the code size that the vCPU is in, fewer where memory ends.
std::vector<std::string> disassemble(const cpu::Cpu& cpu, mmu::PhysicalMap& map, AddressSpace space, u64 address,
                                     std::size_t count);

// "rip", "pc" (with the base of CS, so that it can be looked at), "rax" to "r15", "eflags", "cr0" and so on; nothing
// for other names.
std::optional<u64> register_value(const cpu::Cpu& cpu, std::string_view name);

} // namespace calque::machine
