/* SPDX-License-Identifier: Apache-2.0 */
/* The importer with the n-th allocation failing, for every n: it says so or does without, it never crashes, leaks
 * (under a sanitizer) or gives other bars. */
#include "../support.h"

#include "alloc.h"
#include "import/parse.h"

struct input {
    struct tl_str text;
    size_t at;
};

struct result {
    size_t calls, bars;
    double sum;
};

static int64_t read_input(void *ctx, char *p, size_t cap)
{
    struct input *in = ctx;
    const size_t n = in->text.n - in->at < cap ? in->text.n - in->at : cap;
    memcpy(p, in->text.p + in->at, n);
    in->at += n;
    return (int64_t)n;
}

static enum tl_status on_bars(void *ctx, const struct tl_symbol *symbol, enum tl_freq freq, const char *zone,
                              const struct tl_bars *bars, bool provisional, struct tl_err *err)
{
    struct result *r = ctx;
    (void)symbol;
    (void)freq;
    (void)zone;
    (void)provisional;
    (void)err;
    r->calls++;
    r->bars += bars->n;
    for (size_t i = 0; i < bars->n; i++) r->sum += bars->col[TL_BAR_CLOSE][i] * (double)(i + 1);
    return TL_OK;
}

static enum tl_status on_factors(void *ctx, const struct tl_symbol *symbol, const struct tl_factors *f,
                                 struct tl_err *err)
{
    struct result *r = ctx;
    (void)symbol;
    (void)err;
    r->calls++;
    for (size_t i = 0; i < f->n; i++) r->sum += f->v[i].factor * (double)(i + 1);
    return TL_OK;
}

static enum tl_status on_calendar(void *ctx, const char *name, const int64_t *days, size_t n, struct tl_err *err)
{
    struct result *r = ctx;
    (void)name;
    (void)err;
    r->calls++;
    for (size_t i = 0; i < n; i++) r->sum += (double)days[i];
    return TL_OK;
}

static enum tl_status parse(const char *text, enum tl_import_kind kind, struct result *r, struct tl_err *err)
{
    struct input in = {.text = tl_str(text)};
    const struct tl_import_source source = {.read = read_input, .ctx = &in, .name = "x.csv"};
    const struct tl_import_sink sink = {.ctx = r, .bars = on_bars, .factors = on_factors, .calendar = on_calendar};
    const struct tl_import_options o = {.kind = kind, .bar_time_end = -1, .calendar = "CN"};
    struct tl_import_counts count;
    *r = (struct result){0};
    return tl_import_parse(&source, &o, &sink, &count, err);
}

static void test_every_allocation(void **state)
{
    (void)state;
    static const struct {
        enum tl_import_kind kind;
        const char *text;
    } rows[] = {
        {TL_IMPORT_BARS, "\"date\",\"x\"\"y\",open,high,low,close,code\n2013-01-03 09:30,1,1,1,1,1,A\n"
                         "2013-01-02 09:31,1,1,1,1,1,600519.SH\n2013-01-02 09:30,1,1,1,1,2,A\n"
                         "2013-01-03 09:32,1,1,1,1,3,A\n2013-01-03 09:31,1,1,1,1,4,A\n"},
        {TL_IMPORT_BARS,
         "datetime,open,high,low,close,code\n2013-01-03T09:30Z,1,1,1,1,A\n2013-01-03T09:31Z,1,1,1,1,A\n"},
        {TL_IMPORT_FACTORS, "\xC8\xD5\xC6\xDA,code,factor\n2013-01-02,A,1\n2013-01-01,A,2\n2013-01-05,A,2\n"},
        {TL_IMPORT_CALENDAR, "date\n2013-01-02\n2013-01-01\n2013-01-04\n2013-01-03\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct result whole, r;
        struct tl_err err;
        long failures = 0;
        assert_int_equal(parse(rows[i].text, rows[i].kind, &whole, &err), TL_OK);
        assert_true(whole.calls > 0);
        for (long n = 0;; n++) {
            fault_alloc_arm(n);
            const enum tl_status st = parse(rows[i].text, rows[i].kind, &r, &err);
            if (!fault_alloc_disarm()) break;
            failures++;
            if (st == TL_OK) assert_memory_equal(&r, &whole, sizeof r);
            if (st != TL_OK) assert_int_equal(st, TL_NOMEM);
            if (st != TL_OK) assert_true(err.text[0] != '\0');
        }
        assert_true(failures > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests_name("import: memory that runs out", tests, NULL, NULL);
}
