// A VGA on the PCI bus with Bochs' VBE extension, laid out as the 1234:1111 that guests have drivers for: BAR 0 is the
// framebuffer, BAR 2 the registers in memory (EDID, VGA ports 3C0-3DF, DISPI).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/bus.h"
#include "devices/bus/byte_region.h"
#include "devices/display.h"
#include "devices/pci/function.h"
#include "devices/vga/legacy_window.h"
#include "devices/vga/registers.h"
#include "devices/vga/renderer.h"
#include "devices/vga/video_memory.h"

#include <array>
#include <functional>
#include <mutex>

namespace calque::devices {

class Vga final : public Device, public Display {
  public:
    struct Options {
        u64 memory = u64{16} << 20; // Bytes, a power of two (VideoMemory has the limits).
        bool edid = true;
        u32 width = 1280, height = 800; // What the monitor prefers.
    };
    // `memory_changed` is called, without a lock, when direct_memory() of the framebuffer has become another.
    Vga(Log& log, Clock& clock, const Options& options, std::function<void()> memory_changed, std::string name);

    PciFunction& function() { return pci_; }
    // What is behind its BARs 0 and 2, for one that has them in a function of its own.
    PciBar framebuffer_bar();
    PciBar registers_bar();
    // The ports and the window at A0000 that every VGA decodes, whatever its BARs.
    void map_legacy(Bus& ports, Bus& memory);
    u64 memory_size() const { return memory_.size(); }

    void take_picture(Surface& surface) override;
    Damage update(Surface& surface) override;
    void stop_updates() override;
    std::optional<std::vector<std::string>> text() override;

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class Framebuffer final : public IoRegion {
      public:
        explicit Framebuffer(Vga& vga) : vga_(vga) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;
        std::vector<DirectMemory> direct_memory() const override { return vga_.memory_.direct_memory(); }

      private:
        Vga& vga_;
    };
    class Window final : public ByteRegion {
      public:
        explicit Window(Vga& vga) : vga_(vga) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        Vga& vga_;
    };
    class Ports final : public ByteRegion {
      public:
        Ports(Vga& vga, u16 base) : vga_(vga), base_(base) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        Vga& vga_;
        u16 base_;
    };
    class DispiPorts final : public IoRegion {
      public:
        explicit DispiPorts(Vga& vga) : vga_(vga) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Vga& vga_;
    };
    class Registers final : public IoRegion {
      public:
        explicit Registers(Vga& vga) : vga_(vga) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Vga& vga_;
    };

    PciDescriptor descriptor();
    // Under the lock.
    u8 read_port(u16 port);
    void write_port(u16 port, u8 value);
    void write_crtc(u8 value);
    void write_attribute(u8 value);
    u8 read_dac();
    void write_dac(u8 value);
    u8 status_1();
    void set_dispi(unsigned index, u16 value);

    Log& log_;
    Clock& clock_;
    const Options options_;
    const std::function<void()> memory_changed_;
    const std::string name_;
    const std::array<u8, 128> edid_;
    mutable std::mutex mutex_; // Guards the registers.
    vga::Registers state_;
    vga::VideoMemory memory_;
    vga::LegacyWindow legacy_{state_, memory_};
    Framebuffer framebuffer_{*this};
    Window window_{*this};
    Ports ports_3b0_{*this, 0x3B0}, ports_3c0_{*this, 0x3C0};
    DispiPorts dispi_ports_{*this};
    Registers registers_{*this};
    PciFunction pci_;

    // Of update() alone.
    vga::Registers shown_;
    vga::Blink shown_blink_;
    bool updating_ = false;
};

} // namespace calque::devices
