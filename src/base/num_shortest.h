/* SPDX-License-Identifier: Apache-2.0 */
/* std::to_chars and std::from_chars for C. Only num.c includes this. */
#ifndef TL_BASE_NUM_SHORTEST_H
#define TL_BASE_NUM_SHORTEST_H

#include <stddef.h>

#ifdef __cplusplus
#define TL_NOEXCEPT noexcept
extern "C" {
#else
#define TL_NOEXCEPT
#endif

/* Shortest round-trip text of a finite v; cap at least 32. Returns the length, no NUL. */
size_t tl_num_shortest(char *out, size_t cap, double v) TL_NOEXCEPT;
/* Reads the whole of p[0..n), which is in the grammar of num.h without a leading '+'. 0 ok, 1 out of range, 2 bad. */
int tl_num_from_chars(const char *p, size_t n, double *out) TL_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
