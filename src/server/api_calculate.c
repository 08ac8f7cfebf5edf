/* SPDX-License-Identifier: Apache-2.0 */
/* Many indicators of many symbols in one request. Each symbol is one op of the scheduler (one ACQUIRE, one pass over
 * its bars, one COMMIT); a few are under way at a time. Every item has its own result; an item that fails stops nothing
 * else. */
#include "base/err.h"
#include "base/util.h"
#include "server/render.h"

#include <jansson.h>

enum { GROUPS_MAX = 5000, SPECS_MAX = 200, ITEMS_MAX = 20000, AT_A_TIME = 32, COMPUTE_MS = 120000, LAST_MAX = 10000 };

struct group {
    struct api_call *call;
    struct tl_indicators op;
    struct tl_indicator_item *items; /* [own] */
    size_t n;
    struct tl_err bad; /* status not OK: it was not begun */
};

struct calculation {
    json_t *doc; /* [own] the request */
    struct group *groups;
    size_t n, begun, over, n_items;
    size_t last; /* rows to hand out with each result */
    bool many;
};

static void calculation_release(void *state)
{
    struct calculation *k = state;
    for (size_t i = 0; k->groups && i < k->n; i++) {
        for (size_t m = 0; m < k->groups[i].n; m++) tl_series_release(&k->groups[i].items[m].series);
        free(k->groups[i].items);
    }
    free(k->groups);
    json_decref(k->doc);
    free(k);
}

/* ---- the request ---- */

static enum tl_status add_spec(struct group *g, const json_t *text, struct tl_err *err)
{
    const char *z = json_string_value(text);
    if (!z) return tl_fail(err, TL_INVALID, "specs: each is a text like \"MACD(12,26,9)\"");
    struct tl_indicator_item *item = &g->items[g->n];
    tl_series_init(&item->series);
    enum tl_status st = tl_spec_parse(z, &item->spec, err);
    char have[TL_SPEC_MAX], other[TL_SPEC_MAX];
    if (st != TL_OK) return st;
    tl_spec_format(&item->spec, have, sizeof have);
    for (size_t i = 0; i < g->n; i++) { /* twice is once */
        tl_spec_format(&g->items[i].spec, other, sizeof other);
        if (strcmp(have, other) == 0) return TL_OK;
    }
    g->n++;
    return TL_OK;
}

/* {"symbol","specs":[...] or "spec","freq","adjust","recompute"}; what is missing is taken from `common`. */
static enum tl_status read_group(struct api_call *c, struct group *g, const json_t *o, const json_t *common,
                                 struct tl_err *err)
{
    const json_t *const from[] = {o, common};
    const char *symbol = json_string_value(json_object_get(o, "symbol")), *freq = NULL, *adjust = NULL;
    const json_t *specs = NULL;
    for (size_t i = 0; i < TL_COUNT(from); i++) {
        if (!freq) freq = json_string_value(json_object_get(from[i], "freq"));
        if (!adjust) adjust = json_string_value(json_object_get(from[i], "adjust"));
        if (!specs) specs = json_object_get(from[i], "specs");
        if (!specs) specs = json_object_get(from[i], "spec");
    }
    g->call = c;
    g->op.freq = c->freq;
    g->op.adjust = c->adjust;
    g->op.recompute = json_is_true(json_object_get(common, "recompute"));
    if (!symbol) return tl_fail(err, TL_INVALID, "symbol: a text is needed");
    if (freq && !tl_freq_parse(tl_str(freq), &g->op.freq))
        return tl_fail(err, TL_INVALID, "freq: '%.32s' is none of 1m 5m 15m 30m 60m 1d 1w 1mo", freq);
    if (adjust && !tl_adjust_parse(tl_str(adjust), &g->op.adjust))
        return tl_fail(err, TL_INVALID, "adjust: '%.32s' is none of raw forward backward", adjust);
    size_t n = json_is_string(specs) ? 1 : json_array_size(specs);
    if (n == 0 || n > SPECS_MAX) return tl_fail(err, TL_INVALID, "specs: 1 to %d indicators", SPECS_MAX);
    g->items = tl_calloc(n, sizeof *g->items);
    if (!g->items) return tl_fail(err, TL_NOMEM, "no memory for %zu indicators", n);
    enum tl_status st = tl_symbol_parse(tl_str(symbol), TL_MARKET_NONE, &g->op.symbol, err);
    for (size_t i = 0; st == TL_OK && i < n; i++)
        st = add_spec(g, json_is_string(specs) ? specs : json_array_get(specs, i), err);
    return st;
}

static enum tl_status read_request(struct api_call *c, struct calculation *k)
{
    struct tl_str body = tl_http_body(c->http);
    json_error_t bad;
    k->doc = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &bad);
    if (!k->doc)
        return tl_fail_at(&c->err, TL_PARSE, "body", (uint64_t)bad.line, (uint32_t)bad.column, "line %d, column %d: %s",
                          bad.line, bad.column, bad.text);
    const json_t *list = k->many ? json_object_get(k->doc, "items") : NULL;
    k->n = k->many ? json_array_size(list) : 1;
    json_int_t last = json_integer_value(json_object_get(k->doc, "last"));
    if (k->n == 0 || k->n > GROUPS_MAX)
        return tl_fail(&c->err, TL_INVALID, "items: 1 to %d objects with symbol and specs", GROUPS_MAX);
    if (last < 0 || last > LAST_MAX) return tl_fail(&c->err, TL_INVALID, "last: 0 to %d rows", LAST_MAX);
    k->last = (size_t)last;
    k->groups = tl_calloc(k->n, sizeof *k->groups);
    if (!k->groups) return tl_fail(&c->err, TL_NOMEM, "no memory for %zu items", k->n);
    for (size_t i = 0; i < k->n; i++) {
        struct group *g = &k->groups[i];
        enum tl_status st = read_group(c, g, k->many ? json_array_get(list, i) : k->doc, k->doc, &g->bad);
        if (st != TL_OK && !k->many) return tl_fail(&c->err, st, "%s", g->bad.text);
        k->n_items += g->n;
    }
    if (k->n_items > ITEMS_MAX)
        return tl_fail(&c->err, TL_TOO_LARGE, "more than %d indicators in one request", ITEMS_MAX);
    return TL_OK;
}

/* ---- the answer ---- */

static void put_rows(struct calculation *k, const struct group *g, const struct tl_indicator_item *item,
                     const struct tl_view *view, struct tl_json *j)
{
    const struct tl_series *s = &item->series;
    size_t n = TL_MIN(k->last, s->n);
    tl_json_key(j, "columns");
    tl_json_array(j);
    for (unsigned c = 0; c < item->spec.info->n_outputs; c++) tl_json_cstr(j, item->spec.info->outputs[c]);
    tl_json_array_end(j);
    bool fits = view->version.revision == s->version.revision && s->first_bar + s->n <= view->bars.n;
    tl_json_key(j, "ts");
    tl_json_array(j);
    for (size_t i = s->n - n; fits && i < s->n; i++) tl_json_i64(j, view->bars.ts_ms[s->first_bar + i]);
    tl_json_array_end(j);
    tl_json_key(j, "values");
    tl_json_array(j);
    for (size_t i = s->n - n; fits && i < s->n; i++) {
        tl_json_array(j);
        for (unsigned c = 0; c < s->columns; c++) tl_json_num(j, s->rows[i * s->columns + c]);
        tl_json_array_end(j);
    }
    tl_json_array_end(j);
    (void)g;
}

static void put_item(struct calculation *k, const struct group *g, const struct tl_indicator_item *item,
                     const struct tl_view *view, struct tl_json *j)
{
    char spec[TL_SPEC_MAX] = "";
    enum tl_status st = g->op.status != TL_OK ? g->op.status : item->status;
    tl_spec_format(&item->spec, spec, sizeof spec);
    tl_json_object(j);
    tl_json_key(j, "symbol");
    tl_json_cstr(j, g->op.symbol.text);
    tl_json_key(j, "freq");
    tl_json_cstr(j, tl_freq_name(g->op.freq));
    tl_json_key(j, "adjust");
    tl_json_cstr(j, tl_adjust_name(g->op.adjust));
    tl_json_key(j, "spec");
    tl_json_cstr(j, spec);
    tl_json_key(j, "status");
    tl_json_cstr(j, tl_status_name(st));
    if (st != TL_OK) {
        tl_json_key(j, "error");
        tl_json_cstr(j, g->op.status != TL_OK ? g->op.err.text : item->err.text);
    } else {
        tl_json_key(j, "source");
        tl_json_cstr(j, tl_source_name(item->source));
        tl_json_key(j, "freshness");
        tl_json_cstr(j, tl_freshness_name(item->freshness));
        tl_json_key(j, "waited");
        tl_json_bool(j, item->waited);
        if (item->series.rows) tl_json_version(j, item->series.version);
        if (k->last && item->series.rows) put_rows(k, g, item, view, j);
    }
    tl_json_object_end(j);
}

static void put_bad(const struct group *g, struct tl_json *j)
{
    tl_json_object(j);
    tl_json_key(j, "symbol");
    tl_json_cstr(j, g->op.symbol.text[0] ? g->op.symbol.text : NULL);
    tl_json_key(j, "status");
    tl_json_cstr(j, tl_status_name(g->bad.status));
    tl_json_key(j, "error");
    tl_json_cstr(j, g->bad.text);
    tl_json_object_end(j);
}

static void run_answer(struct api_call *c, struct tl_store_reader *reader)
{
    struct calculation *k = c->state;
    struct tl_json j;
    size_t failed = 0;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "results");
    tl_json_array(&j);
    for (size_t i = 0; i < k->n; i++) {
        struct group *g = &k->groups[i];
        struct tl_view view;
        tl_view_init(&view);
        if (k->last && g->op.status == TL_OK && g->bad.status == TL_OK)
            (void)!tl_view_load(reader, &g->op.symbol, g->op.freq, g->op.adjust, false, &c->api->sessions, &view, NULL);
        if (g->bad.status != TL_OK) put_bad(g, &j);
        for (size_t m = 0; g->bad.status == TL_OK && m < g->n; m++) {
            put_item(k, g, &g->items[m], &view, &j);
            failed += g->op.status != TL_OK || g->items[m].status != TL_OK;
        }
        failed += g->bad.status != TL_OK;
        tl_view_release(&view);
    }
    tl_json_array_end(&j);
    tl_json_key(&j, "failed");
    tl_json_u64(&j, failed);
    tl_json_object_end(&j);
}

/* ---- the way through ---- */

static void go_on(struct api_call *c);

static void on_group(struct tl_indicators *op)
{
    struct api_call *c = op->user;
    struct calculation *k = c->state;
    k->over++;
    go_on(c);
}

static void begin_group(struct api_call *c, struct group *g)
{
    const struct calculation *k = c->state;
    struct tl_indicators *op = &g->op;
    op->drop_suspended = strcmp(tl_config_str(c->api->config, "calc.suspended"), "drop") == 0;
    op->want_rows = k->last > 0;
    op->day_ms = INT64_MIN;
    op->sessions = &c->api->sessions;
    op->deadline_ms = COMPUTE_MS;
    op->count = g->n;
    op->items = g->items;
    op->cb = on_group;
    op->user = c;
    tl_indicators_get(c->api->scheduler, op);
}

static void go_on(struct api_call *c)
{
    struct calculation *k = c->state;
    while (k->begun < k->n && k->begun - k->over < AT_A_TIME) {
        struct group *g = &k->groups[k->begun++];
        if (g->bad.status == TL_OK)
            begin_group(c, g);
        else
            k->over++;
    }
    if (k->over == k->n) api_work(c, run_answer, api_reply);
}

static void calculate(struct api_call *c, bool many)
{
    struct calculation *k = c->state = tl_calloc(1, sizeof *k);
    if (!k) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    c->release = calculation_release;
    k->many = many;
    if (!api_needs_store(c)) return;
    enum tl_status st = read_request(c, k);
    if (st != TL_OK)
        api_fail(c, st, "body", &c->err);
    else
        go_on(c);
}

void api_post_calculate(struct api_call *c)
{
    calculate(c, false);
}

void api_post_calculate_batch(struct api_call *c)
{
    calculate(c, true);
}
