// Memory to files, and the human monitor's commands.
#include "frontend/machine/inspect.h"
#include "frontend/monitor/commands.h"
#include "frontend/qmp/commands.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace calque::qmp {

namespace {

struct Save {
    machine::AddressSpace space;
    std::size_t cpu;
    u64 address, size;
    std::string file;
};

Result<void> write_memory(machine::Machine& machine, const Save& save) {
    constexpr u64 chunk = 1 << 20;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(save.file.c_str(), "wbe"), std::fclose);
    if (!file) return error("'{}' cannot be written ({})", save.file, std::strerror(errno));
    std::vector<u8> bytes;
    for (u64 done = 0; done < save.size; done += bytes.size()) {
        bytes.resize(std::min(chunk, save.size - done));
        const u64 at = save.address + done;
        const std::size_t there =
            machine::peek(machine.vcpus()[save.cpu]->cpu(), machine.memory().map(), save.space, at, bytes);
        if (there != bytes.size()) return error("there is no memory at {:#x}", at + there);
        if (std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
            return error("'{}' could not be written to its end ({})", save.file, std::strerror(errno));
    }
    return std::fflush(file.get()) == 0 ? Result<void>() : error("'{}' could not be written to its end", save.file);
}

// Between two instructions of the guest.
Answer save_memory(Control& control, const Arguments& arguments, machine::AddressSpace space) {
    const auto cpu = static_cast<u64>(arguments.number("cpu-index", 0));
    if (cpu >= control.machine.vcpus().size())
        return Failure{ErrorClass::generic, fmt::format("there is no processor {}", cpu)};
    const Save save{space, cpu, static_cast<u64>(arguments.number("val")), static_cast<u64>(arguments.number("size")),
                    arguments.text("filename")};
    const auto outcome = std::make_shared<Result<void>>();
    control.machine.request_stopped(
        [&machine = control.machine, save, outcome] { *outcome = write_memory(machine, save); });
    return Answer::Later([outcome]() -> Answer::Done {
        if (!*outcome) return Failure{ErrorClass::generic, outcome->error().message};
        return Json(Json::Object{});
    });
}

Answer memsave(Control& control, const Arguments& arguments) {
    return save_memory(control, arguments, machine::AddressSpace::linear);
}

Answer pmemsave(Control& control, const Arguments& arguments) {
    return save_memory(control, arguments, machine::AddressSpace::physical);
}

Answer human_monitor_command(Control& control, const Arguments& arguments) {
    const auto cpu = static_cast<u64>(arguments.number("cpu-index", 0));
    if (cpu >= control.machine.vcpus().size())
        return Failure{ErrorClass::generic, fmt::format("there is no processor {}", cpu)};
    struct Said {
        std::string text;
        bool all = false;
        std::function<void()> ready;
    };
    const auto said = std::make_shared<Said>();
    const auto done = [said] {
        said->all = true;
        if (said->ready) std::exchange(said->ready, {})();
    };
    // Lives until the command has been served.
    const auto commands = std::make_shared<monitor::Commands>(
        control.machine, monitor::Commands::Output{[said](std::string_view text) { said->text += text; }, done});
    commands->set_cpu(static_cast<unsigned>(cpu));
    commands->execute(arguments.text("command-line"));
    const auto take = [said, commands]() -> Answer::Done {
        std::string text;
        for (const char c : said->text)
            text += c == '\n' ? std::string("\r\n") : std::string(1, c);
        return Json(text);
    };
    return {Answer::Later(take), [said](std::function<void()> ready) {
                if (said->all) return ready();
                said->ready = std::move(ready);
            }};
}

constexpr std::array commands{
    Command{"memsave", "val: int, size: uint, filename: str, cpu-index?: uint", "", memsave},
    Command{"pmemsave", "val: int, size: uint, filename: str", "", pmemsave},
    Command{"human-monitor-command", "command-line: str, cpu-index?: uint", "str", human_monitor_command},
};

} // namespace

std::span<const Command> memory_commands() { return commands; }

} // namespace calque::qmp
