/* SPDX-License-Identifier: Apache-2.0 */
/* What every benchmark prints: one JSON object a line on stdout, which tools/bench gathers into build/bench.json. A
 * benchmark measures; it never fails because something is slow. */
#ifndef TL_BENCH_H
#define TL_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of n values, which are sorted in place. */
static inline double bench_median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, bench_compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* One figure. peer NULL: measured against nothing (peer_value and ratio are left out). ratio: ours to the peer's.
 * bound: what is asked for in words (">= 3e6", "<= 2 x peer"), NULL: nothing; holds: whether it is met. */
static inline void bench_row(const char *name, double value, const char *unit, const char *peer, double peer_value,
                             double ratio, const char *bound, bool holds)
{
    printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",", name, value, unit);
    if (peer)
        printf("\"peer\":\"%s\",\"peer_value\":%.6g,\"ratio\":%.4g,", peer, peer_value, ratio);
    else
        printf("\"peer\":null,\"peer_value\":null,\"ratio\":null,");
    if (bound)
        printf("\"bound\":\"%s\",\"holds\":%s}\n", bound, holds ? "true" : "false");
    else
        printf("\"bound\":null,\"holds\":null}\n");
    fflush(stdout);
}

#endif
