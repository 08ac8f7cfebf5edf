/* SPDX-License-Identifier: Apache-2.0 */
/* A circuit breaker: after failures in a row it is open and nothing is tried; after a while one try is let through, and
 * its outcome closes or opens it again. Pure: time is a parameter.
 *
 *   closed --fail x threshold--> open --wait over, one try--> half open --ok--> closed
 *                                  ^---------------------fail----' (twice the wait, up to the maximum)
 */
#ifndef TL_CACHE_BREAKER_H
#define TL_CACHE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum tl_breaker_state { TL_BREAKER_CLOSED, TL_BREAKER_OPEN, TL_BREAKER_HALF_OPEN };
enum { TL_BREAKER_THRESHOLD = 5, TL_BREAKER_WAIT_MS = 100, TL_BREAKER_WAIT_MAX_MS = 5000 };

/* Zero-initialised: closed. */
struct tl_breaker {
    enum tl_breaker_state state;
    unsigned failures; /* in a row */
    uint64_t wait_ms, retry_ns;
    uint64_t opened; /* times */
};

/* May this be tried? In the half-open state only the first asker hears yes. */
bool tl_breaker_allows(struct tl_breaker *, uint64_t now_ns);
void tl_breaker_ok(struct tl_breaker *);
/* true: it opened just now. */
bool tl_breaker_fail(struct tl_breaker *, uint64_t now_ns);
/* The asker that was let through ended without an outcome. */
void tl_breaker_unknown(struct tl_breaker *, uint64_t now_ns);

#endif
