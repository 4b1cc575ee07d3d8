#include "firmware/loaders/firmware_kernel.h"

#include "firmware/bytes.h"
#include "firmware/loaders/setup_header.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>
#include <array>

namespace calque::firmware {

namespace {

namespace field = setup_header;

constexpr std::size_t rom_size = 512, table_at = 0x100;
constexpr u32 heap_end_ptr = 0x224; // In the setup header: the end of the heap, less 200h.
constexpr u8 can_use_heap = 0x80;   // In its loadflags.
constexpr u16 heap_end = 0xE000;    // Also where the stack begins, in the setup code's segment.

// Its header, the Plug and Play header at 20h, the name at 44h, and the code of the bootstrap entry at 60h. For each
// entry of the table at 100h the code has fw_cfg do one DMA request, from a copy at 0:7C00.
// clang-format off
constexpr std::array<u8, 0x1C> rom_header{
    0x55, 0xAA, rom_size / 512,
    0xCB,                                                 // Initialization: a far return.
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x20, 0};                                             // At 1Ah: where the next header is.
constexpr std::array<u8, 0x20> plug_and_play{
    '$', 'P', 'n', 'P', 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0};
constexpr std::array<u8, 0x5F> code{
    0xFA,                                                 // 60: cli
    0xFC,                                                 // 61: cld
    0x0E, 0x1F,                                           // 62: push cs; pop ds
    0x66, 0x31, 0xC0,                                     // 64: xor eax, eax
    0x8E, 0xC0, 0x8E, 0xD0,                               // 67: mov es, ax; mov ss, ax
    0xBC, 0x00, 0x7C,                                     // 6B: mov sp, 7C00h
    0xBE, table_at & 0xFF, table_at >> 8,                 // 6E: mov si, table
    0x66, 0x83, 0x3C, 0x00,                               // 71: next: cmp dword [si], 0
    0x74, 0x30,                                           // 75: je done
    0xBF, 0x00, 0x7C,                                     // 77: mov di, 7C00h
    0xB9, 0x08, 0x00,                                     // 7A: mov cx, 8
    0xF3, 0xA5,                                           // 7D: rep movsw
    0xBA, 0x14, 0x05,                                     // 7F: mov dx, 514h
    0x66, 0x31, 0xC0, 0x66, 0xEF,                         // 82: xor eax, eax; out dx, eax
    0xBA, 0x18, 0x05,                                     // 87: mov dx, 518h
    0x66, 0xB8, 0x00, 0x00, 0x7C, 0x00,                   // 8A: mov eax, 7C00h, big-endian
    0x66, 0xEF,                                           // 90: out dx, eax
    0x26, 0x66, 0xA1, 0x00, 0x7C,                         // 92: wait: mov eax, es:[7C00h]
    0x66, 0x0F, 0xBA, 0xF0, 0x18,                         // 97: btr eax, 24: the error bit
    0x72, 0x07,                                           // 9C: jc fail
    0x66, 0x85, 0xC0, 0x75, 0xEF,                         // 9E: test eax, eax; jnz wait
    0xEB, 0xCC,                                           // A3: jmp next
    0xCD, 0x18,                                           // A5: fail: int 18h, boot something else
    0xB8, 0x00, 0x10,                                     // A7: done: mov ax, 1000h
    0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xE0, 0x8E, 0xE8, 0x8E, 0xD0,// AA: into ds, es, fs, gs, ss
    0x66, 0xBC, heap_end & 0xFF, heap_end >> 8, 0x00, 0x00,// B4: mov esp, E000h
    0xEA, 0x00, 0x00, 0x20, 0x10};                        // BA: jmp 1020h:0
// clang-format on

void append_big(std::vector<u8>& out, u64 value, unsigned size) {
    for (unsigned i = size; i-- > 0;)
        out.push_back(static_cast<u8>(value >> (8 * i)));
}

// A request of fw_cfg's DMA: control (the key, select, read), length, address.
void append_request(std::vector<u8>& table, u16 key, std::size_t length, u32 address) {
    constexpr u32 read = 1u << 1, select = 1u << 3;
    if (length == 0) return;
    append_big(table, u32{key} << 16 | select | read, 4);
    append_big(table, length, 4);
    append_big(table, address, 8);
}

std::vector<u8> make_rom(const FirmwareKernel& parts) {
    constexpr u16 initrd_data = 0x12, kernel_data = 0x11, command_line_data = 0x15, setup_data = 0x18; // fw_cfg's keys.
    constexpr std::string_view name = "Linux kernel";
    std::vector<u8> table;
    append_request(table, setup_data, parts.setup.size(), FirmwareKernel::setup_address);
    append_request(table, command_line_data, parts.command_line.size(), FirmwareKernel::command_line_address);
    append_request(table, initrd_data, parts.initrd.size(), parts.initrd_address);
    append_request(table, kernel_data, parts.kernel.size(), FirmwareKernel::kernel_address);
    std::vector<u8> rom(rom_size);
    std::copy(rom_header.begin(), rom_header.end(), rom.begin());
    std::copy(plug_and_play.begin(), plug_and_play.end(), rom.begin() + 0x20);
    std::copy(name.begin(), name.end(), rom.begin() + 0x44);
    std::copy(code.begin(), code.end(), rom.begin() + 0x60);
    std::copy(table.begin(), table.end(), rom.begin() + table_at);
    rom.back() = static_cast<u8>(-sum(rom));
    return rom;
}

// Below what the kernel can reach and what the BIOS keeps for its tables at the end of RAM; above where the kernel
// runs.
Result<u32> place_initrd(const RamLayout& ram, const SetupHeader& header, const BootModule& initrd) {
    constexpr u64 bios_tables = 1 * MiB;
    const u64 end = std::min(u64{header.initrd_addr_max} + 1, ram.low - std::min(ram.low, bios_tables));
    const u64 floor =
        std::max(header.pref_address + header.init_size, FirmwareKernel::kernel_address + header.kernel_size);
    const u64 size = initrd.bytes.size();
    if (size == 0) return error("initrd {} is empty", initrd.name);
    if (end < size || (end - size) / page_size * page_size < floor)
        return error("initrd {} is too large for the guest's memory: it has {}, and {} are free for it beside the "
                     "kernel; give the guest more with -m",
                     initrd.name, size_text(size), size_text(end > floor ? end - floor : 0));
    return static_cast<u32>((end - size) / page_size * page_size);
}

} // namespace

Result<FirmwareKernel> firmware_kernel(const RamLayout& ram, const BootRequest& request) {
    const auto header = parse_setup_header(request.kernel, request.kernel_name);
    if (!header) return header.error();
    if (request.command_line.size() > header->cmdline_size)
        return error("the command line has {} characters, and kernel {} takes at most {}: shorten -append",
                     request.command_line.size(), request.kernel_name, header->cmdline_size);
    if (header->kernel_offset > heap_end)
        return error("kernel {} is damaged: its setup code has {}, and at most {} are possible", request.kernel_name,
                     size_text(header->kernel_offset), size_text(heap_end));
    if (ram.low < FirmwareKernel::kernel_address + header->kernel_size)
        return error("kernel {} does not fit into the guest's memory: give it more with -m", request.kernel_name);
    FirmwareKernel parts;
    parts.setup.assign(request.kernel.begin(), request.kernel.begin() + header->kernel_offset);
    parts.kernel = request.kernel.subspan(header->kernel_offset);
    parts.command_line.assign(request.command_line.begin(), request.command_line.end());
    parts.command_line.push_back(0);
    const std::span<u8> out(parts.setup);
    if (!request.modules.empty()) {
        const auto address = place_initrd(ram, *header, request.modules.front());
        if (!address) return address.error();
        parts.initrd = request.modules.front().bytes;
        parts.initrd_address = *address;
        store(out, field::ramdisk_image, *address, 4);
        store(out, field::ramdisk_size, parts.initrd.size(), 4);
    }
    constexpr u8 loader_unassigned = 0xFF;
    out[field::type_of_loader] = loader_unassigned;
    out[field::loadflags] |= can_use_heap;
    store(out, heap_end_ptr, heap_end - 0x200, 2);
    store(out, field::cmd_line_ptr, FirmwareKernel::command_line_address, 4);
    store(out, field::vid_mode, 0xFFFF, 2); // "normal"
    parts.rom = make_rom(parts);
    return parts;
}

} // namespace calque::firmware
