/* SPDX-License-Identifier: Apache-2.0 */
/* A source over memory that gives as few bytes at a time as asked, and a sink that writes everything down as text. */
#include "import_fixture.h"

#include "base/err.h"
#include "base/num.h"
#include "market/civil.h"

struct memory {
    struct tl_str text;
    size_t at, piece;
};

static int64_t read_memory(void *ctx, char *p, size_t cap)
{
    struct memory *m = ctx;
    size_t n = m->text.n - m->at;
    if (n > cap) n = cap;
    if (m->piece && n > m->piece) n = m->piece;
    memcpy(p, m->text.p + m->at, n);
    m->at += n;
    return (int64_t)n;
}

static void put_num(struct tl_buf *b, double v)
{
    char z[TL_NUM_MAX];
    tl_buf_putc(b, ' ');
    tl_buf_put(b, z, tl_num_format(z, v));
}

static void put_ts(struct tl_buf *b, int64_t ts)
{
    struct tl_civil c;
    tl_civil_from_ms(ts, &c);
    tl_buf_printf(b, "%04d-%02d-%02d %02d:%02d", c.year, c.month, c.day, c.hour, c.minute);
    if (c.second || c.ms) tl_buf_printf(b, ":%02d.%03d", c.second, c.ms);
}

static enum tl_status on_bars(void *ctx, const struct tl_symbol *s, enum tl_freq f, const char *zone,
                              const struct tl_bars *bars, bool provisional, struct tl_err *err)
{
    struct tl_buf *b = &((struct captured *)ctx)->out;
    (void)err;
    tl_buf_printf(b, "%s %s %s%s\n", s->text, tl_freq_name(f), zone, provisional ? " provisional" : "");
    for (size_t i = 0; i < bars->n; i++) {
        if (i) assert_true(bars->ts_ms[i] > bars->ts_ms[i - 1]);
        put_ts(b, bars->ts_ms[i]);
        for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) put_num(b, bars->col[k][i]);
        tl_buf_putc(b, '\n');
    }
    return TL_OK;
}

static enum tl_status on_factors(void *ctx, const struct tl_symbol *s, const struct tl_factors *f, struct tl_err *err)
{
    struct tl_buf *b = &((struct captured *)ctx)->out;
    (void)err;
    tl_buf_printf(b, "%s\n", s->text);
    for (size_t i = 0; i < f->n; i++) {
        const struct tl_factor *v = &f->v[i];
        char date[11];
        tl_civil_format_date(v->ex_date_ms, date);
        tl_buf_puts(b, date);
        if (v->kind == TL_FACTOR_CUMULATIVE) {
            put_num(b, v->factor);
        } else {
            put_num(b, v->cash);
            put_num(b, v->gift);
            put_num(b, v->rights);
            put_num(b, v->rights_price);
        }
        tl_buf_putc(b, '\n');
    }
    return TL_OK;
}

static enum tl_status on_calendar(void *ctx, const char *name, const int64_t *days, size_t n, struct tl_err *err)
{
    struct tl_buf *b = &((struct captured *)ctx)->out;
    (void)err;
    tl_buf_printf(b, "%s\n", name);
    for (size_t i = 0; i < n; i++) {
        char date[11];
        tl_civil_format_date(days[i], date);
        tl_buf_printf(b, "%s\n", date);
    }
    return TL_OK;
}

static void on_reject(void *ctx, const struct tl_err *e)
{
    tl_buf_printf(&((struct captured *)ctx)->rejects, "%llu:%u %s\n", (unsigned long long)e->line, e->column, e->text);
}

struct tl_import_options fixture_options(void)
{
    return (struct tl_import_options){.kind = TL_IMPORT_BARS, .bar_time_end = -1};
}

void fixture_release(struct captured *c)
{
    tl_buf_release(&c->out);
    tl_buf_release(&c->rejects);
    memset(c, 0, sizeof *c);
}

void fixture_parse_once(struct captured *c, const char *name, struct tl_str text, const struct tl_import_options *opt,
                        size_t piece)
{
    struct tl_import_options o = *opt;
    struct memory m = {.text = text, .piece = piece};
    const struct tl_import_source source = {.read = read_memory, .ctx = &m, .name = name};
    const struct tl_import_sink sink = {.ctx = c, .bars = on_bars, .factors = on_factors, .calendar = on_calendar};
    fixture_release(c);
    tl_buf_init(&c->out, 0);
    tl_buf_init(&c->rejects, 0);
    o.on_reject = on_reject;
    o.ctx = c;
    c->status = tl_import_parse(&source, &o, &sink, &c->count, &c->err);
    tl_buf_puts(&c->out, "");
    tl_buf_puts(&c->rejects, "");
    if (c->status != TL_OK) assert_int_equal(c->err.status, c->status);
}

void fixture_parse(struct captured *c, const char *name, struct tl_str text, const struct tl_import_options *opt)
{
    static const size_t pieces[] = {1, 2, 3, 7, 61, 4096};
    struct captured again = {0};
    fixture_parse_once(c, name, text, opt, 0);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        fixture_parse_once(&again, name, text, opt, pieces[i]);
        assert_int_equal(again.status, c->status);
        assert_string_equal(again.err.text, c->err.text);
        assert_int_equal(again.err.line, c->err.line);
        assert_string_equal(tl_buf_str(&again.out).p, tl_buf_str(&c->out).p);
        assert_string_equal(tl_buf_str(&again.rejects).p, tl_buf_str(&c->rejects).p);
        assert_int_equal(again.count.rows, c->count.rows);
        assert_int_equal(again.count.rejected, c->count.rejected);
    }
    fixture_release(&again);
}

char *fixture_slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    size_t cap = 1 << 16, len = 0;
    char *p = malloc(cap);
    while (p) {
        len += fread(p + len, 1, cap - len, f);
        if (len < cap) break;
        char *q = realloc(p, cap *= 2);
        if (!q) free(p);
        p = q;
    }
    fclose(f);
    *n = len;
    return p;
}
