/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to the options of store and cache. Opens nothing but the store, and holds nothing. */
#include "server/options.h"

#include "base/err.h"
#include "base/util.h"

enum { RULES_MAX = 64, TYPE_MAX = 65 };

struct rules {
    struct tl_ttl_rule rule[RULES_MAX];
    char type[RULES_MAX][TYPE_MAX];
};

bool tl_config_no_store(const struct tl_config *cfg)
{
    return strcmp(tl_config_str(cfg, "store"), "none") == 0;
}

bool tl_config_no_redis(const struct tl_config *cfg)
{
    const char *url = tl_config_str(cfg, "redis");
    return !url[0] || strcmp(url, "none") == 0;
}

enum tl_status tl_config_open_store(const struct tl_config *cfg, bool read_only, const struct tl_clock *clock,
                                    const struct tl_log *log, struct tl_store **out, struct tl_err *err)
{
    struct tl_store_options options = {
        .busy_ms = (uint32_t)tl_config_int(cfg, "store.busy_ms"),
        .queue_bytes = (size_t)tl_config_int(cfg, "store.queue_bytes"),
        .read_only = read_only,
        .clock = clock,
        .log = log,
    };
    return tl_store_open(tl_config_str(cfg, "store"), &options, out, err);
}

static enum tl_status one_time(const char *what, struct tl_str text, uint32_t *out, struct tl_err *err)
{
    int64_t ms;
    text = tl_str_trim(text);
    if (tl_str_eq(text, TL_STR("forever"))) {
        *out = TL_FOREVER;
        return TL_OK;
    }
    if (!tl_duration_parse(text, &ms) || ms < 1)
        return tl_fail(err, TL_INVALID, "%s: '%.*s' is not a time like 500ms, 30s, 5m, 1h, 7d or forever", what,
                       TL_STR_ARG(text));
    *out = (uint32_t)TL_MIN(ms, (int64_t)TL_FOREVER - 1);
    return TL_OK;
}

enum tl_status tl_ttl_read(const char *what, struct tl_str text, struct tl_ttl *out, struct tl_err *err)
{
    uint32_t *const to[] = {&out->fresh_ms, &out->redis_ms, &out->store_ms};
    struct tl_str part;
    *out = (struct tl_ttl){.fresh_ms = 0};
    for (size_t i = 0; tl_str_split(&text, '/', &part); i++) {
        if (i == TL_COUNT(to)) return tl_fail(err, TL_INVALID, "%s: at most FRESH/REDIS/STORE", what);
        enum tl_status st = one_time(what, part, to[i], err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

/* "tick_data=30s; *=5m/7d" */
static enum tl_status parse_rules(struct tl_str text, struct rules *rules, size_t *n, struct tl_err *err)
{
    struct tl_str piece;
    while (tl_str_split(&text, ';', &piece)) {
        piece = tl_str_trim(piece);
        if (piece.n == 0) continue;
        const char *eq = memchr(piece.p, '=', piece.n);
        struct tl_str type = tl_str_trim((struct tl_str){piece.p, eq ? (size_t)(eq - piece.p) : 0});
        if (type.n == 0 || type.n >= TYPE_MAX || *n == RULES_MAX)
            return tl_fail(err, TL_INVALID, "cache.ttl: '%.*s' is not TYPE=TIME (at most %d of them)",
                           TL_STR_ARG(piece), RULES_MAX);
        struct tl_ttl_rule *r = &rules->rule[*n];
        memcpy(rules->type[*n], type.p, type.n);
        r->data_type = tl_str_eq(type, TL_STR("*")) ? NULL : rules->type[*n];
        struct tl_str times = {eq + 1, (size_t)(piece.p + piece.n - eq) - 1};
        enum tl_status st = tl_ttl_read("cache.ttl", times, &r->ttl, err);
        if (st != TL_OK) return st;
        ++*n;
    }
    return TL_OK;
}

enum tl_status tl_cache_options_read(const struct tl_config *cfg, struct tl_cache_options *out, struct tl_err *err)
{
    struct rules *rules = tl_calloc(1, sizeof *rules);
    if (!rules) return tl_fail(err, TL_NOMEM, "no memory for cache.ttl");
    *out = (struct tl_cache_options){.redis_url = tl_config_str(cfg, "redis"),
                                     .prefix = tl_config_str(cfg, "redis.prefix"),
                                     .memory_bytes = (size_t)tl_config_int(cfg, "cache.memory_bytes"),
                                     .queue_bytes = (size_t)tl_config_int(cfg, "cache.queue_bytes"),
                                     .redis_timeout_ms = (uint32_t)tl_config_int(cfg, "redis.timeout_ms"),
                                     .rules = rules->rule};
    enum tl_status st = parse_rules(tl_str(tl_config_str(cfg, "cache.ttl")), rules, &out->n_rules, err);
    if (st != TL_OK) tl_cache_options_release(out);
    return st;
}

void tl_cache_options_release(struct tl_cache_options *o)
{
    free((void *)(uintptr_t)o->rules); /* the first member of struct rules */
    o->rules = NULL;
}
