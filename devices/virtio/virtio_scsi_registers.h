// Numbers of the SCSI host: virtio 1.2, 5.6.
#pragma once

#include "base/types.h"

namespace calque::devices::virtio_scsi {

inline constexpr unsigned F_INOUT = 0, F_HOTPLUG = 1, F_CHANGE = 2;
inline constexpr unsigned control_queue = 0, event_queue = 1, first_request_queue = 2;
inline constexpr u64 request_header = 19, response_header = 12; // Without CDB and sense.
inline constexpr u32 event_size = 16, most_sense = 252, most_cdb = 260;
inline constexpr unsigned sense_size_at = 20, cdb_size_at = 24; // In the configuration space.

enum Response : u8 {
    S_OK = 0,
    S_OVERRUN = 1,
    S_ABORTED = 2,
    S_BAD_TARGET = 3,
    S_RESET = 4,
    S_BUSY = 5,
    S_FUNCTION_SUCCEEDED = 10,
    S_FUNCTION_REJECTED = 11,
    S_INCORRECT_LUN = 12,
};
inline constexpr u8 S_FUNCTION_COMPLETE = 0;

enum Control : u32 { T_TMF = 0, T_AN_QUERY = 1, T_AN_SUBSCRIBE = 2 };
enum Function : u32 {
    TMF_ABORT_TASK = 0,
    TMF_ABORT_TASK_SET = 1,
    TMF_CLEAR_ACA = 2,
    TMF_CLEAR_TASK_SET = 3,
    TMF_I_T_NEXUS_RESET = 4,
    TMF_LOGICAL_UNIT_RESET = 5,
    TMF_QUERY_TASK = 6,
    TMF_QUERY_TASK_SET = 7,
};
inline constexpr u32 T_PARAM_CHANGE = 3;

} // namespace calque::devices::virtio_scsi
