/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of one process without Redis: posted, run, shown, their failures paged and tried again, cancelled, handed over
 * at the end of the process and continued by the next; schedules by a clock that is set. */
#include "support.h"

#include "market_fixture.h"

#include "base/util.h"
#include "job_node.h"

enum { SYMBOLS = 60, SHORT = 10, SPECS = 4, MANY = 40 };
#define SPECS_TEXT "SMA(5);MACD(12,26,9);KDJ(9,3,3);BBANDS(20,2,2,SMA)"

static struct market market;

static void name_of(size_t i, char out[16])
{
    snprintf(out, 16, "%06zu.SH", 600000 + i);
}

/* Every SHORT-th symbol has too few bars for MACD and BBANDS. */
static int set_up(void **state)
{
    (void)state;
    market_open(&market);
    for (size_t i = 0; i < SYMBOLS; i++) {
        char text[16];
        name_of(i, text);
        market_import_walk(&market, text, i % SHORT == 0 ? 15 : 1500 + i, i, 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    market_close(&market);
    return 0;
}

static struct tl_job_request request(void)
{
    struct tl_job_request r = proc_request;
    r.specs = SPECS_TEXT;
    return r;
}

static void a_job_runs_and_is_published(void **state)
{
    (void)state;
    struct proc p;
    struct heard h, all;
    char id[101];
    const struct tl_job_request r = request();
    proc_open(&p, market.path, NULL, NULL, true);
    hear(&p, &all, "tasks");
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    assert_memory_equal(id, "daily-", 6);
    hear(&p, &h, id);
    PROC_UNTIL(&p, 20000, h.over);
    const size_t few = SYMBOLS / SHORT;
    assert_string_equal(h.last, "task.completed.v1");
    assert_int_equal(h.over, 1);
    assert_int_equal(h.started, 1);
    assert_int_equal(h.completed_items, SYMBOLS);
    assert_int_equal(h.failed_items, 2 * few);
    assert_string_equal(json_string_value(json_object_get(h.end, "state")), "completed");
    assert_int_equal(json_integer_value(json_object_get(h.end, "done")), SYMBOLS);
    assert_int_equal(json_integer_value(json_object_get(h.end, "failed")), 2 * few);
    assert_int_equal(json_integer_value(json_object_get(h.end, "computed")), SYMBOLS * SPECS - 2 * few);
    assert_int_equal(all.over, 1);
    assert_int_equal(all.completed_items + all.failed_items, 0); /* items are not for all */
    PROC_UNTIL(&p, 2000, proc_state_is(&p, NULL, id, "completed"));
    assert_int_equal(proc_number(&p, NULL, id, "errors"), 2 * few);
    assert_true(proc_number(&p, NULL, id, "ended_ms") >= proc_number(&p, NULL, id, "started_ms"));
    struct tl_buf text;
    tl_buf_init(&text, 0);
    assert_int_equal(tl_jobs_describe(p.node.jobs, id, &text), TL_OK);
    assert_non_null(strstr(text.p, "\"specs\":\"" SPECS_TEXT "\""));
    tl_buf_clear(&text);
    assert_int_equal(tl_jobs_describe(p.node.jobs, "daily-0-0", &text), TL_NOT_FOUND);
    tl_buf_release(&text);
    assert_null(proc_show(&p, NULL, "daily-0-0"));
    hear_no_more(&h);
    hear_no_more(&all);
    proc_close(&p);
}

static void one_after_the_other(void **state)
{
    (void)state;
    struct proc p;
    char ids[3][101];
    const struct tl_job_request r = request();
    proc_open(&p, market.path, NULL, NULL, true);
    for (size_t i = 0; i < 3; i++) assert_int_equal(proc_post(&p, NULL, &r, ids[i]), TL_OK);
    assert_true(strcmp(ids[0], ids[1]) != 0);
    for (size_t i = 0; i < 3; i++) {
        PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, ids[i], "completed"));
        long long computed = proc_number(&p, NULL, ids[i], "computed");
        assert_true(i == 0 ? computed > 0 : computed == 0); /* the others found it */
    }
    assert_true(proc_number(&p, NULL, ids[1], "started_ms") >= proc_number(&p, NULL, ids[0], "ended_ms"));
    proc_close(&p);
}

static void failures_are_paged(void **state)
{
    (void)state;
    struct proc p;
    char id[101];
    const struct tl_job_request r = request();
    const size_t n = 2 * SYMBOLS / SHORT;
    proc_open(&p, market.path, NULL, NULL, true);
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, id, "completed"));
    struct paged all = proc_errors(&p, NULL, id, 0, 1000);
    assert_int_equal(all.status, TL_OK);
    assert_int_equal(all.op.n, n);
    assert_int_equal(all.op.total, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(all.op.items[i].status, TL_TOO_FEW_BARS);
        assert_true(strcmp(all.op.items[i].spec, "MACD(12,26,9)") == 0 ||
                    strcmp(all.op.items[i].spec, "BBANDS(20,2,2,SMA)") == 0);
        assert_true(all.op.items[i].text[0] != '\0');
    }
    struct paged some = proc_errors(&p, NULL, id, n - 3, 2);
    assert_int_equal(some.op.n, 2);
    assert_int_equal(some.op.total, n);
    assert_string_equal(some.op.items[0].symbol, all.op.items[n - 3].symbol);
    assert_string_equal(some.op.items[1].spec, all.op.items[n - 2].spec);
    free(some.op.items);
    some = proc_errors(&p, NULL, id, n, 10);
    assert_int_equal(some.status, TL_OK);
    assert_int_equal(some.op.n, 0);
    free(some.op.items);
    assert_int_equal(proc_errors(&p, NULL, id, 0, 0).status, TL_INVALID);
    assert_int_equal(proc_errors(&p, NULL, id, 0, 1001).status, TL_INVALID);
    assert_int_equal(proc_errors(&p, NULL, "daily-0-0", 0, 10).status, TL_NOT_FOUND);
    free(all.op.items);
    proc_close(&p);
}

static void only_what_failed_is_tried_again(void **state)
{
    (void)state;
    struct proc p;
    char id[101], again[101], third[101], text[16];
    const struct tl_job_request r = request();
    const size_t few = SYMBOLS / SHORT;
    proc_open(&p, market.path, NULL, NULL, true);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, "daily-0-0", NULL), TL_NOT_FOUND);
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, id, NULL), TL_CONFLICT); /* not over */
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, id, "completed"));
    name_of(0, text);
    market_import_walk(&market, text, 700, 0, 0);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, id, again), TL_OK);
    assert_string_not_equal(again, id);
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, again, "completed"));
    assert_int_equal(proc_number(&p, NULL, again, "total"), few);
    assert_int_equal(proc_number(&p, NULL, again, "computed"), 2); /* MACD and BBANDS of the one that has grown */
    assert_int_equal(proc_number(&p, NULL, again, "failed"), 2 * (few - 1));
    assert_int_equal(proc_number(&p, NULL, again, "from_cache"), 0);
    for (size_t i = 0; i < SYMBOLS; i += SHORT) {
        name_of(i, text);
        market_import_walk(&market, text, 700, i, 0);
    }
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, again, third), TL_OK);
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, third, "completed"));
    assert_int_equal(proc_number(&p, NULL, third, "computed"), 2 * (few - 1));
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, third, NULL), TL_CONFLICT); /* nothing failed */
    proc_close(&p);
}

static void a_whole_symbol_that_failed_is_tried_again(void **state)
{
    (void)state;
    struct proc p;
    char id[101], again[101];
    struct tl_job_request r = request();
    r.symbols = "600001.SH, sh600999";
    proc_open(&p, market.path, NULL, NULL, true);
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, id, "completed"));
    assert_int_equal(proc_number(&p, NULL, id, "failed"), SPECS);
    assert_int_equal(proc_number(&p, NULL, id, "errors"), 1);
    struct paged e = proc_errors(&p, NULL, id, 0, 10);
    assert_string_equal(e.op.items[0].symbol, "600999.SH");
    assert_string_equal(e.op.items[0].spec, "");
    free(e.op.items);
    market_import_walk(&market, "600999.SH", 300, 7, 0);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, id, again), TL_OK);
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, again, "completed"));
    assert_int_equal(proc_number(&p, NULL, again, "total"), 1);
    assert_int_equal(proc_number(&p, NULL, again, "computed"), SPECS);
    proc_close(&p);
}

/* ---- cancelling ---- */

struct at_item {
    struct proc *p;
    const char *id;
    struct asked a;
    unsigned seen;
};

static void cancel_at_first_item(void *ctx)
{
    struct at_item *at = ctx;
    struct tl_err err;
    if (at->seen++ == 0) assert_int_equal(tl_jobs_cancel(at->p->node.jobs, &at->a.op, at->id, &err), TL_OK);
}

static void jobs_are_cancelled(void **state)
{
    (void)state;
    struct proc p;
    struct heard h, waits;
    char id[101], waiting[101];
    const struct tl_job_request r = request();
    proc_open(&p, market.path, NULL, NULL, true);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, "daily-0-0", NULL), TL_NOT_FOUND);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, "", NULL), TL_NOT_FOUND);
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    hear(&p, &h, id);
    struct at_item at = {.p = &p, .id = id};
    asked_init(&at.a);
    h.on_item = cancel_at_first_item;
    h.ctx = &at;
    assert_int_equal(proc_post(&p, NULL, &r, waiting), TL_OK);
    hear(&p, &waits, waiting);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, waiting, NULL), TL_OK);
    PROC_UNTIL(&p, 20000, h.over && at.a.done);
    assert_int_equal(at.a.status, TL_OK);
    assert_string_equal(h.last, "task.cancelled.v1");
    assert_true(json_integer_value(json_object_get(h.end, "skipped")) > 0);
    PROC_UNTIL(&p, 20000, waits.over);
    assert_string_equal(waits.last, "task.cancelled.v1");
    assert_int_equal(waits.started + waits.completed_items, 0);
    PROC_UNTIL(&p, 5000, proc_state_is(&p, NULL, id, "cancelled") && proc_state_is(&p, NULL, waiting, "cancelled"));
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, id, NULL), TL_CONFLICT);
    assert_int_equal(proc_call(&p, NULL, tl_jobs_cancel, waiting, NULL), TL_CONFLICT);
    hear_no_more(&h);
    hear_no_more(&waits);
    proc_close(&p);
}

/* ---- the end of the process ---- */

static void count_item(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void the_next_process_continues(void **state)
{
    (void)state;
    struct proc p;
    struct heard h;
    char id[101], waiting[101], many[512] = "SMA(2)";
    for (int i = 3; i < 3 + MANY - 1; i++) snprintf(many + strlen(many), sizeof many - strlen(many), ";SMA(%d)", i);
    unsigned items = 0;
    struct tl_job_request r = request();
    r.specs = many; /* so that it is not over before the second is posted */
    proc_open(&p, market.path, NULL, NULL, true);
    struct asked both[2];
    struct tl_err err;
    for (int i = 0; i < 2; i++) {
        asked_init(&both[i]);
        assert_int_equal(tl_jobs_post(p.node.jobs, &both[i].op, &r, &err), TL_OK);
    }
    PROC_UNTIL(&p, 10000, both[0].done && both[1].done);
    memcpy(id, both[0].op.id, sizeof id);
    memcpy(waiting, both[1].op.id, sizeof waiting);
    hear(&p, &h, id);
    h.on_item = count_item;
    h.ctx = &items;
    PROC_UNTIL(&p, 20000, items > 0);
    hear_no_more(&h);
    proc_close(&p);
    assert_true(items < SYMBOLS);

    proc_open(&p, market.path, NULL, NULL, true);
    PROC_UNTIL(&p, 20000, proc_state_is(&p, NULL, id, "completed") && proc_state_is(&p, NULL, waiting, "completed"));
    long long computed = proc_number(&p, NULL, id, "computed"), cached = proc_number(&p, NULL, id, "from_cache");
    assert_true(cached > 0); /* what was computed before is not computed again */
    assert_int_equal(computed + cached + proc_number(&p, NULL, id, "failed"), SYMBOLS * MANY);
    assert_int_equal(proc_number(&p, NULL, waiting, "computed"), 0);
    proc_close(&p);

    proc_open(&p, market.path, NULL, NULL, true); /* nothing is left over for the third */
    hear(&p, &h, "tasks");
    for (int i = 0; i < 300; i++) proc_turn(&p);
    assert_int_equal(h.started, 0);
    hear_no_more(&h);
    proc_close(&p);
}

/* ---- what is refused, what fails ---- */

static void requests_are_checked(void **state)
{
    (void)state;
    struct proc p;
    struct asked a;
    static const struct {
        struct tl_job_request r;
        enum tl_status status;
        const char *says;
    } rows[] = {
        {{.specs = "SMA(5);NOPE", .day_ms = INT64_MIN}, TL_NOT_FOUND, "specs: NOPE"},
        {{.specs = "SMA(0)", .day_ms = INT64_MIN}, TL_INVALID, "specs: SMA(0)"},
        {{.specs = "SMA(", .day_ms = INT64_MIN}, TL_PARSE, "specs: SMA("},
        {{.specs = " ; ", .day_ms = INT64_MIN}, TL_INVALID, "names no indicator"},
        {{.set = "dayly", .day_ms = INT64_MIN}, TL_NOT_FOUND, "did you mean 'daily'"},
        {{.set = "daily", .specs = "SMA(5)", .day_ms = INT64_MIN}, TL_INVALID, "exclude each other"},
        {{.symbols = "600000.SH,6#", .day_ms = INT64_MIN}, TL_INVALID, "6#"},
        {{.symbols = "000001", .day_ms = INT64_MIN}, TL_AMBIGUOUS, "000001"},
        {{.symbols = " , ", .day_ms = INT64_MIN}, TL_INVALID, "names none"},
        {{.name = "a/b", .day_ms = INT64_MIN}, TL_INVALID, "name: 'a/b'"},
        {{.name = "", .day_ms = INT64_MIN}, TL_INVALID, "name: ''"},
        {{.day_ms = 5}, TL_INVALID, "date"},
        {{.freq = (enum tl_freq)99, .day_ms = INT64_MIN}, TL_INVALID, "freq"},
    };
    proc_open(&p, market.path, NULL, NULL, true);
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_err err = {.text = ""};
        asked_init(&a);
        enum tl_status st = tl_jobs_post(p.node.jobs, &a.op, &rows[i].r, &err);
        if (st != rows[i].status || !strstr(err.text, rows[i].says))
            fail_msg("row %zu: %s: %s", i, tl_status_name(st), err.text);
    }
    proc_close(&p);
}

static void without_bars_a_job_fails(void **state)
{
    (void)state;
    struct proc p;
    struct heard h;
    char id[101], path[160];
    const struct tl_job_request r = request();
    snprintf(path, sizeof path, "%s/empty.db", market.dir);
    proc_open(&p, path, NULL, NULL, true);
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    hear(&p, &h, id);
    PROC_UNTIL(&p, 10000, h.over);
    assert_string_equal(h.last, "task.failed.v1");
    assert_non_null(strstr(json_string_value(json_object_get(h.end, "error")), "no bars"));
    PROC_UNTIL(&p, 5000, proc_state_is(&p, NULL, id, "failed"));
    assert_int_equal(proc_call(&p, NULL, tl_jobs_retry, id, NULL), TL_CONFLICT);
    hear_no_more(&h);
    proc_close(&p);
    static const char *const tails[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char file[192];
        snprintf(file, sizeof file, "%s%s", path, tails[i]);
        unlink(file);
    }
}

static void a_date_skips(void **state)
{
    (void)state;
    struct proc p;
    char id[101];
    struct tl_job_request r = request();
    r.day_ms = tl_civil_days(2020, 1, 11) * TL_DAY_MS; /* a Saturday */
    r.name = "one_day";
    proc_open(&p, market.path, NULL, NULL, true);
    assert_int_equal(proc_post(&p, NULL, &r, id), TL_OK);
    assert_memory_equal(id, "one_day-", 8);
    PROC_UNTIL(&p, 10000, proc_state_is(&p, NULL, id, "completed"));
    assert_int_equal(proc_number(&p, NULL, id, "skipped"), SYMBOLS * SPECS);
    proc_close(&p);
}

/* ---- closing under way ---- */

static void calls_end_when_the_jobs_are_closed(void **state)
{
    (void)state;
    struct proc p;
    struct asked a[3];
    struct paged e = {.op = {.cb = on_paged, .max = 10}};
    struct shown s = {.op = {.cb = on_shown_job}};
    struct tl_err err;
    const struct tl_job_request r = request();
    proc_open(&p, market.path, NULL, NULL, true);
    for (size_t i = 0; i < 3; i++) asked_init(&a[i]);
    e.op.user = &e;
    s.op.user = &s;
    assert_int_equal(tl_jobs_post(p.node.jobs, &a[0].op, &r, &err), TL_OK);
    assert_int_equal(tl_jobs_cancel(p.node.jobs, &a[1].op, "daily-1-1", &err), TL_OK);
    assert_int_equal(tl_jobs_retry(p.node.jobs, &a[2].op, "daily-1-1", &err), TL_OK);
    assert_int_equal(tl_jobs_errors(p.node.jobs, &e.op, "daily-1-1", &err), TL_OK);
    assert_int_equal(tl_jobs_show(p.node.jobs, &s.op, "daily-1-1", &err), TL_OK);
    proc_close(&p);
    assert_true(a[0].done && a[1].done && a[2].done && e.done && s.done);
    assert_int_not_equal(a[0].status, TL_OK);
}

static void close_in_callback(struct tl_job_op *op, enum tl_status status)
{
    struct proc *p = op->user;
    assert_int_equal(status, TL_OK);
    tl_node_close(&p->node, 5000, proc_on_closed, p);
}

static void a_callback_may_close(void **state)
{
    (void)state;
    struct proc p;
    struct tl_err err;
    const struct tl_job_request r = request();
    struct tl_job_op op = {.cb = close_in_callback, .user = &p};
    proc_open(&p, market.path, NULL, NULL, true);
    assert_int_equal(tl_jobs_post(p.node.jobs, &op, &r, &err), TL_OK);
    PROC_UNTIL(&p, 10000, p.closed);
    assert_int_equal(uv_run(&p.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&p.loop), 0);
    tl_config_free(p.cfg);
}

/* ---- schedules ---- */

static int64_t wall(const char *text) /* "2024-03-10 07:00:30" UTC, as what is to be added to the clock */
{
    int64_t day;
    assert_true(tl_civil_parse_date((struct tl_str){text, 10}, &day));
    int h = 0, m = 0, s = 0;
    assert_int_equal(sscanf(text + 10, " %d:%d:%d", &h, &m, &s), 3);
    return day + ((h * 60 + m) * 60 + s) * INT64_C(1000) - tl_clock_wall_ms(&tl_clock_system);
}

static void open_at(struct proc *p, const char *when, const char *ini)
{
    struct tl_err err;
    if (proc_try(p, market.path, NULL, ini, true, wall(when), &err) != TL_OK) fail_msg("%s", err.text);
}

static struct tl_schedule_info schedule(const struct proc *p, size_t i)
{
    struct tl_schedule_info s;
    assert_true(tl_jobs_schedule(p->node.jobs, i, &s));
    return s;
}

static void a_schedule_makes_a_job(void **state)
{
    (void)state;
    struct proc p;
    struct heard h;
    open_at(&p, "2024-03-08 07:29:59",
            "[sets]\nfew = SMA(5); RSI\n[schedules]\n"
            "daily = 30 15 * * trading-day Asia/Shanghai; set=few; symbols=600001.SH\n");
    hear(&p, &h, "tasks");
    assert_int_equal(schedule(&p, 0).next_ms % 86400000, (7 * 60 + 30) * 60000);
    assert_string_equal(schedule(&p, 0).last_job, "");
    PROC_UNTIL(&p, 10000, h.over);
    assert_string_equal(h.last, "task.completed.v1");
    char id[101];
    snprintf(id, sizeof id, "%s", schedule(&p, 0).last_job);
    assert_memory_equal(id, "daily-", 6);
    json_t *root = proc_show(&p, NULL, id);
    assert_string_equal(json_string_value(json_object_get(root, "schedule")), "daily");
    assert_string_equal(json_string_value(json_object_get(root, "specs")), "SMA(5);RSI(14)");
    json_decref(root);
    int64_t day;
    assert_true(tl_civil_parse_date(TL_STR("2024-03-11"), &day)); /* over the weekend */
    assert_int_equal(schedule(&p, 0).next_ms, day + (7 * 60 + 30) * 60000);
    struct tl_schedule_info info;
    assert_false(tl_jobs_schedule(p.node.jobs, 1, &info));
    hear_no_more(&h);
    proc_close(&p);
}

static void append_bar(const char *symbol, const char *date)
{
    struct tl_bars bars;
    int64_t day;
    assert_true(tl_civil_parse_date(tl_str(date), &day));
    tl_bars_init(&bars);
    struct tl_bar bar = {.ts_ms = day, .v = {10, 11, 9, 10, 1000, 0}};
    assert_int_equal(tl_bars_append(&bars, &bar), TL_OK);
    market_import(&market, symbol, TL_FREQ_1D, "", &bars, false);
    tl_bars_release(&bars);
}

/* Two symbols are active: they had a bar in the month before. */
static void a_schedule_waits_for_bars(void **state)
{
    (void)state;
    struct proc p;
    struct heard h;
    append_bar("600001.SH", "2030-03-07");
    append_bar("600002.SH", "2030-03-07");
    open_at(&p, "2030-03-08 07:29:59",
            "[schedules]\ndaily = 30 7 * * *; symbols=600001.SH; wait = 100%; wait_max=20s\n");
    hear(&p, &h, "tasks");
    append_bar("600001.SH", "2030-03-08");
    for (int i = 0; i < 15000 && !h.started; i++) { /* about two seconds: half of them is not enough */
        proc_turn(&p);
        if (tl_clock_wall_ms(&p.clock) > schedule(&p, 0).next_ms + 1500) break;
    }
    assert_int_equal(h.started, 0);
    append_bar("600002.SH", "2030-03-08");
    PROC_UNTIL(&p, 10000, h.over);
    assert_true(tl_clock_wall_ms(&p.clock) < schedule(&p, 0).last_ms + 15000);
    hear_no_more(&h);
    proc_close(&p);

    /* and at the latest after wait_max */
    open_at(&p, "2030-03-11 07:29:59", "[schedules]\ndaily = 30 7 * * *; symbols=600001.SH; wait=50%; wait_max=2s\n");
    hear(&p, &h, "tasks");
    PROC_UNTIL(&p, 10000, h.over);
    assert_true(tl_clock_wall_ms(&p.clock) >= schedule(&p, 0).last_ms + 2000);
    hear_no_more(&h);
    proc_close(&p);
}

static void settings_are_read_anew(void **state)
{
    (void)state;
    struct proc p;
    struct tl_err err = {.text = ""};
    open_at(&p, "2024-03-08 00:00:00", "[schedules]\na = 0 3 * * *\n");
    struct tl_config *bad = proc_config(market.path, NULL, "[schedules]\na = 0 3 * * *\nb = 0 25 * * *\n");
    struct tl_config *good = proc_config(market.path, NULL, "[schedules]\nb = 0 4 * * *; freq=1w\na = 0 3 * * *\n");
    assert_int_equal(tl_node_configure(&p.node, bad, &err), TL_PARSE);
    assert_non_null(strstr(err.text, "schedule b"));
    assert_non_null(strstr(err.text, "hour: '25' is out of range"));
    tl_config_free(bad);
    assert_string_equal(schedule(&p, 0).name, "a"); /* as it was */
    int64_t next = schedule(&p, 0).next_ms;
    assert_int_equal(tl_node_configure(&p.node, good, &err), TL_OK);
    assert_string_equal(schedule(&p, 0).name, "b");
    assert_string_equal(schedule(&p, 1).name, "a");
    assert_int_equal(schedule(&p, 1).next_ms, next);
    proc_close(&p);
    tl_config_free(good);
}

static void bad_schedules_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"0 3 * *", "day of week is missing"},
        {"0 3 * * * Asia/Nowhere", "Asia/Nowhere"},
        {"0 3 * * *; set=dayly", "set: no set named 'dayly'; did you mean 'daily'?"},
        {"0 3 * * *; freq=2d", "freq: '2d' is none of 1m"},
        {"0 3 * * *; adjust=up", "adjust: 'up' is none of raw"},
        {"0 3 * * *; symbols=6#", "6#"},
        {"0 3 * * *; symbols=,", "symbols: ',' names none"},
        {"0 3 * * *; wait=95", "wait: '95' is no share"},
        {"0 3 * * *; wait=101%", "wait: '101%' is no share"},
        {"0 3 * * *; wait_max=2days", "wait_max: '2days' is not a time"},
        {"0 3 * * *; wait_max=25h", "wait_max: '25h' is not a time"},
        {"0 3 * * *; colour=red", "'colour' is no option"},
        {"0 3 * * *; set", "'set' is not OPTION=VALUE"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct proc p;
        char ini[200];
        struct tl_err err = {.text = ""};
        snprintf(ini, sizeof ini, "[schedules]\nmine = %s\n", rows[i].text);
        enum tl_status st = proc_try(&p, market.path, NULL, ini, true, 0, &err);
        if ((st != TL_PARSE && st != TL_INVALID) || !strstr(err.text, rows[i].says) || !strstr(err.text, "mine"))
            fail_msg("%s: %s: %s", rows[i].text, tl_status_name(st), err.text);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_job_runs_and_is_published),
        TEST(one_after_the_other),
        TEST(failures_are_paged),
        TEST(only_what_failed_is_tried_again),
        TEST(a_whole_symbol_that_failed_is_tried_again),
        TEST(jobs_are_cancelled),
        TEST(the_next_process_continues),
        TEST(requests_are_checked),
        TEST(without_bars_a_job_fails),
        TEST(a_date_skips),
        TEST(calls_end_when_the_jobs_are_closed),
        TEST(a_callback_may_close),
        TEST(a_schedule_makes_a_job),
        TEST(a_schedule_waits_for_bars),
        TEST(settings_are_read_anew),
        TEST(bad_schedules_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
