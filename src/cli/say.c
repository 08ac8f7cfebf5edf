/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the person at the terminal, and the one flag that signals set. */

#include "cli/cli.h"

#include "base/err.h"
#include "cli/out.h"

#include <signal.h>
#include <stdarg.h>

/* The only mutable global of the program: a signal handler has no other way to speak. Set once, never cleared. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void tl_cli_catch_interrupt(void)
{
    /* SA_RESETHAND: the second signal has its default effect. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    (void)!sigaction(SIGINT, &action, NULL);
    (void)!sigaction(SIGTERM, &action, NULL);
}

bool tl_cli_interrupted(void)
{
    return interrupted != 0;
}

static void say(const struct tl_cli *cli, enum tl_paint paint, const char *head, const char *fmt, va_list args)
    TL_PRINTF(4, 0);
static void say(const struct tl_cli *cli, enum tl_paint paint, const char *head, const char *fmt, va_list args)
{
    fprintf(cli->err, "%s%s%s ", tl_paint(cli->err_color, paint), head, tl_paint(cli->err_color, TL_PAINT_RESET));
    vfprintf(cli->err, fmt, args);
    fputc('\n', cli->err);
}

static void say_error(const struct tl_cli *cli, const char *fmt, ...) TL_PRINTF(2, 3);
static void say_error(const struct tl_cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(cli, TL_PAINT_RED, "tierline:", fmt, args);
    va_end(args);
}

void tl_cli_error(const struct tl_cli *cli, const struct tl_err *err)
{
    char text[640];
    tl_err_format(err, text, sizeof text);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) *p = '?'; /* bytes of the input must not drive the terminal */
    }
    say_error(cli, "%s", text[0] ? text : tl_status_text(err->status));
}

void tl_cli_warn(const struct tl_cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(cli, TL_PAINT_YELLOW, "tierline:", fmt, args);
    va_end(args);
}

void tl_cli_hint(const struct tl_cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(cli, TL_PAINT_DIM, "hint:", fmt, args);
    va_end(args);
}
