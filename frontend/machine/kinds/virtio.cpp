// Virtio devices on the PCI bus.
#include "frontend/machine/kinds/virtio.h"

#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_rng.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/kinds.h"

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

constexpr std::array kinds{
    DeviceKind{"virtio-rng-pci", "PCI", "random numbers from the host", rng_properties, make_rng},
    DeviceKind{"virtio-rng", "PCI", "the same", rng_properties, make_rng},
};

} // namespace

std::span<const DeviceKind> virtio_kinds() { return kinds; }

} // namespace calque::machine
