/* SPDX-License-Identifier: Apache-2.0 */
/* The frame: finds the command, parses its options by the table (getopt_long), checks their values, loads the settings,
 * runs the command, and turns its status into messages and the exit code. Commands never see argv. Standard output is
 * written through a cookie that keeps the first error, so a full disk is reported with its reason however late it
 * shows; a closed pipe ends the process quietly, by SIGPIPE as usual. */

#include "cli/cli.h"

#include "base/err.h"
#include "base/util.h"
#include "cli/cli_i.h"
#include "cli/commands.h"
#include "config/choice.h"
#include "market/civil.h"
#include "server/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { OPTIONS_MAX = 40, CODE_BASE = 0x100 };

struct tl_cli_values {
    const struct tl_option *option[OPTIONS_MAX]; /* the command's, then the global ones */
    const char *value[OPTIONS_MAX];              /* NULL: not given */
    size_t n;
    char **args;
    unsigned n_args;
    int out_errno; /* first error of standard output */
};

static size_t slot(const struct tl_cli *cli, const char *name)
{
    size_t i = 0;
    while (i < cli->values->n && strcmp(cli->values->option[i]->name, name) != 0) i++;
    TL_ASSERT(i < cli->values->n); /* asked for an option that is not in the command's row */
    return i;
}

const char *tl_cli_opt(const struct tl_cli *cli, const char *name)
{
    return cli->values->value[slot(cli, name)];
}

bool tl_cli_flag(const struct tl_cli *cli, const char *name)
{
    return tl_cli_opt(cli, name) != NULL;
}

int64_t tl_cli_count(const struct tl_cli *cli, const char *name, int64_t def)
{
    int64_t v;
    const char *text = tl_cli_opt(cli, name);
    return text && tl_str_to_i64(tl_str(text), &v) ? v : def;
}

bool tl_cli_date(const struct tl_cli *cli, const char *name, int64_t *ts_ms)
{
    const char *text = tl_cli_opt(cli, name);
    return text && tl_civil_parse_date(tl_str(text), ts_ms);
}

unsigned tl_cli_argc(const struct tl_cli *cli)
{
    return cli->values->n_args;
}

const char *tl_cli_arg(const struct tl_cli *cli, unsigned i)
{
    return i < cli->values->n_args ? cli->values->args[i] : NULL;
}

enum tl_status tl_cli_open_store(const struct tl_cli *cli, bool read_only, struct tl_store **out, struct tl_err *err)
{
    return tl_config_open_store(cli->cfg, read_only, cli->clock, &cli->log, out, err);
}

/* ---- options ---- */

static enum tl_status check_value(const struct tl_option *o, const char *value, struct tl_err *err)
{
    struct tl_str text = tl_str(value), word;
    int64_t n, max = o->max ? o->max : INT64_MAX;
    switch (o->kind) {
    case TL_VALUE_COUNT:
        if (!tl_str_to_i64(text, &n)) return tl_fail(err, TL_INVALID, "--%s: '%s' is not an integer", o->name, value);
        if (n < o->min || n > max)
            return tl_fail(err, TL_INVALID, "--%s: '%s' is out of range (%lld to %lld)", o->name, value,
                           (long long)o->min, (long long)max);
        return TL_OK;
    case TL_VALUE_DATE:
        if (!tl_civil_parse_date(text, &n))
            return tl_fail(err, TL_INVALID, "--%s: '%s' is not a date (YYYY-MM-DD or YYYYMMDD)", o->name, value);
        return TL_OK;
    case TL_VALUE_CHOICE:
        word = tl_choice_match(o->choices, text);
        if (!word.p || !tl_str_eq(word, text)) {
            char list[160];
            tl_choice_list(o->choices, ", ", list, sizeof list);
            word = tl_choice_nearest(o->choices, text);
            return tl_fail(err, TL_INVALID, "--%s: '%s' is none of %s%s%.*s%s", o->name, value, list,
                           word.p ? "; did you mean '" : "", word.p ? (int)word.n : 0, word.p ? word.p : "",
                           word.p ? "'?" : "");
        }
        return TL_OK;
    case TL_VALUE_TEXT:
    case TL_VALUE_FILE:
    case TL_VALUE_DIR:
        if (text.n == 0) return tl_fail(err, TL_INVALID, "--%s: the value is empty", o->name);
        return TL_OK;
    case TL_VALUE_FLAG:
        return TL_OK;
    }
    return TL_OK;
}

static void list_options(struct tl_cli_values *v, const struct tl_command *c)
{
    const struct tl_option *lists[2] = {c ? c->options : NULL, tl_cli_global_options()};
    for (int k = 0; k < 2; k++) {
        for (const struct tl_option *o = lists[k]; o && o->name; o++) {
            TL_ASSERT(v->n < OPTIONS_MAX);
            v->value[v->n] = NULL;
            v->option[v->n++] = o;
        }
    }
}

static enum tl_status unknown_option(const struct tl_cli_values *v, const char *arg, struct tl_err *err)
{
    if (arg[0] != '-' || arg[1] != '-') return tl_fail(err, TL_INVALID, "unknown option '%s'", arg);
    struct tl_str name = tl_str(arg + 2), rest = name;
    (void)!tl_str_split(&rest, '=', &name);
    struct tl_nearest near;
    tl_nearest_init(&near, name);
    for (size_t i = 0; i < v->n; i++) tl_nearest_offer(&near, tl_str(v->option[i]->name));
    if (near.best.p)
        return tl_fail(err, TL_INVALID, "unknown option '--%.*s'; did you mean '--%.*s'?",
                       (int)TL_MIN(name.n, (size_t)64), name.p, TL_STR_ARG(near.best));
    return tl_fail(err, TL_INVALID, "unknown option '--%.*s'", (int)TL_MIN(name.n, (size_t)64), name.p);
}

/* Parses argv[1..] (argv[0] is the command or the program). in_order: stop at the first word that is no option.
 * *next: index of the first positional argument. */
static enum tl_status parse_options(struct tl_cli_values *v, int argc, char **argv, bool in_order, int *next,
                                    struct tl_err *err)
{
    struct option longs[OPTIONS_MAX + 1] = {0};
    char shorts[2 * OPTIONS_MAX + 3];
    size_t s = 0;
    shorts[s++] = in_order ? '+' : ':';
    if (in_order) shorts[s++] = ':';
    for (size_t i = 0; i < v->n; i++) {
        const struct tl_option *o = v->option[i];
        bool takes = o->kind != TL_VALUE_FLAG;
        longs[i] = (struct option){o->name, takes ? required_argument : no_argument, NULL, CODE_BASE + (int)i};
        if (!o->letter) continue;
        shorts[s++] = o->letter;
        if (takes) shorts[s++] = ':';
    }
    shorts[s] = '\0';
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int at = optind > 0 ? optind : 1;
        int code = getopt_long(argc, argv, shorts, longs, NULL);
        if (code == -1) break;
        const char *arg = at < argc ? argv[at] : "";
        if (code == ':') {
            const char *given = argv[optind - 1];
            return tl_fail(err, TL_INVALID, "option '%s' needs a value", given);
        }
        if (code == '?') {
            if (optopt >= CODE_BASE)
                return tl_fail(err, TL_INVALID, "option '--%s' takes no value", v->option[optopt - CODE_BASE]->name);
            if (optopt > 0) return tl_fail(err, TL_INVALID, "unknown option '-%c'", optopt);
            const char *last = argv[optind - 1];
            return unknown_option(v, last[0] == '-' ? last : arg, err);
        }
        size_t i = 0;
        if (code >= CODE_BASE)
            i = (size_t)(code - CODE_BASE);
        else
            while (v->option[i]->letter != code) i++;
        const char *value = optarg ? optarg : "";
        enum tl_status st = check_value(v->option[i], value, err);
        if (st != TL_OK) return st;
        v->value[i] = value;
    }
    *next = optind;
    return TL_OK;
}

static enum tl_status apply_settings(const struct tl_cli *cli, struct tl_config *cfg, struct tl_err *err)
{
    for (size_t i = 0; i < cli->values->n; i++) {
        const struct tl_option *o = cli->values->option[i];
        if (!o->setting || !cli->values->value[i]) continue;
        char flag[48];
        snprintf(flag, sizeof flag, "--%s", o->name);
        enum tl_status st = tl_config_flag(cfg, o->setting, cli->values->value[i], flag, err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

/* ---- streams ---- */

static ssize_t out_write(void *cookie, const char *p, size_t n)
{
    struct tl_cli_values *v = cookie;
    size_t done = 0;
    while (done < n) {
        ssize_t w = write(STDOUT_FILENO, p + done, n - done);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) {
            if (!v->out_errno) v->out_errno = errno;
            return 0;
        }
        done += (size_t)w;
    }
    return (ssize_t)n;
}

static bool variable_set(char *const *envp, const char *name, const char *value)
{
    size_t n = strlen(name);
    for (size_t i = 0; envp && envp[i]; i++) {
        if (strncmp(envp[i], name, n) != 0 || envp[i][n] != '=') continue;
        return value ? strcmp(envp[i] + n + 1, value) == 0 : envp[i][n + 1] != '\0';
    }
    return false;
}

static enum tl_status open_streams(struct tl_cli *cli, char *const *envp, struct tl_err *err)
{
    signal(SIGPIPE, SIG_IGN); /* write() says EPIPE instead */
    cookie_io_functions_t io = {.write = out_write};
    cli->err = stderr;
    cli->out = fopencookie(cli->values, "w", io);
    if (!cli->out) return tl_fail(err, TL_NOMEM, "out of memory");
    cli->out_tty = isatty(STDOUT_FILENO) == 1;
    cli->err_tty = isatty(STDERR_FILENO) == 1;
    bool color = !variable_set(envp, "NO_COLOR", NULL) && !variable_set(envp, "TERM", "dumb");
    cli->out_color = color && cli->out_tty;
    cli->err_color = color && cli->err_tty;
    struct winsize size = {0};
    cli->width = 80;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) cli->width = size.ws_col;
    return TL_OK;
}

/* The exit code, given what the command has returned. */
static int close_streams(struct tl_cli *cli, int code)
{
    (void)!fflush(cli->out);
    int error = cli->values->out_errno;
    (void)!fclose(cli->out);
    if (!error && close(STDOUT_FILENO) != 0 && errno != EBADF) error = errno;
    if (error == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    if (!error) return code;
    struct tl_err err;
    enum tl_status st = tl_fail_errno(&err, error, "standard output");
    tl_cli_error(cli, &err);
    return code ? code : TL_MAX(tl_status_exit(st), tl_status_exit(TL_IO));
}

/* ---- commands ---- */

const struct tl_command *tl_cli_find(const char *name)
{
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) {
        if (strcmp(c->name, name) == 0) return c;
    }
    return NULL;
}

enum tl_status tl_cli_unknown_command(const char *name, struct tl_err *err)
{
    struct tl_nearest near;
    tl_nearest_init(&near, tl_str(name));
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) tl_nearest_offer(&near, tl_str(c->name));
    if (near.best.p)
        return tl_fail(err, TL_INVALID, "unknown command '%.64s'; did you mean '%.*s'?", name, TL_STR_ARG(near.best));
    return tl_fail(err, TL_INVALID, "unknown command '%.64s'", name);
}

static enum tl_status check_args(const struct tl_cli *cli, struct tl_err *err)
{
    const struct tl_command *c = cli->command;
    if (cli->values->n_args < c->args_min) return tl_fail(err, TL_INVALID, "%s needs %s", c->name, c->args);
    if (cli->values->n_args > c->args_max)
        return tl_fail(err, TL_INVALID, "%s: '%s' is one argument too many", c->name, cli->values->args[c->args_max]);
    return TL_OK;
}

enum tl_status tl_cli_reload(const struct tl_cli *cli, char *const *envp, struct tl_config **out, struct tl_err *err)
{
    enum tl_status st = tl_config_load(tl_cli_opt(cli, "config"), envp, out, err);
    if (st == TL_OK) st = apply_settings(cli, *out, err);
    if (st == TL_OK) return TL_OK;
    tl_config_free(*out);
    *out = NULL;
    return st;
}

static enum tl_status load_settings(struct tl_cli *cli, char *const *envp, struct tl_err *err)
{
    enum tl_status st = TL_OK;
    if (cli->command->no_config)
        cli->cfg = tl_config_new();
    else
        st = tl_cli_reload(cli, envp, &cli->cfg, err);
    if (st == TL_OK && !cli->cfg) st = tl_fail(err, TL_NOMEM, "out of memory");
    if (st != TL_OK) return st;
    cli->log.fd = STDERR_FILENO;
    if (!tl_log_level_parse(tl_config_str(cli->cfg, "log.level"), &cli->log.level)) cli->log.level = TL_LOG_INFO;
    return TL_OK;
}

/* Options and arguments of the command, behind what stood before it. */
static enum tl_status run_command(struct tl_cli *cli, int argc, char **argv, char **envp, struct tl_err *err)
{
    int next = 0;
    struct tl_cli_values *v = cli->values;
    const char *config = v->value[slot(cli, "config")], *store = v->value[slot(cli, "store")];
    const char *level = v->value[slot(cli, "log-level")], *mono = v->value[slot(cli, "no-color")];
    v->n = 0;
    list_options(v, cli->command);
    v->value[slot(cli, "config")] = config;
    v->value[slot(cli, "store")] = store;
    v->value[slot(cli, "log-level")] = level;
    v->value[slot(cli, "no-color")] = mono;
    enum tl_status st = parse_options(v, argc, argv, false, &next, err);
    if (st != TL_OK) return st;
    v->args = argv + next;
    v->n_args = (unsigned)(argc - next);
    if (tl_cli_flag(cli, "no-color")) cli->out_color = cli->err_color = false;
    if (tl_cli_flag(cli, "help")) {
        tl_help_command(cli, cli->command);
        return TL_OK;
    }
    for (size_t i = 0; i < v->n; i++) cli->quiet |= strcmp(v->option[i]->name, "quiet") == 0 && v->value[i];
    st = check_args(cli, err);
    if (st != TL_OK) return st;
    st = load_settings(cli, envp, err);
    if (st != TL_OK) return st;
    err->text[0] = '\0';
    return cli->command->run(cli, err);
}

static enum tl_status run(struct tl_cli *cli, int argc, char **argv, char **envp, struct tl_err *err)
{
    int next = 0;
    list_options(cli->values, NULL);
    enum tl_status st = parse_options(cli->values, argc, argv, true, &next, err);
    if (st != TL_OK) return st;
    if (tl_cli_flag(cli, "no-color")) cli->out_color = cli->err_color = false;
    if (tl_cli_flag(cli, "version")) {
        fprintf(cli->out, "tierline %s\n", TL_VERSION);
        return TL_OK;
    }
    if (tl_cli_flag(cli, "help")) {
        const struct tl_command *c = next < argc ? tl_cli_find(argv[next]) : NULL;
        if (c)
            tl_help_command(cli, c);
        else
            tl_help_overview(cli);
        return TL_OK;
    }
    if (next >= argc) {
        tl_help_brief(cli);
        return tl_fail(err, TL_INVALID, "no command given");
    }
    cli->command = tl_cli_find(argv[next]);
    if (!cli->command) return tl_cli_unknown_command(argv[next], err);
    return run_command(cli, argc - next, argv + next, envp, err);
}

int tl_cli_main(int argc, char **argv, char **envp)
{
    struct tl_cli_values values = {0};
    struct tl_cli cli = {.values = &values, .clock = &tl_clock_system, .err = stderr};
    struct tl_err err = {0};
    enum tl_status st = open_streams(&cli, envp, &err);
    if (st == TL_OK) st = run(&cli, argc, argv, envp, &err);
    if (st != TL_OK) {
        if (cli.out) (void)!fflush(cli.out);
        if (err.text[0] && err.status == st) tl_cli_error(&cli, &err);
        if (tl_status_exit(st) == 2 && cli.command && !cli.cfg)
            tl_cli_hint(&cli, "tierline %s --help", cli.command->name);
        else if (tl_status_exit(st) == 2 && !cli.command)
            tl_cli_hint(&cli, "tierline --help");
    }
    int code = st == TL_OK ? cli.exit_code : tl_status_exit(st);
    tl_config_free(cli.cfg);
    return cli.out ? close_streams(&cli, code) : code;
}
