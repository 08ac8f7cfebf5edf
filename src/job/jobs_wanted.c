/* SPDX-License-Identifier: Apache-2.0 */
/* Looks up what a job is to compute. The store is read on a worker of the scheduler; the failures of another job come
 * from the tiers chunk by chunk, and are sorted so that those of one symbol stand together. Computes nothing. */
#include "job/jobs_wanted.h"

#include "base/err.h"
#include "base/util.h"
#include "job/wanted.h"

#include <stdio.h>

struct failed_pair {
    struct tl_symbol symbol;
    struct tl_spec spec; /* info NULL: every indicator of the job */
};

void job_wanted_release(struct job_wanted *w)
{
    free(w->symbols);
    free(w->specs);
    free(w->by_symbol);
    free(w->pairs);
    free(w->failed);
    *w = (struct job_wanted){.symbols = NULL};
}

static void over(struct job_wanted *w, enum tl_status status)
{
    free(w->failed);
    w->failed = NULL;
    if (status != TL_OK && w->err.status != status) (void)tl_fail(&w->err, status, "%s", tl_status_text(status));
    w->cb(w->ctx, status, &w->err);
}

/* ---- from the store ---- */

static void run_look_up(struct jobs_work *work, struct tl_store_reader *reader)
{
    struct job_wanted *w = (struct job_wanted *)(void *)((char *)work - offsetof(struct job_wanted, work));
    struct tl_symbol_list list;
    enum tl_status st = tl_symbol_list_init(&list, &w->err);
    if (st == TL_OK && strcmp(w->rec->symbols, "all") == 0)
        st = tl_symbol_list_add_all(&list, reader, w->rec->freq, &w->err);
    else if (st == TL_OK)
        st = tl_symbol_list_add_many(&list, tl_str(w->rec->symbols), &w->err);
    if (st == TL_OK) w->symbols = tl_symbol_list_take(&list, &w->n_symbols);
    tl_symbol_list_release(&list);
    w->status = st;
}

static void on_looked_up(struct jobs_work *work, bool cancelled)
{
    struct job_wanted *w = (struct job_wanted *)(void *)((char *)work - offsetof(struct job_wanted, work));
    over(w, cancelled ? TL_CANCELLED : w->status);
}

/* ---- from the failures of another job ---- */

static bool add_failed(void *ctx, const struct tl_job_error *e)
{
    struct job_wanted *w = ctx;
    struct failed_pair pair = {.spec = {.info = NULL}};
    if (w->n_failed == w->cap_failed) {
        size_t cap = w->cap_failed ? 2 * w->cap_failed : 256;
        struct failed_pair *grown = tl_realloc(w->failed, cap, sizeof *grown);
        if (!grown) {
            w->status = TL_NOMEM;
            return false;
        }
        w->failed = grown;
        w->cap_failed = cap;
    }
    enum tl_status st = tl_symbol_parse(tl_str(e->symbol), TL_MARKET_NONE, &pair.symbol, NULL);
    if (st == TL_OK && e->spec[0]) st = tl_spec_parse(e->spec, &pair.spec, NULL);
    if (st != TL_OK) {
        w->status = TL_CORRUPT;
        return false;
    }
    w->failed[w->n_failed++] = pair;
    return true;
}

static int by_symbol(const void *a, const void *b)
{
    return strcmp(((const struct failed_pair *)a)->symbol.text, ((const struct failed_pair *)b)->symbol.text);
}

/* Writes down the specs of the pairs [from, to), which are of one symbol; a whole symbol needs no pairs. Returns how
 * many pairs were used. */
static size_t write_symbol(struct job_wanted *w, size_t from, size_t to, struct tl_spec *pairs)
{
    struct tl_daily_wanted *out = &w->by_symbol[w->n_symbols];
    w->symbols[w->n_symbols++] = w->failed[from].symbol;
    *out = (struct tl_daily_wanted){.specs = pairs, .n_specs = to - from};
    for (size_t i = from; i < to; i++) {
        if (!w->failed[i].spec.info) {
            *out = (struct tl_daily_wanted){.specs = w->specs, .n_specs = w->n_specs};
            return 0;
        }
        pairs[i - from] = w->failed[i].spec;
    }
    return to - from;
}

static void on_failures(void *ctx, enum tl_status status)
{
    struct job_wanted *w = ctx;
    size_t n = w->n_failed, used = 0;
    if (status == TL_OK) status = w->status;
    if (status == TL_OK) {
        w->symbols = tl_calloc(n, sizeof *w->symbols);
        w->by_symbol = tl_calloc(n, sizeof *w->by_symbol);
        w->pairs = tl_calloc(n, sizeof *w->pairs);
        if (!w->symbols || !w->by_symbol || !w->pairs) status = TL_NOMEM;
    }
    if (status != TL_OK) {
        (void)tl_fail(&w->err, status, "the failures of %s cannot be read: %s", w->rec->retry_of,
                      tl_status_text(status));
        over(w, status);
        return;
    }
    if (n) qsort(w->failed, n, sizeof *w->failed, by_symbol);
    for (size_t from = 0, to; from < n; from = to) {
        to = from + 1;
        while (to < n && by_symbol(&w->failed[from], &w->failed[to]) == 0) to++;
        used += write_symbol(w, from, to, w->pairs + used);
    }
    over(w, TL_OK);
}

static void on_retried_record(void *user, enum tl_status status, struct tl_str value)
{
    struct job_wanted *w = user;
    struct tl_job_record rec;
    if (status == TL_OK) status = tl_job_record_parse(value, &rec, &w->err);
    if (status != TL_OK) {
        (void)tl_fail(&w->err, status, "the job %s, which is to be tried again, cannot be read: %s", w->rec->retry_of,
                      tl_status_text(status));
        over(w, status);
        return;
    }
    uint64_t errors = rec.errors;
    tl_job_record_release(&rec);
    if (errors == 0) {
        on_failures(w, TL_OK);
        return;
    }
    w->reading = (struct job_errors_reading){.jobs = w->jobs,
                                             .chunks = (errors - 1) / JOBS_ERRORS_CHUNK + 1,
                                             .each = add_failed,
                                             .over = on_failures,
                                             .ctx = w};
    snprintf(w->reading.id, sizeof w->reading.id, "%s", w->rec->retry_of);
    status = tl_job_errors_read(&w->reading);
    if (status != TL_OK) on_failures(w, status);
}

enum tl_status job_wanted_look_up(struct job_wanted *w, struct tl_jobs *jobs, const struct tl_job_record *rec,
                                  job_wanted_cb *cb, void *ctx, struct tl_err *err)
{
    *w = (struct job_wanted){.jobs = jobs, .rec = rec, .cb = cb, .ctx = ctx};
    enum tl_status st = tl_wanted_specs(rec->specs, "specs", &w->specs, &w->n_specs, err);
    if (st != TL_OK) return st;
    if (rec->retry_of[0]) {
        st = tl_jobs_fetch(jobs, "tierline.job", rec->retry_of, NULL, on_retried_record, w);
        return st == TL_OK ? TL_OK : tl_fail(err, st, "the record of %s cannot be read", rec->retry_of);
    }
    w->work = (struct jobs_work){.run = run_look_up, .done = on_looked_up};
    tl_jobs_work(jobs, &w->work);
    return TL_OK;
}
