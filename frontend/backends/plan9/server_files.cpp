// 9P messages about files' contents, attributes and names.
#include "frontend/backends/plan9/server.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <limits>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace calque::backends::plan9 {

namespace {

// 9P2000.L has Linux's numbers, those of x86.
constexpr u32 L_ACCMODE = 3, L_EXCL = 0200, L_TRUNC = 01000, L_APPEND = 02000, L_DSYNC = 010000, L_DIRECTORY = 0200000,
              L_SYNC = 04000000, L_REMOVE_FOLDER = 0x200;

int host_flags(u32 flags) {
    int host = static_cast<int>(flags & L_ACCMODE);
    for (const auto& [ours, theirs] :
         {std::pair{L_EXCL, O_EXCL}, std::pair{L_TRUNC, O_TRUNC}, std::pair{L_APPEND, O_APPEND},
          std::pair{L_DSYNC, O_DSYNC}, std::pair{L_DIRECTORY, O_DIRECTORY}, std::pair{L_SYNC, O_SYNC}})
        if (flags & ours) host |= theirs;
    return host;
}

off_t offset_of(u64 offset) {
    return offset > static_cast<u64>(std::numeric_limits<off_t>::max()) ? -1 : static_cast<off_t>(offset);
}

// A name in a folder, as getdents64 gives it (getdents(2)).
struct Entry {
    u64 inode;
    u64 next; // Where to go on reading.
    u16 length;
    u8 type;
    std::string_view name;
};
constexpr std::size_t entry_name = 19;

} // namespace

int Server::open(Reader& in, Writer& out) {
    Fid* const file = fid(in.u32_());
    const u32 flags = in.u32_();
    if (!in.good() || !file || file->open) return EBADF;
    UniqueFd opened;
    if (const int error = share_->open_node(*file->node, host_flags(flags & ~L_EXCL), opened)) return error;
    struct stat status {};
    if (::fstat(opened.get(), &status) != 0) return errno;
    file->is_folder = S_ISDIR(status.st_mode);
    out.qid(qid_of(status));
    file->open = std::make_shared<const UniqueFd>(std::move(opened));
    out.u32_(0); // No unit of I/O of its own.
    return 0;
}

int Server::create(Reader& in, Writer& out) {
    Fid* const folder = fid(in.u32_());
    const std::string name = in.string();
    const u32 flags = in.u32_(), mode = in.u32_(), gid = in.u32_();
    if (!in.good() || !folder || folder->open) return EBADF;
    NodePtr made;
    UniqueFd opened;
    const Owner owner{folder->uid, gid};
    if (const int error = share_->create(folder->node, name, host_flags(flags), mode, owner, made, opened))
        return error;
    if (const int error = put_qid(*made, out)) return error;
    folder->node = std::move(made);
    folder->open = std::make_shared<const UniqueFd>(std::move(opened));
    folder->is_folder = false;
    out.u32_(0);
    return 0;
}

int Server::read(Reader& in, Writer& out) {
    const Fid* const file = fid(in.u32_());
    const u64 offset = in.u64_();
    const u32 count = in.u32_();
    if (!in.good() || !file || !file->open || file->is_folder) return EBADF;
    const std::size_t at = out.size();
    out.u32_(0);
    const auto data = out.space(room(out, count));
    std::size_t have = 0;
    while (have < data.size()) {
        const off_t from = offset_of(offset + have);
        const ssize_t got = from < 0 ? 0 : ::pread(file->open->get(), data.data() + have, data.size() - have, from);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) break;
        have += static_cast<std::size_t>(got);
    }
    out.shrink(at + 4 + have);
    out.set_u32(at, static_cast<u32>(have));
    return 0;
}

int Server::write(Reader& in, Writer& out) {
    const Fid* const file = fid(in.u32_());
    const u64 offset = in.u64_();
    const u32 count = in.u32_();
    const auto data = in.bytes(count);
    if (!in.good() || !file || !file->open || file->is_folder) return EBADF;
    std::size_t done = 0;
    while (done < data.size()) {
        const off_t to = offset_of(offset + done);
        if (to < 0) return EFBIG;
        const ssize_t put = ::pwrite(file->open->get(), data.data() + done, data.size() - done, to);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && done == 0) return errno;
        if (put <= 0) break; // The rest's error comes with the next write.
        done += static_cast<std::size_t>(put);
    }
    out.u32_(static_cast<u32>(done));
    return 0;
}

int Server::sync(Reader& in, Writer&) {
    const Fid* const file = fid(in.u32_());
    const u32 data_only = in.u32_();
    if (!file || !file->open) return EBADF;
    const int result = data_only ? ::fdatasync(file->open->get()) : ::fsync(file->open->get());
    return result == 0 ? 0 : errno;
}

// Whole entries, as many as fit; the guest goes on from the last one's offset.
int Server::read_folder(Reader& in, Writer& out) {
    const Fid* const folder = fid(in.u32_());
    const u64 offset = in.u64_();
    const u32 count = in.u32_();
    if (!in.good() || !folder || !folder->open || !folder->is_folder) return EBADF;
    if (::lseek(folder->open->get(), static_cast<off_t>(offset), SEEK_SET) < 0) return errno;
    const std::size_t at = out.size();
    out.u32_(0);
    const std::size_t most = out.size() + room(out, count);
    alignas(8) u8 buffer[16384];
    struct stat own {};
    if (const int error = share_->status(*folder->node, own)) return error;
    for (bool full = false; !full;) {
        const long got = ::syscall(SYS_getdents64, folder->open->get(), buffer, sizeof buffer);
        if (got < 0) return errno;
        if (got == 0) break;
        for (long where = 0; where < got && !full;) {
            const u8* const raw = buffer + where;
            const auto field = [&](std::size_t first, std::size_t size) {
                u64 value = 0;
                for (std::size_t i = 0; i < size; ++i)
                    value |= u64{raw[first + i]} << (8 * i);
                return value;
            };
            Entry entry{field(0, 8), field(8, 8), static_cast<u16>(field(16, 2)), raw[18], {}};
            entry.name = reinterpret_cast<const char*>(raw + entry_name);
            where += entry.length;
            full = out.size() + qid_size + 8 + 1 + 2 + entry.name.size() > most;
            if (full) break;
            struct stat status = own; // Of the same file system, as far as a folder can tell.
            // What lies above the shared folder is not told of.
            if (entry.name != "..") status.st_ino = entry.inode;
            status.st_mode = entry.type == DT_DIR ? S_IFDIR : entry.type == DT_LNK ? S_IFLNK : S_IFREG;
            Qid qid = qid_of(status);
            qid.version = 0;
            out.qid(qid);
            out.u64_(entry.next);
            out.u8_(entry.type == DT_REG ? u8{DT_UNKNOWN} : entry.type); // It may be mapped to something else.
            out.string(entry.name);
        }
    }
    out.set_u32(at, static_cast<u32>(out.size() - at - 4));
    return 0;
}

// --- Attributes

int Server::get_attributes(Reader& in, Writer& out) {
    constexpr u64 basic = 0x7FF; // All of stat(2); no time of birth, generation, data version.
    const Fid* const file = fid(in.u32_());
    in.u64_();
    if (!in.good() || !file) return EBADF;
    struct stat status {};
    if (const int error = share_->status(*file->node, status)) return error;
    out.u64_(basic);
    out.qid(qid_of(status));
    out.u32_(status.st_mode);
    out.u32_(status.st_uid);
    out.u32_(status.st_gid);
    for (const u64 value :
         {static_cast<u64>(status.st_nlink), static_cast<u64>(status.st_rdev), static_cast<u64>(status.st_size),
          static_cast<u64>(status.st_blksize), static_cast<u64>(status.st_blocks)})
        out.u64_(value);
    for (const timespec& time : {status.st_atim, status.st_mtim, status.st_ctim, timespec{}}) {
        out.u64_(static_cast<u64>(time.tv_sec));
        out.u64_(static_cast<u64>(time.tv_nsec));
    }
    out.u64_(0);
    out.u64_(0);
    return 0;
}

int Server::set_attributes(Reader& in, Writer&) {
    constexpr u32 MODE = 1, UID = 2, GID = 4, SIZE = 8, ATIME = 0x10, MTIME = 0x20, ATIME_SET = 0x80, MTIME_SET = 0x100;
    const Fid* const file = fid(in.u32_());
    const u32 valid = in.u32_(), mode = in.u32_(), uid = in.u32_(), gid = in.u32_();
    const u64 size = in.u64_();
    timespec times[2]{};
    for (timespec& time : times) {
        time.tv_sec = static_cast<time_t>(in.u64_());
        time.tv_nsec = static_cast<long>(in.u64_());
    }
    if (!in.good() || !file) return EBADF;
    const Node& node = *file->node;
    if (valid & (UID | GID))
        if (const int error = share_->set_owner(node, valid & UID ? uid : ~0u, valid & GID ? gid : ~0u)) return error;
    if (valid & MODE)
        if (const int error = share_->set_mode(node, mode)) return error;
    if (valid & SIZE)
        if (const int error = share_->set_size(node, size)) return error;
    if (!(valid & (ATIME | MTIME))) return 0;
    const auto choose = [&](timespec& time, u32 change, u32 given) {
        if (!(valid & change))
            time.tv_nsec = UTIME_OMIT;
        else if (!(valid & given))
            time.tv_nsec = UTIME_NOW;
        else if (time.tv_nsec < 0 || time.tv_nsec > 999'999'999)
            time.tv_nsec = 0;
    };
    choose(times[0], ATIME, ATIME_SET);
    choose(times[1], MTIME, MTIME_SET);
    return share_->set_times(node, times);
}

int Server::file_system(Reader& in, Writer& out) {
    const Fid* const file = fid(in.u32_());
    if (!file) return EBADF;
    struct statfs status {};
    if (::fstatfs(file->node->fd.get(), &status) != 0) return errno;
    out.u32_(static_cast<u32>(status.f_type));
    out.u32_(static_cast<u32>(status.f_bsize));
    for (const u64 value : {status.f_blocks, status.f_bfree, status.f_bavail, status.f_files, status.f_ffree})
        out.u64_(value);
    out.u64_(0);
    out.u32_(static_cast<u32>(status.f_namelen));
    return 0;
}

// --- Names

int Server::read_link(Reader& in, Writer& out) {
    const Fid* const file = fid(in.u32_());
    if (!file) return EBADF;
    std::string target;
    if (const int error = share_->read_link(*file->node, target)) return error;
    out.string(target);
    return 0;
}

int Server::make_link(Reader& in, Writer& out) {
    const Fid* const folder = fid(in.u32_());
    const std::string name = in.string(), target = in.string();
    const u32 gid = in.u32_();
    if (!in.good() || !folder) return EBADF;
    NodePtr made;
    if (const int error = share_->make_link(folder->node, name, target, {folder->uid, gid}, made)) return error;
    return put_qid(*made, out);
}

int Server::make_folder(Reader& in, Writer& out) {
    const Fid* const folder = fid(in.u32_());
    const std::string name = in.string();
    const u32 mode = in.u32_(), gid = in.u32_();
    if (!in.good() || !folder) return EBADF;
    NodePtr made;
    if (const int error = share_->make_folder(folder->node, name, mode, {folder->uid, gid}, made)) return error;
    return put_qid(*made, out);
}

int Server::make_special(Reader& in, Writer& out) {
    const Fid* const folder = fid(in.u32_());
    const std::string name = in.string();
    const u32 mode = in.u32_(), major = in.u32_(), minor = in.u32_(), gid = in.u32_();
    if (!in.good() || !folder) return EBADF;
    const u64 device = (minor & 0xFF) | u64{major & 0xFFF} << 8 | u64{minor & 0xFFF00} << 12;
    NodePtr made;
    if (const int error = share_->make_special(folder->node, name, mode, device, {folder->uid, gid}, made))
        return error;
    return put_qid(*made, out);
}

int Server::add_name(Reader& in, Writer&) {
    const Fid* const folder = fid(in.u32_());
    const Fid* const file = fid(in.u32_());
    const std::string name = in.string();
    if (!in.good() || !folder || !file) return EBADF;
    return share_->add_name(folder->node, name, *file->node);
}

int Server::rename(Reader& in, Writer&) {
    const Fid* const from = fid(in.u32_());
    const std::string old_name = in.string();
    const Fid* const to = fid(in.u32_());
    const std::string new_name = in.string();
    if (!in.good() || !from || !to) return EBADF;
    return share_->rename(from->node, old_name, to->node, new_name);
}

int Server::remove_name(Reader& in, Writer&) {
    const Fid* const folder = fid(in.u32_());
    const std::string name = in.string();
    const u32 flags = in.u32_();
    if (!in.good() || !folder) return EBADF;
    return share_->remove(folder->node, name, flags & L_REMOVE_FOLDER);
}

} // namespace calque::backends::plan9
