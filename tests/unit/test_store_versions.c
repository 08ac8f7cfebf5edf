/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which revision, and that nobody loses anything: corrections, factors, a clock that steps back, processes
 * that share a store, a disk that is full. */
#include "support.h"

#include "market_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int64_t fake_now;

static int64_t fake_wall(void *ctx)
{
    (void)ctx;
    return fake_now;
}

static uint64_t fake_mono(void *ctx)
{
    return tl_clock_system.mono_ns(ctx);
}

static const struct tl_clock fake_clock = {.wall_ms = fake_wall, .mono_ns = fake_mono};

static int set_up(void **state)
{
    struct market *m = calloc(1, sizeof *m);
    struct tl_store_options opt = {.clock = &fake_clock};
    fake_now = 1000000;
    snprintf(m->dir, sizeof m->dir, "/tmp/tl-market-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    snprintf(m->path, sizeof m->path, "%s/store.db", m->dir);
    assert_int_equal(tl_store_open(m->path, &opt, &m->store, NULL), TL_OK);
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    market_close(*state);
    free(*state);
    return 0;
}

static struct tl_bars_head head_of(struct market *m, const char *symbol)
{
    struct tl_store_reader *r;
    struct tl_bars_head head;
    struct tl_symbol s = market_symbol(symbol);
    struct tl_err err;
    assert_int_equal(tl_store_reader_new(m->store, &r, NULL), TL_OK);
    if (tl_store_bars_head(r, &s, TL_FREQ_1D, &head, &err) != TL_OK) fail_msg("%s", err.text);
    tl_store_reader_free(r);
    return head;
}

static void revisions_never_repeat(void **state)
{
    struct market *m = *state;
    struct tl_bars bars;
    tl_bars_init(&bars);
    market_walk(&bars, 600, 1, 0);
    market_import(m, "A", TL_FREQ_1D, "", &bars, false);
    int64_t last = head_of(m, "A").raw.revision;
    assert_int_equal(last, fake_now);
    static const int64_t clock[] = {2000000, 1500000, 1500000, 0, 3000000};
    for (size_t i = 0; i < sizeof clock / sizeof *clock; i++) {
        fake_now = clock[i];
        bars.col[TL_BAR_CLOSE][i] += 0.5;
        market_import(m, "A", TL_FREQ_1D, "", &bars, false);
        int64_t now = head_of(m, "A").raw.revision;
        assert_true(now > last);
        last = now;
    }
    assert_int_equal(last, 3000000);
    tl_bars_release(&bars);
}

static void an_inserted_bar_is_another_history(void **state)
{
    struct market *m = *state;
    struct tl_bars bars, holed;
    tl_bars_init(&bars);
    tl_bars_init(&holed);
    market_walk(&bars, 700, 2, 0);
    for (size_t i = 0; i < bars.n; i++) {
        struct tl_bar bar = tl_bars_at(&bars, i);
        if (i != 300) assert_int_equal(tl_bars_append(&holed, &bar), TL_OK);
    }
    market_import(m, "A", TL_FREQ_1D, "", &holed, false);
    struct tl_version before = head_of(m, "A").raw;
    fake_now++;
    market_import(m, "A", TL_FREQ_1D, "", &bars, false);
    struct tl_version after = head_of(m, "A").raw;
    assert_int_equal(before.bars + 1, after.bars);
    assert_true(after.revision > before.revision);
    tl_bars_release(&bars);
    tl_bars_release(&holed);
}

static void import_factor(struct market *m, const char *symbol, struct tl_factor f)
{
    struct tl_symbol s = market_symbol(symbol);
    struct tl_factors factors = {1, &f};
    struct tl_store_import *import;
    assert_int_equal(tl_store_import_begin(m->store, &import, NULL), TL_OK);
    assert_int_equal(tl_store_import_factors(import, &s, &factors, NULL), TL_OK);
    assert_int_equal(tl_store_import_commit(import, NULL, NULL), TL_OK);
}

static void factors_raise_the_views_that_they_bend(void **state)
{
    struct market *m = *state;
    struct tl_bars bars;
    tl_bars_init(&bars);
    market_walk(&bars, 400, 3, 0);
    bars.n = 300;
    market_import(m, "A", TL_FREQ_1D, "", &bars, false);
    struct tl_bars_head first = head_of(m, "A");
    /* An ex-date that the bars have not reached bends nothing yet. */
    fake_now++;
    import_factor(m, "A", (struct tl_factor){.ex_date_ms = bars.ts_ms[350], .kind = TL_FACTOR_EVENT, .cash = 1});
    struct tl_bars_head announced = head_of(m, "A");
    assert_int_equal(announced.forward_revision, first.forward_revision);
    assert_int_equal(announced.backward_revision, first.backward_revision);
    /* Growing across it bends the forward view alone. */
    fake_now++;
    bars.n = 400;
    market_import(m, "A", TL_FREQ_1D, "", &bars, false);
    struct tl_bars_head crossed = head_of(m, "A");
    assert_int_equal(crossed.raw.revision, first.raw.revision);
    assert_true(crossed.forward_revision > first.raw.revision);
    assert_int_equal(crossed.backward_revision, first.backward_revision);
    /* An event among the bars bends both. */
    fake_now++;
    import_factor(m, "A", (struct tl_factor){.ex_date_ms = bars.ts_ms[100], .kind = TL_FACTOR_EVENT, .gift = 1});
    struct tl_bars_head among = head_of(m, "A");
    assert_int_equal(among.raw.revision, first.raw.revision);
    assert_true(among.forward_revision > crossed.forward_revision);
    assert_true(among.backward_revision > first.raw.revision);
    /* The same again changes nothing. */
    fake_now++;
    import_factor(m, "A", (struct tl_factor){.ex_date_ms = bars.ts_ms[100], .kind = TL_FACTOR_EVENT, .gift = 1});
    struct tl_bars_head again = head_of(m, "A");
    assert_int_equal(again.forward_revision, among.forward_revision);
    assert_int_equal(again.backward_revision, among.backward_revision);
    tl_bars_release(&bars);
}

static void trading_days_are_merged(void **state)
{
    struct market *m = *state;
    static const int64_t days[][2] = {{TL_DAY_MS * 5, TL_DAY_MS * 7}, {TL_DAY_MS * 6, TL_DAY_MS * 7}};
    for (size_t i = 0; i < 2; i++) {
        struct tl_store_import *import;
        assert_int_equal(tl_store_import_begin(m->store, &import, NULL), TL_OK);
        assert_int_equal(tl_store_import_calendar(import, "CN", days[i], 2, NULL), TL_OK);
        assert_int_equal(tl_store_import_commit(import, NULL, NULL), TL_OK);
    }
    struct tl_store_reader *r;
    int64_t *got;
    size_t n;
    assert_int_equal(tl_store_reader_new(m->store, &r, NULL), TL_OK);
    assert_int_equal(tl_store_calendar_read(r, "CN", &got, &n, NULL), TL_OK);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) assert_int_equal(got[i], TL_DAY_MS * (5 + (int64_t)i));
    free(got);
    assert_int_equal(tl_store_calendar_read(r, "US", &got, &n, NULL), TL_OK);
    assert_int_equal(n, 0);
    tl_store_reader_free(r);
}

enum { PROCESSES = 4, ROUNDS = 12 };

/* Process k of PROCESSES: appends its every fourth bar to the shared symbol, and all of them to a symbol of its own. */
static int append_as(const char *path, size_t k, const struct tl_bars *all)
{
    struct tl_store *store;
    char own[8];
    snprintf(own, sizeof own, "P%c", (char)('A' + k));
    struct tl_err err;
    if (tl_store_open(path, NULL, &store, &err) != TL_OK) {
        fprintf(stderr, "process %zu: %s\n", k, err.text);
        return 1;
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        struct tl_symbol shared = market_symbol("SHARED"), mine = market_symbol(own);
        struct tl_bars one;
        struct tl_store_import *import;
        tl_bars_init(&one);
        for (size_t i = round * 50; i < round * 50 + 50; i++) {
            struct tl_bar bar = tl_bars_at(all, i * PROCESSES + k);
            if (tl_bars_append(&one, &bar) != TL_OK) return 2;
        }
        enum tl_status st = tl_store_import_begin(store, &import, &err);
        if (st == TL_OK) st = tl_store_import_bars(import, &shared, TL_FREQ_1D, "", &one, false, &err);
        if (st == TL_OK) st = tl_store_import_bars(import, &mine, TL_FREQ_1D, "", &one, false, &err);
        if (st == TL_OK) st = tl_store_import_commit(import, NULL, &err);
        tl_bars_release(&one);
        if (st != TL_OK) {
            fprintf(stderr, "process %zu, round %zu: %s\n", k, round, err.text);
            return 3;
        }
    }
    tl_store_close(store);
    return 0;
}

static void processes_lose_nothing(void **state)
{
    (void)state;
    struct market m;
    struct tl_bars all;
    tl_bars_init(&all);
    market_walk(&all, PROCESSES * ROUNDS * 50, 5, 0);
    snprintf(m.dir, sizeof m.dir, "/tmp/tl-market-XXXXXX");
    assert_non_null(mkdtemp(m.dir));
    snprintf(m.path, sizeof m.path, "%s/store.db", m.dir);
    pid_t pids[PROCESSES];
    for (size_t k = 0; k < PROCESSES; k++) {
        pids[k] = fork();
        if (pids[k] == 0) _exit(append_as(m.path, k, &all));
    }
    for (size_t k = 0; k < PROCESSES; k++) {
        int status;
        assert_int_equal(waitpid(pids[k], &status, 0), pids[k]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, NULL), TL_OK);
    struct tl_store_reader *r;
    struct tl_bars got;
    struct tl_symbol shared = market_symbol("SHARED");
    tl_bars_init(&got);
    assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
    assert_int_equal(tl_store_bars_read(r, &shared, TL_FREQ_1D, INT64_MIN, INT64_MAX, &got, NULL, NULL), TL_OK);
    assert_int_equal(got.n, all.n);
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) assert_memory_equal(got.col[c], all.col[c], all.n * sizeof(double));
    assert_memory_equal(got.ts_ms, all.ts_ms, all.n * sizeof(int64_t));
    tl_store_reader_free(r);
    tl_bars_release(&got);
    for (size_t k = 0; k < PROCESSES; k++) {
        char own[8];
        snprintf(own, sizeof own, "P%c", (char)('A' + k));
        assert_int_equal(head_of(&m, own).raw.bars, ROUNDS * 50);
    }
    market_close(&m);
    tl_bars_release(&all);
}

/* In a child whose files may not grow: imports until it is refused. 0: refused with FULL or IO and a text that names
 * the file. */
static int fill(const char *path)
{
    struct tl_store *store;
    struct tl_err err;
    struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || tl_store_open(path, NULL, &store, NULL) != TL_OK) return 1;
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && i < 200; i++) {
        char name[16];
        struct tl_bars bars;
        struct tl_store_import *import;
        tl_bars_init(&bars);
        market_walk(&bars, 1000, i, 0);
        snprintf(name, sizeof name, "%06zu.SH", 600000 + i);
        struct tl_symbol s = market_symbol(name);
        st = tl_store_import_begin(store, &import, &err);
        if (st == TL_OK) {
            st = tl_store_import_bars(import, &s, TL_FREQ_1D, "", &bars, false, &err);
            if (st == TL_OK)
                st = tl_store_import_commit(import, NULL, &err);
            else
                tl_store_import_abort(import);
        }
        tl_bars_release(&bars);
    }
    bool clear = (st == TL_FULL || st == TL_IO) && strstr(err.text, path);
    if (!clear) fprintf(stderr, "%s: %s\n", tl_status_name(st), err.text);
    tl_store_close(store);
    return clear ? 0 : 2;
}

static bool count_bars(void *ctx, const struct tl_store_symbol *s)
{
    (*(size_t *)ctx)++;
    assert_int_equal(s->head.raw.bars, 1000);
    return true;
}

static void a_full_disk_is_said_and_harms_nothing(void **state)
{
    (void)state;
    struct market m;
    snprintf(m.dir, sizeof m.dir, "/tmp/tl-market-XXXXXX");
    assert_non_null(mkdtemp(m.dir));
    snprintf(m.path, sizeof m.path, "%s/store.db", m.dir);
    pid_t pid = fork();
    if (pid == 0) _exit(fill(m.path));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, NULL), TL_OK);
    struct tl_store_reader *r;
    size_t symbols = 0;
    assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
    assert_int_equal(tl_store_symbols(r, count_bars, &symbols, NULL), TL_OK);
    assert_true(symbols > 0); /* what was acknowledged before is there, whole */
    tl_store_reader_free(r);
    market_import_walk(&m, "LATER", 1000, 1, 0);
    assert_int_equal(head_of(&m, "LATER").raw.bars, 1000);
    market_close(&m);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(revisions_never_repeat),
        TEST(an_inserted_bar_is_another_history),
        TEST(factors_raise_the_views_that_they_bend),
        TEST(trading_days_are_merged),
        cmocka_unit_test(processes_lose_nothing),
        cmocka_unit_test(a_full_disk_is_said_and_harms_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
