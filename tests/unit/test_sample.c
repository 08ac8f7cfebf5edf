/* SPDX-License-Identifier: Apache-2.0 */
/* The sample market: the same bytes for a seed on every machine, and rows that a market could have had. A file is read
 * here by sscanf, not by the importer, so that one bug cannot hide in both. */
#include "support.h"

#include "base/hash.h"
#include "base/util.h"
#include "market/civil.h"
#include "sample/sample.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { SYMBOLS = 60, YEARS = 3, DAYS_MAX = 900 };

static const struct tl_sample_options standard = {
    .symbols = SYMBOLS, .years = YEARS, .seed = 4, .end_date_ms = INT64_C(19722) * TL_DAY_MS /* 2023-12-31 */
};

/* ---- files ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_tree(const char *dir)
{
    assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* A folder of its own; static storage, so one at a time. */
static const char *fresh_folder(void)
{
    static char dir[256];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/tl-sample-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static char *slurp(const char *dir, const char *name, size_t *n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size >= 0);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, f), (size_t)size);
    text[size] = 0;
    fclose(f);
    *n = (size_t)size;
    return text;
}

static void name_of(unsigned i, char out[16])
{
    static const unsigned first[] = {600000, 1, 300001};
    snprintf(out, 16, "%06u.%s", first[i % 3] + i / 3, i % 3 == 0 ? "SH" : "SZ");
}

static uint64_t bytes_seen;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)ftw;
    if (type == FTW_F) bytes_seen += (uint64_t)st->st_size;
    return 0;
}

/* Over calendar, factors and every symbol's file, in this order; proves also that no other file is there. */
static uint32_t crc_of(const char *dir, unsigned symbols, uint64_t *bytes)
{
    uint32_t crc = 0;
    *bytes = 0;
    for (unsigned i = 0; i < symbols + 2; i++) {
        char name[48] = "calendar.csv", symbol[16];
        size_t n;
        if (i == 1) snprintf(name, sizeof name, "factors.csv");
        if (i > 1) name_of(i - 2, symbol), snprintf(name, sizeof name, "bars/%s.csv", symbol);
        char *text = slurp(dir, name, &n);
        crc = tl_crc32c(crc, text, n);
        *bytes += n;
        free(text);
    }
    bytes_seen = 0;
    assert_int_equal(nftw(dir, add_size, 16, FTW_PHYS), 0);
    assert_int_equal(bytes_seen, *bytes);
    return crc;
}

static uint32_t crc_for(const struct tl_sample_options *o, struct tl_sample_summary *sum)
{
    const char *dir = fresh_folder();
    uint64_t bytes;
    struct tl_err err;
    if (tl_sample_write(dir, o, sum, &err) != TL_OK) fail_msg("%s", err.text);
    uint32_t crc = crc_of(dir, o->symbols, &bytes);
    assert_int_equal(bytes, sum->bytes);
    assert_int_equal(sum->symbols, o->symbols);
    remove_tree(dir);
    return crc;
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    static const struct {
        struct tl_sample_options o;
        uint32_t crc;
    } rows[] = {
        {{.symbols = SYMBOLS, .years = YEARS, .seed = 4, .end_date_ms = INT64_C(19722) * TL_DAY_MS}, 0x7f04284a},
        {{.symbols = SYMBOLS, .years = YEARS, .seed = 8, .end_date_ms = INT64_C(19722) * TL_DAY_MS}, 0xc590bba2},
        {{.symbols = 1, .years = 1, .seed = 0, .end_date_ms = INT64_C(19723) * TL_DAY_MS}, 0x9ba471b0},
        {{.symbols = 2, .years = 50, .seed = UINT64_MAX, .end_date_ms = INT64_C(20000) * TL_DAY_MS}, 0x0030ab45},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_sample_summary sum, again;
        uint32_t crc = crc_for(&rows[i].o, &sum);
        if (crc != rows[i].crc)
            fail_msg("row %zu (seed %llu): CRC %08x, %08x was recorded", i, (unsigned long long)rows[i].o.seed, crc,
                     rows[i].crc);
        assert_int_equal(crc_for(&rows[i].o, &again), crc);
        assert_memory_equal(&sum, &again, sizeof sum);
    }
}

/* ---- what the rows say ---- */

struct event {
    char symbol[16];
    int64_t day;
    double cash, gift;
};

struct market {
    int64_t days[DAYS_MAX];
    size_t n_days, n_events;
    struct event events[SYMBOLS * DAYS_MAX / 20];
    uint64_t rows, blanks, flat, absent, explained, at_limit;
};

static int64_t day_of(const char *text)
{
    int64_t ms;
    if (!tl_civil_parse_date((struct tl_str){text, 10}, &ms)) fail_msg("no date: %.20s", text);
    return ms;
}

static void read_calendar(struct market *m, const char *dir)
{
    size_t n;
    char *text = slurp(dir, "calendar.csv", &n), *save = NULL;
    char *line = strtok_r(text, "\n", &save);
    assert_string_equal(line, "date");
    while ((line = strtok_r(NULL, "\n", &save))) {
        assert_int_equal(strlen(line), 10);
        assert_true(m->n_days < DAYS_MAX);
        int64_t day = day_of(line);
        assert_true(tl_civil_weekday(day) < 5);
        assert_true(day <= standard.end_date_ms);
        assert_true(m->n_days == 0 || day > m->days[m->n_days - 1]);
        m->days[m->n_days++] = day;
    }
    free(text);
    assert_in_range(m->n_days, YEARS * 240, YEARS * 262);
}

static void read_factors(struct market *m, const char *dir)
{
    size_t n;
    char *text = slurp(dir, "factors.csv", &n), *save = NULL;
    char *line = strtok_r(text, "\n", &save);
    assert_string_equal(line, "symbol,date,cash,gift,rights,rights_price");
    while ((line = strtok_r(NULL, "\n", &save))) {
        assert_true(m->n_events < TL_COUNT(m->events));
        struct event *e = &m->events[m->n_events++];
        char date[11];
        double rights, price;
        int end = 0;
        int got = sscanf(line, "%15[^,],%10[^,],%lf,%lf,%lf,%lf%n", e->symbol, date, &e->cash, &e->gift, &rights,
                         &price, &end);
        if (got != 6 || line[end]) fail_msg("factors.csv: %s", line);
        e->day = day_of(date);
        assert_true((e->cash > 0) != (e->gift > 0));
        assert_true(rights == 0 && price == 0);
    }
    free(text);
}

/* The close before `day` as a holder sees it on that day. */
static double theoretical(struct market *m, const char *symbol, int64_t day, double close)
{
    for (size_t i = 0; i < m->n_events; i++) {
        const struct event *e = &m->events[i];
        if (e->day != day || strcmp(e->symbol, symbol) != 0) continue;
        m->explained++;
        return (close - e->cash) / (1 + e->gift);
    }
    return close;
}

static size_t place_of(const struct market *m, int64_t day, size_t from)
{
    for (size_t i = from; i < m->n_days; i++)
        if (m->days[i] == day) return i;
    fail_msg("a bar on a day that is not in the calendar, or twice, or back in time");
    return 0;
}

/* Walks one file. After a blank row the next change is unbounded: the blank hides a close. */
static void check_bars(struct market *m, const char *dir, const char *symbol)
{
    char name[48];
    size_t n, next = 0;
    snprintf(name, sizeof name, "bars/%s.csv", symbol);
    char *text = slurp(dir, name, &n), *save = NULL, *line = strtok_r(text, "\n", &save);
    assert_string_equal(line, "date,open,high,low,close,volume,amount");
    double before = 0;
    bool first = true, after_gap = true;
    while ((line = strtok_r(NULL, "\n", &save))) {
        double open, high, low, close, volume, amount;
        int64_t day = day_of(line);
        size_t place = place_of(m, day, next);
        if (!first) m->absent += place - next;
        first = false;
        next = place + 1;
        if (strcmp(line + 10, ",,,,,,") == 0) {
            m->blanks++;
            after_gap = true;
            continue;
        }
        int end = 0;
        if (sscanf(line + 10, ",%lf,%lf,%lf,%lf,%lf,%lf%n", &open, &high, &low, &close, &volume, &amount, &end) != 6 ||
            line[10 + end])
            fail_msg("%s: %s", name, line);
        m->rows++;
        if (!(low > 0 && low <= open && low <= close && high >= open && high >= close && volume >= 0))
            fail_msg("%s: inconsistent: %s", name, line);
        if (volume == 0) {
            m->flat++;
            if (!(open == high && high == low && low == close && amount == 0 && (after_gap || close == before)))
                fail_msg("%s: not flat: %s", name, line);
        } else if (!(amount >= low * volume * 0.999 && amount <= high * volume * 1.001)) {
            fail_msg("%s: amount: %s", name, line);
        }
        double reference = after_gap ? close : theoretical(m, symbol, day, before);
        /* A tick for the rounding of the reference price, one for the limit's. */
        double limit = reference * 0.1 + 0.021, top = reference + limit, bottom = reference - limit;
        if (!after_gap && (close > top || close < bottom || open > top || open < bottom))
            fail_msg("%s: beyond 10 %% of %.4f: %s", name, reference, line);
        m->at_limit += !after_gap && (close > top - 0.043 || close < bottom + 0.043);
        before = close;
        after_gap = false;
    }
    free(text);
}

static void test_rows_make_sense(void **state)
{
    (void)state;
    static struct market m;
    struct tl_sample_summary sum;
    struct tl_err err;
    const char *dir = fresh_folder();
    memset(&m, 0, sizeof m);
    if (tl_sample_write(dir, &standard, &sum, &err) != TL_OK) fail_msg("%s", err.text);
    read_calendar(&m, dir);
    read_factors(&m, dir);
    for (unsigned i = 0; i < SYMBOLS; i++) {
        char symbol[16];
        name_of(i, symbol);
        check_bars(&m, dir, symbol);
    }
    remove_tree(dir);
    assert_int_equal(m.rows, sum.rows);
    assert_int_equal(m.blanks, sum.blank_rows);
    assert_int_equal(m.n_events, sum.splits);
    assert_true(m.flat + m.absent <= sum.suspended_rows); /* absent days at the ends are not seen */
    /* Each habit is there to be met. */
    assert_true(m.blanks > 0 && m.flat > 0 && m.absent > 0 && m.at_limit > 0 && sum.short_histories > 0);
    assert_true(m.explained > m.n_events / 2);
}

/* ---- refusals ---- */

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t symbols, years;
        const char *text;
    } rows[] = {{0, 1, "0 symbols"}, {20001, 1, "20001 symbols"}, {UINT32_MAX, 1, "4294967295 symbols"},
                {1, 0, "0 years"},   {1, 51, "51 years"},         {1, UINT32_MAX, "4294967295 years"}};
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_sample_options o = standard;
        struct tl_sample_summary sum;
        struct tl_err err = {0};
        o.symbols = rows[i].symbols;
        o.years = rows[i].years;
        assert_int_equal(tl_sample_write("/nowhere/at/all", &o, &sum, &err), TL_INVALID);
        if (!strstr(err.text, rows[i].text)) fail_msg("'%s' does not say '%s'", err.text, rows[i].text);
    }
}

static void test_places_that_cannot_be_written(void **state)
{
    (void)state;
    const char *dir = fresh_folder();
    char file[300], below[320], long_path[5000];
    snprintf(file, sizeof file, "%s/file", dir);
    snprintf(below, sizeof below, "%s/deeper/still", dir);
    memset(long_path, 'x', sizeof long_path);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = 0;
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fclose(f);
    const char *const places[] = {file, below, long_path, ""};
    for (size_t i = 0; i < TL_COUNT(places); i++) {
        struct tl_sample_summary sum;
        struct tl_err err = {0};
        assert_int_not_equal(tl_sample_write(places[i], &standard, &sum, &err), TL_OK);
        if (i < 2 && !strstr(err.text, places[i])) fail_msg("'%s' does not name %s", err.text, places[i]);
        assert_int_equal(sum.bytes, 0);
    }
    remove_tree(dir);
}

/* A disk that is full shortly into each file, as far as a process can arrange one: files of more than 9,000 bytes fail.
 * What was whole stays, the file that failed is not there, nor its temporary. */
static void test_full_disk(void **state)
{
    (void)state;
    const char *dir = fresh_folder();
    struct tl_sample_options o = standard;
    struct tl_sample_summary sum;
    struct tl_err err = {0};
    struct rlimit usual, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    tight = usual;
    tight.rlim_cur = 9000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    enum tl_status st = tl_sample_write(dir, &o, &sum, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    signal(SIGXFSZ, handler);
    assert_int_not_equal(st, TL_OK);
    assert_non_null(strstr(err.text, "bars/600000.SH.csv"));
    bytes_seen = 0;
    assert_int_equal(nftw(dir, add_size, 16, FTW_PHYS), 0);
    size_t n;
    free(slurp(dir, "calendar.csv", &n));
    assert_int_equal(bytes_seen, n);
    assert_int_equal(sum.bytes, n);
    /* The next run over what is there completes it. */
    assert_int_equal(tl_sample_write(dir, &o, &sum, &err), TL_OK);
    uint64_t bytes;
    (void)crc_of(dir, o.symbols, &bytes);
    assert_int_equal(bytes, sum.bytes);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_rows_make_sense),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_places_that_cannot_be_written),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
