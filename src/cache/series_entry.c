/* SPDX-License-Identifier: Apache-2.0 */
/* Series to entries and back. Sizes from outside are checked before anything is read. Assumes a little-endian machine,
 * as the chunks of the store do not: the rows are copied as they are. */
#include "cache/series_entry.h"

#include "base/err.h"
#include "base/util.h"

#include <endian.h>

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "rows are copied as they are");

struct head {
    uint32_t columns, zero;
    uint64_t first_bar, rows;
    int64_t computed_ms;
};
_Static_assert(sizeof(struct head) == TL_SERIES_PAYLOAD_HEAD, "the head has no holes");

struct tl_entry *tl_series_entry_new(struct tl_str key, const struct tl_series *s)
{
    size_t bytes;
    if (__builtin_mul_overflow(s->n, s->columns * sizeof(double), &bytes) || bytes > TL_ENTRY_MAX - sizeof(struct head))
        return NULL;
    struct tl_entry *e = tl_entry_new(key, NULL, sizeof(struct head) + bytes);
    if (!e) return NULL;
    struct head h = {.columns = s->columns, .first_bar = s->first_bar, .rows = s->n, .computed_ms = s->computed_ms};
    char *p = tl_entry_fill(e);
    memcpy(p, &h, sizeof h);
    if (bytes) memcpy(p + sizeof h, s->rows, bytes);
    e->kind = TL_ENTRY_SERIES;
    e->series.revision = s->version.revision;
    e->series.bars = (uint32_t)s->version.bars;
    e->series.last_ts = s->version.last_ts;
    e->series.kernel_version = (uint16_t)s->kernel_version;
    e->series.token = s->token;
    return e;
}

struct tl_version tl_series_entry_version(const struct tl_entry *e)
{
    return (struct tl_version){.revision = e->series.revision, .bars = e->series.bars, .last_ts = e->series.last_ts};
}

int64_t tl_series_entry_computed_ms(const struct tl_entry *e)
{
    struct head h = {.computed_ms = 0};
    struct tl_str p = tl_entry_payload(e);
    if (p.n >= sizeof h) memcpy(&h, p.p, sizeof h);
    return h.computed_ms;
}

enum tl_status tl_series_entry_read(const struct tl_entry *e, struct tl_series *out, struct tl_err *err)
{
    struct head h;
    struct tl_str p = tl_entry_payload(e), key = tl_entry_key(e);
    if (e->failure) return tl_fail(err, -(enum tl_status)e->failure, "%.*s", TL_STR_ARG(p));
    if (e->kind != TL_ENTRY_SERIES || p.n < sizeof h)
        return tl_fail(err, TL_CORRUPT, "%.*s: not a series", TL_STR_ARG(key));
    memcpy(&h, p.p, sizeof h);
    size_t bytes;
    if (h.columns == 0 || h.columns > TL_OUTPUTS_MAX ||
        __builtin_mul_overflow(h.rows, h.columns * sizeof(double), &bytes) || bytes != p.n - sizeof h)
        return tl_fail(err, TL_CORRUPT, "%.*s: a series of other size than it says", TL_STR_ARG(key));
    double *rows = tl_calloc(h.rows, h.columns * sizeof *rows);
    if (!rows) return tl_fail(err, TL_NOMEM, "no memory for %llu rows", (unsigned long long)h.rows);
    if (bytes) memcpy(rows, p.p + sizeof h, bytes);
    tl_series_init(out);
    out->version = tl_series_entry_version(e);
    out->kernel_version = e->series.kernel_version;
    out->token = e->series.token;
    out->computed_ms = h.computed_ms;
    out->columns = h.columns;
    out->first_bar = h.first_bar;
    out->n = h.rows;
    out->rows = rows;
    return TL_OK;
}
