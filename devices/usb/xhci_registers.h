// Registers and structures of xHCI (eXtensible Host Controller Interface for USB 1.2), by its names.
#pragma once

#include "base/types.h"

#include <array>

namespace calque::devices::xhci {

// Where the register sets lie in the BAR.
inline constexpr u64 operational = 0x40, port_registers = operational + 0x400, extended = 0x800, runtime = 0x1000,
                     doorbells = 0x2000, space = 0x4000;
inline constexpr unsigned most_ports = 15; // Of USB 2, and of USB 3.
inline constexpr unsigned slots = 32, interrupters = 8, endpoints = 32;

// 5.3: capability registers.
inline constexpr u64 CAPLENGTH = 0x00, HCSPARAMS1 = 0x04, HCSPARAMS2 = 0x08, HCCPARAMS1 = 0x10, DBOFF = 0x14,
                     RTSOFF = 0x18;
// 5.4: operational registers, from their start.
inline constexpr u64 USBCMD = 0x00, USBSTS = 0x04, PAGESIZE = 0x08, DNCTRL = 0x14, CRCR = 0x18, DCBAAP = 0x30,
                     CONFIG = 0x38;
inline constexpr u32 CMD_RUN = 1 << 0, CMD_RESET = 1 << 1, CMD_INTE = 1 << 2, CMD_HSEE = 1 << 3, CMD_SAVE = 1 << 8,
                     CMD_RESTORE = 1 << 9, CMD_EWE = 1 << 10;
inline constexpr u32 STS_HALTED = 1 << 0, STS_HSE = 1 << 2, STS_EINT = 1 << 3, STS_PCD = 1 << 4, STS_SRE = 1 << 10;
inline constexpr u32 CRCR_CYCLE = 1 << 0, CRCR_STOP = 1 << 1, CRCR_ABORT = 1 << 2, CRCR_RUNNING = 1 << 3;
// 5.4.8: PORTSC.
inline constexpr u32 PORT_CONNECTED = 1 << 0, PORT_ENABLED = 1 << 1, PORT_RESET = 1 << 4, PORT_LINK = 15 << 5,
                     PORT_POWER = 1 << 9, PORT_SPEED = 15 << 10, PORT_INDICATOR = 3 << 14, PORT_LINK_WRITE = 1 << 16,
                     PORT_CONNECT_CHANGE = 1 << 17, PORT_RESET_CHANGE = 1 << 21, PORT_LINK_CHANGE = 1 << 22,
                     PORT_CHANGES = 0x7F << 17, PORT_WAKE = 7 << 25;
inline constexpr u32 LINK_U0 = 0, LINK_U3 = 3, LINK_NO_DEVICE = 5, LINK_POLLING = 7, LINK_RESUME = 15;
// 5.5.2: interrupters.
inline constexpr u32 IMAN_PENDING = 1 << 0, IMAN_ENABLE = 1 << 1;
inline constexpr u64 ERDP_BUSY = 1 << 3;

// 6.4: transfer request blocks.
struct Trb {
    u64 parameter = 0;
    u32 status = 0, control = 0;
    u8 type() const { return control >> 10 & 63; }
    u32 length() const { return status & 0x1FFFF; }
    unsigned interrupter() const { return status >> 22; }
    bool cycle() const { return control & 1; }
    bool toggles() const { return control & 2; } // Of a link.
    bool on_short() const { return control & 1 << 2; }
    bool chained() const { return control & 1 << 4; }
    bool on_completion() const { return control & 1 << 5; }
    bool immediate() const { return control & 1 << 6; }
    unsigned slot() const { return control >> 24; }
    unsigned endpoint() const { return control >> 16 & 31; }
};
inline constexpr u64 trb_size = 16;
// 6.4.6
inline constexpr u8 TRB_NORMAL = 1, TRB_SETUP = 2, TRB_DATA = 3, TRB_STATUS = 4, TRB_LINK = 6, TRB_EVENT_DATA = 7,
                    TRB_NO_OP = 8, TRB_ENABLE_SLOT = 9, TRB_DISABLE_SLOT = 10, TRB_ADDRESS_DEVICE = 11,
                    TRB_CONFIGURE_ENDPOINT = 12, TRB_EVALUATE_CONTEXT = 13, TRB_RESET_ENDPOINT = 14,
                    TRB_STOP_ENDPOINT = 15, TRB_SET_DEQUEUE = 16, TRB_RESET_DEVICE = 17, TRB_NO_OP_COMMAND = 23,
                    TRB_TRANSFER_EVENT = 32, TRB_COMMAND_COMPLETION = 33, TRB_PORT_STATUS_CHANGE = 34;
// 6.4.5
enum class Code : u8 {
    success = 1,
    transaction_error = 4,
    trb_error = 5,
    stall = 6,
    no_slots = 9,
    slot_not_enabled = 11,
    endpoint_not_enabled = 12,
    short_packet = 13,
    parameter_error = 17,
    context_state_error = 19,
    command_ring_stopped = 24,
};

// 6.2: contexts, of 32 bytes each.
using Context = std::array<u32, 8>;
inline constexpr u64 context_size = 32;
enum class SlotState : u8 { enabled = 0, reset = 1, addressed = 2, configured = 3 };
enum class EndpointState : u8 { disabled = 0, running = 1, halted = 2, stopped = 3, error = 4 };
inline constexpr u8 ENDPOINT_CONTROL = 4, ENDPOINT_INTERRUPT_IN = 7;

} // namespace calque::devices::xhci
