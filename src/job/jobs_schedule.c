/* SPDX-License-Identifier: Apache-2.0 */
/* Reads schedules from the settings, where every mistake is named with its place, and asks the store whether it is
 * time: the calendar and how many symbols have the bar of the day. When they run is for jobs_clock.c. */
#include "job/jobs_schedule.h"

#include "base/err.h"
#include "base/util.h"
#include "job/wanted.h"

#include <stdio.h>

enum { ACTIVE_DAYS = 30 };
#define WAIT_MAX_MS INT64_C(7200000)

void tl_schedule_release(struct tl_schedule *s)
{
    free(s->text);
    free(s->symbols);
    free(s->days_ms);
    tl_tz_free(s->tz);
    *s = (struct tl_schedule){.text = NULL};
}

/* ---- reading ---- */

static enum tl_status take_symbols(struct tl_schedule *s, struct tl_str value, struct tl_err *err)
{
    struct tl_symbol_list list;
    if (value.n > TL_JOB_SYMBOLS_MAX)
        return tl_fail(err, TL_TOO_LARGE, "symbols: more than %d bytes", TL_JOB_SYMBOLS_MAX);
    enum tl_status st = tl_symbol_list_init(&list, err);
    if (st == TL_OK && !tl_str_eq(value, TL_STR("all"))) {
        st = tl_symbol_list_add_many(&list, value, err);
        if (st == TL_OK && list.n == 0) st = tl_fail(err, TL_INVALID, "symbols: '%.*s' names none", TL_STR_ARG(value));
    }
    tl_symbol_list_release(&list);
    if (st != TL_OK) return st;
    free(s->symbols);
    s->symbols = strndup(value.p, value.n);
    return s->symbols ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for the symbols");
}

static enum tl_status take_set(struct tl_schedule *s, const struct tl_config *cfg, struct tl_str value,
                               struct tl_err *err)
{
    const char *specs;
    if (value.n >= sizeof s->set) return tl_fail(err, TL_INVALID, "set: '%.*s' is none", 40, value.p);
    memcpy(s->set, value.p, value.n);
    s->set[value.n] = '\0';
    struct tl_err why;
    enum tl_status st = tl_config_set(cfg, s->set, &specs, &why);
    return st == TL_OK ? TL_OK : tl_fail(err, st, "set: %s", why.text);
}

/* "95%" */
static enum tl_status take_share(struct tl_schedule *s, struct tl_str value, struct tl_err *err)
{
    int64_t n;
    if (value.n < 2 || value.p[value.n - 1] != '%' ||
        !tl_str_to_i64(tl_str_trim((struct tl_str){value.p, value.n - 1}), &n) || n < 1 || n > 100)
        return tl_fail(err, TL_INVALID, "wait: '%.*s' is no share (1%% to 100%%)", (int)TL_MIN(value.n, (size_t)40),
                       value.p);
    s->share = (double)n / 100;
    return TL_OK;
}

static enum tl_status take_option(struct tl_schedule *s, const struct tl_config *cfg, struct tl_str name,
                                  struct tl_str value, struct tl_err *err)
{
    int shown = (int)TL_MIN(value.n, (size_t)40);
    if (tl_str_ieq(name, TL_STR("set"))) return take_set(s, cfg, value, err);
    if (tl_str_ieq(name, TL_STR("symbols"))) return take_symbols(s, value, err);
    if (tl_str_ieq(name, TL_STR("wait"))) return take_share(s, value, err);
    if (tl_str_ieq(name, TL_STR("freq")))
        return tl_freq_parse(value, &s->freq)
                   ? TL_OK
                   : tl_fail(err, TL_INVALID, "freq: '%.*s' is none of 1m, 5m, 15m, 30m, 60m, 1d, 1w, 1mo", shown,
                             value.p);
    if (tl_str_ieq(name, TL_STR("adjust")))
        return tl_adjust_parse(value, &s->adjust)
                   ? TL_OK
                   : tl_fail(err, TL_INVALID, "adjust: '%.*s' is none of raw, forward, backward", shown, value.p);
    if (tl_str_ieq(name, TL_STR("wait_max"))) {
        if (tl_duration_parse(value, &s->wait_max_ms) && s->wait_max_ms <= TL_DAY_MS) return TL_OK;
        return tl_fail(err, TL_INVALID, "wait_max: '%.*s' is not a time like 90s, 30m or 2h, at most 24h", shown,
                       value.p);
    }
    return tl_fail(err, TL_INVALID, "'%.*s' is no option (set, freq, adjust, symbols, wait, wait_max)",
                   (int)TL_MIN(name.n, (size_t)40), name.p);
}

static enum tl_status take_options(struct tl_schedule *s, const struct tl_config *cfg, struct tl_str rest,
                                   struct tl_err *err)
{
    struct tl_str piece, name;
    while (tl_str_split(&rest, ';', &piece)) {
        piece = tl_str_trim(piece);
        if (piece.n == 0) continue;
        struct tl_str value = piece;
        (void)!tl_str_split(&value, '=', &name);
        if (!value.p)
            return tl_fail(err, TL_INVALID, "'%.*s' is not OPTION=VALUE", (int)TL_MIN(piece.n, (size_t)40), piece.p);
        enum tl_status st = take_option(s, cfg, tl_str_trim(name), tl_str_trim(value), err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

static enum tl_status read_entry(const struct tl_config *cfg, const struct tl_config_entry *e, struct tl_schedule *s,
                                 struct tl_err *err)
{
    struct tl_str rest = tl_str(e->value), when;
    *s = (struct tl_schedule){.wait_max_ms = WAIT_MAX_MS, .text = strdup(e->value), .symbols = strdup("all")};
    if (!s->text || !s->symbols) return tl_fail(err, TL_NOMEM, "no memory for it");
    snprintf(s->name, sizeof s->name, "%s", e->name);
    snprintf(s->set, sizeof s->set, "%s", tl_config_str(cfg, "calc.set"));
    if (!tl_freq_parse(tl_str(tl_config_text(cfg, "calc.freq")), &s->freq) ||
        !tl_adjust_parse(tl_str(tl_config_text(cfg, "calc.adjust")), &s->adjust))
        return tl_fail(err, TL_INTERNAL, "calc.freq or calc.adjust is none");
    (void)!tl_str_split(&rest, ';', &when);
    enum tl_status st = tl_cron_parse(when, &s->cron, err);
    if (st == TL_OK) st = tl_tz_open(s->cron.zone, &s->tz, err);
    if (st == TL_OK && rest.p) st = take_options(s, cfg, rest, err);
    return st;
}

enum tl_status tl_schedule_read(const struct tl_config *cfg, size_t i, struct tl_schedule *out, struct tl_err *err)
{
    struct tl_config_entry e = {.section = ""};
    bool found = false;
    for (size_t k = 0; !found && tl_config_entry(cfg, k, &e); k++)
        found = strcmp(e.section, "schedules") == 0 && i-- == 0;
    if (!found) return TL_NOT_FOUND;
    struct tl_err why = {0};
    enum tl_status st = read_entry(cfg, &e, out, &why);
    if (st == TL_OK) return TL_OK;
    if (st == TL_NOT_FOUND) st = TL_INVALID; /* of a zone or a set: the settings are wrong */
    tl_schedule_release(out);
    const char *file = e.line ? tl_config_file(cfg) : NULL;
    if (file) return tl_fail_at(err, st, file, e.line, 0, "schedule %s: %s", e.name, why.text);
    return tl_fail(err, st, "schedule %s (%.80s): %s", e.name, e.source, why.text);
}

/* ---- trading days ---- */

const char *tl_schedule_calendar(const struct tl_schedule *s)
{
    static const struct {
        const char *zone, *calendar;
    } of[] = {{"Asia/Shanghai", "CN"}, {"Asia/Hong_Kong", "HK"}, {"America/New_York", "US"}};
    for (size_t i = 0; i < TL_COUNT(of); i++)
        if (strcmp(s->cron.zone, of[i].zone) == 0) return of[i].calendar;
    return NULL;
}

/* Outside of what the calendar covers: Monday to Friday. */
bool tl_schedule_trades(const struct tl_schedule *s, int64_t date_ms)
{
    if (!s->cron.trading_day) return true;
    if (s->n_days == 0 || date_ms < s->days_ms[0] || date_ms > s->days_ms[s->n_days - 1])
        return tl_civil_weekday(date_ms) < 5;
    size_t low = 0, high = s->n_days;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->days_ms[middle] < date_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n_days && s->days_ms[low] == date_ms;
}

static bool trades(void *ctx, int64_t day_ms)
{
    return tl_schedule_trades(ctx, day_ms);
}

int64_t tl_schedule_next(const struct tl_schedule *s, int64_t after_ms)
{
    return tl_cron_next(&s->cron, s->tz, after_ms, trades, (void *)(uintptr_t)s);
}

int64_t tl_schedule_date(const struct tl_schedule *s, int64_t at_ms)
{
    int64_t local = at_ms + tl_tz_offset_at_utc(s->tz, at_ms);
    int64_t rest = local % TL_DAY_MS;
    return local - (rest < 0 ? rest + TL_DAY_MS : rest);
}

/* ---- what the store says ---- */

struct counting {
    const struct tl_schedule *s;
    int64_t date_ms;
    struct tl_schedule_look *look;
    char last[TL_SYMBOL_MAX]; /* the symbol before; its rows come one after the other */
    bool active, ready;       /* of it */
};

static void close_symbol(struct counting *c)
{
    c->look->active += c->active;
    c->look->ready += c->active && c->ready;
    c->active = c->ready = false;
}

static bool count_symbol(void *ctx, const struct tl_store_symbol *row)
{
    struct counting *c = ctx;
    if (!tl_freq_serves(row->freq, c->s->freq)) return true;
    if (strcmp(c->last, row->symbol.text) != 0) {
        close_symbol(c);
        memcpy(c->last, row->symbol.text, sizeof c->last);
    }
    int64_t from = c->date_ms, last = row->head.raw.last_ts;
    if (tl_freq_intraday(row->freq)) from = tl_tz_to_utc(c->s->tz, c->date_ms);
    c->active |= last >= from - ACTIVE_DAYS * TL_DAY_MS;
    c->ready |= last >= from;
    return true;
}

enum tl_status tl_schedule_look(const struct tl_schedule *s, struct tl_store_reader *reader, int64_t date_ms,
                                struct tl_schedule_look *out, struct tl_err *err)
{
    const char *calendar = s->cron.trading_day ? tl_schedule_calendar(s) : NULL;
    *out = (struct tl_schedule_look){.days_ms = NULL};
    enum tl_status st = TL_OK;
    if (calendar) st = tl_store_calendar_read(reader, calendar, &out->days_ms, &out->n_days, err);
    if (st == TL_OK && s->share > 0) {
        struct counting c = {.s = s, .date_ms = date_ms, .look = out};
        st = tl_store_symbols(reader, count_symbol, &c, err);
        close_symbol(&c);
    }
    if (st != TL_OK) {
        free(out->days_ms);
        out->days_ms = NULL;
    }
    return st;
}
