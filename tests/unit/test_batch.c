/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: the same bits as computing each spec alone, whatever else is in the batch and in whatever order; items that
 * cannot be computed fail alone. Every output is an allocation of its own, for the sanitizers. */
#include "support.h"
#include "synthetic_bars.h"

enum { BARS = 500, SEED = 11, ITEMS_MAX = 2048 };

struct batch {
    size_t n;
    struct tl_batch_item items[ITEMS_MAX];
};

static void add(struct batch *b, const struct tl_spec *spec, size_t bars)
{
    assert_true(b->n < ITEMS_MAX);
    struct tl_batch_item *item = &b->items[b->n++];
    *item = (struct tl_batch_item){.spec = *spec, .status = TL_INTERNAL};
    size_t lookback = tl_spec_lookback(spec), rows = bars > lookback ? bars - lookback : 1;
    for (unsigned k = 0; k < spec->info->n_outputs; k++) {
        item->out[k] = malloc(rows * sizeof(double));
        assert_non_null(item->out[k]);
        memset(item->out[k], 0xee, rows * sizeof(double));
    }
}

static struct tl_batch_item *add_text(struct batch *b, const char *text, size_t bars)
{
    struct tl_spec spec;
    assert_int_equal(tl_spec_parse(text, &spec, NULL), TL_OK);
    add(b, &spec, bars);
    return &b->items[b->n - 1];
}

static void release(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (unsigned k = 0; k < TL_INDICATOR_OUTPUTS_MAX; k++) free(b->items[i].out[k]);
    b->n = 0;
}

static void assert_as_alone(const struct tl_batch_item *item, const struct tl_input *in, size_t n)
{
    struct synthetic_result alone = synthetic_compute(&item->spec, in, n);
    char text[96];
    tl_spec_format(&item->spec, text, sizeof text);
    assert_int_equal(item->status, TL_OK);
    for (unsigned k = 0; k < item->spec.info->n_outputs; k++)
        if (memcmp(item->out[k], alone.out[k], alone.rows * sizeof(double)) != 0)
            fail_msg("%s: output %u differs from computing it alone", text, k);
    free(alone.out[0]);
}

/* All indicators with all their variants, forwards or backwards, `times` over. */
static void everything(bool backwards, size_t times)
{
    static struct batch b;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, BARS, SEED);
    size_t count = tl_indicator_count();
    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < count; i++) {
            struct tl_spec specs[SYNTHETIC_SPECS_MAX];
            size_t n = synthetic_specs(tl_indicator_at(backwards ? count - 1 - i : i), specs);
            for (size_t s = 0; s < n; s++)
                if (tl_spec_lookback(&specs[s]) < BARS) add(&b, &specs[backwards ? n - 1 - s : s], BARS);
        }
    }
    struct tl_err err = {0};
    assert_int_equal(tl_indicator_batch(b.items, b.n, &bars.in, bars.n, &err), TL_OK);
    for (size_t i = 0; i < b.n; i++) assert_as_alone(&b.items[i], &bars.in, bars.n);
    release(&b);
    synthetic_bars_release(&bars);
}

static void test_same_bits_as_alone(void **state)
{
    (void)state;
    everything(false, 1);
    everything(true, 1);
}

static void test_duplicates(void **state)
{
    (void)state;
    everything(false, 3);
}

/* Each alone in a batch: all its intermediates are the batch's own. */
static void test_one_item(void **state)
{
    (void)state;
    static struct batch b;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, BARS, SEED + 1);
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        struct tl_spec specs[SYNTHETIC_SPECS_MAX];
        size_t n = synthetic_specs(tl_indicator_at(i), specs);
        for (size_t s = 0; s < n; s++) {
            size_t lookback = tl_spec_lookback(&specs[s]);
            /* As few bars as can be, and more. */
            for (size_t extra = 1; extra <= 200; extra = extra * 5 + 1) {
                if (lookback + extra > BARS) continue;
                add(&b, &specs[s], lookback + extra);
                assert_int_equal(tl_indicator_batch(b.items, 1, &bars.in, lookback + extra, NULL), TL_OK);
                assert_as_alone(&b.items[0], &bars.in, lookback + extra);
                release(&b);
            }
        }
    }
    synthetic_bars_release(&bars);
}

static void test_items_fail_alone(void **state)
{
    (void)state;
    static struct batch b;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, 40, SEED);
    struct tl_input in = bars.in;
    in.volume = NULL;
    add_text(&b, "SMA(5)", 40);
    add_text(&b, "SMA(40)", 40);
    add_text(&b, "SMA(41)", 40);
    add_text(&b, "OBV", 40);
    add_text(&b, "SMA(5)", 40)->spec.params[0] = 1;
    add_text(&b, "SMA(5)", 40)->spec.params[0] = 5.5;
    add_text(&b, "MA(5)", 40)->spec.params[1] = 5;
    add_text(&b, "BBANDS(5)", 40);
    add_text(&b, "SMA(5)", 40)->spec.info = NULL;
    struct tl_batch_item *no_place = add_text(&b, "MACD(2,3,4)", 40);
    free(no_place->out[1]);
    no_place->out[1] = NULL;
    static const enum tl_status expected[] = {TL_OK,      TL_OK,      TL_TOO_FEW_BARS, TL_INVALID, TL_INVALID,
                                              TL_INVALID, TL_INVALID, TL_OK,           TL_INVALID, TL_INVALID};
    struct tl_err err = {0};
    assert_int_equal(tl_indicator_batch(b.items, b.n, &in, 40, &err), TL_SOME_FAILED);
    assert_int_equal(err.status, TL_SOME_FAILED);
    assert_string_equal(err.text, "SMA: 40 bars, 41 needed");
    for (size_t i = 0; i < b.n; i++) {
        assert_int_equal(b.items[i].status, expected[i]);
        if (expected[i] == TL_OK) assert_as_alone(&b.items[i], &in, 40);
    }
    assert_int_equal(tl_indicator_batch(b.items, b.n, &in, 40, NULL), TL_SOME_FAILED);
    assert_int_equal(tl_indicator_batch(b.items, b.n, &in, 0, NULL), TL_SOME_FAILED);
    assert_int_equal(b.items[0].status, TL_TOO_FEW_BARS);
    assert_int_equal(tl_indicator_batch(b.items, b.n, NULL, 40, NULL), TL_SOME_FAILED);
    assert_int_equal(b.items[0].status, TL_INVALID);
    release(&b);
    synthetic_bars_release(&bars);
}

static void test_nothing(void **state)
{
    (void)state;
    struct tl_input in = {0};
    assert_int_equal(tl_indicator_batch(NULL, 0, &in, 100, NULL), TL_OK);
    assert_int_equal(tl_indicator_batch(NULL, 1, &in, 100, NULL), TL_INVALID);
}

/* More bars than memory could hold is an answer, not an overflow. */
static void test_too_large(void **state)
{
    (void)state;
    double one[1] = {1}, out[1];
    struct tl_input in = {one, one, one, one, one};
    struct tl_batch_item item = {.out = {out, out, out}};
    struct tl_err err = {0};
    assert_int_equal(tl_spec_parse("STOCHRSI", &item.spec, NULL), TL_OK);
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 8, SIZE_MAX / 8 / 4096 + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(tl_indicator_compute(&item.spec, &in, sizes[i], item.out, &err), TL_NOMEM);
        assert_int_equal(tl_indicator_batch(&item, 1, &in, sizes[i], &err), TL_SOME_FAILED);
        assert_int_equal(item.status, TL_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_as_alone), cmocka_unit_test(test_duplicates), cmocka_unit_test(test_one_item),
        cmocka_unit_test(test_items_fail_alone),   cmocka_unit_test(test_nothing),    cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
