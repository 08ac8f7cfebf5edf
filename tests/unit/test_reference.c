/* SPDX-License-Identifier: Apache-2.0 */
/* Every indicator against TA-Lib's outputs (../shared/reference), hash by hash over whole series; and, on every
 * machine, against the hashes that golden.inc keeps of a made-up market.
 *     test_reference                       both
 *     test_reference --write-golden FILE   writes golden.inc, only when the comparison with TA-Lib is there and green
 */
#include "support.h"
#include "reference_file.h"
#include "synthetic_bars.h"

static const char *const symbols[] = {
    "AAPL", "AMZN", "GE", "JPM", "XOM", "sh.600000", "sh.600519", "sz.000001",
};

/* Of TA-Lib's functions, those that the project promises. */
static const char *const promised[] = {
    "SMA",
    "EMA",
    "WMA",
    "DEMA",
    "TEMA",
    "MA",
    "MACD",
    "BBANDS",
    "SAR",
    "ADX",
    "ADXR",
    "PLUS_DI",
    "MINUS_DI",
    "DX",
    "RSI",
    "STOCH",
    "STOCHF",
    "STOCHRSI",
    "CCI",
    "MFI",
    "WILLR",
    "ROC",
    "ROCP",
    "ROCR",
    "MOM",
    "CMO",
    "TRIX",
    "APO",
    "PPO",
    "ATR",
    "NATR",
    "TRANGE",
    "OBV",
    "AD",
    "ADOSC",
    "STDDEV",
    "VAR",
    "LINEARREG",
    "TSF",
    "LINEARREG_SLOPE",
    "LINEARREG_INTERCEPT",
    "LINEARREG_ANGLE",
    "MAX",
    "MIN",
    "SUM",
    "MIDPOINT",
    "MIDPRICE",
    "AVGPRICE",
    "MEDPRICE",
    "TYPPRICE",
    "WCLPRICE",
    "AROON",
    "AROONOSC",
    "ULTOSC",
    "BOP",
    "CDLDOJI",
    "CDLHAMMER",
    "CDLENGULFING",
};

enum { PROMISED = sizeof promised / sizeof promised[0], GROUPS_MAX = 16 };

/* What became of the blocks of one group of functions. */
struct tally {
    const char *group;
    size_t same, differ, not_applicable;
};

struct outcome {
    struct tally tally[GROUPS_MAX];
    size_t groups;
    bool seen[PROMISED];
    bool there; /* the reference files were found */
};

static struct tally *tally_of(struct outcome *o, const char *group)
{
    for (size_t g = 0; g < o->groups; g++)
        if (strcmp(o->tally[g].group, group) == 0) return &o->tally[g];
    assert_true(o->groups < GROUPS_MAX);
    o->tally[o->groups].group = group;
    return &o->tally[o->groups++];
}

/* The block's parameters as ours. False when the set needs what the library does not have: another unstable period or
 * compatibility mode, other candle settings, a further moving average type. */
static bool spec_of(const struct ref_block *b, const struct tl_indicator_info *info, struct tl_spec *spec)
{
    *spec = (struct tl_spec){.info = info};
    if (b->set[0] != 'p' && !(b->set[0] == 'm' && b->set[1] != 's')) return false;
    size_t params = 0;
    for (const char *p = b->params; *p; p++) params += *p == '=';
    if (params != info->n_params) fail_msg("%s has %zu parameters, not %u", b->function, params, info->n_params);
    for (unsigned k = 0; k < info->n_params; k++) {
        const struct tl_param *p = &info->params[k];
        if (!ref_block_param(b, p->name, &spec->params[k])) fail_msg("%s has no %s", b->function, p->name);
        if (p->kind == TL_PARAM_MA_TYPE && spec->params[k] > p->max) return false;
        assert_true(spec->params[k] >= p->min && spec->params[k] <= p->max);
        if (strcmp(b->set, "p0") == 0 && spec->params[k] != p->def)
            fail_msg("%s: %s is %g by default, not %g", b->function, p->name, spec->params[k], p->def);
    }
    return true;
}

static void print_first_difference(const char *symbol, const struct ref_block *b, const struct synthetic_result *r,
                                   unsigned n_outputs)
{
    char *cursor = b->stored;
    size_t bar, shown = 0;
    double expected[TL_INDICATOR_OUTPUTS_MAX];
    while (shown < 1 && ref_block_row(&cursor, &bar, expected, n_outputs)) {
        for (unsigned k = 0; k < n_outputs && shown < 1; k++) {
            double got = r->out[k][bar - r->lookback];
            if (memcmp(&got, &expected[k], sizeof got) == 0) continue;
            printf("%s %s %s: bar %zu, output %u: expected %a, got %a\n", symbol, b->function, b->set, bar, k,
                   expected[k], got);
            shown++;
        }
    }
    if (shown == 0) printf("%s %s %s: differs in a bar that is not stored\n", symbol, b->function, b->set);
}

static bool block_is_same(const char *symbol, const struct ref_block *b, const struct tl_spec *spec,
                          const struct tl_input *in, size_t n)
{
    size_t lookback = tl_spec_lookback(spec);
    if (lookback != b->lookback || lookback != b->begin || n - lookback != b->rows ||
        spec->info->integer != b->integer) {
        printf("%s %s %s: lookback %zu of %zu bars, expected %zu and %zu rows\n", symbol, b->function, b->set, lookback,
               n, b->lookback, b->rows);
        return false;
    }
    struct synthetic_result r = synthetic_compute(spec, in, n);
    uint64_t hash = ref_fnv_begin();
    for (unsigned k = 0; k < spec->info->n_outputs; k++) hash = ref_fnv(hash, r.out[k], r.rows, b->integer);
    if (hash != b->fnv) print_first_difference(symbol, b, &r, spec->info->n_outputs);
    free(r.out[0]);
    return hash == b->fnv;
}

static void compare_block(struct outcome *o, const char *symbol, const struct ref_block *b, const struct tl_input *in,
                          size_t n)
{
    const struct tl_indicator_info *info = tl_indicator_find(b->function);
    struct tl_spec spec;
    if (!info) {
        tally_of(o, "not in the library")->not_applicable++;
        return;
    }
    struct tally *t = tally_of(o, info->group);
    if (!spec_of(b, info, &spec)) {
        t->not_applicable++;
        return;
    }
    bool same = block_is_same(symbol, b, &spec, in, n);
    t->same += same;
    t->differ += !same;
    for (size_t f = 0; f < PROMISED; f++) o->seen[f] |= strcmp(promised[f], b->function) == 0;
}

static void compare_symbol(struct outcome *o, const char *symbol)
{
    char name[64];
    struct ref_bars bars;
    struct ref_file file;
    struct ref_block block;
    snprintf(name, sizeof name, "reference/%s.input.csv", symbol);
    const char *path = tl_test_shared(name);
    if (!path) return;
    if (!ref_bars_load(&bars, path)) fail_msg("%s is malformed", path);
    snprintf(name, sizeof name, "reference/%s.ref", symbol);
    path = tl_test_shared(name);
    if (!path || !ref_file_load(&file, path)) fail_msg("%s cannot be read", name);
    struct tl_input in = {bars.open, bars.high, bars.low, bars.close, bars.volume};
    bool malformed;
    while (ref_file_next(&file, &block, &malformed)) compare_block(o, symbol, &block, &in, bars.n);
    if (malformed) fail_msg("%s: a block of %s is malformed", name, block.function);
    ref_file_release(&file);
    ref_bars_release(&bars);
    o->there = true;
}

/* Compares everything and prints the sums. False when anything differs or a promised function was not seen. */
static bool compare_all(struct outcome *o)
{
    *o = (struct outcome){0};
    for (size_t s = 0; s < sizeof symbols / sizeof symbols[0]; s++) compare_symbol(o, symbols[s]);
    if (!o->there) return true;
    struct tally all = {0};
    for (size_t g = 0; g < o->groups; g++) {
        struct tally *t = &o->tally[g];
        printf("%s: %zu of %zu blocks: implemented and bit-identical; %zu not applicable\n", t->group, t->same,
               t->same + t->differ + t->not_applicable, t->not_applicable);
        all.same += t->same;
        all.differ += t->differ;
        all.not_applicable += t->not_applicable;
    }
    printf("all: %zu of %zu blocks: implemented and bit-identical; %zu not applicable; %zu differ\n", all.same,
           all.same + all.differ + all.not_applicable, all.not_applicable, all.differ);
    bool complete = true;
    for (size_t f = 0; f < PROMISED; f++) {
        if (!o->seen[f]) printf("promised but not compared: %s\n", promised[f]);
        complete &= o->seen[f];
    }
    return complete && all.differ == 0;
}

static void test_same_bits_as_reference(void **state)
{
    (void)state;
    struct outcome o;
    bool green = compare_all(&o);
    if (!o.there) skip();
    assert_true(green);
}

struct golden {
    const char *spec;
    size_t rows;
    uint64_t fnv;
};

static const struct golden golden[] = {
#include "golden.inc"
};

enum { GOLDEN_BARS = 700, GOLDEN_SEED = 20240229 };

static struct golden golden_of(const struct tl_spec *spec, const struct synthetic_bars *bars, char text[96])
{
    assert_true(tl_spec_format(spec, text, 96) > 0);
    struct synthetic_result r = synthetic_compute(spec, &bars->in, bars->n);
    struct golden g = {text, r.rows, ref_fnv_begin()};
    for (unsigned k = 0; k < spec->info->n_outputs; k++) g.fnv = ref_fnv(g.fnv, r.out[k], r.rows, spec->info->integer);
    free(r.out[0]);
    return g;
}

static void test_same_bits_as_golden(void **state)
{
    (void)state;
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, GOLDEN_BARS, GOLDEN_SEED);
    size_t row = 0, wrong = 0;
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        struct tl_spec specs[SYNTHETIC_SPECS_MAX];
        size_t n = synthetic_specs(tl_indicator_at(i), specs);
        for (size_t s = 0; s < n; s++, row++) {
            char text[96];
            struct golden g = golden_of(&specs[s], &bars, text);
            if (row >= sizeof golden / sizeof golden[0]) fail_msg("golden.inc ends before %s", text);
            assert_string_equal(g.spec, golden[row].spec);
            assert_int_equal(g.rows, golden[row].rows);
            if (g.fnv == golden[row].fnv) continue;
            printf("%s: %016llx, golden.inc has %016llx\n", text, (unsigned long long)g.fnv,
                   (unsigned long long)golden[row].fnv);
            wrong++;
        }
    }
    synthetic_bars_release(&bars);
    assert_int_equal(row, sizeof golden / sizeof golden[0]);
    assert_int_equal(wrong, 0);
}

static int write_golden(const char *path)
{
    struct outcome o;
    if (!compare_all(&o) || !o.there) {
        fprintf(stderr, "not written: the comparison with the reference is %s\n", o.there ? "red" : "not possible");
        return 1;
    }
    FILE *f = fopen(path, "w");
    if (!f) {
        perror(path);
        return 1;
    }
    fprintf(f, "/* SPDX-License-Identifier: Apache-2.0 */\n/* Written by test_reference --write-golden. */\n");
    struct synthetic_bars bars;
    synthetic_bars_make(&bars, GOLDEN_BARS, GOLDEN_SEED);
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        struct tl_spec specs[SYNTHETIC_SPECS_MAX];
        size_t n = synthetic_specs(tl_indicator_at(i), specs);
        for (size_t s = 0; s < n; s++) {
            char text[96];
            struct golden g = golden_of(&specs[s], &bars, text);
            fprintf(f, "{\"%s\", %zu, 0x%016llx},\n", g.spec, g.rows, (unsigned long long)g.fnv);
        }
    }
    synthetic_bars_release(&bars);
    return fclose(f) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write-golden") == 0) return write_golden(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_as_reference),
        cmocka_unit_test(test_same_bits_as_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
