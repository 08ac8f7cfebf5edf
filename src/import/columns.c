/* SPDX-License-Identifier: Apache-2.0 */
/* Headers. Names are looked up in one table (columns.tbl.h) whatever the profile; profiles only change units and
 * habits. Looks at the header alone, never at rows. */
#include "import/columns.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "import/csv.h"
#include "import/field.h"
#include "import/text.h"

static const struct {
    enum tl_role role;
    bool alt;
    const char *name;
    double scale;
} names[] = {
#define X(role, name, scale)     {TL_ROLE_##role, false, name, scale},
#define X_ALT(role, name, scale) {TL_ROLE_##role, true, name, scale},
#include "import/columns.tbl.h"
#undef X
#undef X_ALT
};

static const char *const role_names[TL_ROLE_COUNT] = {
    "symbol", "datetime",         "date", "time", "open",     "high",   "low",          "close",   "volume", "amount",
    "factor", "foreAdjustFactor", "cash", "gift", "transfer", "rights", "rights_price", "is_open",
};

const char *tl_role_name(enum tl_role r)
{
    return r >= 0 && r < TL_ROLE_COUNT ? role_names[r] : "none";
}

/* The form in which names are compared; false: longer than any of them. */
static bool normal(struct tl_str s, char out[48], size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (strchr(" \t_-.<>", c) && c) continue;
        if (s.n - i >= 3 && (memcmp(s.p + i, "（", 3) == 0 || memcmp(s.p + i, "）", 3) == 0)) {
            c = memcmp(s.p + i, "（", 3) == 0 ? '(' : ')';
            i += 2;
        }
        if (*n == 48) return false;
        out[(*n)++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return true;
}

enum tl_role tl_role_of(struct tl_str name, double *scale, bool *alt)
{
    char z[48];
    size_t n;
    if (!normal(name, z, &n)) return TL_ROLE_NONE;
    for (size_t i = 0; i < TL_COUNT(names); i++) {
        if (!tl_str_eq((struct tl_str){z, n}, tl_str(names[i].name))) continue;
        if (scale) *scale = names[i].scale;
        if (alt) *alt = names[i].alt;
        return names[i].role;
    }
    return TL_ROLE_NONE;
}

static bool ascii(struct tl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80) return false;
    return true;
}

static enum tl_status set_role(struct tl_columns *c, uint32_t at, struct tl_str name, uint64_t line, struct tl_err *err)
{
    double scale = 1;
    bool alt = false;
    const enum tl_role r = tl_role_of(name, &scale, &alt);
    if (r == TL_ROLE_NONE) return TL_OK;
    struct tl_column *col = &c->of[r];
    if (col->at >= 0 && alt) return TL_OK;
    if (col->at >= 0 && !col->alt)
        return tl_fail_at(err, TL_PARSE, NULL, line, at + 1,
                          "two columns for the %s: \"%s\" (column %d) and \"%s\" (column %u)", tl_role_name(r),
                          col->name, col->at + 1, tl_excerpt(name).z, at + 1);
    *col = (struct tl_column){.at = (int)at, .alt = alt, .ascii = ascii(name), .scale = scale};
    const struct tl_excerpt e = tl_excerpt((struct tl_str){name.p, TL_MIN(name.n, 24)});
    memcpy(col->name, e.z, TL_MIN(strlen(e.z), sizeof col->name - 1));
    return TL_OK;
}

/* Every field of the header, converted, at its index. */
static enum tl_status read_all(const struct tl_str *field, uint32_t n, bool gbk_first, uint64_t line,
                               struct tl_columns *c, struct tl_buf *found, struct tl_err *err)
{
    struct tl_buf name;
    enum tl_status st = TL_OK;
    *c = (struct tl_columns){.n = n};
    for (size_t r = 0; r < TL_ROLE_COUNT; r++) c->of[r].at = -1;
    tl_buf_init(&name, 0);
    tl_buf_clear(found);
    for (uint32_t i = 0; i < n && st == TL_OK; i++) {
        tl_buf_clear(&name);
        const struct tl_str raw = tl_str_trim(field[i]);
        for (size_t k = 0; k < raw.n && st == TL_OK; k++)
            if ((unsigned char)raw.p[k] < 0x20 && raw.p[k] != '\t' && raw.p[k] != '\n' && raw.p[k] != '\r')
                st = tl_fail_at(err, TL_PARSE, NULL, line, i + 1, "not a text file: byte 0x%02x in the header",
                                (unsigned)(unsigned char)raw.p[k]);
        if (st == TL_OK) st = tl_text_utf8(raw, gbk_first, &name, err);
        if (st == TL_OK) st = set_role(c, i, tl_buf_str(&name), line, err);
        if (st == TL_OK && found->n < 160)
            tl_buf_printf(found, "%s%s", i ? ", " : "", tl_excerpt(tl_buf_str(&name)).z);
        else if (st == TL_OK && found->p[found->n - 1] != '.')
            tl_buf_puts(found, " ...");
    }
    tl_buf_release(&name);
    if (st == TL_PARSE && err && err->line == 0) {
        err->line = line;
        err->column = 0;
    }
    return st;
}

static enum tl_status check(const struct tl_columns *c, enum tl_import_kind kind, uint64_t line, const char *found,
                            struct tl_err *err)
{
    struct tl_buf missing;
    tl_buf_init(&missing, 256);
    const bool has_date = c->of[TL_ROLE_DATE].at >= 0 || c->of[TL_ROLE_DATETIME].at >= 0 || c->of[TL_ROLE_TIME].at >= 0;
    if (!has_date) tl_buf_puts(&missing, "date");
    for (enum tl_role r = TL_ROLE_OPEN; kind == TL_IMPORT_BARS && r <= TL_ROLE_CLOSE; r++)
        if (c->of[r].at < 0) tl_buf_printf(&missing, "%s%s", missing.n ? ", " : "", tl_role_name(r));
    const bool cumulative = c->of[TL_ROLE_FACTOR].at >= 0;
    bool events = false;
    for (enum tl_role r = TL_ROLE_CASH; r <= TL_ROLE_RIGHTS; r++) events = events || c->of[r].at >= 0;
    enum tl_status st = TL_OK;
    if (missing.n)
        st = tl_fail_at(err, TL_PARSE, NULL, line, 0, "the header has no column for %s; found: %s", missing.p, found);
    else if (kind == TL_IMPORT_FACTORS && cumulative && events)
        st = tl_fail_at(err, TL_PARSE, NULL, line, 0,
                        "cumulative factors and events in one header: import one of them; found: %s", found);
    else if (kind == TL_IMPORT_FACTORS && !cumulative && !events)
        st = tl_fail_at(err, TL_PARSE, NULL, line, 0, "%s; found: %s",
                        c->of[TL_ROLE_FORE_FACTOR].at >= 0
                            ? "forward factors alone do not say what they are relative to: export the backward ones"
                            : "the header has no column for factor, cash, gift, transfer or rights",
                        found);
    tl_buf_release(&missing);
    return st;
}

enum tl_status tl_columns_read(const struct tl_str *field, uint32_t n, enum tl_import_kind kind, bool gbk_first,
                               uint64_t line, struct tl_columns *out, struct tl_err *err)
{
    struct tl_buf found;
    tl_buf_init(&found, 0);
    enum tl_status st = TL_OK;
    if (n > TL_CSV_COLUMNS_MAX)
        st = tl_fail_at(err, TL_TOO_LARGE, NULL, line, 0, "the header has %u columns, at most %d are read", n,
                        TL_CSV_COLUMNS_MAX);
    if (st == TL_OK) st = read_all(field, n, gbk_first, line, out, &found, err);
    if (st == TL_OK) st = check(out, kind, line, found.n ? found.p : "nothing", err);
    if (st == TL_PARSE) {
        /* Short GBK text can happen to be valid UTF-8, and the other way round. */
        struct tl_columns other;
        struct tl_buf ignored;
        tl_buf_init(&ignored, 0);
        if (read_all(field, n, !gbk_first, line, &other, &ignored, NULL) == TL_OK &&
            check(&other, kind, line, "", NULL) == TL_OK) {
            *out = other;
            st = TL_OK;
        }
        tl_buf_release(&ignored);
    }
    tl_buf_release(&found);
    return st;
}
