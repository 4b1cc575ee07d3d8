// What `bench/run.py io` has a guest do: reads and writes of a block device, and transfers by HTTP.
//
//   io read DEVICE BYTES        the device's first bytes, in order, through the page cache, which is emptied first
//   io random DEVICE BYTES      as many bytes in direct reads of 4 KiB all over its first 256 MiB
//   io write DEVICE BYTES       as many from the device's start, then fsync
//   io get ADDRESS PORT BYTES   GET / by HTTP, which must give so many
//   io put ADDRESS PORT BYTES   PUT / with so many
//
// Prints BENCH-BEGIN, does it, prints BENCH-DONE, and then, untimed, BENCH-SUM with a checksum of what was read or of
// what the device or the host then has.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { block = 4096, chunk = 256 * 1024 };
static const size_t random_area = 256u << 20;

static void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout);
}

static void check(int good, const char* what) {
    if (good) return;
    say("BENCH-FAIL %s: %m\n", what);
    exit(1);
}

static uint64_t checksum(const uint8_t* data, size_t size) {
    uint64_t sum = size;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, sizeof word);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
        sum ^= sum >> 29;
    }
    return sum;
}

static uint64_t next_random(uint64_t* state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void fill(uint8_t* data, size_t size) {
    uint64_t state = 1;
    for (size_t i = 0; i + 4 <= size; i += 4) {
        const uint32_t word = (uint32_t)next_random(&state);
        memcpy(data + i, &word, sizeof word);
    }
}

static int open_device(const char* path, int flags) {
    const int fd = open(path, flags);
    check(fd >= 0, path);
    check(ioctl(fd, BLKFLSBUF) == 0, "emptying the page cache");
    return fd;
}

static void read_in_order(const char* path, uint8_t* data, size_t size) {
    const int fd = open_device(path, O_RDONLY);
    say("BENCH-BEGIN\n");
    for (size_t done = 0; done < size;) {
        const ssize_t got = read(fd, data + done, size - done < chunk ? size - done : chunk);
        check(got > 0, "read");
        done += (size_t)got;
    }
    say("BENCH-DONE\n");
}

static void read_anywhere(const char* path, uint8_t* data, size_t size) {
    const int fd = open_device(path, O_RDONLY | O_DIRECT);
    uint64_t state = 7;
    say("BENCH-BEGIN\n");
    for (size_t done = 0; done < size; done += block) {
        const off_t at = (off_t)(next_random(&state) % (random_area / block)) * block;
        check(pread(fd, data + done, block, at) == block, "read");
    }
    say("BENCH-DONE\n");
}

static void write_out(const char* path, uint8_t* data, size_t size) {
    int fd = open_device(path, O_WRONLY);
    fill(data, size);
    say("BENCH-BEGIN\n");
    for (size_t done = 0; done < size;) {
        const ssize_t put = write(fd, data + done, size - done < chunk ? size - done : chunk);
        check(put > 0, "write");
        done += (size_t)put;
    }
    check(fsync(fd) == 0, "fsync");
    say("BENCH-DONE\n");
    close(fd);
    memset(data, 0, size);
    fd = open_device(path, O_RDONLY | O_DIRECT);
    for (size_t done = 0; done < size;) {
        const ssize_t got = read(fd, data + done, size - done < chunk ? size - done : chunk);
        check(got > 0, "reading back");
        done += (size_t)got;
    }
}

static int connected(const char* address, const char* port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    check(inet_pton(AF_INET, address, &to.sin_addr) == 1, address);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    check(fd >= 0 && connect(fd, (struct sockaddr*)&to, sizeof to) == 0, "connect");
    return fd;
}

static void send_all(int fd, const void* data, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t put = write(fd, (const uint8_t*)data + done, size - done < chunk ? size - done : chunk);
        check(put > 0, "send");
        done += (size_t)put;
    }
}

// Reads the answer's head, and returns how many bytes of the body came with it, at `data`.
static size_t read_head(int fd, uint8_t* data, size_t size) {
    static char head[4096];
    size_t have = 0;
    for (;;) {
        const ssize_t got = read(fd, head + have, sizeof head - 1 - have);
        check(got > 0, "the answer's head");
        have += (size_t)got;
        head[have] = 0;
        const char* const end = strstr(head, "\r\n\r\n");
        if (!end) continue;
        const size_t rest = have - (size_t)(end + 4 - head);
        check(strncmp(head + 8, " 200", 4) == 0 && rest <= size, head);
        memcpy(data, end + 4, rest);
        return rest;
    }
}

static void get(const char* address, const char* port, uint8_t* data, size_t size) {
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    say("BENCH-BEGIN\n");
    const int fd = connected(address, port);
    send_all(fd, request, sizeof request - 1);
    for (size_t done = read_head(fd, data, size); done < size;) {
        const ssize_t got = read(fd, data + done, size - done < chunk ? size - done : chunk);
        check(got > 0, "receive");
        done += (size_t)got;
    }
    say("BENCH-DONE\n");
}

static void put(const char* address, const char* port, uint8_t* data, size_t size) {
    char request[128];
    const int length = snprintf(request, sizeof request, "PUT / HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", size);
    fill(data, size);
    say("BENCH-BEGIN\n");
    const int fd = connected(address, port);
    send_all(fd, request, (size_t)length);
    send_all(fd, data, size);
    // The host's answer is all that came to it, so that the sum is of what it has. It begins when all has come.
    size_t done = read_head(fd, data, size);
    say("BENCH-DONE\n");
    while (done < size) {
        const ssize_t got = read(fd, data + done, size - done);
        check(got > 0, "receive");
        done += (size_t)got;
    }
}

int main(int count, char** words) {
    const char* const what = count > 1 ? words[1] : "";
    const int network = strcmp(what, "get") == 0 || strcmp(what, "put") == 0;
    check(count == (network ? 5 : 4), "io read|random|write DEVICE BYTES, or io get|put ADDRESS PORT BYTES");
    const size_t size = strtoull(words[count - 1], NULL, 0) / block * block;
    // All there before the clock runs.
    uint8_t* const data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    check(size != 0 && data != MAP_FAILED, "memory");
    if (strcmp(what, "read") == 0) read_in_order(words[2], data, size);
    if (strcmp(what, "random") == 0) read_anywhere(words[2], data, size);
    if (strcmp(what, "write") == 0) write_out(words[2], data, size);
    if (strcmp(what, "get") == 0) get(words[2], words[3], data, size);
    if (strcmp(what, "put") == 0) put(words[2], words[3], data, size);
    say("BENCH-SUM %016" PRIx64 "\n", checksum(data, size));
    return 0;
}
