/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings and what its types accept. Pure; knows nothing of files, variables or flags: whoever calls adds
 * the place to the error. */

#include "config/value.h"

#include "base/err.h"
#include "base/util.h"
#include "config/choice.h"
#include "series/resample.h"

#include <ctype.h>
#include <stdio.h>
#include <tierline/indicator.h>

static const struct tl_setting settings[] = {
#define S(name, type, def, min, max, choices, help) {name, TL_SETTING_##type, def, min, max, choices, help},
#include "config/settings.tbl.h"
#undef S
};

const struct tl_setting *tl_setting_at(size_t i)
{
    return i < TL_COUNT(settings) ? &settings[i] : NULL;
}

const struct tl_setting *tl_setting_find(const char *name)
{
    for (size_t i = 0; i < TL_COUNT(settings); i++) {
        if (tl_str_ieq(tl_str(settings[i].name), tl_str(name))) return &settings[i];
    }
    return NULL;
}

const char *tl_setting_type_name(enum tl_setting_type type)
{
    switch (type) {
    case TL_SETTING_STRING:
        return "text";
    case TL_SETTING_INT:
        return "integer";
    case TL_SETTING_BOOL:
        return "boolean";
    case TL_SETTING_ENUM:
        return "choice";
    case TL_SETTING_BYTES:
        return "bytes";
    case TL_SETTING_DURATION:
        return "duration";
    }
    return "";
}

void tl_setting_env(const struct tl_setting *s, char out[64])
{
    size_t n = (size_t)snprintf(out, 64, "TIERLINE_%s", s->name);
    TL_ASSERT(n < 64);
    for (char *p = out; *p; p++) *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit byte_units[] = {
    {"", 1},         {"B", 1},         {"K", 1 << 10}, {"KB", 1 << 10}, {"KiB", 1 << 10}, {"M", 1 << 20},
    {"MB", 1 << 20}, {"MiB", 1 << 20}, {"G", 1 << 30}, {"GB", 1 << 30}, {"GiB", 1 << 30}, {NULL, 0},
};
static const struct unit time_units[] = {
    {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

/* 0: a number; -1: none; 1: none that fits into 64 bits. */
static int number_with_unit(struct tl_str text, const struct unit *units, int64_t *out)
{
    size_t digits = text.n > 0 && text.p[0] == '-' ? 1 : 0;
    size_t sign = digits;
    while (digits < text.n && isdigit((unsigned char)text.p[digits])) digits++;
    if (digits == sign) return -1;
    struct tl_str unit = tl_str_trim((struct tl_str){text.p + digits, text.n - digits});
    for (const struct unit *u = units; u->name; u++) {
        if (!tl_str_ieq(unit, tl_str(u->name))) continue;
        int64_t n;
        if (!tl_str_to_i64((struct tl_str){text.p, digits}, &n)) return 1;
        return __builtin_mul_overflow(n, u->factor, out) ? 1 : 0;
    }
    return -1;
}

bool tl_duration_parse(struct tl_str text, int64_t *ms)
{
    return number_with_unit(text, time_units, ms) == 0 && *ms >= 0;
}

static const char *number_form(enum tl_setting_type type)
{
    if (type == TL_SETTING_BYTES) return "a size in bytes like 65536, 64KiB, 64MiB or 2GiB";
    if (type == TL_SETTING_DURATION) return "a time like 500ms, 5s, 2m or 1h (a bare number is milliseconds)";
    return "an integer";
}

static enum tl_status check_number(const struct tl_setting *s, struct tl_str text, int64_t *number, struct tl_err *err)
{
    const struct unit *units = s->type == TL_SETTING_BYTES      ? byte_units
                               : s->type == TL_SETTING_DURATION ? time_units
                                                                : no_units;
    int r = number_with_unit(text, units, number);
    if (r < 0) return tl_fail(err, TL_INVALID, "%s: '%.*s' is not %s", s->name, TL_STR_ARG(text), number_form(s->type));
    if (r > 0 || *number < s->min || *number > s->max)
        return tl_fail(err, TL_INVALID, "%s: '%.*s' is out of range (%lld to %lld)", s->name, TL_STR_ARG(text),
                       (long long)s->min, (long long)s->max);
    return TL_OK;
}

static enum tl_status check_choice(const char *what, const char *choices, struct tl_str text, struct tl_str *canonical,
                                   struct tl_err *err)
{
    *canonical = tl_choice_match(choices, text);
    if (canonical->p) return TL_OK;
    char list[160];
    tl_choice_list(choices, ", ", list, sizeof list);
    struct tl_str near = tl_choice_nearest(choices, text);
    if (near.p)
        return tl_fail(err, TL_INVALID, "%s: '%.*s' is none of %s; did you mean '%.*s'?", what, TL_STR_ARG(text), list,
                       TL_STR_ARG(near));
    return tl_fail(err, TL_INVALID, "%s: '%.*s' is none of %s", what, TL_STR_ARG(text), list);
}

enum tl_status tl_setting_check(const struct tl_setting *s, struct tl_str text, struct tl_str *canonical,
                                int64_t *number, struct tl_err *err)
{
    text = tl_str_trim(text);
    *canonical = text;
    *number = 0;
    if (text.n == 0) return tl_fail(err, TL_INVALID, "%s: the value is empty", s->name);
    if (text.p[0] == '"' || text.p[0] == '\'')
        return tl_fail(err, TL_INVALID, "%s: the value begins with %c; values stand without quotes", s->name,
                       text.p[0]);
    switch (s->type) {
    case TL_SETTING_STRING:
        return TL_OK;
    case TL_SETTING_ENUM:
        return check_choice(s->name, s->choices, text, canonical, err);
    case TL_SETTING_BOOL: {
        struct tl_str word;
        enum tl_status st = check_choice(s->name, "true,yes,on,1|false,no,off,0", text, &word, err);
        if (st != TL_OK) return st;
        *canonical = word;
        *number = word.p[0] == 't';
        return TL_OK;
    }
    case TL_SETTING_INT:
    case TL_SETTING_BYTES:
    case TL_SETTING_DURATION:
        return check_number(s, text, number, err);
    }
    return tl_fail(err, TL_INTERNAL, "%s: unknown type", s->name);
}

enum tl_status tl_set_check(const char *name, struct tl_str text, struct tl_buf *out, struct tl_err *err)
{
    struct tl_str rest = text, piece;
    while (tl_str_split(&rest, ';', &piece)) {
        piece = tl_str_trim(piece);
        if (piece.n == 0) continue;
        char word[256], canonical[96];
        if (piece.n >= sizeof word)
            return tl_fail(err, TL_INVALID, "set %s: '%.40s...' is too long for an indicator", name, piece.p);
        memcpy(word, piece.p, piece.n);
        word[piece.n] = '\0';
        struct tl_spec spec;
        struct tl_err why = {0};
        enum tl_status st = tl_spec_parse(word, &spec, &why);
        if (st != TL_OK) return tl_fail(err, st, "set %s: %s", name, why.text);
        if (tl_spec_format(&spec, canonical, sizeof canonical) == 0)
            return tl_fail(err, TL_INTERNAL, "set %s: '%s' has no canonical text", name, word);
        if (out->n) tl_buf_putc(out, ';');
        tl_buf_puts(out, canonical);
    }
    return tl_buf_status(out, err);
}

enum tl_status tl_session_check(struct tl_str name, struct tl_str text, const char **market, struct tl_err *err)
{
    static const char *const markets[] = {"CN", "HK", "US", "FUTURES"};
    *market = NULL;
    for (size_t i = 0; i < TL_COUNT(markets); i++) {
        if (tl_str_ieq(name, tl_str(markets[i]))) *market = markets[i];
    }
    if (!*market)
        return tl_fail(err, TL_INVALID, "sessions: '%.*s' is no market with sessions (CN, HK, US, FUTURES)",
                       TL_STR_ARG(name));
    struct tl_sessions parsed;
    struct tl_err why = {0};
    enum tl_status st = tl_sessions_parse(text, &parsed, &why);
    if (st != TL_OK) return tl_fail(err, st, "sessions.%s: %s", *market, why.text);
    return TL_OK;
}
