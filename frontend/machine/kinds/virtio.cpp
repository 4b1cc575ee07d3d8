// Virtio devices on the PCI bus.
#include "frontend/machine/kinds/virtio.h"

#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_rng.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/kinds.h"

#include <algorithm>

namespace calque::machine {

using devices::VirtioPci;
using devices::VirtioRng;

devices::VirtioPciOptions virtio_options(const DeviceContext& context, const DeviceRequest& request, u32 class_code) {
    devices::VirtioPciOptions options;
    options.name = context.name;
    options.legacy = !request.get_bool("disable-legacy", false);
    options.modern = !request.get_bool("disable-modern", false);
    options.vectors = static_cast<unsigned>(std::min<u64>(request.get_number("vectors", ~0u), ~0u));
    options.class_code = class_code;
    return options;
}

Result<PluggedDevice> plug_virtio(const DeviceContext& context, const devices::VirtioPciOptions& options,
                                  devices::virtio::Id id, std::size_t config_size, unsigned queues,
                                  const VirtioPci::MakeKind& make) {
    if (!options.legacy && !options.modern)
        return error("-device {}: with disable-legacy=on and disable-modern=on nothing is left of it", options.name);
    auto device = std::make_unique<VirtioPci>(context.log, context.memory, options, id, config_size, queues, make);
    devices::PciFunction& function = device->function();
    return PluggedDevice{std::move(device), &function};
}

namespace {

using Type = PropertyKind::Type;

constexpr std::array rng_properties{
    PropertyKind{"rng", Type::text, "the id of an -object rng-random or rng-builtin (the host's own generator)"},
    PropertyKind{"max-bytes", Type::size, "the most that the guest gets in each period (no limit)"},
    PropertyKind{"period", Type::number, "milliseconds (65536)"},
    virtio_vectors,
    virtio_disable_legacy,
    virtio_disable_modern};

Result<PluggedDevice> make_rng(const DeviceContext& context, const DeviceRequest& request) {
    devices::EntropySource* source = context.backends.default_entropy;
    if (const std::string id = request.get("rng"); !id.empty()) {
        const auto found = context.backends.entropy.find(id);
        if (found == context.backends.entropy.end())
            return error("-device {}: there is no -object rng-random or rng-builtin with id={}", request.driver, id);
        source = found->second;
    }
    VirtioRng::Limit limit;
    limit.max_bytes = request.get_number("max-bytes", limit.max_bytes);
    limit.period = request.get_number("period", limit.period / 1'000'000) % 1'000'000'000 * 1'000'000;
    if (!source || !context.backends.worker) return error("-device {} has nothing to draw from here", request.driver);
    if (limit.max_bytes == 0 || limit.period == 0)
        return error("-device {}: max-bytes and period are at least 1", request.driver);
    constexpr u32 class_others = 0x00FF00;
    return plug_virtio(context, virtio_options(context, request, class_others), devices::virtio::Id::entropy,
                       VirtioRng::config_size, VirtioRng::queues, [&](devices::DmaPort& memory) {
                           return std::make_unique<VirtioRng>(context.log, memory, context.clock,
                                                              *context.backends.worker, *source, limit, context.name);
                       });
}

constexpr std::array blk_properties{
    PropertyKind{"drive", Type::text, "the id of a -drive with if=none"},
    PropertyKind{"serial", Type::text, "what the guest finds as serial number (the drive's)"},
    PropertyKind{"num-queues", Type::number, "request queues, 1 to 64 (1)"},
    PropertyKind{"queue-size", Type::number, "entries of each, a power of two, 4 to 1024 (256)"},
    PropertyKind{"logical_block_size", Type::number, "bytes (512)"},
    PropertyKind{"physical_block_size", Type::number, "bytes (512)"},
    virtio_vectors,
    virtio_disable_legacy,
    virtio_disable_modern,
    drive_werror,
    drive_rerror,
    drive_write_cache,
    boot_index,
};

Result<PluggedDevice> make_blk(const DeviceContext& context, const DeviceRequest& request) {
    const auto disk = disk_of(context, request);
    if (!disk) return disk.error();
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    devices::VirtioBlkOptions options;
    options.serial = request.get("serial", (*disk)->serial());
    const u64 queues = request.get_number("num-queues", 1), size = request.get_number("queue-size", 256);
    const u64 logical = request.get_number("logical_block_size", 512),
              physical = request.get_number("physical_block_size", std::max<u64>(logical, 512));
    if (queues < 1 || queues > 64) return error("-device {}: num-queues is 1 to 64", request.driver);
    if (size < 4 || size > devices::virtio::largest_queue || (size & (size - 1)))
        return error("-device {}: queue-size is a power of two from 4 to {}", request.driver,
                     devices::virtio::largest_queue);
    if (logical < 512 || logical > 4096 || (logical & (logical - 1)) || physical < logical || physical > 65536
        || (physical & (physical - 1)))
        return error("-device {}: block sizes are powers of two from 512 on, logical ones at most 4096 and no larger "
                     "than physical ones",
                     request.driver);
    options.queues = static_cast<unsigned>(queues);
    options.queue_size = static_cast<u16>(size);
    options.logical_block = static_cast<u32>(logical);
    options.physical_block = static_cast<u32>(physical);
    constexpr u32 class_storage = 0x010000;
    return plug_virtio(context, virtio_options(context, request, class_storage), devices::virtio::Id::block,
                       devices::VirtioBlk::config_size, options.queues, [&](devices::DmaPort& memory) {
                           return std::make_unique<devices::VirtioBlk>(context.log, memory, *context.backends.worker,
                                                                       **disk, options, context.name);
                       });
}

constexpr std::array kinds{
    DeviceKind{"virtio-blk-pci", "PCI", "a disk", blk_properties, make_blk, {}, false, "scsi", "/disk@0,0"},
    DeviceKind{"virtio-blk", "PCI", "the same", blk_properties, make_blk, {}, false, "scsi", "/disk@0,0"},
    DeviceKind{"virtio-rng-pci", "PCI", "random numbers from the host", rng_properties, make_rng},
    DeviceKind{"virtio-rng", "PCI", "the same", rng_properties, make_rng},
};

} // namespace

std::span<const DeviceKind> virtio_kinds() { return kinds; }

} // namespace calque::machine
