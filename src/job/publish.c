/* SPDX-License-Identifier: Apache-2.0 */
/* Turns what a daily calculation tells into events of its task. Keeps the last state, so that every event that carries
 * one says the same. Does not decide anything: who asks to cancel is told to the owner, who may come back with the
 * state that follows. */
#include "job/publish.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <stdio.h>

static void on_control(void *ctx, const char *op)
{
    struct tl_publisher *p = ctx;
    if (strcmp(op, "cancel") != 0 || p->cancel_told) return;
    p->cancel_told = true;
    if (p->opt.on_cancel) p->opt.on_cancel(p->opt.ctx);
}

static void on_fenced(void *ctx)
{
    struct tl_publisher *p = ctx;
    if (p->opt.on_fenced) p->opt.on_fenced(p->opt.ctx);
}

void tl_publisher_open(struct tl_publisher *p, const struct tl_publisher_options *opt, struct tl_err *why)
{
    *p = (struct tl_publisher){.opt = *opt, .last = {.state = TL_TASK_RUNNING, .eta_ms = -1}};
    if (why) *why = (struct tl_err){.status = TL_OK};
    p->began_ns = tl_clock_mono_ns(opt->clock);
    tl_buf_init(&p->text, TL_EVENT_BYTES_MAX);
    if (!opt->bus) return;
    struct tl_task_options o = {
        .id = opt->id, .name = opt->name, .on_control = on_control, .on_fenced = on_fenced, .ctx = p};
    if (tl_task_open(opt->bus, &o, &p->task, why) != TL_OK) p->task = NULL;
}

static void event(struct tl_publisher *p, const char *type)
{
    struct tl_err err;
    if (p->task && !p->text.failed && tl_task_event(p->task, type, tl_buf_str(&p->text), &err) == TL_OK) return;
    p->lost++;
}

static void stamp(struct tl_publisher *p)
{
    p->last.elapsed_ms = (int64_t)((tl_clock_mono_ns(p->opt.clock) - p->began_ns) / 1000000);
}

void tl_publisher_started(struct tl_publisher *p, uint64_t symbols)
{
    p->last.total = symbols;
    if (!p->task) return;
    stamp(p);
    tl_buf_clear(&p->text);
    tl_task_progress_json(&p->text, p->opt.id, p->opt.name, &p->last);
    event(p, "task.started.v1");
}

void tl_publisher_state(struct tl_publisher *p, enum tl_task_state state)
{
    p->last.state = state;
    stamp(p);
    if (p->task) tl_task_progress(p->task, &p->last);
}

void tl_publisher_count(struct tl_task_progress *out, const struct tl_daily_progress *p)
{
    out->done = p->symbols_done;
    out->total = p->symbols_total;
    out->failed = p->failed;
    out->skipped = p->skipped;
    out->from_cache = p->from_cache;
    out->computed = p->computed;
    out->waited = p->waited;
    out->rate = p->symbols_per_s;
    out->eta_ms = p->eta_s >= 0 && p->eta_s < 1e9 ? (int64_t)(p->eta_s * 1000) : -1;
}

void tl_publisher_progress(struct tl_publisher *p, const struct tl_daily_progress *progress)
{
    tl_publisher_count(&p->last, progress);
    p->last.state = progress->cancelled ? TL_TASK_CANCELLING : TL_TASK_RUNNING;
    stamp(p);
    if (p->task) tl_task_progress(p->task, &p->last);
}

static void count(struct tl_json *j, const char *key, uint64_t n)
{
    tl_json_key(j, key);
    tl_json_u64(j, n);
}

/* A symbol without a bar on the date was neither completed nor failed: the progress counts it as skipped. */
void tl_publisher_symbol(struct tl_publisher *p, const struct tl_daily_symbol *s)
{
    struct tl_json j;
    snprintf(p->last.item, sizeof p->last.item, "%s", s->symbol);
    if (!p->task || s->computed + s->from_cache + s->waited == 0) return;
    tl_buf_clear(&p->text);
    tl_json_init(&j, &p->text);
    tl_json_object(&j);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, s->symbol);
    count(&j, "computed", s->computed);
    count(&j, "from_cache", s->from_cache);
    count(&j, "waited", s->waited);
    tl_json_key(&j, "ms");
    tl_json_num(&j, (double)(int64_t)(s->ms * 1000) / 1000);
    tl_json_object_end(&j);
    event(p, "task.item.completed.v1");
}

void tl_publisher_failure(struct tl_publisher *p, const struct tl_daily_failure *f)
{
    if (!p->task) return;
    tl_buf_clear(&p->text);
    tl_daily_failure_json(&p->text, f);
    event(p, "task.item.failed.v1");
}

void tl_publisher_end(struct tl_publisher *p, enum tl_task_state state, const char *error)
{
    TL_ASSERT(tl_task_state_over(state));
    p->last.state = state;
    p->last.eta_ms = -1;
    snprintf(p->last.error, sizeof p->last.error, "%s", error ? error : "");
    stamp(p);
    if (p->task) tl_task_end(p->task, &p->last);
    p->task = NULL;
    tl_buf_release(&p->text);
}

void tl_publisher_abandon(struct tl_publisher *p)
{
    if (p->task) tl_task_abandon(p->task);
    p->task = NULL;
    tl_buf_release(&p->text);
}
