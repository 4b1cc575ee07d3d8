#include "frontend/backends/chardev.h"

#include <gtest/gtest.h>

namespace calque::backends {
namespace {

using Kind = ChardevOptions::Kind;

TEST(ChardevOptions, ShortForms) {
    EXPECT_EQ(parse_short_chardev("null")->kind, Kind::null);
    EXPECT_EQ(parse_short_chardev("pty")->kind, Kind::pty);
    const auto stdio = parse_short_chardev("stdio");
    EXPECT_EQ(stdio->kind, Kind::stdio);
    EXPECT_TRUE(stdio->signals);
    EXPECT_FALSE(stdio->mux);
    const auto mon = parse_short_chardev("mon:stdio");
    EXPECT_EQ(mon->kind, Kind::stdio);
    EXPECT_FALSE(mon->signals);
    EXPECT_TRUE(mon->mux);
    EXPECT_EQ(parse_short_chardev("file:/tmp/a,b")->path, "/tmp/a,b");
    const auto socket = parse_short_chardev("unix:/tmp/s,server,nowait");
    EXPECT_EQ(socket->kind, Kind::socket);
    EXPECT_EQ(socket->path, "/tmp/s");
    EXPECT_TRUE(socket->server);
    EXPECT_FALSE(socket->wait);
    const auto modern = parse_short_chardev("unix:/tmp/s,server=on,wait=off");
    EXPECT_TRUE(modern->server);
    EXPECT_FALSE(modern->wait);
    const auto tcp = parse_short_chardev("tcp::4444,server=on,wait=off");
    EXPECT_EQ(tcp->kind, Kind::socket);
    EXPECT_EQ(tcp->port, 4444);
    EXPECT_TRUE(tcp->host.empty());
    EXPECT_EQ(parse_short_chardev("tcp:10.0.0.1:4444")->host, "10.0.0.1");
}

TEST(ChardevOptions, LongForm) {
    const auto file = parse_chardev("file,id=log,path=/tmp/a,,b,append=on");
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(file->id, "log");
    EXPECT_EQ(file->path, "/tmp/a,b");
    EXPECT_TRUE(file->append);
    const auto socket = parse_chardev("socket,id=q,path=/tmp/q,server=on,wait=off,mux=on");
    ASSERT_TRUE(socket.ok());
    EXPECT_TRUE(socket->mux);
    EXPECT_FALSE(parse_chardev("stdio,id=s,signal=off")->signals);
    EXPECT_EQ(parse_chardev("socket,id=q,host=localhost,port=99")->host, "127.0.0.1");
    EXPECT_EQ(parse_chardev("socket,id=q,fd=7,server=on,wait=off")->descriptor, 7);
}

TEST(ChardevOptions, MistakesAreNamed) {
    EXPECT_NE(parse_short_chardev("udp:localhost:1").error().message.find("udp:localhost:1"), std::string::npos);
    for (const char* text :
         {"tcp:", "tcp:1", "tcp:localhost:", "tcp:localhost:70000", "tcp:somewhere:1", "tcp::1,color"})
        EXPECT_FALSE(parse_short_chardev(text).ok()) << text;
    EXPECT_FALSE(parse_short_chardev("").ok());
    EXPECT_FALSE(parse_short_chardev("file:").ok());
    EXPECT_FALSE(parse_short_chardev("unix:").ok());
    EXPECT_NE(parse_short_chardev("unix:/s,colour=red").error().message.find("colour"), std::string::npos);
    EXPECT_FALSE(parse_short_chardev("unix:/s,wait=maybe").ok());
    EXPECT_NE(parse_chardev("file,path=/tmp/a").error().message.find("id"), std::string::npos);
    for (const char* text : {"socket,id=s", "socket,id=s,host=localhost", "socket,id=s,port=0", "socket,id=s,port=x",
                             "socket,id=s,path=/s,port=1", "socket,id=s,fd=3,path=/s", "socket,id=s,fd=-1"})
        EXPECT_FALSE(parse_chardev(text).ok()) << text;
    EXPECT_FALSE(parse_chardev("spicevmc,id=s").ok());
    EXPECT_FALSE(parse_chardev("null,id=n,path=/tmp/a").ok());
}

} // namespace
} // namespace calque::backends
