/* SPDX-License-Identifier: Apache-2.0 */
/* The whole importer but the store, over bytes in memory: it may refuse them, never crash, and what it reads may not
 * depend on how the bytes are cut into pieces. The first two bytes choose the kind, the profile and the pieces. */
#include "base/hash.h"
#include "base/util.h"
#include "import/parse.h"
#include "market/civil.h"

#include <math.h>

struct memory {
    const uint8_t *p;
    size_t n, at, piece;
};

struct seen {
    uint32_t crc;
    uint64_t calls, rejects;
};

static int64_t read_memory(void *ctx, char *p, size_t cap)
{
    struct memory *m = ctx;
    size_t n = TL_MIN(m->n - m->at, cap);
    if (m->piece && n > m->piece) n = m->piece;
    if (n) memcpy(p, m->p + m->at, n);
    m->at += n;
    return (int64_t)n;
}

static void mix(struct seen *s, const void *p, size_t n)
{
    s->crc = tl_crc32c(s->crc, p, n);
}

static enum tl_status on_bars(void *ctx, const struct tl_symbol *symbol, enum tl_freq freq, const char *zone,
                              const struct tl_bars *b, bool provisional, struct tl_err *err)
{
    struct seen *s = ctx;
    (void)provisional;
    (void)err;
    TL_ASSERT(b->n > 0 && symbol->text[0]);
    TL_ASSERT(tl_freq_intraday(freq) == (zone[0] != '\0'));
    for (size_t i = 0; i < b->n; i++) {
        TL_ASSERT(i == 0 || b->ts_ms[i] > b->ts_ms[i - 1]);
        TL_ASSERT(tl_freq_intraday(freq) || b->ts_ms[i] % TL_DAY_MS == 0);
        for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) {
            const double v = b->col[k][i];
            TL_ASSERT(isfinite(v) || (k >= TL_BAR_VOLUME && isnan(v)));
            TL_ASSERT(!(v < 0));
        }
    }
    mix(s, symbol->text, strlen(symbol->text));
    mix(s, b->ts_ms, b->n * sizeof *b->ts_ms);
    for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) mix(s, b->col[k], b->n * sizeof(double));
    s->calls++;
    return TL_OK;
}

static enum tl_status on_factors(void *ctx, const struct tl_symbol *symbol, const struct tl_factors *f,
                                 struct tl_err *err)
{
    struct seen *s = ctx;
    (void)err;
    TL_ASSERT(tl_factors_check(f, NULL) == TL_OK);
    mix(s, symbol->text, strlen(symbol->text));
    for (size_t i = 0; i < f->n; i++) mix(s, &f->v[i].ex_date_ms, sizeof f->v[i].ex_date_ms);
    s->calls++;
    return TL_OK;
}

static enum tl_status on_calendar(void *ctx, const char *name, const int64_t *days, size_t n, struct tl_err *err)
{
    struct seen *s = ctx;
    (void)err;
    mix(s, name, strlen(name));
    mix(s, days, n * sizeof *days);
    s->calls++;
    return TL_OK;
}

static void on_reject(void *ctx, const struct tl_err *e)
{
    struct seen *s = ctx;
    mix(s, e->text, strlen(e->text));
    mix(s, &e->line, sizeof e->line);
    s->rejects++;
}

static enum tl_status parse(const uint8_t *p, size_t n, size_t piece, struct tl_import_options o, struct seen *s,
                            struct tl_import_counts *count, struct tl_err *err)
{
    struct memory m = {.p = p, .n = n, .piece = piece};
    const struct tl_import_source source = {.read = read_memory, .ctx = &m, .name = "600519.SH.csv"};
    const struct tl_import_sink sink = {.ctx = s, .bars = on_bars, .factors = on_factors, .calendar = on_calendar};
    *s = (struct seen){0};
    *err = (struct tl_err){0};
    o.on_reject = on_reject;
    o.ctx = s;
    return tl_import_parse(&source, &o, &sink, count, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const profiles[] = {NULL, "baostock", "akshare", "tushare", "tdx", "yahoo"};
    static const enum tl_import_kind kinds[] = {TL_IMPORT_BARS, TL_IMPORT_BARS, TL_IMPORT_FACTORS, TL_IMPORT_CALENDAR};
    if (size < 2) return 0;
    const struct tl_import_options o = {
        .kind = kinds[data[0] % TL_COUNT(kinds)],
        .profile = profiles[data[0] / TL_COUNT(kinds) % TL_COUNT(profiles)],
        .zone = data[0] & 0x80 ? "America/New_York" : NULL,
        .bar_time_end = -1,
        .calendar = "CN",
    };
    struct seen whole, cut;
    struct tl_import_counts a, b;
    struct tl_err ea, eb;
    const enum tl_status x = parse(data + 2, size - 2, 0, o, &whole, &a, &ea);
    const enum tl_status y = parse(data + 2, size - 2, 1 + data[1] % 64, o, &cut, &b, &eb);
    TL_ASSERT(x == y && ea.line == eb.line && ea.column == eb.column && strcmp(ea.text, eb.text) == 0);
    TL_ASSERT(whole.crc == cut.crc && whole.calls == cut.calls && whole.rejects == cut.rejects);
    TL_ASSERT(a.rows == b.rows && a.rejected == b.rejected && a.duplicates == b.duplicates);
    TL_ASSERT(whole.rejects == a.rejected);
    return 0;
}
