/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of adjustment factors and of trading days. A date that stands twice with the same values is merged, with other
 * values the later row is rejected, as for bars. */
#include "import/rows.h"

#include "base/err.h"
#include "base/util.h"

#include <math.h>

static int64_t floor_day(int64_t ms)
{
    const int64_t t = ms % TL_DAY_MS;
    return ms - (t < 0 ? t + TL_DAY_MS : t);
}

/* A number that is 0 where the column or the value is missing. */
static bool optional_number(struct tl_parse *p, enum tl_role r, double *out)
{
    *out = 0;
    if (!tl_parse_has(p, r)) return true;
    if (!tl_parse_number(p, r, true, out)) return false;
    if (isnan(*out)) *out = 0;
    return true;
}

static bool read_factor(struct tl_parse *p, struct tl_factor *f)
{
    if (tl_parse_has(p, TL_ROLE_FACTOR)) {
        f->kind = TL_FACTOR_CUMULATIVE;
        if (!tl_parse_number(p, TL_ROLE_FACTOR, false, &f->factor)) return false;
        if (f->factor > 0) return true;
        tl_reject_field(p, TL_ROLE_FACTOR, tl_parse_field(p, TL_ROLE_FACTOR), "is not above 0");
        return false;
    }
    double transfer;
    f->kind = TL_FACTOR_EVENT;
    if (!optional_number(p, TL_ROLE_CASH, &f->cash) || !optional_number(p, TL_ROLE_GIFT, &f->gift) ||
        !optional_number(p, TL_ROLE_TRANSFER, &transfer) || !optional_number(p, TL_ROLE_RIGHTS, &f->rights) ||
        !optional_number(p, TL_ROLE_RIGHTS_PRICE, &f->rights_price))
        return false;
    f->gift += transfer;
    if (isfinite(f->gift + f->rights) && isfinite(f->rights * f->rights_price)) return true;
    tl_reject(p, p->csv.line, 0, "the event's values are out of range");
    return false;
}

enum tl_status tl_factors_row(struct tl_parse *p)
{
    struct tl_rows *r;
    struct tl_when when;
    struct tl_factor f = {0};
    enum tl_status st = tl_parse_symbol(p, &r);
    if (st != TL_OK || !r) return st;
    if (!tl_parse_when(p, &when) || !read_factor(p, &f)) return TL_OK;
    f.ex_date_ms = floor_day(when.local_ms);
    st = tl_rows_grow(p, r);
    if (st != TL_OK) return st;
    r->line[r->n] = p->csv.line;
    r->factor[r->n++] = f;
    return TL_OK;
}

static bool same_factor(const struct tl_factor *a, const struct tl_factor *b)
{
    return a->cash == b->cash && a->gift == b->gift && a->rights == b->rights && a->rights_price == b->rights_price &&
           a->factor == b->factor;
}

static void keep_factor(struct tl_parse *p, const struct tl_rows *r, size_t row, struct tl_factor *out, uint64_t *line,
                        size_t *n)
{
    const struct tl_factor *f = &r->factor[row];
    if (*n && out[*n - 1].ex_date_ms == f->ex_date_ms) {
        char date[11];
        if (same_factor(&out[*n - 1], f)) {
            p->count->duplicates++;
            return;
        }
        tl_civil_format_date(f->ex_date_ms, date);
        tl_reject(p, r->line[row], 0, "%s %s again with other values; first on line %llu", r->symbol.text, date,
                  (unsigned long long)line[*n - 1]);
        return;
    }
    line[*n] = r->line[row];
    out[(*n)++] = *f;
}

static enum tl_status finish_factors(struct tl_parse *p, const struct tl_rows *r)
{
    bool failed;
    TL_AUTOFREE struct tl_factor *out = tl_calloc(r->n, sizeof *out);
    TL_AUTOFREE uint64_t *line = tl_calloc(r->n, sizeof *line);
    TL_AUTOFREE int64_t *key = tl_calloc(r->n, sizeof *key);
    if (!out || !line || !key) return tl_fail(p->err, TL_NOMEM, "no memory to sort %zu rows", r->n);
    for (size_t i = 0; i < r->n; i++) key[i] = r->factor[i].ex_date_ms;
    TL_AUTOFREE size_t *order = tl_rows_order(key, r->n, &failed);
    if (failed) return tl_fail(p->err, TL_NOMEM, "no memory to sort %zu rows", r->n);
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) keep_factor(p, r, order ? order[i] : i, out, line, &n);
    const struct tl_factors factors = {.n = n, .v = out};
    p->count->symbols++;
    return p->sink->factors(p->sink->ctx, &r->symbol, &factors, p->err);
}

enum tl_status tl_factors_end(struct tl_parse *p)
{
    struct tl_str name;
    void *v;
    enum tl_status st = TL_OK;
    for (size_t i = 0; st == TL_OK && tl_map_next(p->by_name, &i, &name, &v);) {
        struct tl_rows *r = v;
        if (r->n) st = finish_factors(p, r);
        tl_rows_clear(r);
    }
    return st;
}

enum tl_status tl_calendar_row(struct tl_parse *p)
{
    struct tl_when when;
    struct tl_symbol none = {.text = "calendar"};
    if (!tl_parse_when(p, &when)) return TL_OK;
    if (tl_parse_has(p, TL_ROLE_IS_OPEN)) {
        const struct tl_str s = tl_parse_field(p, TL_ROLE_IS_OPEN);
        if (tl_str_eq(s, TL_STR("0")) || tl_str_ieq(s, TL_STR("false"))) return TL_OK;
        if (!tl_str_eq(s, TL_STR("1")) && !tl_str_ieq(s, TL_STR("true"))) {
            tl_reject_field(p, TL_ROLE_IS_OPEN, s, "is neither 0 nor 1");
            return TL_OK;
        }
    }
    struct tl_rows *r = p->last ? p->last : tl_rows_of(p, &none);
    if (!r) return tl_fail(p->err, TL_NOMEM, "no memory for the calendar");
    p->last = r;
    const enum tl_status st = tl_rows_grow(p, r);
    if (st != TL_OK) return st;
    r->line[r->n] = p->csv.line;
    r->day[r->n++] = floor_day(when.local_ms);
    return TL_OK;
}

enum tl_status tl_calendar_end(struct tl_parse *p)
{
    struct tl_rows *r = p->last;
    bool failed;
    size_t n = 0;
    if (!r) return TL_OK;
    TL_AUTOFREE size_t *order = tl_rows_order(r->day, r->n, &failed);
    TL_AUTOFREE int64_t *day = tl_calloc(r->n, sizeof *day);
    if (failed || !day) return tl_fail(p->err, TL_NOMEM, "no memory to sort %zu days", r->n);
    for (size_t i = 0; i < r->n; i++) {
        const int64_t d = r->day[order ? order[i] : i];
        if (n && day[n - 1] == d)
            p->count->duplicates++;
        else
            day[n++] = d;
    }
    return p->sink->calendar(p->sink->ctx, p->opt->calendar, day, n, p->err);
}
