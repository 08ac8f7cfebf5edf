/* SPDX-License-Identifier: Apache-2.0 */
/* Two doubles that go through the same operations side by side. Each rounds on its own, as if computed alone. */
#ifndef TL_INDICATOR_PAIR_H
#define TL_INDICATOR_PAIR_H

#include <string.h>

typedef double tl_pair __attribute__((vector_size(16)));

static inline tl_pair tl_pair_of(double v)
{
    return (tl_pair){v, v};
}

static inline tl_pair tl_pair_load(const double *p)
{
    tl_pair v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void tl_pair_store(double *p, tl_pair v)
{
    memcpy(p, &v, sizeof v);
}

typedef __typeof__((tl_pair){0, 0} < (tl_pair){0, 0}) tl_pair_mask;

/* Each value where its mask holds, 0 elsewhere, without a branch. */
static inline tl_pair tl_pair_or_zero(tl_pair v, tl_pair_mask where)
{
    return (tl_pair)((tl_pair_mask)v & where);
}

#endif
