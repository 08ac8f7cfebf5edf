/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker's moves. Holds no clock, no lock, no jitter: its owner is one thread, and it has one try at a
 * time. */
#include "cache/breaker.h"

#include "base/util.h"

static const uint64_t ns_per_ms = 1000000;

bool tl_breaker_allows(struct tl_breaker *b, uint64_t now_ns)
{
    if (b->state == TL_BREAKER_CLOSED) return true;
    if (b->state == TL_BREAKER_HALF_OPEN || now_ns < b->retry_ns) return false;
    b->state = TL_BREAKER_HALF_OPEN;
    return true;
}

void tl_breaker_ok(struct tl_breaker *b)
{
    b->failures = 0;
    b->wait_ms = 0;
    b->state = TL_BREAKER_CLOSED;
}

static void open_again(struct tl_breaker *b, uint64_t now_ns)
{
    b->wait_ms = b->wait_ms ? TL_MIN(b->wait_ms * 2, (uint64_t)TL_BREAKER_WAIT_MAX_MS) : TL_BREAKER_WAIT_MS;
    b->retry_ns = now_ns + b->wait_ms * ns_per_ms;
    b->state = TL_BREAKER_OPEN;
}

bool tl_breaker_fail(struct tl_breaker *b, uint64_t now_ns)
{
    if (b->state == TL_BREAKER_OPEN) return false; /* a try from before it opened */
    b->failures++;
    if (b->state == TL_BREAKER_HALF_OPEN) {
        open_again(b, now_ns);
        return false;
    }
    if (b->failures < TL_BREAKER_THRESHOLD) return false;
    b->opened++;
    open_again(b, now_ns);
    return true;
}

void tl_breaker_unknown(struct tl_breaker *b, uint64_t now_ns)
{
    if (b->state != TL_BREAKER_HALF_OPEN) return;
    b->state = TL_BREAKER_OPEN;
    b->retry_ns = now_ns;
}
