/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `tierline cache` share. */
#ifndef TL_CLI_CACHE_H
#define TL_CLI_CACHE_H

#include "cache/blocking.h"
#include "cli/cli.h"

enum { TL_CACHE_DEADLINE_MS = 10000 };

struct tl_cache_session {
    struct tl_cli *cli;
    struct tl_store *store; /* NULL: none */
    struct tl_blocking *cache;
};
/* Opens what the settings name. silent: this process does not show up in what it shows. */
TL_MUSTCHECK enum tl_status tl_cache_session_begin(struct tl_cache_session *, struct tl_cli *, bool writes, bool silent,
                                                   struct tl_err *err);
void tl_cache_session_end(struct tl_cache_session *);

/* cache stats, cache top (cache_stats.c) */
enum tl_status tl_cache_stats_cmd(struct tl_cli *, struct tl_err *err);
enum tl_status tl_cache_top_cmd(struct tl_cli *, struct tl_err *err);

#endif
