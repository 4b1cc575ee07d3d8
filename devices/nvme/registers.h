// Registers, commands and status values of NVM Express 1.4, by its own names.
#pragma once

#include "base/types.h"

namespace calque::devices::nvme {

// Controller registers (3.1).
inline constexpr u64 CAP = 0x00, VS = 0x08, INTMS = 0x0C, INTMC = 0x10, CC = 0x14, CSTS = 0x1C, AQA = 0x24, ASQ = 0x28,
                     ACQ = 0x30, doorbells = 0x1000;
inline constexpr u32 CC_EN = 1 << 0, CC_writable = 0x00FF'FFF1, CC_SHN = 3 << 14;
inline constexpr u32 CSTS_RDY = 1 << 0, CSTS_CFS = 1 << 1, CSTS_SHST = 3 << 2, SHST_occurring = 1 << 2,
                     SHST_complete = 2 << 2;
inline constexpr u32 version = 0x0001'0400;

inline constexpr u32 most_entries = 1024;     // Of a queue.
inline constexpr unsigned queue_pairs = 16;   // For I/O; the admin queues are besides.
inline constexpr u32 largest_page = 4;        // CC.MPS: 64 KiB.
inline constexpr u32 largest_transfer = 7;    // MDTS: 512 KiB, in pages of 4 KiB.
inline constexpr unsigned SQES = 6, CQES = 4; // Entries are of 64 and 16 bytes.
inline constexpr u32 all_namespaces = 0xFFFF'FFFF;

// Opcodes: admin (5) and NVM (6).
enum class Admin : u8 {
    delete_sq = 0x00,
    create_sq = 0x01,
    get_log_page = 0x02,
    delete_cq = 0x04,
    create_cq = 0x05,
    identify = 0x06,
    abort = 0x08,
    set_features = 0x09,
    get_features = 0x0A,
    async_event_request = 0x0C,
};
enum class Io : u8 {
    flush = 0x00,
    write = 0x01,
    read = 0x02,
    compare = 0x05,
    write_zeroes = 0x08,
    dataset_management = 0x09
};

// Status: type in bits 10:8, code in bits 7:0 (4.6.1).
enum Status : u16 {
    success = 0x000,
    invalid_opcode = 0x001,
    invalid_field = 0x002,
    data_transfer_error = 0x004,
    aborted_by_sq_deletion = 0x008,
    invalid_namespace = 0x00B,
    command_sequence_error = 0x00C,
    invalid_prp_offset = 0x013,
    namespace_write_protected = 0x020,
    lba_out_of_range = 0x080,
    capacity_exceeded = 0x081,
    completion_queue_invalid = 0x100,
    invalid_queue_identifier = 0x101,
    invalid_queue_size = 0x102,
    async_event_limit = 0x105,
    invalid_interrupt_vector = 0x108,
    invalid_log_page = 0x109,
    invalid_queue_deletion = 0x10C,
    feature_not_saveable = 0x10D,
    write_fault = 0x280,
    unrecovered_read_error = 0x281,
    compare_failure = 0x285,
};
inline constexpr u16 do_not_retry = 1 << 14;

enum Feature : u8 {
    arbitration = 0x01,
    power_management = 0x02,
    temperature_threshold = 0x04,
    error_recovery = 0x05,
    volatile_write_cache = 0x06,
    number_of_queues = 0x07,
    interrupt_coalescing = 0x08,
    interrupt_vector = 0x09,
    write_atomicity = 0x0A,
    async_event_configuration = 0x0B,
};
enum LogPage : u8 { log_error = 0x01, log_smart = 0x02, log_firmware = 0x03, log_changed_namespaces = 0x04 };

// Asynchronous events (5.2): types and what they inform of.
enum Event : u8 { event_error = 0, event_smart = 1, event_notice = 2 };
inline constexpr u8 invalid_doorbell = 0, invalid_doorbell_value = 1, namespace_changed = 0;

} // namespace calque::devices::nvme
