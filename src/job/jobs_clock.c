/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules by the clock. When an occurrence is due, a worker asks the store whether its date is a trading day after
 * all and whether enough symbols have the day's bar; until they have, it is asked again. Then the occurrence is claimed
 * in Redis, first for half a minute and, in the step that queues the job, for good: one process makes a job of it, and
 * one that dies in between is followed by another. Without Redis, or while it stays away, every process makes its own.
 *
 * Occurrences that passed while no process ran are not made up for. A clock is referenced by its table and by what it
 * waits for, and outlives new settings for that long. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { TICK_MS = 1000, LOOK_AGAIN_MS = 10000, CLAIM_AGAIN_MS = 2000, AWAY_MS = 30000, CLAIMED_MS = 30000 };

struct job_clock {
    struct tl_schedule s;
    struct tl_jobs *jobs;
    unsigned refs;
    bool dead;                                  /* not in the table any more */
    int64_t next_ms, last_ms, due_ms, again_ms; /* wall clock; due 0: nothing is due */
    char last_job[TL_JOB_ID_MAX + 1];
    bool busy; /* something is under way for what is due */
    struct jobs_work work;
    struct tl_schedule_look look;
    enum tl_status looked;
};

static void clock_unref(struct job_clock *c)
{
    if (--c->refs > 0) return;
    tl_schedule_release(&c->s);
    free(c);
}

static void settle(struct job_clock *c, const char *job)
{
    int64_t now = tl_clock_wall_ms(c->jobs->clock);
    int64_t due = c->due_ms;
    c->busy = false;
    c->last_ms = due;
    if (job) snprintf(c->last_job, sizeof c->last_job, "%s", job);
    c->next_ms = tl_schedule_next(&c->s, TL_MAX(due, now));
    c->due_ms = 0;
    for (size_t i = 0; c->dead && i < c->jobs->n_clocks; i++) { /* its successor has taken the same one over */
        struct job_clock *heir = c->jobs->clocks[i];
        if (strcmp(heir->s.name, c->s.name) == 0 && heir->due_ms == due && !heir->busy) settle(heir, job);
    }
}

static void again(struct job_clock *c, int64_t ms)
{
    c->busy = false;
    c->again_ms = tl_clock_wall_ms(c->jobs->clock) + ms;
}

static void claim_key(const struct job_clock *c, char out[64])
{
    snprintf(out, 64, "%s:%lld", c->s.name, (long long)c->due_ms);
}

/* ---- making the job ---- */

static void on_handed_in(void *user, enum tl_status status, const char *id, const struct tl_err *err)
{
    struct job_clock *c = user;
    if (status == TL_OK)
        tl_log(c->jobs->log, TL_LOG_INFO, "job", "scheduled", "schedule=%s id=%s", c->s.name, id);
    else
        tl_log(c->jobs->log, TL_LOG_ERROR, "job", "not scheduled", "schedule=%s error=\"%s\"", c->s.name, err->text);
    settle(c, status == TL_OK ? id : NULL);
    clock_unref(c);
}

static void make_job(struct job_clock *c)
{
    struct tl_jobs *jobs = c->jobs;
    struct tl_job_record rec;
    struct tl_err err;
    char key[64];
    claim_key(c, key);
    const struct tl_job_request r = {
        .name = c->s.name,
        .symbols = c->s.symbols,
        .set = c->s.set,
        .freq = c->s.freq,
        .adjust = c->s.adjust,
        .drop_suspended = strcmp(tl_config_str(jobs->config, "calc.suspended"), "drop") == 0,
        .day_ms = INT64_MIN,
    };
    enum tl_status st = tl_job_record_of(jobs, &r, &rec, &err);
    if (st == TL_OK) {
        snprintf(rec.schedule, sizeof rec.schedule, "%s", c->s.name);
        st = tl_jobs_hand_in(jobs, &rec, key, on_handed_in, c, &err);
    }
    if (st == TL_OK) {
        c->refs++;
        return;
    }
    tl_log(jobs->log, TL_LOG_ERROR, "job", "not scheduled", "schedule=%s error=\"%s\"", c->s.name, err.text);
    settle(c, NULL);
}

static void on_claimed(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct job_clock *c = user;
    (void)err;
    bool answer = status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n > 0;
    if (c->dead || c->jobs->draining) {
        c->busy = false;
    } else if (answer && reply->items[0]->integer == 1) {
        make_job(c);
    } else if (answer && reply->n == 3 && reply->items[2]->integer > CLAIMED_MS) {
        char id[TL_JOB_ID_MAX + 1];
        snprintf(id, sizeof id, "%.*s", TL_STR_ARG(reply->items[1]->str));
        settle(c, id);
    } else if (answer && reply->n == 3) { /* somebody is at it, or was */
        again(c, TL_MIN(TL_MAX(reply->items[2]->integer, 0) + 100, CLAIM_AGAIN_MS));
    } else {
        again(c, CLAIM_AGAIN_MS);
    }
    clock_unref(c);
}

static void claim(struct job_clock *c)
{
    struct tl_jobs *jobs = c->jobs;
    char key[64];
    claim_key(c, key);
    if (!jobs->redis) {
        make_job(c);
    } else if (tl_jobs_redis_up(jobs) &&
               tl_jobs_ask(jobs, JOBS_CLAIM, "", NULL, key, JOBS_REDIS_MS, on_claimed, c) == TL_OK) {
        c->refs++;
    } else if (tl_clock_wall_ms(jobs->clock) >= c->due_ms + AWAY_MS) {
        tl_log(jobs->log, TL_LOG_WARN, "job", "Redis is away: scheduled by this process for itself", "schedule=%s",
               c->s.name);
        make_job(c);
    } else {
        again(c, CLAIM_AGAIN_MS);
    }
}

/* ---- is it time? ---- */

static void run_look(struct jobs_work *work, struct tl_store_reader *reader)
{
    struct job_clock *c = (struct job_clock *)(void *)((char *)work - offsetof(struct job_clock, work));
    c->looked = tl_schedule_look(&c->s, reader, tl_schedule_date(&c->s, c->due_ms), &c->look, NULL);
}

static bool enough(const struct job_clock *c)
{
    int64_t now = tl_clock_wall_ms(c->jobs->clock);
    if (c->s.share <= 0 || now >= c->due_ms + c->s.wait_max_ms) return true;
    return c->looked == TL_OK && c->look.active > 0 &&
           (double)c->look.ready >= c->s.share * (double)c->look.active - 1e-9;
}

static void on_looked(struct jobs_work *work, bool cancelled)
{
    struct job_clock *c = (struct job_clock *)(void *)((char *)work - offsetof(struct job_clock, work));
    if (!cancelled && c->looked == TL_OK && c->look.n_days > 0) {
        free(c->s.days_ms);
        c->s.days_ms = TL_TAKE(c->look.days_ms);
        c->s.n_days = c->look.n_days;
    }
    free(TL_TAKE(c->look.days_ms));
    if (cancelled || c->dead || c->jobs->draining) {
        c->busy = false;
    } else if (!tl_schedule_trades(&c->s, tl_schedule_date(&c->s, c->due_ms))) {
        settle(c, NULL); /* a calendar that was imported meanwhile */
    } else if (!enough(c)) {
        tl_log(c->jobs->log, TL_LOG_DEBUG, "job", "waits for bars", "schedule=%s ready=%zu active=%zu", c->s.name,
               c->look.ready, c->look.active);
        again(c, TL_MIN(LOOK_AGAIN_MS, TL_MAX(c->s.wait_max_ms / 20, TICK_MS)));
    } else {
        claim(c);
    }
    clock_unref(c);
}

static void check(struct job_clock *c, int64_t now)
{
    if (c->due_ms == 0 && now >= c->next_ms) {
        c->due_ms = c->next_ms;
        c->again_ms = now;
    }
    if (c->due_ms == 0 || c->busy || now < c->again_ms) return;
    c->busy = true;
    if (c->s.share <= 0 && !c->s.cron.trading_day) {
        claim(c);
        return;
    }
    c->refs++;
    c->looked = TL_CANCELLED;
    c->look = (struct tl_schedule_look){.days_ms = NULL};
    c->work = (struct jobs_work){.run = run_look, .done = on_looked};
    tl_jobs_work(c->jobs, &c->work);
}

static void set_tick(struct tl_jobs *jobs)
{
    int64_t now = tl_clock_wall_ms(jobs->clock), soonest = TICK_MS;
    for (size_t i = 0; i < jobs->n_clocks; i++) {
        const struct job_clock *c = jobs->clocks[i];
        int64_t left = c->due_ms ? c->again_ms - now : c->next_ms - TL_MIN(now, c->next_ms);
        if (!c->busy) soonest = TL_MIN(soonest, TL_MAX(left, 10));
    }
    if (jobs->n_clocks == 0 || jobs->draining || jobs->closing) return;
    uint64_t at = tl_jobs_now_ns(jobs) + (uint64_t)soonest * 1000000;
    (void)!tl_alarm_set(jobs->alarms, &jobs->clock_alarm, at);
}

static void on_tick(struct tl_alarm *alarm)
{
    struct tl_jobs *jobs = (struct tl_jobs *)(void *)((char *)alarm - offsetof(struct tl_jobs, clock_alarm));
    int64_t now = tl_clock_wall_ms(jobs->clock);
    for (size_t i = 0; i < jobs->n_clocks; i++) check(jobs->clocks[i], now);
    set_tick(jobs);
}

/* ---- the table ---- */

/* The calendar as it is now; blocks for a few milliseconds. */
static enum tl_status read_days(struct tl_jobs *jobs, struct tl_schedule *s, struct tl_err *err)
{
    const char *calendar = s->cron.trading_day ? tl_schedule_calendar(s) : NULL;
    if (!calendar || !jobs->cache->store) return TL_OK;
    struct tl_store_reader *reader;
    enum tl_status st = tl_store_reader_new(jobs->cache->store, &reader, err);
    if (st != TL_OK) return st;
    st = tl_store_calendar_read(reader, calendar, &s->days_ms, &s->n_days, err);
    tl_store_reader_free(reader);
    return st;
}

static void drop_table(struct job_clock **clocks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        clocks[i]->dead = true;
        clock_unref(clocks[i]);
    }
    free(clocks);
}

/* What is known of one that stays as it was goes on. */
static void inherit(const struct tl_jobs *jobs, struct job_clock *c)
{
    c->next_ms = tl_schedule_next(&c->s, tl_clock_wall_ms(jobs->clock));
    for (size_t i = 0; i < jobs->n_clocks; i++) {
        const struct job_clock *old = jobs->clocks[i];
        if (strcmp(old->s.name, c->s.name) != 0) continue;
        c->last_ms = old->last_ms;
        memcpy(c->last_job, old->last_job, sizeof c->last_job);
        if (strcmp(old->s.text, c->s.text) == 0) {
            c->next_ms = old->next_ms;
            c->due_ms = old->due_ms;
            c->again_ms = old->busy ? tl_clock_wall_ms(jobs->clock) + AWAY_MS : old->again_ms;
        }
    }
}

static enum tl_status add_clock(struct tl_jobs *jobs, const struct tl_config *config, struct job_clock **clocks,
                                size_t *n, struct tl_err *err)
{
    struct job_clock *c = tl_calloc(1, sizeof *c);
    if (!c) return tl_fail(err, TL_NOMEM, "no memory for the schedules");
    enum tl_status st = tl_schedule_read(config, *n, &c->s, err);
    if (st != TL_OK) {
        free(c);
        return st;
    }
    if (*n == TL_SCHEDULES_MAX) st = tl_fail(err, TL_TOO_LARGE, "more than %d schedules", TL_SCHEDULES_MAX);
    if (st == TL_OK) st = read_days(jobs, &c->s, err);
    if (st != TL_OK) {
        tl_schedule_release(&c->s);
        free(c);
        return st;
    }
    c->jobs = jobs;
    c->refs = 1;
    inherit(jobs, c);
    clocks[(*n)++] = c;
    return TL_OK;
}

enum tl_status tl_jobs_clocks_read(struct tl_jobs *jobs, const struct tl_config *config, struct tl_err *err)
{
    struct job_clock **clocks = tl_calloc(TL_SCHEDULES_MAX, sizeof(struct job_clock *));
    size_t n = 0;
    enum tl_status st = clocks ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for the schedules");
    while (st == TL_OK) st = add_clock(jobs, config, clocks, &n, err);
    if (st != TL_NOT_FOUND) {
        if (clocks) drop_table(clocks, n);
        return st;
    }
    tl_jobs_clocks_free(jobs);
    jobs->clocks = clocks;
    jobs->n_clocks = n;
    return TL_OK;
}

void tl_jobs_clocks_begin(struct tl_jobs *jobs)
{
    jobs->clock_alarm.ring = on_tick;
    if (jobs->take) set_tick(jobs);
}

void tl_jobs_clocks_end(struct tl_jobs *jobs)
{
    tl_alarm_clear(jobs->alarms, &jobs->clock_alarm);
}

void tl_jobs_clocks_free(struct tl_jobs *jobs)
{
    if (jobs->clocks) drop_table(jobs->clocks, jobs->n_clocks);
    jobs->clocks = NULL;
    jobs->n_clocks = 0;
}

bool tl_jobs_schedule(const struct tl_jobs *jobs, size_t i, struct tl_schedule_info *out)
{
    if (i >= jobs->n_clocks) return false;
    const struct job_clock *c = jobs->clocks[i];
    *out = (struct tl_schedule_info){.name = c->s.name,
                                     .text = c->s.text,
                                     .next_ms = c->due_ms ? c->due_ms : c->next_ms,
                                     .last_ms = c->last_ms,
                                     .last_job = c->last_job};
    return true;
}
