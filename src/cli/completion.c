/* SPDX-License-Identifier: Apache-2.0 */
/* The completion script for bash, made from the table of commands. Needs nothing but bash 4 and, for file names,
 * nothing of bash-completion. */

#include "cli/commands.h"

#include "base/err.h"
#include "config/choice.h"

#include <tierline/indicator.h>

static void option_words(FILE *f, const struct tl_option *list)
{
    for (const struct tl_option *o = list; o && o->name; o++) fprintf(f, " --%s", o->name);
}

/* A case label and what completes the option's value. */
static void value_case(FILE *f, const char *command, const struct tl_option *list)
{
    for (const struct tl_option *o = list; o && o->name; o++) {
        if (o->kind == TL_VALUE_FLAG) continue;
        fprintf(f, "    %s:--%s", command, o->name);
        if (o->letter) fprintf(f, " | %s:-%c", command, o->letter);
        if (o->choices) {
            char words[160];
            tl_choice_list(o->choices, " ", words, sizeof words);
            fprintf(f, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", words);
        } else if (o->kind == TL_VALUE_DIR) {
            fprintf(f, ") compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n");
        } else if (o->kind == TL_VALUE_FILE) {
            fprintf(f, ") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        } else {
            fprintf(f, ") return ;;\n");
        }
    }
}

static void indicator_words(FILE *f)
{
    fputs("        COMPREPLY=($(compgen -W '", f);
    for (size_t i = 0; i < tl_indicator_count(); i++) fprintf(f, "%s ", tl_indicator_at(i)->name);
    fputs("' -- \"$cur\")) ;;\n", f);
}

enum tl_status tl_cmd_completion(struct tl_cli *cli, struct tl_err *err)
{
    const char *shell = tl_cli_arg(cli, 0);
    if (strcmp(shell, "bash") != 0) return tl_fail(err, TL_INVALID, "no completion for '%.40s'; there is bash", shell);
    FILE *f = cli->out;
    fprintf(f,
            "# bash completion for tierline %s\n"
            "_tierline() {\n"
            "    local cur prev command= i\n"
            "    cur=${COMP_WORDS[COMP_CWORD]}\n"
            "    prev=${COMP_WORDS[COMP_CWORD-1]}\n"
            "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
            "        case ${COMP_WORDS[i]} in\n"
            "        --store | --config | --log-level) ((i++)) ;;\n"
            "        -*) ;;\n"
            "        *) command=${COMP_WORDS[i]}; break ;;\n"
            "        esac\n"
            "    done\n"
            "    case $command:$prev in\n",
            TL_VERSION);
    value_case(f, "*", tl_cli_global_options());
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) value_case(f, c->name, c->options);
    fputs("    esac\n"
          "    case $command in\n"
          "    '') COMPREPLY=($(compgen -W '",
          f);
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) fprintf(f, "%s ", c->name);
    option_words(f, tl_cli_global_options());
    fputs("' -- \"$cur\")); return ;;\n", f);
    for (const struct tl_command *c = tl_cli_commands(); c->name; c++) {
        fprintf(f, "    %s) [[ $cur == -* ]] && COMPREPLY=($(compgen -W '", c->name);
        option_words(f, c->options);
        option_words(f, tl_cli_global_options());
        fputs("' -- \"$cur\")) && return\n", f);
        if (strcmp(c->name, "import") == 0 || strcmp(c->name, "sample") == 0)
            fprintf(f, "        compopt -o filenames; COMPREPLY=($(compgen -%c -- \"$cur\")) ;;\n",
                    c->name[0] == 'i' ? 'f' : 'd');
        else if (strcmp(c->name, "completion") == 0)
            fputs("        COMPREPLY=($(compgen -W bash -- \"$cur\")) ;;\n", f);
        else if (strcmp(c->name, "help") == 0) {
            fputs("        COMPREPLY=($(compgen -W '", f);
            for (const struct tl_command *d = tl_cli_commands(); d->name; d++) fprintf(f, "%s ", d->name);
            fputs("' -- \"$cur\")) ;;\n", f);
        } else if (strcmp(c->name, "get") == 0 || strcmp(c->name, "indicators") == 0) {
            indicator_words(f);
        } else
            fputs("        ;;\n", f);
    }
    fputs("    esac\n"
          "}\n"
          "complete -F _tierline tierline\n",
          f);
    return TL_OK;
}
