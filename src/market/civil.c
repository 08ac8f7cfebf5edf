/* SPDX-License-Identifier: Apache-2.0 */
/* Civil dates by counting days in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms"). Pure and
 * total: every int64 of milliseconds has a civil time. Knows neither time zones nor leap seconds. */
#include "market/civil.h"

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t tl_civil_days(int32_t year, int32_t month, int32_t day)
{
    int64_t y = (int64_t)year - (month <= 2); /* years begin in March, so that the leap day is the last */
    int64_t era = floor_div(y, 400), year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void from_days(int64_t days, struct tl_civil *out)
{
    days += 719468;
    int64_t era = floor_div(days, 146097), day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0 = March */
    out->day = (int32_t)(day_of_year - (153 * month + 2) / 5 + 1);
    out->month = (int32_t)(month < 10 ? month + 3 : month - 9);
    out->year = (int32_t)(year_of_era + era * 400 + (out->month <= 2));
}

static int32_t days_in_month(int32_t year, int32_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

bool tl_civil_valid(const struct tl_civil *c)
{
    return c->year >= 0 && c->year <= 9999 && c->month >= 1 && c->month <= 12 && c->day >= 1 &&
           c->day <= days_in_month(c->year, c->month) && c->hour >= 0 && c->hour <= 23 && c->minute >= 0 &&
           c->minute <= 59 && c->second >= 0 && c->second <= 59 && c->ms >= 0 && c->ms <= 999;
}

int64_t tl_civil_to_ms(const struct tl_civil *c)
{
    int64_t seconds = ((int64_t)c->hour * 60 + c->minute) * 60 + c->second;
    /* Unsigned, because the day of the first instants begins before them. */
    uint64_t midnight = (uint64_t)tl_civil_days(c->year, c->month, c->day) * (uint64_t)TL_DAY_MS;
    return (int64_t)(midnight + (uint64_t)(seconds * 1000 + c->ms));
}

void tl_civil_from_ms(int64_t ts_ms, struct tl_civil *out)
{
    int64_t days = floor_div(ts_ms, TL_DAY_MS);
    int32_t rest = (int32_t)(ts_ms % TL_DAY_MS);
    if (rest < 0) rest += (int32_t)TL_DAY_MS;
    from_days(days, out);
    out->ms = rest % 1000;
    out->second = rest / 1000 % 60;
    out->minute = rest / 60000 % 60;
    out->hour = rest / 3600000;
}

int tl_civil_weekday(int64_t ts_ms)
{
    int64_t day = floor_div(ts_ms, TL_DAY_MS) + 3; /* 1970-01-01 was a Thursday */
    return (int)(day - floor_div(day, 7) * 7);
}

static void put_digits(char *out, int n, int32_t v)
{
    for (int i = n - 1; i >= 0; i--, v /= 10) out[i] = (char)('0' + v % 10);
}

void tl_civil_format_date(int64_t ts_ms, char out[11])
{
    struct tl_civil c;
    tl_civil_from_ms(ts_ms, &c);
    if (c.year < 0) c = (struct tl_civil){.year = 0, .month = 1, .day = 1};
    if (c.year > 9999) c = (struct tl_civil){.year = 9999, .month = 12, .day = 31};
    put_digits(out, 4, c.year);
    put_digits(out + 5, 2, c.month);
    put_digits(out + 8, 2, c.day);
    out[4] = out[7] = '-';
    out[10] = '\0';
}

static bool get_digits(const char *p, int n, int32_t *out)
{
    int32_t v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        v = v * 10 + (p[i] - '0');
    }
    *out = v;
    return true;
}

bool tl_civil_parse_date(struct tl_str s, int64_t *ts_ms)
{
    size_t dash = s.n == 10 ? 1 : 0;
    if (s.n != 8 && s.n != 10) return false;
    if (dash && (s.p[4] != '-' || s.p[7] != '-')) return false;
    struct tl_civil c = {0};
    if (!get_digits(s.p, 4, &c.year) || !get_digits(s.p + 4 + dash, 2, &c.month) ||
        !get_digits(s.p + 6 + 2 * dash, 2, &c.day) || !tl_civil_valid(&c))
        return false;
    *ts_ms = tl_civil_to_ms(&c);
    return true;
}
