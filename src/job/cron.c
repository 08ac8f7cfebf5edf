/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the five fields of a schedule into bit masks and finds the next instant that they allow, by walking local
 * dates and asking the zone for the instant of each wall time. Within a date those instants never go back: of a time
 * that comes twice the first counts, and every time that a change of the zone skips becomes the instant of that change.
 * Pure: knows no clock, no calendar and no settings. */
#include "job/cron.h"

#include "base/err.h"
#include "base/util.h"

#include <ctype.h>
#include <stdio.h>

enum { YEARS = 5, FIELDS = 5, WORD_MAX = 64 };
/* 0001-01-01 and 9990-01-01: beyond them nothing is due. */
#define EARLIEST_MS INT64_C(-62135596800000)
#define LATEST_MS   INT64_C(253086681600000)
#define MINUTE_MS   INT64_C(60000)

struct field {
    const char *name;
    int min, max;
    const char *const *names; /* of min and the following, parted by nothing; NULL: numbers alone */
    size_t n_names;
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const struct field fields[FIELDS] = {
    {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},
    {"day of month", 1, 31, NULL, 0},
    {"month", 1, 12, month_names, TL_COUNT(month_names)},
    {"day of week", 0, 7, day_names, TL_COUNT(day_names)},
};

/* ---- parsing ---- */

struct parser {
    const char *begin; /* of the whole text, for columns */
    const struct field *field;
    struct tl_err *err;
};

static enum tl_status bad(const struct parser *p, struct tl_str at, const char *why)
{
    char takes[96];
    const struct field *f = p->field;
    snprintf(takes, sizeof takes, "%d to %d%s%s%s%s", f->min, f->max, f->names ? ", " : "", f->names ? f->names[0] : "",
             f->names ? " to " : "", f->names ? f->names[f->n_names - 1] : "");
    return tl_fail_at(p->err, TL_PARSE, NULL, 0, (uint32_t)(at.p - p->begin) + 1, "%s: '%.*s' %s (it takes %s%s)",
                      f->name, (int)TL_MIN(at.n, (size_t)WORD_MAX), at.p, why, takes,
                      f->max == 7 ? ", trading-day" : "");
}

/* One number or name. last: it ends a range, where Sunday is 7. */
static enum tl_status value(const struct parser *p, struct tl_str text, bool last, int *out)
{
    const struct field *f = p->field;
    for (size_t i = 0; f->names && i < f->n_names; i++) {
        if (!tl_str_ieq(text, tl_str(f->names[i]))) continue;
        *out = f->min + (int)i;
        if (last && f->max == 7 && i == 0) *out = 7;
        return TL_OK;
    }
    int64_t n;
    if (text.n == 0 || !isdigit((unsigned char)text.p[0]) || !tl_str_to_i64(text, &n))
        return bad(p, text, f->names ? "is no number and no name" : "is no number");
    if (n < f->min || n > f->max) return bad(p, text, "is out of range");
    *out = (int)n;
    return TL_OK;
}

/* "*", "5", "1-5", and "*" or a range with "/STEP" behind it. */
static enum tl_status part(const struct parser *p, struct tl_str text, uint64_t *mask)
{
    struct tl_str rest = text, range, low, step_text = {NULL, 0};
    (void)!tl_str_split(&rest, '/', &range);
    bool stepped = rest.p != NULL;
    if (stepped) step_text = rest;
    int from = p->field->min, to = p->field->max == 7 ? 6 : p->field->max;
    int64_t step = 1;
    if (stepped && (!tl_str_to_i64(step_text, &step) || !isdigit((unsigned char)step_text.p[0]) || step < 1 ||
                    step > p->field->max))
        return bad(p, text, "has a step that is none");
    if (!tl_str_eq(range, TL_STR("*"))) {
        rest = range;
        (void)!tl_str_split(&rest, '-', &low);
        bool is_range = rest.p != NULL;
        enum tl_status st = value(p, low, false, &from);
        to = from;
        if (st == TL_OK && is_range) st = value(p, rest, true, &to);
        if (st != TL_OK) return st;
        if (stepped && !is_range) return bad(p, text, "has a step without a range or *");
        if (to < from) return bad(p, text, "ends before it begins");
    }
    for (int64_t i = from; i <= to; i += step) *mask |= UINT64_C(1) << i;
    return TL_OK;
}

static enum tl_status list(const struct parser *p, struct tl_str text, uint64_t *mask, bool *any)
{
    struct tl_str rest = text, piece;
    *any = text.n > 0 && text.p[0] == '*';
    *mask = 0;
    while (tl_str_split(&rest, ',', &piece)) {
        enum tl_status st = part(p, piece, mask);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

static bool next_word(struct tl_str *rest, struct tl_str *word)
{
    while (rest->n && isspace((unsigned char)rest->p[0])) rest->p++, rest->n--;
    size_t n = 0;
    while (n < rest->n && !isspace((unsigned char)rest->p[n])) n++;
    *word = (struct tl_str){rest->p, n};
    *rest = (struct tl_str){rest->p + n, rest->n - n};
    return n > 0;
}

static enum tl_status zone(const char *begin, struct tl_str word, struct tl_cron *out, struct tl_err *err)
{
    uint32_t column = (uint32_t)(word.p - begin) + 1;
    bool ok = word.n < sizeof out->zone;
    for (size_t i = 0; ok && i < word.n; i++)
        ok = isalnum((unsigned char)word.p[i]) || strchr("/_+-:", word.p[i]) != NULL;
    if (!ok)
        return tl_fail_at(err, TL_PARSE, NULL, 0, column, "zone: '%.*s' is none (it takes Asia/Shanghai, UTC, +08:00)",
                          (int)TL_MIN(word.n, (size_t)WORD_MAX), word.p);
    memcpy(out->zone, word.p, word.n);
    out->zone[word.n] = '\0';
    return TL_OK;
}

static enum tl_status one_field(const struct parser *p, size_t i, struct tl_str word, struct tl_cron *out)
{
    uint64_t mask = 0;
    bool any = false;
    if (i == 4 && tl_str_ieq(word, TL_STR("trading-day"))) {
        out->trading_day = true;
        return TL_OK;
    }
    enum tl_status st = list(p, word, &mask, &any);
    if (st != TL_OK) return st;
    if (i == 0) out->minutes = mask;
    if (i == 1) out->hours = (uint32_t)mask;
    if (i == 2) out->days = (uint32_t)mask;
    if (i == 3) out->months = (uint32_t)mask;
    if (i == 4) out->weekdays = (uint8_t)((mask | mask >> 7) & 127); /* 7 is Sunday, too */
    if (i == 2) out->any_day = any;
    if (i == 4) out->any_weekday = any;
    return TL_OK;
}

enum tl_status tl_cron_parse(struct tl_str text, struct tl_cron *out, struct tl_err *err)
{
    struct tl_str rest = text, word;
    *out = (struct tl_cron){.zone = "UTC"};
    for (size_t i = 0; i < FIELDS; i++) {
        struct parser p = {.begin = text.p, .field = &fields[i], .err = err};
        if (!next_word(&rest, &word))
            return tl_fail_at(err, TL_PARSE, NULL, 0, (uint32_t)text.n + 1,
                              "%s is missing (MINUTE HOUR DAY-OF-MONTH MONTH DAY-OF-WEEK [ZONE])", fields[i].name);
        enum tl_status st = one_field(&p, i, word, out);
        if (st != TL_OK) return st;
    }
    if (next_word(&rest, &word)) {
        enum tl_status st = zone(text.p, word, out, err);
        if (st != TL_OK) return st;
    }
    if (next_word(&rest, &word))
        return tl_fail_at(err, TL_PARSE, NULL, 0, (uint32_t)(word.p - text.p) + 1, "'%.*s' is one word too many",
                          (int)TL_MIN(word.n, (size_t)WORD_MAX), word.p);
    return TL_OK;
}

/* ---- the next instant ---- */

/* The instant of a local time; of one that does not exist, that of the change which skips it. */
static int64_t instant(const struct tl_tz *tz, int64_t local_ms)
{
    int64_t utc = tl_tz_to_utc(tz, local_ms);
    int64_t offset = tl_tz_offset_at_utc(tz, utc), gap = utc + offset - local_ms;
    if (gap <= 0) return utc;
    int64_t low = utc - gap, high = utc; /* the change lies in (low, high] */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (tl_tz_offset_at_utc(tz, middle) == offset)
            high = middle;
        else
            low = middle;
    }
    return high;
}

static bool date_allowed(const struct tl_cron *c, int64_t day_ms, bool (*is_trading_day)(void *, int64_t), void *ctx)
{
    struct tl_civil date;
    tl_civil_from_ms(day_ms, &date);
    if (!(c->months >> date.month & 1)) return false;
    int weekday = (tl_civil_weekday(day_ms) + 1) % 7; /* 0: Sunday */
    bool by_day = c->days >> date.day & 1, by_weekday = c->weekdays >> weekday & 1;
    if (c->trading_day) {
        if (!by_day) return false;
        return is_trading_day ? is_trading_day(ctx, day_ms) : weekday >= 1 && weekday <= 5;
    }
    return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The first instant of the date after after_ms; INT64_MAX: none. */
static int64_t in_date(const struct tl_cron *c, const struct tl_tz *tz, int64_t day_ms, int64_t after_ms)
{
    for (int hour = 0; hour < 24; hour++) {
        if (!(c->hours >> hour & 1)) continue;
        for (int minute = 0; minute < 60; minute++) {
            if (!(c->minutes >> minute & 1)) continue;
            int64_t at = instant(tz, day_ms + (hour * 60 + minute) * MINUTE_MS);
            if (at > after_ms) return at;
        }
    }
    return INT64_MAX;
}

int64_t tl_cron_next(const struct tl_cron *c, const struct tl_tz *tz, int64_t after_ms,
                     bool (*is_trading_day)(void *ctx, int64_t day_ms), void *ctx)
{
    if (after_ms > LATEST_MS) return INT64_MAX;
    after_ms = TL_MAX(after_ms, EARLIEST_MS);
    int64_t local = after_ms + tl_tz_offset_at_utc(tz, after_ms);
    int64_t today = (local >= 0 ? local / TL_DAY_MS : -((TL_DAY_MS - 1 - local) / TL_DAY_MS)) * TL_DAY_MS;
    /* From the day before on: a time that was skipped yesterday may be due today. */
    for (int64_t i = -1; i <= YEARS * 366; i++) {
        int64_t day = today + i * TL_DAY_MS;
        if (!date_allowed(c, day, is_trading_day, ctx)) continue;
        int64_t at = in_date(c, tz, day, after_ms);
        if (at != INT64_MAX) return at;
    }
    return INT64_MAX;
}
