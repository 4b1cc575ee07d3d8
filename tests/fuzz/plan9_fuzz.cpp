// The server of shared folders: messages of anybody's making. What lies beside the folder must stay as it is.
#include "frontend/backends/plan9/server.h"
#include "tests/fuzz/device_driver.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace calque;
using namespace calque::backends::plan9;

namespace {

// A folder with something in it, and a file beside it; made anew for each input.
class Place {
  public:
    Place() {
        std::string pattern = std::filesystem::temp_directory_path() / "calque-fuzz-XXXXXX";
        if (!::mkdtemp(pattern.data())) std::abort();
        path_ = pattern;
        std::ofstream(path_ / "secret") << "secret";
        std::filesystem::create_directories(path_ / "shared" / "a");
        std::ofstream(path_ / "shared" / "b") << "contents";
        std::filesystem::create_symlink("../secret", path_ / "shared" / "c");
    }
    ~Place() {
        std::string secret;
        std::ifstream(path_ / "secret") >> secret;
        std::size_t beside = 0;
        for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_))
            ++beside;
        if (secret != "secret" || beside != 2) std::abort();
        std::error_code ignored;
        std::filesystem::permissions(path_ / "shared", std::filesystem::perms::all, ignored);
        std::filesystem::remove_all(path_, ignored);
    }
    std::string shared() const { return path_ / "shared"; }

  private:
    std::filesystem::path path_;
};

// Mostly messages of a right form about few fids and names, so that they come to something.
std::vector<u8> make(fuzz::Input& input) {
    static constexpr u8 types[] = {8,  12, 14, 16, 18,  22,  24,  26,  40,  50,  52,  54,
                                   70, 72, 74, 76, 100, 104, 108, 110, 116, 118, 120, 122};
    static constexpr const char* names[] = {"a", "b", "c", "..", ".", "", "a/b", "../secret", "new"};
    const u8 type = types[input.byte() % std::size(types)];
    Writer out;
    for (unsigned i = input.byte() % 8; i != 0; --i) {
        switch (input.byte() % 5) {
        case 0:
        case 1: out.u32_(input.byte() % 4); break;
        case 2: out.string(names[input.byte() % std::size(names)]); break;
        case 3: out.u16_(input.byte() % 4); break;
        default: out.bytes(input.bytes(input.byte() % 32));
        }
    }
    return std::move(out).finish(type, 1);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    const Place place;
    auto server = open_folder(log, {"id", place.shared(), "tag", size % 2 ? "none" : "mapped-xattr", false});
    if (!server) return 0; // The file system has no attributes.
    fuzz::Input input(data, size);
    Writer hello, attach;
    hello.u32_(8192);
    hello.string("9P2000.L");
    static_cast<void>((*server)->handle(std::move(hello).finish(100, 1), 8192));
    for (const u32 field : {0u, ~0u, 0u, 0u}) // The third: two empty strings.
        attach.u32_(field);
    static_cast<void>((*server)->handle(std::move(attach).finish(104, 1), 8192));
    for (unsigned i = 0; i < 64 && !input.empty(); ++i) {
        const auto message = input.byte() % 16 ? make(input) : input.bytes(input.byte());
        const auto answer = (*server)->handle(message, 8192);
        if (answer.size() > 8192 || answer.size() < header_size) std::abort();
    }
    return 0;
}
