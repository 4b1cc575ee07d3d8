#include "mmu/code_marks.h"

#include "base/bits.h"

#include <type_traits>

namespace calque::mmu {

namespace {

constexpr u64 marks_mask = low_mask(32);
constexpr u64 writers = u64{1} << 32;
constexpr u64 patched_bit = u64{1} << 33;
constexpr u64 dirty_bit = u64{1} << 34;
constexpr unsigned version_shift = 40;
constexpr u64 one_version = u64{1} << version_shift;

u64 address_of(const u8* host) { return reinterpret_cast<std::uintptr_t>(host); }

u64 granules_of(const u8* host, u64 length) {
    if (length == 0) return 0;
    const u64 first = (address_of(host) & page_offset_mask) / CodeMarks::granule;
    const u64 last = ((address_of(host) & page_offset_mask) + length - 1) / CodeMarks::granule;
    return low_mask(static_cast<unsigned>(last - first + 1)) << first & marks_mask;
}

template <class T> T& child(std::atomic<T*>& slot) {
    T* present = slot.load(std::memory_order_acquire);
    if (present) return *present;
    auto fresh = std::make_unique<T>();
    if (slot.compare_exchange_strong(present, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
    return *present;
}

} // namespace

CodeMarks::CodeMarks() : root_(std::make_unique<std::remove_reference_t<decltype(*root_)>>()) {}

CodeMarks::~CodeMarks() {
    for (auto& directory : *root_) {
        std::unique_ptr<Directory> owned(directory.load());
        if (!owned) continue;
        for (auto& chunk : owned->chunks)
            std::unique_ptr<Chunk> freed(chunk.load());
    }
}

const CodeMarks::Word* CodeMarks::find(const u8* host) const {
    const u64 page = address_of(host) >> page_shift;
    const Directory* directory = (*root_)[bits(page, chunk_bits + fan_bits, fan_bits)].load(std::memory_order_acquire);
    if (!directory) return nullptr;
    const Chunk* chunk = directory->chunks[bits(page, chunk_bits, fan_bits)].load(std::memory_order_acquire);
    return chunk ? &chunk->words[bits(page, 0, chunk_bits)] : nullptr;
}

CodeMarks::Word& CodeMarks::get(const u8* host) {
    const u64 page = address_of(host) >> page_shift;
    Directory& directory = child((*root_)[bits(page, chunk_bits + fan_bits, fan_bits)]);
    return child(directory.chunks[bits(page, chunk_bits, fan_bits)]).words[bits(page, 0, chunk_bits)];
}

bool CodeMarks::mark(const u8* host, u64 length) { return get(host).fetch_or(granules_of(host, length)) & writers; }

bool CodeMarks::all_marked(const u8* host, u64 length) const {
    const Word* word = find(host);
    const u64 granules = granules_of(host, length);
    return word && (word->load() & granules) == granules;
}

bool CodeMarks::any_marked(const u8* host, u64 length) const {
    const Word* word = find(host);
    return word && (word->load() & granules_of(host, length));
}

bool CodeMarks::page_marked(const u8* host) const {
    const Word* word = find(host);
    return word && (word->load() & marks_mask);
}

CodeMarks::Store CodeMarks::note_store(const u8* host, u64 length, bool only_one) {
    Word& word = get(host);
    const u64 value = word.load();
    if (!(value & marks_mask)) return {};
    if (!only_one)
        note_writer(host);
    else if (!(value & dirty_bit))
        word.fetch_or(dirty_bit);
    return {true, (word.load() & granules_of(host, length)) != 0};
}

bool CodeMarks::clear(const u8* host, u64 length) {
    if (!any_marked(host, length)) return false;
    Word& word = get(host);
    const u64 granules = granules_of(host, length);
    u64 old = word.load();
    u64 updated;
    do {
        updated = old & ~granules;
        if ((old & marks_mask) && !(updated & marks_mask)) updated += one_version;
    } while (!word.compare_exchange_weak(old, updated));
    return old & granules;
}

bool CodeMarks::admit_writer(const u8* host) {
    Word& word = get(host);
    u64 old = word.load();
    do {
        if (old & marks_mask) return false;
        if ((old & writers) && (old & dirty_bit)) return true;
    } while (!word.compare_exchange_weak(old, old | writers | dirty_bit));
    return true;
}

bool CodeMarks::writer_admitted(const u8* host) const {
    const Word* word = find(host);
    return word && (word->load() & (writers | dirty_bit | marks_mask)) == (writers | dirty_bit);
}

void CodeMarks::note_writer(const u8* host) {
    Word& word = get(host);
    u64 old = word.load();
    while (!word.compare_exchange_weak(old, (old | writers | dirty_bit) + one_version)) {
    }
}

void CodeMarks::note_dirty(const u8* host) {
    Word& word = get(host);
    if (!(word.load() & dirty_bit)) word.fetch_or(dirty_bit);
}

bool CodeMarks::take_dirty(const u8* host) {
    const Word* word = find(host);
    return word && (word->load() & dirty_bit) && (get(host).fetch_and(~dirty_bit) & dirty_bit);
}

void CodeMarks::note_patched(const u8* host) { get(host).fetch_or(patched_bit); }

bool CodeMarks::patched(const u8* host) const {
    const Word* word = find(host);
    return word && (word->load() & patched_bit);
}

u32 CodeMarks::version(const u8* host) const {
    const Word* word = find(host);
    const u64 value = word ? word->load() : 0;
    return value & marks_mask ? static_cast<u32>(value >> version_shift) : no_version;
}

void CodeMarks::writers_gone(const u8* host, u32 version) {
    Word& word = get(host);
    u64 old = word.load();
    do {
        if (old >> version_shift != version) return;
    } while (!word.compare_exchange_weak(old, old & ~writers));
}

} // namespace calque::mmu
