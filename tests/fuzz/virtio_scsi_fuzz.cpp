// A SCSI host with a disk and a CD, and its rings: memory that the driver fills with anything, answers late or never.
#include "base/byte_order.h"
#include "devices/scsi/mmc_drive.h"
#include "devices/scsi/scsi_disk.h"
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_scsi.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    test::FakeDisk disk(64), cd(64);
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"scsi0", true, true, ~0u, 0x010000}, virtio::Id::scsi,
                     VirtioScsi::config_size, 3, [&](DmaPort& dma) {
                         auto kind = std::make_unique<VirtioScsi>(m.log, dma, m.worker, VirtioScsiOptions{}, "scsi0");
                         kind->attach(0, 0, std::make_unique<ScsiDisk>(disk, "1"));
                         kind->attach(1, 0, std::make_unique<MmcDrive>(cd, false, "2"));
                         return kind;
                     });
    m.attach(device.function());
    u16 available = 0;
    // A request of a good shape with any command, behind the rings that are there.
    const auto command = [&](fuzz::Input& input) {
        const u64 ring = 0x8000, place = 0xC000 + 0x3000;
        const u16 out = static_cast<u16>(input.integer(2) & 0xFFF), in = static_cast<u16>(input.integer(2) & 0xFFF);
        std::vector<u8> header{1, static_cast<u8>(input.byte() & 1)};
        header.resize(19);
        const auto cdb = input.bytes(16);
        header.insert(header.end(), cdb.begin(), cdb.end());
        header.resize(51);
        m.ram.dma_write(PhysicalAddress(place), header);
        const auto descriptor = [&](unsigned n, u64 address, u32 length, u16 flags) {
            std::vector<u8> bytes(16);
            store_little(bytes, 0, address, 8);
            store_little(bytes, 8, length, 4);
            store_little(bytes, 12, flags, 2);
            store_little(bytes, 14, n + 1, 2);
            m.ram.dma_write(PhysicalAddress(ring + 16 * n), bytes);
        };
        descriptor(0, place, 51, 1);
        descriptor(1, 0x10000, out, 1);
        descriptor(2, place + 0x100, 108, 3);
        descriptor(3, 0x10000, in, 2);
        std::vector<u8> entry{0, 0};
        m.ram.dma_write(PhysicalAddress(ring + 0x1004 + 2 * (available % 256)), entry);
        ++available;
        store_little(entry, 0, available, 2);
        m.ram.dma_write(PhysicalAddress(ring + 0x1002), entry);
        m.memory.write(0xFE00'0000 + VirtioPci::notify_offset + 8, 2, 2);
        m.worker.run(4);
    };
    fuzz::drive_virtio(
        m, device, 3,
        [&](fuzz::Input& input) {
            const u8 what = input.byte();
            disk.failure = what % 8 ? BlockStatus::ok : static_cast<BlockStatus>(what >> 3 & 7 ? 1 : 2);
            if (what & 0x40) cd.change_medium(what & 0x20);
            if (what & 0x80) command(input);
            disk.settle(what & 15);
            cd.settle(what & 15);
        },
        data, size);
    return 0;
}
