/* SPDX-License-Identifier: Apache-2.0 */
/* Records of jobs as JSON and back, requests from outside, and ids. */
#include "support.h"

#include "base/util.h"
#include "job/jobs_record.h"

static struct tl_job_record sample(void)
{
    return (struct tl_job_record){.id = "daily-01hq3k2m0f-x7q2",
                                  .name = "daily",
                                  .symbols = strdup("600519.SH,AAPL"),
                                  .specs = strdup("SMA(5);MACD(12,26,9)"),
                                  .set = "mine",
                                  .schedule = "nightly",
                                  .retry_of = "daily-01hq3k2m0a-0000",
                                  .freq = TL_FREQ_1W,
                                  .adjust = TL_ADJUST_FORWARD,
                                  .drop_suspended = true,
                                  .recompute = true,
                                  .day_ms = 1704153600000,
                                  .posted_ms = 1700000000001,
                                  .started_ms = 1700000000002,
                                  .ended_ms = 1700000000003,
                                  .progress = {.state = TL_TASK_FAILED,
                                               .error = "no \"bars\"\n",
                                               .total = 9,
                                               .done = 8,
                                               .computed = 7,
                                               .from_cache = 6,
                                               .waited = 5,
                                               .skipped = 4,
                                               .failed = 3,
                                               .elapsed_ms = 2,
                                               .eta_ms = -1},
                                  .errors = 3};
}

static void there_and_back(void **state)
{
    (void)state;
    struct tl_job_record r = sample(), back, copy;
    struct tl_buf a, b;
    struct tl_err err = {.text = ""};
    tl_buf_init(&a, 0);
    tl_buf_init(&b, 0);
    tl_job_record_json(&a, &r);
    assert_null(strchr(a.p, '\n'));
    if (tl_job_record_parse(tl_buf_str(&a), &back, &err) != TL_OK) fail_msg("%s: %s", err.text, a.p);
    assert_int_equal(tl_job_record_copy(&back, &copy), TL_OK);
    tl_job_record_json(&b, &copy);
    assert_string_equal(a.p, b.p);
    assert_int_equal(copy.day_ms, r.day_ms);
    assert_string_equal(copy.progress.error, r.progress.error);
    tl_job_record_release(&copy);
    tl_job_record_release(&back);
    r.day_ms = INT64_MIN;
    r.set[0] = r.retry_of[0] = r.schedule[0] = r.progress.error[0] = '\0';
    tl_buf_clear(&a);
    tl_job_record_json(&a, &r);
    assert_non_null(strstr(a.p, "\"date\":null"));
    assert_int_equal(tl_job_record_parse(tl_buf_str(&a), &back, &err), TL_OK);
    assert_true(back.day_ms == INT64_MIN);
    assert_string_equal(back.set, "");
    tl_job_record_release(&back);
    tl_job_record_release(&r);
    tl_buf_release(&a);
    tl_buf_release(&b);
}

/* Every field that is taken away, and every cut, is noticed. */
static void damage_is_noticed(void **state)
{
    (void)state;
    struct tl_job_record r = sample(), back;
    struct tl_buf a;
    struct tl_err err;
    static const char *const fields[] = {"id",     "freq",      "adjust",     "suspended",  "recompute",
                                         "state",  "posted_ms", "started_ms", "ended_ms",   "total",
                                         "failed", "computed",  "from_cache", "elapsed_ms", "errors"};
    tl_buf_init(&a, 0);
    tl_job_record_json(&a, &r);
    tl_job_record_release(&r);
    for (size_t i = 0; i < TL_COUNT(fields); i++) {
        char needle[32];
        snprintf(needle, sizeof needle, "\"%s\":", fields[i]);
        char *at = strstr(a.p, needle);
        assert_non_null(at);
        at[1] ^= 1;
        err = (struct tl_err){.text = ""};
        assert_int_equal(tl_job_record_parse(tl_buf_str(&a), &back, &err), TL_CORRUPT);
        if (!strstr(err.text, fields[i])) fail_msg("%s: %s", fields[i], err.text);
        at[1] ^= 1;
    }
    for (size_t n = 0; n < a.n; n++)
        assert_int_equal(tl_job_record_parse((struct tl_str){a.p, n}, &back, &err), TL_CORRUPT);
    assert_int_equal(tl_job_record_parse(TL_STR("[]"), &back, &err), TL_CORRUPT);
    tl_buf_release(&a);
}

static void ids_are_in_order(void **state)
{
    (void)state;
    struct tl_rng rng;
    char before[TL_JOB_ID_MAX + 1] = "", id[TL_JOB_ID_MAX + 1];
    tl_rng_seed(&rng, 7);
    for (int64_t ms = 1700000000000; ms < 1700000100000; ms += 97) {
        tl_job_id_make("daily", ms, &rng, id);
        assert_int_equal(strlen(id), 5 + 1 + 10 + 1 + 4);
        assert_true(strcmp(before, id) < 0);
        memcpy(before, id, sizeof before);
    }
    tl_job_id_make("daily", 1700000000000, &rng, before);
    tl_job_id_make("daily", 1700000000000, &rng, id);
    assert_string_not_equal(before, id);
    tl_job_id_make("a_name_of_thirty-two_characters_", INT64_MAX, &rng, id);
    assert_true(strlen(id) <= 64); /* what a key of the cache takes */
    assert_true(tl_job_name_ok("a_name_of_thirty-two_characters_"));
    assert_false(tl_job_name_ok("a_name_of_thirty-three_characters"));
    assert_false(tl_job_name_ok(""));
    assert_false(tl_job_name_ok("a b"));
}

static void requests(void **state)
{
    (void)state;
    struct tl_job_request r = {.freq = TL_FREQ_1D, .day_ms = INT64_MIN};
    char *storage;
    struct tl_err err;
    assert_int_equal(tl_job_request_parse(TL_STR("{}"), &r, &storage, &err), TL_OK);
    assert_null(r.name);
    assert_null(r.symbols);
    assert_true(r.day_ms == INT64_MIN && r.freq == TL_FREQ_1D);
    free(storage);
    struct tl_str all =
        TL_STR("{\"name\":\"mine\",\"symbols\":[\"600519.SH\",\"AAPL\"],\"specs\":\"SMA(5);RSI\",\"set\":null,"
               "\"freq\":\"1w\",\"adjust\":\"hfq\",\"suspended\":\"drop\",\"recompute\":true,"
               "\"date\":\"2024-01-02\"}");
    assert_int_equal(tl_job_request_parse(all, &r, &storage, &err), TL_OK);
    assert_string_equal(r.name, "mine");
    assert_string_equal(r.symbols, "600519.SH,AAPL");
    assert_string_equal(r.specs, "SMA(5);RSI");
    assert_null(r.set);
    assert_true(r.freq == TL_FREQ_1W && r.adjust == TL_ADJUST_BACKWARD && r.drop_suspended && r.recompute);
    assert_true(r.day_ms == 1704153600000);
    free(storage);
}

static void bad_requests(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tl_status status;
        const char *says;
    } rows[] = {
        {"", TL_PARSE, "no JSON"},
        {"{\"name\":\"a\"", TL_PARSE, "no JSON"},
        {"{\"name\":\"a\",\"name\":\"b\"}", TL_PARSE, "duplicate"},
        {"[]", TL_INVALID, "is an object"},
        {"{\"symbol\":\"all\"}", TL_INVALID, "'symbol' is no field of a job"},
        {"{\"symbols\":5}", TL_INVALID, "symbols: neither a string nor an array"},
        {"{\"symbols\":[]}", TL_INVALID, "symbols: the value is empty"},
        {"{\"symbols\":[\"A\",5]}", TL_INVALID, "symbols: item 2 is no string"},
        {"{\"specs\":\"\"}", TL_INVALID, "specs: the value is empty"},
        {"{\"name\":[\"a\"]}", TL_INVALID, "name: no string"},
        {"{\"name\":\"a_name_of_thirty-three_characters\"}", TL_TOO_LARGE, "name: more than 32 bytes"},
        {"{\"freq\":\"2d\"}", TL_INVALID, "freq: '2d' is none of"},
        {"{\"freq\":1}", TL_INVALID, "freq: no string"},
        {"{\"adjust\":\"up\"}", TL_INVALID, "adjust: 'up' is none of"},
        {"{\"date\":\"2024-02-30\"}", TL_INVALID, "date: '2024-02-30' is not a date"},
        {"{\"suspended\":\"off\"}", TL_INVALID, "suspended: 'off' is none of"},
        {"{\"recompute\":1}", TL_INVALID, "recompute: neither true nor false"},
        {"{\"name\":\"a\\u0000b\"}", TL_PARSE, "no JSON"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_job_request r = {.freq = TL_FREQ_1D, .day_ms = INT64_MIN};
        const struct tl_job_request was = r;
        char *storage;
        struct tl_err err = {.text = ""};
        enum tl_status st = tl_job_request_parse(tl_str(rows[i].text), &r, &storage, &err);
        if (st != rows[i].status || !strstr(err.text, rows[i].says))
            fail_msg("%s: %s: %s", rows[i].text, tl_status_name(st), err.text);
        assert_null(storage);
        assert_memory_equal(&r, &was, sizeof r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(damage_is_noticed), cmocka_unit_test(ids_are_in_order),
        cmocka_unit_test(requests),       cmocka_unit_test(bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
