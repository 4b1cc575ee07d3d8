// Work that enters the kernel: system calls, and processes that come and go.
#include "bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The shortest system call, a pipe's write and read, and a page that is mapped, touched and unmapped.
uint64_t bench_syscalls(void) {
    uint64_t sum = 0;
    int ends[2];
    if (pipe(ends) != 0) return 0;
    for (int i = 0; i < 200000; i++) sum += (uint64_t)(syscall(SYS_getppid) != 0);
    for (int i = 0; i < 60000; i++) {
        uint32_t sent = (uint32_t)i, received = 0;
        if (write(ends[1], &sent, sizeof sent) != sizeof sent || read(ends[0], &received, sizeof received) != sizeof received) return 0;
        sum = mix(sum, received);
    }
    for (int i = 0; i < 15000; i++) {
        uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) return 0;
        page[i % 4096] = (uint8_t)i;
        sum = mix(sum, page[i % 4096]);
        munmap(page, 4096);
    }
    close(ends[0]);
    close(ends[1]);
    return sum;
}

// fork, a write that copies pages, exec of this program (which says how to use it and fails), wait.
uint64_t bench_fork(void) {
    enum { pages = 64, rounds = 400 };
    uint64_t sum = 0;
    uint8_t *memory = calloc(pages, 4096);
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (int page = 0; page < pages; page++) memory[page * 4096] = (uint8_t)round;
            if (round % 2 != 0) _exit(round % 64);
            int nowhere = open("/dev/null", O_WRONLY);
            dup2(nowhere, 2);
            execl("/proc/self/exe", "bench", (char *)NULL);
            _exit(127);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) return 0;
        sum = mix(sum, (uint64_t)WEXITSTATUS(status));
    }
    free(memory);
    return sum;
}
