/* One generation of one shard: identity -> owner, in small blocks that a bucket number leads to.
 *
 * An entry is a field (8 bytes of the identity) and a value (12 bytes: owner and digest); what they
 * mean is in metering/claim_packing.py. A block holds the fields of its bucket side by side, then
 * their values, so that a look-up compares one run of memory. Entries have no order.
 */
#ifndef METERLINE_TABLE_H
#define METERLINE_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum { FIELD_BYTES = 8, VALUE_BYTES = 12, ENTRY_BYTES = FIELD_BYTES + VALUE_BYTES };

typedef struct table table;

typedef struct {
    uint64_t entries; /* identities held */
    uint64_t buckets; /* that hold one at least */
    uint64_t largest; /* entries of the fullest bucket there ever was */
} table_shape;

table *table_new(void);
void table_free(table *held);
uint64_t table_entries(const table *held);
size_t table_bytes(const table *held);
table_shape table_measure(const table *held);

/* Fetch into the caches what a look-up in `bucket` reads: where its block is, then the block. */
void table_expect(const table *held, uint32_t bucket);
void table_expect_block(const table *held, uint32_t bucket);

/* The value held for a field, valid until the next change; NULL if there is none. */
uint8_t *table_find(const table *held, uint32_t bucket, const uint8_t *field);
/* Add an entry whose field is not there yet. */
void table_add(table *held, uint32_t bucket, const uint8_t *field, const uint8_t *value);
/* Drop an entry; 1 if it was there. */
int table_remove(table *held, uint32_t bucket, const uint8_t *field);

/* Packed entries of one page of buckets (bucket 4 little endian, field, value), for files.
 * `page` is less than table_pages(). The caller frees what it gets; NULL for an empty page. */
enum { PACKED_BYTES = 4 + ENTRY_BYTES };
size_t table_pages(const table *held);
uint8_t *table_pack(const table *held, size_t page, size_t *bytes);
void table_unpack(table *held, const uint8_t *packed, size_t bytes);

#endif
