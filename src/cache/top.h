/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys are read most, in a fixed room: Space-Saving (Metwally, Agrawal, El Abbadi, ICDT 2005) over TL_TOP_SLOTS
 * keys. A key that is new takes the place of a little-read one and inherits its count as its possible error. All counts
 * are halved every minute, so that the list tells of the last few. Loop thread. */
#ifndef TL_CACHE_TOP_H
#define TL_CACHE_TOP_H

#include "base/str.h"
#include <tierline/cache.h>

enum { TL_TOP_SLOTS = 256, TL_TOP_HALVE_MS = 60000 };

struct tl_top;
struct tl_top *tl_top_new(void); /* [own] NULL: memory is out */
void tl_top_free(struct tl_top *);
void tl_top_note(struct tl_top *, struct tl_str key, int64_t now_ms);
/* The most read first, at most n. */
size_t tl_top_list(struct tl_top *, int64_t now_ms, struct tl_top_key *out, size_t n);

#endif
