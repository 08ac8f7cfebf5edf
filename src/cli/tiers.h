/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the cache of the settings: store, redis, redis.*, cache.*. */
#ifndef TL_CLI_TIERS_H
#define TL_CLI_TIERS_H

#include "cache/blocking.h"
#include "cli/cli.h"

/* "none" in the settings. */
bool tl_cli_no_store(const struct tl_cli *);
bool tl_cli_no_redis(const struct tl_cli *);

/* The cache's options of the settings. [own] rules: tl_cli_cache_options_release. */
TL_MUSTCHECK enum tl_status tl_cli_cache_options(const struct tl_cli *, struct tl_cache_options *out,
                                                 struct tl_err *err);
void tl_cli_cache_options_release(struct tl_cache_options *);
/* "30s", "5m/1d", "30m/7d/30d", "forever". INVALID names `what`. */
TL_MUSTCHECK enum tl_status tl_cli_ttl(const char *what, struct tl_str text, struct tl_ttl *out, struct tl_err *err);

/* Opens it over an open store (NULL: none) and waits until Redis is in use or known not to be: then there is one
 * warning. how (may be NULL): adopt_store, silent. CONFLICT: the prefix belongs to another store. */
TL_MUSTCHECK enum tl_status tl_cli_open_cache(const struct tl_cli *, struct tl_store *, bool writable,
                                              const struct tl_cache_options_inside *how, struct tl_blocking **out,
                                              struct tl_err *redis, struct tl_err *err);

#endif
