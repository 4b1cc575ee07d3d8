#include "jit/debug/disassembler.h"

#include <capstone/capstone.h>
#include <fmt/format.h>
#include <memory>

namespace calque::jit {

namespace {

cs_mode mode_of(cpu::CodeSize size) {
    switch (size) {
    case cpu::CodeSize::bits16: return CS_MODE_16;
    case cpu::CodeSize::bits32: return CS_MODE_32;
    default: return CS_MODE_64;
    }
}

// One opened engine and the instruction that it fills.
class Capstone {
  public:
    explicit Capstone(cpu::CodeSize size) : open_(cs_open(CS_ARCH_X86, mode_of(size), &handle_) == CS_ERR_OK) {
        if (open_) instruction_.reset(cs_malloc(handle_));
    }
    ~Capstone() {
        instruction_.reset();
        if (open_) cs_close(&handle_);
    }
    Capstone(const Capstone&) = delete;
    Capstone& operator=(const Capstone&) = delete;

    // Null when the bytes do not start with a whole instruction.
    const cs_insn* first(std::span<const u8> code, u64 address) {
        const u8* at = code.data();
        std::size_t left = code.size();
        if (!instruction_ || !cs_disasm_iter(handle_, &at, &left, &address, instruction_.get())) return nullptr;
        return instruction_.get();
    }

  private:
    struct Free {
        void operator()(cs_insn* instruction) const { cs_free(instruction, 1); }
    };
    csh handle_ = 0;
    bool open_;
    std::unique_ptr<cs_insn, Free> instruction_;
};

} // namespace

std::string CodeLine::line() const {
    constexpr std::size_t column = 10 * 3;
    std::string hex;
    for (const u8 byte : bytes)
        hex += fmt::format("{:02x} ", byte);
    return fmt::format("0x{:016x}:  {:<{}} {}", address, hex, column, text);
}

std::vector<CodeLine> disassemble(std::span<const u8> code, cpu::CodeSize size, u64 address, std::size_t most) {
    Capstone capstone(size);
    std::vector<CodeLine> lines;
    while (lines.size() < most && !code.empty()) {
        CodeLine line{.address = address, .bytes = {code.front()}, .text = fmt::format(".byte 0x{:02x}", code.front())};
        if (const cs_insn* found = capstone.first(code, address)) {
            line.bytes.assign(code.begin(), code.begin() + found->size);
            line.text = found->mnemonic;
            if (found->op_str[0]) line.text += fmt::format(" {}", found->op_str);
        }
        code = code.subspan(line.bytes.size());
        address += line.bytes.size();
        lines.push_back(std::move(line));
    }
    return lines;
}

} // namespace calque::jit
