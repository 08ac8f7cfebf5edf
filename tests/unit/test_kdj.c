/* SPDX-License-Identifier: Apache-2.0 */
/* KDJ, which TA-Lib lacks, against a long-form implementation that searches every window, on the CSI 300 files and a
 * made-up market; above all on flat windows (suspensions, limit-up runs), over which K and D must hold still. */
#include "support.h"
#include "synthetic_bars.h"

#include <dirent.h>
#include <math.h>

enum { WINDOW = 9 };

struct columns {
    size_t n;
    double *high, *low, *close; /* one allocation, at `high` */
};

/* Columns of a date,high,low,open,close,volume file. */
static struct columns load(const char *path)
{
    struct columns c = {0};
    char line[256];
    size_t cap = 8192;
    FILE *f = fopen(path, "r");
    double *v = malloc(3 * cap * sizeof *v);
    assert_true(f && v);
    c = (struct columns){0, v, v + cap, v + 2 * cap};
    assert_non_null(fgets(line, sizeof line, f));
    if (strncmp(line, "date,high,low,open,close", 24) != 0) fail_msg("%s has other columns: %s", path, line);
    while (fgets(line, sizeof line, f)) {
        assert_true(c.n < cap);
        size_t i = c.n++;
        if (sscanf(line, "%*[^,],%lf,%lf,%*[^,],%lf", &c.high[i], &c.low[i], &c.close[i]) != 3)
            fail_msg("%s: %s", path, line);
    }
    fclose(f);
    return c;
}

/* Compares KDJ(9,3,3) with its definition, bar by bar; returns the flat windows. */
static size_t compare(const char *name, const struct columns *c)
{
    struct tl_spec spec;
    assert_int_equal(tl_spec_parse("KDJ(9,3,3)", &spec, NULL), TL_OK);
    struct tl_input in = {.high = c->high, .low = c->low, .close = c->close};
    if (c->n < WINDOW) return 0;
    struct synthetic_result got = synthetic_compute(&spec, &in, c->n);
    assert_int_equal(got.lookback, WINDOW - 1);
    double k = 50, d = 50;
    size_t flat = 0;
    for (size_t i = WINDOW - 1; i < c->n; i++) {
        double top = c->high[i], bottom = c->low[i];
        for (size_t j = i - (WINDOW - 1); j < i; j++) {
            top = fmax(top, c->high[j]);
            bottom = fmin(bottom, c->low[j]);
        }
        size_t r = i - (WINDOW - 1);
        double got_k = got.out[0][r], got_d = got.out[1][r], got_j = got.out[2][r];
        if (top == bottom) {
            flat++;
            double held_k = r ? got.out[0][r - 1] : 50, held_d = r ? got.out[1][r - 1] : 50;
            if (got_k != held_k || got_d != held_d)
                fail_msg("%s: bar %zu: K %a D %a after K %a D %a on a flat window", name, i, got_k, got_d, held_k,
                         held_d);
        } else {
            double rsv = 100.0 * (c->close[i] - bottom) / (top - bottom);
            k = (2.0 * k + rsv) / 3.0;
            d = (2.0 * d + k) / 3.0;
        }
        if (fabs(got_k - k) > 1e-9 || fabs(got_d - d) > 1e-9 || fabs(got_j - (3 * k - 2 * d)) > 1e-8)
            fail_msg("%s: bar %zu: K %.17g D %.17g J %.17g, expected %.17g %.17g %.17g", name, i, got_k, got_d, got_j,
                     k, d, 3 * k - 2 * d);
    }
    free(got.out[0]);
    return flat;
}

static void test_made_up_market(void **state)
{
    (void)state;
    size_t flat = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct synthetic_bars bars;
        synthetic_bars_make(&bars, 900, seed);
        struct columns c = {.n = bars.n, .high = malloc(3 * bars.n * sizeof *c.high)};
        assert_non_null(c.high);
        c.low = c.high + bars.n;
        c.close = c.low + bars.n;
        memcpy(c.high, bars.in.high, bars.n * sizeof *c.high);
        memcpy(c.low, bars.in.low, bars.n * sizeof *c.low);
        memcpy(c.close, bars.in.close, bars.n * sizeof *c.close);
        flat += compare("made-up market", &c);
        free(c.high);
        synthetic_bars_release(&bars);
    }
    assert_true(flat > 100);
}

static void test_flat_from_the_first_bar(void **state)
{
    (void)state;
    double v[3 * 30];
    for (size_t i = 0; i < 3 * 30; i++) v[i] = 12.34;
    struct columns c = {30, v, v + 30, v + 60};
    assert_int_equal(compare("flat", &c), 30 - WINDOW + 1);
}

static void test_csi300(void **state)
{
    (void)state;
    const char *folder = tl_test_shared("data/ashare_csi300/data");
    if (!folder) skip();
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t files = 0, flat = 0, with_flat = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t len = strlen(e->d_name);
        if (len < 4 || strcmp(e->d_name + len - 4, ".csv") != 0) continue;
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        struct columns c = load(path);
        size_t here = compare(e->d_name, &c);
        free(c.high);
        files++;
        flat += here;
        with_flat += here > 0;
    }
    closedir(dir);
    printf("%zu flat windows of %d bars in %zu of %zu files\n", flat, WINDOW, with_flat, files);
    assert_int_equal(files, 303);
    assert_int_equal(flat, 20635);
    assert_int_equal(with_flat, 194);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_up_market),
        cmocka_unit_test(test_flat_from_the_first_bar),
        cmocka_unit_test(test_csi300),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
