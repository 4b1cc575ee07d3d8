// A folder of the host's that a guest may use, and nothing besides it.
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "frontend/backends/unique_fd.h"

#include <memory>
#include <string>
#include <sys/stat.h>

namespace calque::backends::plan9 {

// How owners and modes that the guest sets are kept.
enum class SecurityModel : u8 {
    none,         // Files get the mode; owners are tried, and do not matter.
    passthrough,  // Owners and modes are the host's: the emulator runs as root.
    mapped_xattr, // In extended attributes (user.virtfs.*); on the host all belongs to who runs the emulator.
};
Result<SecurityModel> parse_security_model(const std::string& text);

// A file, folder or link below the shared folder, held by a descriptor that reaches just this one (O_PATH). It was
// found from its parent by one name without following links, so there is no way out of the folder: not by links, not by
// "..", which is the parent that it was found from, and not by somebody who changes things meanwhile.
struct Node {
    UniqueFd fd;
    std::shared_ptr<const Node> parent; // Null: the shared folder itself.
};
using NodePtr = std::shared_ptr<const Node>;

// Who asks, for what is created.
struct Owner {
    u32 uid = 0, gid = 0;
};

// Functions return 0 or a positive errno value, as Linux numbers them, which is how 9P2000.L does. Names are checked:
// one component, not "." or "..".
class Share {
  public:
    static Result<std::unique_ptr<Share>> open(const std::string& path, SecurityModel model, bool read_only);

    const NodePtr& root() const { return root_; }
    bool read_only() const { return read_only_; }

    int look_up(const NodePtr& folder, const std::string& name, NodePtr& found) const;
    // With the guest's owners and modes.
    int status(const Node& node, struct stat& status) const;
    // Opens a regular file or a folder; everything else of the host's (devices, pipes) is refused.
    int open_node(const Node& node, int flags, UniqueFd& opened) const;
    int create(const NodePtr& folder, const std::string& name, int flags, u32 mode, Owner owner, NodePtr& made,
               UniqueFd& opened) const;
    int make_folder(const NodePtr& folder, const std::string& name, u32 mode, Owner owner, NodePtr& made) const;
    int make_link(const NodePtr& folder, const std::string& name, const std::string& target, Owner owner,
                  NodePtr& made) const;
    int make_special(const NodePtr& folder, const std::string& name, u32 mode, u64 device, Owner owner,
                     NodePtr& made) const;
    int read_link(const Node& node, std::string& target) const;
    int add_name(const NodePtr& folder, const std::string& name, const Node& node) const;
    int remove(const NodePtr& folder, const std::string& name, bool is_folder) const;
    int rename(const NodePtr& from, const std::string& old_name, const NodePtr& to, const std::string& new_name) const;
    int set_mode(const Node& node, u32 mode) const;
    int set_owner(const Node& node, u32 uid, u32 gid) const; // ~0: unchanged.
    int set_size(const Node& node, u64 size) const;
    int set_times(const Node& node, const struct timespec (&times)[2]) const;

  private:
    Share(NodePtr root, SecurityModel model, bool read_only)
        : root_(std::move(root)), model_(model), read_only_(read_only) {}
    bool mapped() const { return model_ == SecurityModel::mapped_xattr; }
    // Of a file just made: its owner and mode.
    int settle(const NodePtr& folder, const std::string& name, u32 mode, u64 device, Owner owner, NodePtr& made) const;

    NodePtr root_;
    SecurityModel model_;
    bool read_only_;
};

} // namespace calque::backends::plan9
