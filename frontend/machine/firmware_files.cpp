#include "frontend/machine/firmware_files.h"

#include <array>
#include <filesystem>
#include <system_error>

namespace calque::machine {

namespace {

// Of the packages seabios, ipxe-qemu, ovmf.
constexpr std::array debian{"/usr/share/seabios", "/usr/lib/ipxe/qemu", "/usr/share/ovmf", "/usr/share/OVMF"};

std::vector<std::string> all_folders(std::span<const std::string> folders) {
    std::vector<std::string> all(folders.begin(), folders.end());
    all.insert(all.end(), debian.begin(), debian.end());
    return all;
}

} // namespace

std::string find_firmware(const std::string& name, std::span<const std::string> folders) {
    std::error_code ignored;
    if (std::filesystem::exists(name, ignored) || name.find('/') != std::string::npos) return name;
    for (const std::string& folder : all_folders(folders))
        if (const std::string path = folder + "/" + name; std::filesystem::exists(path, ignored)) return path;
    return {};
}

std::string firmware_places(std::span<const std::string> folders) {
    std::string text;
    for (const std::string& folder : all_folders(folders))
        text += (text.empty() ? "" : ", ") + folder;
    return text;
}

} // namespace calque::machine
