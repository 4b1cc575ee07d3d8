// The commands of calque-img. Words, options and exit statuses are qemu-img's.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/open_image.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace calque::tools {

// What stands behind a command: options with their values, and names.
struct Arguments {
    std::map<char, std::string> options; // A flag has an empty value.
    std::vector<std::string> names;

    bool has(char option) const { return options.contains(option); }
    std::string value(char option) const { return has(option) ? options.at(option) : ""; }
};

// `flags` take no value, `valued` do. Long options that mean one of them may be given too.
Result<Arguments> parse_arguments(const std::vector<std::string>& words, std::string_view flags,
                                  std::string_view valued);
// "10G": a number with an optional b, k, M, G, T (powers of 1024).
Result<u64> parse_size(std::string_view text);
std::string human_size(u64 bytes);

Result<std::unique_ptr<backends::BlockImage>> open(const std::string& name, const std::string& format, bool read_only,
                                                   bool lock = true);
// Makes an empty image; `options` as of -o.
Result<void> create(const std::string& path, const std::string& format, const std::string& options, u64 size,
                    const std::string& backing, const std::string& backing_format);

// Each gives the exit status, or a sentence (status 1).
using Command = Result<int> (*)(const std::vector<std::string>& words);
Result<int> create_command(const std::vector<std::string>& words);
Result<int> info_command(const std::vector<std::string>& words);
Result<int> check_command(const std::vector<std::string>& words);
Result<int> convert_command(const std::vector<std::string>& words);
Result<int> snapshot_command(const std::vector<std::string>& words);
Result<int> resize_command(const std::vector<std::string>& words);

} // namespace calque::tools
