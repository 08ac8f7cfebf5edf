/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from bytes to one pointer-sized value. Keys are copied. Not thread-safe.
 * Iteration order is insertion order as long as nothing was removed. */
#ifndef TL_BASE_MAP_H
#define TL_BASE_MAP_H

#include "base/str.h"
#include <tierline/status.h>

struct tl_map;

/* [own] NULL when memory is out. */
struct tl_map *tl_map_new(void);
/* Does not touch the values. */
void tl_map_free(struct tl_map *);
size_t tl_map_count(const struct tl_map *);
/* The slot of `key`, NULL when it is not there. [borrow: until the next put or remove] */
void **tl_map_get(const struct tl_map *, struct tl_str key);
/* The slot of `key`, made with NULL when it is not there; NULL when memory is out. `*fresh` (may be NULL)
 * says whether it was made. [borrow: until the next put or remove] */
void **tl_map_put(struct tl_map *, struct tl_str key, bool *fresh);
/* true when it was there. */
bool tl_map_remove(struct tl_map *, struct tl_str key);
/* for (size_t i = 0; tl_map_next(m, &i, &key, &value);) ... */
bool tl_map_next(const struct tl_map *, size_t *i, struct tl_str *key, void **value);

#endif
