// A display adapter (virtio 1.2, 5.7): one screen, 2D resources, a cursor of the device's, EDID.
#pragma once

#include "devices/display.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_gpu_registers.h"

#include <map>

namespace calque::devices {

// The driver's pixels are copied when it transfers them, and shown when it flushes: nobody watches its memory.
class VirtioGpu final : public VirtioDevice, public Display {
  public:
    static constexpr std::size_t config_size = 16;
    static constexpr unsigned queues = 2;
    static constexpr u64 most_bytes = u64{256} << 20; // Of all resources together.
    struct Options {
        bool edid = true;
        u32 width = 1280, height = 800; // What the monitor prefers.
    };
    VirtioGpu(Log& log, DmaPort& memory, Worker& worker, const Options& options, std::string name);
    ~VirtioGpu() override { end_tasks(); }

    void take_picture(Surface& surface) override;
    Damage update(Surface& surface) override;
    void stop_updates() override; // The next update() draws everything.
    std::optional<std::vector<std::string>> text() override { return std::nullopt; }

    // Whether its driver has shown something since the last reset: a VGA that shares the screen is not seen then.
    bool driven() const;
    void serialize_driven(Archive& archive); // Apart from the rest, for one that has such a VGA.

  private:
    struct Part { // Of the guest's memory behind a resource.
        u64 address = 0;
        u32 length = 0;
    };
    struct Resource {
        u32 format = 0, width = 0, height = 0;
        std::vector<u32> pixels; // AARRGGBB.
        std::vector<Part> backing;
    };
    struct State {
        std::map<u32, Resource> resources;
        u32 screen = 0; // The resource on show; 0: none.
        gpu::Rect where;
        bool driven = false;
        Surface cursor; // AARRGGBB; empty: hidden.
        u32 cursor_x = 0, cursor_y = 0, hot_x = 0, hot_y = 0;
    };
    using Bytes = std::vector<u8>;

    void serve(unsigned queue);
    Bytes answer(const VirtioChain& chain, std::span<const u8> request);
    gpu::Response execute(const VirtioChain& chain, std::span<const u8> request, Bytes& more);
    gpu::Response create(std::span<const u8> request);
    gpu::Response set_scanout(std::span<const u8> request);
    gpu::Response flush(std::span<const u8> request);
    gpu::Response transfer(std::span<const u8> request);
    gpu::Response attach(const VirtioChain& chain, std::span<const u8> request);
    gpu::Response update_cursor(std::span<const u8> request);
    void move_cursor(std::span<const u8> request);
    bool read_backing(const Resource& resource, u64 offset, std::span<u8> bytes);
    Bytes display_info() const;
    Bytes edid() const;
    void unref(u32 id);
    void damage(u64 first, u64 end);
    void damage_cursor();
    void draw_row(u32 y, u32* row) const;
    u32 shown_width() const { return state_.screen ? state_.where.width : options_.width; }
    u32 shown_height() const { return state_.screen ? state_.where.height : options_.height; }

    std::vector<u8> config() override;
    void stopped() override;
    void save(Archive& archive) override;

    const Options options_;
    State state_;
    u64 used_bytes_ = 0;        // Of pixels; follows from the state.
    u32 first_ = 0, end_ = ~0u; // Rows that have changed since update().
};

} // namespace calque::devices
