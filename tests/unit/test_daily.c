/* SPDX-License-Identifier: Apache-2.0 */
/* The daily job over many symbols: counts add up, one failure stops nothing, a stopped job continues. */
#include "support.h"

#include "job/daily.h"
#include "market_fixture.h"

enum { SYMBOLS = 40, SPECS = 3, SHORT = 7 }; /* every SHORT-th symbol has too few bars for MACD */

struct fixture {
    struct market market;
    struct tl_symbol symbols[SYMBOLS + 1];
    struct tl_spec specs[SPECS];
    struct tl_daily_options options;
    unsigned workers;
    struct tl_cache *cache;
    struct tl_daily *job;
    struct tl_daily_progress last;
    enum tl_status status;
    size_t failures, no_data, ticks;
    struct tl_daily_symbol sums; /* of all that were told; symbol: the last */
    size_t told;
    size_t cancel_at_tick; /* 0: never */
};

static int set_up(void **state)
{
    static const char *const texts[SPECS] = {"SMA(5)", "MACD(12,26,9)", "KDJ(9,3,3)"};
    struct fixture *f = calloc(1, sizeof *f);
    market_open(&f->market);
    for (size_t i = 0; i < SYMBOLS; i++) {
        char text[16];
        snprintf(text, sizeof text, "%06zu.SH", 600000 + i);
        f->symbols[i] = market_symbol(text);
        market_import_walk(&f->market, text, i % SHORT == SHORT - 1 ? 20 : 600 + i, i, 0);
    }
    f->symbols[SYMBOLS] = market_symbol("600999.SH"); /* has no bars */
    for (size_t i = 0; i < SPECS; i++) assert_int_equal(tl_spec_parse(texts[i], &f->specs[i], NULL), TL_OK);
    f->workers = 3;
    f->options = (struct tl_daily_options){.symbols = f->symbols,
                                           .n_symbols = SYMBOLS,
                                           .specs = f->specs,
                                           .n_specs = SPECS,
                                           .freq = TL_FREQ_1D,
                                           .day_ms = INT64_MIN,
                                           .sessions = tl_view_sessions_default(),
                                           .clock = &tl_clock_system,
                                           .progress_ms = 1,
                                           .ctx = f};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    market_close(&f->market);
    free(f);
    return 0;
}

static void on_progress(void *ctx, const struct tl_daily_progress *p)
{
    struct fixture *f = ctx;
    assert_true(p->symbols_done <= p->symbols_total);
    assert_true(p->computed + p->from_cache + p->skipped + p->failed <= p->symbols_total * SPECS);
    if (++f->ticks == f->cancel_at_tick) tl_daily_cancel(f->job);
}

static void on_failure(void *ctx, const struct tl_daily_failure *failure)
{
    struct fixture *f = ctx;
    f->failures++;
    if (failure->err->status == TL_NO_DATA) {
        f->no_data++;
        assert_string_equal(failure->symbol, "600999.SH");
        assert_string_equal(failure->spec, "");
    } else {
        if (failure->err->status != TL_TOO_FEW_BARS)
            print_message("%s %s: %s\n", failure->symbol, failure->spec, failure->err->text);
        assert_int_equal(failure->err->status, TL_TOO_FEW_BARS);
        assert_string_equal(failure->spec, "MACD(12,26,9)");
    }
}

static void on_symbol(void *ctx, const struct tl_daily_symbol *s)
{
    struct fixture *f = ctx;
    f->told++;
    f->sums.computed += s->computed;
    f->sums.from_cache += s->from_cache;
    f->sums.waited += s->waited;
    f->sums.skipped += s->skipped;
    f->sums.failed += s->failed;
    assert_true(s->ms >= 0);
    assert_non_null(strstr(s->symbol, ".SH"));
}

static void on_scheduler_closed(void *ctx)
{
    tl_cache_close(((struct fixture *)ctx)->cache, NULL, NULL);
}

static void on_done(void *ctx, enum tl_status status, const struct tl_daily_progress *p)
{
    struct fixture *f = ctx;
    f->status = status;
    f->last = *p;
    f->job = NULL;
    tl_scheduler_close(f->options.scheduler, on_scheduler_closed, f);
}

static const struct tl_daily_progress *go(struct fixture *f)
{
    uv_loop_t loop;
    struct tl_err err;
    f->failures = f->no_data = f->ticks = f->told = 0;
    f->sums = (struct tl_daily_symbol){.symbol = NULL};
    f->options.on_symbol = on_symbol;
    f->options.on_progress = on_progress;
    f->options.on_failure = on_failure;
    f->options.on_done = on_done;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct tl_cache_options co = {.log_level = -1, .memory_bytes = 1u << 20};
    struct tl_cache_options_inside inside = {.store = f->market.store};
    struct tl_scheduler_options so = {.workers = f->workers};
    if (tl_cache_open_inside(&loop, &co, &inside, &f->cache, &err) != TL_OK) fail_msg("%s", err.text);
    if (tl_scheduler_open(f->cache, &so, &f->options.scheduler, &err) != TL_OK) fail_msg("%s", err.text);
    if (tl_daily_start(&loop, &f->options, &f->job, &err) != TL_OK) fail_msg("%s", err.text);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_null(f->job);
    const struct tl_daily_progress *p = &f->last;
    assert_int_equal(p->symbols_done, p->symbols_total);
    if (!f->options.wanted)
        assert_int_equal(p->computed + p->from_cache + p->waited + p->skipped + p->failed, p->symbols_total * SPECS);
    assert_int_equal(f->sums.computed, p->computed);
    assert_int_equal(f->sums.from_cache, p->from_cache);
    assert_int_equal(f->sums.failed, p->failed);
    if (!p->cancelled) assert_int_equal(f->sums.skipped, p->skipped);
    if (!p->cancelled) assert_int_equal(f->told, p->symbols_total);
    assert_int_equal(p->waited + p->taken_over + p->duplicated, 0); /* nobody else is there */
    return p;
}

static void counts_add_up_and_a_second_run_computes_nothing(void **state)
{
    struct fixture *f = *state;
    const size_t few = SYMBOLS / SHORT;
    const struct tl_daily_progress *p = go(f);
    assert_int_equal(f->status, TL_SOME_FAILED);
    assert_int_equal(p->computed, SYMBOLS * SPECS - few);
    assert_int_equal(p->from_cache, 0);
    assert_int_equal(p->failed, few);
    assert_int_equal(p->failed_too_few_bars, few);
    assert_int_equal(f->failures, few);
    p = go(f);
    assert_int_equal(p->computed, 0);
    assert_int_equal(p->from_cache, SYMBOLS * SPECS - few);
    f->options.recompute = true;
    p = go(f);
    assert_int_equal(p->computed, SYMBOLS * SPECS - few);
}

static void only_what_changed_is_computed_again(void **state)
{
    struct fixture *f = *state;
    go(f);
    market_import_walk(&f->market, "600003.SH", 700, 3, 0);
    market_import_walk(&f->market, "600004.SH", 700, 4, 0);
    const struct tl_daily_progress *p = go(f);
    assert_int_equal(p->computed, 2 * SPECS);
}

static void a_symbol_without_bars_stops_nothing(void **state)
{
    struct fixture *f = *state;
    f->options.n_symbols = SYMBOLS + 1;
    const struct tl_daily_progress *p = go(f);
    assert_int_equal(p->failed_no_data, SPECS);
    assert_int_equal(f->no_data, 1);
    assert_int_equal(p->computed, SYMBOLS * SPECS - SYMBOLS / SHORT);
}

static void a_date_without_bars_skips(void **state)
{
    struct fixture *f = *state;
    f->options.day_ms = tl_civil_days(2020, 1, 11) * TL_DAY_MS; /* a Saturday */
    const struct tl_daily_progress *p = go(f);
    assert_int_equal(f->status, TL_OK);
    assert_int_equal(p->skipped, SYMBOLS * SPECS);
}

static void a_cancelled_job_continues(void **state)
{
    struct fixture *f = *state;
    f->workers = 1;
    f->cancel_at_tick = 1;
    const struct tl_daily_progress *p = go(f);
    uint64_t computed = p->computed, failed = p->failed;
    if (p->cancelled) assert_int_equal(f->status, TL_CANCELLED);
    assert_int_equal(p->skipped, SYMBOLS * SPECS - computed - failed);
    f->cancel_at_tick = 0;
    p = go(f);
    assert_int_equal(p->from_cache, computed);
    assert_int_equal(p->computed + p->from_cache, SYMBOLS * SPECS - SYMBOLS / SHORT);
}

static void each_symbol_has_its_own_indicators(void **state)
{
    struct fixture *f = *state;
    struct tl_daily_wanted wanted[SYMBOLS];
    size_t items = 0, few = 0;
    for (size_t i = 0; i < SYMBOLS; i++) {
        wanted[i] = (struct tl_daily_wanted){.specs = f->specs + i % 2, .n_specs = 1 + i % 2};
        items += wanted[i].n_specs;
        few += i % SHORT == SHORT - 1 && i % 2; /* specs[1] is MACD */
    }
    f->options.wanted = wanted;
    f->options.specs = NULL;
    f->options.n_specs = 0;
    const struct tl_daily_progress *p = go(f);
    assert_int_equal(p->computed + p->failed, items);
    assert_int_equal(p->failed_too_few_bars, few);
    p = go(f);
    assert_int_equal(p->from_cache, items - few);
    f->workers = 1;
    f->options.recompute = true;
    f->cancel_at_tick = 1;
    p = go(f);
    assert_int_equal(p->computed + p->failed + p->skipped, items);
}

static void no_symbols_is_a_finished_job(void **state)
{
    struct fixture *f = *state;
    f->options.n_symbols = 0;
    go(f);
    assert_int_equal(f->status, TL_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(counts_add_up_and_a_second_run_computes_nothing),
        TEST(only_what_changed_is_computed_again),
        TEST(a_symbol_without_bars_stops_nothing),
        TEST(a_date_without_bars_skips),
        TEST(a_cancelled_job_continues),
        TEST(each_symbol_has_its_own_indicators),
        TEST(no_symbols_is_a_finished_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
