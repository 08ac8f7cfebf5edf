/* SPDX-License-Identifier: Apache-2.0 */
/* The real binary from the outside: help, wrong usage, settings, terminals and pipes, completion, manual page. What
 * needs the store is at the end. */
#include "support.h"

#include "run.h"

#include <sys/stat.h>

static const char *const commands[] = {"sample",     "import", "calc",       "get",  "bars",    "symbols",
                                       "indicators", "config", "completion", "help", "version", "token"};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static int setup(void **state)
{
    struct run *r = calloc(1, sizeof *r);
    run_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    run_release(*state);
    free(*state);
    return 0;
}

static size_t longest_line(const char *text)
{
    size_t longest = 0;
    for (const char *p = text; *p; p++) {
        size_t n = strcspn(p, "\n");
        if (n > longest) longest = n;
        p += n;
        if (!*p) break;
    }
    return longest;
}

static void test_help(void **state)
{
    struct run *r = *state;
    run(r, "--help");
    expect(r, 0, "Commands", NULL);
    for (size_t i = 0; i < N_COMMANDS; i++) assert_non_null(strstr(r->out, commands[i]));
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char usage[80];
        snprintf(usage, sizeof usage, "usage: tierline %s", commands[i]);
        run(r, commands[i], "--help");
        expect(r, 0, usage, NULL);
        assert_string_equal(r->err, "");
        assert_non_null(strstr(r->out, "--store URL"));
        assert_null(strchr(r->out, '\033'));
        assert_true(longest_line(r->out) <= 100);
        run(r, "help", commands[i]);
        expect(r, 0, usage, NULL);
        run(r, "--help", commands[i]);
        expect(r, 0, usage, NULL);
    }
    run(r, "version");
    expect(r, 0, "tierline 0.", NULL);
    run(r, "--version");
    expect(r, 0, "tierline 0.", NULL);
}

static void test_wrong_usage(void **state)
{
    struct run *r = *state;
    static const struct {
        const char *argv[6];
        const char *says;
    } rows[] = {
        {{NULL}, "no command given"},
        {{"clac"}, "unknown command 'clac'; did you mean 'calc'?"},
        {{"zzzzzzzz"}, "unknown command 'zzzzzzzz'"},
        {{"help", "clac"}, "did you mean 'calc'"},
        {{"--stor=x", "calc"}, NULL}, /* an abbreviation of --store: the store "x" has no bars */
        {{"--stroe=x", "calc"}, "unknown option '--stroe'; did you mean '--store'?"},
        {{"calc", "--indicatrs", "SMA"}, "did you mean '--indicators'"},
        {{"calc", "--zzzzzzzz"}, "unknown option '--zzzzzzzz'"},
        {{"calc", "-Z"}, "unknown option '-Z'"},
        {{"calc", "-jsonx"}, NULL},
        {{"calc", "--json=1"}, "'--json' takes no value"},
        {{"calc", "--date"}, "'--date' needs a value"},
        {{"calc", "-d"}, "'-d' needs a value"},
        {{"calc", "--date", "2024-02-30"}, "'2024-02-30' is not a date"},
        {{"calc", "--workers", "many"}, "--workers: 'many' is not an integer"},
        {{"calc", "--workers", "5000"}, "out of range"},
        {{"calc", "--adjust", "forwrd"}, "did you mean 'forward'"},
        {{"calc", "--freq", "1y"}, "'1y' is none of 1m"},
        {{"calc", "extra"}, "'extra' is one argument too many"},
        {{"calc", "--set", "dayly"}, "did you mean 'daily'"},
        {{"calc", "--indicators", "SMA(5", NULL}, ""},
        {{"get"}, "get needs SYMBOL SPEC"},
        {{"get", "AAPL"}, "get needs SYMBOL SPEC"},
        {{"get", "AAPL", "SMA", "--last", "0"}, "out of range"},
        {{"get", "AAPL", "SMA", "--last", "x"}, "'x' is not an integer"},
        {{"get", "AAPL", "SMA", "--format", "xml"}, "'xml' is none of table, csv, json"},
        {{"get", "AAPL", "SMA", "--format", "JSON"}, "did you mean 'json'"},
        {{"get", "AAPL", "SMAA"}, "SMA"},
        {{"bars"}, "bars needs SYMBOL"},
        {{"bars", "AAPL", "--from", "tomorrow"}, "'tomorrow' is not a date"},
        {{"import"}, "import needs FILE|DIR|-"},
        {{"import", "x.csv", "--kind", "bar"}, "did you mean 'bars'"},
        {{"import", "x.csv", "--profile", "yaho"}, "did you mean 'yahoo'"},
        {{"import", "x.csv", "--market", "XX"}, "'XX' is none of SH"},
        {{"import", "x.csv", "--tz", "Mars/Base"}, "Mars/Base"},
        {{"import", "x.csv", "--calendar", "CN"}, "goes with --kind calendar"},
        {{"sample"}, "sample needs DIR"},
        {{"sample", "x", "--symbols", "0"}, "out of range (1 to 20000)"},
        {{"indicators", "MACDD"}, "did you mean MACD?"},
        {{"completion"}, "completion needs bash"},
        {{"completion", "fish"}, "there is bash"},
        {{"calc", "--log-level", "loud"}, "none of debug"},
        {{"calc", "--config", "none.ini"}, "none.ini"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *argv[8] = {getenv("TL_TEST_BINARY")};
        for (size_t k = 0; k < 6 && rows[i].argv[k]; k++) argv[k + 1] = rows[i].argv[k];
        run_argv(r, argv);
        if (rows[i].says && (!strstr(r->err, rows[i].says) || r->code == 0)) print_message("row %zu\n", i);
        if (rows[i].says)
            expect(r, r->code == 3 ? 3 : 2, NULL, rows[i].says);
        else
            assert_true(r->code > 0 && r->code < 128);
        assert_null(strchr(r->err, '\033'));
        assert_string_equal(r->out, "");
    }
}

static void test_config_command(void **state)
{
    struct run *r = *state;
    run_put(r, "tierline.ini", "store = redis://me:s3cret@host/0\n[store]\nbusy_ms = 2s\n[sets]\nmine = rsi(6)\n");
    r->extra_env[0] = "TIERLINE_CALC_FREQ=1w";
    run(r, "config", "--log-level", "error");
    expect(r, 0, "redis://***@host/0", NULL);
    assert_null(strstr(r->out, "s3cret"));
    assert_non_null(strstr(r->out, "file tierline.ini:3"));
    assert_non_null(strstr(r->out, "env TIERLINE_CALC_FREQ"));
    assert_non_null(strstr(r->out, "flag --log-level"));
    assert_non_null(strstr(r->out, "RSI(6)"));
    assert_non_null(strstr(r->out, "default"));
    run(r, "config", "--json");
    expect(r, 0, "\"source\":\"file tierline.ini:3\"", NULL);
    assert_null(strstr(r->out, "s3cret"));
    run(r, "--store", "other.db", "config");
    expect(r, 0, "other.db", NULL);
    assert_non_null(strstr(r->out, "flag --store"));
}

static void test_config_errors(void **state)
{
    struct run *r = *state;
    run_put(r, "bad.ini", "[store]\nbusy_ms = 5\nbusy = 6\n");
    run(r, "config", "--config", "bad.ini");
    expect(r, 2, NULL, "tierline: bad.ini:3: unknown setting 'store.busy'; did you mean 'store.busy_ms'?");
    run(r, "--config", "bad.ini", "symbols");
    expect(r, 2, NULL, "bad.ini:3");
    r->extra_env[0] = "TIERLINE_CONFIG=bad.ini";
    run(r, "calc");
    expect(r, 2, NULL, "bad.ini:3");
    run(r, "version"); /* help and version work with broken settings */
    expect(r, 0, "tierline", NULL);
    run(r, "calc", "--help");
    expect(r, 0, "usage", NULL);
    r->extra_env[0] = "TIERLINE_STOER=x";
    run(r, "config");
    expect(r, 2, NULL, "did you mean TIERLINE_STORE?");
    r->extra_env[0] = "TIERLINE_SHARED=/nowhere";
    run(r, "config");
    expect(r, 0, "calc.workers", NULL);
}

static char *on_terminal(struct run *r, const char *const argv[])
{
    r->tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(r->tty >= 0);
    assert_int_equal(grantpt(r->tty), 0);
    assert_int_equal(unlockpt(r->tty), 0);
    int slave = open(ptsname(r->tty), O_RDWR | O_NOCTTY | O_CLOEXEC); /* keeps what was written readable */
    int fds[2];
    pid_t pid = run_start(r, argv, &fds[0], &fds[1]);
    char *text = calloc(1 << 16, 1);
    size_t n = 0;
    int status = 0;
    assert_int_equal(fcntl(r->tty, F_SETFL, O_NONBLOCK), 0);
    for (;;) {
        pid_t done = waitpid(pid, &status, WNOHANG);
        ssize_t got;
        while ((got = read(r->tty, text + n, (1 << 16) - 1 - n)) > 0) n += (size_t)got;
        if (done == pid) break;
        usleep(1000);
    }
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    close(slave);
    close(r->tty);
    r->tty = -1;
    return text;
}

static void test_terminal_colors(void **state)
{
    struct run *r = *state;
    const char *const help[] = {getenv("TL_TEST_BINARY"), "--help", NULL};
    const char *const plain[] = {getenv("TL_TEST_BINARY"), "--no-color", "--help", NULL};
    const char *const wrong[] = {getenv("TL_TEST_BINARY"), "clac", NULL};
    char *text = on_terminal(r, help);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(text, "\033[1m"));
    free(text);
    text = on_terminal(r, wrong);
    assert_int_equal(r->code, 2);
    assert_non_null(strstr(text, "\033[31m"));
    free(text);
    text = on_terminal(r, plain);
    assert_null(strchr(text, '\033'));
    free(text);
    r->extra_env[0] = "NO_COLOR=1";
    text = on_terminal(r, help);
    assert_null(strchr(text, '\033'));
    free(text);
    r->extra_env[0] = "NO_COLOR="; /* empty: as if unset */
    text = on_terminal(r, help);
    assert_non_null(strstr(text, "\033[1m"));
    free(text);
    r->extra_env[0] = "TERM=dumb";
    text = on_terminal(r, help);
    assert_null(strchr(text, '\033'));
    free(text);
}

static void test_pipes(void **state)
{
    struct run *r = *state;
    run_shell(r, "$TIER indicators | head -1; echo \"${PIPESTATUS[0]}\"");
    expect(r, 0, "indicator", NULL);
    assert_string_equal(r->err, "");
    run_shell(r, "$TIER indicators --json | true; exit ${PIPESTATUS[0]}");
    assert_true(r->code == 141 || r->code == 0); /* 0: everything was written before the reader had gone */
    assert_string_equal(r->err, "");
    run_shell(r, "{ sleep 0.3; $TIER help --man; echo $? >&2; } | true; exit 0");
    expect(r, 0, NULL, "141");
    assert_null(strstr(r->err, "tierline"));
    r->out_path = "/dev/full";
    run(r, "indicators");
    expect(r, 6, NULL, "standard output");
    assert_non_null(strstr(r->err, "No space left"));
    run(r, "version");
    expect(r, 6, NULL, "No space left");
    r->out_path = NULL;
    run_shell(r, "$TIER version >&-");
    assert_int_equal(r->code, 6);
}

static void test_completion(void **state)
{
    struct run *r = *state;
    run_shell(r, "$TIER completion bash >c.sh && bash -n c.sh && source c.sh && complete -p tierline");
    expect(r, 0, "complete -F _tierline tierline", NULL);
    static const struct {
        const char *words, *want;
    } rows[] = {
        {"tierline cal", "calc"},
        {"tierline --store x cal", "calc"},
        {"tierline calc --indi", "--indicators"},
        {"tierline calc --adjust fo", "forward"},
        {"tierline get AAPL SMA --format c", "csv"},
        {"tierline --log-level wa", "warn"},
        {"tierline help imp", "import"},
        {"tierline completion b", "bash"},
        {"tierline get AAPL MACD", "MACD"},
        {"tierline indicators OB", "OBV"},
        {"tierline import --kind fa", "factors"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "source c.sh; compopt() { :; }; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _tierline; "
                 "echo \"${COMPREPLY[*]}\"",
                 rows[i].words);
        run_shell(r, line);
        char want[64];
        snprintf(want, sizeof want, "%s\n", rows[i].want);
        expect(r, 0, NULL, NULL);
        if (strcmp(r->out, want) != 0) print_message("'%s'\n", rows[i].words);
        assert_string_equal(r->out, want);
    }
}

static void test_man_page(void **state)
{
    struct run *r = *state;
    run(r, "help", "--man");
    expect(r, 0, ".Dt TIERLINE 1", NULL);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char head[40];
        snprintf(head, sizeof head, ".Ss tierline %s", commands[i]);
        assert_non_null(strstr(r->out, head));
    }
    run_shell(r, "command -v mandoc >/dev/null || exit 42; $TIER help --man | mandoc -T lint -W warning");
    if (r->code == 42) {
        print_message("mandoc is not there: the page is not linted\n");
        return;
    }
    expect(r, 0, NULL, NULL);
    assert_string_equal(r->out, "");
}

/* Every setting of the program stands in docs/configuration.md with its default. */
static void test_documented(void **state)
{
    struct run *r = *state;
    const char *root = getenv("TL_TEST_SOURCE");
    assert_non_null(root);
    char path[1024];
    snprintf(path, sizeof path, "%s/docs/configuration.md", root);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char *text = run_text_of(fd);
    run_shell(
        r, "$TIER config --json | tr '{' '\\n' | sed -n 's/^\"name\":\"\\([^\"]*\\)\".*\"default\":\"\\([^\"]*\\)\".*/"
           "| `\\1` | `\\2` |/p'");
    expect(r, 0, "| `store` |", NULL);
    char *save = NULL;
    unsigned rows = 0;
    for (char *line = strtok_r(r->out, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (!strstr(text, line)) print_message("docs/configuration.md has not: %s\n", line);
        assert_non_null(strstr(text, line));
        rows++;
    }
    assert_true(rows >= 8);
    free(text);
}

/* A bar that redraws itself on a terminal, and is gone in the end; whole lines or nothing elsewhere. */
static void test_progress(void **state)
{
    struct run *r = *state;
    run(r, "sample", "m", "--symbols", "5", "--years", "1");
    expect(r, 0, "symbols", NULL);
    const char *const import[] = {getenv("TL_TEST_BINARY"), "import", "m/bars", NULL};
    const char *const quiet[] = {getenv("TL_TEST_BINARY"), "import", "m/bars", "--quiet", NULL};
    char *text = on_terminal(r, import);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(text, "\r\033[1mimport\033[0m"));
    assert_non_null(strstr(text, "\r\033[K"));
    free(text);
    text = on_terminal(r, quiet);
    assert_null(strstr(text, "\033[K"));
    free(text);
    run(r, "import", "m/bars");
    assert_null(strchr(r->err, '\r'));
    run(r, "import", "m/bars", "--quiet");
    assert_null(strstr(r->err, "import:"));
}

/* From nothing to indicators; then the same again, from the store. */
static void test_first_steps(void **state)
{
    struct run *r = *state;
    run(r, "symbols");
    assert_int_not_equal(r->code, 0); /* no store yet: said, not made */
    run(r, "sample", "m", "--symbols", "12", "--years", "1");
    expect(r, 0, "symbols", NULL);
    run(r, "import", "m/bars", "--json");
    expect(r, 0, "\"files_failed\":0", NULL);
    run(r, "import", "--kind", "factors", "m/factors.csv", "--quiet");
    expect(r, 0, "rows", NULL);
    run(r, "symbols", "--json");
    expect(r, 0, "\"freq\":\"1d\"", NULL);
    run(r, "symbols");
    expect(r, 0, "revision", NULL);
    run(r, "calc", "--json", "--quiet");
    assert_true(r->code == 0 || r->code == 1); /* short histories have too few bars */
    assert_non_null(strstr(r->out, "\"from_cache\":0"));
    assert_null(strstr(r->out, "\"computed\":0"));
    run(r, "calc", "--json", "--quiet");
    assert_non_null(strstr(r->out, "\"computed\":0"));
    run(r, "import", "m/bars", "--json"); /* idempotent */
    expect(r, 0, "\"appended\":0", NULL);
    run(r, "get", "600000.SH", "SMA(5)", "--last", "1", "--format", "json");
    expect(r, 0, "\"freshness\":\"fresh\"", NULL);
    run(r, "bars", "600000.SH", "--freq", "1w", "--last", "2", "--format", "csv");
    expect(r, 0, "date,open,high,low,close,volume,amount\n", NULL);
    run(r, "import", "missing.csv");
    assert_int_equal(r->code, 3);
    assert_non_null(strstr(r->err, "missing.csv"));
}

int main(void)
{
    if (!getenv("TL_TEST_BINARY")) {
        fprintf(stderr, "TL_TEST_BINARY is not set\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_help, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_config_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_config_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terminal_colors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_completion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_man_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_steps, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
