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

bool faults_in_either_order(std::string_view name) {
    return name.substr(0, 4) == "CMPS"
           && (name == "CMPSB" || name == "CMPSW" || name == "CMPSD_STRING" || name == "CMPSQ");
}

bool not_offered(std::string_view mnemonic) {
    static constexpr std::string_view exact[] = {
        "extrq",   "insertq", "movntsd",  "movntss", "clzero",    "monitorx",  "mwaitx", // AMD's own.
        "clgi",    "stgi",    "invlpga",  "skinit",  "vmrun",     "vmload",    "vmsave",  "vmcall",
        "vmmcall", "xsaves",  "xsaves64", "xrstors", "xrstors64", "pvalidate", "movdiri", "movdir64b",
    };
    static constexpr std::string_view beginnings[] = {
        "vaes",
        "gf2p8",
        "vgf2p8",
        "vpclmulqdq", // VAES and VPCLMULQDQ: their 256-bit forms.
        "vpdpbusd",
        "vpdpwssd", // AVX-VNNI.
        "kadd",
        "kand",
        "kmov",
        "knot",
        "kor",
        "kshift",
        "ktest",
        "kunpck",
        "kxnor",
        "kxor", // AVX-512.
        "(bad) c4 e3 7d 00",
        "(bad) c4 e3 7d 01", // VPERMQ and VPERMPD with W clear, which the manuals do not allow.
    };
    const auto* const end = std::end(exact);
    if (std::find(std::begin(exact), end, mnemonic) != end) return true;
    for (const std::string_view beginning : beginnings)
        if (mnemonic.substr(0, beginning.size()) == beginning) return true;
    return mnemonic.substr(0, 5) == "(bad)" && mnemonic.find("0f 01 c1") != mnemonic.npos; // VMCALL with prefixes.
}

unsigned x87_tolerance(u16 row) {
    const auto* const end = transcendental.end();
    return std::find(transcendental.begin(), end, row_of(row).name) != end ? 1 : 0;
}

} // namespace calque::diff
