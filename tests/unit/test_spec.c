/* SPDX-License-Identifier: Apache-2.0 */
/* Specs as text, and the registry that they name. */
#include "support.h"

#include "base/util.h"

#include <tierline/indicator.h>

static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        {"SMA", "SMA(30)"},
        {"sma(5)", "SMA(5)"},
        {" \tSma ( 5 ) \n", "SMA(5)"},
        {"SMA()", "SMA(30)"},
        {"SMA( )", "SMA(30)"},
        {"SMA(+5)", "SMA(5)"},
        {"SMA(5.0)", "SMA(5)"},
        {"SMA(1e5)", "SMA(100000)"},
        {"SMA(100000)", "SMA(100000)"},
        {"SMA(00005)", "SMA(5)"},
        {"MACD", "MACD(12,26,9)"},
        {"macd(5)", "MACD(5,26,9)"},
        {"MACD( 5 , 7 )", "MACD(5,7,9)"},
        {"MACD(5,7,1)", "MACD(5,7,1)"},
        {"BBANDS", "BBANDS(5,2,2,SMA)"},
        {"BBANDS(20)", "BBANDS(20,2,2,SMA)"},
        {"bbands(20,2.5,-1e-3,ema)", "BBANDS(20,2.5,-0.001,EMA)"},
        {"BBANDS(20,-0,0,0)", "BBANDS(20,0,0,SMA)"},
        {"BBANDS(20,0.1,0.30000000000000004)", "BBANDS(20,0.1,0.30000000000000004,SMA)"},
        {"BBANDS(20,3e37,-3e37,4)", "BBANDS(20,3e+37,-3e+37,TEMA)"},
        {"MA(10,0)", "MA(10,SMA)"},
        {"MA(10,1)", "MA(10,EMA)"},
        {"MA(10,2)", "MA(10,WMA)"},
        {"MA(10,3)", "MA(10,DEMA)"},
        {"MA(10,tema)", "MA(10,TEMA)"},
        {"MA(1)", "MA(1,SMA)"},
        {"OBV", "OBV"},
        {"obv()", "OBV"},
        {"STOCH", "STOCH(5,3,SMA,3,SMA)"},
        {"STOCHRSI", "STOCHRSI(14,5,3,SMA)"},
        {"KDJ", "KDJ(9,3,3)"},
        {"LinearReg_Slope", "LINEARREG_SLOPE(14)"},
        {"SAR", "SAR(0.02,0.2)"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_spec spec, again;
        struct tl_err err = {0};
        char text[96];
        if (tl_spec_parse(rows[i].text, &spec, &err) != TL_OK) fail_msg("\"%s\": %s", rows[i].text, err.text);
        assert_int_equal(tl_spec_format(&spec, text, sizeof text), strlen(rows[i].canonical));
        assert_string_equal(text, rows[i].canonical);
        assert_int_equal(tl_spec_parse(text, &again, &err), TL_OK);
        assert_memory_equal(&spec, &again, sizeof spec);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tl_status status;
        uint32_t column;
        const char *says;
    } rows[] = {
        {"", TL_PARSE, 1, "the name of an indicator is missing"},
        {"   ", TL_PARSE, 4, "the name of an indicator is missing"},
        {"(5)", TL_PARSE, 1, "the name of an indicator is missing"},
        {"SMA(5", TL_PARSE, 4, "\"SMA(5\": the parenthesis is not closed"},
        {" SMA(", TL_PARSE, 5, "\"SMA(\": the parenthesis is not closed"},
        {"SMA)", TL_PARSE, 4, "\"SMA)\" is not an indicator: NAME or NAME(p1,p2,...)"},
        {"SMA 5", TL_PARSE, 4, "\"SMA 5\" is not an indicator: NAME or NAME(p1,p2,...)"},
        {"SMA(5)x", TL_PARSE, 7, "\"SMA(5)x\": something stands behind the parenthesis"},
        {"SMA(5))", TL_PARSE, 7, "\"SMA(5))\": something stands behind the parenthesis"},
        {"SMA((5)", TL_PARSE, 5, "SMA TimePeriod: \"(5\" is not a number (2..100000)"},
        {"SMA(5,)", TL_PARSE, 7, "SMA: an empty parameter"},
        {"SMA(,)", TL_PARSE, 5, "SMA: an empty parameter"},
        {"MACD(5,,9)", TL_PARSE, 8, "MACD: an empty parameter"},
        {"SMA(x)", TL_PARSE, 5, "SMA TimePeriod: \"x\" is not a number (2..100000)"},
        {"SMA(0x10)", TL_PARSE, 5, "SMA TimePeriod: \"0x10\" is not a number (2..100000)"},
        {"SMA(nan)", TL_PARSE, 5, "SMA TimePeriod: \"nan\" is not a number (2..100000)"},
        {"BBANDS(20,inf)", TL_PARSE, 11, "BBANDS NbDevUp: \"inf\" is not a number (-3e+37..3e+37)"},
        {"SMA(1)", TL_INVALID, 5, "SMA TimePeriod: 1 is out of range (2..100000)"},
        {"SMA( -5)", TL_INVALID, 6, "SMA TimePeriod: -5 is out of range (2..100000)"},
        {"SMA(100001)", TL_INVALID, 5, "SMA TimePeriod: 100001 is out of range (2..100000)"},
        {"SMA(1e400)", TL_INVALID, 5, "SMA TimePeriod: 1e400 is out of range (2..100000)"},
        {"SMA(5.5)", TL_INVALID, 5, "SMA TimePeriod: 5.5 is not a whole number (2..100000)"},
        {"SMA(5,6)", TL_INVALID, 7, "SMA: too many parameters, it takes 1"},
        {"OBV(1)", TL_INVALID, 5, "OBV: too many parameters, it takes 0"},
        {"MA(10,5)", TL_INVALID, 7, "MA MAType: 5 is out of range (SMA EMA WMA DEMA TEMA)"},
        {"MA(10,0.5)", TL_INVALID, 7, "MA MAType: 0.5 is out of range (SMA EMA WMA DEMA TEMA)"},
        {"MA(10,KAMA)", TL_INVALID, 7, "MA MAType: \"KAMA\" is not a type of moving average (SMA EMA WMA DEMA TEMA)"},
        {"BBANDS(20,1e38)", TL_INVALID, 11, "BBANDS NbDevUp: 1e38 is out of range (-3e+37..3e+37)"},
        {"MACDX", TL_NOT_FOUND, 1, "no indicator \"MACDX\"; did you mean MACD?"},
        {" smma(5)", TL_NOT_FOUND, 2, "no indicator \"smma\"; did you mean SMA?"},
        {"XYZZYX", TL_NOT_FOUND, 1, "no indicator \"XYZZYX\""},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_spec spec, before;
        memset(&spec, 0x5a, sizeof spec);
        before = spec;
        struct tl_err err = {0};
        enum tl_status st = tl_spec_parse(rows[i].text, &spec, &err);
        if (st != rows[i].status || err.status != st || err.column != rows[i].column ||
            strcmp(err.text, rows[i].says) != 0)
            fail_msg("\"%s\": %s at %u: %s", rows[i].text, tl_status_name(st), err.column, err.text);
        assert_memory_equal(&spec, &before, sizeof spec);
        assert_int_equal(tl_spec_parse(rows[i].text, &spec, NULL), rows[i].status);
    }
    assert_int_equal(tl_spec_parse(NULL, &(struct tl_spec){0}, NULL), TL_INVALID);
}

static void test_hostile_length(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    char *text = tl_calloc(LONG + 1, 1);
    struct tl_spec spec;
    struct tl_err err;
    assert_non_null(text);
    memset(text, 'A', LONG);
    assert_int_equal(tl_spec_parse(text, &spec, &err), TL_NOT_FOUND);
    memset(text, ',', LONG);
    memcpy(text, "SMA(5", 5);
    assert_int_equal(tl_spec_parse(text, &spec, &err), TL_PARSE);
    text[LONG - 1] = ')';
    assert_int_equal(tl_spec_parse(text, &spec, &err), TL_PARSE);
    memset(text + 4, '9', LONG - 5);
    assert_int_equal(tl_spec_parse(text, &spec, &err), TL_INVALID);
    memset(text + 4, ' ', LONG - 5);
    assert_int_equal(tl_spec_parse(text, &spec, &err), TL_OK);
    free(text);
}

static void test_format_bounds(void **state)
{
    (void)state;
    struct tl_spec spec;
    assert_int_equal(tl_spec_parse("BBANDS(20,2.5)", &spec, NULL), TL_OK);
    static const char expected[] = "BBANDS(20,2.5,2,SMA)";
    for (size_t cap = 0; cap < sizeof expected + 8; cap++) {
        char *out = malloc(cap + 1); /* exact: the sanitizer sees a byte too many */
        assert_non_null(out);
        out[cap] = 'x';
        size_t n = tl_spec_format(&spec, out, cap);
        assert_int_equal(out[cap], 'x');
        if (cap < sizeof expected) {
            assert_int_equal(n, 0);
        } else {
            assert_int_equal(n, sizeof expected - 1);
            assert_string_equal(out, expected);
        }
        free(out);
    }
    assert_int_equal(tl_spec_parse("OBV", &spec, NULL), TL_OK);
    char out[4];
    assert_int_equal(tl_spec_format(&spec, out, 3), 0);
    assert_int_equal(tl_spec_format(&spec, out, 4), 3);
}

/* 96 bytes hold every spec, whatever its parameters. */
static void test_longest(void **state)
{
    (void)state;
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        struct tl_spec spec = {.info = tl_indicator_at(i)}, again;
        for (unsigned k = 0; k < spec.info->n_params; k++) {
            const struct tl_param *p = &spec.info->params[k];
            spec.params[k] = p->kind == TL_PARAM_REAL  ? (p->min < 0 ? -1.2345678901234567e-30 : 1.2345678901234567e-30)
                             : p->kind == TL_PARAM_INT ? p->max
                                                       : 3;
        }
        char text[96];
        size_t n = tl_spec_format(&spec, text, sizeof text);
        assert_true(n > 0);
        assert_int_equal(tl_spec_parse(text, &again, NULL), TL_OK);
        assert_memory_equal(&spec, &again, sizeof spec);
    }
}

static void test_registry(void **state)
{
    (void)state;
    assert_true(tl_indicator_count() >= 59);
    assert_null(tl_indicator_at(tl_indicator_count()));
    assert_null(tl_indicator_at(SIZE_MAX));
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        const struct tl_indicator_info *info = tl_indicator_at(i);
        if (i > 0) assert_true(strcmp(tl_indicator_at(i - 1)->name, info->name) < 0);
        assert_ptr_equal(tl_indicator_find(info->name), info);
        assert_true(info->group[0] && info->title[0]);
        assert_true(info->inputs != 0 && info->inputs < 32);
        assert_true(info->n_params <= TL_PARAMS_MAX);
        assert_in_range(info->n_outputs, 1, TL_INDICATOR_OUTPUTS_MAX);
        for (const char *c = info->name; *c; c++)
            assert_true((*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_');
        for (unsigned k = 0; k < info->n_params; k++) {
            const struct tl_param *p = &info->params[k];
            assert_true(p->name && p->min <= p->def && p->def <= p->max);
        }
        for (unsigned k = 0; k < info->n_outputs; k++) {
            assert_non_null(info->outputs[k]);
            for (const char *c = info->outputs[k]; *c; c++) assert_false(*c >= 'A' && *c <= 'Z');
            for (unsigned j = 0; j < k; j++) assert_string_not_equal(info->outputs[j], info->outputs[k]);
        }
    }
    static const char *const unknown[] = {"", "A", "SM", "SMAA", "ZZZ", "SMA(", "sma ", "\xff", "KDJ_"};
    for (size_t i = 0; i < TL_COUNT(unknown); i++) assert_null(tl_indicator_find(unknown[i]));
    assert_null(tl_indicator_find(NULL));
    assert_string_equal(tl_indicator_find("linearreg_angle")->name, "LINEARREG_ANGLE");
}

static void test_lookback(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t lookback;
    } rows[] = {
        {"SMA(2)", 1},         {"MA(1,TEMA)", 0},      {"DEMA(30)", 58},
        {"TEMA(30)", 87},      {"MACD", 33},           {"MACD(26,12,9)", 33},
        {"MACD(12,26,1)", 25}, {"APO(26,12)", 25},     {"BBANDS(5,2,2,4)", 12},
        {"RSI", 14},           {"STOCH", 8},           {"STOCH(1,1,0,1,0)", 0},
        {"STOCHF", 6},         {"STOCHRSI", 20},       {"TRIX", 88},
        {"TRIX(1)", 1},        {"ROC(1)", 1},          {"KDJ", 8},
        {"KDJ(1,1,1)", 0},     {"SMA(100000)", 99999},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_spec spec;
        assert_int_equal(tl_spec_parse(rows[i].text, &spec, NULL), TL_OK);
        if (tl_spec_lookback(&spec) != rows[i].lookback)
            fail_msg("%s: lookback %zu", rows[i].text, tl_spec_lookback(&spec));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),     cmocka_unit_test(test_errors),  cmocka_unit_test(test_hostile_length),
        cmocka_unit_test(test_format_bounds), cmocka_unit_test(test_longest), cmocka_unit_test(test_registry),
        cmocka_unit_test(test_lookback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
