// Runs a fuzz target without libFuzzer: every seed of the corpus folders named on the command line, then inputs
// generated from a fixed seed, so that each run of the tests tries the same ones.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kGeneratedInputs = 2000;
constexpr size_t kLargestInput = 1024;

using Input = std::vector<uint8_t>;

std::vector<Input> seedsIn(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> paths;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        if (entry.is_regular_file()) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<Input> seeds;
    for (const auto& path : paths) {
        std::ifstream file(path, std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return seeds;
}

// Either bytes from nowhere, or a seed with some bytes changed.
Input generate(const std::vector<Input>& seeds, std::mt19937_64& random) {
    Input input;
    if (!seeds.empty() && random() % 2 == 0) {
        input = seeds[random() % seeds.size()];
        for (size_t change = random() % 8; change > 0 && !input.empty(); --change) {
            input[random() % input.size()] = static_cast<uint8_t>(random());
        }
        return input;
    }
    input.resize(random() % kLargestInput);
    for (uint8_t& byte : input)
        byte = static_cast<uint8_t>(random());
    return input;
}

void run(const Input& input) { LLVMFuzzerTestOneInput(input.data(), input.size()); }

} // namespace

int main(int argc, char** argv) {
    std::vector<Input> seeds;
    for (int i = 1; i < argc; ++i) {
        for (Input& seed : seedsIn(argv[i]))
            seeds.push_back(std::move(seed));
    }
    run({});
    for (const Input& seed : seeds)
        run(seed);
    std::mt19937_64 random(1);
    for (int i = 0; i < kGeneratedInputs; ++i)
        run(generate(seeds, random));
    std::printf("%zu seeds and %d generated inputs\n", seeds.size(), kGeneratedInputs);
    return 0;
}
