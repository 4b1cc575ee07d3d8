#include "frontend/backends/plan9/server.h"

#include "base/byte_order.h"

#include <algorithm>
#include <cerrno>
#include <sys/resource.h>
#include <unistd.h>

namespace calque::backends::plan9 {

namespace {

constexpr u8 QID_FOLDER = 0x80, QID_LINK = 0x02;
constexpr std::string_view dialect = "9P2000.L";

// Each file that the guest knows is a descriptor of the host's.
void allow_many_descriptors() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace

Result<std::unique_ptr<Server>> open_folder(Log& log, const FolderOptions& options) {
    const auto model = parse_security_model(options.security_model);
    if (!model) return model.error();
    auto share = Share::open(options.path, *model, options.read_only);
    if (!share) return share.error();
    return std::make_unique<Server>(log, std::move(*share));
}

Server::Server(Log& log, std::unique_ptr<Share> share) : log_(log), share_(std::move(share)) {
    allow_many_descriptors();
}

void Server::submit(std::vector<u8> message, std::size_t most, std::function<void(std::vector<u8>)> done) {
    thread_.submit([this, message = std::move(message), most, done = std::move(done)] { done(handle(message, most)); });
}

void Server::close_all() {
    thread_.submit([this] { fids_.clear(); });
}

const Server::Message* Server::find(u8 type) {
    static constexpr Message messages[] = {
        {Type::version, &Server::version},
        {Type::attach, &Server::attach},
        {Type::walk, &Server::walk},
        {Type::clunk, &Server::clunk},
        {Type::remove, &Server::remove},
        {Type::flush, &Server::flush},
        {Type::lopen, &Server::open},
        {Type::lcreate, &Server::create},
        {Type::read, &Server::read},
        {Type::write, &Server::write},
        {Type::fsync, &Server::sync},
        {Type::readdir, &Server::read_folder},
        {Type::getattr, &Server::get_attributes},
        {Type::setattr, &Server::set_attributes},
        {Type::statfs, &Server::file_system},
        {Type::readlink, &Server::read_link},
        {Type::symlink, &Server::make_link},
        {Type::mkdir, &Server::make_folder},
        {Type::mknod, &Server::make_special},
        {Type::link, &Server::add_name},
        {Type::renameat, &Server::rename},
        {Type::unlinkat, &Server::remove_name},
        {Type::lock, &Server::lock},
        {Type::getlock, &Server::who_locks},
    };
    const auto found = std::find_if(std::begin(messages), std::end(messages),
                                    [&](const Message& m) { return static_cast<u8>(m.type) == type; });
    return found == std::end(messages) ? nullptr : found;
}

std::vector<u8> Server::handle(std::span<const u8> message, std::size_t most) {
    const auto fail = [](u16 tag, int error) {
        Writer out;
        out.u32_(static_cast<u32>(error));
        return std::move(out).finish(static_cast<u8>(Type::lerror) + 1, tag);
    };
    Reader head(message);
    const u32 size = head.u32_();
    const u8 type = head.u8_();
    const u16 tag = head.u16_();
    // A message may be in a buffer that is longer than it.
    if (!head.good() || size < header_size || size > message.size()) return fail(tag, EINVAL);
    const Message* const known = find(type);
    if (!known) { // Extended attributes and what 9P2000.L replaces.
        log_.trace(Channel::disk, "9p: message {} is not there", type);
        return fail(tag, EOPNOTSUPP);
    }
    most_ = std::min<std::size_t>(most, message_size_);
    Reader in(message.first(size).subspan(header_size));
    Writer out;
    int error = (this->*known->handler)(in, out);
    if (!error && !in.good()) error = EINVAL;
    if (!error && out.size() > most) error = EMSGSIZE;
    log_.trace(Channel::disk, "9p: message {} of {} bytes: error {}, answer of {} bytes", type, size, error,
               out.size());
    return error ? fail(tag, error) : std::move(out).finish(static_cast<u8>(type + 1), tag);
}

Server::Fid* Server::fid(u32 number) {
    const auto found = fids_.find(number);
    return found == fids_.end() ? nullptr : &found->second;
}

std::size_t Server::room(const Writer& out, u32 wanted) const {
    return most_ > out.size() ? std::min<std::size_t>(wanted, most_ - out.size()) : 0;
}

// Files of several file systems may have the same number on each: the system's own, in the highest byte, tells them
// apart.
Qid Server::qid_of(const struct stat& status) {
    auto system = std::find(file_systems_.begin(), file_systems_.end(), status.st_dev);
    if (system == file_systems_.end()) system = file_systems_.insert(system, status.st_dev);
    const u64 number = static_cast<u64>(system - file_systems_.begin());
    const u8 type = S_ISDIR(status.st_mode) ? QID_FOLDER : S_ISLNK(status.st_mode) ? QID_LINK : 0;
    const u32 version = static_cast<u32>(status.st_mtim.tv_sec ^ status.st_mtim.tv_nsec ^ status.st_size << 8);
    return {type, version, status.st_ino ^ number << 56};
}

int Server::put_qid(const Node& node, Writer& out) {
    struct stat status {};
    if (const int error = share_->status(node, status)) return error;
    out.qid(qid_of(status));
    return 0;
}

// --- The session

int Server::version(Reader& in, Writer& out) {
    const u32 size = in.u32_();
    const std::string wanted = in.string();
    if (!in.good() || size < least_size) return EINVAL;
    fids_.clear();
    message_size_ = std::min(size, largest_size);
    out.u32_(message_size_);
    out.string(wanted == dialect ? dialect : "unknown");
    return 0;
}

int Server::attach(Reader& in, Writer& out) {
    const u32 number = in.u32_();
    in.u32_(); // Of an authentication, which there is none of.
    in.string();
    in.string();
    const u32 uid = in.u32_();
    if (!in.good()) return EINVAL;
    if (fid(number)) return EBADF;
    if (fids_.size() >= most_fids) return EMFILE;
    fids_[number] = {share_->root(), uid, {}, true};
    return put_qid(*share_->root(), out);
}

// As far as the names lead; only a walk to the end makes the new fid (walk(5)).
int Server::walk(Reader& in, Writer& out) {
    const u32 from = in.u32_(), to = in.u32_();
    const u16 count = in.u16_();
    const Fid* const start = fid(from);
    if (!in.good() || !start || start->open || (to != from && fid(to))) return EBADF;
    if (count > most_names) return EINVAL;
    if (to != from && fids_.size() >= most_fids) return EMFILE;
    NodePtr at = start->node;
    Writer qids;
    u16 walked = 0;
    int error = 0;
    for (; walked < count && !error; ++walked) {
        const std::string name = in.string();
        NodePtr next;
        error = in.good() ? share_->look_up(at, name, next) : EINVAL;
        if (!error) error = put_qid(*next, qids);
        if (error) break;
        at = std::move(next);
    }
    if (error && walked == 0) return error;
    if (walked == count) fids_[to] = {at, start->uid, {}, false};
    out.u16_(walked);
    const auto bytes = std::move(qids).finish(0, 0);
    out.bytes(std::span(bytes).subspan(header_size));
    return 0;
}

int Server::clunk(Reader& in, Writer&) { return fids_.erase(in.u32_()) ? 0 : EBADF; }

// Its fid is gone in any case (remove(5)). Linux removes by name.
int Server::remove(Reader& in, Writer&) { return fids_.erase(in.u32_()) ? EOPNOTSUPP : EBADF; }

int Server::flush(Reader& in, Writer&) { return in.u16_(), 0; }

// There is one client, which keeps its own locks.
int Server::lock(Reader& in, Writer& out) {
    if (!fid(in.u32_())) return EBADF;
    out.u8_(0);
    return 0;
}

int Server::who_locks(Reader& in, Writer& out) {
    constexpr u8 unlocked = 2;
    if (!fid(in.u32_())) return EBADF;
    in.u8_();
    out.u8_(unlocked);
    out.u64_(in.u64_());
    out.u64_(in.u64_());
    out.u32_(in.u32_());
    out.string(in.string());
    return 0;
}

} // namespace calque::backends::plan9
