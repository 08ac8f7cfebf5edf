/* SPDX-License-Identifier: Apache-2.0 */
/* The sample market. Prices are random walks in ticks of 0.01 with changing drift, within a daily limit of 10 %; built
 * from integers, + - * / alone, so that the same seed gives the same bytes everywhere. Every file is written beside its
 * place and renamed into it. */
#include "sample/sample.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "market/civil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAYS_PER_YEAR_MAX = 262, EX_EVERY = 242, PATH_BYTES = 4096 };

enum { LOWEST = 100 }; /* no price falls below it, in ticks */

struct market {
    const char *dir;
    const struct tl_sample_options *opt;
    struct tl_sample_summary *sum;
    int64_t *days; /* trading days, rising */
    size_t n_days;
    struct tl_buf factors;
};

/* What one symbol is going through. */
struct walk {
    struct tl_rng rng;
    int64_t close;        /* in ticks of 0.01 */
    double drift;         /* of the present regime, per day */
    unsigned regime_left; /* days */
    unsigned suspended_left;
    unsigned ex_in; /* days until the next ex-date, which is once a year */
    bool absent;    /* suspended days are left out instead of flat */
};

/* ---- files ---- */

static enum tl_status write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w == 0) errno = EIO;
        if (w <= 0) return TL_IO;
        p += w;
        n -= (size_t)w;
    }
    return TL_OK;
}

/* dir/name appears whole or not at all. */
static enum tl_status write_file(struct market *m, const char *name, const struct tl_buf *text, struct tl_err *err)
{
    char path[PATH_BYTES], temporary[PATH_BYTES];
    enum tl_status st = tl_buf_status(text, err);
    if (st != TL_OK) return st;
    snprintf(path, sizeof path, "%s/%s", m->dir, name);
    snprintf(temporary, sizeof temporary, "%s/%s.tmp", m->dir, name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return tl_fail_errno(err, errno, "cannot write %s", temporary);
    int failed = write_all(fd, text->p, text->n) == TL_OK ? 0 : errno;
    if (close(fd) != 0 && !failed) failed = errno;
    if (!failed && rename(temporary, path) != 0) failed = errno;
    if (failed) {
        unlink(temporary);
        return tl_fail_errno(err, failed, "cannot write %s", path);
    }
    m->sum->bytes += text->n;
    return TL_OK;
}

static enum tl_status make_folder(const char *path, struct tl_err *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return TL_OK;
    return tl_fail_errno(err, errno, "cannot make the folder %s", path);
}

/* ---- calendar ---- */

/* The first days of January and May and the first week of October are holidays. */
static bool holiday(const struct tl_civil *c)
{
    return (c->month == 1 && c->day <= 3) || (c->month == 5 && c->day <= 3) || (c->month == 10 && c->day <= 7);
}

static enum tl_status make_calendar(struct market *m, struct tl_err *err)
{
    struct tl_civil end;
    tl_civil_from_ms(m->opt->end_date_ms, &end);
    size_t room = (size_t)m->opt->years * DAYS_PER_YEAR_MAX + 2;
    m->days = tl_calloc(room, sizeof *m->days);
    if (!m->days) return tl_fail(err, TL_NOMEM, "no memory for %zu trading days", room);
    int64_t day = tl_civil_days(end.year - (int32_t)m->opt->years, end.month, TL_MIN(end.day, 28)) + 1;
    for (; day * TL_DAY_MS <= m->opt->end_date_ms && m->n_days < room; day++) {
        struct tl_civil c;
        tl_civil_from_ms(day * TL_DAY_MS, &c);
        if (tl_civil_weekday(day * TL_DAY_MS) < 5 && !holiday(&c)) m->days[m->n_days++] = day * TL_DAY_MS;
    }
    struct tl_buf text;
    tl_buf_init(&text, 0);
    tl_buf_puts(&text, "date\n");
    for (size_t i = 0; i < m->n_days; i++) {
        char date[11];
        tl_civil_format_date(m->days[i], date);
        tl_buf_printf(&text, "%s\n", date);
    }
    enum tl_status st = write_file(m, "calendar.csv", &text, err);
    tl_buf_release(&text);
    return st;
}

/* ---- one symbol ---- */

static int64_t between(struct tl_rng *r, int64_t low, int64_t high)
{
    return low + (int64_t)tl_rng_below(r, (uint64_t)(high - low + 1));
}

static void put_price(struct tl_buf *out, int64_t ticks)
{
    tl_buf_printf(out, "%lld.%02d,", (long long)(ticks / 100), (int)(ticks % 100));
}

static void put_row(struct tl_buf *out, int64_t day, const int64_t ohlc[4], int64_t volume)
{
    char date[11];
    tl_civil_format_date(day, date);
    tl_buf_printf(out, "%s,", date);
    for (int i = 0; i < 4; i++) put_price(out, ohlc[i]);
    int64_t amount = (ohlc[0] + ohlc[3]) / 2 * volume; /* in hundredths */
    tl_buf_printf(out, "%lld,%lld.%02d\n", (long long)volume, (long long)(amount / 100), (int)(amount % 100));
}

/* An ex-date: gift shares or cash, and the price that a holder sees overnight falls accordingly. None where that would
 * be below the lowest price there is, so that a recorded event always explains the fall. */
static void go_ex(struct market *m, struct walk *w, const char *symbol, int64_t day)
{
    char date[11];
    tl_civil_format_date(day, date);
    bool split = tl_rng_below(&w->rng, 3) == 0;
    int64_t gift_tenths = split ? between(&w->rng, 3, 10) : 0;
    int64_t cash = split ? 0 : TL_MAX(w->close / 50, (int64_t)1);
    int64_t after = (w->close - cash) * 10 / (10 + gift_tenths);
    if (after < LOWEST) return;
    w->close = after;
    tl_buf_printf(&m->factors, "%s,%s,%lld.%02d,%lld.%lld,0,0\n", symbol, date, (long long)(cash / 100),
                  (int)(cash % 100), (long long)(gift_tenths / 10), (long long)(gift_tenths % 10));
    m->sum->splits++;
}

static void trade(struct walk *w, int64_t ohlc[4], int64_t *volume)
{
    struct tl_rng *r = &w->rng;
    if (w->regime_left == 0) {
        w->regime_left = (unsigned)between(r, 20, 120);
        w->drift = (double)between(r, -20, 24) / 10000;
    }
    w->regime_left--;
    int64_t limit = w->close / 10, before = w->close;
    double move = (w->drift + 0.018 * tl_rng_normal(r)) * (double)before;
    if (tl_rng_below(r, 100) == 0) move *= 6; /* news: some such days end at the limit */
    int64_t change = (int64_t)(move < 0 ? move - 0.5 : move + 0.5);
    change = change > limit ? limit : change < -limit ? -limit : change;
    int64_t open = before + (int64_t)((double)before * 0.006 * tl_rng_normal(r)), close = before + change;
    open = open > before + limit ? before + limit : open < before - limit ? before - limit : open;
    close = TL_MAX(close, (int64_t)LOWEST);
    open = TL_MAX(open, (int64_t)LOWEST);
    int64_t spread = TL_MAX(before / 60, (int64_t)1);
    ohlc[0] = open;
    ohlc[1] = TL_MIN(TL_MAX(open, close) + between(r, 0, spread), TL_MAX(before + limit, TL_MAX(open, close)));
    ohlc[2] = TL_MAX(TL_MIN(open, close) - between(r, 0, spread), TL_MIN(before - limit, TL_MIN(open, close)));
    ohlc[2] = TL_MAX(ohlc[2], (int64_t)1);
    ohlc[3] = close;
    *volume = between(r, 2000, 90000) * 100;
    w->close = close;
}

static void one_day(struct market *m, struct walk *w, const char *symbol, int64_t day, struct tl_buf *out)
{
    struct tl_rng *r = &w->rng;
    int64_t flat[4] = {w->close, w->close, w->close, w->close}, volume = 0;
    if (w->suspended_left == 0 && tl_rng_below(r, 700) == 0) {
        w->suspended_left = (unsigned)between(r, 1, 30);
        w->absent = tl_rng_below(r, 2) == 0;
    }
    if (w->suspended_left > 0) {
        w->suspended_left--;
        m->sum->suspended_rows++;
        if (w->absent) return;
        put_row(out, day, flat, 0);
        m->sum->rows++;
        return;
    }
    if (w->ex_in-- == 0) {
        go_ex(m, w, symbol, day);
        w->ex_in = EX_EVERY;
    }
    int64_t ohlc[4];
    trade(w, ohlc, &volume);
    if (tl_rng_below(r, 20000) == 0) { /* what vendors send now and then */
        char date[11];
        tl_civil_format_date(day, date);
        tl_buf_printf(out, "%s,,,,,,\n", date);
        m->sum->blank_rows++;
        return;
    }
    put_row(out, day, ohlc, volume);
    m->sum->rows++;
}

static enum tl_status one_symbol(struct market *m, uint32_t i, struct tl_buf *out, struct tl_err *err)
{
    static const struct {
        uint32_t first;
        const char *suffix;
    } boards[] = {{600000, "SH"}, {1, "SZ"}, {300001, "SZ"}};
    char symbol[16], name[40];
    uint32_t board = i % 3;
    snprintf(symbol, sizeof symbol, "%06u.%s", boards[board].first + i / 3, boards[board].suffix);
    struct walk w = {.close = 0};
    tl_rng_seed(&w.rng, m->opt->seed * UINT64_C(1000003) + i);
    w.close = between(&w.rng, 400, 9000);
    w.ex_in = (unsigned)between(&w.rng, 0, EX_EVERY);
    size_t first = 0;
    if (tl_rng_below(&w.rng, 25) == 0) { /* listed lately: from a handful of bars to a year */
        first = m->n_days - (size_t)between(&w.rng, TL_MIN(5, (int64_t)m->n_days), TL_MIN(250, (int64_t)m->n_days));
        m->sum->short_histories++;
    }
    tl_buf_clear(out);
    tl_buf_puts(out, "date,open,high,low,close,volume,amount\n");
    for (size_t d = first; d < m->n_days; d++) one_day(m, &w, symbol, m->days[d], out);
    snprintf(name, sizeof name, "bars/%s.csv", symbol);
    m->sum->symbols++;
    return write_file(m, name, out, err);
}

static enum tl_status check(const char *dir, const struct tl_sample_options *o, struct tl_err *err)
{
    if (o->symbols < 1 || o->symbols > 20000)
        return tl_fail(err, TL_INVALID, "%u symbols: 1 to 20000 are possible", o->symbols);
    if (o->years < 1 || o->years > 50) return tl_fail(err, TL_INVALID, "%u years: 1 to 50 are possible", o->years);
    if (strlen(dir) > PATH_BYTES - 64) return tl_fail(err, TL_INVALID, "the path of the folder is too long");
    return TL_OK;
}

enum tl_status tl_sample_write(const char *dir, const struct tl_sample_options *opt, struct tl_sample_summary *sum,
                               struct tl_err *err)
{
    struct market m = {.dir = dir, .opt = opt, .sum = sum};
    struct tl_buf text;
    char bars[PATH_BYTES];
    *sum = (struct tl_sample_summary){0};
    enum tl_status st = check(dir, opt, err);
    if (st != TL_OK) return st;
    tl_buf_init(&text, 0);
    tl_buf_init(&m.factors, 0);
    snprintf(bars, sizeof bars, "%s/bars", dir);
    st = make_folder(dir, err);
    if (st == TL_OK) st = make_folder(bars, err);
    if (st == TL_OK) st = make_calendar(&m, err);
    tl_buf_puts(&m.factors, "symbol,date,cash,gift,rights,rights_price\n");
    for (uint32_t i = 0; st == TL_OK && i < opt->symbols; i++) st = one_symbol(&m, i, &text, err);
    if (st == TL_OK) st = write_file(&m, "factors.csv", &m.factors, err);
    tl_buf_release(&m.factors);
    tl_buf_release(&text);
    free(m.days);
    return st;
}
