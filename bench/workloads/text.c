// Input for the programs that the benches run: prose without meaning, and a C program of any length.
#include "bench.h"

#include <stdio.h>
#include <string.h>

// Words of syllables, the earlier ones of a list far more often than the later, as in a language.
enum { word_count = 4000 };
static char words[word_count][16];

static void make_words(uint64_t* state) {
    static const char* const parts[] = {"ka",  "lo", "mi",  "ter", "san", "du", "re", "vo",
                                        "pli", "en", "sta", "qui", "mor", "ne", "ga", "tu"};
    for (int i = 0; i < word_count; i++) {
        int syllables = 1 + (int)(next_random(state) % 4);
        for (int part = 0; part < syllables; part++)
            strcat(words[i], parts[next_random(state) >> 60]);
    }
}

void write_text(size_t bytes) {
    uint64_t state = 61;
    size_t written = 0, column = 0;
    make_words(&state);
    while (written < bytes) {
        // The least of three picks: small numbers are likely.
        uint64_t pick = word_count;
        for (int i = 0; i < 3; i++) {
            uint64_t one = next_random(&state) % word_count;
            if (one < pick) pick = one;
        }
        int length = next_random(&state) % 23 == 0 ? printf("%u ", (unsigned)(next_random(&state) % 100000))
                                                   : printf("%s ", words[pick]);
        written += (size_t)length, column += (size_t)length;
        if (column > 70) {
            putchar('\n');
            written++, column = 0;
        }
    }
    putchar('\n');
}

// A function of sixteen lines: a loop with a switch, a walk over a list, calls to functions before it.
static void write_function(size_t number, unsigned a, unsigned b, uint64_t* state) {
    printf("long work_%zu(struct record *r, long x, unsigned n)\n{\n    long total = x * %u + %u;\n", number, a, b);
    printf("    for (unsigned i = 0; i < n; i++) {\n        switch ((total ^ i) %% %u) {\n", b % 5 + 3);
    printf("        case 0: total += r->values[(i + %u) %% 16]; break;\n", a);
    printf("        case 1: r->values[i %% 16] = total >> %u; break;\n", b % 7 + 1);
    printf("        case 2: r->weight = r->weight * 0.%u + (double)total; break;\n", a);
    printf("        default: total -= (long)i << %u; break;\n        }\n    }\n", b % 5);
    if (number > 0)
        printf("    if (total > %u) total ^= work_%zu(r, get_%zu(r, total), n / 2);\n", a * 1000,
               (size_t)next_random(state) % number, number);
    printf(
        "    for (struct record *at = r; at; at = at->next) total += at->values[%u] * %u + (long)strlen(at->name);\n",
        a % 16, b);
    printf("    return total;\n}\n\n");
}

// And what stands between such functions: types, tables, short functions. Twenty-four lines.
static void write_declarations(size_t number, unsigned a, unsigned b, uint64_t* state) {
    printf(
        "struct part_%zu {\n    int kind;\n    unsigned short flags;\n    const char *text;\n    double size;\n};\n\n",
        number);
    printf("static const unsigned char table_%zu[] = {\n", number);
    for (int row = 0; row < 6; row++) {
        printf("   ");
        for (int i = 0; i < 12; i++)
            printf(" %u,", (unsigned)(next_random(state) >> 56));
        printf("\n");
    }
    printf("};\n\n");
    printf("long get_%zu(const struct record *r, long x)\n{\n", number);
    printf("    struct part_%zu part = {%u, %u, \"part %zu\", %u.5};\n", number, a % 7, b, number, a);
    printf("    if (r->weight > part.size) part.kind += (int)(x %% %u);\n", b + 2);
    printf(
        "    return part.kind + table_%zu[(unsigned long)x %% sizeof table_%zu] * part.flags + part.text[%u];\n}\n\n",
        number, number, a % 5);
}

void write_c_source(size_t lines) {
    uint64_t state = 67;
    size_t functions = lines < 60 ? 1 : (lines - 20) / 39;
    printf("struct record { struct record *next; long values[16]; double weight; char name[24]; };\n");
    printf("unsigned long strlen(const char *);\nint printf(const char *, ...);\n\n");
    for (size_t number = 0; number < functions; number++) {
        unsigned a = (unsigned)(next_random(&state) % 97) + 3, b = (unsigned)(next_random(&state) % 31) + 1;
        write_declarations(number, a, b, &state);
        write_function(number, a, b, &state);
    }
    printf("int main(void)\n{\n    static struct record r;\n    long total = 1;\n");
    printf("    long (*const all[])(struct record *, long, unsigned) = {\n");
    for (size_t number = 0; number < functions; number++)
        printf("%swork_%zu,%s", number % 8 == 0 ? "        " : "", number, number % 8 == 7 ? "\n" : " ");
    printf("\n    };\n    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) total += all[i](&r, total, 9);\n");
    printf("    printf(\"%%ld\\n\", total);\n    return 0;\n}\n");
}
