/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of numbers over time, as table, CSV or JSON: what get and bars print. */
#ifndef TL_CLI_ROWS_H
#define TL_CLI_ROWS_H

#include "cli/cli.h"
#include "schedule/view.h"
#include "series/grid.h"

/* Prints the rows that --last, --from and --to leave in the form that --format or --json asks for; the zone is the
 * view's. A table shows the last 20 unless told otherwise, the others all. */
TL_MUSTCHECK enum tl_status tl_cli_grid(struct tl_cli *, struct tl_grid *, const struct tl_view *, struct tl_err *err);

#endif
