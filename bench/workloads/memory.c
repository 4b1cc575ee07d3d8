// Work on memory that the caches and the TLB do not hold, and a mix of small embedded kernels.
#include "bench.h"

#include <stdlib.h>
#include <string.h>

// An open-addressing hash table of 32 MiB with inserts, hits and misses at random.
struct slot {
    uint64_t key, count;
};
enum { slot_bits = 21, slots = 1 << slot_bits, present = 200000 };
static struct slot* table;

static struct slot* find_slot(uint64_t key) {
    size_t at = (key * 11400714819323198485u) >> (64 - slot_bits);
    while (table[at].key != 0 && table[at].key != key)
        at = (at + 1) & (slots - 1);
    return &table[at];
}

static uint64_t key_of(uint64_t number) { return (number + 1) * 0xd6e8feb86659fd93u | 1; }

static void prepare_hash(void) {
    table = take(slots * sizeof *table);
    for (uint64_t i = 0; i < present; i++)
        find_slot(key_of(i))->key = key_of(i);
}

static uint64_t unit_hash(void) {
    uint64_t state = 7, sum = 0;
    for (int i = 0; i < 60000; i++) {
        uint64_t key = key_of(next_random(&state) % (2 * present));
        struct slot* slot = find_slot(key);
        slot->count++;
        sum += slot->key == key ? (uint64_t)(slot - table) : 1;
    }
    return sum;
}

// Eratosthenes on bytes: stores at a stride.
enum { sieve_limit = 8000000 };
static uint8_t* composite;

static void prepare_sieve(void) { composite = take(sieve_limit); }

static uint64_t unit_sieve(void) {
    uint64_t sum = 0;
    memset(composite, 0, sieve_limit);
    for (size_t i = 2; i * i < sieve_limit; i++) {
        if (composite[i]) continue;
        for (size_t j = i * i; j < sieve_limit; j += i)
            composite[j] = 1;
    }
    for (size_t i = 2; i < sieve_limit; i += 7)
        sum += (composite[i] ^ 1u) * i;
    return sum;
}

// Follows one cycle through 32 MiB, a node per cache line, in an order that no prefetcher guesses. The order is a
// congruential generator of full period (odd increment, multiplier 1 modulo 4), whose high bits are the page.
struct node {
    struct node* next;
    uint64_t value, unused[6];
};
enum { node_count = 1 << 19 };
static struct node* nodes;

static void prepare_chase(void) {
    nodes = take(node_count * sizeof *nodes);
    for (size_t i = 0; i < node_count; i++) {
        nodes[i].next = &nodes[(i * 1664525u + 1013904223u) % node_count];
        nodes[i].value = i;
    }
}

static uint64_t unit_chase(void) {
    struct node* at = nodes;
    uint64_t sum = 0;
    for (int step = 0; step < node_count; step++) {
        sum += at->value ^ (uint64_t)step;
        at = at->next;
    }
    return sum;
}

// A mix of what small embedded programs do, as CoreMark has it: lists, 16-bit matrices, a state machine, CRC-16.
struct item {
    struct item* next;
    int16_t key, data;
};

static uint16_t crc16(uint16_t crc, uint16_t value) {
    for (int bit = 0; bit < 16; bit++) {
        int carry = (crc ^ value) & 1;
        crc >>= 1, value >>= 1;
        if (carry) crc ^= 0xa001;
    }
    return crc;
}

// Merge sort of a linked list.
static struct item* sort_list(struct item* list, int count) {
    if (count == 1) {
        list->next = NULL;
        return list;
    }
    struct item *second = list, *head = NULL, **tail = &head;
    for (int i = 0; i < count / 2; i++)
        second = second->next;
    second = sort_list(second, count - count / 2);
    list = sort_list(list, count / 2);
    while (list != NULL || second != NULL) {
        struct item** from = second == NULL || (list != NULL && list->key <= second->key) ? &list : &second;
        *tail = *from;
        tail = &(*from)->next;
        *from = *tail;
    }
    return head;
}

static uint16_t list_work(uint16_t crc, struct item* items, int count) {
    for (int i = 0; i < count; i++) {
        items[i].next = i + 1 < count ? &items[i + 1] : NULL;
        items[i].key = (int16_t)(crc16(crc, (uint16_t)i) & 0x7fff);
        items[i].data = (int16_t)(i * 3);
    }
    struct item *list = sort_list(items, count), *reversed = NULL;
    while (list != NULL) {
        struct item* next = list->next;
        list->next = reversed, reversed = list, list = next;
    }
    for (struct item* item = reversed; item != NULL; item = item->next)
        crc = crc16(crc, (uint16_t)(item->key + item->data));
    return crc;
}

static uint16_t matrix_work(uint16_t crc) {
    enum { n = 12 };
    int16_t a[n][n], b[n][n];
    int32_t c[n][n];
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            a[i][j] = (int16_t)(crc + i * j), b[i][j] = (int16_t)(i - j + 7);
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            c[i][j] = 0;
            for (int k = 0; k < n; k++)
                c[i][j] += a[i][k] * b[k][j];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            crc = (uint16_t)(crc + (c[i][j] >> 4)) ^ (uint16_t)c[j][i];
    }
    return crc16(crc, (uint16_t)c[n - 1][0]);
}

// Counts numbers by their kind: the states are what has been read of one.
static uint16_t state_work(uint16_t crc) {
    static const char text[] = "12,+7,-3.25,1e9,0x1,.5,5.,-,+1.5e-3,77777,2.e8,e3,9.75,--4,1e,100,";
    enum { start, sign, digits, point, fraction, letter, exponent_sign, exponent, wrong };
    uint16_t counts[9] = {0};
    int state = start;
    for (const char* at = text; *at != 0; at++) {
        char c = *at;
        int digit = c >= '0' && c <= '9';
        if (c == ',') {
            counts[state]++;
            state = start;
            continue;
        }
        switch (state) {
        case start: state = digit ? digits : c == '.' ? point : c == '+' || c == '-' ? sign : wrong; break;
        case sign: state = digit ? digits : c == '.' ? point : wrong; break;
        case digits: state = digit ? digits : c == '.' ? fraction : c == 'e' ? letter : wrong; break;
        case point: state = digit ? fraction : wrong; break;
        case fraction: state = digit ? fraction : c == 'e' ? letter : wrong; break;
        case letter: state = digit ? exponent : c == '-' || c == '+' ? exponent_sign : wrong; break;
        case exponent_sign:
        case exponent: state = digit ? exponent : wrong; break;
        default: break;
        }
    }
    for (int i = 0; i < 9; i++)
        crc = crc16(crc, (uint16_t)(counts[i] * 37 + i));
    return crc;
}

static uint64_t unit_coremix(void) {
    static struct item items[64];
    uint16_t crc = 1;
    for (int round = 0; round < 250; round++) {
        crc = list_work(crc, items, 64);
        for (int times = 0; times < 4; times++)
            crc = matrix_work(crc);
        for (int times = 0; times < 8; times++)
            crc = state_work(crc);
    }
    return crc;
}

const struct workload memory_workloads[] = {
    {"hash", 140, prepare_hash, unit_hash, NULL},
    {"sieve", 14, prepare_sieve, unit_sieve, NULL},
    {"chase", 14, prepare_chase, unit_chase, NULL},
    {"coremix", 140, NULL, unit_coremix, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
