/* SPDX-License-Identifier: Apache-2.0 */
/* Turns arguments and settings into symbols, specs, frequency, adjustment and row ranges. Every error names the
 * option and the value. Does not print. */
#include "cli/request.h"

#include "base/err.h"
#include "base/map.h"
#include "base/util.h"

#include <errno.h>

enum { SYMBOLS_MAX = 1000000 };

enum tl_status tl_cli_freq(const struct tl_cli *cli, enum tl_freq *out, struct tl_err *err)
{
    const char *text = tl_config_text(cli->cfg, "calc.freq");
    if (tl_freq_parse(tl_str(text), out)) return TL_OK;
    return tl_fail(err, TL_INVALID, "no frequency: %s (1m 5m 15m 30m 60m 1d 1w 1mo)", text);
}

enum tl_status tl_cli_adjust(const struct tl_cli *cli, enum tl_adjust *out, struct tl_err *err)
{
    const char *text = tl_config_text(cli->cfg, "calc.adjust");
    if (tl_adjust_parse(tl_str(text), out)) return TL_OK;
    return tl_fail(err, TL_INVALID, "no adjustment: %s (raw forward backward)", text);
}

static enum tl_status sessions_of(const struct tl_cli *cli, const char *market, struct tl_sessions *storage,
                                  const struct tl_sessions **out, struct tl_err *err)
{
    const char *text = tl_config_sessions(cli->cfg, market);
    if (!text) return TL_OK;
    *out = storage;
    return tl_sessions_parse(tl_str(text), storage, err);
}

enum tl_status tl_cli_sessions(const struct tl_cli *cli, struct tl_cli_hours *h, struct tl_err *err)
{
    h->view = tl_view_sessions_default();
    const struct tl_sessions **by = h->view.by_market;
    enum tl_status st = sessions_of(cli, "CN", &h->cn, &by[TL_MARKET_SH], err);
    by[TL_MARKET_SZ] = by[TL_MARKET_BJ] = by[TL_MARKET_SH];
    if (st == TL_OK) st = sessions_of(cli, "US", &h->us, &by[TL_MARKET_US], err);
    if (st == TL_OK) st = sessions_of(cli, "HK", &h->hk, &by[TL_MARKET_HK], err);
    if (st == TL_OK) st = sessions_of(cli, "FUTURES", &h->futures, &by[TL_MARKET_CN_FUTURES], err);
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

enum tl_status tl_cli_specs(const char *text, const char *what, struct tl_spec **specs, size_t *count,
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

struct symbol_list {
    struct tl_symbol *v;
    size_t n, cap;
    struct tl_map *seen;
    enum tl_freq freq;
    bool failed;
};

static bool add_symbol(struct symbol_list *l, const struct tl_symbol *s)
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

static enum tl_status add_text(struct symbol_list *l, struct tl_str text, struct tl_err *err)
{
    struct tl_symbol s;
    enum tl_status st = tl_symbol_parse(text, TL_MARKET_NONE, &s, err);
    if (st != TL_OK) return st;
    if (l->n >= SYMBOLS_MAX) return tl_fail(err, TL_TOO_LARGE, "more than %d symbols", SYMBOLS_MAX);
    return add_symbol(l, &s) ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for %zu symbols", l->n);
}

static enum tl_status add_file(struct symbol_list *l, const char *path, struct tl_err *err)
{
    FILE *f = fopen(path, "re");
    if (!f) return tl_fail_errno(err, errno, "cannot read the symbols in %s", path);
    char *line = NULL;
    size_t cap = 0;
    uint64_t number = 0;
    enum tl_status st = TL_OK;
    ssize_t n;
    while (st == TL_OK && (n = getline(&line, &cap, f)) >= 0) {
        number++;
        struct tl_str text = {line, (size_t)n};
        const char *hash = memchr(line, '#', (size_t)n);
        if (hash) text.n = (size_t)(hash - line);
        text = tl_str_trim(text);
        struct tl_err detail;
        if (text.n && (st = add_text(l, text, &detail)) != TL_OK)
            (void)tl_fail_at(err, st, path, number, 0, "%s", detail.text);
    }
    if (st == TL_OK && ferror(f)) st = tl_fail_errno(err, errno, "cannot read the symbols in %s", path);
    free(line);
    fclose(f);
    return st;
}

static bool add_stored(void *ctx, const struct tl_store_symbol *s)
{
    struct symbol_list *l = ctx;
    bool serves =
        s->freq == l->freq ||
        (s->freq < l->freq && (!tl_freq_intraday(l->freq) || tl_freq_minutes(l->freq) % tl_freq_minutes(s->freq) == 0));
    if (serves) l->failed = !add_symbol(l, &s->symbol);
    return !l->failed;
}

static enum tl_status add_all(struct symbol_list *l, struct tl_store *store, struct tl_err *err)
{
    struct tl_store_reader *reader = NULL;
    enum tl_status st = tl_store_reader_new(store, &reader, err);
    if (st == TL_OK) st = tl_store_symbols(reader, add_stored, l, err);
    tl_store_reader_free(reader);
    if (st == TL_OK && l->failed) return tl_fail(err, TL_NOMEM, "no memory for %zu symbols", l->n);
    return st;
}

enum tl_status tl_cli_symbols(const char *text, struct tl_store *store, enum tl_freq freq, struct tl_symbol **symbols,
                              size_t *count, struct tl_err *err)
{
    struct symbol_list l = {.seen = tl_map_new(), .freq = freq};
    enum tl_status st = l.seen ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for the symbols");
    if (st == TL_OK && strcmp(text, "all") == 0) {
        st = add_all(&l, store, err);
    } else if (st == TL_OK && text[0] == '@') {
        st = add_file(&l, text + 1, err);
    } else {
        struct tl_str rest = tl_str(text), part;
        while (st == TL_OK && tl_str_split(&rest, ',', &part)) {
            part = tl_str_trim(part);
            if (part.n) st = add_text(&l, part, err);
        }
    }
    tl_map_free(l.seen);
    if (st == TL_OK && l.n == 0)
        st = strcmp(text, "all") == 0
                 ? tl_fail(err, TL_NO_DATA, "the store has no bars for %s: import some first", tl_freq_name(freq))
                 : tl_fail(err, TL_INVALID, "--symbols %s names no symbol", text);
    if (st != TL_OK) {
        free(l.v);
        return st;
    }
    *symbols = l.v;
    *count = l.n;
    return TL_OK;
}

enum tl_status tl_cli_open_store_for_results(const struct tl_cli *cli, struct tl_store **out, bool *writable,
                                             struct tl_err *err)
{
    enum tl_status st = tl_cli_open_store(cli, false, out, err);
    *writable = st == TL_OK;
    if (st != TL_DENIED) return st;
    return tl_cli_open_store(cli, true, out, err);
}

/* ---- rows and times ---- */

static size_t first_not_before(const int64_t *ts, size_t n, int64_t limit)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ts[mid] < limit)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

enum tl_status tl_cli_rows(const struct tl_cli *cli, const struct tl_tz *tz, const int64_t *ts, size_t n,
                           size_t default_last, size_t *from, size_t *to, struct tl_err *err)
{
    int64_t first_day = 0, last_day = 0;
    bool has_from = tl_cli_date(cli, "from", &first_day);
    bool has_to = tl_cli_date(cli, "to", &last_day);
    if (has_from && has_to && first_day > last_day)
        return tl_fail(err, TL_INVALID, "--from %s is after --to %s", tl_cli_opt(cli, "from"), tl_cli_opt(cli, "to"));
    *from = 0;
    *to = n;
    if (has_from) *from = first_not_before(ts, n, tz ? tl_tz_to_utc(tz, first_day) : first_day);
    if (has_to) {
        last_day += TL_DAY_MS;
        *to = first_not_before(ts, n, tz ? tl_tz_to_utc(tz, last_day) : last_day);
    }
    if (*to < *from) *to = *from;
    size_t last = (size_t)tl_cli_count(cli, "last", has_from || has_to ? 0 : (int64_t)default_last);
    if (last && *to - *from > last) *from = *to - last;
    return TL_OK;
}

const char *tl_cli_time(char out[TL_CLI_TIME_MAX], const struct tl_tz *tz, int64_t ts_ms)
{
    if (tz) ts_ms += tl_tz_offset_at_utc(tz, ts_ms);
    tl_civil_format_date(ts_ms, out);
    if (!tz) return out;
    struct tl_civil c;
    tl_civil_from_ms(ts_ms, &c);
    snprintf(out + 10, TL_CLI_TIME_MAX - 10, " %02u:%02u", (unsigned)c.hour % 24, (unsigned)c.minute % 60);
    return out;
}

enum tl_status tl_cli_zone(const struct tl_view *view, struct tl_tz **out, struct tl_err *err)
{
    *out = NULL;
    return view->zone[0] ? tl_tz_open(view->zone, out, err) : TL_OK;
}
