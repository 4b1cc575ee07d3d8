// What the guest's machine is: its name, processors, memory.
#include "frontend/qmp/commands.h"

#include <array>

namespace calque::qmp {

namespace {

constexpr std::string_view cpu_type_suffix = "-x86_64-cpu";

Json::Array none() { return {}; }

Answer query_name(Control& control, const Arguments&) {
    const std::string& name = control.machine.config().name;
    return name.empty() ? Object() : Object{{"name", name}};
}

Answer query_uuid(Control& control, const Arguments&) {
    const auto uuid = control.machine.config().identity.uuid.value_or(std::array<u8, 16>{});
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i)
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return Object{{"UUID", text}};
}

Answer query_kvm(Control&, const Arguments&) { return Object{{"enabled", false}, {"present", false}}; }

Answer query_target(Control&, const Arguments&) { return Object{{"arch", "x86_64"}}; }

Answer query_machines(Control&, const Arguments&) {
    constexpr unsigned most_cpus = 255;
    const auto machine = [](std::string_view name, unsigned cpus) {
        return Object{{"name", name},
                      {"cpu-max", cpus},
                      {"hotpluggable-cpus", false},
                      {"numa-mem-supported", false},
                      {"deprecated", false}};
    };
    Object pc = machine("pc", most_cpus);
    pc.add("is-default", true); // Not with its default CPU, max: libvirt would look that up among models of its own.
    return Json::Array{pc, machine("none", 1)};
}

Answer query_current_machine(Control&, const Arguments&) { return Object{{"wakeup-suspend-support", false}}; }

Answer query_cpu_definitions(Control&, const Arguments&) {
    Json::Array all;
    for (const std::string& name : cpu::CpuModel::names())
        all.push_back(Object{{"name", name},
                             {"typename", fmt::format("{}{}", name, cpu_type_suffix)},
                             {"migration-safe", true},
                             {"static", false},
                             {"unavailable-features", none()},
                             {"deprecated", false}});
    return all;
}

// As -cpu takes them, with each feature that there is on or off.
Answer query_cpu_model_expansion(Control&, const Arguments& arguments) {
    const Json& asked = *arguments.find("model");
    std::string text = *asked.find("name")->string();
    if (const Json* properties = asked.find("props"); properties && properties->object())
        for (const auto& [name, value] : *properties->object()) {
            const auto* on = value.get_if<bool>();
            if (!on) return Failure{ErrorClass::generic, fmt::format("the feature '{}' is true or false", name)};
            text += fmt::format(",{}={}", name, *on ? "on" : "off");
        }
    const auto model = cpu::CpuModel::parse(text);
    if (!model) return model.error();
    Object properties;
    for (std::size_t i = 0; i < cpu::feature_table.size(); ++i)
        properties.add(cpu::feature_table[i].name, model->features.has(static_cast<cpu::Feature>(i)));
    properties.add("vendor", model->vendor)
        .add("family", model->family)
        .add("model", model->model)
        .add("stepping", model->stepping)
        .add("model-id", model->brand);
    return Object{{"model", Object{{"name", model->name}, {"props", Json(properties)}}}};
}

Answer query_cpus_fast(Control& control, const Arguments&) {
    Json::Array all;
    for (std::size_t i = 0; i < control.machine.vcpus().size(); ++i)
        all.push_back(Object{{"cpu-index", i},
                             {"qom-path", fmt::format("/machine/unattached/device[{}]", i)},
                             {"thread-id", control.machine.vcpus()[i]->thread_id()},
                             {"props", Object{{"socket-id", 0}, {"core-id", i}, {"thread-id", 0}}},
                             {"target", "x86_64"}});
    return all;
}

Answer query_hotpluggable_cpus(Control&, const Arguments&) {
    return Failure{ErrorClass::generic, "processors cannot be plugged in while this machine runs"};
}

Answer query_memory_size_summary(Control& control, const Arguments&) {
    return Object{{"base-memory", control.machine.config().ram_bytes}, {"plugged-memory", 0}};
}

constexpr std::array commands{
    Command{"query-name", "", "NameInfo", query_name},
    Command{"query-uuid", "", "UuidInfo", query_uuid},
    Command{"query-kvm", "", "KvmInfo", query_kvm},
    Command{"query-target", "", "TargetInfo", query_target},
    Command{"query-machines", "", "[MachineInfo]", query_machines},
    Command{"query-current-machine", "", "CurrentMachineParams", query_current_machine},
    Command{"query-cpu-definitions", "", "[CpuDefinitionInfo]", query_cpu_definitions},
    Command{"query-cpu-model-expansion", "type: CpuModelExpansionType, model: CpuModelInfo", "CpuModelExpansionInfo",
            query_cpu_model_expansion},
    Command{"query-cpus-fast", "", "[CpuInfoFast]", query_cpus_fast},
    Command{"query-hotpluggable-cpus", "", "[any]", query_hotpluggable_cpus},
    Command{"query-memory-size-summary", "", "MemoryInfo", query_memory_size_summary},
    Command{"query-memory-devices", "", "[any]", [](Control&, const Arguments&) -> Answer { return none(); }},
    Command{"query-iothreads", "", "[any]", [](Control&, const Arguments&) -> Answer { return none(); }},
    Command{"query-block-jobs", "", "[any]", [](Control&, const Arguments&) -> Answer { return none(); }},
    Command{"query-tpm-models", "", "[str]", [](Control&, const Arguments&) -> Answer { return none(); }},
    Command{"query-tpm-types", "", "[str]", [](Control&, const Arguments&) -> Answer { return none(); }},
};

} // namespace

std::span<const Command> guest_commands() { return commands; }

} // namespace calque::qmp
