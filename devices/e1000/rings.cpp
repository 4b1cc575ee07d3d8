// Descriptor rings of the 82540EM: chapter 3 of its manual.
#include "base/bits.h"
#include "base/byte_order.h"
#include "devices/e1000/e1000.h"
#include "devices/e1000/registers.h"
#include "devices/net/offload.h"

#include <algorithm>

namespace calque::devices {

using namespace e1000;

namespace {

constexpr u16 ETHERTYPE_VLAN = 0x8100;

} // namespace

// --- To the network

// From the head to the tail, once around at most.
void E1000::transmit() {
    std::lock_guard lock(mutex_);
    const u32 count = reg(TDLEN) / descriptor_size;
    if (!(reg(TCTL) & TCTL_EN) || count == 0 || reg(TDH) >= count || reg(TDT) >= count) return;
    const u64 base = reg(TDBAL) | u64{reg(TDBAH)} << 32;
    u32 causes = 0;
    for (u32 steps = 0; steps < count && reg(TDH) != reg(TDT); ++steps) {
        if (take_descriptor(base + u64{reg(TDH)} * descriptor_size)) causes |= ICR_TXDW;
        reg(TDH) = reg(TDH) + 1 == count ? 0 : reg(TDH) + 1;
    }
    if (reg(TDH) == reg(TDT)) causes |= ICR_TXQE;
    raise(causes);
}

// True when the descriptor asked to be reported and was.
bool E1000::take_descriptor(u64 address) {
    std::array<u8, descriptor_size> raw{};
    if (!dma_.dma_read(PhysicalAddress(address), raw)) return false;
    const u64 buffer = little64(raw, 0), fields = little64(raw, 8);
    const u32 command = static_cast<u32>(fields);
    if (!(command & TXD_DEXT))
        legacy_descriptor(buffer, fields);
    else if (bits(command, 20, 4) == TYPE_CONTEXT)
        context_descriptor(buffer, fields);
    else if (bits(command, 20, 4) == TYPE_DATA)
        data_descriptor(buffer, fields);
    if (!(command & TXD_RS)) return false;
    raw[12] |= TXD_DD;
    return dma_.dma_write(PhysicalAddress(address + 12), std::span(raw).subspan(12, 1));
}

void E1000::legacy_descriptor(u64 buffer, u64 fields) {
    const u32 command = static_cast<u32>(fields);
    append(buffer, command & 0xFFFF);
    if (command & TXD_IC_OR_TSE) {
        sending_.insert_checksum = true;
        sending_.checksum_start = static_cast<u8>(bits(fields, 40, 8));
        sending_.checksum_offset = static_cast<u8>(bits(fields, 16, 8));
    }
    if (command & TXD_EOP) {
        sending_.tag = command & TXD_VLE;
        sending_.vlan = static_cast<u16>(fields >> 48);
        send();
    }
}

void E1000::context_descriptor(u64 low, u64 fields) {
    context_.ip_start = static_cast<u8>(low);
    context_.ip_offset = static_cast<u8>(low >> 8);
    context_.tcp_start = static_cast<u8>(low >> 32);
    context_.tcp_offset = static_cast<u8>(low >> 40);
    context_.header = static_cast<u8>(bits(fields, 40, 8));
    context_.segment = static_cast<u16>(fields >> 48);
}

void E1000::data_descriptor(u64 buffer, u64 fields) {
    const u32 command = static_cast<u32>(fields);
    if (sending_.bytes.empty()) {
        sending_.options = static_cast<u8>(bits(fields, 40, 8));
        sending_.segments = command & TXD_IC_OR_TSE;
    }
    append(buffer, command & 0xFFFFF);
    if (command & TXD_EOP) {
        sending_.tag = command & TXD_VLE;
        sending_.vlan = static_cast<u16>(fields >> 48);
        send();
    }
}

void E1000::append(u64 address, u32 length) {
    const std::size_t before = sending_.bytes.size();
    if (sending_.spoiled || length > largest_frame - before) {
        sending_.spoiled = true;
        return;
    }
    sending_.bytes.resize(before + length);
    if (!dma_.dma_read(PhysicalAddress(address), std::span(sending_.bytes).subspan(before))) sending_.spoiled = true;
}

// A frame is whole. The checksums that the controller inserts are computed from its context: the IP header's, and the
// one above, whose place holds the pseudo header's sum.
void E1000::send() {
    Sending frame = std::move(sending_);
    sending_ = {};
    auto& bytes = frame.bytes;
    if (frame.spoiled || bytes.size() < least_frame) return;
    FrameOffload offload;
    if (frame.segments && context_.segment != 0 && find_tcp(bytes)) {
        offload.segments = find_tcp(bytes)->version6 ? FrameOffload::Segments::tcp6 : FrameOffload::Segments::tcp4;
        offload.segment_size = context_.segment;
    } else {
        if (frame.options & POPTS_IXSM) {
            const std::size_t header =
                context_.ip_start + 4u * (context_.ip_start < bytes.size() ? bytes[context_.ip_start] & 15 : 0);
            if (context_.ip_offset + 2u <= bytes.size() && header <= bytes.size() && header > context_.ip_start) {
                store_big(bytes, context_.ip_offset, 0, 2);
                const auto ip = std::span(bytes).subspan(context_.ip_start, header - context_.ip_start);
                store_big(bytes, context_.ip_offset, checksum_fold(checksum_add(0, ip)), 2);
            }
        }
        if (frame.options & POPTS_TXSM && context_.tcp_offset >= context_.tcp_start) {
            offload.needs_checksum = true;
            offload.checksum_start = context_.tcp_start;
            offload.checksum_offset = static_cast<u16>(context_.tcp_offset - context_.tcp_start);
        } else if (frame.insert_checksum && frame.checksum_offset >= frame.checksum_start) {
            offload.needs_checksum = true;
            offload.checksum_start = frame.checksum_start;
            offload.checksum_offset = static_cast<u16>(frame.checksum_offset - frame.checksum_start);
        }
        if (offload.needs_checksum && offload.checksum_start + offload.checksum_offset + 2u > bytes.size()) return;
    }
    if (frame.tag && (reg(CTRL) & CTRL_VME)) {
        if (offload.needs_checksum) offload.checksum_start = static_cast<u16>(offload.checksum_start + 4);
        const u8 tag[] = {ETHERTYPE_VLAN >> 8, ETHERTYPE_VLAN & 0xFF, static_cast<u8>(frame.vlan >> 8),
                          static_cast<u8>(frame.vlan)};
        bytes.insert(bytes.begin() + 12, std::begin(tag), std::end(tag));
    }
    if (bytes.size() > largest_frame) return;
    ++reg(GPTC);
    ++reg(TPT);
    if (!state_.link) return;
    backend_.send(bytes, offload);
}

// --- From the network

// RCTL.BSIZE and BSEX (13.4.22).
u32 E1000::buffer_size() {
    const u32 size = 2048u >> bits(reg(RCTL), 16, 2);
    return reg(RCTL) & RCTL_BSEX && size != 2048 ? 16 * size : size;
}

u32 E1000::free_descriptors() {
    const u32 count = reg(RDLEN) / descriptor_size;
    if (count == 0 || reg(RDH) >= count || reg(RDT) >= count) return 0;
    return (reg(RDT) + count - reg(RDH)) % count;
}

// 3.2.1: the filters, in the order of the manual.
bool E1000::accepts(std::span<const u8> frame) {
    const u32 rctl = reg(RCTL);
    if ((rctl & RCTL_VFE) && frame.size() >= 18 && (frame[12] << 8 | frame[13]) == ETHERTYPE_VLAN) {
        const u32 vlan = (frame[14] << 8 | frame[15]) & 0xFFF;
        if (!bit(reg(VFTA + vlan / 32 * 4), vlan % 32)) return false;
    }
    const auto to = frame.first(6);
    if (std::all_of(to.begin(), to.end(), [](u8 byte) { return byte == 0xFF; })) return rctl & (RCTL_BAM | RCTL_MPE);
    const bool group = to[0] & 1;
    if (rctl & (group ? RCTL_MPE : RCTL_UPE)) return true;
    const u32 low = little32(to, 0), high = little16(to, 4);
    for (u32 i = 0; i < 16; ++i)
        if ((reg(RA + 8 * i + 4) & RA_VALID) && reg(RA + 8 * i) == low && (reg(RA + 8 * i + 4) & 0xFFFF) == high)
            return true;
    if (!group) return false;
    static constexpr unsigned shifts[] = {4, 3, 2, 0}; // RCTL.MO picks which twelve bits of the address.
    const u32 hash = (high >> shifts[bits(rctl, 12, 2)]) & 0xFFF;
    return bit(reg(MTA + hash / 32 * 4), hash % 32);
}

bool E1000::receive(std::span<const u8> frame, const FrameOffload& offload) {
    std::lock_guard lock(mutex_);
    constexpr std::size_t least_on_the_wire = 60, longest_standard = 1518, crc = 4;
    std::vector<u8> bytes(frame.begin(), frame.end());
    if (!state_.link || !(reg(RCTL) & RCTL_EN) || bytes.size() < least_frame || !accepts(bytes)) return true;
    if (bytes.size() > (reg(RCTL) & RCTL_LPE ? std::size_t{16384} : longest_standard)) return true;
    if (offload.segments != FrameOffload::Segments::none) return true; // It was not to be sent here.
    if (offload.needs_checksum && !complete_checksum(bytes, offload)) return true;
    u16 vlan = 0;
    u8 status = RXD_STAT_DD;
    if ((reg(CTRL) & CTRL_VME) && bytes.size() >= 18 && (bytes[12] << 8 | bytes[13]) == ETHERTYPE_VLAN) {
        vlan = static_cast<u16>(bytes[14] << 8 | bytes[15]);
        bytes.erase(bytes.begin() + 12, bytes.begin() + 16);
        status |= RXD_STAT_VP;
    }
    bytes.resize(std::max(bytes.size(), least_on_the_wire));
    if (!(reg(RCTL) & RCTL_SECRC)) bytes.resize(bytes.size() + crc); // Nobody looks at its value.
    // A network that is believed has checked; else software does.
    status |= offload.checksum_good && find_tcp(bytes) ? RXD_STAT_IPCS | RXD_STAT_TCPCS : RXD_STAT_IXSM;
    const u32 size = buffer_size(), count = reg(RDLEN) / descriptor_size;
    if (free_descriptors() < (bytes.size() + size - 1) / size) {
        if (free_descriptors() == 0 && count != 0) raise(ICR_RXDMT0);
        return count == 0; // The driver will write the tail.
    }
    const u64 base = reg(RDBAL) | u64{reg(RDBAH)} << 32;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
        const u64 descriptor = base + u64{reg(RDH)} * descriptor_size;
        const auto part = std::span(bytes).subspan(at, std::min<std::size_t>(size, bytes.size() - at));
        const bool last = at + part.size() == bytes.size();
        std::array<u8, descriptor_size> raw{};
        if (!dma_.dma_read(PhysicalAddress(descriptor), raw)) return true;
        const u64 buffer = little64(raw, 0);
        const bool stored = buffer != 0 && dma_.dma_write(PhysicalAddress(buffer), part);
        raw[8] = static_cast<u8>(stored ? part.size() : 0);
        raw[9] = static_cast<u8>(stored ? part.size() >> 8 : 0);
        raw[12] = static_cast<u8>(status | (last ? RXD_STAT_EOP : 0));
        raw[13] = 0;
        raw[14] = static_cast<u8>(vlan);
        raw[15] = static_cast<u8>(vlan >> 8);
        dma_.dma_write(PhysicalAddress(descriptor + 8), std::span(raw).subspan(8));
        reg(RDH) = reg(RDH) + 1 == count ? 0 : reg(RDH) + 1;
    }
    ++reg(GPRC);
    ++reg(TPR);
    // 13.4.20: the minimum threshold is a half, a quarter or an eighth of the ring.
    const bool few = free_descriptors() <= count >> (1 + bits(reg(RCTL), 8, 2));
    raise(ICR_RXT0 | (few ? ICR_RXDMT0 : 0));
    return true;
}

} // namespace calque::devices
