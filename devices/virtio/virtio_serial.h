// Consoles and serial ports, several behind one device (virtio 1.2, 5.3).
#pragma once

#include "devices/char_backend.h"
#include "devices/virtio/virtio_device.h"

#include <array>
#include <deque>

namespace calque::devices {

class VirtioSerial final : public VirtioDevice {
  public:
    static constexpr std::size_t config_size = 12;
    static constexpr unsigned most_ports = 31;
    static constexpr unsigned queue_count_of(unsigned ports) { return 2 * (ports + 1); }

    struct Port {
        CharBackend* backend = nullptr; // Not owned, outlives the device; null: nobody is there.
        std::string name;               // What the guest finds it by; may be empty.
        bool console = false;           // A terminal (hvc0), not a channel of bytes.
    };

    VirtioSerial(Log& log, DmaPort& memory, Worker& worker, unsigned ports, std::string name);
    ~VirtioSerial() override;

    // Before the machine runs. False: there is no such number, or it is taken.
    bool add_port(unsigned number, Port port);
    // Where the next port goes; serial ports leave number 0 to a console. `most_ports` when all are taken.
    unsigned free_number(bool console) const;

  private:
    // What the guest can see and change of a port.
    struct PortState {
        bool ready = false, guest_open = false, host_open = false;
        std::vector<u8> input; // From the host, for the guest.
        u64 output_done = 0;   // How much of the chain at the output queue's front the host has taken.
    };
    struct Slot {
        bool present = false;
        Port port;
        PortState state;
    };
    struct Message { // struct virtio_console_control, and a name.
        u32 port;
        u16 event, value;
        std::string text;
    };

    static unsigned input_queue(unsigned port) { return port == 0 ? 0 : 2 * (port + 1); }
    void send_input(unsigned port);
    void take_output(unsigned port, unsigned queue);
    bool write_out(Slot& slot, const VirtioChain& chain, u64 most);
    void send_control();
    void take_control(unsigned queue);
    void obey(u32 port, u16 event, u16 value);
    void tell(u32 port, u16 event, u16 value, std::string text = {});
    void set_host_open(unsigned port, bool open);
    bool listens(const Slot& slot) const;
    CharBackend::Receiver receiver(unsigned port);

    std::vector<u8> config() override;
    void config_written(u64 offset, u64 value, unsigned size) override;
    void stopped() override;
    void save(Archive& archive) override;

    const unsigned ports_;
    std::vector<Slot> slots_;
    std::deque<Message> messages_; // For the guest, until it has buffers.
};

} // namespace calque::devices
