/* SPDX-License-Identifier: Apache-2.0 */
/* What an indicator is on the inside: its public row, and how to compute it.
 * Kernels are pure: they read `in`, `param` and `dep`, write out[k][0 .. n - lookback) and may use `scratch`;
 * they are called only with n > lookback. Built with -ffp-contract=off; the order of the operations is the contract.
 * How to add one: rows.h. */
#ifndef TL_INDICATOR_KERNEL_H
#define TL_INDICATOR_KERNEL_H

#include <tierline/indicator.h>

/* Raised when any kernel's output changes; stored with every series, the higher wins. */
enum { TL_KERNEL_VERSION = 1, TL_DEPS_MAX = 3 };

struct tl_kernel_args {
    struct tl_input in;
    size_t n;
    const double *param;
    double *const *out;
    double *scratch; /* scratch(param, n) doubles, uninitialised */
    /* Outputs of dependency d, output k: dep[d][k], first value at bar dep_begin[d]. */
    const double *const *dep[TL_DEPS_MAX];
    size_t dep_begin[TL_DEPS_MAX];
};

struct tl_indicator {
    struct tl_indicator_info info;
    size_t (*lookback)(const double *param);
    size_t (*scratch)(const double *param, size_t n); /* NULL: none */
    /* Fills dep[] with the specs whose outputs the kernel reads, returns how many (<= TL_DEPS_MAX). NULL: none. */
    size_t (*deps)(const double *param, struct tl_spec dep[TL_DEPS_MAX]);
    void (*kernel)(const struct tl_kernel_args *);
};

/* The row behind a public info (which is its first member). */
const struct tl_indicator *tl_indicator_of(const struct tl_indicator_info *);

#endif
