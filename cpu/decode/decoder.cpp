#include "cpu/decode/decoder.h"

#include "base/bits.h"
#include "cpu/decode/decode_memory.h"
#include "cpu/decode/isa.h"
#include "cpu/decode/operands.h"
#include "cpu/threaded.h"

#include <Zydis/Zydis.h>
#include <algorithm>
#include <string>
#include <vector>

namespace calque::cpu {

namespace {

Flow undefined(Cpu& cpu, const Instruction&) { return cpu.undefined_opcode(); }
// SDM volume 2, 2.3.11: more than 15 bytes is #GP(0).
Flow too_long(Cpu& cpu, const Instruction&) { return cpu.general_protection(); }

// The string instructions share these two mnemonics with SSE: they get rows of their own.
constexpr unsigned ZYDIS_MNEMONIC_MOVSD_STRING = ZYDIS_MNEMONIC_MAX_VALUE + 1;
constexpr unsigned ZYDIS_MNEMONIC_CMPSD_STRING = ZYDIS_MNEMONIC_MAX_VALUE + 2;
constexpr unsigned mnemonics = ZYDIS_MNEMONIC_MAX_VALUE + 3;

constexpr u16 no_row = 0xFFFF;

struct RowMap {
    std::array<u16, mnemonics> row;
    constexpr RowMap() : row{} {
        row.fill(no_row);
        u16 next = 0;
#define ROW(mnemonic, ...) row[ZYDIS_MNEMONIC_##mnemonic] = next++;
#include "cpu/instructions.inc"
#undef ROW
        (void)next;
    }
};
constexpr RowMap row_map;

unsigned row_key(const ZydisDecodedInstruction& in) {
    if (in.meta.category == ZYDIS_CATEGORY_STRINGOP) {
        if (in.mnemonic == ZYDIS_MNEMONIC_MOVSD) return ZYDIS_MNEMONIC_MOVSD_STRING;
        if (in.mnemonic == ZYDIS_MNEMONIC_CMPSD) return ZYDIS_MNEMONIC_CMPSD_STRING;
    }
    return in.mnemonic;
}

} // namespace

struct Decoder::Impl {
    std::array<ZydisDecoder, 3> decoders; // By CodeSize.
    IsaSets isa;
    bool lahf64;
    std::span<const Row> rows = instruction_table();
    std::optional<DecodeMemory> memory;

    explicit Impl(const CpuModel& model) : isa(isa_sets(model.features)), lahf64(model.features.has(Feature::lahf_lm)) {
        const auto init = [&](ZydisDecoder& d, ZydisMachineMode machine, ZydisStackWidth stack) {
            ZydisDecoderInit(&d, machine, stack);
            // What the guest's CPU lacks decodes as it does on processors without it: ENDBR and BNDxxx are NOPs, LZCNT
            // is BSR.
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_LZCNT, model.features.has(Feature::abm));
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_TZCNT, model.features.has(Feature::bmi1));
            ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_AMD_BRANCHES, model.vendor == "AuthenticAMD");
        };
        // In real mode too, where ZYDIS_MACHINE_MODE_REAL_16 would make SYSENTER and SYSEXIT undefined, which are #GP:
        // the handlers look at the mode.
        init(decoders[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
        init(decoders[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
        init(decoders[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    }

    void fill_undefined(Instruction& out, u8 length) const {
        out.handler = threaded<undefined>;
        out.row = static_cast<u16>(rows.size() - 1);
        out.length = length;
    }
};

Decoder::Decoder(const CpuModel& model, std::size_t remembered) : impl_(std::make_unique<Impl>(model)) {
    if (remembered != 0) impl_->memory.emplace(remembered);
}
Decoder::~Decoder() = default;

// Where an instruction's displacement and immediate are, when it may be remembered.
struct Decoder::Parts {
    bool known = false;
    DecodeMemory::Tail tail;
};

DecodeStatus Decoder::decode(std::span<const u8> bytes, const DecodeMode& mode, Instruction& out, Form* form_out,
                             Recollection* what) const {
    Parts parts;
    if (what) *what = {};
    if (!impl_->memory) return decode_all(bytes, mode, out, form_out, parts);
    const std::span<const u8> within = bytes.first(std::min<std::size_t>(bytes.size(), longest_instruction));
    const InstructionHead head = head_of(within, mode);
    if (head.length != 0 && impl_->memory->recall(head, mode, within, out, form_out, what)) return DecodeStatus::ok;
    Form form;
    const DecodeStatus status = decode_all(bytes, mode, out, &form, parts);
    Recollection known;
    if (head.length != 0 && parts.known) known = impl_->memory->remember(head, mode, within, parts.tail, out, form);
    if (what) *what = known;
    if (form_out) *form_out = form;
    return status;
}

DecodeStatus Decoder::decode_at(u64 address, std::span<const u8> bytes, const DecodeMode& mode, Instruction& out,
                                Form* form_out, Recollection* what) const {
    if (!impl_->memory) return decode(bytes, mode, out, form_out, what);
    if (impl_->memory->recall_at(address, mode, bytes, out, form_out, what)) return DecodeStatus::ok;
    Form form;
    Recollection known;
    const DecodeStatus status = decode(bytes, mode, out, &form, &known);
    if (known.stamp != 0) impl_->memory->remember_at(address, mode, bytes, out, form, known);
    if (form_out) *form_out = form;
    if (what) *what = known;
    return status;
}

bool Decoder::knows_at(u64 address, std::span<const u8> bytes, const DecodeMode& mode) const {
    return impl_->memory && impl_->memory->knows_at(address, mode, bytes);
}

unsigned Decoder::look_ahead(std::span<const u8> bytes, const DecodeMode& mode, std::span<u32> slots) const {
    if (!impl_->memory || mode.code_size != CodeSize::bits64) return 0;
    unsigned count = 0;
    while (count < slots.size() && bytes.size() >= longest_instruction) {
        const InstructionHead head = head_of(bytes.first(longest_instruction), mode);
        if (head.length == 0) break;
        slots[count++] = impl_->memory->fetch(head, mode);
        const unsigned length = likely_length(head);
        if (length == 0) break;
        bytes = bytes.subspan(std::min<std::size_t>(length, bytes.size()));
    }
    return count;
}

namespace {
// The value of an immediate of VEX encodings may be a register. ENTER has two immediates, and MOV with an absolute
// address has it in place of one.
bool plain_tail(const ZydisDecodedInstruction& in) {
    const bool encoding = in.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY
                          || (in.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && in.raw.imm[0].size == 0);
    return encoding && in.raw.imm[1].size == 0 && (in.attributes & ZYDIS_ATTRIB_HAS_MODRM || in.raw.disp.size == 0);
}
} // namespace

DecodeStatus Decoder::decode_all(std::span<const u8> bytes, const DecodeMode& mode, Instruction& out, Form* form_out,
                                 Parts& parts) const {
    out = Instruction{};
    const Impl& impl = *impl_;
    const ZydisDecoder& decoder = impl.decoders[static_cast<unsigned>(mode.code_size)];
    const auto available = std::min<std::size_t>(bytes.size(), longest_instruction);
    ZydisDecoderContext context;
    ZydisDecodedInstruction in;
    const ZyanStatus status = ZydisDecoderDecodeInstruction(&decoder, &context, bytes.data(), available, &in);
    if (!ZYAN_SUCCESS(status)) {
        if (status == ZYDIS_STATUS_NO_MORE_DATA && available < longest_instruction) return DecodeStatus::need_more;
        // Any of the bytes may have made it undefined: a store to one of them must be seen as a store to this code.
        impl.fill_undefined(out, static_cast<u8>(available));
        if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA)
            out.handler = threaded<too_long>;
        return DecodeStatus::ok;
    }
    const u16 row = row_map.row[row_key(in)];
    const bool lahf = in.meta.isa_set == ZYDIS_ISA_SET_LAHF && mode.code_size == CodeSize::bits64 && !impl.lahf64;
    const bool vex_in_real = mode.real && in.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    if (row == no_row || !impl.isa[in.meta.isa_set] || lahf || vex_in_real) {
        impl.fill_undefined(out, in.length);
        return DecodeStatus::ok;
    }
    out.row = row;
    out.length = in.length;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT_VISIBLE> operands;
    ZydisDecoderDecodeOperands(&decoder, &context, &in, operands.data(), in.operand_count_visible);

    if (in.mnemonic == ZYDIS_MNEMONIC_PAUSE && (in.attributes & ZYDIS_ATTRIB_HAS_REX) && in.raw.rex.B)
        return decode_xchg_r8(bytes, mode, in.length, out, form_out);

    Form form;
    form.code_bits = mode.code_size == CodeSize::bits64 ? 64 : mode.code_size == CodeSize::bits32 ? 32 : 16;
    describe_instruction(in, form, out);
    describe_operands(in, std::span(operands.data(), in.operand_count_visible), form, out);
    form.flat = form.code_bits == 64 && form.address_size == 8 && out.segment() >= Segment::flat && !mode.careful;

    const Selector select = impl.rows[row].select;
    out.handler = select ? select(form) : nullptr;
    if (out.handler == nullptr) impl.fill_undefined(out, in.length);
    if (form_out) *form_out = form;
    parts = {
        plain_tail(in),
        {static_cast<u8>(in.raw.disp.size / 8), static_cast<u8>(in.raw.imm[0].size / 8), in.raw.imm[0].is_signed != 0}};
    return DecodeStatus::ok;
}

// F3 90 with REX.B is XCHG r8, rAX, of which Zydis 4.0.0 makes PAUSE. Without F3 it knows better.
DecodeStatus Decoder::decode_xchg_r8(std::span<const u8> bytes, const DecodeMode& mode, u8 length, Instruction& out,
                                     Form* form_out) const {
    std::array<u8, longest_instruction> plain;
    std::size_t count = 0;
    for (unsigned n = 0; n < length; ++n)
        if (bytes[n] != 0xF3) plain[count++] = bytes[n];
    const DecodeStatus status = decode(std::span(plain.data(), count), mode, out, form_out);
    out.length = length;
    return status;
}

u16 properties_of(const Instruction& i) { return instruction_table()[i.row].properties; }

std::string Decoder::disassemble(std::span<const u8> bytes, CodeSize size, u64 address) {
    ZydisDecoder decoder;
    if (size == CodeSize::bits64)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (size == CodeSize::bits32)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecodedInstruction in;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &in, operands))) return "(bad)";
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    char text[128];
    ZydisFormatterFormatInstruction(&formatter, &in, operands, in.operand_count_visible, text, sizeof text, address,
                                    nullptr);
    return text;
}

} // namespace calque::cpu
