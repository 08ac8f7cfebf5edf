/* SPDX-License-Identifier: Apache-2.0 */
/* Turns text and settings into indicators, symbols and trading hours. Every error names the place that it was told and
 * the value. Reads the store only where it is asked for all symbols. */
#include "job/wanted.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

static enum tl_status sessions_of(const struct tl_config *cfg, const char *market, struct tl_sessions *storage,
                                  const struct tl_sessions **out, struct tl_err *err)
{
    const char *text = tl_config_sessions(cfg, market);
    if (!text) return TL_OK;
    *out = storage;
    return tl_sessions_parse(tl_str(text), storage, err);
}

enum tl_status tl_hours_read(const struct tl_config *cfg, struct tl_hours *h, struct tl_err *err)
{
    h->view = tl_view_sessions_default();
    const struct tl_sessions **by = h->view.by_market;
    enum tl_status st = sessions_of(cfg, "CN", &h->cn, &by[TL_MARKET_SH], err);
    by[TL_MARKET_SZ] = by[TL_MARKET_BJ] = by[TL_MARKET_SH];
    if (st == TL_OK) st = sessions_of(cfg, "US", &h->us, &by[TL_MARKET_US], err);
    if (st == TL_OK) st = sessions_of(cfg, "HK", &h->hk, &by[TL_MARKET_HK], err);
    if (st == TL_OK) st = sessions_of(cfg, "FUTURES", &h->futures, &by[TL_MARKET_CN_FUTURES], err);
    return st;
}

/* The next spec text: up to ';', or ',' outside parentheses. */
static bool next_spec(struct tl_str *rest, struct tl_str *part)
{
    if (!rest->p) return false;
    size_t i = 0;
    int depth = 0;
    for (; i < rest->n; i++) {
        char c = rest->p[i];
        depth += c == '(' ? 1 : c == ')' && depth > 0 ? -1 : 0;
        if (c == ';' || c == '\n' || (c == ',' && depth == 0)) break;
    }
    *part = tl_str_trim((struct tl_str){rest->p, i});
    *rest = i < rest->n ? (struct tl_str){rest->p + i + 1, rest->n - i - 1} : (struct tl_str){NULL, 0};
    return true;
}

enum tl_status tl_wanted_specs(const char *text, const char *what, struct tl_spec **specs, size_t *count,
                               struct tl_err *err)
{
    size_t room = 1;
    for (const char *p = text; *p; p++) room += *p == ';' || *p == ',' || *p == '\n';
    TL_AUTOFREE struct tl_spec *list = tl_calloc(room, sizeof *list);
    struct tl_map *seen = tl_map_new();
    enum tl_status st = list && seen ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for %zu indicators", room);
    size_t n = 0;
    struct tl_str rest = tl_str(text), part;
    while (st == TL_OK && next_spec(&rest, &part)) {
        if (part.n == 0) continue;
        char name[256], canonical[TL_SPEC_MAX];
        snprintf(name, sizeof name, "%.*s", TL_STR_ARG(part));
        struct tl_err detail;
        st = tl_spec_parse(name, &list[n], &detail);
        if (st != TL_OK) {
            (void)tl_fail(err, st, "%s: %s: %s", what, name, detail.text);
            break;
        }
        bool fresh = false;
        tl_spec_format(&list[n], canonical, sizeof canonical);
        if (!tl_map_put(seen, tl_str(canonical), &fresh)) st = tl_fail(err, TL_NOMEM, "no memory for %s", canonical);
        n += fresh;
    }
    tl_map_free(seen);
    if (st != TL_OK) return st;
    if (n == 0) return tl_fail(err, TL_INVALID, "%s names no indicator", what);
    *specs = TL_TAKE(list);
    *count = n;
    return TL_OK;
}

/* ---- symbols ---- */

enum tl_status tl_symbol_list_init(struct tl_symbol_list *l, struct tl_err *err)
{
    *l = (struct tl_symbol_list){.seen = tl_map_new()};
    return l->seen ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for the symbols");
}

void tl_symbol_list_release(struct tl_symbol_list *l)
{
    tl_map_free(l->seen);
    free(l->v);
    *l = (struct tl_symbol_list){.v = NULL};
}

struct tl_symbol *tl_symbol_list_take(struct tl_symbol_list *l, size_t *n)
{
    *n = l->n;
    struct tl_symbol *v = TL_TAKE(l->v);
    tl_symbol_list_release(l);
    return v;
}

static bool add_symbol(struct tl_symbol_list *l, const struct tl_symbol *s)
{
    bool fresh = false;
    if (!tl_map_put(l->seen, tl_str(s->text), &fresh)) return false;
    if (!fresh) return true;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct tl_symbol *v = tl_realloc(l->v, cap, sizeof *v);
        if (!v) return false;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = *s;
    return true;
}

enum tl_status tl_symbol_list_add(struct tl_symbol_list *l, struct tl_str text, struct tl_err *err)
{
    struct tl_symbol s;
    enum tl_status st = tl_symbol_parse(text, TL_MARKET_NONE, &s, err);
    if (st != TL_OK) return st;
    if (l->n >= TL_WANTED_SYMBOLS_MAX) return tl_fail(err, TL_TOO_LARGE, "more than %d symbols", TL_WANTED_SYMBOLS_MAX);
    return add_symbol(l, &s) ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for %zu symbols", l->n);
}

enum tl_status tl_symbol_list_add_many(struct tl_symbol_list *l, struct tl_str text, struct tl_err *err)
{
    struct tl_str part;
    enum tl_status st = TL_OK;
    while (st == TL_OK && tl_str_split(&text, ',', &part)) {
        part = tl_str_trim(part);
        if (part.n) st = tl_symbol_list_add(l, part, err);
    }
    return st;
}

bool tl_freq_serves(enum tl_freq have, enum tl_freq want)
{
    if (have >= want) return have == want;
    return !tl_freq_intraday(want) || tl_freq_minutes(want) % tl_freq_minutes(have) == 0;
}

struct all {
    struct tl_symbol_list *list;
    enum tl_freq freq;
    bool failed;
};

static bool add_stored(void *ctx, const struct tl_store_symbol *s)
{
    struct all *a = ctx;
    if (tl_freq_serves(s->freq, a->freq)) a->failed = !add_symbol(a->list, &s->symbol);
    return !a->failed;
}

enum tl_status tl_symbol_list_add_all(struct tl_symbol_list *l, struct tl_store_reader *reader, enum tl_freq freq,
                                      struct tl_err *err)
{
    struct all a = {.list = l, .freq = freq};
    enum tl_status st = tl_store_symbols(reader, add_stored, &a, err);
    if (st == TL_OK && a.failed) return tl_fail(err, TL_NOMEM, "no memory for %zu symbols", l->n);
    if (st == TL_OK && l->n == 0)
        return tl_fail(err, TL_NO_DATA, "the store has no bars for %s: import some first", tl_freq_name(freq));
    return st;
}
