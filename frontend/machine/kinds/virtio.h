// What the families with virtio devices share.
#pragma once

#include "devices/virtio/virtio_pci.h"
#include "frontend/machine/kinds/kinds.h"

namespace calque::machine {

inline constexpr PropertyKind virtio_vectors{"vectors", PropertyKind::Type::vectors,
                                             "MSI-X vectors, 0 for none (as many as the device has uses for)"};
inline constexpr PropertyKind virtio_disable_legacy{"disable-legacy", PropertyKind::Type::boolean,
                                                    "leave out the interface from before virtio 1.0 (off)"};
inline constexpr PropertyKind virtio_disable_modern{"disable-modern", PropertyKind::Type::boolean,
                                                    "leave out the interface of virtio 1.0 (off)"};

devices::VirtioPciOptions virtio_options(const DeviceContext& context, const DeviceRequest& request, u32 class_code);
Result<PluggedDevice> plug_virtio(const DeviceContext& context, const devices::VirtioPciOptions& options,
                                  devices::virtio::Id id, std::size_t config_size, unsigned queues,
                                  const devices::VirtioPci::MakeKind& make);

} // namespace calque::machine
