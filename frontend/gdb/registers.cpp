#include "frontend/gdb/registers.h"

#include "frontend/gdb/packet.h"
#include "frontend/gdb/target_types.h"

#include <cstring>
#include <fmt/core.h>

namespace calque::gdb {

namespace {

using cpu::Cpu;
using Value = Register::Value;

constexpr std::pair<const char*, unsigned> gprs[] = {
    {"rax", cpu::rax}, {"rbx", cpu::rbx}, {"rcx", cpu::rcx}, {"rdx", cpu::rdx}, {"rsi", cpu::rsi}, {"rdi", cpu::rdi},
    {"rbp", cpu::rbp}, {"rsp", cpu::rsp}, {"r8", 8},         {"r9", 9},         {"r10", 10},       {"r11", 11},
    {"r12", 12},       {"r13", 13},       {"r14", 14},       {"r15", 15}};
constexpr std::pair<const char*, cpu::Segment> selectors[] = {{"cs", cpu::cs}, {"ss", cpu::ss}, {"ds", cpu::ds},
                                                              {"es", cpu::es}, {"fs", cpu::fs}, {"gs", cpu::gs}};
// What a debugger may change of RFLAGS: not VM, which changes what everything else means.
constexpr u64 writable_flags = cpu::arithmetic_flags | cpu::flag_tf | cpu::flag_if | cpu::flag_df | cpu::flag_iopl
                               | cpu::flag_nt | cpu::flag_rf | cpu::flag_ac | cpu::flag_vif | cpu::flag_vip
                               | cpu::flag_id;

bool write_flags(Cpu& cpu, u64 value) {
    const u64 before = cpu::read_rflags(cpu.state);
    cpu::write_rflags(cpu.state, (before & ~writable_flags) | (value & writable_flags));
    cpu.update_mode();
    return true;
}

// A selector is nothing without its descriptor, but in real mode.
bool write_selector(Cpu& cpu, cpu::Segment segment, u64 value) {
    if (cpu.state.segment[segment].selector == value) return true;
    if (cpu.mode.protected_mode && !cpu.mode.vm86) return false;
    cpu.load_segment_real(segment, static_cast<u16>(value));
    cpu.update_mode();
    return true;
}

// A tag of two bits for each register, as FSTENV makes them (SDM volume 1, 8.1.7).
u64 tag_word(const cpu::X87State& x87) {
    u64 tags = 0;
    for (unsigned n = 0; n < 8; ++n) {
        const u16 exponent = x87.reg[n].sign_exponent & 0x7FFF;
        const u64 significand = x87.reg[n].significand;
        u64 tag = 0;
        if (!(x87.valid >> n & 1))
            tag = 3;
        else if (exponent == 0 && significand == 0)
            tag = 1;
        else if (exponent == 0 || exponent == 0x7FFF || !(significand >> 63))
            tag = 2;
        tags |= tag << (2 * n);
    }
    return tags;
}
void set_tag_word(cpu::X87State& x87, u64 tags) {
    x87.valid = 0;
    for (unsigned n = 0; n < 8; ++n)
        if ((tags >> (2 * n) & 3) != 3) x87.valid = static_cast<u8>(x87.valid | 1u << n);
}

void add_x87(std::vector<Register>& list) {
    for (unsigned n = 0; n < 8; ++n)
        list.push_back({fmt::format("st{}", n), features::core, 80, "i387_ext", nullptr,
                        [n](Cpu& cpu) {
                            const auto& x87 = cpu.state.x87;
                            const auto& reg = x87.reg[(x87.top() + n) & 7];
                            Value value{};
                            std::memcpy(value.data(), &reg.significand, 8);
                            std::memcpy(value.data() + 8, &reg.sign_exponent, 2);
                            return value;
                        },
                        [n](Cpu& cpu, const Value& value) {
                            auto& x87 = cpu.state.x87;
                            auto& reg = x87.reg[(x87.top() + n) & 7];
                            std::memcpy(&reg.significand, value.data(), 8);
                            std::memcpy(&reg.sign_exponent, value.data() + 8, 2);
                            return true;
                        }});
    const auto add = [&](const char* name, auto read, auto write) {
        list.push_back(number_register(
            name, features::core, 32, "int", "float", [read](Cpu& cpu) -> u64 { return read(cpu.state.x87); },
            [write](Cpu& cpu, u64 value) {
                write(cpu.state.x87, value);
                return true;
            }));
    };
    using X87 = cpu::X87State;
    add(
        "fctrl", [](const X87& x) { return x.control; }, [](X87& x, u64 v) { x.control = static_cast<u16>(v); });
    add(
        "fstat", [](const X87& x) { return x.status; }, [](X87& x, u64 v) { x.status = static_cast<u16>(v); });
    add("ftag", tag_word, set_tag_word);
    add(
        "fiseg", [](const X87& x) { return x.instruction_selector; },
        [](X87& x, u64 v) { x.instruction_selector = static_cast<u16>(v); });
    add(
        "fioff", [](const X87& x) { return static_cast<u32>(x.instruction_pointer); },
        [](X87& x, u64 v) { x.instruction_pointer = v; });
    add(
        "foseg", [](const X87& x) { return x.data_selector; },
        [](X87& x, u64 v) { x.data_selector = static_cast<u16>(v); });
    add(
        "fooff", [](const X87& x) { return static_cast<u32>(x.data_pointer); },
        [](X87& x, u64 v) { x.data_pointer = v; });
    add(
        "fop", [](const X87& x) { return x.opcode; }, [](X87& x, u64 v) { x.opcode = static_cast<u16>(v & 0x7FF); });
}

// 128 bits of the vector registers, from this quadword on.
void add_vectors(std::vector<Register>& list, const char* format, const char* feature, const char* type,
                 unsigned quadword) {
    for (unsigned n = 0; n < 16; ++n)
        list.push_back({fmt::format(fmt::runtime(format), n), feature, 128, type, nullptr,
                        [n, quadword](Cpu& cpu) {
                            Value value{};
                            std::memcpy(value.data(), &cpu.state.vector[n].q[quadword], 16);
                            return value;
                        },
                        [n, quadword](Cpu& cpu, const Value& value) {
                            std::memcpy(&cpu.state.vector[n].q[quadword], value.data(), 16);
                            return true;
                        }});
}

} // namespace

Register number_register(std::string name, const char* feature, unsigned bits, const char* type, const char* group,
                         std::function<u64(Cpu&)> read, std::function<bool(Cpu&, u64)> write) {
    return {std::move(name),
            feature,
            bits,
            type,
            group,
            [read = std::move(read)](Cpu& cpu) {
                Value value{};
                const u64 number = read(cpu);
                std::memcpy(value.data(), &number, sizeof number);
                return value;
            },
            [write = std::move(write)](Cpu& cpu, const Value& value) {
                u64 number = 0;
                std::memcpy(&number, value.data(), sizeof number);
                return write(cpu, number);
            }};
}

// gdb knows these features, and in which order their registers come.
void add_program_registers(std::vector<Register>& list, const Cpu& cpu) {
    for (const auto& [name, slot] : gprs) {
        const bool pointer = slot == cpu::rsp || slot == cpu::rbp;
        list.push_back(number_register(
            name, features::core, 64, pointer ? "data_ptr" : "int64", nullptr,
            [slot = slot](Cpu& c) { return c.state.gpr[slot]; },
            [slot = slot](Cpu& c, u64 value) {
                c.state.gpr[slot] = value;
                return true;
            }));
    }
    list.push_back(number_register(
        "rip", features::core, 64, "code_ptr", nullptr, [](Cpu& c) { return c.state.rip(); },
        [](Cpu& c, u64 value) {
            c.state.rip() = value;
            return true;
        }));
    list.push_back(number_register(
        "eflags", features::core, 32, "i386_eflags", nullptr, [](Cpu& c) { return cpu::read_rflags(c.state); },
        write_flags));
    for (const auto& [name, segment] : selectors)
        list.push_back(number_register(
            name, features::core, 32, "int32", nullptr,
            [segment = segment](Cpu& c) -> u64 { return c.state.segment[segment].selector; },
            [segment = segment](Cpu& c, u64 value) { return write_selector(c, segment, value); }));
    add_x87(list);
    add_vectors(list, "xmm{}", features::sse, "vec128", 0);
    list.push_back(number_register(
        "mxcsr", features::sse, 32, "i386_mxcsr", "vector", [](Cpu& c) -> u64 { return c.state.mxcsr; },
        [](Cpu& c, u64 value) {
            if (value >> 16) return false;
            c.state.mxcsr = static_cast<u32>(value);
            return true;
        }));
    for (const auto& [name, segment] : {std::pair{"fs_base", cpu::fs}, std::pair{"gs_base", cpu::gs}})
        list.push_back(number_register(
            name, features::segments, 64, "int", nullptr,
            [segment = segment](Cpu& c) { return c.state.segment[segment].base; },
            [segment = segment](Cpu& c, u64 value) {
                c.state.segment[segment].base = value;
                return true;
            }));
    if (cpu.model.features.has(cpu::Feature::avx)) add_vectors(list, "ymm{}h", features::avx, "uint128", 2);
}

Registers::Registers(Cpu& cpu) {
    add_program_registers(all_, cpu);
    general_ = all_.size();
    add_system_registers(all_, cpu);
    description_ = "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
                   "<architecture>i386:x86-64</architecture>\n";
    std::string_view feature;
    for (std::size_t number = 0; number < all_.size(); ++number) {
        const Register& reg = all_[number];
        if (feature != reg.feature) {
            if (!feature.empty()) description_ += "</feature>\n";
            feature = reg.feature;
            description_ += fmt::format("<feature name=\"{}\">\n{}", feature, types_of(feature));
        }
        description_ += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"", reg.name, reg.bits,
                                    reg.type, number);
        if (reg.group) description_ += fmt::format(" group=\"{}\"", reg.group);
        description_ += "/>\n";
    }
    description_ += "</feature>\n</target>\n";
}

std::string Registers::read(Cpu& cpu, std::size_t number) const {
    if (number >= all_.size()) return {};
    const Value value = all_[number].read(cpu);
    return to_hex(std::span(value).first(all_[number].bits / 8));
}

bool Registers::write(Cpu& cpu, std::size_t number, std::string_view bytes) const {
    if (number >= all_.size() || bytes.size() != all_[number].bits / 8) return false;
    Value value{};
    std::memcpy(value.data(), bytes.data(), bytes.size());
    return all_[number].write(cpu, value);
}

std::string Registers::read_general(Cpu& cpu) const {
    std::string text;
    for (std::size_t number = 0; number < general_; ++number)
        text += read(cpu, number);
    return text;
}

bool Registers::write_general(Cpu& cpu, std::string_view bytes) const {
    for (std::size_t number = 0; number < general_; ++number) {
        const std::size_t size = all_[number].bits / 8;
        if (bytes.size() < size || !write(cpu, number, bytes.substr(0, size))) return false;
        bytes.remove_prefix(size);
    }
    return bytes.empty();
}

std::optional<std::size_t> Registers::find(std::string_view name) const {
    for (std::size_t number = 0; number < all_.size(); ++number)
        if (all_[number].name == name) return number;
    return std::nullopt;
}

} // namespace calque::gdb
