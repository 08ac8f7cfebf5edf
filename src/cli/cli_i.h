/* SPDX-License-Identifier: Apache-2.0 */
/* What the frame, help, completion and man page share. Inside src/cli only. */
#ifndef TL_CLI_CLI_I_H
#define TL_CLI_CLI_I_H

#include "cli/cli.h"

void tl_help_overview(const struct tl_cli *);
void tl_help_command(const struct tl_cli *, const struct tl_command *);
/* Two lines on cli->err for one who has typed nothing. */
void tl_help_brief(const struct tl_cli *);
/* The manual page in mdoc(7). */
void tl_help_man(const struct tl_cli *);
/* INVALID with the nearest name. */
enum tl_status tl_cli_unknown_command(const char *name, struct tl_err *err);

#endif
