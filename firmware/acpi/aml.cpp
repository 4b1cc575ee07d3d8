#include "firmware/acpi/aml.h"

#include "firmware/bytes.h"

namespace calque::firmware::aml {

namespace {

// Opcodes (20.3, table 20.2). Those above 0xFF carry the extended prefix 0x5B.
constexpr u8 op_zero = 0x00, op_one = 0x01, op_name = 0x08, op_byte = 0x0A, op_word = 0x0B, op_dword = 0x0C,
             op_string = 0x0D, op_qword = 0x0E, op_scope = 0x10, op_buffer = 0x11, op_package = 0x12, op_method = 0x14,
             op_dual_name = 0x2E, op_multi_name = 0x2F, op_ext = 0x5B, op_local0 = 0x60, op_arg0 = 0x68,
             op_store = 0x70, op_and = 0x7B, op_or = 0x7D, op_notify = 0x86, op_create_dword_field = 0x8A, op_if = 0xA0,
             op_return = 0xA4;
constexpr u8 ext_region = 0x80, ext_field = 0x81, ext_device = 0x82;

Term join(std::initializer_list<Term> parts) {
    Term out;
    for (const Term& part : parts)
        append(out, part);
    return out;
}

void append_terms(Term& out, const Terms& terms) {
    for (const Term& term : terms)
        append(out, term);
}

// PkgLength (20.2.4) counts its own bytes: one for up to 63, else a lead byte with the low nibble and up to three more.
Term with_length(const Term& body) {
    Term out;
    if (body.size() + 1 <= 0x3F) {
        append(out, body.size() + 1, 1);
    } else {
        unsigned extra = 1;
        while (body.size() + 1 + extra >= (std::size_t{1} << (4 + 8 * extra)))
            ++extra;
        const std::size_t length = body.size() + 1 + extra;
        append(out, extra << 6 | (length & 0xF), 1);
        append(out, length >> 4, extra);
    }
    append(out, body);
    return out;
}

Term op(u8 code, const Term& rest) { return join({{code}, rest}); }
Term ext_op(u8 code, const Term& rest) { return join({{op_ext, code}, rest}); }

// A large resource descriptor: type, 16-bit length, body.
Term large(u8 type, const Term& body) {
    Term out{type};
    append(out, body.size(), 2);
    append(out, body);
    return out;
}

enum class RangeType : u8 { memory = 0, io = 1, bus = 2 };

// An address space descriptor (6.4.3.5) of `width` bytes a field: a fixed window that the bridge passes on as it is.
Term address_space(u8 descriptor, unsigned width, RangeType type, u8 type_flags, u64 first, u64 last) {
    constexpr u8 fixed_positive_producer = 0x0C; // _MIF, _MAF
    Term body{static_cast<u8>(type), fixed_positive_producer, type_flags};
    for (const u64 field : {u64{0}, first, last, u64{0}, last - first + 1})
        append(body, field, width);
    return large(descriptor, body);
}

constexpr u8 memory_writable = 0x01, memory_cacheable = 0x02;
constexpr u8 io_entire_range = 0x03;

} // namespace

Term name(std::string_view path) {
    Term out;
    while (!path.empty() && (path.front() == '\\' || path.front() == '^')) {
        out.push_back(static_cast<u8>(path.front()));
        path.remove_prefix(1);
    }
    Term segments;
    std::size_t count = 0;
    while (!path.empty()) {
        const auto segment = path.substr(0, path.find('.'));
        append_fixed(segments, segment, 4, '_');
        ++count;
        path.remove_prefix(segment.size());
        if (!path.empty()) path.remove_prefix(1);
    }
    if (count == 0) {
        out.push_back(op_zero); // NullName: the root itself.
    } else if (count == 2) {
        out.push_back(op_dual_name);
    } else if (count > 2) {
        out.push_back(op_multi_name);
        out.push_back(static_cast<u8>(count));
    }
    append(out, segments);
    return out;
}

Term integer(u64 value) {
    if (value == 0) return {op_zero};
    if (value == 1) return {op_one};
    const unsigned size = value <= 0xFF ? 1 : value <= 0xFFFF ? 2 : value <= 0xFFFFFFFF ? 4 : 8;
    Term out{size == 1 ? op_byte : size == 2 ? op_word : size == 4 ? op_dword : op_qword};
    append(out, value, size);
    return out;
}

Term string(std::string_view text) {
    Term out{op_string};
    append(out, text);
    out.push_back(0);
    return out;
}

// Three letters of five bits and four hexadecimal digits, most significant byte first (19.3.4).
Term eisa_id(std::string_view id) {
    u32 code = 0;
    for (const char letter : id.substr(0, 3))
        code = code << 5 | (static_cast<u32>(letter) - 0x40);
    for (const char digit : id.substr(3, 4))
        code = code << 4 | static_cast<u32>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
    return integer(__builtin_bswap32(code));
}

Term package(const Terms& elements) {
    Term body{static_cast<u8>(elements.size())};
    append_terms(body, elements);
    return op(op_package, with_length(body));
}

Term buffer(const std::vector<u8>& bytes) { return op(op_buffer, with_length(join({integer(bytes.size()), bytes}))); }

Term scope(std::string_view path, const Terms& terms) {
    Term body = name(path);
    append_terms(body, terms);
    return op(op_scope, with_length(body));
}

Term device(std::string_view path, const Terms& terms) {
    Term body = name(path);
    append_terms(body, terms);
    return ext_op(ext_device, with_length(body));
}

Term define(std::string_view path, const Term& value) { return join({{op_name}, name(path), value}); }

Term method(std::string_view path, unsigned arguments, Calls calls, const Terms& terms) {
    Term body = name(path);
    body.push_back(static_cast<u8>(arguments | (calls == Calls::serialized ? 0x08 : 0)));
    append_terms(body, terms);
    return op(op_method, with_length(body));
}

Term operation_region(std::string_view path, Space space, u64 offset, u64 length) {
    return ext_op(ext_region, join({name(path), {static_cast<u8>(space)}, integer(offset), integer(length)}));
}

namespace {
Term fields(std::string_view region, u8 flags, const std::vector<FieldUnit>& units) {
    Term body = name(region);
    body.push_back(flags);
    for (const FieldUnit& unit : units) {
        append_fixed(body, unit.name, 4, '_');
        append(body, unit.bits, 1); // A PkgLength below 64.
    }
    return ext_op(ext_field, with_length(body));
}
} // namespace

Term byte_fields(std::string_view region, const std::vector<FieldUnit>& units) {
    constexpr u8 byte_access_preserve = 0x01;
    return fields(region, byte_access_preserve, units);
}

Term dword_fields(std::string_view region, const std::vector<FieldUnit>& units) {
    constexpr u8 dword_access_preserve = 0x03;
    return fields(region, dword_access_preserve, units);
}

Term create_dword_field(const Term& source, u64 byte_offset, std::string_view path) {
    return join({{op_create_dword_field}, source, integer(byte_offset), name(path)});
}

Term arg(unsigned n) { return {static_cast<u8>(op_arg0 + n)}; }
Term local(unsigned n) { return {static_cast<u8>(op_local0 + n)}; }
Term assign(const Term& value, const Term& target) { return join({{op_store}, value, target}); }
Term bit_and(const Term& a, const Term& b) { return assign_and(a, b, {op_zero}); } // No target.
Term assign_and(const Term& a, const Term& b, const Term& target) { return join({{op_and}, a, b, target}); }
Term set_bits(const Term& target, const Term& mask) { return join({{op_or}, target, mask, target}); }

Term if_then(const Term& condition, const Terms& terms) {
    Term body = condition;
    append_terms(body, terms);
    return op(op_if, with_length(body));
}

Term return_value(const Term& value) { return op(op_return, value); }
Term notify(const Term& object, u64 value) { return join({{op_notify}, object, integer(value)}); }
Term call(std::string_view path) { return name(path); }

Term io(u16 base, u8 length) {
    Term out{0x47, 0x01}; // I/O port descriptor, 16-bit decode.
    append(out, base, 2);
    append(out, base, 2);
    append(out, 1, 1); // Alignment.
    append(out, length, 1);
    return out;
}

Term irq(unsigned number) {
    Term out{0x22}; // IRQ format, no flags byte.
    append(out, 1u << number, 2);
    return out;
}

Term interrupt(const std::vector<u32>& numbers) {
    constexpr u8 consumer_shared = 0x09; // Level and active high are zeros.
    Term body{consumer_shared, static_cast<u8>(numbers.size())};
    for (const u32 number : numbers)
        append(body, number, 4);
    return large(0x89, body);
}

Term memory32_fixed(bool writable, u32 base, u32 length) {
    Term body{static_cast<u8>(writable)};
    append(body, base, 4);
    append(body, length, 4);
    return large(0x86, body);
}

Term word_bus_number(u16 first, u16 last) { return address_space(0x88, 2, RangeType::bus, 0, first, last); }
Term word_io(u16 first, u16 last) { return address_space(0x88, 2, RangeType::io, io_entire_range, first, last); }
Term dword_memory(u32 first, u32 last, bool cacheable) {
    const u8 flags = static_cast<u8>(memory_writable | (cacheable ? memory_cacheable : 0));
    return address_space(0x87, 4, RangeType::memory, flags, first, last);
}
Term qword_memory(u64 first, u64 last, bool cacheable) {
    const u8 flags = static_cast<u8>(memory_writable | (cacheable ? memory_cacheable : 0));
    return address_space(0x8A, 8, RangeType::memory, flags, first, last);
}

Term dma(unsigned channel) { return {0x2A, static_cast<u8>(1u << channel), 0x00}; }

Term resources(const Terms& descriptors) {
    Term bytes;
    append_terms(bytes, descriptors);
    append(bytes, 0x0079, 2); // End tag, checksum not used.
    return buffer(bytes);
}

} // namespace calque::firmware::aml
