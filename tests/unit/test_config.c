/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: the table, the file's grammar with its errors by line, the environment, flags, precedence, redaction. */
#include "support.h"

#include "base/err.h"
#include "base/util.h"
#include "config/choice.h"
#include "config/config.h"

#include <sys/stat.h>

#define VAR(z) ((char[]){z})

static struct tl_config *parsed(const char *text, struct tl_err *err, enum tl_status *st)
{
    struct tl_config *cfg = tl_config_new();
    assert_non_null(cfg);
    *err = (struct tl_err){0};
    *st = tl_config_parse(cfg, tl_str(text), "t.ini", err);
    return cfg;
}

static void test_defaults(void **state)
{
    (void)state;
    struct tl_config *cfg = tl_config_new();
    assert_string_equal(tl_config_str(cfg, "store"), "sqlite:tierline.db");
    assert_int_equal(tl_config_int(cfg, "store.busy_ms"), 5000);
    assert_int_equal(tl_config_int(cfg, "store.queue_bytes"), 64 << 20);
    assert_string_equal(tl_config_source(cfg, "store"), "default");
    assert_string_equal(tl_config_str(cfg, "calc.suspended"), "keep");
    assert_string_equal(tl_config_sessions(cfg, "cn"), "09:30-11:30,13:00-15:00");
    assert_null(tl_config_sessions(cfg, "XX"));
    assert_null(tl_config_file(cfg));
    const char *specs = NULL;
    struct tl_err err;
    assert_int_equal(tl_config_set(cfg, "DAILY", &specs, &err), TL_OK);
    assert_string_equal(specs,
                        "SMA(5);SMA(10);SMA(20);SMA(60);MACD(12,26,9);RSI(14);BBANDS(20,2,2,SMA);ATR(14);KDJ(9,3,3)");
    assert_int_equal(tl_config_set(cfg, "dayly", &specs, &err), TL_NOT_FOUND);
    assert_non_null(strstr(err.text, "did you mean 'daily'"));
    tl_config_free(cfg);
}

/* What the built-in set says is what the parser makes of it. */
static void test_builtin_set_is_canonical(void **state)
{
    (void)state;
    const char *specs = NULL;
    struct tl_err err = {0};
    enum tl_status st;
    struct tl_config *cfg = tl_config_new();
    assert_int_equal(tl_config_set(cfg, "daily", &specs, &err), TL_OK);
    char text[512];
    snprintf(text, sizeof text, "[sets]\ncopy = %s\n", specs);
    struct tl_config *again = parsed(text, &err, &st);
    assert_int_equal(st, TL_OK);
    const char *copy = NULL;
    assert_int_equal(tl_config_set(again, "copy", &copy, &err), TL_OK);
    assert_string_equal(copy, specs);
    tl_config_free(again);
    tl_config_free(cfg);
}

static void test_good_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *value, *source;
    } rows[] = {
        {"store = sqlite:a.db\n", "store", "sqlite:a.db", "file t.ini:1"},
        {"\xEF\xBB\xBF# hi\r\nstore: a.db\r\n", "store", "a.db", "file t.ini:2"},
        {"[store]\n  busy_ms = 7s\n  queue_bytes = 2 MiB\n", "store.busy_ms", "7s", "file t.ini:2"},
        {"[store]\n  busy_ms = 7s\n  queue_bytes = 2 MiB\n", "store.queue_bytes", "2 MiB", "file t.ini:3"},
        {"store.busy_ms = 90\n", "store.busy_ms", "90", "file t.ini:1"},
        {"[ CALC ] ; comment\nFreq = 1W ; weekly\n", "calc.freq", "1w", "file t.ini:2"},
        {"[calc]\nadjust = QFQ", "calc.adjust", "forward", "file t.ini:2"},
        {"[log]\nlevel = warning\n", "log.level", "warn", "file t.ini:2"},
        {"store = redis://u:p=1@h/0?a=b\n", "store", "redis://u:p=1@h/0?a=b", "file t.ini:1"},
        {"", "calc.workers", "0", "default"},
        {"\n\n; only comments\n#\n", "calc.workers", "0", "default"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_err err;
        enum tl_status st;
        struct tl_config *cfg = parsed(rows[i].text, &err, &st);
        if (st != TL_OK) print_message("row %zu: %s\n", i, err.text);
        assert_int_equal(st, TL_OK);
        assert_string_equal(tl_config_text(cfg, rows[i].name), rows[i].value);
        assert_string_equal(tl_config_source(cfg, rows[i].name), rows[i].source);
        tl_config_free(cfg);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        const char *says;
    } rows[] = {
        {"stor = x\n", 1, "did you mean 'store'"},
        {"\n[store]\nbusy = 5\n", 3, "did you mean 'store.busy_ms'"},
        {"[stroe]\nbusy_ms = 5\n", 1, "did you mean [store]"},
        {"[zzzzzz]\n", 1, "unknown section [zzzzzz]"},
        {"[store\nbusy_ms = 5\n", 1, "has no ']'"},
        {"[store] busy_ms = 5\n", 1, "behind the section head"},
        {"[store]\nbusy_ms\n", 2, "neither"},
        {"[store]\nbusy_ms = 5\nqueue_bytes = 1MiB\nBUSY_MS = 6\n", 4, "given twice, first in line 2"},
        {"store.busy_ms = 5\n[store]\nbusy_ms = 5\n", 3, "given twice, first in line 1"},
        {"[store]\nbusy_ms = soon\n", 2, "'soon' is not a time"},
        {"[store]\nbusy_ms = 0\n", 2, "out of range (1 to 3600000)"},
        {"[store]\nbusy_ms = -5\n", 2, "out of range"},
        {"[store]\nbusy_ms = 99999999999999999999\n", 2, "out of range"},
        {"[store]\nbusy_ms = 9223372036854775807h\n", 2, "out of range"},
        {"[store]\nbusy_ms = 5 5\n", 2, "not a time"},
        {"[store]\nqueue_bytes = 64XB\n", 2, "not a size"},
        {"[calc]\nworkers = 1.5\n", 2, "not an integer"},
        {"[calc]\nworkers =\n", 2, "the value is empty"},
        {"[calc]\nsuspended = kep\n", 2, "did you mean 'keep'"},
        {"[calc]\nfreq = daily\n", 2, "none of 1m, 5m"},
        {"store = \"a.db\"\n", 1, "without quotes"},
        {"[sets]\nmine = SMA(5); NOPE\n", 2, "set mine"},
        {"[sets]\nmine = SMA(5);\n   SMA(0)\n", 3, "set mine"},
        {"[sets]\nmine =\n", 2, "the value is empty"},
        {"[sets]\nmine = ; SMA(5)\nmine = SMA(6)\n", 3, "given twice"},
        {"[sets]\nmy set = SMA(5)\n", 2, "no name for a set"},
        {"[sets]\nSMA(5)\n", 2, "neither"},
        {"[schedules]\nmy job = 0 3 * * *\n", 2, "no name for a schedule"},
        {"[schedules]\nnightly =\n", 2, "the value is empty"},
        {"[schedules]\nnightly = 0 3 * * *\n  0 4 * * *\n", 3, "neither"},
        {"[schedule]\nnightly = 0 3 * * *\n", 1, "did you mean [schedules]?"},
        {"[sessions]\nCN = 25:00-26:00\n", 2, "sessions.CN"},
        {"[sessions]\nDE = 09:00-17:30\n", 2, "no market with sessions"},
        {"# one\n= 5\n", 2, "unknown setting"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_err err;
        enum tl_status st;
        struct tl_config *cfg = parsed(rows[i].text, &err, &st);
        if (st == TL_OK || err.line != rows[i].line || !strstr(err.text, rows[i].says))
            print_message("row %zu: %d line %u '%s'\n", i, st, (unsigned)err.line, err.text);
        assert_int_not_equal(st, TL_OK);
        assert_int_equal(err.status, st);
        assert_int_equal(err.line, rows[i].line);
        assert_non_null(strstr(err.text, rows[i].says));
        assert_string_equal(err.file, "t.ini");
        tl_config_free(cfg);
    }
}

/* The first of several errors is the one that is told. */
static void test_first_error(void **state)
{
    (void)state;
    struct tl_err err;
    enum tl_status st;
    struct tl_config *cfg = parsed("[calc]\nworkers = x\n\nbad line\nfreq = y\n", &err, &st);
    assert_int_equal(st, TL_INVALID);
    assert_int_equal(err.line, 2);
    tl_config_free(cfg);
}

static void test_nul_and_long_lines(void **state)
{
    (void)state;
    struct tl_err err = {0};
    struct tl_config *cfg = tl_config_new();
    static const char nul[] = "[calc]\nworkers = 1\0 2\n";
    assert_int_equal(tl_config_parse(cfg, (struct tl_str){nul, sizeof nul - 1}, "t.ini", &err), TL_INVALID);
    assert_int_equal(err.line, 2);
    tl_config_free(cfg);
    char text[400];
    enum tl_status st;
    for (size_t n = 150; n < 350; n++) { /* never cut: whole or an error */
        size_t at = (size_t)snprintf(text, sizeof text, "\nstore = ");
        memset(text + at, 'x', n);
        memcpy(text + at + n, "\n", 2);
        cfg = parsed(text, &err, &st);
        if (st == TL_OK) {
            assert_int_equal(strlen(tl_config_str(cfg, "store")), n);
            assert_true(n < 200);
        } else {
            assert_int_equal(st, TL_TOO_LARGE);
            assert_int_equal(err.line, 2);
            assert_true(n > 180);
        }
        tl_config_free(cfg);
    }
}

/* A set may be longer than inih's buffer and go over several lines; blanks before ";" begin no comment. */
/* Names of the user's own; what they say is checked by the jobs. */
static void test_schedules(void **state)
{
    (void)state;
    char text[1024];
    struct tl_config_entry e;
    snprintf(text, sizeof text,
             "[Schedules]\n"
             "daily = 30 15 * * trading-day Asia/Shanghai ; set=daily; wait=95%%\n"
             "long = 0 3 * * * ; symbols=%0100d ; set=%0100d ; freq=1w\n",
             1, 2);
    struct tl_err err;
    enum tl_status st;
    struct tl_config *cfg = parsed(text, &err, &st);
    assert_int_equal(st, TL_OK);
    const struct tl_config_entry *found = NULL;
    for (size_t i = 0; tl_config_entry(cfg, i, &e); i++) {
        if (strcmp(e.section, "schedules") != 0) continue;
        if (strcmp(e.name, "long") == 0) {
            snprintf(text, sizeof text, "0 3 * * *; symbols=%0100d; set=%0100d; freq=1w", 1, 2);
            char got[512] = "";
            for (const char *p = e.value; *p; p++) /* where the line was cut there may be a blank or a line end */
                if (*p != ' ' && *p != '\n') got[strlen(got)] = *p;
            char want[512] = "";
            for (const char *p = text; *p; p++)
                if (*p != ' ') want[strlen(want)] = *p;
            assert_string_equal(got, want);
            continue;
        }
        found = &e;
        assert_string_equal(e.name, "daily");
        assert_string_equal(e.value, "30 15 * * trading-day Asia/Shanghai; set=daily; wait=95%");
        assert_int_equal(e.line, 2);
    }
    assert_non_null(found);
    tl_config_free(cfg);
    char *envp[] = {(char[]){"TIERLINE_SCHEDULES_NIGHTLY=0 3 * * *"}, NULL};
    cfg = tl_config_new();
    assert_int_equal(tl_config_environment(cfg, envp, &err), TL_OK);
    bool seen = false;
    for (size_t i = 0; tl_config_entry(cfg, i, &e); i++)
        seen |= strcmp(e.section, "schedules") == 0 && strcmp(e.name, "nightly") == 0 && e.line == 0;
    assert_true(seen);
    tl_config_free(cfg);
}

static void test_sets(void **state)
{
    (void)state;
    struct tl_err err;
    enum tl_status st;
    const char *specs;
    struct tl_config *cfg = parsed("[sets]\n"
                                   "short = sma( 5 ) ; macd ;; rsi ;\n"
                                   "long = SMA(2)\n"
                                   "   SMA(3); SMA(4)\n"
                                   "; a comment\n"
                                   "\n"
                                   "\tSMA(5) ;SMA(6)\n"
                                   "daily = OBV\n"
                                   "[calc]\nset = long\n",
                                   &err, &st);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
    assert_int_equal(tl_config_set(cfg, "short", &specs, &err), TL_OK);
    assert_string_equal(specs, "SMA(5);MACD(12,26,9);RSI(14)");
    assert_int_equal(tl_config_set(cfg, "long", &specs, &err), TL_OK);
    assert_string_equal(specs, "SMA(2);SMA(3);SMA(4);SMA(5);SMA(6)");
    assert_int_equal(tl_config_set(cfg, "daily", &specs, &err), TL_OK);
    assert_string_equal(specs, "OBV");
    tl_config_free(cfg);

    char text[8000], want[8000];
    for (unsigned count = 1; count <= 400; count += 7) {
        size_t n = (size_t)snprintf(text, sizeof text, "[sets]\nbig = "), w = 0;
        for (unsigned i = 0; i < count; i++) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%sSMA(%u)", i % 3 == 1 ? " ; " : i ? ";" : "", i + 2);
            w += (size_t)snprintf(want + w, sizeof want - w, "%sSMA(%u)", i ? ";" : "", i + 2);
        }
        snprintf(text + n, sizeof text - n, "\n[calc]\nworkers = x\n");
        cfg = parsed(text, &err, &st);
        assert_int_equal(st, TL_INVALID); /* lines are still counted right behind a long one */
        assert_int_equal(err.line, 4);
        assert_int_equal(tl_config_set(cfg, "big", &specs, &err), TL_OK);
        assert_string_equal(specs, want);
        tl_config_free(cfg);
    }
}

static void test_environment(void **state)
{
    (void)state;
    struct tl_err err = {0};
    struct tl_config *cfg = tl_config_new();
    char *good[] = {VAR("PATH=/bin"),
                    VAR("TIERLINE_STORE=e.db"),
                    VAR("TIERLINE_STORE_BUSY_MS=2s"),
                    VAR("TIERLINE_CONFIG=/x"),
                    VAR("TIERLINE_SHARED=/y"),
                    VAR("TIERLINE_SETS_MINE=SMA(7)"),
                    VAR("TIERLINE_SESSIONS_US=09:30-13:00"),
                    NULL};
    assert_int_equal(tl_config_environment(cfg, good, &err), TL_OK);
    assert_string_equal(tl_config_str(cfg, "store"), "e.db");
    assert_string_equal(tl_config_source(cfg, "store"), "env TIERLINE_STORE");
    assert_int_equal(tl_config_int(cfg, "store.busy_ms"), 2000);
    assert_string_equal(tl_config_sessions(cfg, "US"), "09:30-13:00");
    const char *specs;
    assert_int_equal(tl_config_set(cfg, "mine", &specs, &err), TL_OK);
    assert_string_equal(specs, "SMA(7)");
    static const struct {
        char entry[64];
        const char *says;
    } bad[] = {
        {"TIERLINE_STOR=x", "did you mean TIERLINE_STORE?"},
        {"TIERLINE_CALC_WORKER=4", "did you mean TIERLINE_CALC_WORKERS?"},
        {"TIERLINE_CONFIGS=4", "did you mean TIERLINE_CONFIG?"},
        {"TIERLINE_QQQQQQQQQQQQQQ=4", "is no setting"},
        {"TIERLINE_CALC_WORKERS=four", "TIERLINE_CALC_WORKERS: calc.workers: 'four' is not an integer"},
        {"TIERLINE_CALC_WORKERS=", "the value is empty"},
        {"TIERLINE_SETS_X=", "the value is empty"},
        {"TIERLINE_SETS_X=NOPE(1)", "set x"},
        {"TIERLINE_SESSIONS_QQ=09:30-10:00", "no market"},
    };
    for (size_t i = 0; i < TL_COUNT(bad); i++) {
        char entry[64];
        memcpy(entry, bad[i].entry, sizeof entry);
        char *envp[] = {entry, NULL};
        assert_int_not_equal(tl_config_environment(cfg, envp, &err), TL_OK);
        if (!strstr(err.text, bad[i].says)) print_message("row %zu: %s\n", i, err.text);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_non_null(strstr(err.text, "environment variable TIERLINE_"));
    }
    tl_config_free(cfg);
}

static void test_flags(void **state)
{
    (void)state;
    struct tl_err err = {0};
    struct tl_config *cfg = tl_config_new();
    assert_int_equal(tl_config_flag(cfg, "calc.workers", "3", "--workers", &err), TL_OK);
    assert_int_equal(tl_config_int(cfg, "calc.workers"), 3);
    assert_string_equal(tl_config_source(cfg, "calc.workers"), "flag --workers");
    assert_int_equal(tl_config_flag(cfg, "calc.workers", "x", "--workers", &err), TL_INVALID);
    assert_string_equal(err.text, "--workers: 'x' is not an integer");
    assert_int_equal(tl_config_int(cfg, "calc.workers"), 3);
    tl_config_free(cfg);
}

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_sources_in_order(void **state)
{
    (void)state;
    char dir[] = "/tmp/tl-config-XXXXXX", path[256], named[256], variable[300], xdg[300];
    assert_non_null(mkdtemp(dir));
    char *cwd = getcwd(NULL, 0);
    assert_int_equal(chdir(dir), 0);
    snprintf(path, sizeof path, "%s/xdg", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/xdg/tierline", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/xdg/tierline/tierline.ini", dir);
    snprintf(named, sizeof named, "%s/named.ini", dir);
    snprintf(variable, sizeof variable, "TIERLINE_CONFIG=%s", named);
    snprintf(xdg, sizeof xdg, "XDG_CONFIG_HOME=%s/xdg", dir);
    put_file(path, "[calc]\nworkers = 1\n");
    put_file(named, "[calc]\nworkers = 2\nfreq = 5m\n");
    put_file("flag.ini", "[calc]\nworkers = 4\n");

    struct tl_err err = {0};
    struct tl_config *cfg;
    char *e_xdg[] = {xdg, NULL}, *e_all[] = {xdg, variable, VAR("TIERLINE_CALC_FREQ=15m"), NULL};
    assert_int_equal(tl_config_load(NULL, e_xdg, &cfg, &err), TL_OK);
    assert_int_equal(tl_config_int(cfg, "calc.workers"), 1);
    tl_config_free(cfg);
    put_file("tierline.ini", "[calc]\nworkers = 3\n");
    assert_int_equal(tl_config_load(NULL, e_xdg, &cfg, &err), TL_OK);
    assert_int_equal(tl_config_int(cfg, "calc.workers"), 3);
    assert_string_equal(tl_config_file(cfg), "tierline.ini");
    tl_config_free(cfg);
    assert_int_equal(tl_config_load(NULL, e_all, &cfg, &err), TL_OK);
    assert_int_equal(tl_config_int(cfg, "calc.workers"), 2);
    assert_string_equal(tl_config_str(cfg, "calc.freq"), "15m");
    assert_string_equal(tl_config_source(cfg, "calc.freq"), "env TIERLINE_CALC_FREQ");
    tl_config_free(cfg);
    assert_int_equal(tl_config_load("flag.ini", e_all, &cfg, &err), TL_OK);
    assert_int_equal(tl_config_int(cfg, "calc.workers"), 4);
    tl_config_free(cfg);

    assert_int_equal(tl_config_load("missing.ini", NULL, &cfg, &err), TL_NOT_FOUND);
    assert_non_null(strstr(err.text, "missing.ini"));
    assert_null(cfg);
    assert_int_equal(tl_config_load(dir, NULL, &cfg, &err), TL_INVALID);
    assert_non_null(strstr(err.text, "folder"));
    FILE *f = fopen("huge.ini", "w");
    for (int i = 0; i < 300000; i++) fputs("; x\n", f);
    fclose(f);
    assert_int_equal(tl_config_load("huge.ini", NULL, &cfg, &err), TL_TOO_LARGE);

    unlink("huge.ini");
    unlink("tierline.ini");
    unlink("flag.ini");
    unlink(named);
    unlink(path);
    assert_int_equal(rmdir("xdg/tierline"), 0);
    assert_int_equal(rmdir("xdg"), 0);
    assert_int_equal(chdir(cwd), 0);
    assert_int_equal(rmdir(dir), 0);
    free(cwd);
}

static void test_redact(void **state)
{
    (void)state;
    static const struct {
        const char *url, *want;
    } rows[] = {
        {"redis://u:secret@h:1/0", "redis://***@h:1/0"},
        {"redis://:p@ss/w@h/0", "redis://***@h/0"},
        {"redis://h:6379/0", "redis://h:6379/0"},
        {"tdengines://root:x@h:6041/db?token=abc&a=b", "tdengines://***@h:6041/db?token=***&a=b"},
        {"redis://h?a=1&password=q", "redis://h?a=1&password=***"},
        {"sqlite:///a@b/c.db", "sqlite:///a@b/c.db"},
        {"sqlite:x.db", "sqlite:x.db"},
        {"plain", "plain"},
        {"", ""},
    };
    char out[128];
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        tl_url_redact(rows[i].url, out, sizeof out);
        assert_string_equal(out, rows[i].want);
    }
    char tiny[8];
    tl_url_redact("redis://u:secret@h", tiny, sizeof tiny);
    assert_string_equal(tiny, "redis:/");
}

static void test_choices(void **state)
{
    (void)state;
    assert_true(tl_str_eq(tl_choice_match("raw,none|forward,qfq", TL_STR("NONE")), TL_STR("raw")));
    assert_null(tl_choice_match("raw|forward", TL_STR("rawf")).p);
    assert_null(tl_choice_match("raw|forward", TL_STR("")).p);
    char list[40];
    tl_choice_list("raw,none|forward,qfq|x", ", ", list, sizeof list);
    assert_string_equal(list, "raw, forward, x");
    assert_null(tl_choice_nearest("table|csv|json", TL_STR("q")).p);
    assert_true(tl_str_eq(tl_choice_nearest("table|csv|json", TL_STR("jsn")), TL_STR("json")));
}

/* Every row can be found by every name it has, and its default passes its own check. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; tl_setting_at(i); i++) {
        const struct tl_setting *s = tl_setting_at(i);
        assert_ptr_equal(tl_setting_find(s->name), s);
        assert_true(strlen(s->help) > 10);
        assert_true(s->help[strlen(s->help) - 1] != '.');
        char env[64], entry[160];
        tl_setting_env(s, env);
        snprintf(entry, sizeof entry, "%s=%s", env, s->def);
        char *envp[] = {entry, NULL};
        struct tl_err err = {0};
        struct tl_config *cfg = tl_config_new();
        assert_int_equal(tl_config_environment(cfg, envp, &err), TL_OK);
        assert_string_equal(tl_config_text(cfg, s->name), s->def);
        assert_int_equal(strncmp(tl_config_source(cfg, s->name), "env ", 4), 0);
        tl_config_free(cfg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),         cmocka_unit_test(test_builtin_set_is_canonical),
        cmocka_unit_test(test_good_files),       cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_first_error),      cmocka_unit_test(test_nul_and_long_lines),
        cmocka_unit_test(test_schedules),        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_environment),      cmocka_unit_test(test_flags),
        cmocka_unit_test(test_sources_in_order), cmocka_unit_test(test_redact),
        cmocka_unit_test(test_choices),          cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
