// A builder of AML, the byte code of ACPI (ACPI specification 6.4, chapter 20). Each function gives the encoding of one
// ASL term; terms nest by concatenation.
#pragma once

#include "base/types.h"

#include <initializer_list>
#include <string_view>
#include <vector>

namespace calque::firmware::aml {

using Term = std::vector<u8>;
using Terms = std::vector<Term>;

// A path in ASL spelling: "\\_SB.PCI0.LNKA", "^PRQA", "_CRS". Segments are padded with '_' to four characters.
Term name(std::string_view path);

// Data
Term integer(u64 value);
Term string(std::string_view text);
Term eisa_id(std::string_view id); // "PNP0A03"
Term package(const Terms& elements);
Term buffer(const std::vector<u8>& bytes);

// Named objects
Term scope(std::string_view path, const Terms& terms);
Term device(std::string_view path, const Terms& terms);
Term define(std::string_view path, const Term& value); // Name (path, value)
enum class Calls : u8 { concurrent, serialized };
Term method(std::string_view path, unsigned arguments, Calls calls, const Terms& terms);
enum class Space : u8 { system_memory = 0, system_io = 1, pci_config = 2 };
Term operation_region(std::string_view path, Space space, u64 offset, u64 length);
struct FieldUnit {
    std::string_view name;
    unsigned bits;
};
Term byte_fields(std::string_view region, const std::vector<FieldUnit>& units);  // ByteAcc, NoLock, Preserve
Term dword_fields(std::string_view region, const std::vector<FieldUnit>& units); // DWordAcc, NoLock, Preserve
Term create_dword_field(const Term& source, u64 byte_offset, std::string_view path);

// Statements and expressions
Term arg(unsigned n);
Term local(unsigned n);
Term assign(const Term& value, const Term& target); // Store
Term bit_and(const Term& a, const Term& b);
Term assign_and(const Term& a, const Term& b, const Term& target); // target = a & b
Term set_bits(const Term& target, const Term& mask);               // target |= mask
Term if_then(const Term& condition, const Terms& terms);
Term return_value(const Term& value);
Term notify(const Term& object, u64 value);
Term call(std::string_view path); // Of a method without arguments.

// Resource descriptors (6.4), and the buffer that collects them
Term io(u16 base, u8 length);
Term irq(unsigned number);                       // Edge, active high, exclusive.
Term interrupt(const std::vector<u32>& numbers); // Level, active high, shared.
Term memory32_fixed(bool writable, u32 base, u32 length);
Term word_bus_number(u16 first, u16 last);
Term word_io(u16 first, u16 last);
Term dword_memory(u32 first, u32 last, bool cacheable);
Term qword_memory(u64 first, u64 last, bool cacheable);
Term dma(unsigned channel);
Term resources(const Terms& descriptors);

} // namespace calque::firmware::aml
