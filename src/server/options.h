/* SPDX-License-Identifier: Apache-2.0 */
/* What the settings say of store, Redis and cache. */
#ifndef TL_SERVER_OPTIONS_H
#define TL_SERVER_OPTIONS_H

#include "config/config.h"
#include "store/store.h"
#include <tierline/cache.h>

/* "none" in the settings. */
bool tl_config_no_store(const struct tl_config *);
bool tl_config_no_redis(const struct tl_config *);

/* Opens the store of the settings: store, store.busy_ms, store.queue_bytes. */
TL_MUSTCHECK enum tl_status tl_config_open_store(const struct tl_config *, bool read_only, const struct tl_clock *,
                                                 const struct tl_log *, struct tl_store **out, struct tl_err *err);

/* The cache's options: redis, redis.*, cache.*; texts [borrow: as long as the settings]. [own] rules:
 * tl_cache_options_release. */
TL_MUSTCHECK enum tl_status tl_cache_options_read(const struct tl_config *, struct tl_cache_options *out,
                                                  struct tl_err *err);
void tl_cache_options_release(struct tl_cache_options *);
/* "30s", "5m/1d", "30m/7d/30d", "forever". INVALID names `what`. */
TL_MUSTCHECK enum tl_status tl_ttl_read(const char *what, struct tl_str text, struct tl_ttl *out, struct tl_err *err);

#endif
