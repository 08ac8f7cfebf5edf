/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing alone, without a store, on one core: the S&P 500 file where the real data is, else generated rows of the same
 * shape; against the loop one would write by hand with strptime, timegm and strtod over the same bytes. In turns, in
 * one run, medians; processor time. */
#include "bench.h"

#include "base/buf.h"
#include "base/rng.h"
#include "base/util.h"
#include "import/parse.h"
#include "market/civil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 9, SYMBOLS = 505, DAYS = 1226, BOUND_MB_PER_S = 150 };

struct memory {
    struct tl_str text;
    size_t at;
};

static int64_t read_memory(void *ctx, char *p, size_t cap)
{
    struct memory *m = ctx;
    const size_t n = TL_MIN(m->text.n - m->at, cap);
    memcpy(p, m->text.p + m->at, n);
    m->at += n;
    return (int64_t)n;
}

static enum tl_status count_bars(void *ctx, const struct tl_symbol *symbol, enum tl_freq freq, const char *zone,
                                 const struct tl_bars *bars, bool provisional, struct tl_err *err)
{
    (void)symbol;
    (void)freq;
    (void)zone;
    (void)provisional;
    (void)err;
    *(uint64_t *)ctx += bars->n;
    return TL_OK;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double parse_once(struct tl_str text, uint64_t *bars)
{
    struct memory m = {.text = text};
    const struct tl_import_source source = {.read = read_memory, .ctx = &m, .name = "bench.csv"};
    const struct tl_import_sink sink = {.ctx = bars, .bars = count_bars};
    const struct tl_import_options o = {.kind = TL_IMPORT_BARS, .bar_time_end = -1};
    struct tl_import_counts count;
    struct tl_err err;
    const double start = cpu_seconds();
    *bars = 0;
    if (tl_import_parse(&source, &o, &sink, &count, &err) != TL_OK) {
        fprintf(stderr, "bench_import: %s\n", err.text);
        exit(1);
    }
    return cpu_seconds() - start;
}

/* date,open,high,low,close,volume,Name, no checks but for the date's. Returns its seconds; *bars keeps the work. */
static double by_hand(const char *text, uint64_t *bars)
{
    const double start = cpu_seconds();
    double sum = 0;
    *bars = 0;
    for (const char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        struct tm tm = {0};
        const char *p = strptime(line + 1, "%Y-%m-%d", &tm);
        sum += (double)timegm(&tm);
        for (int k = 0; p && *p == ',' && k < 5; k++) {
            char *end;
            sum += strtod(p + 1, &end);
            p = end;
        }
        ++*bars;
    }
    const double seconds = cpu_seconds() - start;
    if (sum == 0) fprintf(stderr, "bench_import: nothing read\n");
    return seconds;
}

static void generate(struct tl_buf *b)
{
    struct tl_rng rng;
    tl_rng_seed(&rng, 1);
    tl_buf_puts(b, "date,open,high,low,close,volume,Name\n");
    for (unsigned s = 0; s < SYMBOLS; s++) {
        double price = 20 + (double)tl_rng_below(&rng, 200);
        for (int64_t d = 0; d < DAYS; d++) {
            char date[11];
            tl_civil_format_date((15744 + d) * TL_DAY_MS, date);
            price *= 1 + 0.02 * (tl_rng_unit(&rng) - 0.5);
            tl_buf_printf(b, "%s,%.2f,%.2f,%.2f,%.2f,%llu,S%03u\n", date, price, price * 1.01, price * 0.99,
                          price * 1.002, (unsigned long long)tl_rng_below(&rng, 90000000), s);
        }
    }
}

static void load(struct tl_buf *b)
{
    char path[1024];
    const char *root = getenv("TIERLINE_SHARED");
    snprintf(path, sizeof path, "%s/data/sp500_5yr/all_stocks_5yr.csv", root ? root : "../shared");
    FILE *f = fopen(path, "rb");
    if (!f) {
        generate(b);
        return;
    }
    for (size_t n = 1; n > 0;) {
        char *p = tl_buf_reserve(b, 1 << 20);
        n = p ? fread(p, 1, 1 << 20, f) : 0;
        b->n += n;
    }
    fclose(f);
    tl_buf_putc(b, '\0'); /* the hand-written loop stops there */
    b->n--;
}

int main(void)
{
    struct tl_buf text;
    double ours[ROUNDS], peer[ROUNDS];
    uint64_t bars = 0, lines = 0;
    tl_buf_init(&text, 0);
    load(&text);
    if (text.failed) return 1;
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = (double)text.n / 1e6 / parse_once(tl_buf_str(&text), &bars);
        peer[i] = (double)text.n / 1e6 / by_hand(text.p, &lines);
    }
    const double a = bench_median(ours, ROUNDS), b = bench_median(peer, ROUNDS);
    if (bars == 0 || lines < bars) return 1;
    bench_row("import_parse_mb_per_s", a, "MB/s", "strptime + timegm + strtod loop", b, a / b, ">= 150",
              a >= BOUND_MB_PER_S);
    tl_buf_release(&text);
    return 0;
}
