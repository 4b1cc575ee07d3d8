#include "frontend/machine/activity.h"

#include "frontend/backends/block/disk.h"
#include "frontend/backends/net/net_port.h"

#include <utility>

namespace calque::machine {

ActivityMeter::Counts ActivityMeter::count() const {
    Counts now;
    for (const auto& vcpu : machine_.vcpus()) {
        now.cpu_time += vcpu->cpu_time();
        now.instructions += vcpu->instructions().value_or(0);
        if (jit::Engine* const engine = vcpu->translator()) now.units += engine->cache_counters().units;
    }
    const auto held = machine_.hold_backends();
    for (const backends::Disk* disk : machine_.disks()) {
        now.reads += disk->counters().reads;
        now.writes += disk->counters().writes + disk->counters().discards;
    }
    for (const auto& [id, port] : machine_.networks()) {
        now.frames_in += port->frames_in();
        now.frames_out += port->frames_out();
    }
    return now;
}

Activity ActivityMeter::look(u64 nanoseconds) {
    const Counts now = count(), before = std::exchange(before_, now);
    const double time = static_cast<double>(nanoseconds);
    // A reset or a loaded machine begins anew.
    std::optional<double> instructions;
    if (machine_.vcpus().front()->instructions())
        instructions = now.instructions < before.instructions
                           ? 0
                           : static_cast<double>(now.instructions - before.instructions) * 1e9 / time;
    return {.processors = static_cast<double>(now.cpu_time - before.cpu_time) / time,
            .instructions = instructions,
            .translated = static_cast<double>(now.units - before.units) * 1e9 / time,
            .disk_read = now.reads != before.reads,
            .disk_written = now.writes != before.writes,
            .network_in = now.frames_in != before.frames_in,
            .network_out = now.frames_out != before.frames_out};
}

} // namespace calque::machine
