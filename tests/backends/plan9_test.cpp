#include "frontend/backends/plan9/server.h"
#include "tests/backends/block_helpers.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <future>
#include <sys/stat.h>
#include <unistd.h>

namespace calque::backends::plan9 {
namespace {

using Bytes = std::vector<u8>;
constexpr u32 most = 65536;

// A guest that says just what the test says.
class Plan9Test : public testing::Test {
  protected:
    Plan9Test() {
        ::mkdir(path("shared").c_str(), 0755);
        ::mkdir(path("outside").c_str(), 0755);
        put("outside/secret", "secret");
        put("shared/file", "contents");
    }
    std::string path(const std::string& name) const { return folder_.file(name); }
    void put(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
    std::string get(const std::string& name) const {
        std::ifstream file(path(name));
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void serve(const std::string& model = "none", bool read_only = false) {
        auto opened = open_folder(log_, {"id", path("shared"), "tag", model, read_only});
        ASSERT_TRUE(opened) << opened.error().message;
        server_ = std::move(*opened);
        Writer hello;
        hello.u32_(most);
        hello.string("9P2000.L");
        ASSERT_EQ(ask(Type::version, std::move(hello)), 0);
        Writer attach;
        attach.u32_(0);
        attach.u32_(~0u);
        attach.string("");
        attach.string("");
        attach.u32_(0);
        ASSERT_EQ(ask(Type::attach, std::move(attach)), 0);
    }
    // The answer's error, or 0; its body is in answer_.
    int ask(Type type, Writer question) {
        const Bytes message = std::move(question).finish(static_cast<u8>(type), 7);
        const Bytes answer = server_->handle(message, most);
        Reader head(answer);
        EXPECT_EQ(head.u32_(), answer.size());
        const u8 got = head.u8_();
        EXPECT_EQ(head.u16_(), 7);
        answer_.assign(answer.begin() + header_size, answer.end());
        EXPECT_TRUE(got == 7 || got == static_cast<u8>(type) + 1);
        return got == 7 ? static_cast<int>(Reader(answer_).u32_()) : 0;
    }
    // From the root to a new fid. How many names were found, or -1 for an error, which is in error_.
    int walk(u32 to, const std::vector<std::string>& names, u32 from = 0) {
        Writer out;
        out.u32_(from);
        out.u32_(to);
        out.u16_(static_cast<u16>(names.size()));
        for (const auto& name : names)
            out.string(name);
        error_ = ask(Type::walk, std::move(out));
        return error_ ? -1 : Reader(answer_).u16_();
    }
    int open(u32 fid, u32 flags) {
        Writer out;
        out.u32_(fid);
        out.u32_(flags);
        return ask(Type::lopen, std::move(out));
    }
    int create(u32 fid, const std::string& name, u32 flags = 2, u32 mode = 0644) {
        Writer out;
        out.u32_(fid);
        out.string(name);
        out.u32_(flags);
        out.u32_(mode);
        out.u32_(0);
        return ask(Type::lcreate, std::move(out));
    }
    std::string read(u32 fid, u64 offset = 0, u32 count = most) {
        Writer out;
        out.u32_(fid);
        out.u64_(offset);
        out.u32_(count);
        if (const int error = ask(Type::read, std::move(out))) return "error " + std::to_string(error);
        return {answer_.begin() + 4, answer_.end()};
    }
    int write(u32 fid, const std::string& text, u64 offset = 0) {
        Writer out;
        out.u32_(fid);
        out.u64_(offset);
        out.u32_(static_cast<u32>(text.size()));
        out.bytes({reinterpret_cast<const u8*>(text.data()), text.size()});
        return ask(Type::write, std::move(out));
    }
    int clunk(u32 fid) {
        Writer out;
        out.u32_(fid);
        return ask(Type::clunk, std::move(out));
    }
    int link(u32 folder, const std::string& name, const std::string& target) {
        Writer out;
        out.u32_(folder);
        out.string(name);
        out.string(target);
        out.u32_(0);
        return ask(Type::symlink, std::move(out));
    }
    int named(Type type, u32 folder, const std::string& name, u32 a = 0, u32 b = 0) {
        Writer out;
        out.u32_(folder);
        out.string(name);
        out.u32_(a);
        out.u32_(b);
        return ask(type, std::move(out));
    }
    int rename(u32 from, const std::string& old_name, u32 to, const std::string& new_name) {
        Writer out;
        out.u32_(from);
        out.string(old_name);
        out.u32_(to);
        out.string(new_name);
        return ask(Type::renameat, std::move(out));
    }
    int set(u32 fid, u32 valid, u32 mode, u32 uid, u64 size) {
        Writer out;
        out.u32_(fid);
        out.u32_(valid);
        out.u32_(mode);
        out.u32_(uid);
        out.u32_(uid);
        out.u64_(size);
        for (unsigned i = 0; i < 4; ++i)
            out.u64_(0);
        return ask(Type::setattr, std::move(out));
    }
    struct Attributes {
        u32 mode, uid;
        u64 size;
    };
    Attributes attributes(u32 fid) {
        Writer out;
        out.u32_(fid);
        out.u64_(0x7FF);
        EXPECT_EQ(ask(Type::getattr, std::move(out)), 0);
        Reader in(answer_);
        in.u64_();
        in.bytes(qid_size);
        Attributes found{};
        found.mode = in.u32_();
        found.uid = in.u32_();
        in.u32_();
        in.u64_();
        in.u64_();
        found.size = in.u64_();
        return found;
    }
    std::vector<std::string> list(u32 fid, u32 count = most) {
        std::vector<std::string> names;
        for (u64 offset = 0;;) {
            Writer out;
            out.u32_(fid);
            out.u64_(offset);
            out.u32_(count);
            EXPECT_EQ(ask(Type::readdir, std::move(out)), 0);
            Reader in(answer_);
            const u32 size = in.u32_();
            EXPECT_LE(size, count);
            if (size == 0) break;
            for (u32 done = 0; done < size;) {
                in.bytes(qid_size);
                offset = in.u64_();
                in.u8_();
                names.push_back(in.string());
                done += static_cast<u32>(qid_size + 11 + names.back().size());
            }
        }
        std::sort(names.begin(), names.end());
        return names;
    }

    test::TemporaryFolder folder_;
    Log log_;
    std::unique_ptr<Server> server_;
    Bytes answer_;
    int error_ = 0;
};

TEST_F(Plan9Test, ReadsAndWritesFiles) {
    serve();
    ASSERT_EQ(walk(1, {"file"}), 1);
    ASSERT_EQ(open(1, 2), 0);
    EXPECT_EQ(read(1), "contents");
    EXPECT_EQ(read(1, 3, 4), "tent");
    EXPECT_EQ(read(1, 100), "");
    EXPECT_EQ(write(1, "CON"), 0);
    EXPECT_EQ(write(1, "!", 10), 0);
    EXPECT_EQ(get("shared/file"), std::string("CONtents\0\0!", 11));
    EXPECT_EQ(clunk(1), 0);
    EXPECT_EQ(read(1), "error " + std::to_string(EBADF));
    ASSERT_EQ(walk(1, {}), 0);
    ASSERT_EQ(create(1, "new", 2, 0640), 0);
    EXPECT_EQ(write(1, "fresh"), 0);
    EXPECT_EQ(get("shared/new"), "fresh");
    EXPECT_EQ(attributes(1).mode, S_IFREG | 0640u);
    EXPECT_EQ(set(1, 8, 0, 0, 2), 0);
    EXPECT_EQ(get("shared/new"), "fr");
    EXPECT_EQ(set(1, 1, 0600, 0, 0), 0);
    EXPECT_EQ(attributes(1).mode, S_IFREG | 0600u);
    walk(2, {});
    EXPECT_EQ(create(2, "file", 2 | 0200), EEXIST);
}

TEST_F(Plan9Test, FoldersNamesAndLinks) {
    serve();
    EXPECT_EQ(named(Type::mkdir, 0, "folder", 0755), 0);
    ASSERT_EQ(walk(1, {"folder"}), 1);
    for (int i = 0; i < 100; ++i)
        put("shared/folder/" + std::to_string(i), "");
    ASSERT_EQ(walk(2, {}, 1), 0);
    ASSERT_EQ(open(2, 0), 0);
    EXPECT_EQ(list(2).size(), 102u);
    EXPECT_EQ(list(2, 200).size(), 102u) << "a few at a time";
    EXPECT_EQ(rename(1, "7", 0, "seven"), 0);
    EXPECT_EQ(::access(path("shared/seven").c_str(), F_OK), 0);
    EXPECT_EQ(named(Type::unlinkat, 0, "seven"), 0);
    EXPECT_NE(::access(path("shared/seven").c_str(), F_OK), 0);
    EXPECT_EQ(named(Type::unlinkat, 0, "folder", 0x200), ENOTEMPTY);
    EXPECT_EQ(link(0, "link", "folder/8"), 0);
    ASSERT_EQ(walk(3, {"link"}), 1);
    Writer out;
    out.u32_(3);
    EXPECT_EQ(ask(Type::readlink, std::move(out)), 0);
    EXPECT_EQ(Reader(answer_).string(), "folder/8");
    Writer hard;
    ASSERT_EQ(walk(4, {"file"}), 1);
    hard.u32_(0);
    hard.u32_(4);
    hard.string("second");
    EXPECT_EQ(ask(Type::link, std::move(hard)), 0);
    EXPECT_EQ(get("shared/second"), "contents");
}

TEST_F(Plan9Test, NothingOutsideIsReached) {
    ASSERT_EQ(::symlink("../outside", path("shared/way").c_str()), 0);
    ASSERT_EQ(::symlink("../outside/secret", path("shared/leak").c_str()), 0);
    ASSERT_EQ(::symlink("/etc", path("shared/absolute").c_str()), 0);
    serve();
    // Upwards from the top is the top.
    ASSERT_EQ(walk(1, {"..", "..", "file"}), 3);
    EXPECT_EQ(walk(2, {"..", "outside"}), 1);
    // A link is a link, and leads nowhere.
    EXPECT_EQ(walk(2, {"way", "secret"}), 1);
    ASSERT_EQ(walk(2, {"leak"}), 1);
    EXPECT_EQ(open(2, 0), ELOOP);
    EXPECT_EQ(set(2, 8, 0, 0, 0), ELOOP);
    EXPECT_NE(set(2, 1, 0777, 0, 0), 0);
    ASSERT_EQ(walk(3, {"way"}), 1);
    EXPECT_NE(create(3, "planted"), 0);
    EXPECT_NE(named(Type::mkdir, 3, "planted", 0755), 0);
    EXPECT_NE(named(Type::unlinkat, 3, "secret"), 0);
    EXPECT_NE(rename(3, "secret", 0, "mine"), 0);
    walk(4, {});
    EXPECT_NE(create(4, "leak"), 0) << "not through a link that is there";
    // Names are one component.
    for (const char* name : {"../outside/secret", "..", ".", "", "way/secret", "/etc/passwd"}) {
        const bool stays = std::string_view(name) == ".." || std::string_view(name) == "."; // At the top.
        EXPECT_EQ(walk(5, {name}) == 1, stays) << name;
        clunk(5);
        EXPECT_NE(create(4, name), 0) << name;
        EXPECT_NE(named(Type::mkdir, 0, name, 0755), 0) << name;
        EXPECT_NE(named(Type::unlinkat, 0, name), 0) << name;
        EXPECT_NE(rename(0, "file", 0, name), 0) << name;
        EXPECT_NE(link(0, name, "x"), 0) << name;
    }
    EXPECT_EQ(get("outside/secret"), "secret");
    EXPECT_EQ(get("shared/file"), "contents");
    struct stat info {};
    ASSERT_EQ(::stat(path("outside/secret").c_str(), &info), 0);
    EXPECT_NE(info.st_mode & 0777, 0777u);
}

TEST_F(Plan9Test, AFolderThatBecomesALinkMeanwhileLeadsNowhere) {
    ::mkdir(path("shared/folder").c_str(), 0755);
    put("shared/folder/secret", "harmless");
    serve();
    ASSERT_EQ(walk(1, {"folder"}), 1);
    ASSERT_EQ(::rename(path("shared/folder").c_str(), path("shared/moved").c_str()), 0);
    ASSERT_EQ(::symlink("../outside", path("shared/folder").c_str()), 0);
    ASSERT_EQ(walk(2, {"secret"}, 1), 1);
    ASSERT_EQ(open(2, 0), 0);
    EXPECT_EQ(read(2), "harmless") << "the folder that was found";
    ASSERT_EQ(walk(3, {"folder", "secret"}), 1) << "the link";
}

TEST_F(Plan9Test, PipesAndDevicesOfTheHostAreNotOpened) {
    ASSERT_EQ(::mkfifo(path("shared/pipe").c_str(), 0666), 0);
    serve();
    ASSERT_EQ(walk(1, {"pipe"}), 1);
    EXPECT_EQ(open(1, 0), ENXIO);
    walk(2, {});
    EXPECT_EQ(create(2, "pipe"), ENXIO);
    EXPECT_EQ(named(Type::mknod, 0, "null", S_IFCHR | 0666, 1), EBADF) << "a message that is too short";
    Writer out;
    out.u32_(0);
    out.string("null");
    for (const u32 field : {u32{S_IFCHR | 0666}, 1u, 3u, 0u})
        out.u32_(field);
    EXPECT_EQ(ask(Type::mknod, std::move(out)), EPERM);
}

TEST_F(Plan9Test, AReadOnlyFolderStaysAsItIs) {
    serve("none", true);
    ASSERT_EQ(walk(1, {"file"}), 1);
    EXPECT_EQ(set(1, 1, 0777, 0, 0), EROFS);
    EXPECT_EQ(set(1, 8, 0, 0, 0), EROFS);
    EXPECT_EQ(open(1, 2), EROFS);
    EXPECT_EQ(open(1, 01000), EROFS) << "truncated";
    ASSERT_EQ(open(1, 0), 0);
    EXPECT_EQ(read(1), "contents");
    EXPECT_EQ(write(1, "x"), EBADF);
    walk(2, {});
    EXPECT_EQ(create(2, "new"), EROFS);
    EXPECT_EQ(named(Type::mkdir, 0, "new", 0755), EROFS);
    EXPECT_EQ(named(Type::unlinkat, 0, "file"), EROFS);
    EXPECT_EQ(rename(0, "file", 0, "other"), EROFS);
    EXPECT_EQ(link(0, "link", "file"), EROFS);
}

TEST_F(Plan9Test, TheMappedModelKeepsOwnersToItself) {
    auto opened = open_folder(log_, {"id", path("shared"), "tag", "mapped-xattr", false});
    if (!opened) GTEST_SKIP() << opened.error().message;
    serve("mapped-xattr");
    walk(1, {});
    ASSERT_EQ(create(1, "file2", 2, 04755), 0);
    EXPECT_EQ(set(1, 2 | 4, 0, 1234, 0), 0);
    EXPECT_EQ(attributes(1).mode, S_IFREG | 04755u);
    EXPECT_EQ(attributes(1).uid, 1234u);
    struct stat info {};
    ASSERT_EQ(::stat(path("shared/file2").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u) << "nothing runs as somebody else on the host";
    EXPECT_EQ(info.st_uid, ::geteuid());
    EXPECT_EQ(link(0, "link", "/etc/passwd"), 0);
    ASSERT_EQ(::lstat(path("shared/link").c_str(), &info), 0);
    EXPECT_TRUE(S_ISREG(info.st_mode)) << "no link on the host";
    ASSERT_EQ(walk(2, {"link"}), 1);
    EXPECT_TRUE(S_ISLNK(attributes(2).mode));
    Writer out;
    out.u32_(2);
    EXPECT_EQ(ask(Type::readlink, std::move(out)), 0);
    EXPECT_EQ(Reader(answer_).string(), "/etc/passwd");
    Writer device;
    device.u32_(0);
    device.string("null");
    for (const u32 field : {u32{S_IFCHR | 0666}, 1u, 3u, 0u})
        device.u32_(field);
    EXPECT_EQ(ask(Type::mknod, std::move(device)), 0);
    ASSERT_EQ(walk(3, {"null"}), 1);
    EXPECT_TRUE(S_ISCHR(attributes(3).mode));
    EXPECT_EQ(open(3, 0), 0) << "it is a file, of which the guest makes a device of its own";
}

TEST_F(Plan9Test, MessagesThatMakeNoSense) {
    serve();
    EXPECT_EQ(ask(static_cast<Type>(200), {}), EOPNOTSUPP);
    EXPECT_EQ(ask(Type::walk, {}), EBADF);
    EXPECT_EQ(ask(Type::lopen, {}), EBADF);
    EXPECT_EQ(clunk(77), EBADF);
    EXPECT_EQ(walk(0, {"missing"}), -1);
    EXPECT_EQ(error_, ENOENT);
    Writer out;
    out.u32_(0);
    out.u64_(0);
    out.u32_(~0u);
    EXPECT_EQ(ask(Type::read, std::move(out)), EBADF) << "not open";
    ASSERT_EQ(walk(1, {"file"}), 1);
    ASSERT_EQ(open(1, 2), 0);
    EXPECT_EQ(read(1, ~u64{0}), "");
    EXPECT_EQ(write(1, "x", ~u64{0}), EFBIG);
    Writer lie;
    lie.u32_(1);
    lie.u64_(0);
    lie.u32_(1000);
    EXPECT_EQ(ask(Type::write, std::move(lie)), EBADF) << "bytes that are not there";
    const Bytes shorter{20, 0, 0, 0, 110, 0, 0};
    EXPECT_EQ(server_->handle(shorter, most)[4], 7);
    EXPECT_EQ(server_->handle({}, most)[4], 7);
}

TEST_F(Plan9Test, MessagesAreAnsweredInOrder) {
    serve();
    std::vector<std::future<Bytes>> answers;
    for (u32 i = 0; i < 50; ++i) {
        auto promise = std::make_shared<std::promise<Bytes>>();
        answers.push_back(promise->get_future());
        Writer out;
        out.u32_(i);
        out.u32_(i + 1);
        out.u16_(0);
        server_->submit(std::move(out).finish(static_cast<u8>(Type::walk), 1), most,
                        [promise](Bytes answer) { promise->set_value(std::move(answer)); });
    }
    for (auto& answer : answers)
        EXPECT_EQ(answer.get()[4], static_cast<u8>(Type::walk) + 1);
}

TEST_F(Plan9Test, FoldersThatCannotBeShared) {
    EXPECT_FALSE(open_folder(log_, {"id", path("nothing"), "tag", "none", false}));
    EXPECT_FALSE(open_folder(log_, {"id", path("shared/file"), "tag", "none", false}));
    EXPECT_FALSE(open_folder(log_, {"id", path("shared"), "tag", "sloppy", false}));
}

} // namespace
} // namespace calque::backends::plan9
