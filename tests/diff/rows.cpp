#include "tests/diff/rows.h"

#include <algorithm>
#include <array>
#include <vector>

namespace calque::diff {

namespace {

using cpu::Form;
using cpu::Instruction;
using cpu::OperandKind;
using cpu::Row;

const std::vector<Group>& groups() {
    static const std::vector<Group> all = [] {
        std::vector<Group> list;
#define ROW(...) list.push_back(group);
        Group group = Group::integer;
#include "cpu/table/integer.inc"
        group = Group::string;
#include "cpu/table/string.inc"
        group = Group::control;
#include "cpu/table/control.inc"
        group = Group::system;
#include "cpu/table/system.inc"
        group = Group::x87;
#include "cpu/table/x87.inc"
        group = Group::mmx;
#include "cpu/table/mmx.inc"
        group = Group::sse;
#include "cpu/table/sse.inc"
        group = Group::avx;
#include "cpu/table/avx.inc"
        group = Group::crypto;
#include "cpu/table/crypto.inc"
#undef ROW
        list.push_back(Group::system); // What decodes to nothing.
        return list;
    }();
    return all;
}

struct Named {
    std::string_view name, reason;
};
constexpr std::array<Named, 0> rows_left_out{};

constexpr std::array<std::string_view, 8> transcendental{"F2XM1", "FYL2X",   "FYL2XP1", "FSIN",
                                                         "FCOS",  "FSINCOS", "FPTAN",   "FPATAN"};

const Row& row_of(u16 row) { return cpu::instruction_table()[row]; }

} // namespace

Group group_of(u16 row) { return groups()[row]; }

std::string_view left_out(u16 row) {
    const Row& r = row_of(row);
    if (r.name.empty()) return "not an instruction";
    if (r.properties & (cpu::p_system | cpu::p_io | cpu::p_privileged)) return "a system instruction";
    for (const Named& n : rows_left_out)
        if (n.name == r.name) return n.reason;
    return {};
}

std::string_view form_left_out(const Instruction& i, const Form& form) {
    if (i.segment() == cpu::fs) return "FS has the host's own base";
    for (unsigned n = 0; n < form.count; ++n)
        if (form.kind[n] == OperandKind::segment || form.kind[n] == OperandKind::control
            || form.kind[n] == OperandKind::debug || form.kind[n] == OperandKind::far_pointer)
            return "a system register or a far pointer";
    const std::string_view name = row_of(i.row).name;
    const bool branch = group_of(i.row) == Group::control && (name == "JMP" || name == "CALL" || name == "RET");
    if (branch && form.memory(0) && form.size[0] != 8) return "a far pointer in memory";
    if (branch && form.opcode >= 0xCA && form.opcode <= 0xCB) return "a far return";
    if (name == "NOP" && form.opcode == 0x0D) return "0F 0D with a register: a NOP for Intel, undefined for AMD";
    return {};
}

unsigned x87_tolerance(u16 row) {
    const auto* const end = transcendental.end();
    return std::find(transcendental.begin(), end, row_of(row).name) != end ? 1 : 0;
}

} // namespace calque::diff
