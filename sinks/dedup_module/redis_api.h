/* The part of Redis's module interface that the dedup module uses: of Redis 6.2 and newer.
 *
 * A module finds each function of the server by its name; nothing is linked. The declarations have
 * that interface's signatures and numbers, and no more of it.
 */
#ifndef METERLINE_REDIS_API_H
#define METERLINE_REDIS_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleIO RedisModuleIO;
typedef struct RedisModuleType RedisModuleType;
typedef struct RedisModuleDigest RedisModuleDigest;
typedef struct RedisModuleCallReply RedisModuleCallReply;

enum { OK = 0, ERR = 1, API_VERSION = 1 };
enum { READ = 1, WRITE = 2 };
enum { KEY_EMPTY = 0, KEY_MODULE = 6 };
enum { HASH_CFIELDS = 1 << 2 };
enum { IS_REPLICA = 1 << 3 };

typedef struct {
    uint64_t version;
    void *(*rdb_load)(RedisModuleIO *io, int encoding);
    void (*rdb_save)(RedisModuleIO *io, void *value);
    void (*aof_rewrite)(RedisModuleIO *io, RedisModuleString *key, void *value);
    size_t (*mem_usage)(const void *value);
    void (*digest)(RedisModuleDigest *digest, void *value);
    void (*free)(void *value);
    int (*aux_load)(RedisModuleIO *io, int encoding, int when);
    void (*aux_save)(RedisModuleIO *io, int when);
    int aux_save_triggers;
    size_t (*free_effort)(RedisModuleString *key, const void *value);
    void (*unlink)(RedisModuleString *key, const void *value);
    void *(*copy)(RedisModuleString *from, RedisModuleString *to, const void *value);
    int (*defrag)(void *defrag, RedisModuleString *key, void **value);
} RedisModuleTypeMethods;

typedef int (*RedisModuleCommand)(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

/* X(result, name, parameters) for each function; `api_<name>` is what it is called by here. */
#define REDIS_API(X)                                                                               \
    X(void *, Alloc, (size_t bytes))                                                               \
    X(void *, Calloc, (size_t count, size_t bytes))                                                \
    X(void *, Realloc, (void *held, size_t bytes))                                                 \
    X(void, Free, (void *held))                                                                    \
    X(void, SetModuleAttribs, (RedisModuleCtx *, const char *name, int version, int api))          \
    X(int, IsModuleNameBusy, (const char *name))                                                   \
    X(int, GetContextFlags, (RedisModuleCtx *))                                                    \
    X(unsigned long long, DbSize, (RedisModuleCtx *))                                              \
    X(RedisModuleCallReply *, Call,                                                                \
      (RedisModuleCtx *, const char *command, const char *format, ...))                            \
    X(int, CreateCommand,                                                                          \
      (RedisModuleCtx *, const char *name, RedisModuleCommand, const char *flags, int first,       \
       int last, int step))                                                                        \
    X(RedisModuleType *, CreateDataType,                                                           \
      (RedisModuleCtx *, const char *name, int encoding, RedisModuleTypeMethods *))                \
    X(void, AutoMemory, (RedisModuleCtx *))                                                        \
    X(int, WrongArity, (RedisModuleCtx *))                                                         \
    X(int, ReplyWithError, (RedisModuleCtx *, const char *))                                       \
    X(int, ReplyWithStringBuffer, (RedisModuleCtx *, const char *, size_t))                        \
    X(int, ReplyWithArray, (RedisModuleCtx *, long count))                                         \
    X(int, ReplyWithLongLong, (RedisModuleCtx *, long long))                                       \
    X(int, ReplicateVerbatim, (RedisModuleCtx *))                                                  \
    X(const char *, StringPtrLen, (const RedisModuleString *, size_t *bytes))                      \
    X(int, StringToLongLong, (const RedisModuleString *, long long *))                             \
    X(RedisModuleString *, CreateString, (RedisModuleCtx *, const char *, size_t))                 \
    X(RedisModuleString *, CreateStringFromLongLong, (RedisModuleCtx *, long long))                \
    X(RedisModuleKey *, OpenKey, (RedisModuleCtx *, RedisModuleString *, int mode))                \
    X(void, CloseKey, (RedisModuleKey *))                                                          \
    X(int, KeyType, (RedisModuleKey *))                                                            \
    X(RedisModuleType *, ModuleTypeGetType, (RedisModuleKey *))                                    \
    X(void *, ModuleTypeGetValue, (RedisModuleKey *))                                              \
    X(int, ModuleTypeSetValue, (RedisModuleKey *, RedisModuleType *, void *value))                 \
    X(int, HashGet, (RedisModuleKey *, int flags, ...))                                            \
    X(int, HashSet, (RedisModuleKey *, int flags, ...))                                            \
    X(void, SaveUnsigned, (RedisModuleIO *, uint64_t))                                             \
    X(uint64_t, LoadUnsigned, (RedisModuleIO *))                                                   \
    X(void, SaveStringBuffer, (RedisModuleIO *, const char *, size_t))                             \
    X(char *, LoadStringBuffer, (RedisModuleIO *, size_t *bytes))                                  \
    X(void, EmitAOF, (RedisModuleIO *, const char *command, const char *format, ...))

#define DECLARE(result, name, parameters) extern result(*api_##name) parameters;
REDIS_API(DECLARE)
#undef DECLARE

#endif
