/* SPDX-License-Identifier: Apache-2.0 */
/* Assertion and checked heap calls. A request of zero bytes is a request of one, so that NULL always and only means
 * that memory is out. */
#include "base/util.h"

#include <stdio.h>

void tl_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "assertion failed: %s at %s:%d\n", cond, file, line);
    abort();
}

void *tl_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *tl_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}
