// One port of an AHCI host bus adapter with what is attached to it: its registers, its list of commands, the frames
// that go between host and drive. AHCI 1.3.1, chapters 3.3 to 6.
#pragma once

#include "devices/ahci/prd_walk.h"
#include "devices/ahci/registers.h"
#include "devices/ata/ata_disk.h"
#include "devices/ata/ata_drive.h"

#include <array>
#include <memory>
#include <mutex>
#include <string>

namespace calque::devices {

// What a port needs of its adapter.
class AhciHost {
  public:
    virtual std::mutex& mutex() = 0; // Guards all ports.
    virtual DmaPort& memory() = 0;
    virtual void interrupts_changed() = 0; // PxIS or PxIE of a port.

  protected:
    ~AhciHost() = default;
};

class AhciPort final : private AtaCable {
  public:
    AhciPort(Log& log, AhciHost& host, std::string name);
    ~AhciPort();

    // As the machine is put together. The backend is not owned, and outlives the port.
    void attach(BlockBackend& backend, bool cd, std::string serial);
    bool attached() const { return drive_ != nullptr; }

    // Under the host's mutex, all of them.
    u32 read(u32 offset) const;
    void write(u32 offset, u32 value); // What it makes ready to run, run() runs.
    bool interrupt() const { return (status() & state_.interrupt_enable) != 0; }
    void run();
    void reset();
    void serialize(Archive& archive);

  private:
    // A queued command on its way between medium and memory.
    struct Queued {
        bool active = false, write = false, durable = false;
        u64 next = 0; // Sector.
        u32 left = 0;
        PrdWalk walk;
    };
    struct Header {
        u32 flags = 0;
        u16 entries = 0;
        u64 table = 0;
    };

    // --- AtaCable
    std::mutex& mutex() override { return host_.mutex(); }
    DmaOutcome transfer(std::span<u8> bytes, bool to_memory) override;
    void interrupt_changed() override {} // run() looks at the drive when it has settled.
    void dma_wanted() override {}
    void settled() override;
    bool serial_ata() const override { return true; }

    u32 status() const; // PxIS.
    void raise(u32 bits);
    void write_command(u32 value);
    void write_control(u32 value);
    void stop();
    void connect();
    void drop_queued();
    u64 list() const { return state_.list & ~u64{0x3FF}; }
    bool runs() const { return (state_.command & PxCMD_running) == PxCMD_running && !state_.halted; }
    static constexpr u32 PxCMD_running = ahci::PxCMD_ST | ahci::PxCMD_CR;

    // --- Commands (ahci_commands.cpp)
    bool start_next();
    bool read_header(unsigned slot, Header& header);
    void halt(u32 reason);
    void control_frame(unsigned slot, const Header& header, std::span<const u8> frame);
    void load_registers(std::span<const u8> frame);
    bool advance();
    void move_block();
    bool fill_packet();
    void finish();
    void post(u32 offset, std::span<const u8> frame);
    void post_registers(bool interrupt);
    void post_pio_setup(u8 before, bool to_host, bool interrupt, std::size_t count);
    void write_byte_count(unsigned slot, u32 count);
    void note_regions(PrdWalk& walk);
    void take_signature();

    // --- Queued commands (ahci_queue.cpp)
    void start_queued(unsigned slot, const Header& header, std::span<const u8> frame);
    void advance_queued(unsigned slot);
    void finish_queued(unsigned slot);
    void fail_queued(unsigned slot, u8 error, u32 reason);
    void post_device_bits(u32 done, u8 status, u8 error);

    Log& log_;
    AhciHost& host_;
    const std::string name_;
    std::unique_ptr<AtaDrive> drive_;
    AtaDisk* disk_ = nullptr; // The drive, where it is a disk.
    struct State {
        u64 list = 0, frames = 0; // PxCLB, PxFB.
        u32 interrupts = 0;       // PxIS without what follows from PxSERR.
        u32 interrupt_enable = 0;
        u32 command = ahci::PxCMD_SUD | ahci::PxCMD_POD;
        u32 task_file = 0x7F;
        u32 signature = ahci::SIG_none;
        u32 sata_status = 0, sata_control = 0, sata_error = 0;
        u32 active = 0, issued = 0; // PxSACT, PxCI.
        bool halted = false;        // An error ended the processing of commands until ST is cleared.
        bool busy = false;          // The command in `slot` is under way.
        u8 slot = 0;
        u8 code = 0;
        bool first_block = false; // Its first DRQ block has not gone yet.
    } state_;
    PrdWalk walk_; // Of the command under way.
    std::array<Queued, ahci::slots> queued_;
    u64 epoch_ = 0; // Counts what makes queued commands forgotten.
    bool running_ = false;
};

} // namespace calque::devices
