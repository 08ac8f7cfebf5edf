/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print with: widths, numbers, tables, progress; and the rules that every row of the command table keeps.
 */
#include "support.h"

#include "base/util.h"
#include "cli/commands.h"
#include "cli/out.h"

static void test_width(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t width;
    } rows[] = {
        {"", 0},         {"abc", 3}, {"贵州茅台", 8}, {"e\xCC\x81", 1}, {"\xFF\xFE", 2},
        {"\xE8\xB4", 2}, {"ａ", 2},  {"é", 1},        {"😀", 2},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) assert_int_equal(tl_text_width(tl_str(rows[i].text)), rows[i].width);
}

static void test_numbers(void **state)
{
    (void)state;
    char b[TL_HUMAN_MAX];
    assert_string_equal(tl_human_count(b, 0), "0");
    assert_string_equal(tl_human_count(b, 999), "999");
    assert_string_equal(tl_human_count(b, 1000), "1,000");
    assert_string_equal(tl_human_count(b, 1234567), "1,234,567");
    assert_string_equal(tl_human_count(b, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(tl_human_bytes(b, 0), "0 B");
    assert_string_equal(tl_human_bytes(b, 1023), "1023 B");
    assert_string_equal(tl_human_bytes(b, 1024), "1.0 KiB");
    assert_string_equal(tl_human_bytes(b, 1048575), "1.0 MiB");
    assert_string_equal(tl_human_bytes(b, UINT64_MAX), "16.0 EiB");
    assert_string_equal(tl_human_seconds(b, 0.42), "0.42 s");
    assert_string_equal(tl_human_seconds(b, 12.34), "12.3 s");
    assert_string_equal(tl_human_seconds(b, 59.99), "1m 00s");
    assert_string_equal(tl_human_seconds(b, 245), "4m 05s");
    assert_string_equal(tl_human_seconds(b, 7380), "2h 03m");
    assert_string_equal(tl_human_seconds(b, -1), "0.00 s");
    assert_string_equal(tl_human_seconds(b, 0.0 / 0.0), "0.00 s");
    assert_true(strlen(tl_human_seconds(b, 1e300)) < TL_HUMAN_MAX);
}

static void test_table(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    struct tl_cli cli = {.out = open_memstream(&text, &n)};
    static const char *const heads[] = {"<name", ">n", "<note"};
    struct tl_table t;
    struct tl_err err;
    tl_table_init(&t, 3, heads);
    tl_table_cell(&t, "茅台");
    tl_table_cell_num(&t, 0.1);
    tl_table_cell(&t, NULL);
    tl_table_cell(&t, "x");
    tl_table_cellf(&t, "%d", 12345);
    tl_table_cell(&t, "y");
    assert_int_equal(tl_table_print(&t, &cli, &err), TL_OK);
    fclose(cli.out);
    assert_string_equal(text, "name      n  note\n"
                              "茅台    0.1\n"
                              "x     12345  y\n");
    tl_table_release(&t);
    free(text);
}

static uint64_t fake_ns;
static uint64_t fake_mono(void *ctx)
{
    (void)ctx;
    return fake_ns;
}

static void test_progress_plain(void **state)
{
    (void)state;
    static const struct tl_clock clock = {NULL, fake_mono, NULL};
    char *text = NULL;
    size_t n = 0;
    struct tl_cli cli = {.err = open_memstream(&text, &n), .clock = &clock, .width = 80};
    struct tl_progress p;
    fake_ns = 1000000000;
    tl_progress_init(&p, &cli, "calc", "symbols");
    for (unsigned i = 0; i <= 100; i++) { /* 10 s, 10 a second */
        tl_progress_update(&p, i, 100, i > 50 ? 3 : 0, "X");
        fake_ns += 100000000;
    }
    tl_progress_clear(&p);
    fclose(cli.err);
    unsigned lines = 0;
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    assert_int_equal(lines, 5); /* at most one each 2 s */
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "calc: 20/100 symbols, 10/s, ETA 8.00 s, X\n"));
    assert_non_null(strstr(text, "3 failed"));
    free(text);
}

static void test_progress_terminal(void **state)
{
    (void)state;
    static const struct tl_clock clock = {NULL, fake_mono, NULL};
    for (unsigned width = 20; width <= 140; width += 5) {
        char *text = NULL;
        size_t n = 0;
        struct tl_cli cli = {.err = open_memstream(&text, &n), .clock = &clock, .width = width, .err_tty = true};
        struct tl_progress p;
        fake_ns = 1;
        tl_progress_init(&p, &cli, "import", "B");
        unsigned draws = 0;
        for (unsigned i = 0; i <= 1000; i++) { /* 1 s, 1000 a second */
            tl_progress_update(&p, i * 1000u, 1000000, 0, "一个很长的文件名字一个很长的文件名字.csv");
            fake_ns += 1000000;
        }
        tl_progress_clear(&p);
        fclose(cli.err);
        for (char *line = text; *line;) {
            assert_int_equal(*line, '\r');
            size_t len = strcspn(line + 1, "\r");
            const char *end = strstr(line, "\033[K");
            assert_non_null(end);
            assert_true(tl_text_width((struct tl_str){line + 1, (size_t)(end - line) - 1}) < width);
            line += 1 + len;
            draws++;
        }
        assert_in_range(draws, 9, 13);
        assert_null(strchr(text, '\n'));
        assert_string_equal(text + n - 4, "\r\033[K");
        free(text);
    }
}

static void test_quiet(void **state)
{
    (void)state;
    static const struct tl_clock clock = {NULL, fake_mono, NULL};
    char *text = NULL;
    size_t n = 0;
    struct tl_cli cli = {
        .err = open_memstream(&text, &n), .clock = &clock, .width = 80, .err_tty = true, .quiet = true};
    struct tl_progress p;
    tl_progress_init(&p, &cli, "calc", "symbols");
    tl_progress_update(&p, 1, 2, 0, NULL);
    tl_progress_clear(&p);
    fclose(cli.err);
    assert_int_equal(n, 0);
    free(text);
}

/* The frame relies on these. */
static void check_options(const struct tl_option *list, const struct tl_option *others)
{
    for (const struct tl_option *o = list; o && o->name; o++) {
        assert_true((o->kind == TL_VALUE_FLAG) == (o->metavar == NULL));
        assert_true(o->help && o->help[strlen(o->help) - 1] != '.');
        if (o->kind == TL_VALUE_CHOICE) assert_non_null(o->choices);
        if (o->setting) assert_non_null(tl_setting_find(o->setting));
        for (const struct tl_option *q = list; q != o; q++) {
            assert_string_not_equal(q->name, o->name);
            assert_true(!o->letter || q->letter != o->letter);
        }
        for (const struct tl_option *q = others; q && q->name; q++) {
            assert_string_not_equal(q->name, o->name);
            assert_true(!o->letter || q->letter != o->letter);
        }
    }
}

static void test_commands(void **state)
{
    (void)state;
    check_options(tl_cli_global_options(), NULL);
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) {
        assert_ptr_equal(tl_cli_find(c->name), c);
        assert_non_null(c->run);
        assert_true(c->summary[strlen(c->summary) - 1] != '.');
        assert_true(c->args_min <= c->args_max);
        check_options(c->options, tl_cli_global_options());
        for (const struct tl_example *e = c->examples; e && e->command; e++)
            assert_non_null(strstr(e->command, c->name));
    }
    assert_null(tl_cli_find("calcu"));
    assert_null(tl_cli_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_width),          cmocka_unit_test(test_numbers),           cmocka_unit_test(test_table),
        cmocka_unit_test(test_progress_plain), cmocka_unit_test(test_progress_terminal), cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
