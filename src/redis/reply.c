/* SPDX-License-Identifier: Apache-2.0 */
/* The parser builds replies in an arena: a list of blocks that is emptied when the next reply begins, so that a reply
 * costs no allocation. A reply larger than the bound, an array that announces more items than the bound has bytes, and
 * bytes that are no RESP end the reader. */
#include "redis/reply.h"

#include "base/err.h"
#include "base/util.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>

enum { BLOCK = 64 * 1024, BUILT_PER_BYTE = 8 };

struct block {
    struct block *next;
    size_t used, cap;
    _Alignas(16) char bytes[];
};

struct tl_reply_reader {
    redisReader *parser;
    struct block *blocks;    /* the first is kept */
    size_t max_bytes, fed;   /* bytes since the last whole reply */
    size_t max_built, built; /* bytes of the arena, for this reply */
    bool too_large, unframed;
};

static void *arena_alloc(struct tl_reply_reader *r, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    /* Small items take many times their bytes on the wire. */
    r->too_large = r->too_large || n > r->max_built - r->built;
    if (r->too_large) return NULL;
    r->built += n;
    struct block *b = r->blocks;
    if (b && b->cap - b->used >= n) {
        void *p = b->bytes + b->used;
        b->used += n;
        return p;
    }
    size_t cap = TL_MAX(n, (size_t)BLOCK);
    struct block *fresh = malloc(sizeof *fresh + cap);
    if (!fresh) return NULL;
    *fresh = (struct block){.next = b, .used = n, .cap = cap};
    r->blocks = fresh;
    return fresh->bytes;
}

/* Keeps one block of usual size. */
static void arena_reset(struct tl_reply_reader *r)
{
    while (r->blocks && (r->blocks->next || r->blocks->cap > BLOCK)) {
        struct block *next = r->blocks->next;
        free(r->blocks);
        r->blocks = next;
    }
    if (r->blocks) r->blocks->used = 0;
    r->built = 0;
}

/* A new reply, set into the array that it is an item of. */
static struct tl_reply *reply_new(const redisReadTask *task, enum tl_reply_type type)
{
    struct tl_reply *reply = arena_alloc(task->privdata, sizeof *reply);
    if (!reply) return NULL;
    *reply = (struct tl_reply){.type = type};
    if (task->parent) {
        const struct tl_reply *array = task->parent->obj;
        const struct tl_reply **items = (const struct tl_reply **)(uintptr_t)array->items;
        items[task->idx] = reply;
    }
    return reply;
}

/* The parser has read two bytes behind p + n, and does not look whether they end the string. */
static void *create_string(const redisReadTask *task, char *p, size_t n)
{
    struct tl_reply_reader *r = task->privdata;
    r->unframed = r->unframed || memcmp(p + n, "\r\n", 2) != 0;
    if (r->unframed) return NULL;
    enum tl_reply_type type = task->type == REDIS_REPLY_ERROR    ? TL_REPLY_ERROR
                              : task->type == REDIS_REPLY_STATUS ? TL_REPLY_STATUS
                                                                 : TL_REPLY_STRING;
    struct tl_reply *reply = reply_new(task, type);
    char *copy = reply ? arena_alloc(r, n + 1) : NULL;
    if (!copy) return NULL;
    memcpy(copy, p, n);
    copy[n] = '\0';
    reply->str = (struct tl_str){copy, n};
    return reply;
}

static void *create_items(const redisReadTask *task, size_t n)
{
    struct tl_reply_reader *r = task->privdata;
    r->too_large = n > r->max_bytes / 4;
    struct tl_reply *reply = r->too_large ? NULL : reply_new(task, TL_REPLY_ARRAY);
    const struct tl_reply **items = reply ? arena_alloc(r, n * sizeof(struct tl_reply *)) : NULL;
    if (!items) return NULL;
    reply->n = n;
    reply->items = items;
    return reply;
}

#if HIREDIS_MAJOR < 1
static void *create_array(const redisReadTask *task, int n)
{
    return n < 0 ? NULL : create_items(task, (size_t)n);
}
#else
static void *create_array(const redisReadTask *task, size_t n)
{
    return create_items(task, n);
}
#endif

static void *create_integer(const redisReadTask *task, long long value)
{
    struct tl_reply *reply = reply_new(task, TL_REPLY_INTEGER);
    if (reply) reply->integer = value;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    return reply_new(task, TL_REPLY_NIL);
}

#if HIREDIS_MAJOR >= 1
/* Without these the parser would make up a pointer. A server that was not asked for RESP3 does not send it. */
static void *no_double(const redisReadTask *task, double value, char *p, size_t n)
{
    (void)task, (void)value, (void)p, (void)n;
    return NULL;
}

static void *no_bool(const redisReadTask *task, int value)
{
    (void)task, (void)value;
    return NULL;
}
#endif

static void free_object(void *reply)
{
    (void)reply; /* the arena's */
}

struct tl_reply_reader *tl_reply_reader_new(size_t max_bytes)
{
    static redisReplyObjectFunctions functions = {
        .createString = create_string,
        .createArray = create_array,
        .createInteger = create_integer,
        .createNil = create_nil,
#if HIREDIS_MAJOR >= 1
        .createDouble = no_double,
        .createBool = no_bool,
#endif
        .freeObject = free_object
    };
    struct tl_reply_reader *r = tl_calloc(1, sizeof *r);
    redisReader *parser = r ? redisReaderCreateWithFunctions(&functions) : NULL;
    if (!parser) {
        free(r);
        return NULL;
    }
    parser->privdata = r;
    parser->maxbuf = (size_t)1 << 20;
    r->parser = parser;
    r->max_bytes = max_bytes;
    r->max_built = max_bytes < SIZE_MAX / BUILT_PER_BYTE ? BUILT_PER_BYTE * max_bytes : SIZE_MAX;
    return r;
}

void tl_reply_reader_free(struct tl_reply_reader *r)
{
    if (!r) return;
    redisReaderFree(r->parser);
    while (r->blocks) {
        struct block *next = r->blocks->next;
        free(r->blocks);
        r->blocks = next;
    }
    free(r);
}

enum tl_status tl_reply_reader_feed(struct tl_reply_reader *r, const void *p, size_t n, struct tl_err *err)
{
    r->fed += n;
    if (redisReaderFeed(r->parser, p, n) != REDIS_OK)
        return tl_fail(err, TL_NOMEM, "no memory for a reply (%s)", r->parser->errstr);
    return TL_OK;
}

enum tl_status tl_reply_reader_next(struct tl_reply_reader *r, const struct tl_reply **out, struct tl_err *err)
{
    void *reply = NULL;
    if (r->parser->ridx < 0) arena_reset(r); /* a reply begins */
    int rc = redisReaderGetReply(r->parser, &reply);
    if (rc != REDIS_OK && r->too_large)
        return tl_fail(err, TL_TOO_LARGE, "a reply larger than %zu bytes", r->max_bytes);
    if (rc != REDIS_OK && r->unframed)
        return tl_fail(err, TL_PARSE, "the server does not speak Redis (a string longer than announced)");
    if (rc != REDIS_OK && r->parser->err == REDIS_ERR_OOM) return tl_fail(err, TL_NOMEM, "no memory for a reply");
    if (rc != REDIS_OK) return tl_fail(err, TL_PARSE, "the server does not speak Redis (%s)", r->parser->errstr);
    size_t rest = reply ? r->parser->len - r->parser->pos : 0;
    if (r->fed - rest > r->max_bytes) return tl_fail(err, TL_TOO_LARGE, "a reply larger than %zu bytes", r->max_bytes);
    if (reply) r->fed = rest;
    *out = reply;
    return TL_OK;
}

struct tl_str tl_reply_error_inner(struct tl_str text)
{
    static const char around[] = "ERR Error running script";
    size_t n = sizeof around - 1;
    const char *mark = text.n > n && memcmp(text.p, around, n) == 0 ? memmem(text.p, text.n, ": -", 3) : NULL;
    return mark ? (struct tl_str){mark + 3, text.n - (size_t)(mark + 3 - text.p)} : text;
}

enum tl_status tl_reply_error_status(struct tl_str text)
{
    struct tl_str inner = tl_reply_error_inner(text);
    static const struct {
        const char *begins;
        enum tl_status status;
    } kinds[] = {{"OOM ", TL_FULL},         {"NOAUTH ", TL_DENIED},      {"WRONGPASS ", TL_DENIED},
                 {"NOPERM ", TL_DENIED},    {"LOADING ", TL_BUSY},       {"READONLY ", TL_BUSY},
                 {"BUSY ", TL_BUSY},        {"TRYAGAIN ", TL_BUSY},      {"MASTERDOWN ", TL_BUSY},
                 {"CLUSTERDOWN ", TL_BUSY}, {"WRONGTYPE ", TL_CONFLICT}, {"MISCONF ", TL_BUSY},
                 {"NOREPLICAS ", TL_BUSY}};
    for (size_t i = 0; i < TL_COUNT(kinds); i++) {
        size_t n = strlen(kinds[i].begins);
        if (inner.n >= n && memcmp(inner.p, kinds[i].begins, n) == 0) return kinds[i].status;
    }
    return TL_INVALID;
}
