/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones from the system's zoneinfo (TZif, RFC 8536), also "UTC" and fixed offsets "+08:00".
 * Immutable after opening, so any thread may use one. */
#ifndef TL_MARKET_TZ_H
#define TL_MARKET_TZ_H

#include "market/civil.h"
#include <tierline/status.h>

struct tl_tz;

/* [own]. name: IANA name, "UTC", "+08:00". A name with ".." or a leading "/" is INVALID; an unknown one
 * NOT_FOUND; a damaged file CORRUPT, one with leap seconds UNSUPPORTED. Directory: TZDIR, else /usr/share/zoneinfo. */
TL_MUSTCHECK enum tl_status tl_tz_open(const char *name, struct tl_tz **out, struct tl_err *err);
/* [own]. The same out of the bytes of a TZif file, whose time zone is called `name` from then on. */
TL_MUSTCHECK enum tl_status tl_tz_read(const char *name, const void *bytes, size_t n, struct tl_tz **out,
                                       struct tl_err *err);
void tl_tz_free(struct tl_tz *);
const char *tl_tz_name(const struct tl_tz *);
/* Offset in ms to add to UTC at that instant. */
int64_t tl_tz_offset_at_utc(const struct tl_tz *, int64_t utc_ms);
/* Local wall time (as if UTC) to UTC. A time that exists twice gives the earlier instant; one that a change
 * skips is moved forward by the gap. */
int64_t tl_tz_to_utc(const struct tl_tz *, int64_t local_ms);

#endif
