/* SPDX-License-Identifier: Apache-2.0 */
/* One input to rows by symbol, without a store: the source gives bytes, the sink takes what was read once the whole
 * input is known to be sound. */
#ifndef TL_IMPORT_PARSE_H
#define TL_IMPORT_PARSE_H

#include "import/import.h"

struct tl_import_source {
    /* Up to cap > 0 bytes into p: how many; 0: the end; < 0: -errno. The result may not depend on how many. */
    int64_t (*read)(void *ctx, char *p, size_t cap);
    void *ctx;
    const char *name;      /* for messages; "-" is stdin. The symbol may be read from it */
    uint64_t bytes_before; /* of earlier files, for on_progress */
    uint64_t bytes_total;  /* 0: not known */
};

/* Calls come in the order in which symbols first appear in the input, after all of it was read. Anything but OK ends
 * the parse with that status. */
struct tl_import_sink {
    void *ctx;
    enum tl_status (*bars)(void *ctx, const struct tl_symbol *, enum tl_freq, const char *zone, const struct tl_bars *,
                           bool last_provisional, struct tl_err *err);
    enum tl_status (*factors)(void *ctx, const struct tl_symbol *, const struct tl_factors *, struct tl_err *err);
    enum tl_status (*calendar)(void *ctx, const char *calendar, const int64_t *days_ms, size_t n, struct tl_err *err);
};

/* What one input held. Set on failure as well, as far as it came. */
struct tl_import_counts {
    uint64_t bytes, rows, rejected, inconsistent, duplicates, symbols;
};

/* The errors of tl_import_path but for those of the store; err->file is source->name. */
TL_MUSTCHECK enum tl_status tl_import_parse(const struct tl_import_source *, const struct tl_import_options *,
                                            const struct tl_import_sink *, struct tl_import_counts *,
                                            struct tl_err *err);

#endif
