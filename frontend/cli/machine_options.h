// The options that say what the machine is: processors, memory, clock, what firmware is told.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

Result<void> machine_option(Options& o, const std::string& text); // -machine
Result<void> dump_option(Options& o, const std::string& text);    // --dump
Result<void> cpu_option(Options& o, const std::string& text);     // -cpu
Result<void> smp_option(Options& o, const std::string& text);     // -smp
Result<void> memory_option(Options& o, const std::string& text);  // -m
Result<void> rtc_option(Options& o, const std::string& text);     // -rtc
Result<void> fw_cfg_option(Options& o, const std::string& text);  // -fw_cfg
Result<void> name_option(Options& o, const std::string& text);    // -name
Result<void> uuid_option(Options& o, const std::string& text);    // -uuid
Result<void> boot_option(Options& o, const std::string& text);    // -boot

} // namespace calque::cli
