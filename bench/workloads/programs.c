// Debian's programs: /bench/programs.sh says what each does. Here they get their lines and their checksum.
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char* const program_names[] = {"gzip",        "bzip2",       "xz",      "sha256sum", "sort_lines", "awk", "grep",
                                     "shell_loops", "shell_forks", "openssl", "python3",   "gcc",        NULL};

static const char script[] = "/bench/programs.sh", output[] = "/tmp/bench.output";

int programs_present(void) { return access(script, R_OK) == 0; }

static void run_step(const char* name, const char* step, long permille) {
    char scale[24];
    snprintf(scale, sizeof scale, "%ld", permille);
    pid_t child = fork();
    if (child == 0) {
        int to = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (to < 0 || dup2(to, 1) != 1) _exit(126);
        execl("/bin/sh", "sh", script, name, step, scale, (char*)NULL);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("a program ended with an error");
}

void prepare_program(const char* name, long permille) { run_step(name, "prepare", permille); }

void run_program(const char* name, long permille) { run_step(name, "work", permille); }

uint64_t program_checksum(void) {
    FILE* file = fopen(output, "rb");
    uint64_t sum = 0;
    if (file == NULL) fail("a program left no output");
    for (int c = getc(file); c != EOF; c = getc(file))
        sum = mix(sum, (uint64_t)c + 1);
    fclose(file);
    unlink(output);
    return sum;
}
