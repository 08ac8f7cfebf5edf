/* SPDX-License-Identifier: Apache-2.0 */
/* CSV files into the store: `tierline import`. Reads a file, a folder of *.csv / *.txt or stdin; each file is
 * validated whole before anything of it is committed, and is committed at once (tl_store_import). Rejected
 * rows do not fail a file; an unreadable one, one without a usable header, or one whose structure breaks does, and then
 * nothing of that file is imported. */
#ifndef TL_IMPORT_IMPORT_H
#define TL_IMPORT_IMPORT_H

#include "market/symbol.h"
#include "store/store.h"

enum tl_import_kind { TL_IMPORT_BARS, TL_IMPORT_FACTORS, TL_IMPORT_CALENDAR };

struct tl_import_options {
    enum tl_import_kind kind;
    const char *profile;   /* NULL, or "baostock" "akshare" "tushare" "tdx" "yahoo" */
    const char *symbol;    /* NULL: from a column, else from the file name */
    enum tl_market market; /* for bare codes */
    bool freq_set;
    enum tl_freq freq;     /* when !freq_set: 1d if the rows carry no time, else by the most frequent usual step */
    const char *zone;      /* NULL: by market */
    int bar_time_end;      /* 1: rows are labelled with the bar's end; 0: start; -1: the profile's habit */
    bool last_provisional; /* the last bar of each symbol is not final */
    const char *calendar;  /* for TL_IMPORT_CALENDAR: "CN", "US" */
    /* Called for every rejected row: err has file, line, column, text. In a folder also for every file that could not
     * be imported: line 0, its status. May be NULL. */
    void (*on_reject)(void *ctx, const struct tl_err *);
    /* Called now and then and at each file's end; bytes of all files together, bytes_total 0: not known. May be NULL.
     */
    void (*on_progress)(void *ctx, const char *file, uint64_t bytes_done, uint64_t bytes_total);
    /* Asked now and then; true: stop with CANCELLED, the file under way is dropped whole. May be NULL. */
    bool (*cancelled)(void *ctx);
    void *ctx;
};

struct tl_import_summary {
    uint64_t files, files_failed, bytes; /* files_failed are among files */
    uint64_t rows;                       /* of the files that were imported; rejected and duplicates are among them */
    uint64_t rejected;
    uint64_t inconsistent; /* high/low do not span open/close: kept and counted */
    uint64_t duplicates;   /* the same ts twice with the same values: merged */
    struct tl_import_totals stored;
    double seconds;
};

/* path "-": stdin. Returns OK, SOME_FAILED (some files of a folder failed; each was reported by on_reject with line 0),
 * or the error of the single file. */
TL_MUSTCHECK enum tl_status tl_import_path(struct tl_store *, const char *path, const struct tl_import_options *,
                                           struct tl_import_summary *, struct tl_err *err);

/* The same for bytes that are in memory already; name is for messages, and no symbol is read from it. */
TL_MUSTCHECK enum tl_status tl_import_bytes(struct tl_store *, struct tl_str bytes, const char *name,
                                            const struct tl_import_options *, struct tl_import_summary *,
                                            struct tl_err *err);

#endif
