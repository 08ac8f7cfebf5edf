/* SPDX-License-Identifier: Apache-2.0 */
/* Texts and tables for people. Widths are those of a terminal, so Chinese names align; the width table is a short list
 * of ranges (Unicode East Asian Width W and F, and combining marks), not the whole standard. */

#include "cli/out.h"

#include "base/err.h"
#include "base/num.h"
#include "base/util.h"

#include <stdarg.h>

/* One code point off `*s`; a byte that is not UTF-8 counts as one. */
static uint32_t next_rune(struct tl_str *s)
{
    unsigned char c = (unsigned char)s->p[0];
    size_t n = c >= 0xF0 && c < 0xF8 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1;
    uint32_t rune = n == 4 ? c & 0x07u : n == 3 ? c & 0x0Fu : n == 2 ? c & 0x1Fu : c;
    if (n > s->n) n = 1;
    for (size_t i = 1; i < n; i++) {
        unsigned char d = (unsigned char)s->p[i];
        if ((d & 0xC0) != 0x80) {
            n = 1;
            rune = c;
            break;
        }
        rune = rune << 6 | (d & 0x3Fu);
    }
    s->p += n;
    s->n -= n;
    return rune;
}

size_t tl_text_width(struct tl_str s)
{
    static const uint32_t wide[][2] = {
        {0x1100, 0x115F}, {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},
        {0xA000, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
        {0xFFE0, 0xFFE6}, {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD},
    };
    static const uint32_t none[][2] = {{0x0300, 0x036F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}};
    size_t width = 0;
    while (s.n > 0) {
        uint32_t rune = next_rune(&s);
        size_t w = 1;
        for (size_t i = 0; i < TL_COUNT(wide); i++) {
            if (rune >= wide[i][0] && rune <= wide[i][1]) w = 2;
        }
        for (size_t i = 0; i < TL_COUNT(none); i++) {
            if (rune >= none[i][0] && rune <= none[i][1]) w = 0;
        }
        width += w;
    }
    return width;
}

const char *tl_paint(bool on, enum tl_paint paint)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m"};
    return on ? codes[paint] : "";
}

const char *tl_human_count(char out[TL_HUMAN_MAX], uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t w = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) out[w++] = ',';
        out[w++] = digits[i];
    }
    out[w] = '\0';
    return out;
}

const char *tl_human_bytes(char out[TL_HUMAN_MAX], uint64_t n)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (n < 1024) {
        snprintf(out, TL_HUMAN_MAX, "%llu B", (unsigned long long)n);
        return out;
    }
    double v = (double)n / 1024;
    size_t u = 0;
    while (v >= 1023.95 && u + 1 < TL_COUNT(units)) {
        v /= 1024;
        u++;
    }
    snprintf(out, TL_HUMAN_MAX, "%.1f %s", v, units[u]);
    return out;
}

const char *tl_human_seconds(char out[TL_HUMAN_MAX], double s)
{
    if (!(s >= 0)) s = 0;
    if (s > 1e9) s = 1e9;
    long whole = (long)(s + 0.5);
    if (s < 9.995)
        snprintf(out, TL_HUMAN_MAX, "%.2f s", s);
    else if (s < 59.95)
        snprintf(out, TL_HUMAN_MAX, "%.1f s", s);
    else if (whole < 3600)
        snprintf(out, TL_HUMAN_MAX, "%ldm %02lds", whole / 60, whole % 60);
    else
        snprintf(out, TL_HUMAN_MAX, "%ldh %02ldm", whole / 3600, whole % 3600 / 60);
    return out;
}

/* ---- tables ---- */

void tl_table_init(struct tl_table *t, unsigned columns, const char *const *heads)
{
    TL_ASSERT(columns > 0);
    *t = (struct tl_table){.columns = columns};
    tl_buf_init(&t->text, 0);
    for (unsigned i = 0; i < columns; i++) {
        TL_ASSERT(heads[i][0] == '<' || heads[i][0] == '>');
        tl_table_cell(t, heads[i]);
    }
}

void tl_table_release(struct tl_table *t)
{
    tl_buf_release(&t->text);
}

void tl_table_cell(struct tl_table *t, const char *z)
{
    tl_buf_puts(&t->text, z ? z : "");
    tl_buf_putc(&t->text, '\0');
    t->cells++;
}

void tl_table_cellf(struct tl_table *t, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tl_table_cell(t, text);
}

void tl_table_cell_num(struct tl_table *t, double v)
{
    char text[TL_NUM_MAX + 1];
    text[tl_num_format(text, v)] = '\0';
    tl_table_cell(t, text);
}

/* blanks: those that stand before the next text of the row, so that none end a line. */
static void put_cell(FILE *f, const char *cell, size_t width, bool right, size_t *blanks)
{
    size_t pad = width - tl_text_width(tl_str(cell));
    if (right) *blanks += pad;
    if (cell[0]) {
        fprintf(f, "%*s%s", (int)*blanks, "", cell);
        *blanks = 0;
    }
    *blanks += (right ? 0 : pad) + 2;
}

enum tl_status tl_table_print(const struct tl_table *t, const struct tl_cli *cli, struct tl_err *err)
{
    enum tl_status st = tl_buf_status(&t->text, err);
    if (st != TL_OK) return st;
    TL_ASSERT(t->cells % t->columns == 0);
    size_t *width = tl_calloc(t->columns, sizeof *width);
    char *align = tl_calloc(t->columns, 1);
    if (!width || !align) {
        free(width);
        free(align);
        return tl_fail(err, TL_NOMEM, "out of memory for a table");
    }
    size_t blanks = 0;
    for (int pass = 0; pass < 2; pass++) {
        const char *cell = t->text.p;
        for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1) {
            size_t c = i % t->columns;
            bool head = i < t->columns;
            if (head) align[c] = cell[0];
            const char *shown = cell + (head ? 1 : 0);
            if (pass == 0) {
                width[c] = TL_MAX(width[c], tl_text_width(tl_str(shown)));
                continue;
            }
            if (head && c == 0) fputs(tl_paint(cli->out_color, TL_PAINT_BOLD), cli->out);
            if (c == 0) blanks = 0;
            put_cell(cli->out, shown, width[c], align[c] == '>', &blanks);
            if (head && c + 1 == t->columns) fputs(tl_paint(cli->out_color, TL_PAINT_RESET), cli->out);
            if (c + 1 == t->columns) fputc('\n', cli->out);
            if (ferror(cli->out)) break; /* the frame reports it at the end */
        }
    }
    free(width);
    free(align);
    return TL_OK;
}

enum tl_status tl_out_json(const struct tl_cli *cli, const struct tl_buf *b, struct tl_err *err)
{
    enum tl_status st = tl_buf_status(b, err);
    if (st != TL_OK) return st;
    struct tl_str text = tl_buf_str(b);
    fwrite(text.p, 1, text.n, cli->out);
    fputc('\n', cli->out);
    return TL_OK;
}
