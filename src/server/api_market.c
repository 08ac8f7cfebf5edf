/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols and bars: what the store has, and bars put into it. Bodies that are not CSV are made CSV of first, so that
 * every row goes through the one import, with its checks and its errors by line. */
#include "server/render.h"

#include "base/err.h"
#include "base/num.h"
#include "base/util.h"
#include "import/import.h"
#include "schedule/present.h"

#include <jansson.h>
#include <stdio.h>

enum { SYMBOLS_USUAL = 1000, REJECTS_SHOWN = 100 };

/* ---- symbols ---- */

struct listing {
    struct api_call *call;
    struct tl_json json;
    char prefix[API_TEXT_MAX], after[API_TEXT_MAX];
    bool has_freq, more;
    enum tl_freq freq;
    int64_t left;
    char last[TL_SYMBOL_MAX];
};

static void json_date(struct tl_json *j, const char *key, int64_t ts_ms, enum tl_freq freq)
{
    char text[32];
    struct tl_civil c;
    tl_civil_format_date(ts_ms, text);
    tl_civil_from_ms(ts_ms, &c);
    if (tl_freq_intraday(freq)) snprintf(text + 10, sizeof text - 10, "T%02d:%02dZ", (int)c.hour, (int)c.minute);
    tl_json_key(j, key);
    tl_json_cstr(j, text);
}

static bool on_symbol(void *ctx, const struct tl_store_symbol *s)
{
    struct listing *l = ctx;
    struct tl_json *j = &l->json;
    if (l->has_freq && s->freq != l->freq) return true;
    if (strncmp(s->symbol.text, l->prefix, strlen(l->prefix)) != 0) return true;
    if (l->after[0] && strcmp(s->symbol.text, l->after) <= 0) return true;
    if (l->left <= 0 && strcmp(s->symbol.text, l->last) != 0) { /* all frequencies of a symbol stay together */
        l->more = true;
        return false;
    }
    l->left--;
    snprintf(l->last, sizeof l->last, "%s", s->symbol.text);
    tl_json_object(j);
    tl_json_key(j, "symbol");
    tl_json_cstr(j, s->symbol.text);
    tl_json_key(j, "freq");
    tl_json_cstr(j, tl_freq_name(s->freq));
    tl_json_key(j, "bars");
    tl_json_i64(j, s->head.raw.bars);
    json_date(j, "first", s->head.first_ts, s->freq);
    json_date(j, "last", s->head.raw.last_ts, s->freq);
    tl_json_key(j, "first_ts");
    tl_json_i64(j, s->head.first_ts);
    tl_json_key(j, "last_ts");
    tl_json_i64(j, s->head.raw.last_ts);
    tl_json_key(j, "revision");
    tl_json_i64(j, s->head.raw.revision);
    tl_json_key(j, "provisional");
    tl_json_bool(j, s->head.provisional);
    tl_json_object_end(j);
    return true;
}

static void run_symbols(struct api_call *c, struct tl_store_reader *reader)
{
    struct listing l = {.call = c, .has_freq = api_given(c, "freq"), .freq = c->freq};
    const char *prefix = api_text(c, "prefix"), *after = api_text(c, "after");
    l.left = api_number(c, "limit", SYMBOLS_USUAL);
    if (prefix) snprintf(l.prefix, sizeof l.prefix, "%s", prefix);
    if (after) snprintf(l.after, sizeof l.after, "%s", after);
    for (char *p = l.prefix; *p; p++)
        if (*p >= 'a' && *p <= 'z') *p = (char)(*p - 'a' + 'A');
    tl_json_init(&l.json, &c->out);
    tl_json_object(&l.json);
    tl_json_key(&l.json, "symbols");
    tl_json_array(&l.json);
    c->status = tl_store_symbols(reader, on_symbol, &l, &c->err);
    tl_json_array_end(&l.json);
    tl_json_key(&l.json, "next"); /* "after" of the next page */
    tl_json_cstr(&l.json, l.more ? l.last : NULL);
    tl_json_object_end(&l.json);
}

void api_get_symbols(struct api_call *c)
{
    if (api_needs_store(c)) api_work(c, run_symbols, api_reply);
}

/* ---- bars, read ---- */

struct bars {
    struct tl_symbol symbol;
    struct tl_grid_range range;
    enum api_form form;
    char etag[160];
};

static void run_bars(struct api_call *c, struct tl_store_reader *reader)
{
    struct bars *b = c->state;
    struct tl_view view;
    struct tl_tz *tz = NULL;
    struct tl_grid grid;
    struct tl_bars_shown shown = {.symbol = b->symbol, .freq = c->freq, .adjust = c->adjust, .view = &view};
    size_t from, to;
    tl_view_init(&view);
    c->status = tl_view_load(reader, &b->symbol, shown.freq, shown.adjust, api_number(c, "provisional", 1) != 0,
                             &c->api->sessions, &view, &c->err);
    if (c->status == TL_OK && view.zone[0]) c->status = tl_tz_open(view.zone, &tz, &c->err);
    if (c->status == TL_OK) {
        tl_present_bars(&shown, &grid);
        grid.tz = tz;
        tl_grid_cut(&grid, &b->range, &from, &to);
        if (!view.provisional) /* a bar that is not final changes without a version of its own */
            snprintf(b->etag, sizeof b->etag, "\"%lld-%lld-%lld-%s-%s-%zu-%zu-%d\"", (long long)view.version.revision,
                     (long long)view.version.bars, (long long)view.version.last_ts, tl_freq_name(shown.freq),
                     tl_adjust_name(shown.adjust), from, to, (int)b->form);
        api_write_grid(b->form, &grid, from, to, &c->out);
    }
    tl_tz_free(tz);
    tl_view_release(&view);
}

static void on_bars(struct api_call *c)
{
    const struct bars *b = c->state;
    if (c->status != TL_OK)
        api_fail(c, c->status, c->at, &c->err);
    else
        api_reply_bytes(c, api_form_type(b->form), b->etag[0] ? b->etag : NULL);
}

void api_get_bars(struct api_call *c)
{
    struct bars *b = c->state = tl_calloc(1, sizeof *b);
    if (!b)
        api_fail(c, TL_NOMEM, NULL, NULL);
    else if (api_needs_store(c) && api_symbol(c, api_path(c, 0), &b->symbol) && api_range(c, &b->range) &&
             api_accepts(c, &b->form))
        api_work(c, run_bars, on_bars);
}

/* ---- bars, written ---- */

struct putting {
    char symbol[TL_SYMBOL_MAX]; /* "": a column says */
    struct tl_buf csv;          /* made of another form */
    struct tl_import_summary sum;
    struct tl_buf rejects; /* JSON objects, parted by commas */
    size_t n_rejects;
};

static void putting_release(void *state)
{
    struct putting *p = state;
    tl_buf_release(&p->csv);
    tl_buf_release(&p->rejects);
    free(p);
}

static void on_reject(void *ctx, const struct tl_err *err)
{
    struct putting *p = ctx;
    struct tl_json j;
    if (p->n_rejects++ >= REJECTS_SHOWN) return;
    if (p->n_rejects > 1) tl_buf_putc(&p->rejects, ',');
    tl_json_init(&j, &p->rejects);
    tl_json_object(&j);
    tl_json_key(&j, "line");
    tl_json_u64(&j, err->line);
    tl_json_key(&j, "column");
    tl_json_u64(&j, err->column);
    tl_json_key(&j, "error");
    tl_json_cstr(&j, err->text);
    tl_json_object_end(&j);
}

static void put_when(struct tl_buf *b, int64_t ts_ms, bool intraday)
{
    struct tl_civil c;
    char date[11];
    tl_civil_format_date(ts_ms, date);
    tl_civil_from_ms(ts_ms, &c);
    tl_buf_puts(b, date);
    if (intraday) tl_buf_printf(b, "T%02d:%02d:%02dZ", (int)c.hour, (int)c.minute, (int)c.second);
}

static bool is_intraday(const struct api_call *c)
{
    return tl_freq_intraday(c->freq);
}

/* {"columns":["open",...],"ts":[...],"values":[[...],...]}: what a GET gives. */
static enum tl_status csv_of_json(struct api_call *c, struct putting *p)
{
    static const char *const names[] = {"open", "high", "low", "close", "volume", "amount"};
    struct tl_str body = tl_http_body(c->http);
    json_error_t bad;
    json_t *doc = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &bad);
    if (!doc) return tl_fail_at(&c->err, TL_PARSE, "body", (uint64_t)bad.line, (uint32_t)bad.column, "%s", bad.text);
    const json_t *columns = json_object_get(doc, "columns"), *ts = json_object_get(doc, "ts"),
                 *values = json_object_get(doc, "values");
    size_t n = json_array_size(ts), width = json_array_size(columns), i, k;
    enum tl_status st = TL_OK;
    if (!json_is_array(columns) || !json_is_array(ts) || !json_is_array(values) || json_array_size(values) != n)
        st =
            tl_fail(&c->err, TL_INVALID, "an object with \"columns\", \"ts\" and \"values\" (as many as ts) is needed");
    tl_buf_puts(&p->csv, "date");
    for (k = 0; st == TL_OK && k < width; k++) {
        const char *name = json_string_value(json_array_get(columns, k));
        bool known = false;
        for (i = 0; name && i < TL_COUNT(names); i++) known = known || strcmp(name, names[i]) == 0;
        if (!known) st = tl_fail(&c->err, TL_INVALID, "columns[%zu] is none of open high low close volume amount", k);
        tl_buf_printf(&p->csv, ",%s", name ? name : "");
    }
    tl_buf_putc(&p->csv, '\n');
    for (i = 0; st == TL_OK && i < n; i++) {
        const json_t *row = json_array_get(values, i), *when = json_array_get(ts, i);
        if (!json_is_integer(when)) st = tl_fail(&c->err, TL_INVALID, "ts[%zu] is not a whole number of ms", i);
        if (json_array_size(row) != width)
            st = tl_fail(&c->err, TL_INVALID, "values[%zu] is not %zu numbers", i, width);
        if (st != TL_OK) break;
        put_when(&p->csv, json_integer_value(when), is_intraday(c));
        for (k = 0; k < width; k++) {
            const json_t *v = json_array_get(row, k);
            char number[TL_NUM_MAX];
            tl_buf_putc(&p->csv, ',');
            if (json_is_number(v))
                tl_buf_put(&p->csv, number, tl_num_format(number, json_number_value(v)));
            else if (!json_is_null(v))
                tl_buf_puts(&p->csv, "?"); /* no number: import rejects the row and says so */
        }
        tl_buf_putc(&p->csv, '\n');
    }
    json_decref(doc);
    return st;
}

static uint64_t get_u64(const char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
    return v;
}

/* The form of tl_grid_f64 with 4 to 6 columns: open high low close [volume [amount]]. */
static enum tl_status csv_of_f64(struct api_call *c, struct putting *p)
{
    struct tl_str b = tl_http_body(c->http);
    if (b.n < TL_GRID_F64_HEADER || memcmp(b.p, "TLF1", 4) != 0)
        return tl_fail(&c->err, TL_PARSE, "the body does not begin with TLF1");
    uint64_t columns = get_u64(b.p + 4) & 0xffffffff, rows = get_u64(b.p + 8), at = get_u64(b.p + 24);
    if (columns < 4 || columns > 6)
        return tl_fail(&c->err, TL_INVALID, "%u columns: 4 to 6 are needed", (unsigned)columns);
    if (rows > b.n / 8 || at != TL_GRID_F64_HEADER + 8 * rows || b.n != at + 8 * rows * columns)
        return tl_fail(&c->err, TL_INVALID, "the body has %zu bytes, which is not what its header says", b.n);
    static const char *const heads[] = {"date,open,high,low,close\n", "date,open,high,low,close,volume\n",
                                        "date,open,high,low,close,volume,amount\n"};
    tl_buf_puts(&p->csv, heads[columns - 4]);
    for (uint64_t i = 0; i < rows && !p->csv.failed; i++) {
        put_when(&p->csv, (int64_t)get_u64(b.p + TL_GRID_F64_HEADER + 8 * i), is_intraday(c));
        for (uint64_t k = 0; k < columns; k++) {
            uint64_t bits = get_u64(b.p + at + 8 * (i * columns + k));
            double v;
            char number[TL_NUM_MAX];
            memcpy(&v, &bits, sizeof v);
            tl_buf_putc(&p->csv, ',');
            if (v == v) tl_buf_put(&p->csv, number, tl_num_format(number, v));
        }
        tl_buf_putc(&p->csv, '\n');
    }
    return TL_OK;
}

static bool body_is(const struct api_call *c, const char *type)
{
    struct tl_str have = tl_http_header(c->http, "Content-Type");
    size_t n = strlen(type);
    return have.n >= n && tl_str_ieq((struct tl_str){have.p, n}, tl_str(type));
}

static void summary_json(struct api_call *c, const struct putting *p)
{
    const struct tl_import_summary *s = &p->sum;
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"rows", s->rows},
                  {"rejected", s->rejected},
                  {"inconsistent", s->inconsistent},
                  {"duplicates", s->duplicates},
                  {"symbols", s->stored.symbols},
                  {"appended", s->stored.appended},
                  {"changed", s->stored.changed},
                  {"inserted", s->stored.inserted},
                  {"unchanged", s->stored.unchanged},
                  {"provisional", s->stored.provisional}};
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    for (size_t i = 0; i < TL_COUNT(counts); i++) {
        tl_json_key(&j, counts[i].name);
        tl_json_u64(&j, counts[i].n);
    }
    tl_json_key(&j, "errors"); /* the first REJECTS_SHOWN */
    tl_json_array(&j);
    tl_json_array_end(&j);
    c->out.n--; /* "]" */
    tl_buf_put(&c->out, tl_buf_str(&p->rejects).p, p->rejects.n);
    tl_buf_putc(&c->out, ']');
    tl_json_object_end(&j);
}

static void run_put(struct api_call *c, struct tl_store_reader *reader)
{
    struct putting *p = c->state;
    (void)reader;
    struct tl_str csv = tl_http_body(c->http);
    const char *market = api_text(c, "market"), *bar_time = api_text(c, "bar_time");
    struct tl_import_options o = {.kind = TL_IMPORT_BARS,
                                  .profile = api_text(c, "profile"),
                                  .symbol = p->symbol[0] ? p->symbol : NULL,
                                  .freq_set = api_given(c, "freq"),
                                  .freq = c->freq,
                                  .zone = api_text(c, "tz"),
                                  .bar_time_end = bar_time ? strcmp(bar_time, "end") == 0 : -1,
                                  .last_provisional = api_number(c, "provisional", 0) != 0,
                                  .on_reject = on_reject,
                                  .ctx = p};
    if (market) (void)tl_market_parse(tl_str(market), &o.market);
    bool json = body_is(c, "application/json"), f64 = body_is(c, "application/vnd.tierline.f64");
    if (json || f64) {
        o.freq_set = true;
        c->status = json ? csv_of_json(c, p) : csv_of_f64(c, p);
        if (c->status == TL_OK) c->status = tl_buf_status(&p->csv, &c->err);
        csv = tl_buf_str(&p->csv);
    }
    if (c->status == TL_OK) c->status = tl_import_bytes(c->api->store, csv, "-", &o, &p->sum, &c->err);
    if (c->status == TL_OK) summary_json(c, p);
}

/* Where the whole body was refused, the place in it is named, and the first rows that were rejected. */
static void on_put(struct api_call *c)
{
    const struct putting *p = c->state;
    char detail[1024], place[512];
    if (c->status == TL_OK) {
        api_reply_json(c);
        return;
    }
    if (strcmp(c->err.file, "-") == 0) snprintf(c->err.file, sizeof c->err.file, "body");
    tl_err_format(&c->err, place, sizeof place);
    snprintf(detail, sizeof detail, "%s%s%.400s", place, p->n_rejects ? "; rejected: " : "", tl_buf_str(&p->rejects).p);
    api_problem(c, tl_status_http(c->status) == 404 ? 422 : tl_status_http(c->status), tl_status_name(c->status),
                "body", detail);
}

static void put(struct api_call *c, const struct tl_symbol *symbol)
{
    struct putting *p = tl_calloc(1, sizeof *p);
    if (!p) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    if (symbol) snprintf(p->symbol, sizeof p->symbol, "%s", symbol->text);
    tl_buf_init(&p->csv, (size_t)512 << 20);
    tl_buf_init(&p->rejects, 1 << 20);
    c->state = p;
    c->release = putting_release;
    api_work(c, run_put, on_put);
}

void api_put_bars(struct api_call *c)
{
    struct tl_symbol symbol;
    if (api_needs_writable(c) && api_symbol(c, api_path(c, 0), &symbol)) put(c, &symbol);
}

void api_post_bars(struct api_call *c)
{
    if (!api_needs_writable(c)) return;
    if (!body_is(c, "text/csv"))
        api_problem(c, 415, "UNSUPPORTED", NULL, "bars of many symbols come as text/csv with a column symbol");
    else
        put(c, NULL);
}
