/* SPDX-License-Identifier: Apache-2.0 */
/* Bars of a higher frequency. Each bar is given the start of its slot, and neighbours with the same slot are joined;
 * bars rise, so slots do. Local times are taken from the zone bar by bar, so a change of the clock moves no bar into
 * another slot. */
#include "series/resample.h"

#include "base/err.h"
#include "market/civil.h"

#include <math.h>

enum { DAY_MIN = 1440 };

const struct tl_sessions tl_sessions_cn = {2, {{570, 690}, {780, 900}}};
const struct tl_sessions tl_sessions_us = {1, {{570, 960}}};

/* "HH:MM" at *p; advances it. */
static bool parse_minute(const char **p, const char *end, int *out)
{
    int v[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        int digits = 0;
        while (*p < end && **p >= '0' && **p <= '9' && digits < 2) {
            v[k] = v[k] * 10 + (**p - '0');
            (*p)++;
            digits++;
        }
        if (digits == 0 || (k == 0 && (*p == end || *(*p)++ != ':'))) return false;
    }
    *out = v[0] * 60 + v[1];
    return v[1] < 60 && *out <= DAY_MIN;
}

enum tl_status tl_sessions_parse(struct tl_str text, struct tl_sessions *out, struct tl_err *err)
{
    struct tl_str rest = text, part;
    *out = (struct tl_sessions){0};
    while (tl_str_split(&rest, ',', &part)) {
        part = tl_str_trim(part);
        const char *p = part.p, *end = part.p + part.n;
        struct tl_session s;
        bool good = parse_minute(&p, end, &s.start_min) && p < end && *p++ == '-' &&
                    parse_minute(&p, end, &s.end_min) && p == end && s.start_min < s.end_min &&
                    (out->n == 0 || s.start_min >= out->v[out->n - 1].end_min) &&
                    out->n < sizeof out->v / sizeof *out->v;
        if (!good)
            return tl_fail(err, TL_PARSE, "trading hours \"%.*s\": \"%.*s\" is not HH:MM-HH:MM after the one before it",
                           TL_STR_ARG(text), TL_STR_ARG(part));
        out->v[out->n++] = s;
    }
    return TL_OK;
}

/* The session whose slots a minute of the day belongs to: its own; between sessions and after the last the one before;
 * before the first the first. */
static struct tl_session session_of(const struct tl_sessions *s, int minute)
{
    if (!s || s->n == 0) return (struct tl_session){0, DAY_MIN};
    size_t i = 0;
    while (i + 1 < s->n && s->v[i + 1].start_min <= minute) i++;
    return s->v[i];
}

static int64_t intraday_slot(int64_t ts, int minutes, const struct tl_tz *tz, const struct tl_sessions *sessions)
{
    int64_t local = ts + tl_tz_offset_at_utc(tz, ts);
    int64_t day = (local >= 0 ? local : local - (TL_DAY_MS - 1)) / TL_DAY_MS * TL_DAY_MS;
    int minute = (int)((local - day) / 60000);
    struct tl_session s = session_of(sessions, minute);
    if (minute < s.start_min) minute = s.start_min;
    if (minute >= s.end_min) minute = s.end_min - 1;
    int slot = s.start_min + (minute - s.start_min) / minutes * minutes;
    return tl_tz_to_utc(tz, day + (int64_t)slot * 60000);
}

static int64_t date_of(int64_t ts, const struct tl_tz *tz)
{
    int64_t local = tz ? ts + tl_tz_offset_at_utc(tz, ts) : ts;
    return (local >= 0 ? local : local - (TL_DAY_MS - 1)) / TL_DAY_MS * TL_DAY_MS;
}

/* A number that is the same for all days of the period and differs between neighbours. */
static int64_t period_of(int64_t date, enum tl_freq to)
{
    struct tl_civil c;
    if (to == TL_FREQ_1D) return date;
    if (to == TL_FREQ_1W) return date - tl_civil_weekday(date) * TL_DAY_MS;
    tl_civil_from_ms(date, &c);
    return (int64_t)c.year * 12 + c.month;
}

static double add_known(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : a + b;
}

static void join(struct tl_bars *out, const struct tl_bar *bar)
{
    size_t i = out->n - 1;
    double **c = out->col;
    if (bar->v[TL_BAR_HIGH] > c[TL_BAR_HIGH][i]) c[TL_BAR_HIGH][i] = bar->v[TL_BAR_HIGH];
    if (bar->v[TL_BAR_LOW] < c[TL_BAR_LOW][i]) c[TL_BAR_LOW][i] = bar->v[TL_BAR_LOW];
    c[TL_BAR_CLOSE][i] = bar->v[TL_BAR_CLOSE];
    c[TL_BAR_VOLUME][i] = add_known(c[TL_BAR_VOLUME][i], bar->v[TL_BAR_VOLUME]);
    c[TL_BAR_AMOUNT][i] = add_known(c[TL_BAR_AMOUNT][i], bar->v[TL_BAR_AMOUNT]);
}

static enum tl_status check(enum tl_freq from, enum tl_freq to, const struct tl_tz *tz, struct tl_err *err)
{
    bool fits = to > from && !(from == TL_FREQ_1W && to == TL_FREQ_1MO) &&
                !(tl_freq_intraday(to) && tl_freq_minutes(to) % tl_freq_minutes(from));
    if (!fits)
        return tl_fail(err, TL_UNSUPPORTED, "%s bars cannot be made of %s bars", tl_freq_name(to), tl_freq_name(from));
    if (tl_freq_intraday(from) && !tz)
        return tl_fail(err, TL_INVALID, "%s bars without a time zone", tl_freq_name(from));
    return TL_OK;
}

enum tl_status tl_bars_resample(const struct tl_bars *in, enum tl_freq from, enum tl_freq to, const struct tl_tz *tz,
                                const struct tl_sessions *sessions, struct tl_bars *out, struct tl_err *err)
{
    enum tl_status st = check(from, to, tz, err);
    if (!tl_freq_intraday(from)) tz = NULL; /* stamped with dates already */
    int64_t last = 0;
    for (size_t i = 0; st == TL_OK && i < in->n; i++) {
        struct tl_bar bar = tl_bars_at(in, i);
        int64_t slot;
        if (tl_freq_intraday(to)) {
            slot = bar.ts_ms = intraday_slot(bar.ts_ms, tl_freq_minutes(to), tz, sessions);
        } else {
            bar.ts_ms = date_of(bar.ts_ms, tz);
            slot = period_of(bar.ts_ms, to);
        }
        if (out->n > 0 && slot == last) {
            join(out, &bar);
            continue;
        }
        last = slot;
        if (tl_bars_append(out, &bar) != TL_OK) st = tl_fail(err, TL_NOMEM, "no memory for %zu bars", in->n);
    }
    return st;
}
