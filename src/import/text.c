/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 or GB18030, by iconv(3), for short texts; and names for files that are no text at all. Keeps no state. */
#include "import/text.h"

#include "base/err.h"
#include "base/util.h"
#include "import/field.h"

#include <errno.h>
#include <iconv.h>

static enum tl_status from_gb18030(struct tl_str s, struct tl_buf *out, struct tl_err *err)
{
    iconv_t cd = iconv_open("UTF-8", "GB18030");
    if (cd == (iconv_t)-1)
        return tl_fail(err, TL_UNSUPPORTED, "this system cannot convert GB18030 text: save the file as UTF-8");
    char *in = (char *)(uintptr_t)s.p; /* iconv's input is not const, and not written to */
    size_t in_n = s.n, room = s.n * 2 + 16;
    char *p = tl_buf_reserve(out, room + 1);
    char *to = p;
    const bool ok = p && iconv(cd, &in, &in_n, &to, &room) != (size_t)-1;
    if (ok) {
        out->n += (size_t)(to - p);
        *to = '\0';
    }
    (void)iconv_close(cd);
    if (!p) return tl_buf_status(out, err);
    if (!ok) return tl_fail(err, TL_PARSE, "neither UTF-8 nor GB18030 text at byte %zu", s.n - in_n + 1);
    return TL_OK;
}

enum tl_status tl_text_utf8(struct tl_str s, bool gbk_first, struct tl_buf *out, struct tl_err *err)
{
    const bool utf8 = tl_utf8_valid(s);
    if (!utf8 || gbk_first) {
        const enum tl_status st = from_gb18030(s, out, utf8 ? NULL : err);
        if (st == TL_OK || !utf8) return st;
    }
    tl_buf_put(out, s.p, s.n);
    return tl_buf_status(out, err);
}

const char *tl_text_magic(struct tl_str head)
{
    static const struct {
        struct tl_str magic;
        const char *what;
    } rows[] = {
        {TL_STR("\x1f\x8b"), "a gzip file: unpack it first"},
        {TL_STR("PK\x03\x04"), "a zip archive or an .xlsx workbook: unpack it, or save it as CSV"},
        {TL_STR("\xD0\xCF\x11\xE0"), "an .xls workbook: save it as CSV"},
        {TL_STR("\x28\xB5\x2F\xFD"), "a zstd file: unpack it first"},
        {TL_STR("BZh"), "a bzip2 file: unpack it first"},
        {TL_STR("\xFD\x37zXZ"), "an xz file: unpack it first"},
        {TL_STR("SQLite format 3"), "an SQLite database: export a table as CSV"},
        {TL_STR("PAR1"), "a Parquet file: export it as CSV"},
        {TL_STR("\x89HDF"), "an HDF5 file: export it as CSV"},
        {TL_STR("%PDF"), "a PDF"},
        {TL_STR("\x7f\x45LF"), "a program"},
        {TL_STR("\xFF\xFE"), "UTF-16 text: save it as UTF-8"},
        {TL_STR("\xFE\xFF"), "UTF-16 text: save it as UTF-8"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++)
        if (head.n >= rows[i].magic.n && memcmp(head.p, rows[i].magic.p, rows[i].magic.n) == 0) return rows[i].what;
    return NULL;
}

size_t tl_text_bom(struct tl_str head)
{
    return head.n >= 3 && memcmp(head.p, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}
