/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer with a maximum. `p` is always NUL-terminated behind `n` once anything was
 * written. A failed append leaves the contents as they were and sets `failed`, which sticks: a caller may
 * append many times and check once. */
#ifndef TL_BASE_BUF_H
#define TL_BASE_BUF_H

#include "base/str.h"
#include <stdarg.h>
#include <tierline/status.h>

struct tl_buf {
    char *p;
    size_t n, cap, max_bytes;
    bool failed;
    bool too_large; /* why it failed: the maximum, not memory */
};

/* max_bytes 0: SIZE_MAX / 2. Allocates nothing yet. */
void tl_buf_init(struct tl_buf *, size_t max_bytes);
void tl_buf_release(struct tl_buf *);
/* Empties, keeps the memory, clears `failed`. */
void tl_buf_clear(struct tl_buf *);
/* Room for `more` bytes behind n; NULL on failure. The caller then adds to n itself. */
char *tl_buf_reserve(struct tl_buf *, size_t more);
void tl_buf_put(struct tl_buf *, const void *p, size_t n);
void tl_buf_puts(struct tl_buf *, const char *z);
void tl_buf_putc(struct tl_buf *, char c);
void tl_buf_printf(struct tl_buf *, const char *fmt, ...) TL_PRINTF(2, 3);
/* NOMEM or TOO_LARGE when an append failed, else OK. */
TL_MUSTCHECK enum tl_status tl_buf_status(const struct tl_buf *, struct tl_err *err);
/* [own] the bytes (NUL-terminated); the buffer is empty afterwards. NULL when it failed. */
char *tl_buf_take(struct tl_buf *, size_t *n);
static inline struct tl_str tl_buf_str(const struct tl_buf *b)
{
    return (struct tl_str){b->p ? b->p : "", b->n};
}

#endif
