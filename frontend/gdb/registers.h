// A processor's registers as gdb numbers, names and writes them: the target description.
#pragma once

#include "frontend/machine/inspect.h"

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace calque::gdb {

struct Register {
    using Value = std::array<u8, 16>; // Little-endian, of `bits` bits.

    std::string name;
    const char* feature; // Of the description.
    unsigned bits;
    const char* type;
    const char* group; // Null: gdb's own choice.
    std::function<Value(cpu::Cpu&)> read;
    std::function<bool(cpu::Cpu&, const Value&)> write; // False: the processor does not take it.
};

class Registers {
  public:
    // Those that this processor has.
    explicit Registers(cpu::Cpu& cpu);

    // Only while the processor is stopped.
    std::string read(cpu::Cpu& cpu,
                     std::size_t number) const; // Bytes in hexadecimal; empty: there is no such register.
    bool write(cpu::Cpu& cpu, std::size_t number, std::string_view bytes) const;
    // The registers of a `g` packet: those that programs use. gdb asks for the others one by one.
    std::string read_general(cpu::Cpu& cpu) const;
    bool write_general(cpu::Cpu& cpu, std::string_view bytes) const;

    const std::string& description() const { return description_; } // target.xml
    std::optional<std::size_t> find(std::string_view name) const;
    std::size_t size() const { return all_.size(); }

  private:
    std::vector<Register> all_; // By number.
    std::size_t general_ = 0;   // How many of them a `g` packet has.
    std::string description_;
};

// --- The parts of the list (registers.cpp, system_registers.cpp).
namespace features {
inline constexpr char core[] = "org.gnu.gdb.i386.core", sse[] = "org.gnu.gdb.i386.sse", avx[] = "org.gnu.gdb.i386.avx",
                      segments[] = "org.gnu.gdb.i386.segments", system[] = "org.calque.system",
                      model_specific[] = "org.calque.msr";
}
void add_program_registers(std::vector<Register>& list, const cpu::Cpu& cpu);
void add_system_registers(std::vector<Register>& list, cpu::Cpu& cpu);
Register number_register(std::string name, const char* feature, unsigned bits, const char* type, const char* group,
                         std::function<u64(cpu::Cpu&)> read, std::function<bool(cpu::Cpu&, u64)> write);

} // namespace calque::gdb
