/* SPDX-License-Identifier: Apache-2.0 */
/* Small things every module needs: assertion that stays in release builds, checked heap, sizes. */
#ifndef TL_BASE_UTIL_H
#define TL_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Bugs assert, also in release builds; bad input never does. */
#define TL_ASSERT(cond) ((cond) ? (void)0 : tl_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void tl_assert_failed(const char *cond, const char *file, int line);

#define TL_COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define TL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TL_MAX(a, b) ((a) > (b) ? (a) : (b))

/* NULL when n * size overflows or memory is out. n or size 0 gives a valid pointer. Free with free(). */
void *tl_calloc(size_t n, size_t size) __attribute__((malloc));
/* realloc to n * size bytes; on failure NULL and the old block stays valid. */
void *tl_realloc(void *p, size_t n, size_t size);

#define TL_CLEANUP(fn) __attribute__((cleanup(fn)))
static inline void tl_cleanup_free(void *pp)
{
    free(*(void **)pp);
}
/* A heap block freed at the end of the scope unless TL_TAKE moved it out. */
#define TL_AUTOFREE TL_CLEANUP(tl_cleanup_free)
#define TL_TAKE(p)                                                                                                     \
    __extension__({                                                                                                    \
        __typeof__(p) tl_taken_ = (p);                                                                                 \
        (p) = NULL;                                                                                                    \
        tl_taken_;                                                                                                     \
    })

#endif
