/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of numbers over time, as table, CSV or JSON: what get and bars print. */
#ifndef TL_CLI_ROWS_H
#define TL_CLI_ROWS_H

#include "base/json.h"
#include "cli/cli.h"
#include "schedule/view.h"

struct tl_rows {
    const struct tl_view *view; /* for the zone */
    const int64_t *ts;          /* n */
    size_t n;
    unsigned columns;                                           /* <= 8 */
    const char *const *names;                                   /* lower case */
    double (*at)(const void *ctx, size_t row, unsigned column); /* NaN: empty cell, null */
    void (*json_head)(const void *ctx, struct tl_json *);       /* the members before columns, ts, values */
    const void *ctx;
};

/* Prints the rows that --last, --from and --to leave in the form that --format or --json asks for. A table shows the
 * last 20 unless told otherwise, the others all. */
TL_MUSTCHECK enum tl_status tl_rows_print(struct tl_cli *, const struct tl_rows *, struct tl_err *err);

/* "version":{"revision":…,"bars":…,"last_ts":…} */
void tl_rows_json_version(struct tl_json *, struct tl_version);

#endif
