// Opening disk images by name: formats, backing files, protocols.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "frontend/backends/block/cache_mode.h"
#include "frontend/backends/block/image.h"

#include <functional>
#include <memory>
#include <string>

namespace calque::backends {

struct ImageOptions {
    // A path ("file:" may stand before it), "nbd:host:port[:exportname=E]", "nbd:unix:PATH[:exportname=E]", an
    // nbd:// or nbd+unix:// URI, or "json:{...}" with "driver", "file" and so on as -blockdev takes them.
    std::string name;
    std::string format; // "raw" or "qcow2"; empty: told by the contents.
    bool read_only = false;
    // Changes go to a temporary file that is gone at the end (-snapshot); the image itself is only read.
    bool temporary = false;
    CacheMode cache{};
    bool lock = true;
    // Takes sentences: warnings now, damage found later (then on any thread).
    std::function<void(const std::string&)> report;
};

// Opens an image with all its backing files. A raw image whose format had to be guessed refuses writes that would make
// its start look like another format: with those a guest could have a file of the host read the next time.
// Errors are sentences: what cannot be opened, formats and features that there are not, damaged images, chains that
// loop or are too long.
Result<std::unique_ptr<BlockImage>> open_image(const ImageOptions& options);
// The same by a tree of options, as -blockdev has it; its "read-only" counts besides that of `options`, whose name and
// format are not used. Dots in a member's name stand for nesting.
Result<std::unique_ptr<BlockImage>> open_image_node(const Json& node, const ImageOptions& options);

// What the first bytes of a file (2048 where it has them) say: "qcow2", "raw" where nothing is known, or the name of a
// format that this program does not have ("vmdk").
std::string probe_format(std::span<const u8> start);

} // namespace calque::backends
