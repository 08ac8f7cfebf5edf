/* SPDX-License-Identifier: Apache-2.0 */
/* The general cache over HTTP: values by data type, symbol and timeframe, one and many, invalidations, statistics. A
 * value is handed out as the bytes that were put, with where it came from in headers. */
#include "base/err.h"
#include "base/util.h"
#include "cache/report.h"
#include "server/options.h"
#include "server/api.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum { DEADLINE_MS = 10000, MANY_MAX = 1000 };

/* "-" stands for none, as in the keys. */
static const char *part(const char *text)
{
    return !text[0] || strcmp(text, "-") == 0 ? NULL : text;
}

static struct tl_key key_of(const struct api_call *c)
{
    return (struct tl_key){
        .data_type = api_path(c, 0), .symbol = part(api_path(c, 1)), .timeframe = part(api_path(c, 2))};
}

/* "30s", "5m/1d/30d" of the parameter. false: the call has been answered. */
static bool ttl_of(struct api_call *c, struct tl_ttl *out)
{
    const char *text = api_text(c, "ttl");
    struct tl_err err;
    *out = (struct tl_ttl){.fresh_ms = 0};
    enum tl_status st = text ? tl_ttl_read("ttl", tl_str(text), out, &err) : TL_OK;
    if (st == TL_OK) return true;
    api_fail(c, st, "ttl", &err);
    return false;
}

static enum tl_tier_id wait_of(const struct api_call *c)
{
    const char *wait = api_text(c, "wait");
    return !wait || strcmp(wait, "memory") == 0 ? TL_TIER_MEMORY
           : strcmp(wait, "redis") == 0         ? TL_TIER_REDIS
                                                : TL_TIER_STORE;
}

/* ---- one value ---- */

static void release_get(void *state)
{
    struct tl_get *g = state;
    tl_value_unref(g->item.value);
    free(g);
}

static void unref_value(void *value)
{
    tl_value_unref(value);
}

static bool is_json(struct tl_str bytes)
{
    json_t *doc = bytes.n <= 65536 ? json_loadb(bytes.p, bytes.n, JSON_DECODE_ANY, NULL) : NULL;
    json_decref(doc);
    return doc != NULL;
}

static void on_got(struct tl_get *op, enum tl_status status)
{
    struct api_call *c = op->user;
    struct tl_get_item *item = &op->item;
    if (status != TL_OK) {
        (void)tl_fail(&c->err, status, "%s", status == TL_NOT_FOUND ? "no such value" : tl_status_text(status));
        api_fail(c, status, NULL, &c->err);
        return;
    }
    size_t n;
    const void *bytes = tl_value_bytes(item->value, &n);
    struct tl_http_body *body = tl_http_body_wrap(bytes, n, unref_value, tl_value_ref(item->value));
    char age[32];
    snprintf(age, sizeof age, "%" PRId64, item->age_ms);
    const struct tl_http_header_row rows[] = {{"Tierline-Source", tl_tier_name(item->source)},
                                              {"Tierline-Freshness", tl_freshness_name(item->freshness)},
                                              {"Tierline-Age-Ms", age},
                                              {"Cache-Control", "no-store"}};
    if (!body) tl_value_unref(item->value);
    if (!body)
        api_fail(c, TL_NOMEM, NULL, NULL);
    else
        api_reply_body(c,
                       &(struct tl_http_answer){.status = 200,
                                                .type = is_json((struct tl_str){bytes, n}) ? "application/json"
                                                                                           : "application/octet-stream",
                                                .body = body,
                                                .headers = rows,
                                                .n_headers = TL_COUNT(rows),
                                                .compress = true});
}

void api_get_cache(struct api_call *c)
{
    struct tl_key key = key_of(c);
    struct tl_get *g = c->state = tl_calloc(1, sizeof *g);
    c->release = g ? release_get : NULL;
    if (g) {
        int64_t max_age = api_number(c, "max_age", -1);
        g->max_age_ms = max_age == 0 ? TL_AGE_NOW : max_age < 0 ? 0 : max_age;
        g->user = c;
    }
    enum tl_status st = g ? tl_cache_get(c->api->cache, g, &key, DEADLINE_MS, on_got, &c->err) : TL_NOMEM;
    if (st != TL_OK) api_fail(c, st, NULL, g ? &c->err : NULL);
}

static void on_put(struct tl_put *op, enum tl_status status)
{
    struct api_call *c = op->user;
    if (status == TL_OK)
        api_reply_empty(c, 204);
    else
        api_fail(c, status, NULL, NULL);
}

void api_put_cache(struct api_call *c)
{
    struct tl_key key = key_of(c);
    struct tl_str body = tl_http_body(c->http);
    struct tl_ttl ttl;
    if (!ttl_of(c, &ttl)) return;
    struct tl_put *p = c->state = tl_calloc(1, sizeof *p);
    if (p) {
        p->wait = wait_of(c);
        p->user = c;
    }
    enum tl_status st =
        p ? tl_cache_put(c->api->cache, p, &key, body.p ? body.p : "", body.n, &ttl, DEADLINE_MS, on_put, &c->err)
          : TL_NOMEM;
    if (st != TL_OK) api_fail(c, st, NULL, p ? &c->err : NULL);
}

/* ---- invalidation ---- */

static void on_invalidated(struct tl_invalidate *op, enum tl_status status)
{
    struct api_call *c = op->user;
    if (status == TL_OK)
        api_reply_empty(c, 204);
    else
        api_fail(c, status, NULL, &op->err);
}

static void invalidate(struct api_call *c, enum tl_scope scope, const struct tl_key *key)
{
    struct tl_invalidate *v = c->state = tl_calloc(1, sizeof *v);
    if (v) v->user = c;
    enum tl_status st =
        v ? tl_cache_invalidate(c->api->cache, v, scope, key, DEADLINE_MS, on_invalidated, &c->err) : TL_NOMEM;
    if (st != TL_OK) api_fail(c, st, NULL, v ? &c->err : NULL);
}

void api_delete_cache(struct api_call *c)
{
    struct tl_key key = key_of(c);
    invalidate(c, TL_SCOPE_KEY, &key);
}

void api_invalidate(struct api_call *c)
{
    const char *by = api_text(c, "by"), *symbol = api_text(c, "symbol"), *type = api_text(c, "type"),
               *timeframe = api_text(c, "timeframe");
    struct tl_key key = {.data_type = type, .symbol = symbol, .timeframe = timeframe};
    enum tl_scope scope = strcmp(by, "key") == 0      ? TL_SCOPE_KEY
                          : strcmp(by, "symbol") == 0 ? TL_SCOPE_SYMBOL
                          : strcmp(by, "type") == 0   ? TL_SCOPE_TYPE
                          : strcmp(by, "group") == 0  ? TL_SCOPE_GROUP
                                                      : TL_SCOPE_ALL;
    if ((scope == TL_SCOPE_SYMBOL || scope == TL_SCOPE_GROUP) && !symbol)
        api_problem(c, 400, "INVALID", "symbol", "by this form a symbol is needed");
    else if ((scope == TL_SCOPE_KEY || scope == TL_SCOPE_TYPE || scope == TL_SCOPE_GROUP) && !type)
        api_problem(c, 400, "INVALID", "type", "by this form a type is needed");
    else
        invalidate(c, scope, &key);
}

/* ---- many ---- */

struct many {
    struct tl_get get;
    struct tl_put put;
    struct tl_get_item *gets;
    struct tl_put_item *puts;
    size_t n;
    json_t *doc;
    char **texts; /* [own] */
};

static void release_many(void *state)
{
    struct many *m = state;
    for (size_t i = 0; m->gets && i < m->n; i++) tl_value_unref(m->gets[i].value);
    for (size_t i = 0; m->texts && i < m->n; i++) free(m->texts[i]);
    free(m->gets);
    free(m->puts);
    free(m->texts);
    json_decref(m->doc);
    free(m);
}

static enum tl_status read_many(struct api_call *c, struct many *m)
{
    struct tl_str body = tl_http_body(c->http);
    json_error_t bad;
    m->doc = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
    if (!m->doc) return tl_fail(&c->err, TL_PARSE, "line %d, column %d: %s", bad.line, bad.column, bad.text);
    const json_t *list = json_object_get(m->doc, "items");
    m->n = json_array_size(list);
    if (m->n == 0 || m->n > MANY_MAX) {
        m->n = 0;
        return tl_fail(&c->err, TL_INVALID, "items: 1 to %d objects with type, symbol and timeframe", MANY_MAX);
    }
    return TL_OK;
}

static enum tl_status read_key(const json_t *o, size_t i, struct tl_key *key, struct tl_err *err)
{
    struct tl_cache_key text;
    struct tl_err why;
    key->data_type = json_string_value(json_object_get(o, "type"));
    key->symbol = json_string_value(json_object_get(o, "symbol"));
    key->timeframe = json_string_value(json_object_get(o, "timeframe"));
    if (!key->data_type) return tl_fail(err, TL_INVALID, "items[%zu]: \"type\" (a text) is needed", i);
    enum tl_status st = tl_cache_key_general(key, &text, &why);
    return st == TL_OK ? TL_OK : tl_fail(err, st, "items[%zu]: %s", i, why.text);
}

static void json_key_parts(struct tl_json *j, const struct many *m, size_t i)
{
    static const char *const names[] = {"type", "symbol", "timeframe"};
    const json_t *o = json_array_get(json_object_get(m->doc, "items"), i);
    for (size_t k = 0; k < TL_COUNT(names); k++) {
        tl_json_key(j, names[k]);
        tl_json_cstr(j, json_string_value(json_object_get(o, names[k])));
    }
}

static void on_many_got(struct tl_get *op, enum tl_status status)
{
    struct api_call *c = op->user;
    struct many *m = c->state;
    struct tl_json j;
    if (status != TL_OK && status != TL_SOME_FAILED) {
        api_fail(c, status, NULL, NULL);
        return;
    }
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "items");
    tl_json_array(&j);
    for (size_t i = 0; i < m->n; i++) {
        const struct tl_get_item *item = &m->gets[i];
        size_t n = 0;
        const char *bytes = item->value ? tl_value_bytes(item->value, &n) : NULL;
        tl_json_object(&j);
        json_key_parts(&j, m, i);
        tl_json_key(&j, "status");
        tl_json_cstr(&j, tl_status_name(item->status));
        if (item->status == TL_OK) {
            tl_json_key(&j, "source");
            tl_json_cstr(&j, tl_tier_name(item->source));
            tl_json_key(&j, "freshness");
            tl_json_cstr(&j, tl_freshness_name(item->freshness));
            tl_json_key(&j, "age_ms");
            tl_json_i64(&j, item->age_ms);
            tl_json_key(&j, "value");
            tl_json_str(&j, (struct tl_str){bytes, n});
        }
        tl_json_object_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}

static struct many *many_new(struct api_call *c)
{
    struct many *m = tl_calloc(1, sizeof *m);
    if (!m) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return NULL;
    }
    c->state = m;
    c->release = release_many;
    return m;
}

void api_post_cache_get(struct api_call *c)
{
    struct many *m = many_new(c);
    if (!m) return;
    enum tl_status st = read_many(c, m);
    if (st == TL_OK && !(m->gets = tl_calloc(m->n, sizeof *m->gets))) st = tl_fail(&c->err, TL_NOMEM, "no memory");
    for (size_t i = 0; st == TL_OK && i < m->n; i++)
        st = read_key(json_array_get(json_object_get(m->doc, "items"), i), i, &m->gets[i].key, &c->err);
    m->get.user = c;
    if (st == TL_OK) st = tl_cache_get_many(c->api->cache, &m->get, m->gets, m->n, DEADLINE_MS, on_many_got, &c->err);
    if (st != TL_OK) api_fail(c, st, "body", &c->err);
}

static void on_many_put(struct tl_put *op, enum tl_status status)
{
    struct api_call *c = op->user;
    const struct many *m = c->state;
    struct tl_json j;
    size_t failed = 0;
    if (status != TL_OK && status != TL_SOME_FAILED) {
        api_fail(c, status, NULL, NULL);
        return;
    }
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "items");
    tl_json_array(&j);
    for (size_t i = 0; i < m->n; i++) {
        failed += m->puts[i].status != TL_OK;
        tl_json_object(&j);
        json_key_parts(&j, m, i);
        tl_json_key(&j, "status");
        tl_json_cstr(&j, tl_status_name(m->puts[i].status));
        tl_json_object_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_key(&j, "failed");
    tl_json_u64(&j, failed);
    tl_json_object_end(&j);
    api_reply_json(c);
}

static enum tl_status read_put(struct many *m, size_t i, const char *usual_ttl, struct tl_err *err)
{
    const json_t *o = json_array_get(json_object_get(m->doc, "items"), i), *value = json_object_get(o, "value");
    const char *own_ttl = json_string_value(json_object_get(o, "ttl")), *ttl = own_ttl ? own_ttl : usual_ttl;
    struct tl_put_item *item = &m->puts[i];
    enum tl_status st = read_key(o, i, &item->key, err);
    if (st == TL_OK && !value) st = tl_fail(err, TL_INVALID, "items[%zu]: \"value\" is needed", i);
    if (st == TL_OK && ttl) st = tl_ttl_read("ttl", tl_str(ttl), &item->ttl, err);
    if (st != TL_OK) return st;
    if (json_is_string(value)) {
        item->bytes = json_string_value(value);
        item->n = json_string_length(value);
        return TL_OK;
    }
    m->texts[i] = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!m->texts[i]) return tl_fail(err, TL_NOMEM, "no memory for a value");
    item->bytes = m->texts[i];
    item->n = strlen(m->texts[i]);
    return TL_OK;
}

void api_post_cache_put(struct api_call *c)
{
    struct many *m = many_new(c);
    if (!m) return;
    enum tl_status st = read_many(c, m);
    m->puts = tl_calloc(m->n, sizeof *m->puts);
    m->texts = tl_calloc(m->n, sizeof(char *));
    if (st == TL_OK && (!m->puts || !m->texts)) st = tl_fail(&c->err, TL_NOMEM, "no memory");
    for (size_t i = 0; st == TL_OK && i < m->n; i++) st = read_put(m, i, api_text(c, "ttl"), &c->err);
    m->put.wait = wait_of(c);
    m->put.user = c;
    if (st == TL_OK) st = tl_cache_put_many(c->api->cache, &m->put, m->puts, m->n, DEADLINE_MS, on_many_put, &c->err);
    if (st != TL_OK) api_fail(c, st, "body", &c->err);
}

/* ---- statistics ---- */

static void reply_reports(struct api_call *c, const char *reports, size_t n)
{
    tl_buf_puts(&c->out, "{\"processes\":[");
    for (size_t at = 0; at < n; at += strlen(reports + at) + 1) {
        if (at) tl_buf_putc(&c->out, ',');
        tl_buf_puts(&c->out, reports + at);
    }
    tl_buf_puts(&c->out, "]}");
    api_reply_json(c);
}

static void on_reports(struct tl_reports_op *op, enum tl_status status)
{
    struct api_call *c = op->user;
    if (status == TL_OK)
        reply_reports(c, op->found.p, op->found.n);
    else
        api_fail(c, status, NULL, &op->err);
    tl_buf_release(&op->found);
    free(op);
}

/* This process' own where there is no Redis to learn of the others from. */
void api_get_cache_stats(struct api_call *c)
{
    struct tl_reports_op *op = NULL;
    enum tl_status st = TL_IO;
    if (c->api->cache->redis_state == TL_REDIS_JOINED) {
        op = tl_calloc(1, sizeof *op);
        st = op ? TL_OK : TL_NOMEM;
    }
    if (op) {
        op->cb = on_reports;
        op->user = c;
        st = tl_reports(c->api->cache, op, DEADLINE_MS, NULL);
    }
    if (st == TL_OK) return;
    free(op);
    struct tl_buf own;
    tl_buf_init(&own, 1 << 20);
    tl_report_write(c->api->cache, &own);
    reply_reports(c, tl_buf_str(&own).p, own.n ? own.n + 1 : 0);
    tl_buf_release(&own);
}

void api_get_cache_top(struct api_call *c)
{
    struct tl_top_key top[256];
    size_t n = tl_cache_top(c->api->cache, top, (size_t)api_number(c, "limit", 20));
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "keys");
    tl_json_array(&j);
    for (size_t i = 0; i < n; i++) {
        tl_json_object(&j);
        tl_json_key(&j, "key");
        tl_json_cstr(&j, top[i].key);
        tl_json_key(&j, "reads");
        tl_json_u64(&j, top[i].reads);
        tl_json_key(&j, "error");
        tl_json_u64(&j, top[i].error);
        tl_json_object_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}
