/* SPDX-License-Identifier: Apache-2.0 */
/* The record reader: what it cuts, where it says a line is, what it refuses; the same for every split of the input. */
#include "import_fixture.h"

#include "base/rng.h"
#include "import/csv.h"

/* All records as "line[field|field]\n", quotes trouble as "!why", then the error. `piece` bytes become visible at a
 * time. */
static void dump(struct tl_str text, char delim, size_t piece, struct tl_buf *out)
{
    struct tl_csv *c = malloc(sizeof *c);
    struct tl_err err = {0};
    assert_non_null(c);
    size_t at = 0, seen = piece ? 0 : text.n;
    tl_csv_init(c);
    tl_csv_set_delim(c, delim);
    for (;;) {
        size_t used;
        /* A copy of exactly what is visible, so that a sanitizer sees a read beyond it. */
        char *copy = malloc(seen - at + 1);
        assert_non_null(copy);
        memcpy(copy, text.p + at, seen - at);
        const enum tl_csv_result r = tl_csv_next(c, copy, seen - at, seen == text.n, &used, &err);
        if (r == TL_CSV_RECORD) {
            tl_buf_printf(out, "%llu[", (unsigned long long)c->line);
            for (uint32_t i = 0; i < c->n && i < TL_CSV_COLUMNS_MAX; i++) {
                if (i) tl_buf_putc(out, '|');
                tl_buf_put(out, c->field[i].p, c->field[i].n);
            }
            tl_buf_printf(out, "]%s%s\n", c->malformed ? "!" : "", c->malformed ? c->malformed : "");
            at += used;
        }
        free(copy);
        if (r == TL_CSV_RECORD) continue;
        if (r == TL_CSV_MORE) {
            assert_true(seen < text.n);
            seen = seen + piece < text.n ? seen + piece : text.n;
            continue;
        }
        if (r == TL_CSV_BAD)
            tl_buf_printf(out, "%s %llu:%u %s\n", tl_status_name(err.status), (unsigned long long)err.line, err.column,
                          err.text);
        break;
    }
    tl_csv_release(c);
    free(c);
}

static void test_records(void **state)
{
    (void)state;
    static const struct {
        char delim;
        struct tl_str in;
        const char *out;
    } rows[] = {
        {',', TL_STR(""), ""},
        {',', TL_STR("a,b\n1,2\n"), "1[a|b]\n2[1|2]\n"},
        {',', TL_STR("a,b\r\n1,2"), "1[a|b]\n2[1|2]\n"},
        {',', TL_STR("a,b\r1,2\r"), "1[a|b]\n2[1|2]\n"},
        {',', TL_STR("a\n\nb\r\n\r\nc"), "1[a]\n2[]\n3[b]\n4[]\n5[c]\n"},
        {',', TL_STR(",\n,,"), "1[|]\n2[||]\n"},
        {',', TL_STR("a,\n"), "1[a|]\n"},
        {',', TL_STR("a,"), "1[a|]\n"},
        {';', TL_STR("a;b,c\n"), "1[a|b,c]\n"},
        {'\t', TL_STR("a\tb c\n"), "1[a|b c]\n"},
        {',', TL_STR("\"a,b\",c\n"), "1[a,b|c]\n"},
        {',', TL_STR("\"a\"\"b\",\"\"\"\",\"\"\n"), "1[a\"b|\"|]\n"},
        {',', TL_STR("x,\"a\nb\r\nc\rd\",y\nz"), "1[x|a\nb\r\nc\rd|y]\n5[z]\n"},
        {',', TL_STR("\"a\"x,b\nc\n"), "1[a|b]!text behind a closing quote\n2[c]\n"},
        {',', TL_STR("\"a\" ,b\n"), "1[a|b]\n"},
        {',', TL_STR("a\"b,5\"\n"), "1[a\"b|5\"]\n"},
        {',', TL_STR("a\n\"b\n"), "1[a]\nPARSE 2:1 a quote is opened here and never closed\n"},
        {',', TL_STR("a,\"x\ny\",\"b\n"), "PARSE 2:3 a quote is opened here and never closed\n"},
        {',', TL_STR("a\nb,\0c\n"), "1[a]\nPARSE 2:2 NUL byte, 2 bytes after the line's beginning: not a text file\n"},
        {',', TL_STR("\"b\0c\"\n"), "PARSE 1:1 NUL byte, 2 bytes after the line's beginning: not a text file\n"},
        {',', TL_STR("0123456789012345,x\n"), "1[0123456789012345|x]\n"},
        {',', TL_STR("012345678901234,x\n"), "1[012345678901234|x]\n"},
        {',', TL_STR("01234567890123,\"q,\"\n"), "1[01234567890123|q,]\n"},
        {',', TL_STR("012345678901234\r\nx\n"), "1[012345678901234]\n2[x]\n"},
        {' ', TL_STR("  a \t b\t\n\nc\n"), "1[a|b]\n2[]\n3[c]\n"},
        {' ', TL_STR("\"a b\"  c  "), "1[a b|c]\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t piece = 0; piece <= rows[i].in.n; piece++) {
            struct tl_buf b;
            tl_buf_init(&b, 0);
            dump(rows[i].in, rows[i].delim, piece, &b);
            tl_buf_puts(&b, "");
            if (strcmp(b.p, rows[i].out) != 0) print_error("row %zu, piece %zu\n", i, piece);
            assert_string_equal(b.p, rows[i].out);
            tl_buf_release(&b);
        }
    }
}

/* Random text over the characters that matter: any split gives the same. */
static void test_splits(void **state)
{
    (void)state;
    static const char alphabet[] = "ab,,\n\n\r\"\" \t";
    struct tl_rng rng;
    tl_rng_seed(&rng, 7);
    for (int round = 0; round < 2000; round++) {
        char text[80];
        const size_t n = tl_rng_below(&rng, sizeof text);
        for (size_t i = 0; i < n; i++) text[i] = alphabet[tl_rng_below(&rng, sizeof alphabet - 1)];
        const char delim = ", "[round & 1];
        struct tl_buf whole, cut;
        tl_buf_init(&whole, 0);
        tl_buf_init(&cut, 0);
        dump((struct tl_str){text, n}, delim, 0, &whole);
        dump((struct tl_str){text, n}, delim, 1 + tl_rng_below(&rng, 9), &cut);
        tl_buf_puts(&whole, "");
        tl_buf_puts(&cut, "");
        assert_string_equal(whole.p, cut.p);
        tl_buf_release(&whole);
        tl_buf_release(&cut);
    }
}

/* Quoting every field sends a record down the other way; it must read the same. */
static void test_fast_is_plain(void **state)
{
    (void)state;
    struct tl_rng rng;
    tl_rng_seed(&rng, 11);
    for (int round = 0; round < 2000; round++) {
        struct tl_buf bare, quoted, a, b;
        tl_buf_init(&bare, 0);
        tl_buf_init(&quoted, 0);
        tl_buf_init(&a, 0);
        tl_buf_init(&b, 0);
        const uint64_t fields = 1 + tl_rng_below(&rng, 12);
        for (uint64_t f = 0; f < fields; f++) {
            const char *sep = f + 1 < fields ? (tl_rng_below(&rng, 5) ? "," : "\r\n") : "\n";
            char text[24];
            const size_t n = tl_rng_below(&rng, sizeof text);
            for (size_t i = 0; i < n; i++) text[i] = (char)('0' + tl_rng_below(&rng, 10));
            tl_buf_put(&bare, text, n);
            tl_buf_puts(&bare, sep);
            tl_buf_putc(&quoted, '"');
            tl_buf_put(&quoted, text, n);
            tl_buf_printf(&quoted, "\"%s", sep);
        }
        dump(tl_buf_str(&bare), ',', 0, &a);
        dump(tl_buf_str(&quoted), ',', 0, &b);
        assert_string_equal(a.p, b.p);
        tl_buf_release(&bare);
        tl_buf_release(&quoted);
        tl_buf_release(&a);
        tl_buf_release(&b);
    }
}

/* The longest record is exactly TL_CSV_RECORD_MAX bytes, whatever ends it and however it comes. */
static void test_longest(void **state)
{
    (void)state;
    static const struct {
        int over;
        const char *end;
        bool quoted, ok;
    } rows[] = {{0, "\n", false, true},  {0, "\r\n", false, true}, {0, "", false, true},    {0, "\r", false, true},
                {1, "\n", false, false}, {1, "", false, false},    {1, "\r", false, false}, {2, "\r\n", false, false},
                {9, "", false, false},   {0, "\r\n", true, true},  {0, "", true, true},     {1, "", true, false},
                {1, "\n", true, false},  {5000, "\n", true, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = (size_t)(TL_CSV_RECORD_MAX + rows[i].over);
        char *text = malloc(n + 2);
        assert_non_null(text);
        memset(text, 'x', n);
        if (rows[i].quoted) text[0] = text[n - 1] = '"';
        memcpy(text + n, rows[i].end, strlen(rows[i].end));
        const struct tl_str all = {text, n + strlen(rows[i].end)};
        static const size_t pieces[] = {0, 300000, TL_CSV_RECORD_MAX - 1, TL_CSV_RECORD_MAX, TL_CSV_RECORD_MAX + 1};
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            struct tl_buf b;
            tl_buf_init(&b, 0);
            dump(all, ',', pieces[k], &b);
            tl_buf_puts(&b, "");
            if (rows[i].ok)
                assert_memory_equal(b.p, "1[x", rows[i].quoted ? 2 : 3);
            else
                assert_string_equal(b.p, "TOO_LARGE 1:0 the line is longer than 1048576 bytes\n");
            tl_buf_release(&b);
        }
        free(text);
    }
}

static void test_detect(void **state)
{
    (void)state;
    assert_int_equal(tl_csv_detect(TL_STR("a,b;c,d")), ',');
    assert_int_equal(tl_csv_detect(TL_STR("a;b;c,d")), ';');
    assert_int_equal(tl_csv_detect(TL_STR("a\tb\tc,d")), '\t');
    assert_int_equal(tl_csv_detect(TL_STR("\"a,b,c\";d")), ';');
    assert_int_equal(tl_csv_detect(TL_STR("abc")), 0);
    assert_int_equal(tl_csv_detect(TL_STR("")), 0);
}

int test_import_csv(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_splits), cmocka_unit_test(test_fast_is_plain),
        cmocka_unit_test(test_longest), cmocka_unit_test(test_detect),
    };
    return cmocka_run_group_tests_name("import: records", tests, NULL, NULL);
}
