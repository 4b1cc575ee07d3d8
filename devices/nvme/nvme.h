// An NVM Express controller with one namespace (NVMe 1.4): the admin queue, up to 16 pairs of I/O queues, MSI-X.
#pragma once

#include "devices/block_backend.h"
#include "devices/device.h"
#include "devices/nvme/prp.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_dma.h"
#include "devices/worker.h"

#include <array>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::devices {

// Queues are served on the worker's thread, commands end on those of the backend. A command is only fetched when its
// completion queue has room for its end, so that nothing ever waits inside the controller.
class Nvme final : public Device {
  public:
    static constexpr u64 register_space = 0x4000;

    // The backend is not owned, and has no request under way when the device is destroyed.
    Nvme(Log& log, DmaPort& memory, Worker& worker, BlockBackend& backend, std::string serial, std::string name);
    ~Nvme() override;

    PciFunction& function() { return pci_; }

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    static constexpr unsigned queues = nvme::queue_pairs + 1;
    static constexpr unsigned most_events = 4; // AERL + 1.
    static constexpr unsigned log_entries = 4; // ELPE + 1.

    class Registers final : public IoRegion { // BAR 0.
      public:
        explicit Registers(Nvme& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Nvme& device_;
    };
    struct Submission {
        bool valid = false;
        u64 base = 0;
        u32 size = 0, head = 0, tail = 0;
        u16 completion = 0;
    };
    struct Completion {
        bool valid = false;
        u64 base = 0;
        u32 size = 0, head = 0, tail = 0;
        bool phase = true, interrupts = false;
        u16 vector = 0;
        u32 reserved = 0;  // Entries for commands under way.
        bool news = false; // Since the last interrupt.
        bool full() const { return (tail + size - head) % size + reserved >= size - 1; }
    };
    // A command as it was fetched, until it ends.
    struct Command {
        std::array<u32, 16> words{};
        u16 queue = 0;
        bool over = false; // Its end has been told, or must not be.
        PrpList where;
        std::vector<u8> data;

        u8 opcode() const { return static_cast<u8>(words[0]); }
        u16 id() const { return static_cast<u16>(words[0] >> 16); }
        u32 name_space() const { return words[1]; }
        u64 prp1() const { return words[6] | u64{words[7]} << 32; }
        u64 prp2() const { return words[8] | u64{words[9]} << 32; }
        u64 lba() const { return words[10] | u64{words[11]} << 32; }
    };
    using CommandPtr = std::shared_ptr<Command>;
    struct LogEntry {
        u64 count = 0;
        u16 queue = 0, command = 0, status = 0;
        u64 lba = 0;
        u32 name_space = 0;
    };

    static PciDescriptor describe(const std::string& name, IoRegion& registers);

    // --- Registers and life (nvme.cpp)
    u64 read_register(u64 offset, unsigned size);
    void write_register(u64 offset, u32 value);
    void write_doorbell(u64 offset, u32 value);
    void write_configuration(u32 value);
    bool configuration_is_good() const;
    void enable();
    void disable();
    void shut_down();
    void fatal(std::string_view why);
    u32 page() const { return 4096u << (state_.configuration >> 7 & 0xF); }

    // --- Queues (nvme_queues.cpp)
    void run();
    bool fetch(u16 queue);
    void execute(const CommandPtr& command);
    void finish(Command& command, u16 status, u32 result = 0);
    void post(Completion& queue, u16 number, u16 command, u32 head, u16 status, u32 result);
    void interrupt();
    void update_pin();
    void submit(BlockRequest request, const CommandPtr& command, std::function<void(BlockStatus)> then);
    void note_error(const Command& command, u16 status);
    void event(nvme::Event type, u8 what, u8 log);
    void tell_events();

    // --- Admin commands (nvme_admin.cpp)
    void admin(const CommandPtr& command);
    u16 create_completion(const Command& command);
    u16 create_submission(const Command& command);
    u16 delete_completion(const Command& command);
    u16 delete_submission(const Command& command);
    void get_log_page(Command& command);
    void set_feature(const CommandPtr& command);
    void get_feature(Command& command);
    void set_write_cache(const CommandPtr& command);
    void answer(Command& command, std::span<const u8> bytes);
    // --- What it is (nvme_identify.cpp)
    void identify(Command& command);
    std::vector<u8> controller_data() const;
    std::vector<u8> namespace_data() const;
    std::vector<u8> smart_log() const;
    std::vector<u8> error_log() const;
    u64 unique_id() const;

    // --- I/O commands (nvme_io.cpp)
    void io(const CommandPtr& command);
    u16 transfer_range(const Command& command, bool with_data) const;
    [[nodiscard]] bool prepare_transfer(Command& command);
    void read_blocks(const CommandPtr& command, std::function<void()> then); // `then` only when it was read.
    void read(const CommandPtr& command);
    void write(const CommandPtr& command);
    void compare(const CommandPtr& command);
    void write_zeroes(const CommandPtr& command);
    void manage_ranges(const CommandPtr& command);
    void next_range(const CommandPtr& command, u64 at);
    u64 blocks() const { return backend_.size() / BlockBackend::sector; }

    Log& log_;
    BlockBackend& backend_;
    const std::string serial_, name_;
    const bool write_cache_at_reset_;
    Registers registers_{*this};
    PciFunction pci_;
    PciDma dma_;

    std::mutex mutex_;
    struct State {
        u32 configuration = 0, status = 0, masked = 0, admin_sizes = 0; // CC, CSTS, INTMS, AQA.
        u64 admin_submission = 0, admin_completion = 0;                 // ASQ, ACQ.
        std::array<Submission, queues> submissions;
        std::array<Completion, queues> completions;
        // Features.
        u32 arbitration = 0, power = 0, temperature = 0x157, recovery = 0, coalescing = 0, atomicity = 0, events = 0;
        std::array<bool, queues> uncoalesced{};
        bool write_cache = true;
        // Asynchronous events: requests that wait for one, what waits for a request, what was told and not read yet.
        std::vector<u16> event_requests;
        std::array<bool, 3> event_waits{}, event_masked{};
        std::array<u16, 3> event_details{}; // Log page in the high byte.
        bool namespace_changed = false;
        // What the logs tell.
        u64 error_count = 0;
        std::array<LogEntry, log_entries> errors;
        u64 sectors_read = 0, sectors_written = 0, reads = 0, writes = 0, media_errors = 0, power_cycles = 1;
    } state_;
    std::vector<CommandPtr> under_way_;
    u64 bytes_under_way_ = 0;
    bool pin_ = false;
    std::unique_ptr<Task> task_; // Last.
};

} // namespace calque::devices
