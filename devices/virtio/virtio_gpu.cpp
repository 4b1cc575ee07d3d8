#include "devices/virtio/virtio_gpu.h"

#include "base/byte_order.h"
#include "devices/monitor/edid.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio;
using namespace gpu;

namespace {
constexpr std::size_t longest_request = 72; // Without the list behind RESOURCE_ATTACH_BACKING.
constexpr u32 most_entries = 16384, largest_side = 16384;
constexpr std::size_t most_resources = 1024, entry_size = 16;
constexpr unsigned most_chains_a_turn = 16;
constexpr u32 screens = 1;

u32 word(std::span<const u8> request, std::size_t at) { return at + 4 <= request.size() ? little32(request, at) : 0; }
Rect rect(std::span<const u8> request) {
    return {word(request, 24), word(request, 28), word(request, 32), word(request, 36)};
}

// Where in a pixel's four bytes blue, green, red and alpha stand; 4: nowhere.
struct Order {
    u8 blue, green, red, alpha;
};
std::optional<Order> order_of(u32 format) {
    switch (format) {
    case B8G8R8A8: return Order{0, 1, 2, 3};
    case B8G8R8X8: return Order{0, 1, 2, 4};
    case A8R8G8B8: return Order{3, 2, 1, 0};
    case X8R8G8B8: return Order{3, 2, 1, 4};
    case R8G8B8A8: return Order{2, 1, 0, 3};
    case R8G8B8X8: return Order{2, 1, 0, 4};
    case A8B8G8R8: return Order{1, 2, 3, 0};
    case X8B8G8R8: return Order{1, 2, 3, 4};
    default: return std::nullopt;
    }
}
} // namespace

VirtioGpu::VirtioGpu(Log& log, DmaPort& memory, Worker& worker, const Options& options, std::string name)
    : VirtioDevice(log, memory, Id::gpu, std::move(name), u64{options.edid} << F_EDID), options_(options) {
    for (unsigned queue = 0; queue < queues; ++queue)
        add_queue(worker, queue == 0 ? u16{64} : u16{16}, [this, queue] { serve(queue); });
}

void VirtioGpu::serve(unsigned queue) {
    VirtioChain chain;
    for (unsigned taken = 0; pop(queue, chain); ++taken) {
        Bytes request(std::min<u64>(chain.readable_bytes(), longest_request));
        if (!chain.read(memory(), 0, request)) return needs_reset("a request is not in memory");
        Bytes response = answer(chain, request);
        response.resize(std::min<u64>(response.size(), chain.writable_bytes()));
        if (!chain.write(memory(), 0, response)) return needs_reset("a response is not in memory");
        push(queue, chain.head, static_cast<u32>(response.size()));
        if (taken == most_chains_a_turn) {
            schedule(queue);
            break;
        }
    }
    interrupt_if_wanted(queue);
}

// 5.7.6.7: the response repeats the fence, which is over as soon as the request is.
VirtioGpu::Bytes VirtioGpu::answer(const VirtioChain& chain, std::span<const u8> request) {
    Bytes response(header_size), more;
    store_little(response, 0, request.size() < header_size ? RESP_ERR_UNSPEC : execute(chain, request, more), 4);
    if (request.size() >= header_size && (word(request, 4) & FLAG_FENCE))
        std::copy_n(request.begin() + 4, header_size - 4, response.begin() + 4);
    response.insert(response.end(), more.begin(), more.end());
    return response;
}

Response VirtioGpu::execute(const VirtioChain& chain, std::span<const u8> request, Bytes& more) {
    const auto with = [&](u32 id, auto action) {
        const auto found = state_.resources.find(id);
        return found == state_.resources.end() ? RESP_ERR_INVALID_RESOURCE_ID : (action(found->second), RESP_OK_NODATA);
    };
    switch (word(request, 0)) {
    case CMD_GET_DISPLAY_INFO: more = display_info(); return RESP_OK_DISPLAY_INFO;
    case CMD_GET_EDID:
        if (!options_.edid || word(request, 24) >= screens) return RESP_ERR_INVALID_PARAMETER;
        more = edid();
        return RESP_OK_EDID;
    case CMD_RESOURCE_CREATE_2D: return create(request);
    case CMD_RESOURCE_UNREF: return with(word(request, 24), [&](Resource&) { unref(word(request, 24)); });
    case CMD_SET_SCANOUT: return set_scanout(request);
    case CMD_RESOURCE_FLUSH: return flush(request);
    case CMD_TRANSFER_TO_HOST_2D: return transfer(request);
    case CMD_RESOURCE_ATTACH_BACKING: return attach(chain, request);
    case CMD_RESOURCE_DETACH_BACKING: return with(word(request, 24), [](Resource& r) { r.backing.clear(); });
    case CMD_UPDATE_CURSOR: return update_cursor(request);
    case CMD_MOVE_CURSOR: move_cursor(request); return RESP_OK_NODATA;
    default: log_.unimplemented(Channel::pci, fmt::format("virtio-gpu.command-{:#x}", word(request, 0)));
    }
    return RESP_ERR_UNSPEC;
}

VirtioGpu::Bytes VirtioGpu::display_info() const {
    constexpr std::size_t most_screens = 16, size = 24;
    Bytes bytes(most_screens * size);
    store_little(bytes, 8, options_.width, 4);
    store_little(bytes, 12, options_.height, 4);
    store_little(bytes, 16, 1, 4); // Enabled.
    return bytes;
}

VirtioGpu::Bytes VirtioGpu::edid() const {
    constexpr std::size_t room = 1024, at = 8;
    const auto block = make_edid(options_.width, options_.height);
    Bytes bytes(at + room);
    store_little(bytes, 0, block.size(), 4);
    std::copy(block.begin(), block.end(), bytes.begin() + at);
    return bytes;
}

// --- Resources

Response VirtioGpu::create(std::span<const u8> request) {
    const u32 id = word(request, 24), format = word(request, 28), width = word(request, 32), height = word(request, 36);
    if (id == 0 || state_.resources.contains(id)) return RESP_ERR_INVALID_RESOURCE_ID;
    if (!order_of(format) || width == 0 || height == 0 || width > largest_side || height > largest_side)
        return RESP_ERR_INVALID_PARAMETER;
    const u64 bytes = u64{width} * height * 4;
    if (bytes > most_bytes - used_bytes_ || state_.resources.size() >= most_resources) return RESP_ERR_OUT_OF_MEMORY;
    used_bytes_ += bytes;
    state_.resources[id] = {format, width, height, std::vector<u32>(bytes / 4), {}};
    return RESP_OK_NODATA;
}

void VirtioGpu::unref(u32 id) {
    const auto found = state_.resources.find(id);
    used_bytes_ -= found->second.pixels.size() * 4;
    state_.resources.erase(found);
    if (state_.screen != id) return;
    state_.screen = 0;
    damage(0, ~u64{0});
}

Response VirtioGpu::attach(const VirtioChain& chain, std::span<const u8> request) {
    const auto found = state_.resources.find(word(request, 24));
    const u32 count = word(request, 28);
    constexpr std::size_t list_at = 32;
    if (found == state_.resources.end()) return RESP_ERR_INVALID_RESOURCE_ID;
    if (count > most_entries || chain.readable_bytes() < list_at + u64{count} * entry_size)
        return RESP_ERR_INVALID_PARAMETER;
    Bytes list(count * entry_size);
    if (!chain.read(memory(), list_at, list)) return RESP_ERR_UNSPEC;
    std::vector<Part>& backing = found->second.backing;
    backing.clear();
    for (std::size_t at = 0; at < list.size(); at += entry_size)
        backing.push_back({little64(list, at), little32(list, at + 8)});
    return RESP_OK_NODATA;
}

// False: there is less behind the resource, or it is no memory.
bool VirtioGpu::read_backing(const Resource& resource, u64 offset, std::span<u8> bytes) {
    for (const Part& part : resource.backing) {
        if (bytes.empty()) return true;
        if (offset >= part.length) {
            offset -= part.length;
            continue;
        }
        const auto now = bytes.first(std::min<u64>(bytes.size(), part.length - offset));
        if (!memory().dma_read(PhysicalAddress(part.address + offset), now)) return false;
        bytes = bytes.subspan(now.size());
        offset = 0;
    }
    return bytes.empty();
}

// 5.7.6.8: `offset` is where the rectangle's first pixel lies; rows are as wide as the resource.
Response VirtioGpu::transfer(std::span<const u8> request) {
    const auto found = state_.resources.find(word(request, 48));
    if (found == state_.resources.end()) return RESP_ERR_INVALID_RESOURCE_ID;
    Resource& resource = found->second;
    const Rect part = rect(request);
    const u64 offset = word(request, 40) | u64{word(request, 44)} << 32;
    if (!part.fits(resource.width, resource.height) || offset > most_bytes) return RESP_ERR_INVALID_PARAMETER;
    const Order order = *order_of(resource.format);
    // Whole rows that follow each other are read at once.
    const bool whole = part.width == resource.width;
    const u32 rows_a_time = whole ? std::max(1u, (64u << 10) / (4 * part.width + 1)) : 1;
    Bytes bytes;
    for (u32 y = 0; y < part.height; y += rows_a_time) {
        const u32 rows = std::min(rows_a_time, part.height - y);
        bytes.resize(std::size_t{rows} * part.width * 4);
        if (!read_backing(resource, offset + u64{y} * resource.width * 4, bytes)) return RESP_ERR_INVALID_PARAMETER;
        u32* to = resource.pixels.data() + (u64{part.y} + y) * resource.width + part.x;
        for (u32 i = 0; i < rows * part.width; ++i) {
            const u8* const pixel = bytes.data() + 4 * std::size_t{i};
            const u32 alpha = order.alpha < 4 ? pixel[order.alpha] : 0xFF;
            to[i] = alpha << 24 | u32{pixel[order.red]} << 16 | u32{pixel[order.green]} << 8 | pixel[order.blue];
        }
    }
    return RESP_OK_NODATA;
}

// --- Screen and cursor

Response VirtioGpu::set_scanout(std::span<const u8> request) {
    const u32 screen = word(request, 40), id = word(request, 44);
    if (screen >= screens) return RESP_ERR_INVALID_SCANOUT_ID;
    const Rect where = rect(request);
    if (id != 0) {
        const auto found = state_.resources.find(id);
        if (found == state_.resources.end()) return RESP_ERR_INVALID_RESOURCE_ID;
        if (where.width == 0 || where.height == 0 || !where.fits(found->second.width, found->second.height))
            return RESP_ERR_INVALID_PARAMETER;
    }
    state_.screen = id;
    state_.where = where;
    state_.driven |= id != 0;
    damage(0, ~u64{0});
    return RESP_OK_NODATA;
}

Response VirtioGpu::flush(std::span<const u8> request) {
    const u32 id = word(request, 40);
    const auto found = state_.resources.find(id);
    if (found == state_.resources.end()) return RESP_ERR_INVALID_RESOURCE_ID;
    const Rect part = rect(request);
    if (!part.fits(found->second.width, found->second.height)) return RESP_ERR_INVALID_PARAMETER;
    const u64 top = state_.where.y, end = u64{part.y} + part.height;
    if (id == state_.screen && end > top) damage(part.y > top ? part.y - top : 0, end - top);
    return RESP_OK_NODATA;
}

// 5.7.6.10: the image is 64 by 64 pixels; resource 0 hides it.
Response VirtioGpu::update_cursor(std::span<const u8> request) {
    constexpr u32 side = 64;
    const u32 id = word(request, 40);
    damage_cursor();
    state_.cursor = {};
    if (id != 0) {
        const auto found = state_.resources.find(id);
        if (found == state_.resources.end()) return RESP_ERR_INVALID_RESOURCE_ID;
        if (found->second.width != side || found->second.height != side) return RESP_ERR_INVALID_PARAMETER;
        state_.cursor = {side, side, found->second.pixels};
        state_.hot_x = std::min(word(request, 44), side - 1);
        state_.hot_y = std::min(word(request, 48), side - 1);
    }
    move_cursor(request);
    return RESP_OK_NODATA;
}

void VirtioGpu::move_cursor(std::span<const u8> request) {
    damage_cursor();
    state_.cursor_x = word(request, 28);
    state_.cursor_y = word(request, 32);
    damage_cursor();
}

void VirtioGpu::damage(u64 first, u64 end) {
    first_ = static_cast<u32>(std::min<u64>(first_, first));
    end_ = static_cast<u32>(std::max<u64>(end_, std::min<u64>(end, ~u32{0})));
}

void VirtioGpu::damage_cursor() {
    if (state_.cursor.width == 0) return;
    const u64 top = state_.cursor_y > state_.hot_y ? state_.cursor_y - state_.hot_y : 0;
    damage(top, top + state_.cursor.height);
}

// A row of the screen, with what of the cursor lies on it.
void VirtioGpu::draw_row(u32 y, u32* row) const {
    const u32 width = shown_width();
    if (state_.screen == 0) {
        std::fill_n(row, width, 0);
        return;
    }
    const Resource& resource = state_.resources.at(state_.screen);
    const u32* const from = resource.pixels.data() + (u64{state_.where.y} + y) * resource.width + state_.where.x;
    for (u32 x = 0; x < width; ++x)
        row[x] = from[x] & 0xFF'FFFF;
    const Surface& cursor = state_.cursor;
    const i64 line = i64{y} - state_.cursor_y + state_.hot_y;
    if (line < 0 || line >= cursor.height) return;
    for (u32 i = 0; i < cursor.width; ++i) {
        const i64 x = i64{state_.cursor_x} - state_.hot_x + i;
        if (x < 0 || x >= width) continue;
        const u32 dot = cursor.row(static_cast<u32>(line))[i], alpha = dot >> 24;
        u32 mixed = 0;
        // Its colours have been multiplied by alpha already.
        for (unsigned shift = 0; shift < 24; shift += 8) {
            const u32 below = row[x] >> shift & 0xFF;
            mixed |= std::min(255u, (dot >> shift & 0xFF) + below * (255 - alpha) / 255) << shift;
        }
        row[x] = mixed;
    }
}

void VirtioGpu::take_picture(Surface& surface) {
    std::lock_guard lock(mutex());
    surface.resize(shown_width(), shown_height());
    for (u32 y = 0; y < surface.height; ++y)
        draw_row(y, surface.row(y));
}

Display::Damage VirtioGpu::update(Surface& surface) {
    std::lock_guard lock(mutex());
    const u32 width = shown_width(), height = shown_height();
    Damage damage{width != surface.width || height != surface.height, std::min(first_, height), std::min(end_, height)};
    surface.resize(width, height);
    if (damage.resized) damage.first = 0, damage.end = height;
    for (u32 y = damage.first; y < damage.end; ++y)
        draw_row(y, surface.row(y));
    first_ = ~0u;
    end_ = 0;
    return damage;
}

void VirtioGpu::stop_updates() {
    std::lock_guard lock(mutex());
    damage(0, ~u64{0});
}

bool VirtioGpu::driven() const {
    std::lock_guard lock(mutex());
    return state_.driven;
}

void VirtioGpu::serialize_driven(Archive& archive) {
    std::lock_guard lock(mutex());
    archive.field("driven", state_.driven);
}

// --- The rest

std::vector<u8> VirtioGpu::config() {
    std::vector<u8> bytes(config_size);
    store_little(bytes, 8, screens, 4);
    return bytes;
}

void VirtioGpu::stopped() {
    state_ = {};
    used_bytes_ = 0;
    damage(0, ~u64{0});
}

void VirtioGpu::save(Archive& archive) {
    u64 count = state_.resources.size();
    archive.field("resources", count);
    if (count > most_resources) return archive.fail("more resources than there can be");
    auto next = state_.resources.begin();
    for (u64 i = 0; i < count && archive.ok(); ++i) {
        u32 id = archive.loading() ? 0 : next->first;
        archive.field("id", id);
        Resource& resource = archive.loading() ? state_.resources[id] : (next++)->second;
        archive.field("format", resource.format);
        archive.field("width", resource.width);
        archive.field("height", resource.height);
        const u64 bytes = u64{resource.width} * resource.height * 4;
        if (archive.loading()) {
            if (id == 0 || !order_of(resource.format) || !resource.pixels.empty() || resource.width > largest_side
                || resource.height > largest_side || bytes == 0 || bytes > most_bytes - used_bytes_)
                return archive.fail("a resource that cannot be");
            used_bytes_ += bytes;
            resource.pixels.resize(bytes / 4);
        }
        archive.bytes("pixels", {reinterpret_cast<u8*>(resource.pixels.data()), bytes});
        u64 parts = resource.backing.size();
        archive.field("parts", parts);
        if (parts > most_entries) return archive.fail("more memory behind a resource than can be");
        resource.backing.resize(parts);
        for (Part& part : resource.backing) {
            archive.field("address", part.address);
            archive.field("length", part.length);
        }
    }
    archive.field("screen", state_.screen);
    archive.field("x", state_.where.x);
    archive.field("y", state_.where.y);
    archive.field("shown_width", state_.where.width);
    archive.field("shown_height", state_.where.height);
    archive.field("cursor_x", state_.cursor_x);
    archive.field("cursor_y", state_.cursor_y);
    archive.field("hot_x", state_.hot_x);
    archive.field("hot_y", state_.hot_y);
    u32 side = state_.cursor.width;
    archive.field("cursor", side);
    if (side != 0 && side != 64) return archive.fail("a cursor that cannot be");
    state_.cursor.resize(side, side);
    archive.bytes("cursor_pixels",
                  {reinterpret_cast<u8*>(state_.cursor.pixels.data()), state_.cursor.pixels.size() * 4});
    if (!archive.loading() || state_.screen == 0) return;
    const auto shown = state_.resources.find(state_.screen);
    if (shown == state_.resources.end() || state_.where.width == 0 || state_.where.height == 0
        || !state_.where.fits(shown->second.width, shown->second.height))
        return archive.fail("a screen that cannot be");
}

} // namespace calque::devices
