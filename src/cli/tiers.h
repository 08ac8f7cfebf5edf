/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the cache of the settings: store, redis, redis.*, cache.*. */
#ifndef TL_CLI_TIERS_H
#define TL_CLI_TIERS_H

#include "cache/blocking.h"
#include "cli/cli.h"
#include "schedule/once.h"
#include "server/options.h"

/* "none" in the settings. */
bool tl_cli_no_store(const struct tl_cli *);
bool tl_cli_no_redis(const struct tl_cli *);

/* A cache and a scheduler over an open store, on a loop that runs only inside these calls and uv_run. */
struct tl_cli_session {
    uv_loop_t loop;
    struct tl_cache *cache;
    struct tl_scheduler *scheduler;
};
/* Waits until Redis is in use or known not to be (redis says why). workers 0: one a core. log: NULL: silent. CONFLICT:
 * the prefix belongs to another store. On failure nothing is open. */
TL_MUSTCHECK enum tl_status tl_cli_session_open(const struct tl_cli *, struct tl_store *, bool writable,
                                                unsigned workers, const struct tl_log *log, struct tl_cli_session *out,
                                                struct tl_err *redis, struct tl_err *err);
/* Keeps what is on its way, then closes. */
void tl_cli_session_close(struct tl_cli_session *);

/* Opens it over an open store (NULL: none) and waits until Redis is in use or known not to be: then there is one
 * warning. how (may be NULL): adopt_store, silent. CONFLICT: the prefix belongs to another store. */
TL_MUSTCHECK enum tl_status tl_cli_open_cache(const struct tl_cli *, struct tl_store *, bool writable,
                                              const struct tl_cache_options_inside *how, struct tl_blocking **out,
                                              struct tl_err *redis, struct tl_err *err);

#endif
