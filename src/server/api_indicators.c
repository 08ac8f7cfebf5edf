/* SPDX-License-Identifier: Apache-2.0 */
/* The registry, and one indicator of one symbol: through the scheduler, so that it is computed once for all who ask in
 * all processes, then written on a worker together with the times of its bars. */
#include "base/err.h"
#include "base/util.h"
#include "indicator/describe.h"
#include "indicator/kernel.h"
#include "server/render.h"

#include <inttypes.h>
#include <stdio.h>

enum { COMPUTE_MS = 60000 };

void api_get_indicators(struct api_call *c)
{
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "indicators");
    tl_json_array(&j);
    for (size_t i = 0; i < tl_indicator_count(); i++) tl_indicator_json(&j, tl_indicator_at(i));
    tl_json_array_end(&j);
    tl_json_key(&j, "kernel_version");
    tl_json_i64(&j, TL_KERNEL_VERSION);
    tl_json_key(&j, "sets"); /* of the settings, for jobs */
    tl_json_object(&j);
    struct tl_config_entry e;
    for (size_t i = 0; tl_config_entry(c->api->config, i, &e); i++) {
        if (strcmp(e.section, "sets") != 0) continue;
        tl_json_key(&j, e.name);
        tl_json_cstr(&j, e.value);
    }
    tl_json_object_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}

/* ---- a series ---- */

struct series {
    struct tl_indicators op;
    struct tl_indicator_item item;
    struct tl_grid_range range;
    enum api_form form;
    char key[400]; /* of the answer among those made a moment ago; "": too long for that */
    uint64_t seq;
    char etag[200], meta[160];
};

static void series_release(void *state)
{
    struct series *s = state;
    tl_series_release(&s->item.series);
    free(s);
}

static void write_series(struct api_call *c, struct series *s, const struct tl_view *view)
{
    struct tl_series_shown shown = {.symbol = s->op.symbol,
                                    .freq = s->op.freq,
                                    .adjust = s->op.adjust,
                                    .spec = s->item.spec,
                                    .series = &s->item.series,
                                    .view = view,
                                    .source = s->item.source,
                                    .freshness = s->item.freshness,
                                    .age_ms = tl_clock_wall_ms(c->api->clock) - s->item.series.computed_ms};
    struct tl_tz *tz = NULL;
    struct tl_grid grid;
    size_t from, to;
    const struct tl_version *v = &s->item.series.version;
    c->status = tl_present_series(&shown, &grid, &c->err);
    if (c->status == TL_OK && view->zone[0]) c->status = tl_tz_open(view->zone, &tz, &c->err);
    if (c->status != TL_OK) return;
    grid.tz = tz;
    tl_grid_cut(&grid, &s->range, &from, &to);
    api_write_grid(s->form, &grid, from, to, &c->out);
    tl_tz_free(tz);
    if (view->provisional) return; /* it changes without a version of its own */
    snprintf(s->etag, sizeof s->etag, "\"%" PRId64 "-%" PRId64 "-%" PRId64 "-k%u-%zu-%zu-%d%s%s\"", v->revision,
             v->bars, v->last_ts, (unsigned)s->item.series.kernel_version, from, to, (int)s->form,
             s->op.drop_suspended ? "-drop" : "", s->item.freshness == TL_FRESH ? "" : "-old");
    snprintf(s->meta, sizeof s->meta, "version=%" PRId64 ":%" PRId64 ":%" PRId64 "; source=%s; freshness=%s",
             v->revision, v->bars, v->last_ts, tl_source_name(s->item.source), tl_freshness_name(s->item.freshness));
}

static void run_write(struct api_call *c, struct tl_store_reader *reader)
{
    struct series *s = c->state;
    struct tl_view view;
    tl_view_init(&view);
    c->status = tl_present_view(&s->item.series, reader, &s->op.symbol, s->op.freq, s->op.adjust, false,
                                &c->api->sessions, &view, &c->err);
    if (c->status == TL_OK) write_series(c, s, &view);
    tl_view_release(&view);
}

static void reply_series(struct api_call *c, struct tl_http_body *body, const char *type, const char *etag,
                         const char *meta)
{
    const struct tl_http_header_row rows[] = {{"Cache-Control", etag[0] ? "no-cache" : "no-store"},
                                              {"Tierline-Series", meta}};
    api_reply_body(c, &(struct tl_http_answer){.status = 200,
                                               .type = type,
                                               .body = body,
                                               .etag = etag[0] ? etag : NULL,
                                               .headers = rows,
                                               .n_headers = meta[0] ? 2 : 1,
                                               .compress = true});
}

static void on_written(struct api_call *c)
{
    struct series *s = c->state;
    size_t n = 0;
    if (c->status == TL_OK) c->status = tl_buf_status(&c->out, &c->err);
    if (c->status != TL_OK) {
        api_fail(c, c->status, c->at, &c->err);
        return;
    }
    char *bytes = tl_buf_take(&c->out, &n);
    struct tl_http_body *body = bytes ? tl_http_body_take(bytes, n) : NULL;
    if (!body) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    const struct api_rendered_head head = {.etag = s->etag, .type = api_form_type(s->form), .meta = s->meta};
    /* That it was computed is said once. */
    if (s->key[0] && s->etag[0] && s->item.source != TL_SOURCE_COMPUTED)
        api_rendered_put(c->api, tl_str(s->key), s->op.symbol.text, s->seq, body, &head);
    reply_series(c, body, head.type, s->etag, s->meta);
}

static void on_series(struct tl_indicators *op)
{
    struct api_call *c = op->user;
    struct series *s = c->state;
    if (op->status != TL_OK)
        api_fail(c, op->status, op->status == TL_NO_DATA ? "symbol" : NULL, &op->err);
    else if (s->item.status != TL_OK)
        api_fail(c, s->item.status, "spec", &s->item.err);
    else
        api_work(c, run_write, on_written);
}

/* With the bar that is not final: computed for this answer alone. */
static void run_provisional(struct api_call *c, struct tl_store_reader *reader)
{
    struct series *s = c->state;
    struct tl_run_item item = {.spec = s->item.spec};
    struct tl_run run = {.symbol = s->op.symbol,
                         .freq = s->op.freq,
                         .adjust = s->op.adjust,
                         .drop_suspended = s->op.drop_suspended,
                         .want_rows = true,
                         .want_view = true,
                         .provisional = true,
                         .day_ms = INT64_MIN,
                         .count = 1,
                         .items = &item};
    tl_view_init(&run.view);
    c->status = tl_run_symbol(&run, reader, &c->api->sessions, c->api->clock, &c->err);
    if (c->status == TL_OK && item.status != TL_OK) {
        c->status = item.status;
        c->err = item.err;
        c->at = "spec";
    }
    if (c->status == TL_OK) {
        s->item.series = item.series;
        s->item.source = item.source;
        s->item.freshness = TL_FRESH;
        tl_series_init(&item.series); /* moved */
        write_series(c, s, &run.view);
    }
    tl_run_release(&run);
}

static void begin_series(struct api_call *c, struct series *s)
{
    s->seq = api_rendered_seq(c->api, s->op.symbol.text);
    s->op.drop_suspended = strcmp(tl_config_str(c->api->config, "calc.suspended"), "drop") == 0;
    s->op.want_rows = true;
    s->op.day_ms = INT64_MIN;
    s->op.sessions = &c->api->sessions;
    s->op.deadline_ms = COMPUTE_MS;
    s->op.count = 1;
    s->op.items = &s->item;
    s->op.cb = on_series;
    s->op.user = c;
    if (api_number(c, "provisional", 0))
        api_work(c, run_provisional, on_written);
    else
        tl_indicators_get(c->api->scheduler, &s->op);
}

/* As it was asked for: what is spelt in two ways is made twice. false: too long. */
static bool key_of(const struct api_call *c, enum api_form form, char out[400])
{
    struct tl_str path = tl_http_path(c->http), query = tl_http_query(c->http);
    if (path.n + query.n + 3 > 400) return false;
    out[0] = (char)('0' + (int)form);
    memcpy(out + 1, path.p, path.n);
    out[1 + path.n] = '?';
    if (query.n) memcpy(out + 2 + path.n, query.p, query.n);
    out[2 + path.n + query.n] = '\0';
    return true;
}

static void make_series(struct api_call *c, enum api_form form, const char *key)
{
    struct series *s = c->state = tl_calloc(1, sizeof *s);
    if (!s) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    c->release = series_release;
    tl_series_init(&s->item.series);
    snprintf(s->key, sizeof s->key, "%s", key);
    s->form = form;
    s->op.freq = c->freq;
    s->op.adjust = c->adjust;
    if (api_symbol(c, api_path(c, 0), &s->op.symbol) && api_spec(c, api_path(c, 1), &s->item.spec) &&
        api_range(c, &s->range))
        begin_series(c, s);
}

void api_get_series(struct api_call *c)
{
    struct api_rendered_head head;
    enum api_form form;
    char key[400] = "";
    if (!api_needs_store(c) || !api_accepts(c, &form)) return;
    bool now = api_number(c, "max_age", -1) == 0 || api_number(c, "provisional", 0);
    bool has_key = !now && key_of(c, form, key);
    struct tl_http_body *body = has_key ? api_rendered_get(c->api, tl_str(key), &head) : NULL;
    if (body)
        reply_series(c, body, head.type, head.etag, head.meta);
    else
        make_series(c, form, has_key ? key : "");
}
