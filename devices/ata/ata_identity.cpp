// IDENTIFY DEVICE, ATA/ATAPI-7 volume 1, 6.17.
#include "devices/ata/ata_disk.h"
#include "devices/ata/identity.h"

#include <algorithm>

namespace calque::devices {

std::array<u16, 256> AtaDisk::identity() const {
    std::array<u16, 256> w{};
    const u64 total = sectors();
    const u32 total_28 = static_cast<u32>(std::min<u64>(total, 0x0FFF'FFFF));
    const u32 total_chs = u32{s_.cylinders} * s_.heads * s_.sectors_per_track;
    w[0] = 0x0040; // Fixed.
    w[1] = static_cast<u16>(std::min<u64>(total / (16 * 63), 16383));
    w[3] = 16;
    w[6] = 63;
    const std::string backend_serial = backend_.serial();
    put_identify_text(w, 10, 10, backend_serial.empty() ? serial_ : backend_serial);
    put_identify_text(w, 23, 4, "1.0");
    put_identify_text(w, 27, 20, "CALQUE HARDDISK");
    w[47] = 0x8000 | 16; // READ MULTIPLE: at most 16 sectors.
    w[49] = 0x0F00;      // LBA, DMA, IORDY and a way to turn it off.
    w[50] = 0x4000;
    w[53] = 0x0007; // Words 54-58, 64-70 and 88 are valid.
    w[54] = s_.cylinders;
    w[55] = s_.heads;
    w[56] = s_.sectors_per_track;
    w[57] = static_cast<u16>(total_chs);
    w[58] = static_cast<u16>(total_chs >> 16);
    if (s_.multiple) w[59] = static_cast<u16>(0x0100 | s_.multiple);
    w[60] = static_cast<u16>(total_28);
    w[61] = static_cast<u16>(total_28 >> 16);
    w[64] = 0x0003; // PIO 3 and 4.
    w[65] = w[66] = w[67] = w[68] = 120;
    w[80] = 0x00F0;  // ATA-4 to ATA/ATAPI-7.
    w[82] = 0x7068;  // NOP, READ and WRITE BUFFER, look-ahead, write cache, power management,
    w[82] |= 0x0001; // SMART.
    w[83] = 0x7400;  // FLUSH CACHE (EXT), 48-bit addresses.
    w[84] = 0x4040;  // WRITE with FUA.
    w[85] = static_cast<u16>(0x7048 | (s_.write_cache ? 0x20 : 0) | (s_.smart ? 1 : 0));
    w[86] = 0x3400;
    w[87] = 0x4040;
    put_identify_modes(w, s_.transfer_mode);
    w[93] = static_cast<u16>(selected() ? 0x4B00 : 0x400B); // Passed diagnostics; 80-wire cable.
    w[93] |= 0x2000;
    if (cable_.serial_ata()) {
        w[75] = 31;      // Queue of 32.
        w[76] = 0x0106;  // Native command queueing; 1.5 and 3 Gb/s.
        w[84] |= 0x0020; // The general purpose log.
        w[87] |= 0x0020;
        w[93] = 0;
    }
    for (unsigned i = 0; i < 4; ++i)
        w[100 + i] = static_cast<u16>(total >> (16 * i));
    w[106] = 0x4000;
    if (backend_.discards()) {
        w[105] = 8;
        w[169] = 0x0001; // TRIM.
    }
    w[217] = 1; // Nothing rotates.
    return w;
}

} // namespace calque::devices
