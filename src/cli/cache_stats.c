/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline cache stats|top`: what all running processes report through Redis, added up, beside what the store holds.
 */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/cache.h"
#include "cli/out.h"
#include "cli/tiers.h"

#include <jansson.h>
#include <unistd.h>

enum { TOP_DEFAULT = 20, TOP_MAX = 10000, TIERS = 3, EVERY_MS = 1000 };
static const char *const tier_names[TIERS] = {"memory", "redis", "store"};

/* The reports, parsed; those that cannot be are left out. */
struct reports {
    json_t *list; /* [own] array */
    struct tl_cache_stats total;
    size_t processes;
};

static uint64_t u64_of(const json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 ? (uint64_t)n : 0;
}

static void add_tier(struct tl_tier_stats *t, const json_t *o)
{
    const struct {
        const char *name;
        uint64_t *to;
    } counts[] = {{"hits", &t->hits},
                  {"misses", &t->misses},
                  {"errors", &t->errors},
                  {"poisoned", &t->poisoned},
                  {"read_bytes", &t->read_bytes},
                  {"written", &t->written},
                  {"coalesced", &t->coalesced},
                  {"retried", &t->retried},
                  {"skipped", &t->skipped},
                  {"refused", &t->refused},
                  {"lost", &t->lost},
                  {"breaker_opened", &t->breaker_opened}};
    for (size_t i = 0; i < TL_COUNT(counts); i++) *counts[i].to += u64_of(o, counts[i].name);
    size_t i;
    const json_t *pair;
    json_array_foreach(json_object_get(o, "latency"), i, pair)
    {
        json_int_t bucket = json_integer_value(json_array_get(pair, 0));
        json_int_t n = json_integer_value(json_array_get(pair, 1));
        if (bucket >= 0 && bucket < TL_LATENCY_BUCKETS && n > 0) t->latency[bucket] += (uint64_t)n;
    }
}

static void add_report(struct tl_cache_stats *s, const json_t *report)
{
    struct tl_tier_stats *const tiers[TIERS] = {&s->memory, &s->redis, &s->store};
    const struct {
        const char *name;
        uint64_t *to;
    } counts[] = {{"entries", &s->memory_entries},
                  {"bytes", &s->memory_bytes},
                  {"cap_bytes", &s->memory_cap_bytes},
                  {"evictions", &s->evictions},
                  {"expirations", &s->expirations},
                  {"queue_entries", &s->queue_entries},
                  {"queue_bytes", &s->queue_bytes},
                  {"queue_cap_bytes", &s->queue_cap_bytes},
                  {"gets", &s->gets},
                  {"puts", &s->puts},
                  {"flights", &s->flights},
                  {"joined", &s->joined},
                  {"loads", &s->loads},
                  {"stale_served", &s->stale_served},
                  {"invalidations", &s->invalidations},
                  {"announcements", &s->announcements}};
    for (size_t i = 0; i < TIERS; i++) add_tier(tiers[i], json_object_get(report, tier_names[i]));
    for (size_t i = 0; i < TL_COUNT(counts); i++) *counts[i].to += u64_of(report, counts[i].name);
}

static void release_reports(struct reports *r)
{
    json_decref(r->list);
    r->list = NULL;
}

/* Without Redis there are none. */
static enum tl_status read_reports(struct tl_cache_session *s, struct reports *out, struct tl_err *err)
{
    struct tl_buf found;
    *out = (struct reports){.list = json_array()};
    if (!out->list) return tl_fail(err, TL_NOMEM, "no memory for the reports");
    if (tl_cli_no_redis(s->cli)) return TL_OK;
    enum tl_status st = tl_blocking_reports(s->cache, &found, TL_CACHE_DEADLINE_MS, err);
    for (size_t at = 0; st == TL_OK && at < found.n; at += strlen(found.p + at) + 1) {
        json_t *report = json_loads(found.p + at, JSON_REJECT_DUPLICATES, NULL);
        if (!report || u64_of(report, "format") != 1) {
            json_decref(report); /* of another version */
            continue;
        }
        add_report(&out->total, report);
        out->processes++;
        if (json_array_append_new(out->list, report) != 0) st = tl_fail(err, TL_NOMEM, "no memory for the reports");
    }
    tl_buf_release(&found);
    return st;
}

/* ---- stats ---- */

struct picture {
    struct tl_cache_stats own; /* of this process: which tiers are in use */
    struct tl_store_counts store;
    struct reports reports;
    uint64_t at_ms;
};

static enum tl_status count_store(struct tl_cache_session *s, struct tl_store_counts *out, struct tl_err *err)
{
    struct tl_store_reader *r = NULL;
    *out = (struct tl_store_counts){.entries = 0};
    if (!s->store) return TL_OK;
    enum tl_status st = tl_store_reader_new(s->store, &r, err);
    if (st == TL_OK) st = tl_store_counts(r, out, err);
    tl_store_reader_free(r);
    return st;
}

static enum tl_status take_picture(struct tl_cache_session *s, struct picture *p, struct tl_err *err)
{
    *p = (struct picture){.at_ms = tl_clock_mono_ns(s->cli->clock) / 1000000};
    tl_blocking_stats(s->cache, &p->own);
    enum tl_status st = count_store(s, &p->store, err);
    /* That Redis is not in use is said in the picture. */
    if (st == TL_OK && p->own.redis.configured && p->own.redis.up) st = read_reports(s, &p->reports, err);
    return st;
}

static const char *state_of(const struct tl_tier_stats *t)
{
    return !t->configured ? "none" : t->breaker_open ? "breaker open" : t->up ? "in use" : "not in use";
}

static const struct tl_tier_stats *tier(const struct tl_cache_stats *s, size_t i)
{
    return i == 0 ? &s->memory : i == 1 ? &s->redis : &s->store;
}

static void put_counts(struct tl_json *j, const struct tl_tier_stats *t)
{
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"hits", t->hits},
                  {"misses", t->misses},
                  {"errors", t->errors},
                  {"poisoned", t->poisoned},
                  {"read_bytes", t->read_bytes},
                  {"p50_ns", tl_latency_quantile(t->latency, 0.5)},
                  {"p99_ns", tl_latency_quantile(t->latency, 0.99)},
                  {"p999_ns", tl_latency_quantile(t->latency, 0.999)},
                  {"written", t->written},
                  {"coalesced", t->coalesced},
                  {"retried", t->retried},
                  {"skipped", t->skipped},
                  {"refused", t->refused},
                  {"lost", t->lost},
                  {"breaker_opened", t->breaker_opened}};
    for (size_t i = 0; i < TL_COUNT(counts); i++) {
        tl_json_key(j, counts[i].name);
        tl_json_u64(j, counts[i].n);
    }
}

static enum tl_status print_json(struct tl_cache_session *s, const struct picture *p, struct tl_err *err)
{
    const struct tl_cache_stats *t = &p->reports.total;
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    for (size_t i = 0; i < TIERS; i++) {
        tl_json_key(&j, tier_names[i]);
        tl_json_object(&j);
        tl_json_key(&j, "state");
        tl_json_cstr(&j, state_of(tier(&p->own, i)));
        if (tier(&p->own, i)->why[0]) {
            tl_json_key(&j, "why");
            tl_json_cstr(&j, tier(&p->own, i)->why);
        }
        put_counts(&j, tier(t, i));
        tl_json_object_end(&j);
    }
    const struct {
        const char *name;
        uint64_t n;
    } numbers[] = {{"processes", p->reports.processes},
                   {"memory_entries", t->memory_entries},
                   {"memory_bytes", t->memory_bytes},
                   {"memory_cap_bytes", t->memory_cap_bytes},
                   {"evictions", t->evictions},
                   {"expirations", t->expirations},
                   {"queue_entries", t->queue_entries},
                   {"queue_bytes", t->queue_bytes},
                   {"queue_cap_bytes", t->queue_cap_bytes},
                   {"gets", t->gets},
                   {"puts", t->puts},
                   {"flights", t->flights},
                   {"joined", t->joined},
                   {"loads", t->loads},
                   {"stale_served", t->stale_served},
                   {"invalidations", t->invalidations},
                   {"announcements", t->announcements},
                   {"entries", p->store.entries},
                   {"entry_bytes", p->store.entry_bytes},
                   {"series", p->store.series},
                   {"symbols", p->store.symbols},
                   {"invalidation_scopes", p->store.generations}};
    for (size_t i = 0; i < TL_COUNT(numbers); i++) {
        tl_json_key(&j, numbers[i].name);
        tl_json_u64(&j, numbers[i].n);
    }
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(s->cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static void cell_ns(struct tl_table *t, uint64_t ns)
{
    if (ns == 0)
        tl_table_cell(t, "-");
    else if (ns < 10000)
        tl_table_cellf(t, "%llu ns", (unsigned long long)ns);
    else if (ns < 10000000)
        tl_table_cellf(t, "%llu us", (unsigned long long)(ns / 1000));
    else
        tl_table_cellf(t, "%llu ms", (unsigned long long)(ns / 1000000));
}

static void cell_holds(struct tl_table *t, const struct picture *p, size_t i)
{
    const struct tl_cache_stats *all = &p->reports.total;
    char a[TL_HUMAN_MAX], b[TL_HUMAN_MAX], d[TL_HUMAN_MAX];
    if (i == 0 && p->reports.processes > 0)
        tl_table_cellf(t, "%s values, %s of %s", tl_human_count(a, all->memory_entries),
                       tl_human_bytes(b, all->memory_bytes), tl_human_bytes(d, all->memory_cap_bytes));
    else if (i == 0)
        tl_table_cellf(t, "up to %s in each process", tl_human_bytes(a, p->own.memory_cap_bytes));
    else if (i == 2 && p->own.store.configured)
        tl_table_cellf(t, "%s values (%s), %s series", tl_human_count(a, p->store.entries),
                       tl_human_bytes(b, p->store.entry_bytes), tl_human_count(d, p->store.series));
    else
        tl_table_cell(t, tier(&p->own, i)->why);
}

static uint64_t reads_of(const struct tl_tier_stats *t)
{
    return t->hits + t->misses;
}

/* before: the picture of a second ago, NULL: none. */
static enum tl_status print_reads(struct tl_cache_session *s, const struct picture *p, const struct picture *before,
                                  struct tl_err *err)
{
    static const char *const heads[] = {"<tier", "<state", ">hits", ">misses", ">hit",    ">reads/s",
                                        ">p50",  ">p99",   ">p999", ">read",   ">errors", "<holds"};
    char a[TL_HUMAN_MAX];
    struct tl_table t;
    tl_table_init(&t, TL_COUNT(heads), heads);
    for (size_t i = 0; i < TIERS; i++) {
        const struct tl_tier_stats *x = tier(&p->reports.total, i);
        uint64_t reads = reads_of(x), was = before ? reads_of(tier(&before->reports.total, i)) : reads;
        uint64_t ms = before ? TL_MAX(p->at_ms - before->at_ms, UINT64_C(1)) : 1;
        tl_table_cell(&t, tier_names[i]);
        tl_table_cell(&t, state_of(tier(&p->own, i)));
        tl_table_cell(&t, tl_human_count(a, x->hits));
        tl_table_cell(&t, tl_human_count(a, x->misses));
        if (reads)
            tl_table_cellf(&t, "%.1f %%", 100.0 * (double)x->hits / (double)reads);
        else
            tl_table_cell(&t, "-");
        if (before)
            tl_table_cell(&t, tl_human_count(a, reads > was ? (reads - was) * 1000 / ms : 0));
        else
            tl_table_cell(&t, "-");
        cell_ns(&t, tl_latency_quantile(x->latency, 0.5));
        cell_ns(&t, tl_latency_quantile(x->latency, 0.99));
        cell_ns(&t, tl_latency_quantile(x->latency, 0.999));
        tl_table_cell(&t, tl_human_bytes(a, x->read_bytes));
        tl_table_cell(&t, tl_human_count(a, x->errors + x->poisoned));
        cell_holds(&t, p, i);
    }
    enum tl_status st = tl_table_print(&t, s->cli, err);
    tl_table_release(&t);
    return st;
}

static enum tl_status print_writes(struct tl_cache_session *s, const struct picture *p, struct tl_err *err)
{
    static const char *const heads[] = {"<writes to", ">written", ">coalesced", ">retried",
                                        ">skipped",   ">refused", ">lost"};
    char a[TL_HUMAN_MAX];
    struct tl_table t;
    tl_table_init(&t, TL_COUNT(heads), heads);
    for (size_t i = 0; i < TIERS; i++) {
        const struct tl_tier_stats *x = tier(&p->reports.total, i);
        const uint64_t counts[] = {x->written, x->coalesced, x->retried, x->skipped, x->refused, x->lost};
        tl_table_cell(&t, tier_names[i]);
        for (size_t k = 0; k < TL_COUNT(counts); k++) tl_table_cell(&t, tl_human_count(a, counts[k]));
    }
    enum tl_status st = tl_table_print(&t, s->cli, err);
    tl_table_release(&t);
    return st;
}

static enum tl_status print_table(struct tl_cache_session *s, const struct picture *p, const struct picture *before,
                                  struct tl_err *err)
{
    const struct tl_cache_stats *all = &p->reports.total;
    FILE *out = s->cli->out;
    char a[TL_HUMAN_MAX], b[TL_HUMAN_MAX], c[TL_HUMAN_MAX], d[TL_HUMAN_MAX];
    enum tl_status st = print_reads(s, p, before, err);
    if (st != TL_OK) return st;
    if (p->reports.processes == 0) {
        fprintf(out, "\n%s\n",
                tl_cli_no_redis(s->cli) ? "Counters of running processes are shared through Redis."
                                        : "No process is running that reads through the tiers.");
        return TL_OK;
    }
    fputc('\n', out);
    st = print_writes(s, p, err);
    fprintf(out, "\n%zu process%s; queue %s writes (%s); evicted %s, expired %s, invalidations %s\n",
            p->reports.processes, p->reports.processes == 1 ? "" : "es", tl_human_count(a, all->queue_entries),
            tl_human_bytes(b, all->queue_bytes), tl_human_count(c, all->evictions), tl_human_count(d, all->expirations),
            tl_human_count((char[TL_HUMAN_MAX]){0}, all->invalidations));
    return st;
}

enum tl_status tl_cache_stats_cmd(struct tl_cli *cli, struct tl_err *err)
{
    bool watch = tl_cli_flag(cli, "watch"), json = tl_cli_flag(cli, "json");
    int64_t rounds = tl_cli_count(cli, "count", watch ? INT64_MAX : 1);
    struct tl_cache_session s;
    struct picture now, before = {.at_ms = 0};
    enum tl_status st = tl_cache_session_begin(&s, cli, false, true, err);
    if (st != TL_OK) return st;
    if (watch) tl_cli_catch_interrupt();
    for (int64_t i = 0; st == TL_OK && i < rounds && !tl_cli_interrupted(); i++) {
        for (int ms = 0; i > 0 && ms < EVERY_MS && !tl_cli_interrupted(); ms += 50) usleep(50000);
        if (tl_cli_interrupted()) break;
        st = take_picture(&s, &now, err);
        if (st == TL_OK && !json && watch) fputs(cli->out_tty ? "\033[H\033[J" : i ? "\n" : "", cli->out);
        if (st == TL_OK) st = json ? print_json(&s, &now, err) : print_table(&s, &now, i ? &before : NULL, err);
        fflush(cli->out);
        release_reports(&before.reports);
        before = now;
    }
    release_reports(&before.reports);
    tl_cache_session_end(&s);
    return st;
}

/* ---- top ---- */

struct hot {
    const char *key; /* [borrow: as long as the reports] */
    uint64_t reads, error;
};

static int by_reads(const void *a, const void *b)
{
    const struct hot *x = a, *y = b;
    if (x->reads != y->reads) return x->reads > y->reads ? -1 : 1;
    return strcmp(x->key, y->key);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct hot *)a)->key, ((const struct hot *)b)->key);
}

/* [own] every key once, the most read first. NULL: memory is out. */
static struct hot *gather(const struct reports *r, size_t *n)
{
    size_t all = 0, i, k;
    const json_t *report, *top;
    *n = 0;
    json_array_foreach(r->list, i, report) all += json_array_size(json_object_get(report, "top"));
    struct hot *hot = tl_calloc(all ? all : 1, sizeof *hot);
    if (!hot) return NULL;
    all = 0;
    json_array_foreach(r->list, i, report) json_array_foreach(json_object_get(report, "top"), k, top)
    {
        const char *key = json_string_value(json_object_get(top, "key"));
        if (key) hot[all++] = (struct hot){key, u64_of(top, "reads"), u64_of(top, "error")};
    }
    qsort(hot, all, sizeof *hot, by_key);
    for (i = 0; i < all; i++) {
        if (*n > 0 && strcmp(hot[*n - 1].key, hot[i].key) == 0) {
            hot[*n - 1].reads += hot[i].reads;
            hot[*n - 1].error += hot[i].error;
        } else {
            hot[(*n)++] = hot[i];
        }
    }
    qsort(hot, *n, sizeof *hot, by_reads);
    return hot;
}

static enum tl_status print_top_json(struct tl_cli *cli, const struct hot *hot, size_t n, struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_array(&j);
    for (size_t i = 0; i < n; i++) {
        tl_json_object(&j);
        tl_json_key(&j, "key");
        tl_json_cstr(&j, hot[i].key);
        tl_json_key(&j, "reads");
        tl_json_u64(&j, hot[i].reads);
        tl_json_key(&j, "error");
        tl_json_u64(&j, hot[i].error);
        tl_json_object_end(&j);
    }
    tl_json_array_end(&j);
    enum tl_status st = tl_out_json(cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_top(struct tl_cli *cli, const struct hot *hot, size_t n, struct tl_err *err)
{
    static const char *const heads[] = {">reads", ">of which unsure", "<key"};
    char a[TL_HUMAN_MAX];
    struct tl_table t;
    if (tl_cli_flag(cli, "json")) return print_top_json(cli, hot, n, err);
    tl_table_init(&t, TL_COUNT(heads), heads);
    for (size_t i = 0; i < n; i++) {
        tl_table_cell(&t, tl_human_count(a, hot[i].reads));
        tl_table_cell(&t, tl_human_count(a, hot[i].error));
        tl_table_cell(&t, hot[i].key);
    }
    enum tl_status st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    return st;
}

enum tl_status tl_cache_top_cmd(struct tl_cli *cli, struct tl_err *err)
{
    const char *count = tl_cli_arg(cli, 1);
    int64_t max = TOP_DEFAULT;
    struct tl_cache_session s;
    struct reports r;
    size_t n = 0;
    if (count && (!tl_str_to_i64(tl_str(count), &max) || max < 1 || max > TOP_MAX || tl_cli_arg(cli, 2)))
        return tl_fail(err, TL_INVALID, "top takes how many keys to show, 1 to %d", TOP_MAX);
    if (tl_cli_no_redis(cli))
        return tl_fail(err, TL_INVALID, "what is read most is told through Redis: none is configured (--redis)");
    enum tl_status st = tl_cache_session_begin(&s, cli, false, true, err);
    if (st != TL_OK) return st;
    st = read_reports(&s, &r, err);
    TL_AUTOFREE struct hot *hot = st == TL_OK ? gather(&r, &n) : NULL;
    if (st == TL_OK && !hot) st = tl_fail(err, TL_NOMEM, "no memory for the keys");
    if (st == TL_OK) st = print_top(cli, hot, TL_MIN(n, (size_t)max), err);
    release_reports(&r);
    tl_cache_session_end(&s);
    return st;
}
