/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes, positions and the data of a task's state: what is written reads back to the same bytes, what is bad is
 * refused by name. */
#include "support.h"

#include "base/util.h"
#include "event/bus.h"
#include "event/types.h"

#include <jansson.h>

static void positions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t epoch_ms;
        uint64_t seq;
    } rows[] = {{"1700000000000-12", true, 1700000000000, 12},
                {"0-0", true, 0, 0},
                {"9223372036854775807-18446744073709551615", true, INT64_MAX, UINT64_MAX},
                {"9223372036854775808-1", false, 0, 0},
                {"1-18446744073709551616", false, 0, 0},
                {"1-", false, 0, 0},
                {"-1", false, 0, 0},
                {"", false, 0, 0},
                {"1", false, 0, 0},
                {"01-1", false, 0, 0},
                {"1-01", false, 0, 0},
                {"1--1", false, 0, 0},
                {"+1-1", false, 0, 0},
                {" 1-1", false, 0, 0},
                {"1-1 ", false, 0, 0},
                {"1-1-1", false, 0, 0}};
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_position p = {7, 7};
        if (tl_position_parse(tl_str(rows[i].text), &p) != rows[i].ok) fail_msg("\"%s\"", rows[i].text);
        if (!rows[i].ok) continue;
        char text[TL_POSITION_MAX];
        assert_int_equal(p.epoch_ms, rows[i].epoch_ms);
        assert_true(p.seq == rows[i].seq);
        tl_position_format(p, text);
        assert_string_equal(text, rows[i].text);
    }
    assert_true(tl_position_cmp((struct tl_position){1, 9}, (struct tl_position){2, 1}) < 0);
    assert_true(tl_position_cmp((struct tl_position){2, 1}, (struct tl_position){2, 1}) == 0);
    assert_true(tl_position_cmp((struct tl_position){2, 10}, (struct tl_position){2, 9}) > 0);
}

static void types(void **state)
{
    (void)state;
    static const char *const good[] = {"task.started.v1", "task.item.failed.v1", "task.my_step.v12"};
    static const char *const bad[] = {"task.v1",
                                      "task..v1",
                                      "task.started",
                                      "task.started.v0",
                                      "task.started.v1x",
                                      "Task.start.v1",
                                      "market.update.v1",
                                      "task.a b.v1",
                                      "task.started.v",
                                      "task.x",
                                      ""};
    for (size_t i = 0; i < TL_COUNT(good); i++) assert_true(tl_event_type_of_task(good[i]));
    for (size_t i = 0; i < TL_COUNT(bad); i++)
        if (tl_event_type_of_task(bad[i])) fail_msg("\"%s\"", bad[i]);
}

/* The same bytes again, and every field. */
static void round_trip(const char *topic, const char *type, struct tl_position p, const char *data)
{
    struct tl_err err;
    struct tl_event *e = tl_event_new(topic, type, p, 0xabcdef0123456789, 1704164645678, tl_str(data)), *again;
    assert_non_null(e);
    json_t *root = json_loads(e->json, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "specversion")), "1.0");
    assert_string_equal(json_string_value(json_object_get(root, "source")), "tierline/abcdef0123456789");
    assert_string_equal(json_string_value(json_object_get(root, "subject")), topic);
    assert_string_equal(json_string_value(json_object_get(root, "type")), type);
    assert_string_equal(json_string_value(json_object_get(root, "time")), "2024-01-02T03:04:05.678Z");
    json_decref(root);
    enum tl_status st = tl_event_parse((struct tl_str){e->json, e->n}, &again, &err);
    if (st != TL_OK) fail_msg("%s: %s", e->json, err.text);
    assert_string_equal(again->json, e->json);
    assert_int_equal(again->kind, e->kind);
    assert_int_equal(again->item, e->item);
    assert_int_equal(again->last, e->last);
    assert_int_equal(again->time_ms, e->time_ms);
    assert_int_equal(tl_position_cmp(again->position, p), 0);
    struct tl_str d = tl_event_data(again);
    assert_true(tl_str_eq(d, tl_str(data)));
    tl_event_unref(e);
    tl_event_unref(again);
}

static void envelopes(void **state)
{
    (void)state;
    struct tl_position p = {1700000000000, 12}, none = {0, 0};
    static const char *const data[] = {"",
                                       "{}",
                                       "null",
                                       "-1.5e-7",
                                       "\"a,\\\"data\\\":}\"",
                                       "[1,[2,{\"data\":[3]}]]",
                                       "{ \"x\" : 0.1 , \"data\":\"y\"}",
                                       "true",
                                       "\"\\u4e2d\""};
    for (size_t i = 0; i < TL_COUNT(data); i++) {
        round_trip("task/7f3a", "task.progress.v1", p, data[i]);
        round_trip("task/7f3a", "task.item.failed.v1", p, data[i]);
        round_trip("market/600519.SH", "market.update.v1", none, data[i]);
        round_trip("indicator/AAPL/1d/MACD(12,26,9)", "indicator.update.v1", none, data[i]);
    }
    round_trip("x\"y\\z \xe4\xb8\xad", "x.v1", none, "{}");
}

static void example(void **state)
{
    (void)state;
    struct tl_event *e = tl_event_new("task/7f3a", "task.progress.v1", (struct tl_position){1700000000000, 12}, 1,
                                      1704164645678, TL_STR("{\"done\":1}"));
    assert_string_equal(
        e->json,
        "{\"specversion\":\"1.0\",\"id\":\"task/7f3a/1700000000000-12\",\"source\":\"tierline/0000000000000001\","
        "\"type\":\"task.progress.v1\",\"subject\":\"task/7f3a\",\"time\":\"2024-01-02T03:04:05.678Z\","
        "\"sequence\":\"1700000000000-12\",\"data\":{\"done\":1}}");
    assert_int_equal(e->kind, TL_EVENT_STATE);
    assert_false(e->last || e->item);
    tl_event_unref(e);
    e = tl_event_new("task/7f3a", "task.completed.v1", (struct tl_position){1, 1}, 1, 0, TL_STR(""));
    assert_true(e->last && e->kind == TL_EVENT_LIFECYCLE);
    assert_int_equal(tl_event_data(e).n, 0);
    tl_event_unref(e);
}

/* Another program's order, blanks and extensions. */
static void foreign(void **state)
{
    (void)state;
    struct tl_event *e;
    const char *text = " { \"data\" : { \"a\" : [ 1 , \"}\" ] } , \"x\":{\"data\":1},\"time\":\"2024-01-02T03:04:05Z\","
                       "\"type\":\"task.item.completed.v1\",\"id\":\"9\",\"source\":\"/batch\",\"specversion\":\"1.0\","
                       "\"subject\":\"task/b\",\"sequence\":\"5-1\",\"traceparent\":\"00\"}";
    assert_int_equal(tl_event_parse(tl_str(text), &e, NULL), TL_OK);
    assert_true(tl_str_eq(tl_event_data(e), TL_STR("{ \"a\" : [ 1 , \"}\" ] }")));
    assert_true(e->item && e->time_ms == 1704164645000);
    assert_non_null(strstr(e->json, "\"id\":\"9\",\"source\":\"/batch\""));
    tl_event_unref(e);
}

#define HEAD "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\","
#define TAIL "\"type\":\"t.v1\",\"subject\":\"x\",\"time\":\"2024-01-02T03:04:05Z\"}"

static void bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *names;
    } rows[] = {
        {"", "no bytes"},
        {"nonsense", "not an event"},
        {"[]", "not an object"},
        {"{}", "specversion"},
        {HEAD "\"type\":\"t.v1\",\"subject\":\"x\"}", "\"time\""},
        {HEAD "\"subject\":\"x\",\"time\":\"2024-01-02T03:04:05Z\"}", "\"type\""},
        {HEAD "\"type\":7,\"subject\":\"x\",\"time\":\"2024-01-02T03:04:05Z\"}", "\"type\""},
        {HEAD "\"type\":\"a b\",\"subject\":\"x\",\"time\":\"2024-01-02T03:04:05Z\"}", "a b"},
        {HEAD "\"type\":\"t.v1\",\"subject\":\"\",\"time\":\"2024-01-02T03:04:05Z\"}", "\"subject\""},
        {HEAD "\"type\":\"t.v1\",\"subject\":\"a\\u0001\",\"time\":\"2024-01-02T03:04:05Z\"}", "control"},
        {HEAD "\"type\":\"t.v1\",\"subject\":\"x\",\"time\":\"2024\"}", "2024"},
        {HEAD "\"type\":\"t.v1\",\"subject\":\"x\",\"time\":\"2024-02-30T03:04:05Z\"}", "2024-02-30"},
        {HEAD "\"type\":\"t.v1\",\"subject\":\"x\",\"time\":\"2024-01-02T03:04:05+01:00\"}", "+01:00"},
        {HEAD "\"sequence\":\"1\"," TAIL, "sequence \"1\""},
        {HEAD "\"sequence\":\"0-0\"," TAIL, "sequence"},
        {HEAD "\"sequence\":12," TAIL, "sequence"},
        {HEAD "\"data\":1,\"data\":2," TAIL, "not an event"},
        {HEAD "\"d\\u0061ta\":1," TAIL, "data"},
        {HEAD "\n" TAIL, "one line"},
        {"{\"specversion\":\"2.0\",\"id\":\"1\",\"source\":\"s\"," TAIL, "CloudEvents 2.0"},
        {HEAD TAIL "x", "not an event"},
    };
    struct tl_event *e;
    struct tl_err err;
    assert_int_equal(tl_event_parse(TL_STR(HEAD TAIL), &e, &err), TL_OK);
    tl_event_unref(e);
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        if (tl_event_parse(tl_str(rows[i].text), &e, &err) != TL_INVALID) fail_msg("taken: %s", rows[i].text);
        assert_null(e);
        if (!strstr(err.text, rows[i].names)) fail_msg("%s: %s", rows[i].text, err.text);
    }
}

static void sizes(void **state)
{
    (void)state;
    char *big = tl_calloc(TL_EVENT_BYTES_MAX + 100, 1);
    struct tl_event *e;
    memset(big, 'x', TL_EVENT_BYTES_MAX + 10);
    assert_int_equal(tl_event_parse(tl_str(big), &e, NULL), TL_INVALID);
    big[0] = big[TL_EVENT_BYTES_MAX - 1] = '"';
    big[TL_EVENT_BYTES_MAX] = '\0';
    assert_null(tl_event_new("x", "t.v1", (struct tl_position){0, 0}, 1, 0, tl_str(big)));
    big[60000] = '"';
    big[60001] = '\0';
    round_trip("x", "t.v1", (struct tl_position){0, 0}, big);
    free(big);
}

static void progress(void **state)
{
    (void)state;
    struct tl_task_progress p = {.state = TL_TASK_RUNNING,
                                 .done = 5,
                                 .total = 300,
                                 .failed = 1,
                                 .skipped = 2,
                                 .from_cache = 3,
                                 .computed = 4,
                                 .waited = 6,
                                 .rate = 0.1,
                                 .eta_ms = -1,
                                 .item = "600519.SH",
                                 .elapsed_ms = 1234},
                            q;
    char id[TL_TOPIC_MAX + 1], name[72];
    struct tl_buf text, again;
    tl_buf_init(&text, 0);
    tl_buf_init(&again, 0);
    tl_task_progress_json(&text, "7f3a", "daily", &p);
    assert_string_equal(text.p, "{\"task\":\"7f3a\",\"name\":\"daily\",\"state\":\"running\",\"done\":5,\"total\":300,"
                                "\"failed\":1,\"skipped\":2,\"from_cache\":3,\"computed\":4,\"waited\":6,\"rate\":0.1,"
                                "\"eta_ms\":null,\"item\":\"600519.SH\",\"elapsed_ms\":1234}");
    assert_int_equal(tl_task_progress_parse(tl_buf_str(&text), id, name, &q, NULL), TL_OK);
    tl_task_progress_json(&again, id, name, &q);
    assert_string_equal(again.p, text.p);
    p.eta_ms = 0;
    p.state = TL_TASK_FAILED;
    snprintf(p.error, sizeof p.error, "no \"bars\"");
    tl_buf_clear(&text);
    tl_buf_clear(&again);
    tl_task_progress_json(&text, "7f3a", "daily", &p);
    assert_int_equal(tl_task_progress_parse(tl_buf_str(&text), id, name, &q, NULL), TL_OK);
    assert_string_equal(q.error, p.error);
    assert_int_equal(q.eta_ms, 0);
    tl_buf_release(&text);
    tl_buf_release(&again);
}

static void bad_progress(void **state)
{
    (void)state;
    char id[TL_TOPIC_MAX + 1], name[72], text[600], long_item[200];
    struct tl_task_progress q;
    static const char *const rows[] = {"", "[]", "{}", "{\"state\":\"no\"}", "{\"state\":1}", "{\"state\":\"running\""};
    for (size_t i = 0; i < TL_COUNT(rows); i++)
        assert_int_equal(tl_task_progress_parse(tl_str(rows[i]), id, name, &q, NULL), TL_INVALID);
    for (size_t i = 0; i < 198; i += 3) memcpy(long_item + i, "\xe4\xb8\xad", 3);
    long_item[198] = '\0';
    snprintf(text, sizeof text, "{\"state\":\"running\",\"done\":-3,\"total\":\"7\",\"eta_ms\":-1,\"item\":\"%s\"}",
             long_item);
    assert_int_equal(tl_task_progress_parse(tl_str(text), id, name, &q, NULL), TL_OK);
    assert_int_equal(strlen(q.item), 69); /* whole characters */
    assert_true(q.done == 0 && q.total == 0 && q.eta_ms == -1);
    for (int s = TL_TASK_QUEUED; s <= TL_TASK_CANCELLED; s++) {
        enum tl_task_state back;
        assert_true(tl_task_state_parse(tl_str(tl_task_state_name((enum tl_task_state)s)), &back));
        assert_int_equal(back, s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions), cmocka_unit_test(types),    cmocka_unit_test(envelopes),
        cmocka_unit_test(example),   cmocka_unit_test(foreign),  cmocka_unit_test(bad),
        cmocka_unit_test(sizes),     cmocka_unit_test(progress), cmocka_unit_test(bad_progress),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
