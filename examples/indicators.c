/* SPDX-License-Identifier: Apache-2.0 */
/* Indicators on arrays: one alone, then several in one call. Compiles as C99 and as C++.
 *
 *     cc indicators.c $(pkg-config --cflags --libs tierline) && ./a.out */
#include <tierline/tierline.h>

#include <stdio.h>
#include <stdlib.h>

enum { BARS = 60 };

static double close_prices[BARS], high[BARS], low[BARS];

static int report(const char *what, const struct tl_err *err)
{
    fprintf(stderr, "%s: %s (%s)\n", what, err->text, tl_status_text(err->status));
    return EXIT_FAILURE;
}

/* A saw-tooth that rises: something to look at without a file. */
static void make_prices(void)
{
    int i;
    for (i = 0; i < BARS; i++) {
        close_prices[i] = 100 + 0.25 * i + (i % 7) * 0.5;
        high[i] = close_prices[i] + 0.75;
        low[i] = close_prices[i] - 0.5;
    }
}

static int one(const struct tl_input *in)
{
    struct tl_spec spec;
    struct tl_err err;
    double sma[BARS];
    double *out[1];
    size_t begin;
    out[0] = sma;
    if (tl_spec_parse("SMA(20)", &spec, &err) != TL_OK) return report("SMA(20)", &err);
    if (tl_indicator_compute(&spec, in, BARS, out, &err) != TL_OK) return report("SMA(20)", &err);
    begin = tl_spec_lookback(&spec);
    printf("SMA(20): first value at bar %u: %.4f, last: %.4f\n", (unsigned)begin, sma[0], sma[BARS - 1 - begin]);
    return EXIT_SUCCESS;
}

static int several(const struct tl_input *in)
{
    static const char *const texts[3] = {"MACD(12,26,9)", "BBANDS(20,2,2,SMA)", "KDJ"};
    static double columns[3][3][BARS];
    struct tl_batch_item items[3];
    struct tl_err err;
    int i, k;
    for (i = 0; i < 3; i++) {
        if (tl_spec_parse(texts[i], &items[i].spec, &err) != TL_OK) return report(texts[i], &err);
        for (k = 0; k < 3; k++) items[i].out[k] = columns[i][k];
    }
    if (tl_indicator_batch(items, 3, in, BARS, &err) != TL_OK) return report("batch", &err);
    for (i = 0; i < 3; i++) {
        size_t last = BARS - 1 - tl_spec_lookback(&items[i].spec);
        char text[96];
        tl_spec_format(&items[i].spec, text, sizeof text);
        printf("%-20s", text);
        for (k = 0; k < (int)items[i].spec.info->n_outputs; k++)
            printf(" %s=%.4f", items[i].spec.info->outputs[k], columns[i][k][last]);
        printf("\n");
    }
    return EXIT_SUCCESS;
}

int main(void)
{
    struct tl_input in;
    make_prices();
    in.open = NULL;
    in.high = high;
    in.low = low;
    in.close = close_prices;
    in.volume = NULL;
    printf("tierline %s knows %u indicators\n", tl_version_string(), (unsigned)tl_indicator_count());
    return one(&in) == EXIT_SUCCESS && several(&in) == EXIT_SUCCESS ? EXIT_SUCCESS : EXIT_FAILURE;
}
