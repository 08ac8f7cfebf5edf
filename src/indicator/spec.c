/* SPDX-License-Identifier: Apache-2.0 */
/* Specs as text: "NAME" or "NAME(p1,p2,...)". One parser and one canonical form, because the text is part of keys.
 * Canonical: upper-case name, every parameter filled in, numbers in their shortest form, MA types by name. Reads
 * untrusted text; the column of an error is that of the byte where the part at fault begins. */
#include "indicator/compute.h"

#include "base/err.h"
#include "base/num.h"
#include "base/str.h"
#include "base/util.h"

#include <math.h>
#include <stdio.h>

/* In the order of the numbers that they stand for. */
static const char *const ma_types[] = {"SMA", "EMA", "WMA", "DEMA", "TEMA"};

/* Longest part of a text that an error repeats, and longest name worth a guess. */
enum { SHOWN_MAX = 40, NAME_MAX_BYTES = 64 };

struct reader {
    const char *text;
    struct tl_err *err;
};

static int shown(struct tl_str s)
{
    return (int)TL_MIN(s.n, (size_t)SHOWN_MAX);
}

#define FAIL(reader, status, at, ...)                                                                                  \
    tl_fail_at((reader)->err, (status), NULL, 0, (uint32_t)((at) - (reader)->text) + 1, __VA_ARGS__)

static enum tl_status unknown_name(const struct reader *r, struct tl_str name)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (size_t i = 0; name.n <= NAME_MAX_BYTES && i < tl_indicator_count(); i++) {
        const char *known = tl_indicator_at(i)->name;
        unsigned distance = tl_str_distance(name, tl_str(known));
        if (distance < best && distance < name.n) {
            best = distance;
            nearest = known;
        }
    }
    if (nearest)
        return FAIL(r, TL_NOT_FOUND, name.p, "no indicator \"%.*s\"; did you mean %s?", shown(name), name.p, nearest);
    return FAIL(r, TL_NOT_FOUND, name.p, "no indicator \"%.*s\"", shown(name), name.p);
}

static enum tl_status find_info(const struct reader *r, struct tl_str name, const struct tl_indicator_info **info)
{
    char z[NAME_MAX_BYTES + 1];
    if (name.n > NAME_MAX_BYTES || memchr(name.p, '\0', name.n)) return unknown_name(r, name);
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    *info = tl_indicator_find(z);
    return *info ? TL_OK : unknown_name(r, name);
}

/* The range as text: "2..100000", "SMA EMA WMA DEMA TEMA". */
static void describe_range(const struct tl_param *p, char out[64])
{
    if (p->kind == TL_PARAM_MA_TYPE) {
        size_t n = 0;
        for (size_t i = 0; i < TL_COUNT(ma_types); i++)
            n += (size_t)snprintf(out + n, 64 - n, "%s%s", i ? " " : "", ma_types[i]);
    } else {
        snprintf(out, 64, "%g..%g", p->min, p->max);
    }
}

static bool in_range(const struct tl_param *p, double v)
{
    bool whole = p->kind == TL_PARAM_REAL || v == floor(v);
    return whole && v >= p->min && v <= p->max;
}

static enum tl_status parse_param(const struct reader *r, const struct tl_indicator_info *info, unsigned i,
                                  struct tl_str text, double *out)
{
    const struct tl_param *p = &info->params[i];
    if (p->kind == TL_PARAM_MA_TYPE) {
        for (size_t t = 0; t < TL_COUNT(ma_types); t++) {
            if (!tl_str_ieq(text, tl_str(ma_types[t]))) continue;
            *out = (double)t;
            return TL_OK;
        }
    }
    char range[64];
    describe_range(p, range);
    enum tl_num_result result = tl_num_parse(text, out);
    if (result == TL_NUM_BAD)
        return FAIL(r, p->kind == TL_PARAM_MA_TYPE ? TL_INVALID : TL_PARSE, text.p, "%s %s: \"%.*s\" is not %s (%s)",
                    info->name, p->name, shown(text), text.p,
                    p->kind == TL_PARAM_MA_TYPE ? "a type of moving average" : "a number", range);
    if (result == TL_NUM_OK && p->kind == TL_PARAM_INT && *out != floor(*out))
        return FAIL(r, TL_INVALID, text.p, "%s %s: %.*s is not a whole number (%s)", info->name, p->name, shown(text),
                    text.p, range);
    if (result == TL_NUM_RANGE || !in_range(p, *out))
        return FAIL(r, TL_INVALID, text.p, "%s %s: %.*s is out of range (%s)", info->name, p->name, shown(text), text.p,
                    range);
    *out += 0.0; /* one zero, not two */
    return TL_OK;
}

/* inside: what stands between the parentheses. */
static enum tl_status parse_params(const struct reader *r, struct tl_str inside, struct tl_spec *spec)
{
    const struct tl_indicator_info *info = spec->info;
    if (tl_str_trim(inside).n == 0) return TL_OK;
    struct tl_str rest = inside, part;
    for (unsigned i = 0; tl_str_split(&rest, ',', &part); i++) {
        struct tl_str text = tl_str_trim(part);
        if (text.n == 0) return FAIL(r, TL_PARSE, part.p, "%s: an empty parameter", info->name);
        if (i == info->n_params)
            return FAIL(r, TL_INVALID, text.p, "%s: too many parameters, it takes %u", info->name, info->n_params);
        enum tl_status st = parse_param(r, info, i, text, &spec->params[i]);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

enum tl_status tl_spec_parse(const char *text, struct tl_spec *out, struct tl_err *err)
{
    if (!text || !out) return tl_fail(err, TL_INVALID, "no indicator given");
    struct reader r = {text, err};
    struct tl_str all = tl_str_trim(tl_str(text)), inside = {NULL, 0}, name = all;
    const char *open = memchr(all.p, '(', all.n);
    if (open) {
        const char *end = all.p + all.n - 1;
        const char *close = memchr(open, ')', (size_t)(end - open) + 1);
        if (!close) return FAIL(&r, TL_PARSE, open, "\"%.*s\": the parenthesis is not closed", shown(all), all.p);
        if (close != end)
            return FAIL(&r, TL_PARSE, close + 1, "\"%.*s\": something stands behind the parenthesis", shown(all),
                        all.p);
        name = tl_str_trim((struct tl_str){all.p, (size_t)(open - all.p)});
        inside = (struct tl_str){open + 1, (size_t)(close - open) - 1};
    }
    if (name.n == 0) return FAIL(&r, TL_PARSE, name.p, "the name of an indicator is missing");
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!word)
            return FAIL(&r, TL_PARSE, name.p + i, "\"%.*s\" is not an indicator: NAME or NAME(p1,p2,...)", shown(all),
                        all.p);
    }
    struct tl_spec spec = {NULL, {0}};
    enum tl_status st = find_info(&r, name, &spec.info);
    if (st != TL_OK) return st;
    for (unsigned i = 0; i < spec.info->n_params; i++) spec.params[i] = spec.info->params[i].def;
    if (open) st = parse_params(&r, inside, &spec);
    if (st == TL_OK) *out = spec;
    return st;
}

enum tl_status tl_spec_check(const struct tl_spec *spec, struct tl_err *err)
{
    if (!spec || !spec->info) return tl_fail(err, TL_INVALID, "no indicator given");
    for (unsigned i = 0; i < spec->info->n_params; i++) {
        const struct tl_param *p = &spec->info->params[i];
        if (in_range(p, spec->params[i])) continue;
        char range[64];
        describe_range(p, range);
        return tl_fail(err, TL_INVALID, "%s %s: %g is out of range (%s)", spec->info->name, p->name, spec->params[i],
                       range);
    }
    return TL_OK;
}

static size_t format_param(const struct tl_param *p, double v, char out[TL_NUM_MAX])
{
    if (p->kind != TL_PARAM_MA_TYPE || !in_range(p, v)) return tl_num_format(out, v);
    const char *name = ma_types[(size_t)v];
    memcpy(out, name, strlen(name));
    return strlen(name);
}

size_t tl_spec_format(const struct tl_spec *spec, char *out, size_t cap)
{
    size_t n = strlen(spec->info->name);
    if (n >= cap) return 0;
    memcpy(out, spec->info->name, n + 1);
    if (spec->info->n_params == 0) return n;
    for (unsigned i = 0; i < spec->info->n_params; i++) {
        char text[TL_NUM_MAX];
        size_t length = format_param(&spec->info->params[i], spec->params[i], text);
        if (cap - n < length + 3) { /* "(" or ",", the number, ")" or the next ",", NUL */
            out[0] = '\0';
            return 0;
        }
        out[n] = i ? ',' : '(';
        memcpy(out + n + 1, text, length);
        n += length + 1;
    }
    out[n++] = ')';
    out[n] = '\0';
    return n;
}
