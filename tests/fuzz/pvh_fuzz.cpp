#include "tests/fuzz/firmware_guest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    return calque::firmware::fuzz::load_image(data, size, calque::firmware::load_pvh);
}
