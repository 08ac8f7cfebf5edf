/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: known changes, gaps and overlaps, the rule behind the table, every zone of the system against the C
 * library, and damaged files. */
#include "support.h"

#include "base/rng.h"
#include "base/util.h"
#include "market/tz.h"

#include <dirent.h>
#include <errno.h>
#include <time.h>

#define HOUR INT64_C(3600000)

static int64_t at(int y, int mo, int d, int h, int mi)
{
    return tl_civil_to_ms(&(struct tl_civil){.year = y, .month = mo, .day = d, .hour = h, .minute = mi});
}

static struct tl_tz *zone(const char *name)
{
    struct tl_tz *tz = NULL;
    struct tl_err err = {0};
    enum tl_status st = tl_tz_open(name, &tz, &err);
    if (st == TL_NOT_FOUND) {
        fprintf(stderr, "%s (skipped)\n", err.text);
        return NULL;
    }
    if (st != TL_OK) fail_msg("%s", err.text);
    assert_string_equal(tl_tz_name(tz), name);
    return tz;
}

static void shanghai(void **state)
{
    (void)state;
    struct tl_tz *tz = zone("Asia/Shanghai");
    if (!tz) skip();
    static const struct {
        int y, mo, d, h;
        int offset_h;
    } rows[] = {
        {2024, 6, 3, 1, 8},   {2100, 7, 1, 0, 8},   {1985, 7, 1, 0, 8},   {1986, 5, 3, 17, 8},
        {1986, 5, 3, 18, 9},  {1986, 9, 13, 16, 9}, {1986, 9, 13, 17, 8}, {1987, 7, 1, 0, 9},
        {1988, 7, 1, 0, 9},   {1989, 7, 1, 0, 9},   {1990, 7, 1, 0, 9},   {1991, 4, 13, 17, 8},
        {1991, 4, 13, 18, 9}, {1991, 9, 14, 16, 9}, {1991, 9, 14, 17, 8}, {1992, 7, 1, 0, 8},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++)
        assert_true(tl_tz_offset_at_utc(tz, at(rows[i].y, rows[i].mo, rows[i].d, rows[i].h, 0)) ==
                    rows[i].offset_h * HOUR);
    assert_true(tl_tz_to_utc(tz, at(2024, 6, 3, 9, 30)) == at(2024, 6, 3, 1, 30));
    assert_true(tl_tz_to_utc(tz, at(1990, 12, 19, 9, 30)) == at(1990, 12, 19, 1, 30));
    assert_true(tl_tz_to_utc(tz, at(1991, 7, 3, 9, 30)) == at(1991, 7, 3, 0, 30));
    tl_tz_free(tz);
}

static void new_york(void **state)
{
    (void)state;
    struct tl_tz *tz = zone("America/New_York");
    if (!tz) skip();
    /* 2024 is in the table; 2038, 2050 and 3001 come from the rule. First Sunday of November, second of March. */
    static const struct {
        int y, march, november;
    } years[] = {{2024, 10, 3}, {2038, 14, 7}, {2050, 13, 6}, {3001, 8, 1}};
    for (size_t i = 0; i < TL_COUNT(years); i++) {
        int y = years[i].y, m = years[i].march, n = years[i].november;
        assert_true(tl_tz_offset_at_utc(tz, at(y, 3, m, 7, 0) - 1) == -5 * HOUR);
        assert_true(tl_tz_offset_at_utc(tz, at(y, 3, m, 7, 0)) == -4 * HOUR);
        assert_true(tl_tz_offset_at_utc(tz, at(y, 11, n, 6, 0) - 1) == -4 * HOUR);
        assert_true(tl_tz_offset_at_utc(tz, at(y, 11, n, 6, 0)) == -5 * HOUR);
        assert_true(tl_tz_to_utc(tz, at(y, 3, m, 1, 59)) == at(y, 3, m, 6, 59));
        assert_true(tl_tz_to_utc(tz, at(y, 3, m, 2, 0)) == at(y, 3, m, 7, 0)); /* skipped: an hour later, 03:00 EDT */
        assert_true(tl_tz_to_utc(tz, at(y, 3, m, 2, 59)) == at(y, 3, m, 7, 59));
        assert_true(tl_tz_to_utc(tz, at(y, 3, m, 3, 0)) == at(y, 3, m, 7, 0));
        assert_true(tl_tz_to_utc(tz, at(y, 11, n, 0, 59)) == at(y, 11, n, 4, 59));
        assert_true(tl_tz_to_utc(tz, at(y, 11, n, 1, 0)) == at(y, 11, n, 5, 0)); /* twice: the earlier, EDT */
        assert_true(tl_tz_to_utc(tz, at(y, 11, n, 1, 59)) == at(y, 11, n, 5, 59));
        assert_true(tl_tz_to_utc(tz, at(y, 11, n, 2, 0)) == at(y, 11, n, 7, 0));
        assert_true(tl_tz_to_utc(tz, at(y, 7, 3, 9, 30)) == at(y, 7, 3, 13, 30));
        assert_true(tl_tz_to_utc(tz, at(y, 1, 3, 9, 30)) == at(y, 1, 3, 14, 30));
    }
    tl_tz_free(tz);
}

static void a_day_that_was_skipped(void **state)
{
    (void)state;
    struct tl_tz *tz = zone("Pacific/Apia");
    if (!tz) skip();
    assert_true(tl_tz_to_utc(tz, at(2011, 12, 29, 23, 59)) == at(2011, 12, 30, 9, 59));
    assert_true(tl_tz_to_utc(tz, at(2011, 12, 30, 12, 0)) == at(2011, 12, 30, 22, 0));
    assert_true(tl_tz_to_utc(tz, at(2011, 12, 31, 0, 0)) == at(2011, 12, 30, 10, 0));
    tl_tz_free(tz);
}

static void fixed_offsets(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int minutes;
    } rows[] = {{"UTC", 0}, {"+08:00", 480}, {"-05:30", -330}, {"+00:00", 0}, {"+14:00", 840}, {"-00:30", -30}};
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_tz *tz = zone(rows[i].name);
        assert_true(tl_tz_offset_at_utc(tz, 0) == rows[i].minutes * 60000);
        assert_true(tl_tz_offset_at_utc(tz, INT64_MAX) == rows[i].minutes * 60000);
        assert_true(tl_tz_offset_at_utc(tz, INT64_MIN) == rows[i].minutes * 60000);
        assert_true(tl_tz_to_utc(tz, at(2024, 1, 1, 0, 0)) == at(2024, 1, 1, 0, 0) - rows[i].minutes * 60000);
        (void)tl_tz_to_utc(tz, INT64_MAX);
        (void)tl_tz_to_utc(tz, INT64_MIN);
        tl_tz_free(tz);
    }
}

static void names_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum tl_status st;
    } rows[] = {
        {"", TL_INVALID},
        {"/etc/passwd", TL_INVALID},
        {"../etc/passwd", TL_INVALID},
        {"Asia/../../x", TL_INVALID},
        {"Asia Shanghai", TL_INVALID},
        {"+8:00", TL_INVALID},
        {"+0800", TL_INVALID},
        {"+24:00", TL_INVALID},
        {"+08:60", TL_INVALID},
        {"+08:0x", TL_INVALID},
        {"-", TL_INVALID},
        {"Asia/A-very-long-name-that-no-zone-has-because-they-are-all-short-ones", TL_INVALID},
        {"Asia/Nowhere", TL_NOT_FOUND},
        {"Asia/Shanghai/x", TL_NOT_FOUND},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_tz *tz;
        struct tl_err err = {0};
        if (tl_tz_open(rows[i].name, &tz, &err) != rows[i].st) fail_msg("%s: %s", rows[i].name, err.text);
        assert_non_null(strstr(err.text, rows[i].name));
    }
}

/* Where the zone files are: the C library's way of finding them as well. */
static const char *zone_dir(void)
{
    const char *dir = getenv("TZDIR");
    return dir && dir[0] ? dir : "/usr/share/zoneinfo";
}

static int64_t libc_offset_ms(int64_t utc_ms)
{
    time_t t = (time_t)(utc_ms / 1000 - (utc_ms % 1000 < 0));
    struct tm tm;
    localtime_r(&t, &tm);
    return (int64_t)tm.tm_gmtoff * 1000;
}

/* Whether it was a zone. */
static bool compare_with_libc(const char *name)
{
    struct tl_tz *tz = NULL;
    struct tl_err err = {0};
    enum tl_status st = tl_tz_open(name, &tz, &err);
    if (st == TL_UNSUPPORTED || st == TL_NOT_FOUND || st == TL_CORRUPT)
        return false; /* leap seconds, folders, other files */
    assert_int_equal(st, TL_OK);
    setenv("TZ", name, 1);
    tzset();
    struct tl_rng r;
    tl_rng_seed(&r, 3);
    int64_t from = at(1902, 1, 1, 0, 0), to = at(2200, 1, 1, 0, 0), last = 0;
    for (int i = 0; i < 400; i++) {
        int64_t t = from + (int64_t)tl_rng_below(&r, (uint64_t)(to - from));
        int64_t offset = tl_tz_offset_at_utc(tz, t);
        if (offset != libc_offset_ms(t)) fail_msg("%s at %lld: %lld", name, (long long)t, (long long)offset);
        /* Binary search for a change between this and the last draw, then both sides of it, and the way back. */
        int64_t a = TL_MIN(t, last), b = TL_MAX(t, last);
        last = t;
        if (tl_tz_offset_at_utc(tz, a) == tl_tz_offset_at_utc(tz, b)) continue;
        int64_t was = tl_tz_offset_at_utc(tz, a);
        while (b - a > 1) {
            int64_t middle = a + (b - a) / 2;
            if (tl_tz_offset_at_utc(tz, middle) == was)
                a = middle;
            else
                b = middle;
        }
        assert_true(libc_offset_ms(a) == was && libc_offset_ms(b) == tl_tz_offset_at_utc(tz, b));
        for (int64_t u = b - 3 * HOUR; u <= b + 3 * HOUR; u += HOUR / 4) {
            int64_t local = u + tl_tz_offset_at_utc(tz, u), back = tl_tz_to_utc(tz, local);
            if (back > u || back + tl_tz_offset_at_utc(tz, back) != local) fail_msg("%s: %lld", name, (long long)u);
        }
    }
    tl_tz_free(tz);
    return true;
}

static unsigned compare_folder(const char *prefix)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", zone_dir(), prefix);
    DIR *dir = opendir(path);
    if (!dir) return 0;
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char name[400];
        if (e->d_name[0] < 'A' || e->d_name[0] > 'Z') continue; /* right/, posix/, tables */
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "/" : "", e->d_name);
        snprintf(path, sizeof path, "%s/%s/.", zone_dir(), name);
        if (access(path, F_OK) == 0)
            n += compare_folder(name);
        else
            compare_with_libc(name), n++;
    }
    closedir(dir);
    return n;
}

static void every_zone_of_the_system(void **state)
{
    (void)state;
    unsigned n = compare_folder("");
    unsetenv("TZ");
    tzset();
    if (n == 0) skip();
    print_message("%u zones agree with the C library\n", n);
}

/* ---- files made here ---- */

struct file {
    unsigned char bytes[1024];
    size_t n;
};

static void put(struct file *f, uint64_t v, size_t n)
{
    for (size_t i = n; i-- > 0;) f->bytes[f->n++] = (unsigned char)(v >> (8 * i));
}

static void put_header(struct file *f, char version, uint32_t leap, uint32_t times, uint32_t types, uint32_t chars)
{
    memcpy(f->bytes + f->n, "TZif", 4);
    f->bytes[f->n + 4] = (unsigned char)version;
    memset(f->bytes + f->n + 5, 0, 15);
    f->n += 20;
    const uint32_t counts[] = {0, 0, leap, times, types, chars};
    for (size_t i = 0; i < 6; i++) put(f, counts[i], 4);
}

/* Version 2 with changes at 1000 s (to +1 h) and 2000 s (to -1 h), UTC before, and a footer. */
static struct file made(const char *footer)
{
    struct file f = {.n = 0};
    put_header(&f, '2', 0, 0, 1, 1);
    put(&f, 0, 7);
    put_header(&f, '2', 0, 2, 3, 4);
    put(&f, 1000, 8), put(&f, 2000, 8);
    put(&f, 1, 1), put(&f, 2, 1);
    put(&f, 0, 6);
    put(&f, 3600, 4), put(&f, 0, 2);
    put(&f, (uint32_t)-3600, 4), put(&f, 0, 2);
    memcpy(f.bytes + f.n, "UTC", 4), f.n += 4;
    f.n += (size_t)snprintf((char *)f.bytes + f.n, sizeof f.bytes - f.n, "\n%s\n", footer);
    return f;
}

enum { SECOND = 44 + 7, TIMES = SECOND + 44, INDEX = TIMES + 16, TYPES = INDEX + 2 };

static enum tl_status read_bytes(const struct file *f, size_t n, struct tl_tz **tz)
{
    unsigned char *exact = malloc(n ? n : 1); /* so that a read too far is seen */
    memcpy(exact, f->bytes, n);
    struct tl_err err = {0};
    enum tl_status st = tl_tz_read("Made/Here", exact, n, tz, &err);
    free(exact);
    if (st != TL_OK) assert_non_null(strstr(err.text, "Made/Here"));
    return st;
}

static void rules(void **state)
{
    (void)state;
    static const struct {
        const char *footer;
        bool ok;
        int64_t ts;
        int offset_min;
    } rows[] = {
        {"", true, INT64_MAX / 4, -60}, /* no rule: the last change holds */
        {"CST-8", true, INT64_C(4000000000000), 480},
        {"<+0330>-3:30", true, INT64_C(4000000000000), 210},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, INT64_C(1711846800000), -60}, /* 2024-03-31T01:00Z */
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, INT64_C(1711846799999), -120},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", true, INT64_C(1719792000000), 60}, /* summer is the standard */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", true, INT64_C(1704067200000), 0},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", true, INT64_C(1704067200000), 660}, /* over the new year */
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", true, INT64_C(1719792000000), 600},
        {"XXX3EDT4,0/0,J365/23", true, INT64_C(1719792000000), -240}, /* summer time all year */
        {"XXX3EDT4,0/0,J365/23", true, INT64_C(1704081600000) - 1, -240},
        {"XXX3EDT4,0/0,J365/23", true, INT64_C(1704081600000), -240},
        {"AAA0BBB,J60/0,J61/0", true, INT64_C(1709251200000), 60}, /* 2024-03-01: J60 is that day in leap years too */
        {"AAA0BBB,J60/0,J61/0", true, INT64_C(1709251199999), 0},
        {"AAA0BBB,59/0,60/0", true, INT64_C(1709164800000), 60},            /* 2024-02-29: 59 counts it */
        {"AAA0BBB,59/0,60/0", true, INT64_C(1677628800000), 60},            /* 2023-03-01 */
        {"AAA0BBB,M1.1.1/-167,M2.1.1/0", true, INT64_C(1703523600000), 60}, /* begins in the year before */
        {"CST", false, 0, 0},
        {"CS-8", false, 0, 0},
        {"CST-25", false, 0, 0},
        {"CST-8:60", false, 0, 0},
        {"<CST-8", false, 0, 0},
        {"EST5EDT", false, 0, 0},
        {"EST5EDT,M3.2.0", false, 0, 0},
        {"EST5EDT,M13.2.0,M11.1.0", false, 0, 0},
        {"EST5EDT,M0.2.0,M11.1.0", false, 0, 0},
        {"EST5EDT,M3.6.0,M11.1.0", false, 0, 0},
        {"EST5EDT,M3.2.7,M11.1.0", false, 0, 0},
        {"EST5EDT,J0,M11.1.0", false, 0, 0},
        {"EST5EDT,366,M11.1.0", false, 0, 0},
        {"EST5EDT,M3.2.0/168,M11.1.0", false, 0, 0},
        {"EST5EDT,M3.2.0,M11.1.0x", false, 0, 0},
        {"EST99999999999999999999", false, 0, 0},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct file f = made(rows[i].footer);
        struct tl_tz *tz = NULL;
        if (read_bytes(&f, f.n, &tz) != (rows[i].ok ? TL_OK : TL_CORRUPT)) fail_msg("%s", rows[i].footer);
        if (!rows[i].ok) continue;
        int64_t offset = tl_tz_offset_at_utc(tz, rows[i].ts);
        if (offset != rows[i].offset_min * 60000) fail_msg("row %zu %s: %lld", i, rows[i].footer, (long long)offset);
        assert_true(tl_tz_offset_at_utc(tz, -1) == 0 && tl_tz_offset_at_utc(tz, 999999) == 0);
        assert_true(tl_tz_offset_at_utc(tz, 1000000) == HOUR && tl_tz_offset_at_utc(tz, 1999999) == HOUR);
        (void)tl_tz_offset_at_utc(tz, INT64_MAX);
        tl_tz_free(tz);
    }
}

static void damaged_files(void **state)
{
    (void)state;
    struct file good = made("CST-8");
    struct tl_tz *tz;
    for (size_t n = 0; n < good.n; n++) assert_int_equal(read_bytes(&good, n, &tz), TL_CORRUPT); /* cut anywhere */
    static const struct {
        size_t at;
        unsigned char byte;
        enum tl_status st;
    } rows[] = {
        {0, 'X', TL_CORRUPT},            /* magic */
        {SECOND, 'X', TL_CORRUPT},       /* magic */
        {32, 0xFF, TL_CORRUPT},          /* 4 G changes in the first block */
        {SECOND + 32, 0xFF, TL_CORRUPT}, /* ... in the second */
        {SECOND + 35, 3, TL_CORRUPT},    /* one change more than there is */
        {SECOND + 36, 0xFF, TL_CORRUPT}, /* 4 G types */
        {SECOND + 40, 0xFF, TL_CORRUPT}, /* 4 G bytes of names */
        {SECOND + 20, 0xFF, TL_CORRUPT}, /* 4 G indicators */
        {SECOND + 39, 0, TL_CORRUPT},    /* no type: then the rest does not fit */
        {TIMES + 8 + 6, 0, TL_CORRUPT},  /* changes out of order */
        {TIMES + 8, 0x7F, TL_CORRUPT},   /* beyond all time */
        {TIMES, 0x80, TL_CORRUPT},       /* before all time */
        {INDEX, 3, TL_CORRUPT},          /* a type that is not there */
        {TYPES, 0x7F, TL_CORRUPT},       /* an offset of years */
        {TYPES, 0x80, TL_CORRUPT},       /* ... to the west */
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct file f = good;
        f.bytes[rows[i].at] = rows[i].byte;
        if (read_bytes(&f, f.n, &tz) != rows[i].st) fail_msg("row %zu", i);
    }
    struct file leap = {.n = 0};
    put_header(&leap, '\0', 1, 0, 1, 1);
    put(&leap, 0, 7), put(&leap, 1, 8);
    assert_int_equal(read_bytes(&leap, leap.n, &tz), TL_UNSUPPORTED);
    struct file none = {.n = 0};
    put_header(&none, '\0', 0, 0, 0, 0);
    assert_int_equal(read_bytes(&none, none.n, &tz), TL_CORRUPT);
    struct file v1 = {.n = 0};
    put_header(&v1, '\0', 0, 1, 2, 1);
    put(&v1, (uint32_t)-500, 4), put(&v1, 1, 1), put(&v1, 60, 4), put(&v1, 0, 2), put(&v1, 120, 4), put(&v1, 0, 3);
    assert_int_equal(read_bytes(&v1, v1.n, &tz), TL_OK);
    assert_true(tl_tz_offset_at_utc(tz, -500001) == 60000 && tl_tz_offset_at_utc(tz, -500000) == 120000);
    tl_tz_free(tz);
}

/* Random damage never does more than fail. */
static void random_damage(void **state)
{
    (void)state;
    struct tl_rng r;
    tl_rng_seed(&r, 9);
    for (int i = 0; i < 20000; i++) {
        struct file f = made("EST5EDT,M3.2.0,M11.1.0");
        for (uint64_t k = tl_rng_below(&r, 4) + 1; k > 0; k--)
            f.bytes[tl_rng_below(&r, f.n)] = (unsigned char)tl_rng_u64(&r);
        struct tl_tz *tz;
        if (read_bytes(&f, f.n, &tz) != TL_OK) continue;
        int64_t t = (int64_t)tl_rng_u64(&r) >> tl_rng_below(&r, 30);
        assert_true(llabs(tl_tz_offset_at_utc(tz, t)) <= 26 * HOUR);
        (void)tl_tz_to_utc(tz, t);
        tl_tz_free(tz);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shanghai),
        cmocka_unit_test(new_york),
        cmocka_unit_test(a_day_that_was_skipped),
        cmocka_unit_test(fixed_offsets),
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(every_zone_of_the_system),
        cmocka_unit_test(rules),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
