// What the guest shares with the host: memory and folders.
#include "devices/virtio/virtio_9p.h"
#include "devices/virtio/virtio_balloon.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/virtio.h"

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;
using devices::Virtio9p;
using devices::VirtioBalloon;
constexpr u32 class_others = 0x00FF00;

constexpr std::array balloon_properties{
    PropertyKind{"deflate-on-oom", Type::boolean, "the guest takes memory back rather than end a program (off)"},
    virtio_vectors, virtio_disable_legacy, virtio_disable_modern};

Result<PluggedDevice> make_balloon(const DeviceContext& context, const DeviceRequest& request) {
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    const VirtioBalloon::Options options{context.ram_size, request.get_bool("deflate-on-oom", false)};
    return plug_virtio(context, virtio_options(context, request, class_others), devices::virtio::Id::balloon,
                       VirtioBalloon::config_size, VirtioBalloon::queues, [&](devices::DmaPort& memory) {
                           return std::make_unique<VirtioBalloon>(context.log, memory, *context.backends.worker,
                                                                  context.ram, options, context.name);
                       });
}

constexpr std::array plan9_properties{
    PropertyKind{"fsdev", Type::text, "the id of a -fsdev"},
    PropertyKind{"mount_tag", Type::text, "what the guest mounts: mount -t 9p -o trans=virtio TAG FOLDER"},
    virtio_vectors, virtio_disable_legacy, virtio_disable_modern};

Result<PluggedDevice> make_9p(const DeviceContext& context, const DeviceRequest& request) {
    const std::string id = request.get("fsdev"), tag = request.get("mount_tag");
    if (id.empty() || tag.empty()) return error("-device {} needs fsdev=ID and mount_tag=TAG", request.driver);
    if (tag.size() > Virtio9p::longest_tag)
        return error("-device {}: a mount tag has at most {} characters", request.driver, Virtio9p::longest_tag);
    const auto found = context.backends.folders.find(id);
    if (found == context.backends.folders.end())
        return error("-device {}: there is no -fsdev with id={}", request.driver, id);
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    return plug_virtio(context, virtio_options(context, request, class_others), devices::virtio::Id::plan9,
                       Virtio9p::config_size_for(tag), Virtio9p::queues, [&](devices::DmaPort& memory) {
                           return std::make_unique<Virtio9p>(context.log, memory, *context.backends.worker,
                                                             *found->second, tag, context.name);
                       });
}

constexpr std::array kinds{
    DeviceKind{"virtio-balloon-pci", "PCI", "takes memory from the guest and gives it back", balloon_properties,
               make_balloon},
    DeviceKind{"virtio-balloon", "PCI", "the same", balloon_properties, make_balloon},
    DeviceKind{"virtio-9p-pci", "PCI", "a folder of the host's", plan9_properties, make_9p},
    DeviceKind{"virtio-9p", "PCI", "the same", plan9_properties, make_9p},
};

} // namespace

std::span<const DeviceKind> virtio_host_kinds() { return kinds; }

} // namespace calque::machine
