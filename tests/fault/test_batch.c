/* SPDX-License-Identifier: Apache-2.0 */
/* Indicators with the n-th allocation failing, for every n: NOMEM for the call and for every item that could have been
 * computed, or the same values as ever; never a crash, and no leak (under a sanitizer). */
#include "../support.h"

#include "alloc.h"

#include <tierline/indicator.h>

enum { BARS = 200, ITEMS = 7 };

static const char *const texts[ITEMS] = {"BBANDS(20)", "SMA(20)", "STOCHRSI", "ADXR(14)", "SMA(20)", "PPO", "SMA(201)"};
static double column[BARS], results[2][ITEMS][TL_INDICATOR_OUTPUTS_MAX][BARS];
static const struct tl_input in = {column, column, column, column, column};

static enum tl_status compute(struct tl_batch_item items[ITEMS], int into, struct tl_err *err)
{
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct tl_batch_item){.status = TL_INTERNAL};
        assert_int_equal(tl_spec_parse(texts[i], &items[i].spec, NULL), TL_OK);
        for (int k = 0; k < TL_INDICATOR_OUTPUTS_MAX; k++) items[i].out[k] = results[into][i][k];
    }
    return tl_indicator_batch(items, ITEMS, &in, BARS, err);
}

static void test_batch(void **state)
{
    (void)state;
    struct tl_batch_item items[ITEMS];
    long failures = 0;
    for (int i = 0; i < BARS; i++) column[i] = 100 + (i * 37) % 23;
    assert_int_equal(compute(items, 0, NULL), TL_SOME_FAILED);
    for (;; failures++) {
        struct tl_err err = {0};
        memset(results[1], 0, sizeof results[1]);
        fault_alloc_arm(failures);
        enum tl_status st = compute(items, 1, &err);
        if (!fault_alloc_disarm()) {
            assert_int_equal(st, TL_SOME_FAILED);
            break;
        }
        assert_int_equal(st, TL_NOMEM);
        assert_int_equal(err.status, TL_NOMEM);
        for (int i = 0; i < ITEMS; i++) assert_true(items[i].status == TL_NOMEM || i == ITEMS - 1);
        assert_true(items[ITEMS - 1].status == TL_NOMEM || items[ITEMS - 1].status == TL_TOO_FEW_BARS);
    }
    assert_true(failures > 5);
    assert_memory_equal(results[0], results[1], sizeof results[0]);
    for (int i = 0; i < ITEMS - 1; i++) assert_int_equal(items[i].status, TL_OK);
    assert_int_equal(items[ITEMS - 1].status, TL_TOO_FEW_BARS);
}

static void test_alone(void **state)
{
    (void)state;
    for (int i = 0; i < ITEMS - 1; i++) {
        struct tl_spec spec;
        struct tl_err err = {0};
        double *out[TL_INDICATOR_OUTPUTS_MAX] = {results[1][i][0], results[1][i][1], results[1][i][2]};
        assert_int_equal(tl_spec_parse(texts[i], &spec, NULL), TL_OK);
        fault_alloc_arm(0);
        enum tl_status st = tl_indicator_compute(&spec, &in, BARS, out, &err);
        bool failed = fault_alloc_disarm();
        assert_int_equal(st, failed ? TL_NOMEM : TL_OK);
        fault_alloc_arm(1); /* there is no second one */
        assert_int_equal(tl_indicator_compute(&spec, &in, BARS, out, &err), TL_OK);
        assert_false(fault_alloc_disarm());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
