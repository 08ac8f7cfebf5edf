/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones. A zone is a table of instants with the offset from each on, an offset before the first, and a POSIX rule
 * (RFC 8536, section 3.3) for what lies behind the last; a fixed offset is a rule alone. Files are read as hostile:
 * every count is checked against the bytes there are before anything is allocated. Seconds inside, milliseconds
 * outside. Files with leap seconds ("right/...") are refused: bars count none. */
#include "market/tz.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 64, FILE_MAX_BYTES = 1 << 20, OFFSET_MAX_S = 26 * 3600, DAY_S = 86400 };

/* Instants beyond this (20,000 times the age of the universe ago) are damage; within, no sum here overflows. */
#define INSTANT_MAX_S (INT64_C(1) << 60)

/* When a change of the rule happens each year, in the local time that it ends. */
struct change {
    enum { BY_WEEKDAY, BY_DAY, BY_DAY_NO_LEAP } kind; /* Mm.w.d, n, Jn */
    int32_t month, week, day;
    int32_t time_s; /* may be negative or beyond a day */
};

struct rule {
    bool present, has_dst;
    int32_t std_s, dst_s; /* to add to UTC */
    struct change to_dst, to_std;
};

struct tl_tz {
    char name[NAME_MAX_BYTES];
    size_t n;
    int64_t *at_s;     /* ascending */
    int32_t *offset_s; /* from at_s[i] on */
    int32_t first_s;   /* before at_s[0] */
    struct rule rule;
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* ---- the rule ---- */

static int64_t change_day(const struct change *c, int32_t year)
{
    int64_t january = tl_civil_days(year, 1, 1);
    if (c->kind == BY_DAY) return january + c->day;
    if (c->kind == BY_DAY_NO_LEAP) {
        bool leap = tl_civil_days(year + 1, 1, 1) - january == 366;
        return january + c->day - 1 + (leap && c->day >= 60);
    }
    int64_t first = tl_civil_days(year, c->month, 1);
    int64_t next = c->month == 12 ? tl_civil_days(year + 1, 1, 1) : tl_civil_days(year, c->month + 1, 1);
    int32_t weekday = (int32_t)((first + 4) - floor_div(first + 4, 7) * 7); /* 0 = Sunday, as in the rule */
    int64_t day = first + (c->day - weekday + 7) % 7 + 7 * (c->week - 1);
    return day >= next ? day - 7 : day; /* week 5 means the last */
}

/* The latest change up to t decides. The years around are looked at as well, because a change may lie up to a week
 * outside its year; when both changes coincide (summer time all year), summer time holds. */
static int32_t rule_offset(const struct rule *r, int64_t t)
{
    if (!r->has_dst) return r->std_s;
    struct tl_civil c;
    int64_t t_ms;
    if (__builtin_mul_overflow(t, 1000, &t_ms)) return r->std_s;
    tl_civil_from_ms(t_ms, &c);
    int64_t latest = INT64_MIN;
    int32_t offset = r->std_s;
    for (int32_t year = c.year - 1; year <= c.year + 1; year++) {
        int64_t to_std = change_day(&r->to_std, year) * DAY_S + r->to_std.time_s - r->dst_s;
        int64_t to_dst = change_day(&r->to_dst, year) * DAY_S + r->to_dst.time_s - r->std_s;
        if (to_std <= t && to_std > latest) latest = to_std, offset = r->std_s;
        if (to_dst <= t && to_dst >= latest) latest = to_dst, offset = r->dst_s;
    }
    return offset;
}

struct cursor {
    const char *p, *end;
};

static bool take(struct cursor *c, char want)
{
    if (c->p >= c->end || *c->p != want) return false;
    c->p++;
    return true;
}

static bool take_number(struct cursor *c, int32_t max, int32_t *out)
{
    int32_t v = 0;
    const char *from = c->p;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
        v = v * 10 + (*c->p - '0');
        if (v > max) return false;
    }
    *out = v;
    return c->p > from;
}

/* [-+]h[h[h]][:mm[:ss]] */
static bool take_time(struct cursor *c, int32_t max_hours, int32_t *out)
{
    bool negative = take(c, '-');
    if (!negative) (void)take(c, '+');
    int32_t h, m = 0, s = 0;
    if (!take_number(c, max_hours, &h)) return false;
    if (take(c, ':')) {
        if (!take_number(c, 59, &m)) return false;
        if (take(c, ':') && !take_number(c, 59, &s)) return false;
    }
    int32_t v = h * 3600 + m * 60 + s;
    *out = negative ? -v : v;
    return true;
}

static bool take_name(struct cursor *c)
{
    bool quoted = take(c, '<');
    const char *from = c->p;
    for (; c->p < c->end; c->p++) {
        char u = *c->p;
        bool letter = (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z');
        bool more = quoted && ((u >= '0' && u <= '9') || u == '+' || u == '-');
        if (!letter && !more) break;
    }
    return c->p - from >= 3 && (!quoted || take(c, '>'));
}

static bool take_change(struct cursor *c, struct change *out)
{
    *out = (struct change){.kind = BY_DAY, .time_s = 2 * 3600};
    if (!take(c, ',')) return false;
    if (take(c, 'M')) {
        out->kind = BY_WEEKDAY;
        if (!take_number(c, 12, &out->month) || !take(c, '.') || !take_number(c, 5, &out->week) || !take(c, '.') ||
            !take_number(c, 6, &out->day) || out->month < 1 || out->week < 1)
            return false;
    } else if (take(c, 'J')) {
        out->kind = BY_DAY_NO_LEAP;
        if (!take_number(c, 365, &out->day) || out->day < 1) return false;
    } else if (!take_number(c, 365, &out->day)) {
        return false;
    }
    return !take(c, '/') || take_time(c, 167, &out->time_s);
}

static bool parse_rule(struct tl_str s, struct rule *r)
{
    *r = (struct rule){0};
    if (s.n == 0) return true;
    struct cursor c = {s.p, s.p + s.n};
    if (!take_name(&c) || !take_time(&c, 24, &r->std_s)) return false;
    r->std_s = -r->std_s; /* POSIX counts westwards */
    r->present = true;
    if (c.p == c.end) return true;
    r->has_dst = true;
    if (!take_name(&c)) return false;
    r->dst_s = r->std_s + 3600;
    if (c.p < c.end && *c.p != ',') {
        if (!take_time(&c, 24, &r->dst_s)) return false;
        r->dst_s = -r->dst_s;
    }
    return take_change(&c, &r->to_dst) && take_change(&c, &r->to_std) && c.p == c.end;
}

/* ---- the file ---- */

struct header {
    uint32_t isut, isstd, leap, time, type, chars;
};

enum { HEADER_BYTES = 44 };

static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v = v << 8 | p[i];
    return v;
}

static bool read_header(const unsigned char *p, size_t n, struct header *h)
{
    if (n < HEADER_BYTES || memcmp(p, "TZif", 4) != 0) return false;
    uint32_t *fields[] = {&h->isut, &h->isstd, &h->leap, &h->time, &h->type, &h->chars};
    for (size_t i = 0; i < TL_COUNT(fields); i++) *fields[i] = (uint32_t)big_endian(p + 20 + 4 * i, 4);
    return true;
}

/* Bytes of the block behind the header. Counts of 32 bits do not overflow 64 here. */
static uint64_t block_bytes(const struct header *h, uint64_t time_bytes)
{
    return (uint64_t)h->time * (time_bytes + 1) + (uint64_t)h->type * 6 + h->chars +
           (uint64_t)h->leap * (time_bytes + 4) + h->isstd + h->isut;
}

static enum tl_status damaged(const struct tl_tz *tz, const char *what, struct tl_err *err)
{
    return tl_fail(err, TL_CORRUPT, "time zone '%s': %s", tz->name, what);
}

/* The offsets of the types and the table of instants out of a block that is known to be whole. */
static enum tl_status read_block(struct tl_tz *tz, const unsigned char *p, const struct header *h, size_t time_bytes,
                                 struct tl_err *err)
{
    const unsigned char *index = p + (size_t)h->time * time_bytes, *types = index + h->time;
    if (h->type == 0) return damaged(tz, "the file has no type of local time", err);
    if (h->leap > 0) return tl_fail(err, TL_UNSUPPORTED, "time zone '%s' counts leap seconds", tz->name);
    for (size_t i = 0; i < h->type; i++) {
        int32_t offset = (int32_t)(uint32_t)big_endian(types + 6 * i, 4);
        if (offset < -OFFSET_MAX_S || offset > OFFSET_MAX_S) return damaged(tz, "an offset beyond 26 hours", err);
        if (i == 0) tz->first_s = offset;
    }
    tz->at_s = tl_calloc(h->time, sizeof *tz->at_s);
    tz->offset_s = tl_calloc(h->time, sizeof *tz->offset_s);
    if (!tz->at_s || !tz->offset_s) return tl_fail(err, TL_NOMEM, "no memory for time zone '%s'", tz->name);
    for (size_t i = 0; i < h->time; i++) {
        uint64_t raw = big_endian(p + i * time_bytes, time_bytes);
        int64_t at = time_bytes == 4 ? (int32_t)(uint32_t)raw : (int64_t)raw;
        if (at < -INSTANT_MAX_S || at > INSTANT_MAX_S) return damaged(tz, "a change beyond all time", err);
        if (i > 0 && at <= tz->at_s[i - 1]) return damaged(tz, "changes out of order", err);
        if (index[i] >= h->type) return damaged(tz, "a change to a type that is not there", err);
        tz->at_s[i] = at;
        tz->offset_s[i] = (int32_t)(uint32_t)big_endian(types + 6 * (size_t)index[i], 4);
    }
    tz->n = h->time;
    return TL_OK;
}

static enum tl_status read_tzif(struct tl_tz *tz, const unsigned char *p, size_t n, struct tl_err *err)
{
    struct header h;
    if (!read_header(p, n, &h)) return damaged(tz, "not a TZif file", err);
    unsigned char version = p[4];
    uint64_t bytes = block_bytes(&h, 4);
    if (bytes > n - HEADER_BYTES) return damaged(tz, "the file is cut", err);
    if (version < '2') return read_block(tz, p + HEADER_BYTES, &h, 4, err);
    size_t skip = HEADER_BYTES + (size_t)bytes;
    p += skip;
    n -= skip;
    if (!read_header(p, n, &h)) return damaged(tz, "the second header is missing", err);
    bytes = block_bytes(&h, 8);
    if (bytes > n - HEADER_BYTES) return damaged(tz, "the file is cut", err);
    enum tl_status st = read_block(tz, p + HEADER_BYTES, &h, 8, err);
    if (st != TL_OK) return st;
    struct tl_str footer = {(const char *)p + HEADER_BYTES + bytes, n - HEADER_BYTES - (size_t)bytes};
    const char *end = footer.n > 1 ? memchr(footer.p + 1, '\n', footer.n - 1) : NULL;
    if (!end || footer.p[0] != '\n') return damaged(tz, "the footer is missing", err);
    footer = (struct tl_str){footer.p + 1, (size_t)(end - footer.p - 1)};
    if (!parse_rule(footer, &tz->rule))
        return tl_fail(err, TL_CORRUPT, "time zone '%s': rule '%.*s' cannot be read", tz->name,
                       (int)TL_MIN(footer.n, 80u), footer.p);
    return TL_OK;
}

static enum tl_status read_file(struct tl_tz *tz, struct tl_err *err)
{
    const char *dir = getenv("TZDIR");
    if (!dir || !dir[0]) dir = "/usr/share/zoneinfo";
    char path[512];
    int len = snprintf(path, sizeof path, "%s/%s", dir, tz->name);
    if (len < 0 || (size_t)len >= sizeof path) return tl_fail(err, TL_INVALID, "TZDIR '%s' is too long", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return tl_fail(err, TL_NOT_FOUND, "no time zone '%s' in %s (is the package tzdata installed?)", tz->name, dir);
    if (fd < 0) return tl_fail_errno(err, errno, "time zone '%s': cannot open %s", tz->name, path);
    unsigned char *bytes = malloc(FILE_MAX_BYTES);
    size_t n = 0;
    ssize_t got = bytes ? 1 : -1;
    while (got > 0 && n < FILE_MAX_BYTES) {
        do got = read(fd, bytes + n, FILE_MAX_BYTES - n);
        while (got < 0 && errno == EINTR);
        if (got > 0) n += (size_t)got;
    }
    int errnum = errno;
    close(fd);
    enum tl_status st;
    if (!bytes)
        st = tl_fail(err, TL_NOMEM, "no memory for time zone '%s'", tz->name);
    else if (got < 0 && errnum == EISDIR)
        st = tl_fail(err, TL_NOT_FOUND, "'%s' is a folder of time zones", tz->name);
    else if (got < 0)
        st = tl_fail_errno(err, errnum, "time zone '%s': cannot read %s", tz->name, path);
    else if (n == FILE_MAX_BYTES)
        st = damaged(tz, "the file is larger than 1 MiB", err);
    else
        st = read_tzif(tz, bytes, n, err);
    free(bytes);
    return st;
}

/* ---- the interface ---- */

static bool name_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= NAME_MAX_BYTES || name[0] == '/' || strstr(name, "..")) return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("_+-/.", c)) return false;
    }
    return true;
}

/* "+08:00" */
static bool parse_fixed(const char *name, int32_t *offset_s)
{
    struct cursor c = {name + 1, name + strlen(name)};
    int32_t h, m;
    if ((name[0] != '+' && name[0] != '-') || strlen(name) != 6 || name[3] != ':') return false;
    if (!take_number(&c, 23, &h) || !take(&c, ':') || !take_number(&c, 59, &m) || c.p != c.end) return false;
    *offset_s = (h * 3600 + m * 60) * (name[0] == '-' ? -1 : 1);
    return true;
}

static struct tl_tz *tz_new(const char *name, struct tl_err *err)
{
    struct tl_tz *tz = tl_calloc(1, sizeof *tz);
    if (tz)
        memcpy(tz->name, name, strlen(name) + 1);
    else
        (void)tl_fail(err, TL_NOMEM, "no memory for time zone '%s'", name);
    return tz;
}

static enum tl_status finish(struct tl_tz *tz, enum tl_status st, struct tl_tz **out)
{
    if (st == TL_OK)
        *out = tz;
    else
        tl_tz_free(tz);
    return st;
}

enum tl_status tl_tz_read(const char *name, const void *bytes, size_t n, struct tl_tz **out, struct tl_err *err)
{
    if (!name_ok(name)) return tl_fail(err, TL_INVALID, "'%.80s' is no name of a time zone", name);
    struct tl_tz *tz = tz_new(name, err);
    return tz ? finish(tz, read_tzif(tz, bytes, n, err), out) : TL_NOMEM;
}

enum tl_status tl_tz_open(const char *name, struct tl_tz **out, struct tl_err *err)
{
    int32_t fixed_s = 0;
    bool fixed = strcmp(name, "UTC") == 0 || parse_fixed(name, &fixed_s);
    if (!fixed && (!name_ok(name) || name[0] == '+' || name[0] == '-'))
        return tl_fail(err, TL_INVALID, "'%.80s' is no time zone: give a name like Asia/Shanghai, UTC or +08:00", name);
    struct tl_tz *tz = tz_new(name, err);
    if (!tz) return TL_NOMEM;
    if (fixed) tz->rule = (struct rule){.present = true, .std_s = fixed_s};
    return finish(tz, fixed ? TL_OK : read_file(tz, err), out);
}

void tl_tz_free(struct tl_tz *tz)
{
    if (!tz) return;
    free(tz->at_s);
    free(tz->offset_s);
    free(tz);
}

const char *tl_tz_name(const struct tl_tz *tz)
{
    return tz->name;
}

int64_t tl_tz_offset_at_utc(const struct tl_tz *tz, int64_t utc_ms)
{
    int64_t t = floor_div(utc_ms, 1000);
    size_t low = 0, high = tz->n; /* changes [0, low) are up to t, [high, n) after it */
    if (tz->n == 0 || t >= tz->at_s[tz->n - 1]) low = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tz->at_s[middle] <= t)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == tz->n && tz->rule.present) return (int64_t)rule_offset(&tz->rule, t) * 1000;
    return (int64_t)(low == 0 ? tz->first_s : tz->offset_s[low - 1]) * 1000;
}

/* The offsets a day before and after bracket the wall time, whatever its offset is (zones change at most once in two
 * days). An instant is right when its own offset leads back to the wall time. */
int64_t tl_tz_to_utc(const struct tl_tz *tz, int64_t local_ms)
{
    if (local_ms < INT64_MIN + 2 * TL_DAY_MS || local_ms > INT64_MAX - 2 * TL_DAY_MS) return local_ms;
    int64_t before = tl_tz_offset_at_utc(tz, local_ms - TL_DAY_MS);
    int64_t after = tl_tz_offset_at_utc(tz, local_ms + TL_DAY_MS);
    if (before == after) return local_ms - before;
    bool before_right = tl_tz_offset_at_utc(tz, local_ms - before) == before;
    bool after_right = tl_tz_offset_at_utc(tz, local_ms - after) == after;
    if (before_right && after_right) return local_ms - TL_MAX(before, after);
    return after_right ? local_ms - after : local_ms - before;
}
