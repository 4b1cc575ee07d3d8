// String operations in the three ways that x86 programs do them: a byte at a time, by SSE2 as C libraries do, and by
// the REP instructions. The compiler must not turn one into another, so each is spelt out.
#include "bench.h"

#include <emmintrin.h>
#include <string.h>

// Strings of many lengths one after another, each ended by a zero byte, and room for a copy.
enum { text_size = 1 << 18, large_size = 4 << 20 };
static char *text, *copy, *large, *large_copy;

static void prepare_text(void) {
    uint64_t state = 31;
    text = take(text_size + 64);
    copy = take(text_size + 64);
    size_t at = 0;
    while (at < text_size - 1) {
        size_t length = 3 + next_random(&state) % 60;
        for (size_t i = 0; i < length && at < text_size - 1; i++)
            text[at++] = (char)('a' + next_random(&state) % 26);
        if (at < text_size) text[at++] = 0;
    }
    text[text_size - 1] = 0;
}

static void prepare_large(void) {
    uint64_t state = 32;
    large = take(large_size + 64);
    large_copy = take(large_size + 64);
    for (size_t i = 0; i < large_size; i += 8) {
        uint64_t value = next_random(&state) | 0x0101010101010101u;
        memcpy(large + i, &value, sizeof value);
    }
}

// What makes a byte loop stay one: the compiler cannot see through the pointer.
#define OPAQUE(pointer) __asm__("" : "+r"(pointer))

static size_t byte_length(const char* s) {
    const char* at = s;
    while (*at != 0) {
        at++;
        OPAQUE(at);
    }
    return (size_t)(at - s);
}

static void byte_copy(char* to, const char* from) {
    while ((*to++ = *from++) != 0)
        OPAQUE(from);
}

static int byte_compare(const char* a, const char* b) {
    while (*a == *b && *a != 0) {
        a++, b++;
        OPAQUE(a);
    }
    return (unsigned char)*a - (unsigned char)*b;
}

static const char* byte_find(const char* s, char wanted) {
    while (*s != 0 && *s != wanted) {
        s++;
        OPAQUE(s);
    }
    return s;
}

static void byte_upper(char* s) {
    for (; *s != 0; s++) {
        if (*s >= 'a' && *s <= 'z') *s = (char)(*s - 32);
        OPAQUE(s);
    }
}

static uint64_t unit_bytes(void) {
    uint64_t sum = 0;
    for (size_t at = 0; at < text_size;) {
        size_t length = byte_length(text + at);
        byte_copy(copy + at, text + at);
        sum += (uint64_t)(byte_compare(text + at, copy + at) == 0);
        sum += (uint64_t)(byte_find(text + at, 'q') - text);
        byte_upper(copy + at);
        sum = mix(sum, length + (uint64_t)copy[at]);
        at += length + 1;
    }
    return sum;
}

// Aligned loads never cross a page, so bytes before and behind the string may be read.
static size_t sse_length(const char* s) {
    const __m128i zero = _mm_setzero_si128();
    const char* block = (const char*)((uintptr_t)s & ~(uintptr_t)15);
    unsigned ends = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128((const __m128i*)block), zero));
    ends &= ~0u << (s - block);
    while (ends == 0) {
        block += 16;
        ends = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128((const __m128i*)block), zero));
    }
    return (size_t)(block + __builtin_ctz(ends) - s);
}

static void sse_copy(char* to, const char* from, size_t length) {
    for (size_t at = 0; at < length; at += 16) {
        _mm_storeu_si128((__m128i*)(to + at), _mm_loadu_si128((const __m128i*)(from + at)));
    }
}

static int sse_compare(const char* a, const char* b, size_t length) {
    for (size_t at = 0; at < length; at += 16) {
        __m128i equal =
            _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i*)(a + at)), _mm_loadu_si128((const __m128i*)(b + at)));
        unsigned different = ~(unsigned)_mm_movemask_epi8(equal) & 0xffff;
        if (different != 0) {
            size_t first = at + (size_t)__builtin_ctz(different);
            return first < length ? (unsigned char)a[first] - (unsigned char)b[first] : 0;
        }
    }
    return 0;
}

static size_t sse_find(const char* s, char wanted, size_t length) {
    const __m128i pattern = _mm_set1_epi8(wanted);
    for (size_t at = 0; at < length; at += 16) {
        __m128i equal = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i*)(s + at)), pattern);
        unsigned hits = (unsigned)_mm_movemask_epi8(equal);
        if (hits != 0) return at + (size_t)__builtin_ctz(hits);
    }
    return length;
}

static uint64_t unit_sse(void) {
    uint64_t sum = 0;
    for (int round = 0; round < 4; round++) {
        for (size_t at = 0; at < text_size;) {
            size_t length = sse_length(text + at), end = length + 1;
            sse_copy(copy + at, text + at, end);
            sum += (uint64_t)(sse_compare(text + at, copy + at, end) == 0);
            sum += sse_find(text + at, 'q', length) < length;
            sum = mix(sum, length + (uint64_t)copy[at]);
            at += end;
        }
    }
    return sum;
}

static void rep_movsb(char* to, const char* from, size_t count) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void rep_movsq(char* to, const char* from, size_t count) {
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void rep_stosb(char* to, int value, size_t count) {
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

// Bytes until the wanted one; count when it is not there.
static size_t repne_scasb(const char* s, char wanted, size_t count) {
    size_t left = count;
    char found = 0;
    // A count of zero leaves the flags, so they are set first to say "not found".
    __asm__ volatile("or $1, %%ah\n\trepne scasb\n\tsete %2"
                     : "+D"(s), "+c"(left), "=&r"(found)
                     : "a"(wanted)
                     : "memory", "cc");
    return found ? count - left - 1 : count;
}

// Bytes that are equal.
static size_t repe_cmpsb(const char* a, const char* b, size_t count) {
    size_t left = count;
    char equal = 0;
    __asm__ volatile("cmp %%rax, %%rax\n\trepe cmpsb\n\tsete %3"
                     : "+S"(a), "+D"(b), "+c"(left), "=&r"(equal)
                     :
                     : "memory", "cc");
    return equal ? count : count - left - 1;
}

// Large copies and fills, as the kernel and C libraries do them on processors with "enhanced REP MOVSB".
static uint64_t unit_rep_movsb(void) {
    rep_movsb(large_copy, large, large_size);
    rep_movsb(large_copy + 5, large + 3, large_size / 2);
    rep_movsq(large_copy + 8, large, large_size / 8);
    rep_stosb(large_copy + large_size / 4, 7, large_size / 4);
    uint64_t sum = 0;
    for (size_t i = 0; i < large_size; i += 4093)
        sum = mix(sum, (uint64_t)large_copy[i]);
    return sum;
}

static uint64_t unit_rep_scan(void) {
    uint64_t sum = 0;
    for (size_t at = 0; at < text_size;) {
        size_t length = repne_scasb(text + at, 0, text_size - at);
        rep_stosb(copy + at, '-', length + 1);
        rep_movsb(copy + at, text + at, length - length / 4);
        sum = mix(sum, length + repe_cmpsb(copy + at, text + at, length));
        sum += repne_scasb(text + at, 'q', length);
        at += length + 1;
    }
    return sum;
}

const struct workload string_workloads[] = {
    {"str_bytes", 350, prepare_text, unit_bytes, NULL},
    {"str_sse2", 240, prepare_text, unit_sse, NULL},
    {"rep_movsb", 80, prepare_large, unit_rep_movsb, NULL},
    {"rep_scan", 700, prepare_text, unit_rep_scan, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
