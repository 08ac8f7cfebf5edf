/* SPDX-License-Identifier: Apache-2.0 */
/* Dates and times out of text. Every form is recognised by its shape alone, never by trying one after another, so a
 * text has one meaning. Two-digit years and day-first dates are not read: they cannot be told from their neighbours. */
#include "import/times.h"

static const char not_a_date[] = "not a date";
static const char not_a_time[] = "not a time";
static const char no_such_day[] = "no such day";

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Up to max digits at s->p, cut off; the count of them. */
static size_t take_digits(struct tl_str *s, size_t max, int64_t *v)
{
    size_t k = 0;
    *v = 0;
    while (k < s->n && k < max && digit(s->p[k])) *v = *v * 10 + (s->p[k++] - '0');
    s->p += k;
    s->n -= k;
    return k;
}

static bool take(struct tl_str *s, char c)
{
    if (s->n == 0 || s->p[0] != c) return false;
    s->p++;
    s->n--;
    return true;
}

static const char *day_of(int64_t y, int64_t m, int64_t d, int64_t *ms)
{
    const struct tl_civil c = {.year = (int32_t)y, .month = (int32_t)m, .day = (int32_t)d};
    if (y < 1 || !tl_civil_valid(&c)) return no_such_day;
    *ms = tl_civil_days(c.year, c.month, c.day) * TL_DAY_MS;
    return NULL;
}

static const char *time_of(int64_t h, int64_t m, int64_t s, int64_t ms, int64_t *out)
{
    if (h > 23 || m > 59 || s > 59) return not_a_time;
    *out = ((h * 60 + m) * 60 + s) * 1000 + ms;
    return NULL;
}

/* Nothing, Z, +HH:MM, +HHMM, +HH: the whole of s. */
static bool parse_zone(struct tl_str s, struct tl_when *out)
{
    int64_t h, m = 0;
    if (s.n == 0) return true;
    if (s.n == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) {
        out->zoned = true;
        return true;
    }
    const bool minus = s.p[0] == '-';
    if (!take(&s, '+') && !take(&s, '-')) return false;
    if (take_digits(&s, 2, &h) != 2) return false;
    if (s.n) {
        (void)take(&s, ':');
        if (take_digits(&s, 2, &m) != 2 || s.n) return false;
    }
    if (h > 18 || m > 59) return false;
    out->zoned = true;
    out->offset_min = (int32_t)(minus ? -(h * 60 + m) : h * 60 + m);
    return true;
}

/* H:MM[:SS[.fff...]][zone], the whole of s; adds to out->local_ms. */
static const char *parse_clock(struct tl_str s, struct tl_when *out)
{
    int64_t h, m, sec = 0, frac = 0, ms = 0, tod;
    if (take_digits(&s, 2, &h) == 0 || !take(&s, ':') || take_digits(&s, 2, &m) == 0) return not_a_time;
    if (take(&s, ':')) {
        if (take_digits(&s, 2, &sec) == 0) return not_a_time;
        if (take(&s, '.') || take(&s, ',')) {
            size_t k = take_digits(&s, 3, &frac);
            if (k == 0) return not_a_time;
            for (ms = frac; k < 3; k++) ms *= 10;
            while (s.n && digit(s.p[0])) (void)take(&s, s.p[0]);
        }
    }
    if (!parse_zone(tl_str_trim(s), out)) return not_a_time;
    const char *why = time_of(h, m, sec, ms, &tod);
    if (why) return why;
    out->local_ms += tod;
    out->has_time = true;
    return NULL;
}

/* n digits, nothing else. */
static const char *parse_digits(struct tl_str s, struct tl_when *out)
{
    int64_t y, mo, d, h = 0, mi = 0, sec = 0, ms = 0, tod;
    const size_t n = s.n;
    if (n != 8 && n != 12 && n != 14 && n != 17) return not_a_date;
    (void)take_digits(&s, 4, &y);
    (void)take_digits(&s, 2, &mo);
    (void)take_digits(&s, 2, &d);
    if (n > 8) {
        (void)take_digits(&s, 2, &h);
        (void)take_digits(&s, 2, &mi);
        (void)take_digits(&s, 2, &sec);
        (void)take_digits(&s, 3, &ms);
        out->has_time = true;
    }
    const char *why = day_of(y, mo, d, &out->local_ms);
    if (!why) why = time_of(h, mi, sec, ms, &tod);
    if (!why) out->local_ms += tod;
    return why;
}

/* A date with separators, cut off s. */
static const char *parse_date(struct tl_str *s, struct tl_when *out)
{
    int64_t a, b, c;
    const size_t na = take_digits(s, 4, &a);
    const char sep = s->n ? s->p[0] : '\0';
    if (sep != '-' && sep != '/' && sep != '.') return not_a_date;
    (void)take(s, sep);
    const size_t nb = take_digits(s, 2, &b);
    if (nb == 0 || !take(s, sep)) return not_a_date;
    const size_t nc = take_digits(s, na == 4 ? 2 : 4, &c);
    if (na == 4 && nc > 0) return day_of(a, b, c, &out->local_ms);
    if ((na == 1 || na == 2) && sep == '/' && nc == 4) return day_of(c, a, b, &out->local_ms);
    return not_a_date;
}

static const char *parse_any(struct tl_str s, struct tl_when *out)
{
    size_t k = 0;
    *out = (struct tl_when){0};
    while (k < s.n && digit(s.p[k])) k++;
    if (k == s.n) return parse_digits(s, out);
    const bool compact = k == 8;
    const char *why = compact ? parse_digits((struct tl_str){s.p, 8}, out) : parse_date(&s, out);
    if (why) return why;
    if (compact) s = (struct tl_str){s.p + 8, s.n - 8};
    if (s.n == 0) return NULL;
    if (!take(&s, 'T') && !take(&s, 't')) {
        if (s.p[0] != ' ' && s.p[0] != '\t') return not_a_date;
        s = tl_str_trim(s);
    }
    return parse_clock(s, out);
}

static void cache_month(struct tl_str s, struct tl_when_cache *c)
{
    const int32_t y = (s.p[0] - '0') * 1000 + (s.p[1] - '0') * 100 + (s.p[2] - '0') * 10 + (s.p[3] - '0');
    const int32_t m = (s.p[5] - '0') * 10 + (s.p[6] - '0');
    memcpy(c->prefix, s.p, 8);
    c->days = tl_civil_days(y, m, 1);
    c->length = (int32_t)((m == 12 ? tl_civil_days(y + 1, 1, 1) : tl_civil_days(y, m + 1, 1)) - c->days);
}

const char *tl_when_parse(struct tl_str s, struct tl_when_cache *c, struct tl_when *out)
{
    const bool dashed = s.n >= 10 && s.p[4] == '-' && s.p[7] == '-';
    if (dashed && c->length && memcmp(s.p, c->prefix, 8) == 0 && digit(s.p[8]) && digit(s.p[9])) {
        const int32_t d = (s.p[8] - '0') * 10 + (s.p[9] - '0');
        *out = (struct tl_when){.local_ms = (c->days + d - 1) * TL_DAY_MS};
        if (d >= 1 && d <= c->length) {
            if (s.n == 10) return NULL;
            if (s.p[10] == ' ' || s.p[10] == 'T')
                return parse_clock(tl_str_trim((struct tl_str){s.p + 11, s.n - 11}), out);
        }
    }
    const char *why = parse_any(s, out);
    if (!why && dashed) cache_month(s, c);
    return why;
}

/* HHMM, HMM, HHMMSS, HMMSS. */
static const char *parse_clock_digits(struct tl_str s, int64_t *tod)
{
    int64_t v;
    const size_t n = s.n;
    if (n < 3 || n > 6 || take_digits(&s, 6, &v) != n) return not_a_time;
    if (n <= 4) v *= 100;
    return time_of(v / 10000, v / 100 % 100, v % 100, 0, tod);
}

const char *tl_when_parse2(struct tl_str date, struct tl_str time, struct tl_when_cache *c, struct tl_when *out)
{
    size_t colon = 0, k = 0;
    while (k < time.n && digit(time.p[k])) k++;
    if (k == time.n && k >= 12) return tl_when_parse(time, c, out);
    while (colon < time.n && time.p[colon] != ':') colon++;
    if (colon > 2 && colon < time.n) return tl_when_parse(time, c, out);
    const char *why = tl_when_parse(date, c, out);
    if (why) return why;
    const int64_t day = (out->local_ms >= 0 ? out->local_ms : out->local_ms - (TL_DAY_MS - 1)) / TL_DAY_MS;
    out->local_ms = day * TL_DAY_MS;
    if (k < time.n) return parse_clock(time, out);
    int64_t tod;
    why = parse_clock_digits(time, &tod);
    if (why) return why;
    out->local_ms += tod;
    out->has_time = true;
    return NULL;
}
