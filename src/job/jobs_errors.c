/* SPDX-License-Identifier: Apache-2.0 */
/* The items of a job that failed: collected while it runs, kept in chunks in the tiers under the job's id, paged from
 * there. A chunk is JSON, [["600519.SH","SMA(5)","TOO_FEW_BARS","needs ..."], ...]; every chunk but the last is full.
 * A job that is begun anew begins its chunks anew. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <jansson.h>
#include <stdio.h>

static const char TYPE[] = "tierline.job.errors";

void tl_job_errors_init(struct job_errors *e, struct tl_jobs *jobs, const char *id)
{
    *e = (struct job_errors){.jobs = jobs, .id = id};
    tl_buf_init(&e->text, 4u << 20); /* a chunk of the longest failures has a quarter of that */
}

void tl_job_errors_release(struct job_errors *e)
{
    tl_buf_release(&e->text);
}

/* The chunk under way, closed by its bracket for the time of the write. */
void tl_job_errors_flush(struct job_errors *e)
{
    char part[24];
    if (!e->dirty || e->in_text == 0) return;
    e->dirty = false;
    tl_buf_putc(&e->text, ']');
    if (e->text.failed) { /* memory is out: the next time */
        e->text.failed = false;
        e->dirty = true;
        return;
    }
    snprintf(part, sizeof part, "%llu", (unsigned long long)((e->total - 1) / JOBS_ERRORS_CHUNK));
    tl_jobs_keep(e->jobs, TYPE, e->id, part, tl_buf_str(&e->text));
    e->text.n--;
}

void tl_job_errors_add(struct job_errors *e, const struct tl_daily_failure *f)
{
    struct tl_json j;
    if (e->total >= JOBS_ERRORS_MAX) return;
    size_t before = e->text.n;
    tl_buf_putc(&e->text, e->in_text ? ',' : '[');
    tl_json_init(&j, &e->text);
    tl_json_array(&j);
    tl_json_cstr(&j, f->symbol);
    tl_json_cstr(&j, f->spec);
    tl_json_cstr(&j, tl_status_name(f->err->status));
    tl_json_cstr(&j, f->err->text);
    tl_json_array_end(&j);
    if (e->text.failed) { /* memory is out: this one is counted alone */
        e->text.n = before;
        e->text.failed = false;
        return;
    }
    e->total++;
    e->in_text++;
    e->dirty = true;
    if (e->in_text < JOBS_ERRORS_CHUNK) return;
    tl_job_errors_flush(e);
    tl_buf_clear(&e->text);
    e->in_text = 0;
}

/* ---- reading ---- */

static enum tl_status status_named(const char *name)
{
    static const enum tl_status all[] = {
#define X(name, num, text, http, exit, retry) TL_##name,
#include <tierline/status.tbl.h>
#undef X
    };
    for (size_t i = 0; i < TL_COUNT(all); i++)
        if (strcmp(tl_status_name(all[i]), name) == 0) return all[i];
    return TL_INTERNAL;
}

enum tl_status tl_job_errors_parse(struct tl_str json, bool (*cb)(void *ctx, const struct tl_job_error *), void *ctx)
{
    json_t *root = json_loadb(json.p, json.n, 0, NULL);
    enum tl_status st = json_is_array(root) ? TL_OK : TL_CORRUPT;
    bool more = true;
    for (size_t i = 0; st == TL_OK && more && i < json_array_size(root); i++) {
        struct tl_job_error e;
        const json_t *row = json_array_get(root, i);
        const char *v[4];
        for (size_t k = 0; k < 4; k++) {
            v[k] = json_string_value(json_array_get(row, k));
            if (!v[k]) st = TL_CORRUPT;
        }
        if (st != TL_OK) break;
        snprintf(e.symbol, sizeof e.symbol, "%s", v[0]);
        snprintf(e.spec, sizeof e.spec, "%s", v[1]);
        snprintf(e.text, sizeof e.text, "%s", v[3]);
        e.status = status_named(v[2]);
        more = cb(ctx, &e);
    }
    json_decref(root);
    return st;
}

static enum tl_status next_chunk(struct job_errors_reading *);

static void on_chunk(void *user, enum tl_status status, struct tl_str value)
{
    struct job_errors_reading *r = user;
    if (status == TL_OK) status = tl_job_errors_parse(value, r->each, r->ctx);
    r->chunk++;
    if (status == TL_OK && r->chunk < r->chunks)
        status = next_chunk(r);
    else if (status == TL_OK)
        r->over(r->ctx, TL_OK);
    if (status != TL_OK) r->over(r->ctx, status);
}

static enum tl_status next_chunk(struct job_errors_reading *r)
{
    char part[24];
    snprintf(part, sizeof part, "%llu", (unsigned long long)r->chunk);
    return tl_jobs_fetch(r->jobs, TYPE, r->id, part, on_chunk, r);
}

enum tl_status tl_job_errors_read(struct job_errors_reading *r)
{
    TL_ASSERT(r->chunk < r->chunks);
    return next_chunk(r);
}

/* ---- paging ---- */

struct paging {
    struct tl_jobs *jobs;
    struct tl_job_errors *op;
    char id[TL_JOB_ID_MAX + 1];
    struct job_errors_reading reading;
    uint64_t at; /* number of the next failure that comes */
};

static void page_over(struct paging *p, enum tl_status status)
{
    struct tl_job_errors *op = p->op;
    struct tl_jobs *jobs = p->jobs;
    if (status != TL_OK) {
        free(op->items);
        op->items = NULL;
        op->n = 0;
        if (op->err.status != status)
            (void)tl_fail(&op->err, status, "the failures of %s: %s", p->id, tl_status_text(status));
    }
    op->state = NULL;
    free(p);
    op->cb(op, status);
    tl_jobs_part(jobs);
}

static bool page_item(void *ctx, const struct tl_job_error *e)
{
    struct paging *p = ctx;
    struct tl_job_errors *op = p->op;
    if (p->at++ < op->from) return true;
    if (op->n == op->max) return false;
    op->items[op->n++] = *e;
    return op->n < op->max;
}

static void on_page(void *ctx, enum tl_status status)
{
    page_over(ctx, status);
}

static void on_job(void *user, enum tl_status status, struct tl_str value)
{
    struct paging *p = user;
    struct tl_job_errors *op = p->op;
    struct tl_job_record rec;
    if (status == TL_NOT_FOUND) (void)tl_fail(&op->err, TL_NOT_FOUND, "no job %s is known", p->id);
    if (status == TL_OK) status = tl_job_record_parse(value, &rec, &op->err);
    if (status != TL_OK) {
        page_over(p, status);
        return;
    }
    op->total = (size_t)rec.errors;
    tl_job_record_release(&rec);
    size_t last = TL_MIN(op->total, op->from + op->max); /* behind the last that is wanted */
    op->items = tl_calloc(op->max, sizeof *op->items);
    if (!op->items || op->from >= last) {
        page_over(p, op->items ? TL_OK : TL_NOMEM);
        return;
    }
    p->reading.chunk = op->from / JOBS_ERRORS_CHUNK;
    p->reading.chunks = (last - 1) / JOBS_ERRORS_CHUNK + 1;
    p->at = p->reading.chunk * JOBS_ERRORS_CHUNK;
    status = tl_job_errors_read(&p->reading);
    if (status != TL_OK) page_over(p, status);
}

enum tl_status tl_jobs_errors(struct tl_jobs *jobs, struct tl_job_errors *op, const char *id, struct tl_err *err)
{
    op->items = NULL;
    op->n = op->total = 0;
    op->err = (struct tl_err){.status = TL_OK};
    if (op->max < 1 || op->max > JOBS_ERRORS_CHUNK)
        return tl_fail(err, TL_INVALID, "max %zu: 1 to %d", op->max, JOBS_ERRORS_CHUNK);
    if (op->from > JOBS_ERRORS_MAX) return tl_fail(err, TL_INVALID, "from %zu: 0 to %d", op->from, JOBS_ERRORS_MAX);
    if (jobs->closing) return tl_fail(err, TL_CANCELLED, "the jobs are being closed");
    if (strlen(id) > TL_JOB_ID_MAX) return tl_fail(err, TL_NOT_FOUND, "no job has an id of %zu bytes", strlen(id));
    struct paging *p = tl_calloc(1, sizeof *p);
    if (!p) return tl_fail(err, TL_NOMEM, "no memory for the failures");
    *p = (struct paging){.jobs = jobs, .op = op};
    snprintf(p->id, sizeof p->id, "%s", id);
    p->reading = (struct job_errors_reading){.jobs = jobs, .each = page_item, .over = on_page, .ctx = p};
    memcpy(p->reading.id, p->id, sizeof p->id);
    if (tl_job_run_is(jobs, id)) tl_job_run_flush(jobs);
    enum tl_status st = tl_jobs_fetch(jobs, "tierline.job", p->id, NULL, on_job, p);
    if (st != TL_OK) {
        free(p);
        return tl_fail(err, st, "the record of %s cannot be read", id);
    }
    op->state = p;
    jobs->open++;
    return TL_OK;
}
