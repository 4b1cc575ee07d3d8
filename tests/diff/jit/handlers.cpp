#include "tests/diff/jit/handlers.h"

#include "cpu/exception.h"

#include <cstring>
#include <initializer_list>

namespace calque::diff {

namespace {

using cpu::has_error_code;
using cpu::Vector;

// Machine code of the handlers, with places in it.
class Code {
  public:
    explicit Code(u64 at) : at_(at) {}
    Code& operator()(std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes)
            code.push_back(static_cast<u8>(byte));
        return *this;
    }
    // A 32-bit displacement from the end of the instruction, which it ends.
    Code& relative(u64 target) { return value(target - (at_ + code.size() + 4), 4); }
    Code& value(u64 v, unsigned bytes) {
        for (; bytes; --bytes, v >>= 8)
            code.push_back(static_cast<u8>(v));
        return *this;
    }
    // A short jump whose displacement is the last byte now goes here.
    void land(std::size_t jump_end) { code[jump_end - 1] = static_cast<u8>(code.size() - jump_end); }
    std::vector<u8> code;

  private:
    u64 at_;
};

// One for each vector; of 32- or 64-bit code. `back` returns from an interrupt.
void write_stubs(Image& image, std::initializer_list<unsigned> back) {
    const Setting& at = image.setting;
    for (unsigned vector = 0; vector <= vector_end; ++vector) {
        Code stub(at.linear(page::stubs, vector * 16));
        if (vector == vector_end) {
            stub({0xF4}); // HLT
        } else if (vector == vector_interrupt) {
            stub(back);
        } else {
            if (!has_error_code(static_cast<Vector>(vector))) stub({0x6A, 0}); // PUSH 0
            stub({0x6A, vector, 0xE9}).relative(at.linear(page::handler));     // PUSH vector; JMP
        }
        std::memcpy(&image.frame(frame::stubs)[vector * 16], stub.code.data(), stub.code.size());
    }
}

} // namespace

void write_handlers64(Image& image) {
    const Setting& at = image.setting;
    write_stubs(image, {0x48, 0xCF}); // IRETQ
    // On the stack: RDX, RCX, RAX, vector, error code, RIP, CS, RFLAGS.
    Code h(at.linear(page::handler));
    h({0x50, 0x51, 0x52});                                                        // PUSH RAX, RCX, RDX
    h({0x48, 0x8D, 0x15}).relative(at.linear(page::log));                         // LEA RDX, [log]
    h({0x8B, 0x0A, 0xFF, 0x02});                                                  // MOV ECX, [RDX]; INC
    h({0x83, 0xF9, most_exceptions, 0x72, 0x01, 0xF4});                           // CMP ECX, most; JB; HLT
    h({0xC1, 0xE1, 0x05});                                                        // SHL ECX, 5
    h({0x48, 0x8B, 0x44, 0x24, 24, 0x48, 0x89, 0x44, 0x0A, log_entries_at});      // vector
    h({0x48, 0x8B, 0x44, 0x24, 32, 0x48, 0x89, 0x44, 0x0A, log_entries_at + 8});  // error code
    h({0x0F, 0x20, 0xD0, 0x48, 0x89, 0x44, 0x0A, log_entries_at + 16});           // CR2
    h({0x48, 0x8B, 0x44, 0x24, 40, 0x48, 0x89, 0x44, 0x0A, log_entries_at + 24}); // RIP
    h({0x83, 0x7C, 0x24, 24, 1, 0x75, 0});                                        // CMP [vector], 1; JNE
    const std::size_t not_debug = h.code.size();
    h({0x81, 0x4C, 0x24, 56}).value(0x10000, 4);                                // OR [RFLAGS], RF
    h({0x81, 0xF9}).value(most_exceptions / 2 * log_entry_bytes, 4)({0x72, 0}); // CMP ECX, half; JB
    const std::size_t few = h.code.size();
    h({0x81, 0x64, 0x24, 56}).value(~u64{0x100}, 4); // AND [RFLAGS], ~TF
    h({0x31, 0xC0, 0x0F, 0x23, 0xF8});               // XOR EAX, EAX; MOV DR7
    h.land(few);
    h({0xEB, 0});
    const std::size_t debug_done = h.code.size();
    h.land(not_debug);
    h({0x83, 0x7C, 0x24, 24, 3, 0x74, 0}); // INT3: RIP is past it
    const std::size_t breakpoint = h.code.size();
    h({0x48, 0xB9}).value(at.linear(page::code) - at.code_base, 8);                            // MOV RCX, code
    h({0x48, 0x29, 0xC8, 0x48, 0x3D}).value(page::code_count * page_size, 4)({0x72, 1, 0xF4}); // SUB, CMP RAX; JB; HLT
    h({0x48, 0x8D, 0x15}).relative(at.linear(page::lengths));                                  // LEA RDX, [lengths]
    h({0x0F, 0xB6, 0x04, 0x02, 0x48, 0x01, 0x44, 0x24, 40});                                   // ADD [RIP], its length
    h.land(debug_done);
    h.land(breakpoint);
    h({0x5A, 0x59, 0x58, 0x48, 0x83, 0xC4, 16, 0x48, 0xCF}); // POP RDX, RCX, RAX; ADD RSP, 16; IRETQ
    std::memcpy(image.frame(frame::handler).data(), h.code.data(), h.code.size());
    std::memcpy(&image.frame(frame::handler)[0xF00], "\x48\x0F\x07", 3); // SYSRETQ
}

// Data segments are the program's: everything is addressed by SS, which is the handlers' own.
void write_handlers32(Image& image) {
    const Setting& at = image.setting;
    write_stubs(image, {0xCF}); // IRETD
    // On the stack: EDX, ECX, EAX, vector, error code, EIP, CS, EFLAGS.
    Code h(at.linear(page::handler));
    h({0x50, 0x51, 0x52, 0xBA}).value(at.linear(page::log), 4);                    // PUSH...; MOV EDX, log
    h({0x36, 0x8B, 0x0A, 0x36, 0xFF, 0x02});                                       // MOV ECX, SS:[EDX]; INC
    h({0x83, 0xF9, most_exceptions, 0x72, 0x01, 0xF4, 0xC1, 0xE1, 0x05});          // CMP; JB; HLT; SHL ECX, 5
    h({0x8B, 0x44, 0x24, 12, 0x36, 0x89, 0x44, 0x0A, log_entries_at});             // vector
    h({0x8B, 0x44, 0x24, 16, 0x36, 0x89, 0x44, 0x0A, log_entries_at + 8});         // error code
    h({0x0F, 0x20, 0xD0, 0x36, 0x89, 0x44, 0x0A, log_entries_at + 16});            // CR2
    h({0x8B, 0x44, 0x24, 20, 0x36, 0x89, 0x44, 0x0A, log_entries_at + 24});        // EIP
    h({0x83, 0x7C, 0x24, 12, 1, 0x75, 0x1F});                                      // CMP [vector], 1; JNE
    h({0x81, 0x4C, 0x24, 28}).value(0x10000, 4);                                   // OR [EFLAGS], RF
    h({0x81, 0xF9}).value(most_exceptions / 2 * log_entry_bytes, 4)({0x72, 0x39}); // CMP ECX, half; JB
    h({0x81, 0x64, 0x24, 28}).value(~u64{0x100}, 4);                               // AND [EFLAGS], ~TF
    h({0x31, 0xC0, 0x0F, 0x23, 0xF8, 0xEB, 0x2A});                                 // XOR EAX, EAX; MOV DR7; JMP
    h({0x83, 0x7C, 0x24, 12, 3, 0x74, 0x23});                                      // INT3: EIP is past it
    h({0x0F, 0xB7, 0x4C, 0x24, 24, 0xC1, 0xE1, 0x04, 0x01, 0xC8});                 // ADD EAX, CS * 16
    const bool virtual86 = at.code == CodeKind::virtual86;
    const u64 start = at.linear(page::code) + (virtual86 ? 0 : user_code32 * 16 - at.code_base);
    h({0x2D}).value(start, 4)({0x3D}).value(page::code_count * page_size, 4)({0x72, 1, 0xF4}); // SUB, CMP; JB; HLT
    h({0x36, 0x0F, 0xB6, 0x80}).value(at.linear(page::lengths), 4)({0x01, 0x44, 0x24, 20});    // ADD [EIP], its length
    h({0x5A, 0x59, 0x58, 0x83, 0xC4, 8, 0xCF}); // POP EDX, ECX, EAX; ADD ESP, 8; IRETD
    std::memcpy(image.frame(frame::handler).data(), h.code.data(), h.code.size());
}

void write_real_handlers(Image& image) {
    for (unsigned vector = 0; vector < 256; ++vector) {
        const u32 entry = std::min<unsigned>(vector, vector_end) * 16 | u32{real_handlers} << 16;
        std::memcpy(&image.ram[vector * 4], &entry, sizeof entry);
    }
    for (unsigned vector = 0; vector <= vector_end; ++vector) {
        Code stub(vector * 16);
        if (vector == vector_end)
            stub({0xF4}); // HLT
        else
            stub({0x68, vector, 0, 0xE9}).value(page_size - vector * 16 - 6, 2); // PUSH vector; JMP handler
        std::memcpy(&image.frame(frame::stubs)[vector * 16], stub.code.data(), stub.code.size());
    }
    // Offsets in the segment of the handlers; on the stack, from BP on: BP, vector, IP, CS, FLAGS.
    static_assert(frame::handler == frame::stubs + 1 && frame::log == frame::stubs + 2
                  && frame::lengths == frame::stubs + 3 && frame::code == 0x11 && log_entry_bytes == 32);
    Code h(page_size);
    h({0x55, 0x89, 0xE5, 0x50, 0x53, 0x52});                              // PUSH BP; MOV BP, SP; PUSH AX, BX, DX
    h({0x2E, 0x8B, 0x1E, 0x00, 0x20, 0x2E, 0xFF, 0x06, 0x00, 0x20});      // MOV BX, [log]; INC
    h({0x83, 0xFB, most_exceptions, 0x72, 0x01, 0xF4, 0xC1, 0xE3, 0x05}); // CMP BX, most; JB; HLT; SHL BX, 5
    h({0x8B, 0x46, 0x02, 0x2E, 0x89, 0x87, log_entries_at, 0x20});        // vector
    h({0x8B, 0x46, 0x04, 0x2E, 0x89, 0x87, log_entries_at + 24, 0x20});   // IP
    h({0x8B, 0x46, 0x06, 0x2E, 0x89, 0x87, log_entries_at + 26, 0x20});   // CS
    h({0x83, 0x7E, 0x02, 0x01, 0x75, 0x0D});                              // CMP [vector], 1; JNE
    h({0x81, 0xFB}).value(most_exceptions / 2 * log_entry_bytes, 2)({0x72, 0x33}); // CMP BX, half; JB
    h({0x81, 0x66, 0x08, 0xFF, 0xFE, 0xEB, 0x2C});                                 // AND [FLAGS], ~TF; JMP
    h({0x83, 0x7E, 0x02, 0x03, 0x74, 0x26});                                       // INT3: IP is past it
    h({0xB8, 0x10, 0x00, 0xF7, 0x66, 0x06});                                       // MOV AX, 16; MUL [CS]
    h({0x03, 0x46, 0x04, 0x83, 0xD2, 0x00});                                       // ADD AX, [IP]; ADC DX, 0
    h({0x2D, 0x00, 0x10, 0x83, 0xDA, 0x01, 0x75, 0x05});                           // SUB AX, 1000h; SBB DX, 1; JNZ
    h({0x3D, 0x00, 0x40, 0x72, 0x01, 0xF4});                                       // CMP AX, 4000h; JB; HLT
    h({0x89, 0xC3, 0x2E, 0x8A, 0x87, 0x00, 0x30, 0x30, 0xE4, 0x01, 0x46, 0x04});   // ADD [IP], its length
    h({0x5A, 0x5B, 0x58, 0x5D, 0x83, 0xC4, 0x02, 0xCF}); // POP DX, BX, AX, BP; ADD SP, 2; IRET
    std::memcpy(image.frame(frame::handler).data(), h.code.data(), h.code.size());
}

} // namespace calque::diff
