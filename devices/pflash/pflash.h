// A parallel NOR flash of eight bits with Intel's command set (Common Flash Interface, JESD68; Intel 28F128J3A
// datasheet): where UEFI firmware lies and keeps its variables.
#pragma once

#include "base/log.h"
#include "devices/block_backend.h"
#include "devices/device.h"

#include <array>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace calque::devices {

// A write-protected chip (its backend is read-only) is a ROM: it takes no commands. What is programmed and erased in
// others goes to the backend at once, one write at a time, so that none overtakes another.
//
// Processors reach a ROM directly. Of other chips they reach only stretches that are read a lot, as code is, and that
// never got a command: a processor hears of a change of its map a few instructions late, and a command's answer is read
// by the next instruction.
class Pflash final : public Device, public IoRegion {
  public:
    static constexpr u64 block = 4096; // What an erase erases, in bytes.
    static constexpr u64 stretch = 16 * block;
    static constexpr u32 hot = 100'000; // Reads of a stretch, after which it is reached directly.

    // `contents` is what `backend` holds, a multiple of the block size. Null: nothing is kept. `memory_changed` is
    // called, without a lock, when direct_memory() has become another; it may be empty.
    Pflash(Log& log, std::vector<u8> contents, BlockBackend* backend, std::function<void()> memory_changed,
           std::string name);
    ~Pflash() override;

    u64 size() const { return data_.size(); }
    std::span<u8> contents() { return data_; }

    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, u64 value, unsigned size) override;
    std::vector<DirectMemory> direct_memory() const override;

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    enum class Mode : u8 { array, status, identifier, query };
    enum class Setup : u8 { none, erase, program, lock, buffer_count, buffer_data, buffer_confirm };
    static constexpr unsigned buffer_size = 256;
    struct State {
        Mode mode = Mode::array;
        Setup setup = Setup::none;
        u8 status = 0x80;
        u64 buffer_start = 0;
        u16 buffer_left = 0, buffer_length = 0;
        std::array<u8, buffer_size> buffer{};
    };

    u8 read_byte(u64 offset) const;
    void write_byte(u64 offset, u8 value);
    void command(u64 offset, u8 value);
    void fill_buffer(u64 offset, u8 value);
    bool count_read(u64 offset); // True when direct_memory() is another now.
    bool commanded(u64 offset);  // Likewise.
    void program(u64 offset, std::span<const u8> bytes);
    void erase(u64 offset);
    u8 query(u64 offset) const;
    void set_dirty(u64 offset, u64 length);
    void write_back(); // Under backend_mutex_.

    Log& log_;
    std::vector<u8> data_;
    BlockBackend* const backend_;
    const std::function<void()> memory_changed_;
    const std::string name_;
    const bool read_only_;
    mutable std::mutex mutex_;
    State state_;
    std::vector<u32> reads_; // By stretch; `hot`: reached directly; `never`: it got a command.

    std::mutex backend_mutex_; // Guards what follows; taken inside mutex_.
    std::vector<bool> dirty_;  // By block.
    std::size_t dirty_count_ = 0;
    bool writing_ = false;
    std::vector<u8> under_way_; // A copy of the block that is written.
};

} // namespace calque::devices
