/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of jobs, in the cache's tiers: records by id, chunks of failures, and the list of the jobs that
 * are in no queue but this process'. There are several places for such lists, of which each process takes one by
 * chance; who begins reads them all. A write that cannot be kept is logged and changes nothing else. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <jansson.h>

#define LIST "tierline.jobs"

struct keeping {
    struct tl_jobs *jobs;
    struct tl_put put;
    char what[TL_JOB_ID_MAX + 1];
    void (*then)(void *user); /* NULL: nobody waits */
    void *user;
};

static void note(struct tl_jobs *jobs, const char *what, enum tl_status status)
{
    tl_log(jobs->log, TL_LOG_WARN, "job", "record not kept", "of=%s status=%s", what, tl_status_name(status));
}

static void on_kept(struct tl_put *put, enum tl_status status)
{
    struct keeping *k = put->user;
    struct tl_jobs *jobs = k->jobs;
    void (*then)(void *) = k->then;
    void *user = k->user;
    if (status != TL_OK) note(jobs, k->what, put->item.status);
    free(k);
    if (then) then(user);
    tl_jobs_part(jobs);
}

/* then: on the loop, later, once the store has it; false: it will not be called. */
static bool keep(struct tl_jobs *jobs, const char *type, const char *id, const char *part, struct tl_str value,
                 void (*then)(void *), void *user)
{
    static const struct tl_ttl ttl = {JOBS_KEEP_MS, JOBS_KEEP_MS, JOBS_KEEP_MS};
    const struct tl_key key = {.data_type = type, .symbol = id, .timeframe = part};
    struct keeping *k = tl_calloc(1, sizeof *k);
    enum tl_status st = k ? TL_OK : TL_NOMEM;
    if (k) {
        k->jobs = jobs;
        k->put.user = k;
        k->then = then;
        k->user = user;
        if (then) k->put.wait = TL_TIER_STORE;
        snprintf(k->what, sizeof k->what, "%s", id ? id : type);
        st = tl_cache_put(jobs->cache, &k->put, &key, value.p, value.n, &ttl, JOBS_CACHE_MS, on_kept, NULL);
    }
    if (st == TL_OK) {
        jobs->open++;
    } else {
        note(jobs, id ? id : type, st);
        free(k);
    }
    return st == TL_OK;
}

void tl_jobs_keep(struct tl_jobs *jobs, const char *type, const char *id, const char *part, struct tl_str value)
{
    (void)keep(jobs, type, id, part, value, NULL, NULL);
}

void tl_jobs_keep_record_then(struct tl_jobs *jobs, const struct tl_job_record *rec, void (*then)(void *user),
                              void *user)
{
    struct tl_buf text;
    bool kept = false;
    tl_buf_init(&text, TL_JOB_RECORD_MAX);
    tl_job_record_json(&text, rec);
    if (tl_buf_status(&text, NULL) == TL_OK)
        kept = keep(jobs, "tierline.job", rec->id, NULL, tl_buf_str(&text), then, user);
    else
        note(jobs, rec->id, TL_NOMEM);
    tl_buf_release(&text);
    if (!kept && then) then(user);
}

void tl_jobs_keep_record(struct tl_jobs *jobs, const struct tl_job_record *rec)
{
    tl_jobs_keep_record_then(jobs, rec, NULL, NULL);
}

static void place_text(size_t place, char out[24])
{
    snprintf(out, 24, "%zu", place);
}

void tl_jobs_keep_list(struct tl_jobs *jobs)
{
    struct tl_buf text;
    struct tl_json j;
    char place[24];
    const char *running = tl_job_run_local(jobs);
    size_t n = jobs->n_waiting + (running != NULL);
    if (!jobs->take || !jobs->listed || (n == 0 && jobs->n_listed == 0)) return;
    place_text(jobs->list_place, place);
    tl_buf_init(&text, 0);
    tl_json_init(&j, &text);
    tl_json_array(&j);
    if (running) tl_json_cstr(&j, running);
    for (const struct job_waiting *w = jobs->first; w; w = w->next) tl_json_cstr(&j, w->rec.id);
    tl_json_array_end(&j);
    if (tl_buf_status(&text, NULL) == TL_OK) tl_jobs_keep(jobs, LIST, NULL, place, tl_buf_str(&text));
    jobs->n_listed = n;
    tl_buf_release(&text);
}

/* ---- reading ---- */

struct fetching {
    struct tl_jobs *jobs;
    struct tl_get get;
    jobs_got_cb *cb;
    void *user;
};

static void on_fetched(struct tl_get *get, enum tl_status status)
{
    struct fetching *f = get->user;
    struct tl_jobs *jobs = f->jobs;
    struct tl_str value = {"", 0};
    if (status == TL_OK) value.p = tl_value_bytes(get->item.value, &value.n);
    f->cb(f->user, status, value);
    tl_value_unref(get->item.value);
    free(f);
    tl_jobs_part(jobs);
}

enum tl_status tl_jobs_fetch(struct tl_jobs *jobs, const char *type, const char *id, const char *part, jobs_got_cb *cb,
                             void *user)
{
    const struct tl_key key = {.data_type = type, .symbol = id, .timeframe = part};
    struct fetching *f = tl_calloc(1, sizeof *f);
    if (!f) return TL_NOMEM;
    *f = (struct fetching){.jobs = jobs, .cb = cb, .user = user, .get = {.user = f}};
    enum tl_status st = tl_cache_get(jobs->cache, &f->get, &key, JOBS_CACHE_MS, on_fetched, NULL);
    if (st == TL_OK)
        jobs->open++;
    else
        free(f);
    return st;
}

/* ---- what an earlier process left ---- */

struct restoring {
    struct tl_jobs *jobs;
    size_t place;  /* the next one */
    size_t n_free; /* that hold nothing that is not over */
    bool holds;    /* the one that was read last does */
    json_t *ids;   /* [own] of it */
    size_t at;
    struct tl_job_record rec; /* that is handed in to Redis */
};

static void restore_next(struct restoring *);

static void restore_here(struct tl_jobs *jobs, const struct tl_job_record *rec)
{
    enum tl_status st = tl_jobs_push(jobs, rec, false);
    tl_log(jobs->log, st == TL_OK ? TL_LOG_INFO : TL_LOG_ERROR, "job", st == TL_OK ? "continued" : "not continued",
           "id=%s status=%s", rec->id, tl_status_name(st));
}

/* It may be there already, and it may be over by now: Redis knows. */
static void on_restored(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct restoring *r = user;
    (void)err;
    if (status != TL_OK || reply->integer != 1)
        restore_here(r->jobs, &r->rec);
    else
        tl_log(r->jobs->log, TL_LOG_INFO, "job", "handed in again", "id=%s", r->rec.id);
    tl_job_record_release(&r->rec);
    restore_next(r);
}

static void on_record(void *user, enum tl_status status, struct tl_str value)
{
    struct restoring *r = user;
    struct tl_jobs *jobs = r->jobs;
    if (status == TL_OK && tl_job_record_parse(value, &r->rec, NULL) == TL_OK) {
        bool over = tl_task_state_over(r->rec.progress.state);
        r->holds = r->holds || !over;
        if (!over && tl_jobs_ask(jobs, JOBS_POST, r->rec.id, &r->rec, NULL, JOBS_REDIS_MS, on_restored, r) == TL_OK)
            return;
        if (!over) restore_here(jobs, &r->rec);
        tl_job_record_release(&r->rec);
    } else if (status != TL_NOT_FOUND) {
        r->holds = true;
    }
    restore_next(r);
}

static void on_list(void *user, enum tl_status status, struct tl_str value)
{
    struct restoring *r = user;
    r->ids = status == TL_OK ? json_loadb(value.p, value.n, 0, NULL) : NULL; /* no array: none */
    r->at = 0;
    r->holds = status != TL_OK && status != TL_NOT_FOUND;
    restore_next(r);
}

static void restore_next(struct restoring *r)
{
    struct tl_jobs *jobs = r->jobs;
    char place[24];
    while (!jobs->closing && r->at < json_array_size(r->ids)) {
        const char *id = json_string_value(json_array_get(r->ids, r->at++));
        if (id && tl_jobs_fetch(jobs, "tierline.job", id, NULL, on_record, r) == TL_OK) return;
    }
    json_decref(r->ids);
    r->ids = NULL;
    /* Ours is one of those, by chance: what others wait for, or could not be read, is not written over. */
    if (!jobs->closing && r->place > 0 && !r->holds && tl_rng_below(&jobs->rng, ++r->n_free) == 0)
        jobs->list_place = r->place - 1;
    while (!jobs->closing && r->place < JOBS_LISTS) {
        place_text(r->place++, place);
        if (tl_jobs_fetch(jobs, LIST, NULL, place, on_list, r) == TL_OK) return;
    }
    free(r);
    jobs->listed = !jobs->closing; /* who could not read all keeps none */
    tl_jobs_keep_list(jobs);       /* what was restored is in our own from now on */
    tl_jobs_look(jobs);
    tl_jobs_part(jobs);
}

void tl_jobs_restore(struct tl_jobs *jobs)
{
    struct restoring *r = jobs->take ? tl_calloc(1, sizeof *r) : NULL;
    if (!r) {
        jobs->listed = true;
        tl_jobs_look(jobs);
        return;
    }
    r->jobs = jobs;
    jobs->list_place = tl_rng_below(&jobs->rng, JOBS_LISTS);
    jobs->open++;
    restore_next(r);
}
