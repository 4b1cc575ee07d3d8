// Any file as -kernel: what it is taken for, and that loader, in a whole direct boot.

#include "tests/fuzz/firmware_guest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace calque::firmware;
    return fuzz::load_image(data, size, [](const LoadContext& context, const BootRequest& request) {
        return direct_boot(context.memory, context.platform, request);
    });
}
