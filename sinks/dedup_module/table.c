#include "table.h"

#include <string.h>

#include "redis_api.h"

enum { PAGE_BITS = 9, PAGE_BUCKETS = 1 << PAGE_BITS, SMALLEST_BLOCK = 64 };

typedef struct {
    uint32_t count;
    uint32_t room;
    uint8_t entries[]; /* room fields, then room values */
} block;

typedef struct {
    block *blocks[PAGE_BUCKETS];
} page;

struct table {
    page **pages; /* by bucket number; NULL where no bucket of a page was used yet */
    size_t page_count;
    size_t bytes;
    table_shape shape;
};

static uint8_t *field_at(block *held, uint32_t at) {
    return held->entries + (size_t)FIELD_BYTES * at;
}

static uint8_t *value_at(block *held, uint32_t at) {
    return held->entries + (size_t)FIELD_BYTES * held->room + (size_t)VALUE_BYTES * at;
}

static block *block_of(const table *held, uint32_t bucket) {
    size_t number = bucket >> PAGE_BITS;
    if (number >= held->page_count || held->pages[number] == NULL) return NULL;
    return held->pages[number]->blocks[bucket & (PAGE_BUCKETS - 1)];
}

/* The sizes that the server's allocator gives: four between two powers of two. What a block asks
 * for is what it gets, and none of it is left unused. */
static size_t size_for(uint32_t count) {
    size_t wanted = sizeof(block) + (size_t)ENTRY_BYTES * count;
    size_t power = SMALLEST_BLOCK;
    if (wanted <= power) return power;
    while (power * 2 < wanted) power *= 2;
    size_t step = power / 4;
    return (wanted + step - 1) / step * step;
}

static size_t size_of(const block *held) {
    return held == NULL ? 0 : size_for(held->room);
}

table *table_new(void) {
    table *made = api_Calloc(1, sizeof(table));
    made->bytes = sizeof(table);
    return made;
}

void table_free(table *held) {
    for (size_t number = 0; number < held->page_count; number++) {
        page *some = held->pages[number];
        if (some == NULL) continue;
        for (size_t at = 0; at < PAGE_BUCKETS; at++) api_Free(some->blocks[at]);
        api_Free(some);
    }
    api_Free(held->pages);
    api_Free(held);
}

uint64_t table_entries(const table *held) {
    return held->shape.entries;
}

size_t table_bytes(const table *held) {
    return held->bytes;
}

table_shape table_measure(const table *held) {
    return held->shape;
}

void table_expect(const table *held, uint32_t bucket) {
    size_t number = bucket >> PAGE_BITS;
    if (number < held->page_count && held->pages[number] != NULL)
        __builtin_prefetch(&held->pages[number]->blocks[bucket & (PAGE_BUCKETS - 1)]);
}

void table_expect_block(const table *held, uint32_t bucket) {
    const char *some = (const char *)block_of(held, bucket);
    if (some == NULL) return;
    for (size_t line = 0; line < 256; line += 64) __builtin_prefetch(some + line);
}

static int64_t place_of(block *some, const uint8_t *field) {
    uint64_t wanted, here;
    memcpy(&wanted, field, sizeof wanted);
    for (uint32_t at = 0; at < some->count; at++) {
        memcpy(&here, field_at(some, at), sizeof here);
        if (here == wanted) return at;
    }
    return -1;
}

uint8_t *table_find(const table *held, uint32_t bucket, const uint8_t *field) {
    block *some = block_of(held, bucket);
    if (some == NULL) return NULL;
    int64_t at = place_of(some, field);
    return at < 0 ? NULL : value_at(some, (uint32_t)at);
}

static block **slot_of(table *held, uint32_t bucket) {
    size_t number = bucket >> PAGE_BITS;
    if (number >= held->page_count) {
        size_t count = number + 1 > held->page_count * 2 ? number + 1 : held->page_count * 2;
        held->pages = api_Realloc(held->pages, count * sizeof(page *));
        memset(held->pages + held->page_count, 0, (count - held->page_count) * sizeof(page *));
        held->bytes += (count - held->page_count) * sizeof(page *);
        held->page_count = count;
    }
    if (held->pages[number] == NULL) {
        held->pages[number] = api_Calloc(1, sizeof(page));
        held->bytes += sizeof(page);
    }
    return &held->pages[number]->blocks[bucket & (PAGE_BUCKETS - 1)];
}

static block *grown(table *held, block *full) {
    uint32_t count = full == NULL ? 0 : full->count;
    size_t bytes = size_for(count + 1);
    block *larger = api_Alloc(bytes);
    larger->count = count;
    larger->room = (uint32_t)((bytes - sizeof(block)) / ENTRY_BYTES);
    held->bytes += bytes - size_of(full);
    if (full != NULL) {
        memcpy(field_at(larger, 0), field_at(full, 0), (size_t)FIELD_BYTES * count);
        memcpy(value_at(larger, 0), value_at(full, 0), (size_t)VALUE_BYTES * count);
        api_Free(full);
    }
    return larger;
}

void table_add(table *held, uint32_t bucket, const uint8_t *field, const uint8_t *value) {
    block **slot = slot_of(held, bucket);
    if (*slot == NULL || (*slot)->count == (*slot)->room) *slot = grown(held, *slot);
    block *some = *slot;
    memcpy(field_at(some, some->count), field, FIELD_BYTES);
    memcpy(value_at(some, some->count), value, VALUE_BYTES);
    if (some->count++ == 0) held->shape.buckets++;
    if (some->count > held->shape.largest) held->shape.largest = some->count;
    held->shape.entries++;
}

int table_remove(table *held, uint32_t bucket, const uint8_t *field) {
    block *some = block_of(held, bucket);
    int64_t at = some == NULL ? -1 : place_of(some, field);
    if (at < 0) return 0;
    if (--some->count == 0) held->shape.buckets--;
    held->shape.entries--;
    memmove(field_at(some, (uint32_t)at), field_at(some, some->count), FIELD_BYTES);
    memmove(value_at(some, (uint32_t)at), value_at(some, some->count), VALUE_BYTES);
    return 1;
}

size_t table_pages(const table *held) {
    return held->page_count;
}

uint8_t *table_pack(const table *held, size_t number, size_t *bytes) {
    page *some = held->pages[number];
    size_t count = 0;
    for (size_t at = 0; some != NULL && at < PAGE_BUCKETS; at++)
        count += some->blocks[at] == NULL ? 0 : some->blocks[at]->count;
    *bytes = count * PACKED_BYTES;
    if (count == 0) return NULL;
    uint8_t *packed = api_Alloc(*bytes), *next = packed;
    for (size_t at = 0; at < PAGE_BUCKETS; at++) {
        uint32_t bucket = (uint32_t)((number << PAGE_BITS) | at);
        block *each = some->blocks[at];
        for (uint32_t entry = 0; each != NULL && entry < each->count; entry++) {
            for (int byte = 0; byte < 4; byte++) *next++ = (uint8_t)(bucket >> (8 * byte));
            memcpy(next, field_at(each, entry), FIELD_BYTES);
            memcpy(next + FIELD_BYTES, value_at(each, entry), VALUE_BYTES);
            next += ENTRY_BYTES;
        }
    }
    return packed;
}

void table_unpack(table *held, const uint8_t *packed, size_t bytes) {
    const uint8_t *end = packed + bytes / PACKED_BYTES * PACKED_BYTES;
    for (const uint8_t *next = packed; next < end; next += PACKED_BYTES) {
        uint32_t bucket = 0;
        for (int byte = 0; byte < 4; byte++) bucket |= (uint32_t)next[byte] << (8 * byte);
        table_add(held, bucket, next + 4, next + 4 + FIELD_BYTES);
    }
}
