/* SPDX-License-Identifier: Apache-2.0 */
/* The growable byte buffer. Invariants: n <= max_bytes; cap is the size of the block, at least n + 1 when there is
 * one, so that the NUL always has a place; once `failed` is set nothing is appended until tl_buf_clear. Grows by
 * half, so that appending is linear in all. */
#include "base/buf.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

static size_t limit_of(const struct tl_buf *b)
{
    return b->max_bytes ? b->max_bytes : SIZE_MAX / 2;
}

void tl_buf_init(struct tl_buf *b, size_t max_bytes)
{
    *b = (struct tl_buf){.max_bytes = max_bytes && max_bytes < SIZE_MAX / 2 ? max_bytes : SIZE_MAX / 2};
}

void tl_buf_release(struct tl_buf *b)
{
    free(b->p);
    tl_buf_init(b, b->max_bytes);
}

void tl_buf_clear(struct tl_buf *b)
{
    b->n = 0;
    b->failed = b->too_large = false;
    if (b->p) b->p[0] = '\0';
}

static bool grow(struct tl_buf *b, size_t more)
{
    size_t limit = limit_of(b);
    if (more > limit - b->n) {
        b->failed = b->too_large = true;
        return false;
    }
    size_t need = b->n + more + 1; /* limit <= SIZE_MAX / 2: no overflow */
    if (need <= b->cap) return true;
    size_t cap = b->cap + b->cap / 2 + 32;
    if (cap > limit + 1) cap = limit + 1;
    if (cap < need) cap = need;
    char *p = tl_realloc(b->p, cap, 1);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    b->p[b->n] = '\0';
    return true;
}

char *tl_buf_reserve(struct tl_buf *b, size_t more)
{
    if (b->failed || !grow(b, more)) return NULL;
    b->p[b->n + more] = '\0';
    return b->p + b->n;
}

void tl_buf_put(struct tl_buf *b, const void *p, size_t n)
{
    if (b->failed || !grow(b, n)) return;
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void tl_buf_puts(struct tl_buf *b, const char *z)
{
    tl_buf_put(b, z, strlen(z));
}
void tl_buf_putc(struct tl_buf *b, char c)
{
    tl_buf_put(b, &c, 1);
}

void tl_buf_printf(struct tl_buf *b, const char *fmt, ...)
{
    if (b->failed || !grow(b, 64 < limit_of(b) - b->n ? 64 : limit_of(b) - b->n)) return;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int made = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    if (made < 0) {
        b->failed = true;
    } else if ((size_t)made < b->cap - b->n && (size_t)made <= limit_of(b) - b->n) {
        b->n += (size_t)made;
    } else if (grow(b, (size_t)made)) {
        vsnprintf(b->p + b->n, b->cap - b->n, fmt, again);
        b->n += (size_t)made;
    }
    b->p[b->n] = '\0';
    va_end(again);
    va_end(ap);
}

enum tl_status tl_buf_status(const struct tl_buf *b, struct tl_err *err)
{
    if (!b->failed) return TL_OK;
    if (b->too_large) return tl_fail(err, TL_TOO_LARGE, "more than %zu bytes", limit_of(b));
    return tl_fail(err, TL_NOMEM, "out of memory behind %zu bytes", b->n);
}

char *tl_buf_take(struct tl_buf *b, size_t *n)
{
    if (n) *n = 0;
    if (b->failed || !grow(b, 0)) return NULL;
    char *p = b->p;
    p[b->n] = '\0';
    if (n) *n = b->n;
    b->p = NULL;
    tl_buf_release(b);
    return p;
}
