/* SPDX-License-Identifier: Apache-2.0 */
/* --help of the program and of each command, made from the table of commands. */

#include "cli/cli_i.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "config/choice.h"

#include "base/err.h"
#include "base/util.h"

enum { TEXT_WIDTH = 80 };

/* Words of `text` in lines of at most `width` columns; the first begins at column `at`, the others at `indent`. */
static void wrap(FILE *f, const char *text, size_t at, size_t indent, size_t width)
{
    struct tl_str rest = tl_str(text), word;
    size_t column = at;
    bool first = true;
    while (tl_str_split(&rest, ' ', &word)) {
        size_t w = tl_text_width(word);
        if (!first && column + 1 + w > width) {
            fprintf(f, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', f);
            column++;
        }
        fwrite(word.p, 1, word.n, f);
        column += w;
        first = false;
    }
    fputc('\n', f);
}

static void print_options(const struct tl_cli *cli, const struct tl_option *list)
{
    enum { COLUMN = 28 };
    for (const struct tl_option *o = list; o && o->name; o++) {
        char head[64], letter[8] = "    ", text[512], choices[160] = "";
        if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        int n = snprintf(head, sizeof head, "  %s--%s%s%s", letter, o->name, o->metavar ? " " : "",
                         o->metavar ? o->metavar : "");
        if (o->choices && o->kind == TL_VALUE_CHOICE) tl_choice_list(o->choices, ", ", choices, sizeof choices);
        const struct tl_setting *s = o->setting ? tl_setting_find(o->setting) : NULL;
        snprintf(text, sizeof text, "%s%s%s%s%s%s", o->help, choices[0] ? ": " : "", choices, s ? " (" : "",
                 s ? s->def : "", s ? ")" : "");
        fputs(head, cli->out);
        size_t at = (size_t)n;
        if (at + 1 >= COLUMN) {
            fputc('\n', cli->out);
            at = 0;
        }
        fprintf(cli->out, "%*s", (int)(COLUMN - at), "");
        wrap(cli->out, text, COLUMN, COLUMN, TEXT_WIDTH);
    }
}

static void title(const struct tl_cli *cli, const char *text)
{
    fprintf(cli->out, "\n%s%s%s\n", tl_paint(cli->out_color, TL_PAINT_BOLD), text,
            tl_paint(cli->out_color, TL_PAINT_RESET));
}

void tl_help_command(const struct tl_cli *cli, const struct tl_command *c)
{
    fprintf(cli->out, "%s\n\nusage: tierline %s%s%s%s\n", c->summary, c->name, c->options ? " [options]" : "",
            c->args[0] ? " " : "", c->args);
    struct tl_str rest = tl_str(c->description), paragraph;
    while (c->description[0] && tl_str_split(&rest, '\n', &paragraph)) {
        char text[1024];
        snprintf(text, sizeof text, "%.*s", TL_STR_ARG(paragraph));
        if (paragraph.n > 0) {
            fputc('\n', cli->out);
            wrap(cli->out, text, 0, 0, TEXT_WIDTH);
        }
    }
    if (c->options) {
        title(cli, "Options");
        print_options(cli, c->options);
    }
    title(cli, "Options of every command");
    print_options(cli, tl_cli_global_options());
    if (c->examples) title(cli, "Examples");
    for (const struct tl_example *e = c->examples; e && e->command; e++) {
        fprintf(cli->out, "  %s\n      ", e->command);
        wrap(cli->out, e->text, 6, 6, TEXT_WIDTH);
    }
}

void tl_help_overview(const struct tl_cli *cli)
{
    fprintf(cli->out, "Technical indicators of stock markets, each computed once and kept\n\n"
                      "usage: tierline [options] COMMAND [options] [arguments]\n");
    title(cli, "Commands");
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++)
        fprintf(cli->out, "  %-12s %s\n", c->name, c->summary);
    title(cli, "Options of every command");
    print_options(cli, tl_cli_global_options());
    fprintf(cli->out, "\nFirst steps: tierline sample sample; tierline import sample/bars; tierline calc\n"
                      "Help for one command: tierline COMMAND --help\n");
}

void tl_help_brief(const struct tl_cli *cli)
{
    fprintf(cli->err, "usage: tierline [options] COMMAND [options] [arguments]\ncommands:");
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) fprintf(cli->err, " %s", c->name);
    fputc('\n', cli->err);
}

enum tl_status tl_cmd_help(struct tl_cli *cli, struct tl_err *err)
{
    if (tl_cli_flag(cli, "man")) {
        tl_help_man(cli);
        return TL_OK;
    }
    const char *name = tl_cli_arg(cli, 0);
    if (!name) {
        tl_help_overview(cli);
        return TL_OK;
    }
    const struct tl_command *c = tl_cli_find(name);
    if (!c) return tl_cli_unknown_command(name, err);
    tl_help_command(cli, c);
    return TL_OK;
}

enum tl_status tl_cmd_version(struct tl_cli *cli, struct tl_err *err)
{
    (void)err;
    fprintf(cli->out, "tierline %s\n", TL_VERSION);
    return TL_OK;
}
