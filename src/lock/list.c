/* SPDX-License-Identifier: Apache-2.0 */
/* Every lease that is held, those of computations with them: SCAN over the keys, then GET and PTTL of each page's. When
 * the connection is closed its commands end, and a listing with them. */
#include "lock/locks.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { LEASES_MAX = 100000 };

struct looking { /* one key */
    struct tl_listing *listing;
    struct tl_redis_cmd get, pttl;
    struct tl_str get_argv[2], pttl_argv[2];
    char key[TL_LOCK_KEY_MAX];
    struct tl_lease_info info;
    bool held;
};

struct tl_listing {
    struct tl_locks *locks;
    struct tl_locks_list *op;
    tl_locks_list_cb *cb;
    uint64_t end_ns;
    struct tl_redis_cmd scan;
    struct tl_str argv[6];
    char cursor[24], match[160];
    struct looking *page; /* [own] */
    size_t n_page, open;
    bool over;
    size_t cap;
    enum tl_status status;
};

static enum tl_status scan(struct tl_listing *, struct tl_err *err);

static int by_name(const void *a, const void *b)
{
    const struct tl_lease_info *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->computation - y->computation;
}

static void end(struct tl_listing *t, enum tl_status status)
{
    struct tl_locks_list *op = t->op;
    /* SCAN may show a key twice. */
    size_t n = 0;
    if (op->n) qsort(op->items, op->n, sizeof *op->items, by_name);
    for (size_t i = 0; i < op->n; i++)
        if (n == 0 || by_name(&op->items[n - 1], &op->items[i]) != 0) op->items[n++] = op->items[i];
    op->n = n;
    op->state = NULL;
    struct tl_lease_info *items = op->items;
    tl_locks_list_cb *cb = t->cb;
    free(t->page);
    free(t);
    cb(op, status);
    free(items);
}

static uint64_t left_ms(const struct tl_listing *t)
{
    uint64_t now = tl_locks_now_ns(t->locks);
    return t->end_ns > now ? (t->end_ns - now) / 1000000 + 1 : 1;
}

static enum tl_status note(struct tl_listing *t, enum tl_status status, const struct tl_err *err)
{
    if (t->status == TL_OK && status != TL_OK) {
        t->status = status;
        t->op->err = *err;
    }
    return t->status;
}

static bool keep(struct tl_listing *t, const struct tl_lease_info *info)
{
    struct tl_locks_list *op = t->op;
    if (op->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct tl_lease_info *more = cap <= LEASES_MAX ? tl_realloc(op->items, cap, sizeof *more) : NULL;
        if (!more) return false;
        op->items = more;
        t->cap = cap;
    }
    op->items[op->n++] = *info;
    return true;
}

static void page_done(struct tl_listing *t)
{
    for (size_t i = 0; t->status == TL_OK && i < t->n_page; i++)
        if (t->page[i].held && !keep(t, &t->page[i].info))
            t->status = tl_fail(&t->op->err, TL_TOO_LARGE, "more than %d leases", LEASES_MAX);
    free(t->page);
    t->page = NULL;
    t->n_page = 0;
    if (t->status == TL_OK && !t->over) t->status = scan(t, &t->op->err);
    if (t->status != TL_OK || t->over) end(t, t->status);
}

/* "lock:{NAME}" behind the prefix, or, of a computation, "lock:KEY" with a key of the cache ("calc:{SYMBOL}:..."). */
static bool name_of(const struct tl_locks *c, const char *key, struct tl_lease_info *info)
{
    size_t n = 0, skip = strlen(c->prefix) + sizeof "lock:" - 1, length = strlen(key);
    char *out = info->name;
    if (length < skip + 3) return false;
    info->computation = key[skip] != '{';
    if (!info->computation && key[length - 1] != '}') return false;
    for (const char *p = key + skip; p < key + length;) {
        unsigned byte = (unsigned char)*p;
        if (*p == '{' || *p == '}') { /* those of names are encoded */
            p++;
            continue;
        }
        if (n == TL_LEASE_NAME_MAX && info->computation) break; /* a key may be longer: its beginning does */
        if (n == TL_LEASE_NAME_MAX) return false;
        if (*p == '%' && sscanf(p + 1, "%2x", &byte) == 1)
            p += 3;
        else
            p++;
        out[n++] = (char)byte;
    }
    out[n] = '\0';
    return true;
}

static void on_value(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct looking *k = cmd->user;
    struct tl_listing *t = k->listing;
    struct tl_str part, value = reply && reply->type == TL_REPLY_STRING ? reply->str : (struct tl_str){"", 0};
    struct tl_str parts[3];
    size_t n = 0;
    int64_t token = 0;
    note(t, status == TL_CONFLICT ? TL_OK : status, err); /* CONFLICT: a key of another type */
    while (value.n && n < TL_COUNT(parts) && tl_str_split(&value, ':', &part)) parts[n++] = part;
    k->held = n == 3 && parts[0].n == 16 && tl_str_to_i64(parts[2], &token) && name_of(t->locks, k->key, &k->info);
    if (k->held) snprintf(k->info.holder, sizeof k->info.holder, "%.*s", TL_STR_ARG(parts[0]));
    k->info.token = (uint64_t)token;
    if (--t->open == 0) page_done(t);
}

static void on_left(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err)
{
    struct looking *k = cmd->user;
    struct tl_listing *t = k->listing;
    note(t, status, err);
    k->held = k->held && status == TL_OK && reply->type == TL_REPLY_INTEGER && reply->integer >= 0;
    k->info.left_ms = k->held ? (uint64_t)reply->integer : 0;
    if (--t->open == 0) page_done(t);
}

/* The two are answered in order. */
static void look_at(struct tl_listing *t, struct looking *k, struct tl_str key)
{
    struct tl_err err;
    if (key.n >= sizeof k->key) return;
    k->listing = t;
    memcpy(k->key, key.p, key.n);
    k->key[key.n] = '\0';
    k->get_argv[0] = TL_STR("GET");
    k->pttl_argv[0] = TL_STR("PTTL");
    k->get_argv[1] = k->pttl_argv[1] = tl_str(k->key);
    k->get = (struct tl_redis_cmd){.argv = k->get_argv, .argc = 2, .cb = on_value, .user = k};
    k->pttl = (struct tl_redis_cmd){.argv = k->pttl_argv, .argc = 2, .cb = on_left, .user = k};
    enum tl_status st = tl_redis_submit(t->locks->redis, &k->get, left_ms(t), &err);
    if (st == TL_OK) {
        t->open++;
        st = tl_redis_submit(t->locks->redis, &k->pttl, left_ms(t), &err);
    }
    if (st == TL_OK)
        t->open++;
    else
        note(t, st, &err);
}

static void on_scanned(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                       const struct tl_err *err)
{
    struct tl_listing *t = cmd->user;
    struct tl_err local;
    t->open = 1; /* this callback's own */
    bool understood = status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n == 2 &&
                      reply->items[0]->type == TL_REPLY_STRING && reply->items[0]->str.n < sizeof t->cursor &&
                      reply->items[1]->type == TL_REPLY_ARRAY;
    if (status == TL_OK && !understood) status = tl_fail(&local, TL_CORRUPT, "Redis' SCAN cannot be understood");
    if (note(t, status, status == TL_CORRUPT ? &local : err) == TL_OK) {
        const struct tl_reply *keys = reply->items[1];
        snprintf(t->cursor, sizeof t->cursor, "%.*s", TL_STR_ARG(reply->items[0]->str));
        t->over = strcmp(t->cursor, "0") == 0;
        t->page = keys->n ? tl_calloc(keys->n, sizeof *t->page) : NULL;
        if (keys->n && !t->page) t->status = tl_fail(&t->op->err, TL_NOMEM, "no memory for a list of leases");
        for (size_t i = 0; t->status == TL_OK && i < keys->n; i++) {
            t->n_page = i + 1;
            look_at(t, &t->page[i], keys->items[i]->str);
        }
    }
    if (--t->open == 0) page_done(t);
}

static enum tl_status scan(struct tl_listing *t, struct tl_err *err)
{
    struct tl_str args[] = {TL_STR("SCAN"),   tl_str(t->cursor), TL_STR("MATCH"),
                            tl_str(t->match), TL_STR("COUNT"),   TL_STR("500")};
    memcpy(t->argv, args, sizeof args);
    t->scan = (struct tl_redis_cmd){.argv = t->argv, .argc = TL_COUNT(args), .cb = on_scanned, .user = t};
    return tl_redis_submit(t->locks->redis, &t->scan, left_ms(t), err);
}

enum tl_status tl_locks_list(struct tl_locks *c, struct tl_locks_list *op, uint64_t deadline_ms, tl_locks_list_cb *cb,
                             struct tl_err *err)
{
    if (c->closing) return tl_fail(err, TL_CANCELLED, "the locks are being closed");
    struct tl_listing *t = tl_calloc(1, sizeof *t);
    if (!t) return tl_fail(err, TL_NOMEM, "no memory for a list of leases");
    *t = (struct tl_listing){.locks = c, .op = op, .cb = cb, .cursor = "0"};
    t->end_ns = tl_locks_now_ns(c) + deadline_ms * 1000000;
    size_t n = 0;
    for (const char *p = c->prefix; *p; p++) { /* a prefix is no pattern */
        if (strchr("*?[]", *p)) t->match[n++] = '\\';
        t->match[n++] = *p;
    }
    snprintf(t->match + n, sizeof t->match - n, "lock:*");
    op->items = NULL;
    op->n = 0;
    op->state = t;
    enum tl_status st = scan(t, err);
    if (st == TL_OK) return TL_OK;
    op->state = NULL;
    free(t);
    return st;
}
