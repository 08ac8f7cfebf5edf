/* SPDX-License-Identifier: Apache-2.0 */
/* The frame around every command: the tables from which parser, --help, completion and man page are derived, and the
 * context that a command runs in. A command is one row in commands.c and one file with its run function. */
#ifndef TL_CLI_CLI_H
#define TL_CLI_CLI_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "store/store.h"
#include <stdio.h>

/* What an option's value must look like. Checked before run, so the typed getters below cannot fail. */
enum tl_option_kind {
    TL_VALUE_FLAG, /* takes no value */
    TL_VALUE_TEXT,
    TL_VALUE_COUNT,  /* decimal integer, min..max of the row */
    TL_VALUE_DATE,   /* YYYY-MM-DD or YYYYMMDD */
    TL_VALUE_CHOICE, /* one of `choices` */
    TL_VALUE_FILE,   /* text; completed as a file */
    TL_VALUE_DIR,    /* text; completed as a folder */
};

struct tl_option {
    const char *name; /* long name without dashes; NULL ends a list */
    char letter;      /* short name, 0: none */
    enum tl_option_kind kind;
    const char *metavar; /* "URL"; NULL for flags */
    const char *help;    /* one sentence without full stop */
    const char *setting; /* name of the setting that it overrides, NULL: none */
    const char *choices; /* "table|csv|json" */
    int64_t min, max;    /* of a COUNT; max 0: INT64_MAX */
};

struct tl_example {
    const char *command; /* NULL ends a list */
    const char *text;
};

struct tl_cli;
/* Fails with err filled in: the frame prints it and exits by its status. Fails with err->text empty (as it is handed
 * over): the command has said everything itself, only the exit code is left. */
typedef enum tl_status tl_run_fn(struct tl_cli *, struct tl_err *err);

struct tl_command {
    const char *name, *summary;
    const char *args;            /* usage: "SYMBOL SPEC" */
    unsigned args_min, args_max; /* positional arguments; max UINT_MAX: any */
    const char *description;     /* paragraphs parted by "\n\n" */
    const struct tl_option *options;
    const struct tl_example *examples;
    tl_run_fn *run;
    bool no_config; /* runs without reading settings: cli->cfg holds the defaults */
};

struct tl_cli {
    const struct tl_command *command;
    struct tl_config *cfg;
    struct tl_log log; /* level by log.level */
    const struct tl_clock *clock;
    FILE *out, *err; /* write results to out, everything else to err. Never close them */
    bool out_tty, err_tty;
    bool out_color, err_color;    /* a terminal, and neither NO_COLOR, TERM=dumb nor --no-color */
    bool quiet;                   /* --quiet was given */
    unsigned width;               /* columns of the terminal, 80 when there is none */
    int exit_code;                /* of a command that returns OK and has one of its own to hand on */
    struct tl_cli_values *values; /* parsed options; the frame's */
};

/* Value of an option of this command or a global one, NULL when it was not given. `name` must be in the table.
 * [borrow: until the end of the process] */
const char *tl_cli_opt(const struct tl_cli *, const char *name);
bool tl_cli_flag(const struct tl_cli *, const char *name);
/* COUNT: its value, `def` when it was not given. */
int64_t tl_cli_count(const struct tl_cli *, const char *name, int64_t def);
/* DATE: true and 00:00 UTC of the date when it was given. */
bool tl_cli_date(const struct tl_cli *, const char *name, int64_t *ts_ms);
/* Positional arguments; NULL past the last. */
unsigned tl_cli_argc(const struct tl_cli *);
const char *tl_cli_arg(const struct tl_cli *, unsigned i);

/* Opens the store of the settings (store, store.busy_ms, store.queue_bytes) with cli->log. */
TL_MUSTCHECK enum tl_status tl_cli_open_store(const struct tl_cli *, bool read_only, struct tl_store **out,
                                              struct tl_err *err);

/* [own] *out: the settings as they are now: file, environment and the options that were given. */
TL_MUSTCHECK enum tl_status tl_cli_reload(const struct tl_cli *, char *const *envp, struct tl_config **out,
                                          struct tl_err *err);

/* From now on SIGINT and SIGTERM only set a flag (a second one ends the process); the flag. Any thread may ask. */
void tl_cli_catch_interrupt(void);
bool tl_cli_interrupted(void);

/* "tierline: file:line:column: text" on cli->err. */
void tl_cli_error(const struct tl_cli *, const struct tl_err *);
/* "tierline: text" / "hint: text" on cli->err. */
void tl_cli_warn(const struct tl_cli *, const char *fmt, ...) TL_PRINTF(2, 3);
void tl_cli_hint(const struct tl_cli *, const char *fmt, ...) TL_PRINTF(2, 3);

/* Commands and the options that every command has, in the order of the help. NULL name ends. */
const struct tl_command *tl_cli_commands(void);
const struct tl_option *tl_cli_global_options(void);
const struct tl_command *tl_cli_find(const char *name);

/* The whole program. out_fd, err_fd: 1 and 2 of the process. Returns the exit code. */
int tl_cli_main(int argc, char **argv, char **envp);

#endif
