#include "devices/ata/atapi_cd.h"

#include "devices/ata/identity.h"

#include <algorithm>

namespace calque::devices {

using namespace ata;

AtapiCd::AtapiCd(Log& log, AtaCable& cable, BlockBackend& backend, std::string name, std::string serial)
    : AtaDrive(log, cable, backend, std::move(name)), serial_(std::move(serial)), drive_(backend, true, serial_) {
    hardware_reset();
}

// ATA/ATAPI-7 volume 1, table 20: a device with the PACKET feature set, not ready until it is asked.
void AtapiCd::set_signature() {
    regs_.count.now = regs_.lba_low.now = 1;
    regs_.lba_mid.now = 0x14;
    regs_.lba_high.now = 0xEB;
    regs_.status = 0;
}

void AtapiCd::reset_kind(bool hardware) {
    s_.receiving = false;
    s_.left = s_.sent = 0;
    if (!hardware) return;
    s_ = {};
    drive_.reset();
}

void AtapiCd::execute(u8 code) {
    switch (code) {
    case PACKET:
        s_.by_dma = regs_.features.now & 1;
        if (regs_.features.now & 2) return abort(); // Overlapped.
        s_.limit = static_cast<u16>(regs_.lba_high.now << 8 | regs_.lba_mid.now);
        s_.receiving = false;
        regs_.count.now = REASON_CD;
        make_buffer(packet_size);
        return ask(0, packet_size, false);
    case IDENTIFY_PACKET_DEVICE: return identify();
    case DEVICE_RESET: software_reset(); return;
    case IDENTIFY_DEVICE:
    case READ_SECTORS: // Both abort with the signature, by which software finds out what this is.
        set_signature();
        abort();
        return;
    case SET_FEATURES:
        if (regs_.features.now == 0x03) {
            if (regs_.count.now >= 0x20) s_.transfer_mode = regs_.count.now;
            return complete();
        }
        return regs_.features.now == 0x66 || regs_.features.now == 0xCC ? complete() : abort();
    case CHECK_POWER_MODE: regs_.count.now = 0xFF; return complete();
    case IDLE_IMMEDIATE:
    case STANDBY_IMMEDIATE:
    case SLEEP: return complete();
    default: return abort();
    }
}

// --- The end of a command

void AtapiCd::good() {
    regs_.count.now = REASON_CD | REASON_IO;
    s_.receiving = false;
    complete();
}

void AtapiCd::check(scsi::Sense sense) {
    log_.trace(Channel::disk, "{}: sense {:x}/{:02x}/{:02x}", name(), sense.key, sense.code, sense.qualifier);
    drive_.remember(sense);
    s_.receiving = false;
    s_.left = 0;
    regs_.count.now = REASON_CD | REASON_IO;
    fail(static_cast<u8>(sense.key << 4 | ERROR_ABRT));
}

// --- Data to the host

void AtapiCd::reply(std::vector<u8> bytes) {
    make_buffer(0);
    buffer() = std::move(bytes);
    s_.left = s_.sent = 0;
    s_.by_dma ? await_dma() : send();
}

// One DRQ block: as many bytes as are there and the host takes at a time; an even number, but for the last.
void AtapiCd::send() {
    u32 limit = s_.limit == 0 || s_.limit == 0xFFFF ? 0xFFFE : s_.limit;
    const u32 there = static_cast<u32>(buffer().size()) - s_.sent;
    if (limit < there && limit % 2) --limit;
    if (limit == 0) limit = 2;
    const u32 length = std::min(limit, there);
    regs_.lba_mid.now = static_cast<u8>(length);
    regs_.lba_high.now = static_cast<u8>(length >> 8);
    regs_.count.now = REASON_IO;
    offer(s_.sent, length, true);
}

void AtapiCd::block_read() {
    if (regs_.code != PACKET) return complete_quietly(); // IDENTIFY PACKET DEVICE.
    s_.sent = regs_.end;
    took();
}

// Part of the buffer has gone.
void AtapiCd::took() {
    if (s_.sent < buffer().size()) return s_.by_dma ? await_dma() : send();
    if (s_.left != 0) return fetch();
    good();
}

void AtapiCd::dma_step() {
    const u32 from = s_.sent;
    if (from >= buffer().size()) return good();
    if (!move_by_dma(from, buffer().size() - from, !s_.receiving)) return;
    s_.sent = static_cast<u32>(buffer().size());
    if (s_.receiving) return good();
    took();
}

void AtapiCd::fetch() {
    const u32 count = std::min<u32>(s_.left, buffer_limit / block);
    make_buffer(std::size_t{count} * block);
    BlockRequest request{.kind = BlockRequest::Kind::read, .offset = s_.next * block, .buffers = {buffer()}};
    submit(std::move(request), [this, count](BlockStatus status) {
        if (status != BlockStatus::ok) return check(sense_of(status, true));
        s_.next += count;
        s_.left -= count;
        s_.sent = 0;
        s_.by_dma ? await_dma() : send();
    });
}

void AtapiCd::block_written() { good(); }

// --- Packets

void AtapiCd::packet_received() {
    std::array<u8, 16> cdb{};
    std::copy_n(buffer().begin(), packet_size, cdb.begin());
    log_.trace(Channel::disk, "{}: packet {:02x} {:02x} {:02x}{:02x}{:02x}{:02x} {:02x}{:02x}{:02x}{:02x}", name(),
               cdb[0], cdb[1], cdb[2], cdb[3], cdb[4], cdb[5], cdb[6], cdb[7], cdb[8], cdb[9]);
    scsi::Step step = drive_.execute(cdb);
    switch (step.kind) {
    case scsi::Step::Kind::check: return check(step.sense);
    case scsi::Step::Kind::data: return reply(std::move(step.bytes));
    case scsi::Step::Kind::receive: return receive(static_cast<u32>(step.count));
    case scsi::Step::Kind::read:
        s_.next = step.first;
        s_.left = static_cast<u32>(step.count);
        return fetch();
    default: return good();
    }
}

void AtapiCd::receive(u32 length) {
    make_buffer(length);
    s_.receiving = true;
    s_.left = s_.sent = 0;
    if (s_.by_dma) return await_dma();
    regs_.count.now = 0; // Data, to the drive.
    regs_.lba_mid.now = static_cast<u8>(length);
    regs_.lba_high.now = static_cast<u8>(length >> 8);
    ask(0, length, true);
}

// IDENTIFY PACKET DEVICE, ATA/ATAPI-7 volume 1, 6.18.
void AtapiCd::identify() {
    std::array<u16, 256> w{};
    w[0] = 0x85C0; // CD-ROM, removable, 12-byte packets, DRQ within 50 us.
    const std::string backend_serial = backend_.serial();
    put_identify_text(w, 10, 10, backend_serial.empty() ? serial_ : backend_serial);
    put_identify_text(w, 23, 4, "1.0");
    put_identify_text(w, 27, 20, "CALQUE DVD-ROM");
    w[49] = 0x0F00;
    w[50] = 0x4000;
    w[53] = 0x0006;
    w[64] = 0x0003;
    w[65] = w[66] = w[67] = w[68] = 120;
    w[80] = 0x00F0;
    w[82] = 0x4210; // NOP, DEVICE RESET, PACKET.
    w[83] = 0x4000;
    w[84] = 0x4000;
    w[85] = 0x4210;
    w[87] = 0x4000;
    put_identify_modes(w, s_.transfer_mode);
    if (cable_.serial_ata()) w[76] = 0x0006; // 1.5 and 3 Gb/s.
    make_buffer(512);
    for (unsigned i = 0; i < 256; ++i) {
        buffer()[2 * i] = static_cast<u8>(w[i]);
        buffer()[2 * i + 1] = static_cast<u8>(w[i] >> 8);
    }
    offer(0, 512, true);
}

void AtapiCd::serialize_kind(Archive& archive) {
    drive_.serialize(archive);
    archive.field("transfer_mode", s_.transfer_mode);
    archive.field("limit", s_.limit);
    archive.field("packet_by_dma", s_.by_dma);
    archive.field("receiving", s_.receiving);
    archive.field("next", s_.next);
    archive.field("left", s_.left);
    archive.field("sent", s_.sent);
    if (!archive.loading() || !archive.ok()) return;
    const bool short_packet = regs_.transfer == Transfer::from_host && regs_.code == PACKET
                              && (regs_.count.now & REASON_CD) && buffer().size() < 12;
    if (s_.sent > buffer().size() || s_.next > u64{1} << 32 || short_packet)
        return archive.fail("a command that no guest can have given");
}

} // namespace calque::devices
