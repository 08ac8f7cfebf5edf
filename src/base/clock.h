/* SPDX-License-Identifier: Apache-2.0 */
/* Time as a parameter: code that needs the time takes a `const struct tl_clock *`, tests pass a fake. */
#ifndef TL_BASE_CLOCK_H
#define TL_BASE_CLOCK_H

#include <stdint.h>

struct tl_clock {
    int64_t (*wall_ms)(void *ctx);  /* UTC, milliseconds since 1970; may jump */
    uint64_t (*mono_ns)(void *ctx); /* never goes back; for deadlines and durations */
    void *ctx;
};

extern const struct tl_clock tl_clock_system;

static inline int64_t tl_clock_wall_ms(const struct tl_clock *c)
{
    return c->wall_ms(c->ctx);
}
static inline uint64_t tl_clock_mono_ns(const struct tl_clock *c)
{
    return c->mono_ns(c->ctx);
}

#endif
