// The 2D part of a virtio GPU's messages (virtio 1.2, 5.7.6), by the specification's names without VIRTIO_GPU.
#pragma once

#include "base/types.h"

namespace calque::devices::gpu {

inline constexpr unsigned F_EDID = 1;
inline constexpr u32 CMD_GET_DISPLAY_INFO = 0x0100, CMD_RESOURCE_CREATE_2D = 0x0101, CMD_RESOURCE_UNREF = 0x0102,
                     CMD_SET_SCANOUT = 0x0103, CMD_RESOURCE_FLUSH = 0x0104, CMD_TRANSFER_TO_HOST_2D = 0x0105,
                     CMD_RESOURCE_ATTACH_BACKING = 0x0106, CMD_RESOURCE_DETACH_BACKING = 0x0107, CMD_GET_EDID = 0x010A,
                     CMD_UPDATE_CURSOR = 0x0300, CMD_MOVE_CURSOR = 0x0301;
enum Response : u32 {
    RESP_OK_NODATA = 0x1100,
    RESP_OK_DISPLAY_INFO = 0x1101,
    RESP_OK_EDID = 0x1104,
    RESP_ERR_UNSPEC = 0x1200,
    RESP_ERR_OUT_OF_MEMORY = 0x1201,
    RESP_ERR_INVALID_SCANOUT_ID = 0x1202,
    RESP_ERR_INVALID_RESOURCE_ID = 0x1203,
    RESP_ERR_INVALID_PARAMETER = 0x1205,
};
inline constexpr u32 FLAG_FENCE = 1;
inline constexpr std::size_t header_size = 24;

// 5.7.6.8: by the order of bytes in memory.
inline constexpr u32 B8G8R8A8 = 1, B8G8R8X8 = 2, A8R8G8B8 = 3, X8R8G8B8 = 4, R8G8B8A8 = 67, X8B8G8R8 = 68,
                     A8B8G8R8 = 121, R8G8B8X8 = 134;

struct Rect {
    u32 x = 0, y = 0, width = 0, height = 0;
    bool fits(u32 whole_width, u32 whole_height) const {
        return x <= whole_width && width <= whole_width - x && y <= whole_height && height <= whole_height - y;
    }
};

} // namespace calque::devices::gpu
