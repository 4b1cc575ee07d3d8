// The 9P2000.L server of a shared folder (the protocol: 9P2000's manual pages, and diod's protocol.md for .L).
#pragma once

#include "base/log.h"
#include "devices/file_server.h"
#include "frontend/backends/block/io_pool.h"
#include "frontend/backends/plan9/message.h"
#include "frontend/backends/plan9/share.h"

#include <map>
#include <memory>

namespace calque::backends::plan9 {

// Messages are answered by a thread of its own, one after the other: a flush finds nothing under way.
class Server final : public devices::FileServer {
  public:
    Server(Log& log, std::unique_ptr<Share> share);
    ~Server() override = default; // What was submitted is answered first.

    void submit(std::vector<u8> message, std::size_t most, std::function<void(std::vector<u8>)> done) override;
    void close_all() override;

    // One message, on whatever thread; not while submit() is in use. For tests.
    std::vector<u8> handle(std::span<const u8> message, std::size_t most);

  private:
    static constexpr std::size_t most_fids = 65536, most_names = 16;
    static constexpr u32 least_size = 4096, largest_size = 1 << 20;

    struct Fid {
        NodePtr node;
        u32 uid = 0; // Who asks through it.
        std::shared_ptr<const UniqueFd> open;
        bool is_folder = false;
    };
    using Handler = int (Server::*)(Reader&, Writer&);
    struct Message {
        Type type;
        Handler handler;
    };
    static const Message* find(u8 type);

    // Each reads a question's fields and writes the answer's. 0, or a positive errno value.
    int version(Reader& in, Writer& out);
    int attach(Reader& in, Writer& out);
    int walk(Reader& in, Writer& out);
    int clunk(Reader& in, Writer& out);
    int remove(Reader& in, Writer& out);
    int flush(Reader& in, Writer& out);
    int open(Reader& in, Writer& out);
    int create(Reader& in, Writer& out);
    int read(Reader& in, Writer& out);
    int write(Reader& in, Writer& out);
    int sync(Reader& in, Writer& out);
    int read_folder(Reader& in, Writer& out);
    int get_attributes(Reader& in, Writer& out);
    int set_attributes(Reader& in, Writer& out);
    int file_system(Reader& in, Writer& out);
    int read_link(Reader& in, Writer& out);
    int make_link(Reader& in, Writer& out);
    int make_folder(Reader& in, Writer& out);
    int make_special(Reader& in, Writer& out);
    int add_name(Reader& in, Writer& out);
    int rename(Reader& in, Writer& out);
    int remove_name(Reader& in, Writer& out);
    int lock(Reader& in, Writer& out);
    int who_locks(Reader& in, Writer& out);

    Fid* fid(u32 number);
    int put_qid(const Node& node, Writer& out);
    Qid qid_of(const struct stat& status);
    // What of a read's or a folder's bytes fits into the answer.
    std::size_t room(const Writer& out, u32 wanted) const;

    Log& log_;
    const std::unique_ptr<Share> share_;
    u32 message_size_ = least_size; // As agreed.
    std::size_t most_ = 0;          // Bytes of the answer at hand.
    std::map<u32, Fid> fids_;
    std::vector<u64> file_systems_; // Of the host, by their numbers here.
    IoPool thread_{1};              // Last: it runs the rest.
};

// A shared folder as -virtfs and -fsdev name it.
struct FolderOptions {
    std::string id, path, tag; // The tag is -virtfs's.
    std::string security_model = "none";
    bool read_only = false;
};
Result<std::unique_ptr<Server>> open_folder(Log& log, const FolderOptions& options);

} // namespace calque::backends::plan9
