/* Random changes to a table, each compared with a list that is searched from end to end.
 *
 * usage: claim_table_fuzz SEED STEPS; prints what differs and ends with 1, or how much was held. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_api.h"
#include "table.h"

static void *allocate(size_t bytes) { return malloc(bytes); }
static void *clear(size_t count, size_t bytes) { return calloc(count, bytes); }
static void *resize(void *held, size_t bytes) { return realloc(held, bytes); }
void *(*api_Alloc)(size_t) = allocate;
void *(*api_Calloc)(size_t, size_t) = clear;
void *(*api_Realloc)(void *, size_t) = resize;
void (*api_Free)(void *) = free;

enum { MOST = 6000, FIELDS = 4000 };

typedef struct {
    uint32_t bucket;
    uint8_t field[FIELD_BYTES];
    uint8_t value[VALUE_BYTES];
} entry;

static entry list[MOST];
static size_t listed;
static uint64_t state;

static uint32_t drawn(uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static void require(int holds, const char *what) {
    if (holds) return;
    printf("differs: %s\n", what);
    exit(1);
}

static entry *in_list(uint32_t bucket, const uint8_t *field) {
    for (size_t at = 0; at < listed; at++)
        if (list[at].bucket == bucket && memcmp(list[at].field, field, FIELD_BYTES) == 0)
            return &list[at];
    return NULL;
}

static void compare_all(const table *held) {
    require(table_entries(held) == listed, "number of entries");
    for (size_t at = 0; at < listed; at++) {
        const uint8_t *value = table_find(held, list[at].bucket, list[at].field);
        require(value != NULL && memcmp(value, list[at].value, VALUE_BYTES) == 0, "an entry");
    }
}

static table *copied(const table *held) {
    table *copy = table_new();
    for (size_t page = 0; page < table_pages(held); page++) {
        size_t bytes;
        uint8_t *packed = table_pack(held, page, &bytes);
        if (packed != NULL) table_unpack(copy, packed, bytes);
        free(packed);
    }
    return copy;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    state = strtoull(argv[1], NULL, 10);
    table *held = table_new();
    for (long steps = strtol(argv[2], NULL, 10); steps > 0; steps--) {
        static const uint32_t places[] = {0, 1, 511, 512, 513, 40000, 2000000};
        entry each = {places[drawn(7)], {0}, {0}};
        uint32_t field = drawn(FIELDS);
        memcpy(each.field, &field, sizeof field);
        for (int byte = 0; byte < VALUE_BYTES; byte++) each.value[byte] = (uint8_t)drawn(256);
        table_expect(held, each.bucket);
        table_expect_block(held, each.bucket);
        entry *known = in_list(each.bucket, each.field);
        uint8_t *value = table_find(held, each.bucket, each.field);
        require((known == NULL) == (value == NULL), "whether it is there");
        if (drawn(5) == 0) {
            require(table_remove(held, each.bucket, each.field) == (known != NULL), "what left");
            if (known != NULL) *known = list[--listed];
        } else if (known != NULL) {
            require(memcmp(value, known->value, VALUE_BYTES) == 0, "a value");
        } else if (listed < MOST) {
            table_add(held, each.bucket, each.field, each.value);
            list[listed++] = each;
        }
        if (steps % 4096 == 0) {
            compare_all(held);
            table *copy = copied(held);
            table_free(held);
            held = copy;
            compare_all(held);
        }
    }
    compare_all(held);
    table_shape shape = table_measure(held);
    printf("%zu entries, %zu bytes, fullest %zu\n", (size_t)shape.entries, table_bytes(held),
           (size_t)shape.largest);
    table_free(held);
    return 0;
}
