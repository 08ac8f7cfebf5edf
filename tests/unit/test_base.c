/* SPDX-License-Identifier: Apache-2.0 */
/* The base layer: statuses and errors, strings, buffers, maps, checksums, random numbers, the log, JSON. Numbers have
 * their own file. */
#include "support.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/util.h"

#include <errno.h>
#include <math.h>

static void statuses(void **state)
{
    (void)state;
    static const struct {
        enum tl_status st;
        const char *name, *text;
        int http, exit;
        bool retry;
    } rows[] = {
        {TL_OK, "OK", "ok", 200, 0, false},
        {TL_INVALID, "INVALID", "invalid argument", 400, 2, false},
        {TL_NOT_FOUND, "NOT_FOUND", "not found", 404, 3, false},
        {TL_BUSY, "BUSY", "held by another writer", 503, 5, true},
        {TL_CANCELLED, "CANCELLED", "cancelled", 499, 130, true},
        {TL_TOO_FEW_BARS, "TOO_FEW_BARS", "too few bars", 422, 1, false},
        {TL_SOME_FAILED, "SOME_FAILED", "some items failed", 200, 1, true},
        {TL_INTERNAL, "INTERNAL", "internal error", 500, 70, false},
        {(enum tl_status)17, "UNKNOWN", "unknown status", 500, 70, false},
        {(enum tl_status) - 99, "UNKNOWN", "unknown status", 500, 70, false},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        assert_string_equal(tl_status_name(rows[i].st), rows[i].name);
        assert_string_equal(tl_status_text(rows[i].st), rows[i].text);
        assert_int_equal(tl_status_http(rows[i].st), rows[i].http);
        assert_int_equal(tl_status_exit(rows[i].st), rows[i].exit);
        assert_int_equal(tl_status_retry(rows[i].st), rows[i].retry);
    }
    /* Every number is there once and each text is short enough for a table. */
    for (int st = 0; st >= TL_INTERNAL; st--) {
        assert_string_not_equal(tl_status_name((enum tl_status)st), "UNKNOWN");
        assert_true(strlen(tl_status_text((enum tl_status)st)) < 40);
    }
}

static void errors(void **state)
{
    (void)state;
    struct tl_err e;
    memset(&e, 0x5A, sizeof e);
    errno = EBADF;
    assert_int_equal(tl_fail(&e, TL_PARSE, "bad '%s'", "x\ty\x1b[2J"), TL_PARSE);
    assert_int_equal(errno, EBADF);
    assert_string_equal(e.text, "bad 'x?y?[2J'");
    assert_string_equal(e.file, "");
    assert_true(e.status == TL_PARSE && e.native == 0 && e.line == 0 && e.column == 0);
    assert_int_equal(tl_fail(NULL, TL_NOMEM, "x"), TL_NOMEM);

    tl_fail_at(&e, TL_PARSE, "a/b.csv", 7, 3, "inner\n");
    assert_string_equal(e.text, "inner");
    tl_fail_at(&e, TL_INVALID, e.file, e.line, e.column, "outer: %s", e.text); /* quotes itself */
    assert_string_equal(e.text, "outer: inner");
    char line[512];
    tl_err_format(&e, line, sizeof line);
    assert_string_equal(line, "a/b.csv:7:3: outer: inner");
    e.column = 0;
    tl_err_format(&e, line, sizeof line);
    assert_string_equal(line, "a/b.csv:7: outer: inner");
    e.file[0] = '\0', e.line = 0;
    tl_err_format(&e, line, sizeof line);
    assert_string_equal(line, "outer: inner");
    tl_err_format(&e, line, 6);
    assert_string_equal(line, "outer");
    e.text[0] = '\0';
    tl_err_format(&e, line, sizeof line);
    assert_string_equal(line, "invalid argument");

    static const struct {
        int errnum;
        enum tl_status st;
    } map[] = {{ENOENT, TL_NOT_FOUND}, {EACCES, TL_DENIED}, {EPERM, TL_DENIED}, {ENOSPC, TL_FULL},
               {EDQUOT, TL_FULL},      {ENOMEM, TL_NOMEM},  {EIO, TL_IO},       {EISDIR, TL_IO}};
    for (size_t i = 0; i < TL_COUNT(map); i++) {
        assert_int_equal(tl_fail_errno(&e, map[i].errnum, "open %s", "f"), map[i].st);
        assert_int_equal(tl_fail_errno(NULL, map[i].errnum, "open"), map[i].st);
        assert_int_equal(e.native, map[i].errnum);
        snprintf(line, sizeof line, "open f: %s", strerror(map[i].errnum));
        assert_string_equal(e.text, line);
    }
}

static void long_errors_are_cut_between_characters(void **state)
{
    (void)state;
    struct tl_err e;
    char text[1000];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 3) memcpy(text + i, "\xE6\x89\x8B", 4);
        tl_fail(&e, TL_PARSE, "%s", text);
        size_t n = strlen(e.text);
        assert_true(n < sizeof e.text && n > sizeof e.text - 5);
        assert_int_equal((n - shift) % 3, 0);
        tl_fail_errno(&e, ENOENT, "%s", text);
        assert_non_null(strstr(e.text, ": No such file or directory"));
        n = strlen(e.text) - strlen(": No such file or directory");
        assert_int_equal((n - shift) % 3, 0);
        tl_fail_at(&e, TL_PARSE, text, 1, 0, "x");
        n = strlen(e.file);
        assert_true(n < sizeof e.file && (n - shift) % 3 == 0);
    }
}

static void strings(void **state)
{
    (void)state;
    assert_true(tl_str_ieq(TL_STR("aBc_Z"), TL_STR("AbC_z")));
    assert_false(tl_str_ieq(TL_STR("@"), TL_STR("`")));
    assert_false(tl_str_ieq(TL_STR("a"), TL_STR("ab")));
    assert_true(tl_str_eq((struct tl_str){NULL, 0}, TL_STR("")));
    assert_true(tl_str_cmp(TL_STR("ab"), TL_STR("abc")) < 0);
    assert_true(tl_str_cmp(TL_STR("b"), TL_STR("abc")) > 0);
    assert_true(tl_str_cmp(TL_STR("\xff"), TL_STR("a")) > 0);
    assert_int_equal(tl_str_cmp((struct tl_str){NULL, 0}, TL_STR("")), 0);
    static const struct {
        const char *in, *out;
    } trims[] = {{"", ""}, {"  ", ""}, {" a b\t\r\n", "a b"}, {"x", "x"}, {"\xc2\xa0", "\xc2\xa0"}};
    for (size_t i = 0; i < TL_COUNT(trims); i++)
        assert_true(tl_str_eq(tl_str_trim(tl_str(trims[i].in)), tl_str(trims[i].out)));

    struct tl_str rest = TL_STR("a,,b,"), part;
    static const char *const parts[] = {"a", "", "b", ""};
    for (size_t i = 0; i < TL_COUNT(parts); i++) {
        assert_true(tl_str_split(&rest, ',', &part));
        assert_true(tl_str_eq(part, tl_str(parts[i])));
    }
    assert_false(tl_str_split(&rest, ',', &part));
    rest = TL_STR("");
    assert_true(tl_str_split(&rest, ',', &part) && part.n == 0);
    assert_false(tl_str_split(&rest, ',', &part));
}

static void whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool ok;
        int64_t v;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x1", false, 0},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        int64_t v = 42;
        assert_int_equal(tl_str_to_i64(tl_str(rows[i].in), &v), rows[i].ok);
        assert_true(v == (rows[i].ok ? rows[i].v : 42));
    }
}

static void distances(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned d;
    } rows[] = {{"", "", 0},         {"a", "", 1},
                {"macd", "MACD", 0}, {"kitten", "sitting", 3},
                {"flaw", "lawn", 2}, {"calc.worker", "calc.workers", 1}};
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        assert_int_equal(tl_str_distance(tl_str(rows[i].a), tl_str(rows[i].b)), rows[i].d);
        assert_int_equal(tl_str_distance(tl_str(rows[i].b), tl_str(rows[i].a)), rows[i].d);
    }
    char a[300], b[300];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    assert_int_equal(tl_str_distance((struct tl_str){a, 100}, (struct tl_str){b, 100}), 64);
    assert_int_equal(tl_str_distance((struct tl_str){a, 100}, (struct tl_str){a, 98}), 2);
    assert_int_equal(tl_str_distance((struct tl_str){a, 300}, (struct tl_str){a, 1}), 64);
    assert_int_equal(tl_str_distance((struct tl_str){a, 300}, (struct tl_str){a, 300}), 0);
    assert_int_equal(tl_str_distance((struct tl_str){a, 300}, (struct tl_str){b, 300}), 64);
}

static void buffers(void **state)
{
    (void)state;
    struct tl_buf b;
    tl_buf_init(&b, 0);
    assert_int_equal(tl_buf_str(&b).n, 0);
    for (int i = 0; i < 1000; i++) tl_buf_printf(&b, "%d,", i);
    tl_buf_printf(&b, "%200s", "x"); /* longer than the first guess */
    assert_int_equal(b.n, 10 + 2 * 90 + 3 * 900 + 1000 + 200);
    assert_int_equal(strlen(b.p), b.n);
    assert_memory_equal(b.p, "0,1,2,3,", 8);
    size_t n;
    char *p = tl_buf_take(&b, &n);
    assert_true(p && strlen(p) == n && b.n == 0 && !b.p);
    free(p);
    p = tl_buf_take(&b, NULL); /* an empty one is a string as well */
    assert_string_equal(p, "");
    free(p);
    char *room = tl_buf_reserve(&b, 3);
    memcpy(room, "abc", 3);
    b.n += 3;
    assert_string_equal(b.p, "abc");
    assert_null(tl_buf_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    assert_string_equal(b.p, "abc");
    tl_buf_release(&b);
}

static void buffers_keep_their_maximum(void **state)
{
    (void)state;
    struct tl_buf b;
    struct tl_err e;
    tl_buf_init(&b, 8);
    tl_buf_puts(&b, "12345678");
    assert_int_equal(tl_buf_status(&b, &e), TL_OK);
    tl_buf_putc(&b, '9');
    assert_true(b.failed);
    tl_buf_puts(&b, "");
    assert_string_equal(b.p, "12345678");
    assert_int_equal(tl_buf_status(&b, &e), TL_TOO_LARGE);
    assert_string_equal(e.text, "more than 8 bytes");
    assert_null(tl_buf_take(&b, NULL));
    tl_buf_clear(&b);
    assert_int_equal(tl_buf_status(&b, NULL), TL_OK);
    tl_buf_printf(&b, "%s", "1234");
    tl_buf_printf(&b, "%s", "56789"); /* nothing of it */
    assert_string_equal(b.p, "1234");
    assert_true(b.failed && b.n == 4);
    tl_buf_clear(&b);
    tl_buf_printf(&b, "%s", "12345678"); /* exactly */
    assert_string_equal(b.p, "12345678");
    assert_false(b.failed);
    tl_buf_release(&b);
}

static void sizes(void **state)
{
    (void)state;
    assert_null(tl_calloc(SIZE_MAX / 2, 3));
    assert_null(tl_realloc(NULL, SIZE_MAX / 2, 3));
    void *p = tl_calloc(0, 8);
    assert_non_null(p);
    p = tl_realloc(p, 0, 8);
    assert_non_null(p);
    assert_null(tl_realloc(p, SIZE_MAX, 2)); /* the old block is still ours */
    free(p);
}

static struct tl_str key_of(char *out, size_t cap, uint64_t i)
{
    int n = snprintf(out, cap, "%llu.SH", (unsigned long long)(i * 7919));
    return (struct tl_str){out, (size_t)n};
}

static void map_grows_and_iterates_in_order(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct tl_map *m = tl_map_new();
    char text[40];
    bool fresh;
    for (uintptr_t i = 0; i < N; i++) {
        struct tl_str k = key_of(text, sizeof text, i);
        void **slot = tl_map_put(m, k, &fresh);
        assert_true(slot && fresh && !*slot);
        *slot = (void *)(i + 1);
        assert_ptr_equal(tl_map_put(m, k, &fresh), slot);
        assert_false(fresh);
    }
    assert_int_equal(tl_map_count(m), N);
    struct tl_str k;
    void *v;
    uintptr_t seen = 0;
    for (size_t i = 0; tl_map_next(m, &i, &k, &v); seen++) {
        assert_int_equal((uintptr_t)v, seen + 1);
        assert_true(tl_str_eq(k, key_of(text, sizeof text, seen)));
    }
    assert_int_equal(seen, N);
    assert_null(tl_map_get(m, TL_STR("none")));
    assert_null(tl_map_get(m, TL_STR("")));
    assert_non_null(tl_map_put(m, (struct tl_str){NULL, 0}, NULL));
    assert_non_null(tl_map_get(m, TL_STR("")));
    assert_non_null(tl_map_put(m, TL_STR("a\0b"), NULL));
    assert_null(tl_map_get(m, TL_STR("a\0c")));
    tl_map_free(m);
    tl_map_free(NULL);
}

/* Against a plain table: 200,000 random puts, gets and removals over few keys, so that runs collide and shrink. */
static void map_removes(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    struct tl_map *m = tl_map_new();
    struct tl_rng r;
    tl_rng_seed(&r, 5);
    uintptr_t model[KEYS] = {0};
    size_t count = 0;
    char text[40];
    for (uintptr_t step = 1; step <= 200000; step++) {
        size_t i = (size_t)tl_rng_below(&r, KEYS);
        struct tl_str k = key_of(text, sizeof text, i);
        switch (tl_rng_below(&r, 3)) {
        case 0: {
            bool fresh;
            void **slot = tl_map_put(m, k, &fresh);
            assert_int_equal(fresh, model[i] == 0);
            *slot = (void *)step;
            count += model[i] == 0;
            model[i] = step;
            break;
        }
        case 1:
            assert_int_equal(tl_map_remove(m, k), model[i] != 0);
            count -= model[i] != 0;
            model[i] = 0;
            break;
        default: {
            void **slot = tl_map_get(m, k);
            assert_int_equal(slot ? (uintptr_t)*slot : 0, model[i]);
        }
        }
        assert_int_equal(tl_map_count(m), count);
    }
    struct tl_str k;
    void *v;
    for (size_t i = 0; tl_map_next(m, &i, &k, &v); count--) assert_non_null(tl_map_get(m, k));
    assert_int_equal(count, 0);
    size_t i = 0;
    while (tl_map_next(m, &i, &k, &v)) { /* the key may be the map's own copy */
        assert_true(tl_map_remove(m, k));
        i = 0;
    }
    assert_int_equal(tl_map_count(m), 0);
    tl_map_free(m);
}

static void checksums(void **state)
{
    (void)state;
    unsigned char ascending[32], zero[32] = {0}, ones[32];
    memset(ones, 0xFF, sizeof ones);
    for (unsigned i = 0; i < 32; i++) ascending[i] = (unsigned char)i;
    const struct {
        const void *p;
        size_t n;
        uint32_t crc;
    } rows[] = {{zero, 32, 0x8A9136AA},
                {ones, 32, 0x62A8AB43},
                {ascending, 32, 0x46DD794E},
                {"123456789", 9, 0xE3069283},
                {"", 0, 0}};
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        assert_int_equal(tl_crc32c(0, rows[i].p, rows[i].n), rows[i].crc);
        assert_int_equal(tl_crc32c_portable(0, rows[i].p, rows[i].n), rows[i].crc);
    }
    /* Both ways agree at every length and alignment, and in two pieces. */
    unsigned char bytes[200];
    struct tl_rng r;
    tl_rng_seed(&r, 1);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)tl_rng_u64(&r);
    for (size_t from = 0; from < 9; from++) {
        for (size_t n = 0; n <= sizeof bytes - from; n++) {
            uint32_t crc = tl_crc32c(0, bytes + from, n);
            assert_int_equal(crc, tl_crc32c_portable(0, bytes + from, n));
            size_t cut = n / 3;
            assert_int_equal(crc, tl_crc32c(tl_crc32c(0, bytes + from, cut), bytes + from + cut, n - cut));
        }
    }
    assert_true(tl_hash64("a", 1) != tl_hash64("b", 1));
    assert_true(tl_hash64(NULL, 0) == tl_hash64("", 0));
}

static void random_numbers(void **state)
{
    (void)state;
    struct tl_rng r = {{1, 2, 3, 4}};
    static const uint64_t first[] = {11520, 0, 1509978240, 1215971899390074240}; /* the reference program's */
    for (size_t i = 0; i < TL_COUNT(first); i++) assert_true(tl_rng_u64(&r) == first[i]);
    struct tl_rng seeded;
    tl_rng_seed(&seeded, 0);
    assert_true(seeded.s[0] == UINT64_C(0xe220a8397b1dcdaf)); /* splitmix64 of 0 */
    assert_true(seeded.s[1] == UINT64_C(0x6e789e6aa1b965f4));
    double sum = 0, sum2 = 0, normal = 0, normal2 = 0;
    unsigned hits[7] = {0};
    enum { N = 100000 };
    for (int i = 0; i < N; i++) {
        double u = tl_rng_unit(&seeded), z = tl_rng_normal(&seeded);
        assert_true(u >= 0 && u < 1 && fabs(z) <= 6);
        sum += u, sum2 += u * u, normal += z, normal2 += z * z;
        uint64_t k = tl_rng_below(&seeded, 7);
        assert_true(k < 7);
        hits[k]++;
    }
    assert_true(fabs(sum / N - 0.5) < 0.005 && fabs(sum2 / N - 1.0 / 3) < 0.005);
    assert_true(fabs(normal / N) < 0.02 && fabs(normal2 / N - 1) < 0.02);
    for (int k = 0; k < 7; k++) assert_true(hits[k] > N / 7 - 600 && hits[k] < N / 7 + 600);
    for (int i = 0; i < 100; i++) assert_int_equal(tl_rng_below(&seeded, 1), 0);
}

static void log_lines(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct tl_log log = {.level = TL_LOG_INFO, .fd = fds[1]};
    char line[4096], big[3000];
    tl_log(NULL, TL_LOG_ERROR, "m", "e", "%s", "");
    tl_log(&log, TL_LOG_DEBUG, "m", "e", "%s", "");
    errno = EBADF;
    tl_log(&log, TL_LOG_WARN, "store", "write failed", "key=%s n=%d", "a\nb", 3);
    assert_int_equal(errno, EBADF);
    ssize_t n = read(fds[0], line, sizeof line - 1);
    assert_true(n > 25);
    line[n] = '\0';
    assert_string_equal(line + 24, " warn store write failed key=a?b n=3\n");
    assert_true(line[4] == '-' && line[10] == 'T' && line[19] == '.' && line[23] == 'Z');
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    tl_log(&log, TL_LOG_ERROR, "m", "e", "%s", big);
    n = read(fds[0], line, sizeof line - 1);
    assert_true(n > 2000 && n <= 2048);
    line[n] = '\0';
    assert_string_equal(line + n - 6, "xx...\n");
    tl_log(&log, TL_LOG_ERROR, "m", "no more", "%s", "");
    n = read(fds[0], line, sizeof line - 1);
    line[n] = '\0';
    assert_string_equal(line + 24, " error m no more \n");
    log.level = TL_LOG_OFF;
    tl_log(&log, TL_LOG_ERROR, "m", "e", "%s", "");
    close(fds[1]);
    assert_int_equal(read(fds[0], line, sizeof line), 0);
    close(fds[0]);
    enum tl_log_level level;
    assert_true(tl_log_level_parse("WARN", &level) && level == TL_LOG_WARN);
    assert_true(tl_log_level_parse("off", &level) && level == TL_LOG_OFF);
    assert_false(tl_log_level_parse("loud", &level) || tl_log_level_parse("", &level));
}

static void json_text(void **state)
{
    (void)state;
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "a\"");
    tl_json_array(&j);
    tl_json_i64(&j, INT64_MIN);
    tl_json_u64(&j, UINT64_MAX);
    tl_json_array(&j);
    tl_json_array_end(&j);
    tl_json_object(&j);
    tl_json_object_end(&j);
    tl_json_num(&j, 12.5);
    tl_json_num(&j, NAN);
    tl_json_num(&j, -INFINITY);
    tl_json_array_end(&j);
    tl_json_key(&j, "b");
    tl_json_bool(&j, true);
    tl_json_key(&j, "c");
    tl_json_cstr(&j, NULL);
    tl_json_key(&j, "d");
    tl_json_str(&j, (struct tl_str){NULL, 0});
    tl_json_key(&j, "");
    tl_json_bool(&j, false);
    tl_json_object_end(&j);
    assert_string_equal(b.p, "{\"a\\\"\":[-9223372036854775808,18446744073709551615,[],{},12.5,null,null],\"b\":true,"
                             "\"c\":null,\"d\":\"\",\"\":false}");
    tl_buf_clear(&b);
    for (int d = 0; d < 63; d++) tl_json_array(&j);
    for (int d = 0; d < 63; d++) tl_json_array_end(&j);
    assert_int_equal(b.n, 126);
    tl_buf_release(&b);
}

#define FFFD "\xEF\xBF\xBD"

static void json_strings(void **state)
{
    (void)state;
    static const struct {
        struct tl_str in;
        const char *out;
    } rows[] = {
        {{"plain", 5}, "plain"},
        {{"\"\\/\b\f\n\r\t", 8}, "\\\"\\\\/\\b\\f\\n\\r\\t"},
        {{"\0\x01\x1f\x7f", 4}, "\\u0000\\u0001\\u001f\x7f"},
        {{"\xE6\x89\x8B\xF0\x9F\x98\x80\xC2\xA0", 9}, "\xE6\x89\x8B\xF0\x9F\x98\x80\xC2\xA0"},
        {{"\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", 10}, "\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80"},
        {{"\xC0\xAF", 2}, FFFD FFFD},                   /* overlong */
        {{"\xE0\x9F\xBF", 3}, FFFD FFFD FFFD},          /* overlong */
        {{"\xED\xA0\x80", 3}, FFFD FFFD FFFD},          /* a surrogate */
        {{"\xF4\x90\x80\x80", 4}, FFFD FFFD FFFD FFFD}, /* beyond U+10FFFF */
        {{"\xF5\xFF\x80", 3}, FFFD FFFD FFFD},          /* never a lead, never a byte, a tail alone */
        {{"\xE6\x89", 2}, FFFD},                        /* cut */
        {{"\xF0\x9F\x98", 3}, FFFD},                    /* cut */
        {{"\xE6\x89\x22", 3}, FFFD "\\\""},             /* cut by what follows */
        {{"a\xCA\xD6\xB4z", 5}, "a" FFFD "\xD6\xB4z"},  /* GBK taken for UTF-8 */
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_buf b;
        struct tl_json j;
        char want[80];
        tl_buf_init(&b, 0);
        tl_json_init(&j, &b);
        char *exact = malloc(rows[i].in.n); /* so that a read too far is seen */
        memcpy(exact, rows[i].in.p, rows[i].in.n);
        tl_json_str(&j, (struct tl_str){exact, rows[i].in.n});
        snprintf(want, sizeof want, "\"%s\"", rows[i].out);
        assert_string_equal(b.p, want);
        free(exact);
        tl_buf_release(&b);
    }
}

static void clocks(void **state)
{
    (void)state;
    uint64_t a = tl_clock_mono_ns(&tl_clock_system);
    assert_true(tl_clock_mono_ns(&tl_clock_system) >= a);
    assert_true(tl_clock_wall_ms(&tl_clock_system) > INT64_C(1700000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),
        cmocka_unit_test(errors),
        cmocka_unit_test(long_errors_are_cut_between_characters),
        cmocka_unit_test(strings),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(distances),
        cmocka_unit_test(buffers),
        cmocka_unit_test(buffers_keep_their_maximum),
        cmocka_unit_test(sizes),
        cmocka_unit_test(map_grows_and_iterates_in_order),
        cmocka_unit_test(map_removes),
        cmocka_unit_test(checksums),
        cmocka_unit_test(random_numbers),
        cmocka_unit_test(log_lines),
        cmocka_unit_test(json_text),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
