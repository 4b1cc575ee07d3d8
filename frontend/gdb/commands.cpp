// What `monitor` does from the debugger: what the protocol has no packets for, and the monitor's own commands.
#include "frontend/gdb/session.h"

#include <algorithm>

namespace calque::gdb {

namespace {

constexpr std::string_view help_text =
    "gdb-catch [NAME...]     exceptions to stop at: de db nmi bp of br ud nm df ts np ss gp pf mf ac mc xm, a number,\n"
    "                        all, none; the guest then stands at the first instruction of the handler\n"
    "gdb-memory [linear|physical]   what addresses of memory mean from now on\n"
    "rdmsr NUMBER, wrmsr NUMBER VALUE   a model-specific register of the processor that is looked at (hexadecimal)\n"
    "and the monitor's own:\n";

constexpr std::pair<std::string_view, unsigned> exception_names[] = {
    {"de", 0},  {"db", 1},  {"nmi", 2}, {"bp", 3},  {"of", 4},  {"br", 5},  {"ud", 6},  {"nm", 7},  {"df", 8},
    {"ts", 10}, {"np", 11}, {"ss", 12}, {"gp", 13}, {"pf", 14}, {"mf", 16}, {"ac", 17}, {"mc", 18}, {"xm", 19}};

std::string_view next_word(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size());
    return word;
}

std::optional<u32> vectors_named(std::string_view name) {
    if (name == "all") return ~u32{0};
    if (name == "none") return 0;
    for (const auto& [known, vector] : exception_names)
        if (known == name) return u32{1} << vector;
    unsigned number = 0;
    for (const char c : name) {
        if (c < '0' || c > '9' || number > 31) return std::nullopt;
        number = number * 10 + static_cast<unsigned>(c - '0');
    }
    return number > 31 ? std::nullopt : std::optional(u32{1} << number);
}

// With or without 0x.
std::optional<u64> hexadecimal(std::string_view word) {
    if (word.starts_with("0x")) word.remove_prefix(2);
    Fields fields(word);
    const auto value = fields.number();
    return fields.empty() ? value : std::nullopt;
}

} // namespace

void Session::command(const std::string& line) {
    commanding_ = true;
    if (const auto output = own_command(line)) return command_done(*output);
    if (line == "help") control_.send(make_packet("O" + to_hex(help_text)));
    control_.run_command(line);
}

std::optional<std::string> Session::own_command(std::string_view line) {
    const std::string_view name = next_word(line);
    if (name == "gdb-catch") return catch_exceptions(line);
    if (name == "gdb-memory") return choose_memory(line);
    if (name == "rdmsr" || name == "wrmsr") return model_specific(line, name == "wrmsr");
    return std::nullopt;
}

std::string Session::catch_exceptions(std::string_view names) {
    u32 vectors = 0;
    bool given = false;
    for (auto name = next_word(names); !name.empty(); name = next_word(names)) {
        const auto more = vectors_named(name);
        if (!more)
            return fmt::format("there is no exception '{}'; there are names such as pf, numbers, all, none\n", name);
        vectors |= *more;
        given = true;
    }
    if (given) vectors_ = vectors;
    std::string text = "stops at:";
    for (unsigned vector = 0; vector < 32; ++vector) {
        if (!(vectors_ >> vector & 1)) continue;
        const auto named = std::find_if(std::begin(exception_names), std::end(exception_names),
                                        [&](const auto& entry) { return entry.second == vector; });
        text += named != std::end(exception_names) ? fmt::format(" {}", named->first) : fmt::format(" {}", vector);
    }
    return text + (vectors_ == 0 ? " no exception\n" : "\n");
}

std::string Session::choose_memory(std::string_view name) {
    const std::string_view word = next_word(name);
    if (word != "linear" && word != "physical" && !word.empty())
        return fmt::format("gdb-memory takes linear or physical, not '{}'\n", word);
    if (!word.empty()) physical_ = word == "physical";
    return fmt::format("addresses are {}\n", physical_ ? "physical" : "linear");
}

std::string Session::model_specific(std::string_view arguments, bool write) {
    cpu::Cpu& cpu = *cpus_[selected_];
    const auto index = hexadecimal(next_word(arguments));
    const auto value = write ? hexadecimal(next_word(arguments)) : 0;
    if (!index || *index >> 32 || !value || !next_word(arguments).empty())
        return write ? "wrmsr takes a number and a value, in hexadecimal\n" : "rdmsr takes a number, in hexadecimal\n";
    u64 read = *value;
    const bool done =
        write ? cpu.write_msr(static_cast<u32>(*index), *value) : cpu.read_msr(static_cast<u32>(*index), read);
    cpu.take_exception(); // The guest did not ask.
    if (!done)
        return fmt::format("the processor answers with #GP: MSR {:#x} is not there, or takes no such value\n", *index);
    return fmt::format("MSR {:#x} is {:#x}\n", *index, read);
}

} // namespace calque::gdb
