/* SPDX-License-Identifier: Apache-2.0 */
/* tierline(1) in mdoc(7), made from the tables of commands, settings and statuses. The date is that of the last change
 * of this text, not of the build: the page is the same wherever it is made. */

#include "cli/cli_i.h"
#include "config/choice.h"

#include "base/util.h"

static const char date[] = "November 23, 2026";

/* Text that roff must not read as anything else. */
static void put(FILE *f, struct tl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (i == 0 && (c == '.' || c == '\'')) fputs("\\&", f);
        if (c == '\\')
            fputs("\\e", f);
        else if (c == '-')
            fputs("\\-", f);
        else
            fputc(c, f);
    }
}

static void puts_escaped(FILE *f, const char *z)
{
    put(f, tl_str(z));
}

/* One sentence a line, as mdoc wants it; "\n\n" parts paragraphs. */
static void put_text(FILE *f, const char *z, const char *end)
{
    struct tl_str rest = tl_str(z), line;
    bool first = true;
    while (tl_str_split(&rest, '\n', &line)) {
        if (line.n == 0) {
            if (!first) fputs(".Pp\n", f);
            continue;
        }
        first = false;
        while (line.n > 0) {
            size_t n = 0;
            while (n < line.n && !(line.p[n] == '.' && n + 1 < line.n && line.p[n + 1] == ' ')) n++;
            n = TL_MIN(n + 1, line.n);
            put(f, (struct tl_str){line.p, n});
            line = tl_str_trim((struct tl_str){line.p + n, line.n - n});
            if (line.n > 0) fputc('\n', f);
        }
        if (!rest.p) fputs(end, f);
        fputc('\n', f);
    }
}

/* An argument of a macro: in quotes, since ";" or "|" alone would mean something. */
static void put_quoted(FILE *f, const char *z)
{
    fputc('"', f);
    for (; *z; z++) {
        if (*z == '"')
            fputs("\\(dq", f);
        else
            put(f, (struct tl_str){z, 1});
    }
    fputc('"', f);
}

static void put_options(FILE *f, const struct tl_option *list)
{
    fputs(".Bl -tag -width Ds\n", f);
    for (const struct tl_option *o = list; o->name; o++) {
        fputs(".It ", f);
        if (o->letter) fprintf(f, "Fl %c , ", o->letter);
        fprintf(f, "Fl \\-");
        puts_escaped(f, o->name);
        if (o->metavar) {
            fputs(" Ar ", f);
            puts_escaped(f, o->metavar);
        }
        fputc('\n', f);
        char text[512], choices[160] = "";
        if (o->choices && o->kind == TL_VALUE_CHOICE) tl_choice_list(o->choices, ", ", choices, sizeof choices);
        snprintf(text, sizeof text, "%s%s%s", o->help, choices[0] ? ": " : "", choices);
        put_text(f, text, ".");
        if (o->setting) {
            fputs("Overrides the setting\n.Cm ", f);
            puts_escaped(f, o->setting);
            fputs(" .\n", f);
        }
    }
    fputs(".El\n", f);
}

static void put_command(FILE *f, const struct tl_command *c)
{
    fputs(".Ss tierline ", f);
    puts_escaped(f, c->name);
    if (c->args[0]) {
        fputc(' ', f);
        puts_escaped(f, c->args);
    }
    fputc('\n', f);
    put_text(f, c->summary, ".");
    if (c->description[0]) {
        fputs(".Pp\n", f);
        put_text(f, c->description, "");
    }
    if (c->options) put_options(f, c->options);
}

static void put_settings(FILE *f)
{
    fputs(".Bl -tag -width Ds\n", f);
    for (size_t i = 0; tl_setting_at(i); i++) {
        const struct tl_setting *s = tl_setting_at(i);
        fputs(".It Cm ", f);
        puts_escaped(f, s->name);
        fputs(" No (", f);
        puts_escaped(f, tl_setting_type_name(s->type));
        fputs(", ", f);
        puts_escaped(f, s->def);
        fputs(")\n", f);
        put_text(f, s->help, ".");
        if (s->choices) {
            char list[160];
            tl_choice_list(s->choices, ", ", list, sizeof list);
            fputs("One of ", f);
            puts_escaped(f, list);
            fputs(".\n", f);
        }
    }
    fputs(".El\n", f);
}

static void put_exit_codes(FILE *f)
{
    static const struct {
        const char *codes, *text;
    } rows[] = {
        {"0", "Everything was done"},
        {"1", "Some items failed; the others were done"},
        {"2", "Wrong usage, a wrong setting or input that cannot be read"},
        {"3", "Something asked for is not there"},
        {"4", "A lease was lost"},
        {"5", "Another process holds the store, or a deadline has passed"},
        {"6", "Input/output error, no space left or no permission"},
        {"7", "The store is damaged or was written by a newer version"},
        {"8", "Out of memory"},
        {"70", "Internal error"},
        {"130", "Interrupted"},
    };
    fputs(".Sh EXIT STATUS\n.Bl -tag -width Ds\n", f);
    for (size_t i = 0; i < TL_COUNT(rows); i++) fprintf(f, ".It %s\n%s.\n", rows[i].codes, rows[i].text);
    fputs(".El\n", f);
}

void tl_help_man(const struct tl_cli *cli)
{
    FILE *f = cli->out;
    fprintf(f,
            ".Dd %s\n.Dt TIERLINE 1\n.Os\n.Sh NAME\n.Nm tierline\n.Nd technical indicators of stock markets\n"
            ".Sh SYNOPSIS\n.Nm tierline\n.Op Ar options\n.Ar command\n.Op Ar options\n.Op Ar arguments\n"
            ".Sh DESCRIPTION\n"
            ".Nm\nimports bars of stock markets, computes technical indicators of them, each once, and keeps them.\n"
            ".Sh OPTIONS\nEvery command takes these.\n",
            date);
    put_options(f, tl_cli_global_options());
    fputs(".Sh COMMANDS\n", f);
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) put_command(f, c);
    fputs(".Sh CONFIGURATION\n"
          "Settings come from their defaults, the configuration file, the environment and flags; later ones win.\n"
          "The file is in INI form: the setting\n.Cm store.busy_ms\nis the key\n.Cm busy_ms\nin the section\n"
          ".Cm [store] .\n"
          "The section\n.Cm [sets]\nholds sets of indicators parted by semicolons, the section\n.Cm [sessions]\n"
          "the trading hours of markets.\n",
          f);
    put_settings(f);
    fputs(".Sh ENVIRONMENT\n"
          "Each setting has a variable: its name in capitals behind\n.Ev TIERLINE_ ,\nwith _ for the dot, as\n"
          ".Ev TIERLINE_STORE_BUSY_MS .\n"
          ".Bl -tag -width Ds\n.It Ev TIERLINE_CONFIG\nThe configuration file to read.\n"
          ".It Ev NO_COLOR\nNo colors if it is set and not empty.\n.El\n"
          ".Sh FILES\nThe first of these that exists is read, unless\n.Fl \\-config\nor\n.Ev TIERLINE_CONFIG\n"
          "names another.\n.Bl -tag -width Ds\n.It Pa ./tierline.ini\n"
          ".It Pa $XDG_CONFIG_HOME/tierline/tierline.ini\n.It Pa /etc/tierline/tierline.ini\n.El\n",
          f);
    put_exit_codes(f);
    fputs(".Sh EXAMPLES\n", f);
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) {
        for (const struct tl_example *e = c->examples; e && e->command; e++) {
            put_text(f, e->text, "");
            fputs(".Dl ", f);
            put_quoted(f, e->command);
            fputc('\n', f);
            fputs(".Pp\n", f);
        }
    }
    fputs("All that can be set, and from where it comes:\n.Dl tierline config\n", f);
}
