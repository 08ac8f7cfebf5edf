/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over one input: blocks, title, header, rows, end. Memory for reading is one block whatever the input's size;
 * rows are kept until the end, because nothing may reach the sink before the whole input is known to be sound. What is
 * read never depends on where one block ends and the next begins. */
#include "import/rows.h"

#include "base/err.h"
#include "base/util.h"
#include "import/text.h"

#include <stdio.h>

enum { BLOCK = 256 << 10, PROGRESS = 1 << 20, TITLE_LINES = 1 };

struct block {
    char *p;
    size_t n, cap, at; /* [at, n) is not used up */
    bool last;
    uint64_t told; /* bytes when on_progress was called last */
};

static enum tl_status in_file(struct tl_parse *p, enum tl_status st)
{
    if (p->err->file[0] == '\0') snprintf(p->err->file, sizeof p->err->file, "%s", p->source->name);
    return st;
}

/* Moves what is left to the front and reads once behind it. The block grows only for a record that fills half of it,
 * so it stays below four records of the longest kind. */
static enum tl_status fill(struct tl_parse *p, struct block *b)
{
    if (p->opt->cancelled && p->opt->cancelled(p->opt->ctx)) return tl_fail(p->err, TL_CANCELLED, "cancelled");
    memmove(b->p, b->p + b->at, b->n - b->at);
    b->n -= b->at;
    b->at = 0;
    if (b->n > b->cap / 2) {
        char *more = tl_realloc(b->p, b->cap, 2);
        if (!more) return tl_fail(p->err, TL_NOMEM, "no memory to read %s", p->source->name);
        b->p = more;
        b->cap *= 2;
    }
    const int64_t got = p->source->read(p->source->ctx, b->p + b->n, b->cap - b->n);
    if (got < 0) return in_file(p, tl_fail_errno(p->err, (int)-got, "cannot read"));
    TL_ASSERT((uint64_t)got <= b->cap - b->n);
    b->n += (size_t)got;
    b->last = got == 0;
    p->count->bytes += (uint64_t)got;
    if (p->opt->on_progress && p->count->bytes - b->told >= PROGRESS) {
        b->told = p->count->bytes;
        p->opt->on_progress(p->opt->ctx, p->source->name, p->source->bytes_before + b->told, p->source->bytes_total);
    }
    return TL_OK;
}

/* ---- the beginning ---- */

static enum tl_status begin(struct tl_parse *p, struct block *b)
{
    enum { ENOUGH = 64 };
    while (b->n < ENOUGH && !b->last) {
        const enum tl_status st = fill(p, b);
        if (st != TL_OK) return st;
    }
    const struct tl_str head = {b->p, TL_MIN(b->n, (size_t)ENOUGH)};
    if (head.n == 0) return tl_fail_at(p->err, TL_NO_DATA, p->source->name, 0, 0, "the file is empty");
    const char *magic = tl_text_magic(head);
    if (magic) return tl_fail_at(p->err, TL_PARSE, p->source->name, 0, 0, "not a CSV file but %s", magic);
    b->at = tl_text_bom(head);
    return TL_OK;
}

/* "600519 贵州茅台 日线 不复权": the code, and a refusal of adjusted prices. */
static enum tl_status read_title(struct tl_parse *p, struct tl_str line)
{
    struct tl_buf text;
    tl_buf_init(&text, 0);
    enum tl_status st = tl_text_utf8(tl_str_trim(line), p->profile->gbk_first, &text, p->err);
    if (st == TL_OK) {
        const struct tl_str s = tl_buf_str(&text);
        size_t k = 0;
        while (k < s.n && s.p[k] != ' ' && s.p[k] != '\t' && s.p[k] != ',') k++;
        if (k < sizeof p->title_code) memcpy(p->title_code, s.p, k);
        const char *bad = strstr(s.p, "前复权") ? "前复权" : strstr(s.p, "后复权") ? "后复权" : NULL;
        if (bad)
            st = tl_fail_at(p->err, TL_UNSUPPORTED, p->source->name, p->csv.line, 0,
                            "the title says %s (adjusted prices): export raw ones (不复权)", bad);
    }
    tl_buf_release(&text);
    return st;
}

/* The header is the next line that is not blank; a profile with titles allows one other line before it. */
static enum tl_status read_header(struct tl_parse *p, struct block *b)
{
    unsigned titles = p->profile->title ? TITLE_LINES : 0;
    for (;;) {
        struct tl_str line;
        size_t used;
        enum tl_csv_result r = tl_csv_line(&p->csv, b->p + b->at, b->n - b->at, b->last, &used, &line, p->err);
        if (r == TL_CSV_RECORD && tl_str_trim(line).n == 0) {
            b->at += used;
            tl_csv_skip_line(&p->csv);
            continue;
        }
        if (r == TL_CSV_RECORD) {
            const char d = tl_csv_detect(line);
            tl_csv_set_delim(&p->csv, (char)(d ? d : p->profile->title ? ' ' : ','));
            r = tl_csv_next(&p->csv, b->p + b->at, b->n - b->at, b->last, &used, p->err);
        }
        if (r == TL_CSV_BAD) return in_file(p, p->err->status);
        if (r == TL_CSV_END) return tl_fail_at(p->err, TL_NO_DATA, p->source->name, 0, 0, "nothing but blank lines");
        if (r == TL_CSV_MORE) {
            const enum tl_status st = fill(p, b);
            if (st != TL_OK) return st;
            continue;
        }
        b->at += used;
        enum tl_status st = TL_OK;
        if (p->csv.malformed)
            st = tl_fail_at(p->err, TL_PARSE, NULL, p->csv.line, p->csv.malformed_at, "%s in the header",
                            p->csv.malformed);
        if (st == TL_OK)
            st = tl_columns_read(p->csv.field, p->csv.n, p->opt->kind, p->profile->gbk_first, p->csv.line, &p->col,
                                 p->err);
        if (st != TL_PARSE || titles == 0) return in_file(p, st);
        titles--;
        st = read_title(p, line);
        if (st != TL_OK) return in_file(p, st);
    }
}

/* ---- what holds for all rows ---- */

/* The file's name without folder, extension and the `#` of SH#600519. */
static struct tl_str name_stem(const char *path, char out[TL_SYMBOL_MAX])
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    const bool ext = dot && (strcasecmp(dot, ".csv") == 0 || strcasecmp(dot, ".txt") == 0);
    const size_t n = ext ? (size_t)(dot - base) : strlen(base);
    size_t k = 0;
    if (n >= TL_SYMBOL_MAX) return (struct tl_str){base, n};
    for (size_t i = 0; i < n; i++)
        if (base[i] != '#') out[k++] = base[i];
    return (struct tl_str){out, k};
}

static enum tl_status symbol_of_file(struct tl_parse *p)
{
    char stem[TL_SYMBOL_MAX];
    const struct tl_import_options *o = p->opt;
    const struct tl_str title = tl_str(p->title_code);
    struct tl_str s = name_stem(p->source->name, stem);
    struct tl_err e = {0};
    if (title.n) {
        /* The name of the file knows the market, if it is about the code of the title at all. */
        struct tl_symbol named;
        if (tl_import_symbol(s, p->profile, o->market, &named, NULL) != TL_OK ||
            strncmp(named.text, title.p, title.n) != 0)
            s = title;
    } else if (strcmp(p->source->name, "-") == 0) {
        return tl_fail_at(p->err, TL_INVALID, p->source->name, 0, 0,
                          "no column says whose rows these are: give the symbol (--symbol)");
    }
    const enum tl_status st = tl_import_symbol(s, p->profile, o->market, &p->fixed, &e);
    if (st == TL_OK) return TL_OK;
    return tl_fail_at(p->err, st, p->source->name, 0, 0, "%s%s", e.text,
                      st == TL_AMBIGUOUS ? "" : " (from the file's name; --symbol says otherwise)");
}

static enum tl_status settle(struct tl_parse *p)
{
    const struct tl_import_options *o = p->opt;
    const struct tl_column *v = &p->col.of[TL_ROLE_VOLUME], *a = &p->col.of[TL_ROLE_AMOUNT];
    const bool minutes = tl_parse_has(p, TL_ROLE_DATETIME) || tl_parse_has(p, TL_ROLE_TIME);
    const bool scaled = !(p->profile->scale_daily_only && minutes);
    p->volume_scale = v->scale != 0 ? v->scale : 1;
    p->amount_scale = a->scale != 0 ? a->scale : 1;
    if (scaled && v->scale == 0 && !(p->profile->scale_chinese_only && v->ascii))
        p->volume_scale = p->profile->volume_scale;
    if (scaled && a->scale == 0 && !(p->profile->scale_chinese_only && a->ascii))
        p->amount_scale = p->profile->amount_scale;
    p->bar_time_end = o->bar_time_end >= 0 ? o->bar_time_end > 0 : p->profile->bar_time_end;
    if (o->kind == TL_IMPORT_CALENDAR) return TL_OK;
    if (o->symbol) return tl_import_symbol(tl_str(o->symbol), p->profile, o->market, &p->fixed, p->err);
    return tl_parse_has(p, TL_ROLE_SYMBOL) ? TL_OK : symbol_of_file(p);
}

/* ---- rows ---- */

static enum tl_status row(struct tl_parse *p)
{
    const struct tl_csv *c = &p->csv;
    uint32_t n = c->n;
    if (n == 1 && tl_field_trim(c->field[0]).n == 0 && !c->malformed) return TL_OK;
    if (p->profile->footer && n > 0) {
        const struct tl_str first = tl_field_trim(c->field[0]);
        if (n < p->col.n && (first.n == 0 || first.p[0] < '0' || first.p[0] > '9')) return TL_OK;
        if (n == p->col.n + 1 && n <= TL_CSV_COLUMNS_MAX && tl_field_trim(c->field[n - 1]).n == 0) n--;
    }
    p->count->rows++;
    if (c->malformed) {
        tl_reject(p, c->line, c->malformed_at, "%s", c->malformed);
        return TL_OK;
    }
    if (n != p->col.n) {
        tl_reject(p, c->line, 0, "%u columns, the header has %u", n, p->col.n);
        return TL_OK;
    }
    switch (p->opt->kind) {
    case TL_IMPORT_FACTORS:
        return tl_factors_row(p);
    case TL_IMPORT_CALENDAR:
        return tl_calendar_row(p);
    default:
        return tl_bars_row(p);
    }
}

static enum tl_status rows(struct tl_parse *p, struct block *b)
{
    for (;;) {
        size_t used;
        enum tl_status st;
        switch (tl_csv_next(&p->csv, b->p + b->at, b->n - b->at, b->last, &used, p->err)) {
        case TL_CSV_RECORD:
            b->at += used;
            st = row(p);
            break;
        case TL_CSV_MORE:
            st = fill(p, b);
            break;
        case TL_CSV_END:
            return TL_OK;
        default:
            st = p->err->status;
        }
        if (st != TL_OK) return in_file(p, st);
    }
}

static enum tl_status end(struct tl_parse *p, uint64_t header_line)
{
    struct tl_import_counts *c = p->count;
    if (c->rows == 0)
        return tl_fail_at(p->err, TL_NO_DATA, p->source->name, header_line, 0, "no rows behind the header");
    if (c->rows == c->rejected)
        return tl_fail_at(p->err, TL_NO_DATA, p->source->name, p->first_reject_line, 0,
                          "none of the %llu rows is usable; this is the first one", (unsigned long long)c->rows);
    enum tl_status st;
    switch (p->opt->kind) {
    case TL_IMPORT_FACTORS:
        st = tl_factors_end(p);
        break;
    case TL_IMPORT_CALENDAR:
        st = p->last ? tl_calendar_end(p)
                     : tl_fail_at(p->err, TL_NO_DATA, p->source->name, 0, 0, "no row is a trading day");
        break;
    default:
        st = tl_bars_end(p);
    }
    return st == TL_OK ? st : in_file(p, st);
}

static enum tl_status run(struct tl_parse *p)
{
    struct block b = {.cap = BLOCK};
    b.p = malloc(b.cap);
    if (!b.p) return tl_fail(p->err, TL_NOMEM, "no memory to read %s", p->source->name);
    enum tl_status st = begin(p, &b);
    if (st == TL_OK) st = read_header(p, &b);
    const uint64_t header_line = p->csv.line;
    if (st == TL_OK) st = settle(p);
    if (st == TL_OK) st = rows(p, &b);
    free(b.p);
    return st == TL_OK ? end(p, header_line) : st;
}

/* What can be said before a byte is read. */
static enum tl_status check_options(struct tl_parse *p)
{
    const struct tl_import_options *o = p->opt;
    struct tl_tz *tz = NULL;
    enum tl_status st = tl_import_profile_find(o->profile, &p->profile, p->err);
    if (st != TL_OK) return st;
    if (o->kind == TL_IMPORT_CALENDAR && (!o->calendar || !o->calendar[0]))
        return tl_fail(p->err, TL_INVALID, "whose trading days? Give the calendar's name, like CN or US");
    if (o->zone) {
        st = tl_tz_open(o->zone, &tz, p->err);
        tl_tz_free(tz);
    }
    return st;
}

enum tl_status tl_import_parse(const struct tl_import_source *source, const struct tl_import_options *opt,
                               const struct tl_import_sink *sink, struct tl_import_counts *count, struct tl_err *err)
{
    struct tl_err local = {0};
    *count = (struct tl_import_counts){0};
    struct tl_parse *p = tl_calloc(1, sizeof *p);
    if (!p) return tl_fail(err, TL_NOMEM, "no memory to read %s", source->name);
    p->source = source;
    p->opt = opt;
    p->sink = sink;
    p->count = count;
    p->err = &local;
    tl_csv_init(&p->csv);
    p->by_text = tl_map_new();
    p->by_name = tl_map_new();
    enum tl_status st = TL_OK;
    if (!p->by_text || !p->by_name) st = tl_fail(&local, TL_NOMEM, "no memory to read %s", source->name);
    if (st == TL_OK) st = check_options(p);
    if (st == TL_OK) st = run(p);
    struct tl_str name;
    void *v;
    for (size_t i = 0; p->by_name && tl_map_next(p->by_name, &i, &name, &v);) {
        if (v) tl_rows_clear(v);
        free(v);
    }
    tl_map_free(p->by_text);
    tl_map_free(p->by_name);
    for (size_t i = 0; i < p->zones; i++) tl_tz_free(p->zone[i]);
    tl_csv_release(&p->csv);
    free(p);
    if (st != TL_OK && err) *err = local;
    return st;
}
