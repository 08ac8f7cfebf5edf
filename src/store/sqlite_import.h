/* SPDX-License-Identifier: Apache-2.0 */
/* What an import is made of, shared by merging and staging (sqlite_import.c) and committing (sqlite_commit.c). */
#ifndef TL_STORE_SQLITE_IMPORT_H
#define TL_STORE_SQLITE_IMPORT_H

#include "base/map.h"
#include "store/sqlite.h"

/* A series of the import: what came in, and the head that it would have. */
struct pending {
    struct tl_symbol symbol;
    enum tl_freq freq;
    char zone[40];
    struct tl_bars incoming;
    bool last_provisional;
    /* of the last merge */
    struct tl_bars_row base;  /* what it was merged over */
    struct tl_bars_head head; /* without revisions: given at commit */
    struct tl_chunk_list chunks;
    struct tl_merge merge;
    bool changes, rewrites; /* something is to be written; history is */
    bool stale;             /* base changed meanwhile: merge again */
};

struct pending_factors {
    struct tl_symbol symbol;
    struct tl_factors incoming;
};

struct pending_calendar {
    char name[32];
    int64_t *days;
    size_t n;
};

struct tl_store_import {
    struct tl_store *store;
    struct tl_store_reader *reader;
    int64_t id;
    struct tl_map *by_series; /* "symbol freq" -> struct pending */
    struct pending **series;
    size_t n_series, cap_series;
    struct pending_factors *factors;
    size_t n_factors, cap_factors;
    struct pending_calendar *calendars;
    size_t n_calendars;
    pthread_mutex_t lock; /* guards what follows, and the ids in pending.chunks while stages are under way */
    pthread_cond_t idle;
    size_t staging;        /* stages under way */
    enum tl_status failed; /* of the first stage that failed */
    struct tl_err failure;
};

/* Waits until every stage has ended; the first failure among them. */
TL_MUSTCHECK enum tl_status tl_import_drain(struct tl_store_import *, struct tl_err *err);
/* Merges what came in for the series over what the store has now, and stages it. */
TL_MUSTCHECK enum tl_status tl_import_merge(struct tl_store_import *, struct pending *, struct tl_err *err);

#endif
