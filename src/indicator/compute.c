/* SPDX-License-Identifier: Apache-2.0 */
/* Checks around the kernels, and computing one spec alone: its dependencies first, each in memory that is carved from
 * one block. Bit for bit the same as through a batch, because the same kernels read the same intermediates. Keeps
 * nothing between calls. */
#include "indicator/compute.h"

#include "base/err.h"
#include "base/util.h"

/* A dependency of a dependency ... ; the registry needs 2. */
enum { DEPTH_MAX = 8 };

/* So that no sum over columns and dependencies can overflow. */
static const size_t bars_max = SIZE_MAX / sizeof(double) / 4096;

static bool has_columns(const struct tl_input *in, unsigned needed)
{
    return !((needed & TL_IN_OPEN && !in->open) || (needed & TL_IN_HIGH && !in->high) ||
             (needed & TL_IN_LOW && !in->low) || (needed & TL_IN_CLOSE && !in->close) ||
             (needed & TL_IN_VOLUME && !in->volume));
}

size_t tl_spec_lookback(const struct tl_spec *spec)
{
    return tl_indicator_of(spec->info)->lookback(spec->params);
}

enum tl_status tl_indicator_ready(const struct tl_spec *spec, const struct tl_input *in, size_t n, double *const out[],
                                  struct tl_err *err)
{
    if (!in || !has_columns(in, spec->info->inputs))
        return tl_fail(err, TL_INVALID, "%s: a column that it reads is missing", spec->info->name);
    for (unsigned k = 0; k < spec->info->n_outputs; k++)
        if (!out || !out[k])
            return tl_fail(err, TL_INVALID, "%s: no place for output %s", spec->info->name, spec->info->outputs[k]);
    size_t lookback = tl_spec_lookback(spec);
    if (n <= lookback)
        return tl_fail(err, TL_TOO_FEW_BARS, "%s: %zu bars, %zu needed", spec->info->name, n, lookback + 1);
    if (n > bars_max) return tl_fail(err, TL_NOMEM, "%s: no memory for %zu bars", spec->info->name, n);
    return TL_OK;
}

size_t tl_indicator_deps(const struct tl_spec *spec, struct tl_spec dep[TL_DEPS_MAX])
{
    const struct tl_indicator *row = tl_indicator_of(spec->info);
    return row->deps ? row->deps(spec->params, dep) : 0;
}

size_t tl_indicator_scratch(const struct tl_spec *spec, size_t n)
{
    const struct tl_indicator *row = tl_indicator_of(spec->info);
    return row->scratch ? row->scratch(spec->params, n) : 0;
}

void tl_indicator_run(const struct tl_spec *spec, const struct tl_input *in, size_t n, const double *const *const dep[],
                      double *scratch, double *const out[])
{
    struct tl_kernel_args args = {.in = *in, .n = n, .param = spec->params, .out = out, .scratch = scratch};
    struct tl_spec specs[TL_DEPS_MAX];
    size_t n_deps = tl_indicator_deps(spec, specs);
    for (size_t d = 0; d < n_deps; d++) {
        args.dep[d] = dep[d];
        args.dep_begin[d] = tl_spec_lookback(&specs[d]);
    }
    tl_indicator_of(spec->info)->kernel(&args);
}

/* Doubles that run_alone takes: outputs of the dependencies side by side, and behind them either the memory of one
 * dependency at a time or the scratch. */
static size_t memory_alone(const struct tl_spec *spec, size_t n, unsigned depth)
{
    TL_ASSERT(depth < DEPTH_MAX);
    struct tl_spec dep[TL_DEPS_MAX];
    size_t n_deps = tl_indicator_deps(spec, dep), kept = 0, behind = tl_indicator_scratch(spec, n);
    for (size_t d = 0; d < n_deps; d++) {
        size_t inner = memory_alone(&dep[d], n, depth + 1);
        kept += dep[d].info->n_outputs * (n - tl_spec_lookback(&dep[d]));
        behind = TL_MAX(behind, inner);
    }
    return kept + behind;
}

static void run_alone(const struct tl_spec *spec, const struct tl_input *in, size_t n, double *memory,
                      double *const out[])
{
    struct tl_spec specs[TL_DEPS_MAX];
    double *columns[TL_DEPS_MAX][TL_INDICATOR_OUTPUTS_MAX] = {{NULL}};
    const double *const *dep[TL_DEPS_MAX] = {NULL};
    size_t n_deps = tl_indicator_deps(spec, specs);
    for (size_t d = 0; d < n_deps; d++) {
        dep[d] = (const double *const *)columns[d];
        for (unsigned k = 0; k < specs[d].info->n_outputs; k++) {
            columns[d][k] = memory;
            memory += n - tl_spec_lookback(&specs[d]);
        }
    }
    for (size_t d = 0; d < n_deps; d++) run_alone(&specs[d], in, n, memory, columns[d]);
    tl_indicator_run(spec, in, n, dep, memory, out);
}

enum tl_status tl_indicator_compute(const struct tl_spec *spec, const struct tl_input *in, size_t n,
                                    double *const out[], struct tl_err *err)
{
    enum tl_status st = tl_spec_check(spec, err);
    if (st == TL_OK) st = tl_indicator_ready(spec, in, n, out, err);
    if (st != TL_OK) return st;
    size_t doubles = memory_alone(spec, n, 0);
    TL_AUTOFREE double *memory = NULL;
    if (doubles > 0 && !(memory = malloc(doubles * sizeof *memory)))
        return tl_fail(err, TL_NOMEM, "%s: no memory for %zu bars", spec->info->name, n);
    run_alone(spec, in, n, memory, out);
    return TL_OK;
}
