/* The dedup memory inside Redis: the commands of sinks/dedup_*.lua over tables instead of hashes.
 *
 *   METERLINE.CLAIM    state marker assignment generation window claims
 *   METERLINE.OWNED    state marker claims
 *   METERLINE.REASSIGN state marker held claims
 *   METERLINE.RESTORE  state token window claims
 *   METERLINE.TABLE    table            entries, buckets used, entries of the fullest, bytes
 *   METERLINE.FILL     table entries    only in a log that is written without a snapshot
 *
 * Arguments and replies of the first four are those of the script of the same name, byte by byte.
 * The table of a generation is the key `<state>:<window>`, the count of its claims a field of
 * `<state>:entries`. A command is logged as it was sent, and only if it changed something: the same
 * claims on the same state come to the same end.
 */
#include <stdio.h>
#include <string.h>

#include "redis_api.h"
#include "table.h"

#define DEFINE(result, name, parameters) result(*api_##name) parameters;
REDIS_API(DEFINE)
#undef DEFINE

enum { CLAIM_BYTES = 4 + ENTRY_BYTES, OWNER_BYTES = 9, DIGEST_BYTES = 3, AHEAD = 16 };
enum { NAME_BYTES = 512, REST_BYTES = 32 };

static RedisModuleType *table_type;

/* ---- claims as they come in ---- */

typedef struct {
    const uint8_t *bytes;
    size_t count;
} claims;

typedef struct {
    uint32_t bucket;
    const uint8_t *field;
    const uint8_t *value;
} claim;

static int read_claims(RedisModuleCtx *ctx, RedisModuleString *from, claims *asked) {
    size_t bytes;
    asked->bytes = (const uint8_t *)api_StringPtrLen(from, &bytes);
    asked->count = bytes / CLAIM_BYTES;
    if (bytes % CLAIM_BYTES == 0) return OK;
    api_ReplyWithError(ctx, "ERR claims are 24 bytes each: bucket (4), field (8), value (12)");
    return ERR;
}

static claim claim_at(const claims *asked, size_t at) {
    const uint8_t *here = asked->bytes + at * CLAIM_BYTES;
    uint32_t bucket = (uint32_t)here[0] << 24 | here[1] << 16 | here[2] << 8 | here[3];
    return (claim){bucket, here + 4, here + 4 + FIELD_BYTES};
}

/* What is claimed lies anywhere in memory: ask for it some claims ahead, so that waits overlap. */
static void expect(const table *held, const claims *asked, size_t at) {
    if (held == NULL) return;
    if (at + 2 * AHEAD < asked->count) table_expect(held, claim_at(asked, at + 2 * AHEAD).bucket);
    if (at + AHEAD < asked->count) table_expect_block(held, claim_at(asked, at + AHEAD).bucket);
}

static int same_owner(const uint8_t *one, const uint8_t *other) {
    return memcmp(one, other, OWNER_BYTES) == 0;
}

/* ---- keys of a shard ---- */

static int is_text(const RedisModuleString *held, const RedisModuleString *wanted) {
    size_t held_bytes, wanted_bytes;
    if (held == NULL) return 0;
    const char *one = api_StringPtrLen(held, &held_bytes);
    const char *other = api_StringPtrLen(wanted, &wanted_bytes);
    return held_bytes == wanted_bytes && memcmp(one, other, held_bytes) == 0;
}

static long long number_in(const RedisModuleString *held, long long otherwise) {
    long long number;
    return held != NULL && api_StringToLongLong(held, &number) == OK ? number : otherwise;
}

/* `<state>:<rest>`; NULL where the state's name is so long that none of them fits. */
static RedisModuleString *key_name(
    RedisModuleCtx *ctx, RedisModuleString *state, const char *rest
) {
    char name[NAME_BYTES + REST_BYTES];
    size_t bytes;
    const char *text = api_StringPtrLen(state, &bytes);
    if (bytes > NAME_BYTES) return NULL;
    memcpy(name, text, bytes);
    int more = snprintf(name + bytes, REST_BYTES, ":%s", rest);
    return api_CreateString(ctx, name, bytes + (size_t)more);
}

/* One generation's table. `held` is NULL while nothing is in it; `key` is open as long as that. */
typedef struct {
    RedisModuleKey *key;
    table *held;
} generation;

/* Of a slot that a cluster moves some keys may have gone before the state. The server knows, but
 * looks only at those that a command names: it does not run this one then. */
static int is_here(RedisModuleCtx *ctx, RedisModuleString *name) {
    return api_Call(ctx, "EXISTS", "s", name) != NULL;
}

static int open_generation(
    RedisModuleCtx *ctx, RedisModuleString *state, long long window, int mode, generation *opened
) {
    char number[32];
    snprintf(number, sizeof number, "%lld", window);
    RedisModuleString *name = key_name(ctx, state, number);
    if (name == NULL) {
        api_ReplyWithError(ctx, "ERR the name of the shard's state is too long");
        return ERR;
    }
    opened->held = NULL;
    opened->key = api_OpenKey(ctx, name, mode);
    int is_empty = api_KeyType(opened->key) == KEY_EMPTY;
    int counts = (mode & WRITE) != 0;
    if ((is_empty && !is_here(ctx, name)) ||
        (counts && !is_here(ctx, key_name(ctx, state, "entries")))) {
        api_ReplyWithError(ctx, "CLUSTERDOWN the slot of this shard is being moved");
        return ERR;
    }
    if (is_empty) return OK;
    if (api_ModuleTypeGetType(opened->key) == table_type) {
        opened->held = api_ModuleTypeGetValue(opened->key);
        return OK;
    }
    api_ReplyWithError(ctx, "WRONGTYPE the key of a generation does not hold a table of claims");
    return ERR;
}

static void add(generation *to, const claim *asked) {
    if (to->held == NULL) {
        to->held = table_new();
        api_ModuleTypeSetValue(to->key, table_type, to->held);
    }
    table_add(to->held, asked->bucket, asked->field, asked->value);
}

static uint8_t *find(const generation *in, const claim *asked) {
    return in->held == NULL ? NULL : table_find(in->held, asked->bucket, asked->field);
}

static void count_claims(
    RedisModuleCtx *ctx, RedisModuleString *state, long long window, long long more
) {
    if (more == 0) return;
    char number[32];
    snprintf(number, sizeof number, "%lld", window);
    RedisModuleKey *key = api_OpenKey(ctx, key_name(ctx, state, "entries"), READ | WRITE);
    RedisModuleString *held = NULL;
    api_HashGet(key, HASH_CFIELDS, number, &held, NULL);
    RedisModuleString *sum = api_CreateStringFromLongLong(ctx, number_in(held, 0) + more);
    api_HashSet(key, HASH_CFIELDS, number, sum, NULL);
    api_CloseKey(key);
}

/* ---- METERLINE.CLAIM ---- */

/* The answer for one claim; `owner` is set to whom it belongs if that is somebody. */
static char answer(
    generation *current, const generation *previous, const claim *asked, const uint8_t **owner,
    long long *claimed
) {
    *owner = find(previous, asked);
    if (*owner != NULL && same_owner(*owner, asked->value)) {
        /* A replay is in flight again: the next generation must not forget it. */
        if (find(current, asked) == NULL) {
            add(current, asked);
            ++*claimed;
        }
        return 1;
    }
    if (*owner == NULL) *owner = find(current, asked);
    if (*owner == NULL) {
        add(current, asked);
        ++*claimed;
        return 0;
    }
    if (same_owner(*owner, asked->value)) return 1;
    return memcmp(*owner + OWNER_BYTES, asked->value + OWNER_BYTES, DIGEST_BYTES) == 0 ? 2 : 3;
}

static long long claim_all(
    RedisModuleCtx *ctx, const claims *asked, generation *current, const generation *previous
) {
    long long claimed = 0;
    uint8_t *reply = api_Alloc(1 + asked->count * (1 + VALUE_BYTES));
    uint8_t *statuses = reply + 1, *owners = statuses + asked->count;
    reply[0] = 'K';
    for (size_t at = 0; at < asked->count; at++) {
        expect(current->held, asked, at);
        expect(previous->held, asked, at);
        const uint8_t *owner;
        claim each = claim_at(asked, at);
        statuses[at] = (uint8_t)answer(current, previous, &each, &owner, &claimed);
        if (statuses[at] < 2) continue;
        memcpy(owners, owner, VALUE_BYTES);
        owners += VALUE_BYTES;
    }
    api_ReplyWithStringBuffer(ctx, (const char *)reply, (size_t)(owners - reply));
    api_Free(reply);
    return claimed;
}

static int claim_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 7) return api_WrongArity(ctx);
    api_AutoMemory(ctx);
    claims asked;
    long long window;
    if (read_claims(ctx, argv[6], &asked) == ERR) return OK;
    if (api_StringToLongLong(argv[5], &window) != OK)
        return api_ReplyWithError(ctx, "ERR the window is a number");
    RedisModuleKey *state = api_OpenKey(ctx, argv[1], READ);
    RedisModuleString *marker = NULL, *newest_held = NULL, *since_held = NULL, *in_force = NULL;
    if (state != NULL) {
        api_HashGet(state, HASH_CFIELDS, "marker", &marker, "newest", &newest_held, "since",
                    &since_held, NULL);
        api_HashGet(state, 0, argv[3], &in_force, NULL);
    }
    if (!is_text(marker, argv[2])) return api_ReplyWithStringBuffer(ctx, "M", 1);
    if (!is_text(in_force, argv[4])) return api_ReplyWithStringBuffer(ctx, "G", 1);
    long long newest = number_in(newest_held, 0);
    if (newest > window) {
        char reply[32];
        int bytes = snprintf(reply, sizeof reply, "W%lld", newest);
        return api_ReplyWithStringBuffer(ctx, reply, (size_t)bytes);
    }
    long long since = number_in(since_held, window);
    if (window > newest && newest == 0) since = window;
    generation current, previous = {NULL, NULL};
    if (open_generation(ctx, argv[1], window, READ | WRITE, &current) == ERR) return OK;
    if (since < window && open_generation(ctx, argv[1], window - 1, READ, &previous) == ERR)
        return OK;
    if (window > newest) {
        RedisModuleKey *changed = api_OpenKey(ctx, argv[1], READ | WRITE);
        RedisModuleString *now = api_CreateStringFromLongLong(ctx, window);
        api_HashSet(changed, HASH_CFIELDS, "newest", now, NULL);
        if (newest == 0) api_HashSet(changed, HASH_CFIELDS, "since", now, NULL);
        api_CloseKey(changed);
    }
    long long claimed = claim_all(ctx, &asked, &current, &previous);
    count_claims(ctx, argv[1], window, claimed);
    if (claimed > 0 || window > newest) api_ReplicateVerbatim(ctx);
    return OK;
}

/* ---- the others ---- */

static int owned_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return api_WrongArity(ctx);
    api_AutoMemory(ctx);
    claims asked;
    if (read_claims(ctx, argv[3], &asked) == ERR) return OK;
    RedisModuleKey *state = api_OpenKey(ctx, argv[1], READ);
    RedisModuleString *marker = NULL, *newest_held = NULL, *since_held = NULL;
    if (state != NULL)
        api_HashGet(state, HASH_CFIELDS, "marker", &marker, "newest", &newest_held, "since",
                    &since_held, NULL);
    if (!is_text(marker, argv[2])) return api_ReplyWithStringBuffer(ctx, "M", 1);
    long long newest = number_in(newest_held, 0);
    generation current, previous = {NULL, NULL};
    if (open_generation(ctx, argv[1], newest, READ, &current) == ERR) return OK;
    if (number_in(since_held, newest) < newest &&
        open_generation(ctx, argv[1], newest - 1, READ, &previous) == ERR)
        return OK;
    uint8_t *reply = api_Alloc(1 + asked.count);
    reply[0] = 'K';
    for (size_t at = 0; at < asked.count; at++) {
        claim each = claim_at(&asked, at);
        const uint8_t *owner = find(&previous, &each);
        if (owner == NULL) owner = find(&current, &each);
        reply[1 + at] = owner != NULL && same_owner(owner, each.value);
    }
    api_ReplyWithStringBuffer(ctx, (const char *)reply, 1 + asked.count);
    api_Free(reply);
    return OK;
}

static int reassign_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 5) return api_WrongArity(ctx);
    api_AutoMemory(ctx);
    claims asked;
    if (read_claims(ctx, argv[4], &asked) == ERR) return OK;
    RedisModuleKey *state = api_OpenKey(ctx, argv[1], READ);
    RedisModuleString *marker = NULL, *newest_held = NULL;
    if (state != NULL)
        api_HashGet(state, HASH_CFIELDS, "marker", &marker, "newest", &newest_held, NULL);
    if (!is_text(marker, argv[2])) return api_ReplyWithStringBuffer(ctx, "M", 1);
    long long newest = number_in(newest_held, 0), more = 0;
    int is_held = number_in(argv[3], 0) == 1;
    generation current, previous;
    if (open_generation(ctx, argv[1], newest, READ | WRITE, &current) == ERR) return OK;
    if (open_generation(ctx, argv[1], newest - 1, READ | WRITE, &previous) == ERR) return OK;
    uint8_t *reply = api_Calloc(1 + asked.count, 1);
    reply[0] = 'K';
    for (size_t at = 0; at < asked.count; at++) {
        claim each = claim_at(&asked, at);
        if (previous.held != NULL) table_remove(previous.held, each.bucket, each.field);
        uint8_t *value = find(&current, &each);
        if (!is_held) {
            if (value != NULL) more -= table_remove(current.held, each.bucket, each.field);
        } else if (value != NULL) {
            memcpy(value, each.value, VALUE_BYTES);
        } else {
            add(&current, &each);
            more++;
        }
    }
    count_claims(ctx, argv[1], newest, more);
    api_ReplicateVerbatim(ctx);
    api_ReplyWithStringBuffer(ctx, (const char *)reply, 1 + asked.count);
    api_Free(reply);
    return OK;
}

static int restore_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 5) return api_WrongArity(ctx);
    api_AutoMemory(ctx);
    claims asked;
    long long window, more = 0;
    if (read_claims(ctx, argv[4], &asked) == ERR) return OK;
    if (api_StringToLongLong(argv[3], &window) != OK)
        return api_ReplyWithError(ctx, "ERR the window is a number");
    RedisModuleKey *state = api_OpenKey(ctx, argv[1], READ);
    RedisModuleString *token = NULL;
    if (state != NULL) api_HashGet(state, HASH_CFIELDS, "rebuild", &token, NULL);
    if (!is_text(token, argv[2])) return api_ReplyWithStringBuffer(ctx, "M", 1);
    generation to;
    if (open_generation(ctx, argv[1], window, READ | WRITE, &to) == ERR) return OK;
    for (size_t at = 0; at < asked.count; at++) {
        expect(to.held, &asked, at);
        claim each = claim_at(&asked, at);
        uint8_t *value = find(&to, &each);
        if (value != NULL) {
            memcpy(value, each.value, VALUE_BYTES);
            continue;
        }
        add(&to, &each);
        more++;
    }
    count_claims(ctx, argv[1], window, more);
    api_ReplicateVerbatim(ctx);
    return api_ReplyWithStringBuffer(ctx, "K", 1);
}

static int table_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return api_WrongArity(ctx);
    api_AutoMemory(ctx);
    RedisModuleKey *key = api_OpenKey(ctx, argv[1], READ);
    table_shape shape = {0, 0, 0};
    size_t bytes = 0;
    if (key != NULL) {
        if (api_ModuleTypeGetType(key) != table_type)
            return api_ReplyWithError(ctx, "WRONGTYPE this key does not hold a table of claims");
        const table *held = api_ModuleTypeGetValue(key);
        shape = table_measure(held);
        bytes = table_bytes(held);
    }
    api_ReplyWithArray(ctx, 4);
    api_ReplyWithLongLong(ctx, (long long)shape.entries);
    api_ReplyWithLongLong(ctx, (long long)shape.buckets);
    api_ReplyWithLongLong(ctx, (long long)shape.largest);
    api_ReplyWithLongLong(ctx, (long long)bytes);
    return OK;
}

static int fill_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return api_WrongArity(ctx);
    api_AutoMemory(ctx);
    RedisModuleKey *key = api_OpenKey(ctx, argv[1], READ | WRITE);
    table *held;
    if (api_KeyType(key) == KEY_EMPTY) {
        held = table_new();
        api_ModuleTypeSetValue(key, table_type, held);
    } else if (api_ModuleTypeGetType(key) == table_type) {
        held = api_ModuleTypeGetValue(key);
    } else {
        return api_ReplyWithError(ctx, "WRONGTYPE this key does not hold a table of claims");
    }
    size_t bytes;
    const char *packed = api_StringPtrLen(argv[2], &bytes);
    table_unpack(held, (const uint8_t *)packed, bytes);
    api_ReplicateVerbatim(ctx);
    return api_ReplyWithStringBuffer(ctx, "K", 1);
}

/* ---- files ---- */

static void save(RedisModuleIO *io, void *value) {
    const table *held = value;
    api_SaveUnsigned(io, table_pages(held));
    for (size_t page = 0; page < table_pages(held); page++) {
        size_t bytes;
        uint8_t *packed = table_pack(held, page, &bytes);
        api_SaveStringBuffer(io, packed == NULL ? "" : (const char *)packed, bytes);
        api_Free(packed);
    }
}

static void *load(RedisModuleIO *io, int encoding) {
    if (encoding != 0) return NULL;
    table *held = table_new();
    uint64_t pages = api_LoadUnsigned(io);
    for (uint64_t page = 0; page < pages; page++) {
        size_t bytes;
        char *packed = api_LoadStringBuffer(io, &bytes);
        table_unpack(held, (const uint8_t *)packed, bytes);
        api_Free(packed);
    }
    return held;
}

static void rewrite(RedisModuleIO *io, RedisModuleString *key, void *value) {
    for (size_t page = 0; page < table_pages(value); page++) {
        size_t bytes;
        uint8_t *packed = table_pack(value, page, &bytes);
        if (packed != NULL) api_EmitAOF(io, "METERLINE.FILL", "sb", key, packed, bytes);
        api_Free(packed);
    }
}

static size_t memory_of(const void *value) {
    return table_bytes(value);
}

static void release(void *value) {
    table_free(value);
}

/* So much to free that the server does it beside its work. */
static size_t effort_of(RedisModuleString *key, const void *value) {
    (void)key;
    return (size_t)table_entries(value) + 1;
}

/* ---- the module ---- */

__attribute__((visibility("default"))) int RedisModule_OnLoad(
    RedisModuleCtx *ctx, RedisModuleString **argv, int argc
);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv, (void)argc;
    int (*get)(const char *, void *) = ((int (**)(const char *, void *))ctx)[0];
#define BIND(result, name, parameters)                                                             \
    if (get("RedisModule_" #name, (void *)&api_##name) != OK) return ERR;
    REDIS_API(BIND)
#undef BIND
    /* Loaded again, the file's variables are those that are in use. */
    if (api_IsModuleNameBusy("meterline")) return ERR;
    /* A replica that ran without the module has missed claims, and would not say so. */
    if (api_GetContextFlags(ctx) & IS_REPLICA && api_DbSize(ctx) > 0) return ERR;
    api_SetModuleAttribs(ctx, "meterline", 1, API_VERSION);
    RedisModuleTypeMethods methods = {
        .version = 3, .rdb_load = load, .rdb_save = save, .aof_rewrite = rewrite,
        .mem_usage = memory_of, .free = release, .free_effort = effort_of,
    };
    RedisModuleType *made_type = api_CreateDataType(ctx, "ml-claims", 0, &methods);
    if (made_type == NULL) return ERR;
    table_type = made_type;
    const struct {
        const char *name;
        RedisModuleCommand command;
        const char *flags;
    } commands[] = {
        {"METERLINE.CLAIM", claim_command, "write deny-oom"},
        {"METERLINE.OWNED", owned_command, "readonly"},
        {"METERLINE.REASSIGN", reassign_command, "write deny-oom"},
        {"METERLINE.RESTORE", restore_command, "write deny-oom"},
        {"METERLINE.TABLE", table_command, "readonly"},
        {"METERLINE.FILL", fill_command, "write deny-oom"},
    };
    for (size_t at = 0; at < sizeof commands / sizeof *commands; at++) {
        int made = api_CreateCommand(
            ctx, commands[at].name, commands[at].command, commands[at].flags, 1, 1, 1
        );
        if (made != OK) return ERR;
    }
    return OK;
}
