/* SPDX-License-Identifier: Apache-2.0 */
/* New versions of bars come from following the store (without one: from Redis); each drops the answers that were made
 * of the symbol, is told to who watches the market, and has the indicators that somebody watches computed again: once
 * for all, by the scheduler. One computation of a topic is under way at a time; what changes meanwhile is computed
 * after it. */
#include "server/topics.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/announce.h"
#include "cache/report.h"
#include "lock/describe.h"
#include "server/local_locks.h"
#include "server/render.h"

#include <inttypes.h>
#include <stdio.h>

enum { EVERY_MS = 1000, COMPUTE_MS = 60000, LIST_MS = 2000, INDICATORS_MAX = 5000, HEADS_MAX = 500 };
enum { RETRY_MS = 5000, RETRY_DOUBLINGS = 4 };
enum { LEASES_BYTES = TL_EVENT_BYTES_MAX / 2 }; /* of the list of locks: as many as fit, rather than no event */

struct watched { /* an indicator topic that somebody wants */
    struct topics *topics;
    struct tl_indicators op;
    struct tl_indicator_item item;
    struct tl_work work; /* reads the time of the last bar */
    struct tl_alarm retry;
    unsigned failures; /* in a row, of the kind that may pass */
    int64_t last_ts;
    enum tl_status view_status;
    bool busy, again, unwanted;
    char topic[TL_TOPIC_MAX + 1];
    struct watched *prev, *next;
};

struct heads { /* a market topic has just been wanted: its versions are read */
    struct topics *topics;
    struct tl_work work;
    struct tl_symbol symbol;
    struct tl_store_change found[TL_FREQ_COUNT];
    size_t n;
};

struct topics {
    struct api *api;
    struct tl_topic_source market, indicator, stats, locks;
    struct watched *first;
    size_t n_watched;
    struct tl_alarm stats_alarm, locks_alarm;
    struct tl_locks_list list;
    bool list_open, ended, stats_wanted, locks_wanted;
    size_t open;  /* works and ops under way */
    size_t heads; /* of these, reads of versions */
};

static void after(struct topics *t, struct tl_alarm *a, uint64_t ms)
{
    (void)!tl_alarm_set(t->api->cache->alarms, a, tl_clock_mono_ns(t->api->clock) + ms * 1000000);
}

/* ---- market/<symbol> ---- */

static enum tl_status check_market(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    struct tl_symbol symbol;
    (void)ctx;
    enum tl_status st = tl_symbol_parse(tl_str(topic + strlen("market/")), TL_MARKET_NONE, &symbol, err);
    if (st == TL_OK) snprintf(out, TL_TOPIC_MAX + 1, "market/%s", symbol.text);
    return st;
}

static void publish_market(struct topics *t, const struct tl_symbol *symbol, enum tl_freq freq, enum tl_adjust adjust,
                           struct tl_version v)
{
    char topic[TL_TOPIC_MAX + 1];
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 4096);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, symbol->text);
    tl_json_key(&j, "freq");
    tl_json_cstr(&j, tl_freq_name(freq));
    tl_json_key(&j, "adjust");
    tl_json_cstr(&j, tl_adjust_name(adjust));
    tl_json_key(&j, "revision");
    tl_json_i64(&j, v.revision);
    tl_json_key(&j, "bars");
    tl_json_i64(&j, v.bars);
    tl_json_key(&j, "last_ts");
    tl_json_i64(&j, v.last_ts);
    tl_json_object_end(&j);
    snprintf(topic, sizeof topic, "market/%s", symbol->text);
    if (!b.failed) tl_bus_publish(t->api->bus, topic, "market.update.v1", tl_buf_str(&b));
    tl_buf_release(&b);
}

static void run_heads(struct tl_work *work, unsigned worker)
{
    struct heads *h = (struct heads *)(void *)((char *)work - offsetof(struct heads, work));
    struct tl_store_reader *reader = h->topics->api->readers[worker];
    for (int f = 0; reader && f < TL_FREQ_COUNT; f++) {
        struct tl_store_change *c = &h->found[h->n];
        c->symbol = h->symbol;
        c->freq = (enum tl_freq)f;
        if (tl_store_bars_head(reader, &h->symbol, c->freq, &c->head, NULL) == TL_OK) h->n++;
    }
}

static void on_heads(struct tl_work *work)
{
    struct heads *h = (struct heads *)(void *)((char *)work - offsetof(struct heads, work));
    struct topics *t = h->topics;
    for (size_t i = 0; !t->ended && i < h->n; i++)
        publish_market(t, &h->symbol, h->found[i].freq, TL_ADJUST_RAW, h->found[i].head.raw);
    free(h);
    t->open--;
    t->heads--;
}

static void want_market(void *ctx, const char *topic, bool wanted)
{
    struct topics *t = ctx;
    /* Beyond HEADS_MAX a subscriber begins without a snapshot: reads must not queue up without end. */
    bool read = wanted && t->api->store && !t->ended && t->heads < HEADS_MAX;
    struct heads *h = read ? tl_calloc(1, sizeof *h) : NULL;
    if (!h) return;
    h->topics = t;
    snprintf(h->symbol.text, sizeof h->symbol.text, "%s", topic + strlen("market/"));
    h->work = (struct tl_work){.run = run_heads, .done = on_heads};
    t->open++;
    t->heads++;
    tl_workers_submit(t->api->workers, &h->work);
}

/* ---- indicator/<symbol>/<freq>/<spec> ---- */

static enum tl_status parse_indicator(const char *topic, struct tl_symbol *symbol, enum tl_freq *freq,
                                      struct tl_spec *spec, struct tl_err *err)
{
    struct tl_str rest = tl_str(topic + strlen("indicator/")), part;
    char text[TL_TOPIC_MAX + 1];
    (void)tl_str_split(&rest, '/', &part);
    enum tl_status st = tl_symbol_parse(part, TL_MARKET_NONE, symbol, err);
    if (st != TL_OK) return st;
    if (!tl_str_split(&rest, '/', &part) || !tl_freq_parse(part, freq))
        return tl_fail(err, TL_INVALID, "indicator/SYMBOL/FREQ/SPEC is needed, with FREQ 1m 5m 15m 30m 60m 1d 1w 1mo");
    snprintf(text, sizeof text, "%.*s", TL_STR_ARG(rest));
    return tl_spec_parse(text, spec, err);
}

static enum tl_status check_indicator(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    const struct topics *t = ctx;
    struct tl_symbol symbol;
    struct tl_spec spec;
    enum tl_freq freq;
    char text[TL_SPEC_MAX];
    if (!t->api->store) return tl_fail(err, TL_UNSUPPORTED, "this server has no store");
    if (t->n_watched >= INDICATORS_MAX)
        return tl_fail(err, TL_FULL, "%d indicators are watched already", INDICATORS_MAX);
    enum tl_status st = parse_indicator(topic, &symbol, &freq, &spec, err);
    if (st != TL_OK) return st;
    tl_spec_format(&spec, text, sizeof text);
    snprintf(out, TL_TOPIC_MAX + 1, "indicator/%s/%s/%s", symbol.text, tl_freq_name(freq), text);
    return TL_OK;
}

static void compute(struct watched *w);

static enum tl_status status_of(const struct watched *w)
{
    return w->op.status != TL_OK ? w->op.status : w->item.status;
}

static void publish_indicator(struct watched *w)
{
    struct api *api = w->topics->api;
    const struct tl_series *s = &w->item.series;
    enum tl_status st = status_of(w);
    char spec[TL_SPEC_MAX];
    struct tl_buf b;
    struct tl_json j;
    tl_spec_format(&w->item.spec, spec, sizeof spec);
    tl_buf_init(&b, 8192);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, w->op.symbol.text);
    tl_json_key(&j, "freq");
    tl_json_cstr(&j, tl_freq_name(w->op.freq));
    tl_json_key(&j, "adjust");
    tl_json_cstr(&j, tl_adjust_name(w->op.adjust));
    tl_json_key(&j, "spec");
    tl_json_cstr(&j, spec);
    tl_json_key(&j, "status");
    tl_json_cstr(&j, tl_status_name(st));
    if (st != TL_OK) {
        tl_json_key(&j, "error");
        tl_json_cstr(&j, w->op.status != TL_OK ? w->op.err.text : w->item.err.text);
    } else {
        tl_json_version(&j, s->version);
        tl_json_key(&j, "source");
        tl_json_cstr(&j, tl_source_name(w->item.source));
        tl_json_key(&j, "freshness");
        tl_json_cstr(&j, tl_freshness_name(w->item.freshness));
        tl_json_key(&j, "rows");
        tl_json_u64(&j, s->n);
        tl_json_key(&j, "ts"); /* of the last row */
        if (w->view_status == TL_OK)
            tl_json_i64(&j, w->last_ts);
        else
            tl_json_null(&j);
        tl_json_key(&j, "values");
        tl_json_array(&j);
        for (unsigned c = 0; s->n && c < s->columns; c++) tl_json_num(&j, s->rows[(s->n - 1) * s->columns + c]);
        tl_json_array_end(&j);
    }
    tl_json_object_end(&j);
    if (!b.failed) tl_bus_publish(api->bus, w->topic, "indicator.update.v1", tl_buf_str(&b));
    tl_buf_release(&b);
}

static void watched_free(struct watched *w)
{
    struct topics *t = w->topics;
    if (w->prev)
        w->prev->next = w->next;
    else
        t->first = w->next;
    if (w->next) w->next->prev = w->prev;
    t->n_watched--;
    tl_alarm_clear(t->api->cache->alarms, &w->retry);
    tl_series_release(&w->item.series);
    free(w);
}

static void computed(struct watched *w)
{
    struct topics *t = w->topics;
    w->busy = false;
    t->open--;
    if (!w->unwanted && !t->ended) publish_indicator(w);
    tl_series_release(&w->item.series);
    tl_series_init(&w->item.series);
    if (w->unwanted || t->ended)
        watched_free(w);
    else if (w->again)
        compute(w);
    else if (tl_status_retry(status_of(w))) /* what passes is not told until the next bar */
        after(t, &w->retry, (uint64_t)RETRY_MS << (w->failures < RETRY_DOUBLINGS ? w->failures++ : RETRY_DOUBLINGS));
    else
        w->failures = 0;
}

static void on_retry(struct tl_alarm *a)
{
    compute((struct watched *)(void *)((char *)a - offsetof(struct watched, retry)));
}

static void run_times(struct tl_work *work, unsigned worker)
{
    struct watched *w = (struct watched *)(void *)((char *)work - offsetof(struct watched, work));
    const struct api *api = w->topics->api;
    struct tl_view view;
    tl_view_init(&view);
    w->view_status = tl_present_view(&w->item.series, api->readers[worker], &w->op.symbol, w->op.freq, w->op.adjust,
                                     false, &api->sessions, &view, NULL);
    if (w->view_status == TL_OK && view.bars.n == 0) w->view_status = TL_NO_DATA;
    if (w->view_status == TL_OK) w->last_ts = view.bars.ts_ms[view.bars.n - 1];
    tl_view_release(&view);
}

static void on_times(struct tl_work *work)
{
    computed((struct watched *)(void *)((char *)work - offsetof(struct watched, work)));
}

static void on_computed(struct tl_indicators *op)
{
    struct watched *w = op->user;
    if (op->status != TL_OK || w->item.status != TL_OK || w->topics->ended) {
        computed(w);
        return;
    }
    w->work = (struct tl_work){.run = run_times, .done = on_times};
    tl_workers_submit(w->topics->api->workers, &w->work);
}

static void compute(struct watched *w)
{
    struct api *api = w->topics->api;
    struct tl_indicators *op = &w->op;
    w->again = w->busy;
    if (w->busy) return;
    w->busy = true;
    w->topics->open++;
    tl_alarm_clear(api->cache->alarms, &w->retry);
    *op = (struct tl_indicators){.symbol = op->symbol,
                                 .freq = op->freq,
                                 .adjust = TL_ADJUST_RAW,
                                 .drop_suspended = strcmp(tl_config_str(api->config, "calc.suspended"), "drop") == 0,
                                 .want_rows = true,
                                 .day_ms = INT64_MIN,
                                 .sessions = &api->sessions,
                                 .deadline_ms = COMPUTE_MS,
                                 .count = 1,
                                 .items = &w->item,
                                 .cb = on_computed,
                                 .user = w};
    tl_indicators_get(api->scheduler, op);
}

static struct watched *find_watched(struct topics *t, const char *topic)
{
    for (struct watched *w = t->first; w; w = w->next)
        if (!w->unwanted && strcmp(w->topic, topic) == 0) return w;
    return NULL;
}

static void want_indicator(void *ctx, const char *topic, bool wanted)
{
    struct topics *t = ctx;
    struct watched *w = find_watched(t, topic);
    if (!wanted) {
        if (w) w->unwanted = true;
        if (w && !w->busy) watched_free(w);
        return;
    }
    if (w || t->ended || !(w = tl_calloc(1, sizeof *w))) return;
    w->topics = t;
    w->retry.ring = on_retry;
    tl_series_init(&w->item.series);
    snprintf(w->topic, sizeof w->topic, "%s", topic);
    if (parse_indicator(topic, &w->op.symbol, &w->op.freq, &w->item.spec, NULL) != TL_OK) {
        free(w);
        return;
    }
    w->next = t->first;
    if (t->first) t->first->prev = w;
    t->first = w;
    t->n_watched++;
    compute(w);
}

/* ---- what changes ---- */

static void changed(struct topics *t, const char *symbol)
{
    api_rendered_changed(t->api, symbol);
    for (struct watched *w = t->first, *next; w; w = next) {
        next = w->next;
        if (!w->unwanted && (!symbol || strcmp(w->op.symbol.text, symbol) == 0)) compute(w);
    }
}

static void on_bars(void *ctx, const struct tl_store_change *change)
{
    struct topics *t = ctx;
    if (t->ended) return;
    if (change) publish_market(t, &change->symbol, change->freq, TL_ADJUST_RAW, change->head.raw);
    changed(t, change ? change->symbol.text : NULL);
}

/* Of other processes: the only source of a server without a store. */
static void on_market(void *ctx, struct tl_str envelope)
{
    struct topics *t = ctx;
    struct tl_announcement a;
    if (t->ended || t->api->store || !tl_announcement_parse(envelope, &a) || a.type != TL_ANNOUNCE_MARKET) return;
    publish_market(t, &a.symbol, a.freq, a.adjust, a.version);
    changed(t, a.symbol.text);
}

/* ---- cache/stats, locks ---- */

static enum tl_status check_whole(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    (void)ctx;
    if (strcmp(topic, "cache/stats") != 0 && strcmp(topic, "locks") != 0)
        return tl_fail(err, TL_INVALID, "no topic %.100s", topic);
    snprintf(out, TL_TOPIC_MAX + 1, "%s", topic);
    return TL_OK;
}

static void on_stats(struct tl_alarm *a)
{
    struct topics *t = (struct topics *)(void *)((char *)a - offsetof(struct topics, stats_alarm));
    struct tl_buf b;
    tl_buf_init(&b, TL_EVENT_BYTES_MAX);
    tl_report_write(t->api->cache, &b);
    if (!b.failed) tl_bus_publish(t->api->bus, "cache/stats", "cache.stats.v1", tl_buf_str(&b));
    tl_buf_release(&b);
    if (t->stats_wanted && !t->ended) after(t, a, EVERY_MS);
}

static void want_stats(void *ctx, const char *topic, bool wanted)
{
    struct topics *t = ctx;
    (void)topic;
    t->stats_wanted = wanted;
    if (wanted && !t->ended)
        after(t, &t->stats_alarm, 0);
    else
        tl_alarm_clear(t->api->cache->alarms, &t->stats_alarm);
}

static bool put_local(void *ctx, const struct tl_lease_info *l)
{
    struct tl_json *j = ctx;
    tl_lease_json(j, l);
    return j->out->n < LEASES_BYTES;
}

/* list: of Redis; NULL: those of this process. known: else Redis could not say, and the list is null. */
static void publish_locks(struct topics *t, const struct tl_locks_list *list, bool known)
{
    struct tl_scheduler_stats s = {.computed = 0};
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, TL_EVENT_BYTES_MAX);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "locks");
    if (known) {
        tl_json_array(&j);
        for (size_t i = 0; list && i < list->n && b.n < LEASES_BYTES; i++) tl_lease_json(&j, &list->items[i]);
        if (!list && t->api->held) local_locks_each(t->api->held, put_local, &j);
        tl_json_array_end(&j);
    } else {
        tl_json_null(&j);
    }
    tl_json_key(&j, "more"); /* than fit */
    tl_json_bool(&j, b.n >= LEASES_BYTES);
    if (t->api->scheduler) tl_scheduler_stats(t->api->scheduler, &s);
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"computed", s.computed},     {"from_cache", s.from_cache},
                  {"waited", s.waited},         {"taken_over", s.taken_over},
                  {"duplicated", s.duplicated}, {"failed", s.failed},
                  {"degraded", s.degraded},     {"lent", s.lent}};
    for (size_t i = 0; i < TL_COUNT(counts); i++) {
        tl_json_key(&j, counts[i].name);
        tl_json_u64(&j, counts[i].n);
    }
    tl_json_object_end(&j);
    if (!b.failed) tl_bus_publish(t->api->bus, "locks", "locks.v1", tl_buf_str(&b));
    tl_buf_release(&b);
}

static void on_list(struct tl_locks_list *op, enum tl_status status)
{
    struct topics *t = op->user;
    t->list_open = false;
    if (t->ended) return;
    publish_locks(t, op, status == TL_OK);
    if (t->locks_wanted) after(t, &t->locks_alarm, EVERY_MS);
}

static void on_locks(struct tl_alarm *a)
{
    struct topics *t = (struct topics *)(void *)((char *)a - offsetof(struct topics, locks_alarm));
    if (t->list_open) return;
    if (!t->api->locks) {
        publish_locks(t, NULL, true);
        if (t->locks_wanted && !t->ended) after(t, a, EVERY_MS);
        return;
    }
    t->list = (struct tl_locks_list){.user = t};
    t->list_open = tl_locks_list(t->api->locks, &t->list, LIST_MS, on_list, NULL) == TL_OK;
    if (t->list_open) return;
    publish_locks(t, NULL, false);
    if (t->locks_wanted && !t->ended) after(t, a, EVERY_MS);
}

static void want_locks(void *ctx, const char *topic, bool wanted)
{
    struct topics *t = ctx;
    (void)topic;
    t->locks_wanted = wanted;
    if (wanted && !t->ended)
        after(t, &t->locks_alarm, 0);
    else
        tl_alarm_clear(t->api->cache->alarms, &t->locks_alarm);
}

/* ---- all ---- */

enum tl_status topics_open(struct api *api, struct topics **out)
{
    struct topics *t = tl_calloc(1, sizeof *t);
    if (!t) return TL_NOMEM;
    t->api = api;
    t->stats_alarm.ring = on_stats;
    t->locks_alarm.ring = on_locks;
    t->market = (struct tl_topic_source){.prefix = "market/", .check = check_market, .wanted = want_market, .ctx = t};
    t->indicator =
        (struct tl_topic_source){.prefix = "indicator/", .check = check_indicator, .wanted = want_indicator, .ctx = t};
    t->stats = (struct tl_topic_source){.prefix = "cache/stats", .check = check_whole, .wanted = want_stats, .ctx = t};
    t->locks = (struct tl_topic_source){.prefix = "locks", .check = check_whole, .wanted = want_locks, .ctx = t};
    struct tl_topic_source *const sources[] = {&t->market, &t->indicator, &t->stats, &t->locks};
    for (size_t i = 0; i < TL_COUNT(sources); i++) {
        enum tl_status st = tl_bus_source(api->bus, sources[i]);
        if (st != TL_OK) {
            t->ended = true; /* the bus may have the first ones: it is closed before they are freed */
            *out = t;
            return st;
        }
    }
    api->cache->on_bars = on_bars;
    api->cache->on_bars_ctx = t;
    tl_bus_on_market(api->bus, on_market, t);
    *out = t;
    return TL_OK;
}

void topics_end(struct topics *t)
{
    if (!t || t->ended) return;
    struct tl_alarms *alarms = t->api->cache->alarms;
    t->ended = true;
    t->api->cache->on_bars = NULL;
    tl_bus_on_market(t->api->bus, NULL, NULL);
    tl_alarm_clear(alarms, &t->stats_alarm);
    tl_alarm_clear(alarms, &t->locks_alarm);
    for (struct watched *w = t->first, *next; w; w = next) {
        next = w->next;
        w->unwanted = true;
        if (w->busy)
            tl_indicators_cancel(&w->op);
        else
            watched_free(w);
    }
}

void topics_free(struct topics *t)
{
    TL_ASSERT(!t || (!t->first && t->open == 0));
    free(t);
}
