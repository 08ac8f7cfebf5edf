/* SPDX-License-Identifier: Apache-2.0 */
/* The sample market: the same seed gives the same bytes, and the bytes are a market. */
#include "support.h"

#include "base/hash.h"
#include "base/num.h"
#include "market/civil.h"
#include "sample/sample.h"

#include <dirent.h>
#include <ftw.h>

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    (void)sb, (void)flag, (void)ftw;
    return remove(path);
}

static void make(char dir[64], uint64_t seed, struct tl_sample_summary *sum)
{
    struct tl_sample_options opt = {.symbols = 60, .years = 3, .seed = seed};
    struct tl_err err;
    opt.end_date_ms = tl_civil_days(2024, 12, 31) * TL_DAY_MS;
    snprintf(dir, 64, "/tmp/tl-sample-XXXXXX");
    assert_non_null(mkdtemp(dir));
    if (tl_sample_write(dir, &opt, sum, &err) != TL_OK) fail_msg("%s", err.text);
}

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *n = fread(text, 1, (1 << 20) - 1, f);
    text[*n] = '\0';
    fclose(f);
    return text;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

typedef void each_fn(const char *name, const char *text, size_t n, void *ctx);

/* Every file of the market in order of names. */
static void each_file(const char *dir, each_fn *fn, void *ctx)
{
    static const char *const folders[] = {"", "/bars"};
    for (size_t k = 0; k < 2; k++) {
        char path[512];
        struct dirent **names;
        snprintf(path, sizeof path, "%s%s", dir, folders[k]);
        int count = scandir(path, &names, NULL, by_name);
        assert_true(count > 0);
        for (int i = 0; i < count; i++) {
            size_t n;
            snprintf(path, sizeof path, "%s%s/%s", dir, folders[k], names[i]->d_name);
            if (strstr(names[i]->d_name, ".csv")) {
                char *text = read_file(path, &n);
                fn(names[i]->d_name, text, n, ctx);
                free(text);
            }
            free(names[i]);
        }
        free(names);
    }
}

static void add_to_crc(const char *name, const char *text, size_t n, void *ctx)
{
    uint32_t *crc = ctx;
    *crc = tl_crc32c(*crc, name, strlen(name));
    *crc = tl_crc32c(*crc, text, n);
}

static uint32_t crc_of(uint64_t seed, struct tl_sample_summary *sum)
{
    char dir[64];
    uint32_t crc = 0;
    make(dir, seed, sum);
    each_file(dir, add_to_crc, &crc);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return crc;
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    struct tl_sample_summary a, b, c;
    uint32_t crc = crc_of(1, &a);
    assert_int_equal(crc, 0x7c3912e1u);
    assert_int_equal(crc_of(1, &b), crc);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_not_equal(crc_of(2, &c), crc);
}

struct tally {
    uint64_t rows, blank, flat;
};

static void check_rows(const char *name, const char *text, size_t n, void *ctx)
{
    struct tally *t = ctx;
    (void)n;
    if (!strcmp(name, "factors.csv") || !strcmp(name, "calendar.csv")) return;
    struct tl_str rest = tl_str(text), line, field;
    assert_true(tl_str_split(&rest, '\n', &line));
    assert_true(tl_str_eq(line, TL_STR("date,open,high,low,close,volume,amount")));
    int64_t last = INT64_MIN;
    while (tl_str_split(&rest, '\n', &line) && line.n) {
        double v[6];
        int64_t day;
        assert_true(tl_str_split(&line, ',', &field) && tl_civil_parse_date(field, &day));
        assert_true(day > last);
        last = day;
        int k = 0;
        while (tl_str_split(&line, ',', &field) && k < 6 && field.n)
            assert_int_equal(tl_num_parse(field, &v[k++]), TL_NUM_OK);
        if (k == 0) {
            t->blank++;
            continue;
        }
        assert_int_equal(k, 6);
        t->rows++;
        t->flat += v[4] == 0;
        assert_true(v[2] > 0 && v[2] <= v[0] && v[2] <= v[3] && v[1] >= v[0] && v[1] >= v[3]);
    }
}

static void rows_are_bars(void **state)
{
    (void)state;
    char dir[64];
    struct tl_sample_summary sum;
    struct tally t = {0};
    make(dir, 7, &sum);
    each_file(dir, check_rows, &t);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(t.rows, sum.rows);
    assert_int_equal(t.blank, sum.blank_rows);
    assert_true(t.flat > 0 && t.flat <= sum.suspended_rows);
    assert_true(sum.splits > 0 && sum.short_histories > 0);
    assert_int_equal(sum.symbols, 60);
}

static void refuses_what_cannot_be(void **state)
{
    (void)state;
    struct tl_sample_summary sum;
    struct tl_err err;
    struct tl_sample_options opt = {.symbols = 0, .years = 1};
    assert_int_equal(tl_sample_write("/tmp", &opt, &sum, &err), TL_INVALID);
    opt = (struct tl_sample_options){.symbols = 1, .years = 51};
    assert_int_equal(tl_sample_write("/tmp", &opt, &sum, &err), TL_INVALID);
    opt = (struct tl_sample_options){.symbols = 1, .years = 1, .end_date_ms = TL_DAY_MS * 20000};
    assert_int_equal(tl_sample_write("/dev/null/x", &opt, &sum, &err), TL_IO);
    assert_non_null(strstr(err.text, "/dev/null/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(rows_are_bars),
        cmocka_unit_test(refuses_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
