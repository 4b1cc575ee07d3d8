#include "cpu/translate_block.h"

#include "cpu/threaded.h"
#include "mmu/guest_access.h"

#include <algorithm>
#include <new>

namespace calque::cpu {

namespace {

constexpr unsigned most_attempts = 4;

void fill_chain(Instruction& chain, unsigned complete, bool in_page, bool linkable) {
    chain = Instruction{};
    chain.handler = chain_unlinked;
    chain.row = static_cast<u16>(complete);
    chain.dest = chain_mark;
    chain.source = in_page;
    chain.third = linkable;
}

} // namespace

BlockTranslator::BlockTranslator(mmu::PhysicalMap& memory, BlockCache& cache, const CpuModel& model)
    : memory_(memory), cache_(cache), decoder_(model, remembered_instructions) {}

void BlockTranslator::mark(Cpu& cpu, const u8* host, u64 length, PhysicalAddress address) {
    if (memory_.mark_code(host, length)) memory_.protect_code_page(address.page(), &cpu.mmu);
}

bool BlockTranslator::fill(Cpu& cpu, Block& block, std::span<const u8> bytes, const DecodeMode& mode, unsigned most,
                           bool marking) {
    constexpr u64 granule = 128;
    // The bytes may change meanwhile: decoding is done from a copy, which is made a granule at a time.
    std::array<u8, (longest_block + 1) * longest_instruction + granule> code;
    if (cpu.debug.single_instructions) most = 1;
    Instruction* const records = block.records();
    const u64 page_offset = block.address.page_offset();
    u64 offset = 0, copied = 0;
    bool patched_page = false;
    unsigned count = 0;
    exit_count_ = 0;
    falls_through_ = true;
    while (count < most && offset < bytes.size()) {
        if (count != 0 && cpu.debug.ends_before(page_offset + offset)) break;
        if (copied < std::min<u64>(offset + longest_instruction, bytes.size())) {
            const u64 up_to = std::min<u64>(
                ((page_offset + offset + longest_instruction) | (granule - 1)) + 1 - page_offset, bytes.size());
            if (marking) {
                mark(cpu, bytes.data() + copied, up_to - copied, block.address);
                patched_page = memory_.page_patched(bytes.data());
            }
            mmu::copy_bytes_from_guest(code.data() + copied, bytes.data() + copied, up_to - copied);
            copied = up_to;
        }
        Instruction& out = records[count];
        Form form;
        const std::span rest(code.data() + offset, std::min<u64>(copied - offset, longest_instruction));
        const u64 address = block.address.value + offset;
        if (decoder_.decode_at(address, rest, mode, out, &form) == DecodeStatus::need_more) break;
        if (patched_page && memory_.touches_patch_field(bytes.data() + offset, out.length)) {
            patched_ = count == 0;
            break;
        }
        offset += out.length;
        const u16 properties = properties_of(out);
        if ((properties & p_relative) && form.is(0, OperandKind::relative)) {
            const i64 target = static_cast<i64>(offset + out.immediate);
            const i64 in_page = target + static_cast<i64>(page_offset);
            exits_[exit_count_++] = {count, target,
                                     in_page >= 0 && in_page < static_cast<i64>(page_size) && out.mode64()
                                         && form.operand_size == 8};
        }
        ++count;
        if (properties & p_ends_block) {
            falls_through_ = false;
            break;
        }
    }
    block.count = static_cast<u8>(count);
    block.bytes = static_cast<u16>(offset);
    return count != 0;
}

unsigned BlockTranslator::finish(Block& block, bool falls_through, bool linkable) {
    Instruction* const records = block.records();
    unsigned next = block.count;
    if (falls_through) {
        const bool in_page = records[0].mode64() && block.address.page_offset() + block.bytes < page_size;
        fill_chain(records[next++], block.count, in_page && !block.crosses, linkable);
    } else if (exit_count_ == 0 || exits_[exit_count_ - 1].insn + 1 != block.count) {
        records[next] = Instruction{};
        records[next++].handler = end_of_block;
    }
    for (unsigned n = 0; n < exit_count_; ++n) {
        const Exit& exit = exits_[n];
        records[exit.insn].displacement = static_cast<i32>(next - exit.insn);
        fill_chain(records[next++], exit.insn + 1, exit.in_page && !block.crosses, linkable);
    }
    return next;
}

Block* BlockTranslator::translate(Cpu& cpu, const Place& place, const DecodeMode& mode, u64 key, unsigned most) {
    patched_ = false;
    if (place.page.host == nullptr) return translate_uncached(cpu, place, mode);
    const u64 rest_of_page = page_size - place.page.address.page_offset();
    for (unsigned attempt = 0; attempt < most_attempts; ++attempt) {
        Block* const block = translate_in_page(cpu, place, mode, key, most);
        if (patched_) return translate_uncached(cpu, place, mode);
        if (block == nullptr) break;
        if (memory_.code_marked(block->host, block->bytes)) return block;
        cache_.kill(block->address, block->bytes); // Somebody wrote meanwhile.
    }
    if (place.within_limit < rest_of_page + longest_instruction) return translate_uncached(cpu, place, mode);
    return translate_crossing(cpu, place, mode, key);
}

Block* BlockTranslator::translate_in_page(Cpu& cpu, const Place& place, const DecodeMode& mode, u64 key,
                                          unsigned most) {
    const u64 available = std::min(page_size - place.page.address.page_offset(), place.within_limit);
    Block* const block = cache_.allocate();
    block->address = place.page.address;
    block->key = key;
    block->host = place.page.host;
    if (!fill(cpu, *block, std::span(place.page.host, available), mode, most, true)) return nullptr;
    cache_.commit(*block, finish(*block, falls_through_, most > 1));
    return block;
}

Block* BlockTranslator::translate_crossing(Cpu& cpu, const Place& place, const DecodeMode& mode, u64 key) {
    const u64 head = page_size - place.page.address.page_offset();
    if (head >= longest_instruction) return translate_uncached(cpu, place, mode);
    mmu::Mmu::CodePage second;
    if (!cpu.mmu.fetch(place.linear + head, second)) {
        cpu.raise_memory_fault(flat);
        return nullptr;
    }
    if (second.host == nullptr) return translate_uncached(cpu, place, mode);
    mark(cpu, place.page.host, head, place.page.address);
    mark(cpu, second.host, longest_instruction - head, second.address);
    std::array<u8, longest_instruction> code;
    std::copy_n(place.page.host, head, code.begin());
    std::copy_n(second.host, longest_instruction - head, code.begin() + static_cast<std::ptrdiff_t>(head));
    Block* const block = cache_.allocate();
    block->address = place.page.address;
    block->key = key;
    block->host = place.page.host;
    block->second_page = second.address;
    block->crosses = true;
    fill(cpu, *block, code, mode, 1, false);
    cache_.commit(*block, finish(*block, falls_through_, true));
    const u64 bytes = block->bytes;
    const bool in_field = memory_.touches_patch_field(place.page.host, std::min(bytes, head))
                          || (bytes > head && memory_.touches_patch_field(second.host, bytes - head));
    if (!in_field && memory_.code_marked(place.page.host, head)
        && memory_.code_marked(second.host, longest_instruction - head))
        return block;
    cache_.kill(block->address, 1);
    return translate_uncached(cpu, place, mode);
}

// An instruction in device memory, or one that may reach the end of its code segment: fetched byte by byte as far as it
// goes, each time.
Block* BlockTranslator::translate_uncached(Cpu& cpu, const Place& place, const DecodeMode& mode) {
    Block* const block = new (scratch_.data()) Block;
    block->address = place.page.address;
    std::array<u8, longest_instruction> code;
    mmu::Mmu::CodePage page = place.page;
    ++uncached_;
    for (unsigned count = 0; count < longest_instruction;) {
        if (count >= place.within_limit) {
            cpu.general_protection();
            return nullptr;
        }
        if (count != 0 && (place.linear + count).page_offset() == 0) {
            if (!cpu.mmu.fetch(place.linear + count, page)) {
                cpu.raise_memory_fault(flat);
                return nullptr;
            }
        }
        memory_.read(page.address, std::span(&code[count], 1));
        ++count;
        page.address += 1;
        Instruction out;
        if (decoder_.decode(std::span(code.data(), count), mode, out) == DecodeStatus::need_more) continue;
        fill(cpu, *block, std::span(code.data(), count), mode, 1, false);
        break;
    }
    block->crosses = true;
    finish(*block, falls_through_, false);
    return block;
}

std::optional<bool> BlockTranslator::still_there(Cpu& cpu, const Block& block, LinearAddress linear) {
    mmu::Mmu::CodePage second;
    if (!cpu.mmu.fetch(linear + (page_size - linear.page_offset()), second)) {
        cpu.raise_memory_fault(flat);
        return std::nullopt;
    }
    return second.address == block.second_page && second.host != nullptr;
}

} // namespace calque::cpu
