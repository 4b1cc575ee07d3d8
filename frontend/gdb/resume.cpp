// Going on, and why the guest stands again.
#include "frontend/gdb/session.h"

#include <algorithm>

namespace calque::gdb {

using cpu::DebugStop;
using Reason = DebugStop::Reason;

namespace {
// gdb's numbers of signals.
constexpr unsigned sig_int = 2, sig_ill = 4, sig_trap = 5, sig_fpe = 8, sig_segv = 11;

unsigned signal_of(const DebugStop& stop) {
    if (stop.reason != Reason::exception) return sig_trap;
    switch (static_cast<cpu::Vector>(stop.vector)) {
    case cpu::Vector::divide_error:
    case cpu::Vector::x87_floating_point:
    case cpu::Vector::simd_floating_point: return sig_fpe;
    case cpu::Vector::invalid_opcode: return sig_ill;
    case cpu::Vector::debug:
    case cpu::Vector::breakpoint: return sig_trap;
    default: return sig_segv;
    }
}
} // namespace

// [ADDRESS]
void Session::resume_one(Fields fields, Action action) {
    if (const auto address = fields.number()) {
        cpus_[selected_]->state.rip() = *address;
        reported_[selected_].reset();
    }
    std::vector<Action> actions(cpus_.size(), Action::resume);
    actions[selected_] = action;
    resume(actions);
}

// ACTION[:THREAD][;...]: for each thread the first that fits.
void Session::resume_actions(Fields fields) {
    std::vector<std::optional<Action>> chosen(cpus_.size());
    while (!fields.empty()) {
        Fields one(fields.until(';'));
        const bool steps = one.rest().starts_with('s') || one.rest().starts_with('S');
        if (!steps && !one.rest().starts_with('c') && !one.rest().starts_with('C')) return fail(1);
        const Action action = steps ? Action::step : Action::resume;
        one.until(':');
        const bool all = one.empty() || one.rest() == "-1";
        const auto which = all ? std::optional(0u) : thread(one);
        if (!which) return fail(1);
        for (unsigned n = all ? 0 : *which; n < (all ? cpus_.size() : *which + 1); ++n)
            if (!chosen[n]) chosen[n] = action;
    }
    std::vector<Action> actions;
    for (const auto& action : chosen)
        actions.push_back(action.value_or(Action::held));
    resume(actions);
}

// A debugger takes its breakpoints out when the guest stops and puts them in again when it goes on, and steps over one
// without any: what was translated for them is kept meanwhile.
void Session::settle_sticky(bool steps) {
    const auto of_code = [](const Breakpoint& b) { return b.type < 2; };
    const bool code = std::any_of(breakpoints_.begin(), breakpoints_.end(), of_code);
    const bool data = !std::all_of(breakpoints_.begin(), breakpoints_.end(), of_code);
    if (!code && !steps) offsets_.reset();
    for (const Breakpoint& b : breakpoints_)
        if (of_code(b)) offsets_.set(b.address & page_offset_mask);
    single_instructions_ = data || (single_instructions_ && steps);
}

cpu::DebugStops Session::stops_of(unsigned cpu) const {
    cpu::DebugStops stops;
    for (const Breakpoint& b : breakpoints_)
        if (b.type < 2) stops.breakpoints.push_back(b.address);
    stops.offsets = offsets_;
    stops.single_instructions = single_instructions_;
    stops.vectors = vectors_;
    if (reported_[cpu] == cpus_[cpu]->linear_rip()) stops.pass = reported_[cpu];
    return stops;
}

void Session::resume(const std::vector<Action>& actions) {
    if (std::all_of(actions.begin(), actions.end(), [](Action a) { return a == Action::held; })) return fail(1);
    running_ = true;
    if (report_pending(actions)) return;
    settle_sticky(std::find(actions.begin(), actions.end(), Action::step) != actions.end());
    std::vector<mmu::Watchpoint> watchpoints;
    for (const Breakpoint& b : breakpoints_)
        if (b.type >= 2) watchpoints.push_back({b.address, b.length, b.type != 2, b.type != 3});
    std::vector<VcpuPlan> plans;
    for (unsigned n = 0; n < cpus_.size(); ++n) {
        VcpuPlan plan{actions[n] == Action::held, stops_of(n), watchpoints};
        plan.stops.step = actions[n] == Action::step;
        plans.push_back(std::move(plan));
        if (actions[n] != Action::held) reported_[n].reset();
    }
    control_.resume(std::move(plans));
}

// Several vCPUs may have stopped at once, and only one was reported. What has happened to another, and cannot happen
// again, is reported instead of going on.
bool Session::report_pending(const std::vector<Action>& actions) {
    bool any = false;
    for (unsigned n = 0; n < cpus_.size(); ++n) {
        DebugStop& stop = cpus_[n]->debug.stop;
        if (actions[n] == Action::held) continue;
        const bool watched = std::any_of(breakpoints_.begin(), breakpoints_.end(),
                                         [&](const Breakpoint& b) { return b.type >= 2 && b.address == stop.address; });
        if (stop.reason == Reason::exception || (stop.reason == Reason::watchpoint && watched))
            any = true;
        else
            stop = {};
    }
    if (any) stopped();
    return any;
}

std::string Session::describe(unsigned cpu, const DebugStop& stop) const {
    std::string text = fmt::format("T{:02x}thread:{:x};", signal_of(stop), cpu + 1);
    const auto at = [&](auto matches) {
        return std::find_if(breakpoints_.begin(), breakpoints_.end(),
                            [&](const Breakpoint& b) { return b.address == stop.address && matches(b.type); });
    };
    if (stop.reason == Reason::breakpoint && knows_breakpoint_reasons_) {
        const bool hardware = at([](unsigned type) { return type == 0; }) == breakpoints_.end();
        text += hardware ? "hwbreak:;" : "swbreak:;";
    } else if (stop.reason == Reason::watchpoint) {
        const auto found = at([&](unsigned type) { return type == 4 || type == (stop.write ? 2u : 3u); });
        constexpr const char* kinds[] = {"watch", "rwatch", "awatch"};
        if (found != breakpoints_.end()) text += fmt::format("{}:{:x};", kinds[found->type - 2], stop.address);
    }
    return text;
}

void Session::stopped() {
    if (!running_) return;
    running_ = false;
    last_stop_ = fmt::format("T{:02x}thread:{:x};", sig_int, selected_ + 1);
    unsigned found = 0;
    while (found < cpus_.size() && cpus_[found]->debug.stop.reason == Reason::none)
        ++found;
    if (found < cpus_.size()) {
        cpu::Cpu& cpu = *cpus_[found];
        const DebugStop stop = std::exchange(cpu.debug.stop, {});
        selected_ = found;
        last_stop_ = describe(found, stop);
        if (stop.reason == Reason::breakpoint) reported_[found] = stop.address;
        if (stop.reason == Reason::exception)
            control_.send(make_packet(
                "O"
                + to_hex(fmt::format("vCPU {}: exception {}, error code {:#x}, at {:#x} (CR2 {:#x}); at its handler\n",
                                     found, stop.vector, stop.error_code, stop.address, cpu.state.cr2))));
    }
    reply(last_stop_);
}

std::vector<VcpuPlan> Session::leave() {
    for (cpu::Cpu* cpu : cpus_)
        cpu->debug.stop = {};
    running_ = false;
    detached_ = true;
    return std::vector<VcpuPlan>(cpus_.size());
}

} // namespace calque::gdb
