/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by symbol: interning of symbols, growth, sorting, rejects. A text of a symbol column is parsed once an input;
 * the symbol of the row before is found without hashing. Rejecting never ends an input. Knows no kind of row. */
#include "import/rows.h"

#include "base/err.h"
#include "base/util.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void tl_reject(struct tl_parse *p, uint64_t line, uint32_t column, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->count->rejected++;
    if (!p->first_reject_line) p->first_reject_line = line;
    if (!p->opt->on_reject) return;
    struct tl_err e;
    tl_fail_at(&e, TL_PARSE, p->source->name, line, column, "%s", text);
    p->opt->on_reject(p->opt->ctx, &e);
}

void tl_reject_field(struct tl_parse *p, enum tl_role r, struct tl_str field, const char *why)
{
    const struct tl_column *c = &p->col.of[r];
    if (field.n == 0)
        tl_reject(p, p->csv.line, (uint32_t)c->at + 1, "%s is blank", c->name);
    else
        tl_reject(p, p->csv.line, (uint32_t)c->at + 1, "%s \"%s\" %s", c->name, tl_excerpt(field).z, why);
}

bool tl_parse_number(struct tl_parse *p, enum tl_role r, bool blank_ok, double *out)
{
    const struct tl_str s = tl_parse_field(p, r);
    const enum tl_num_result n = tl_field_num(s, out);
    if (n == TL_NUM_OK && !signbit(*out)) return true;
    const char *why = "is not a number";
    if (n == TL_NUM_OK) {
        if (*out == 0) {
            *out = 0;
            return true;
        }
        why = "is negative";
    } else if (tl_field_blank(s)) {
        *out = NAN;
        if (blank_ok) return true;
        why = "is blank";
    } else if (n == TL_NUM_RANGE) {
        why = "is out of range";
    } else if (tl_field_infinite(s)) {
        why = "is not finite";
    }
    tl_reject_field(p, r, s, why);
    return false;
}

bool tl_parse_when(struct tl_parse *p, struct tl_when *out)
{
    const bool has_date = tl_parse_has(p, TL_ROLE_DATE), has_time = tl_parse_has(p, TL_ROLE_TIME);
    const enum tl_role one = tl_parse_has(p, TL_ROLE_DATETIME) ? TL_ROLE_DATETIME
                             : has_date                        ? TL_ROLE_DATE
                                                               : TL_ROLE_TIME;
    const struct tl_str s = tl_parse_field(p, one);
    const char *why;
    if (one == TL_ROLE_DATE && has_time) {
        const struct tl_str t = tl_parse_field(p, TL_ROLE_TIME);
        why = tl_when_parse2(s, t, &p->months, out);
        if (why && t.n) {
            tl_reject(p, p->csv.line, (uint32_t)p->col.of[TL_ROLE_TIME].at + 1, "%s \"%s\" of %s \"%s\": %s",
                      p->col.of[TL_ROLE_TIME].name, tl_excerpt(t).z, p->col.of[TL_ROLE_DATE].name, tl_excerpt(s).z,
                      why);
            return false;
        }
        if (why) {
            tl_reject_field(p, TL_ROLE_TIME, t, why);
            return false;
        }
    } else {
        why = tl_when_parse(s, &p->months, out);
    }
    if (why) {
        char text[48];
        snprintf(text, sizeof text, "is %s", why);
        tl_reject_field(p, one, s, text);
        return false;
    }
    if (!p->zoned_known) {
        p->zoned_known = true;
        p->zoned = out->zoned;
    } else if (p->zoned != out->zoned) {
        tl_reject_field(p, one, s,
                        out->zoned ? "carries a UTC offset, earlier rows do not"
                                   : "carries no UTC offset, earlier rows do");
        return false;
    }
    if (out->has_time && out->local_ms % TL_DAY_MS != 0) p->any_time = true;
    return true;
}

struct tl_rows *tl_rows_of(struct tl_parse *p, const struct tl_symbol *symbol)
{
    void **slot = tl_map_put(p->by_name, tl_str(symbol->text), NULL);
    if (!slot) return NULL;
    if (!*slot) {
        struct tl_rows *r = tl_calloc(1, sizeof *r);
        if (!r) return NULL;
        r->symbol = *symbol;
        tl_bars_init(&r->bars);
        *slot = r;
    }
    return *slot;
}

/* A text that was not met before. */
static enum tl_status intern(struct tl_parse *p, struct tl_str s, struct tl_rows **out)
{
    struct tl_symbol symbol;
    struct tl_err e = {0};
    *out = NULL;
    const enum tl_status st = tl_import_symbol(s, p->profile, p->opt->market, &symbol, &e);
    if (st == TL_AMBIGUOUS || st == TL_NOMEM)
        return tl_fail_at(p->err, st, p->source->name, p->csv.line, (uint32_t)p->col.of[TL_ROLE_SYMBOL].at + 1, "%s",
                          e.text);
    if (st == TL_OK && !(*out = tl_rows_of(p, &symbol))) return tl_fail(p->err, TL_NOMEM, "no memory for symbols");
    void **slot = tl_map_put(p->by_text, s, NULL);
    if (!slot) return tl_fail(p->err, TL_NOMEM, "no memory for symbols");
    *slot = *out;
    return TL_OK;
}

/* --symbol beside a symbol column: all rows have to name one and the same. */
static enum tl_status check_given(struct tl_parse *p, struct tl_str s)
{
    if (s.n == 0 || s.n >= sizeof p->given) return TL_OK;
    if (p->given_n == 0) {
        memcpy(p->given, s.p, s.n);
        p->given_n = s.n;
        p->given_line = p->csv.line;
    }
    if (tl_str_eq(s, (struct tl_str){p->given, p->given_n})) return TL_OK;
    return tl_fail_at(p->err, TL_INVALID, p->source->name, p->csv.line, (uint32_t)p->col.of[TL_ROLE_SYMBOL].at + 1,
                      "\"%s\" here and \"%.*s\" on line %llu: as symbol %s they would become one series",
                      tl_excerpt(s).z, (int)p->given_n, p->given, (unsigned long long)p->given_line, p->fixed.text);
}

enum tl_status tl_parse_symbol(struct tl_parse *p, struct tl_rows **out)
{
    if (p->fixed.text[0]) {
        if (tl_parse_has(p, TL_ROLE_SYMBOL)) {
            const enum tl_status st = check_given(p, tl_parse_field(p, TL_ROLE_SYMBOL));
            if (st != TL_OK) return st;
        }
        if (!p->last && !(p->last = tl_rows_of(p, &p->fixed)))
            return tl_fail(p->err, TL_NOMEM, "no memory for symbols");
        *out = p->last;
        return TL_OK;
    }
    const struct tl_str s = tl_parse_field(p, TL_ROLE_SYMBOL);
    if (s.n == p->last_text_n && s.n && memcmp(s.p, p->last_text, s.n) == 0) {
        *out = p->last;
        return TL_OK;
    }
    *out = NULL;
    if (s.n >= sizeof p->last_text) {
        tl_reject_field(p, TL_ROLE_SYMBOL, s, "is too long for a symbol");
        return TL_OK;
    }
    void **slot = tl_map_get(p->by_text, s);
    if (slot) {
        *out = *slot;
    } else {
        const enum tl_status st = intern(p, s, out);
        if (st != TL_OK) return st;
    }
    if (!*out) {
        tl_reject_field(p, TL_ROLE_SYMBOL, s, "is not a symbol");
        return TL_OK;
    }
    memcpy(p->last_text, s.p, s.n);
    p->last_text_n = s.n;
    p->last = *out;
    return TL_OK;
}

static bool grow(void **p, size_t cap, size_t size)
{
    void *q = tl_realloc(*p, cap, size);
    if (q) *p = q;
    return q != NULL;
}

enum tl_status tl_rows_grow(struct tl_parse *p, struct tl_rows *r)
{
    if (r->n < r->cap) return TL_OK;
    if (r->cap > SIZE_MAX / 4) return tl_fail(p->err, TL_NOMEM, "too many rows");
    const size_t cap = r->cap ? r->cap * 2 : 256;
    bool ok = grow((void **)&r->line, cap, sizeof *r->line);
    if (p->opt->kind == TL_IMPORT_BARS) {
        ok = ok && tl_bars_reserve(&r->bars, cap) == TL_OK;
        if (p->zoned) ok = ok && grow((void **)&r->offset_min, cap, sizeof *r->offset_min);
    } else if (p->opt->kind == TL_IMPORT_FACTORS) {
        ok = ok && grow((void **)&r->factor, cap, sizeof *r->factor);
    } else {
        ok = ok && grow((void **)&r->day, cap, sizeof *r->day);
    }
    if (!ok) return tl_fail(p->err, TL_NOMEM, "no memory for %zu rows of %s", cap, r->symbol.text);
    r->cap = cap;
    return TL_OK;
}

void tl_rows_clear(struct tl_rows *r)
{
    tl_bars_release(&r->bars);
    free(r->factor);
    free(r->day);
    free(r->line);
    free(r->offset_min);
    *r = (struct tl_rows){.symbol = r->symbol};
    tl_bars_init(&r->bars);
}

enum tl_status tl_parse_zone(struct tl_parse *p, const struct tl_symbol *symbol, const struct tl_tz **out,
                             const char **name)
{
    *name = p->opt->zone ? p->opt->zone : tl_market_zone(tl_symbol_market(symbol));
    for (size_t i = 0; i < p->zones; i++) {
        if (strcmp(p->zone_name[i], *name) != 0) continue;
        *out = p->zone[i];
        return TL_OK;
    }
    TL_ASSERT(p->zones < TL_ZONES_MAX);
    const enum tl_status st = tl_tz_open(*name, &p->zone[p->zones], p->err);
    if (st != TL_OK) return st;
    p->zone_name[p->zones] = *name;
    *out = p->zone[p->zones++];
    return TL_OK;
}

struct keyed {
    int64_t key;
    size_t row;
};

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

size_t *tl_rows_order(const int64_t *key, size_t n, bool *failed)
{
    size_t i = 1;
    *failed = false;
    while (i < n && key[i] > key[i - 1]) i++;
    if (i >= n) return NULL;
    size_t *order = tl_calloc(n, sizeof *order);
    bool falling = true;
    for (i = 1; i < n && falling; i++) falling = key[i] < key[i - 1];
    struct keyed *k = falling ? NULL : tl_calloc(n, sizeof *k);
    *failed = !order || (!falling && !k);
    for (i = 0; !*failed && i < n; i++) {
        if (falling)
            order[i] = n - 1 - i;
        else
            k[i] = (struct keyed){key[i], i};
    }
    if (!*failed && !falling) {
        qsort(k, n, sizeof *k, by_key);
        for (i = 0; i < n; i++) order[i] = k[i].row;
    }
    free(k);
    if (*failed) {
        free(order);
        return NULL;
    }
    return order;
}
