/* SPDX-License-Identifier: Apache-2.0 */
/* The CSV reader. A record without quotes takes the fast way: 16 bytes at a time become a bit mask of delimiters and
 * line ends. A record with a field that begins with a quote, and blank-separated text, take the plain way, a byte at a
 * time. Invariants: no byte outside [p, p + n) is read; nothing but the line count survives a record; a decision that
 * needs a byte behind the block (the LF of a CRLF, the second of two quotes) waits for it. Knows nothing of bars. */
#include "import/csv.h"

#include "base/err.h"
#include "base/util.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

void tl_csv_init(struct tl_csv *c)
{
    memset(c, 0, sizeof *c);
    c->line = c->next_line = 1;
    tl_csv_set_delim(c, ',');
}

void tl_csv_release(struct tl_csv *c)
{
    free(c->scratch);
    c->scratch = NULL;
    c->scratch_cap = 0;
}

void tl_csv_set_delim(struct tl_csv *c, char delim)
{
    memset(c->special, 0, sizeof c->special);
    c->delim = delim;
    c->special[(uint8_t)delim] = c->special['\n'] = c->special['\r'] = c->special[0] = 1;
}

void tl_csv_skip_line(struct tl_csv *c)
{
    c->line = ++c->next_line;
}

static enum tl_csv_result bad_nul(const struct tl_csv *c, uint64_t line, size_t at, struct tl_err *err)
{
    tl_fail_at(err, TL_PARSE, NULL, line, c->n + 1, "NUL byte, %zu bytes after the line's beginning: not a text file",
               at);
    return TL_CSV_BAD;
}

/* The longest record and a CRLF: with that many bytes in sight it is decided whether a record is too long. */
enum { VISIBLE = TL_CSV_RECORD_MAX + 2 };

static enum tl_csv_result too_large(const struct tl_csv *c, struct tl_err *err)
{
    tl_fail_at(err, TL_TOO_LARGE, NULL, c->line, 0, "the line is longer than %d bytes", TL_CSV_RECORD_MAX);
    return TL_CSV_BAD;
}

/* What running out of bytes means. */
static enum tl_csv_result ran_out(const struct tl_csv *c, size_t n, struct tl_err *err)
{
    if (n < VISIBLE) return TL_CSV_MORE;
    return too_large(c, err);
}

static inline void push(struct tl_csv *c, const char *from, const char *to)
{
    if (c->n < TL_CSV_COLUMNS_MAX) c->field[c->n] = (struct tl_str){from, (size_t)(to - from)};
    c->n++;
}

/* Bytes of the line end at p[k] (CR or LF); 0: a CR whose LF may follow in the next block. */
static inline size_t line_end(const char *p, size_t k, size_t n, bool last)
{
    if (p[k] == '\n') return 1;
    if (k + 1 < n) return p[k + 1] == '\n' ? 2 : 1;
    return last ? 1 : 0;
}

/* ---- the plain way ---- */

/* Room for the undoubled text of a record of n bytes: reserved once a record, so that fields stay where they are. */
static bool scratch_begin(struct tl_csv *c, size_t n)
{
    c->scratch_n = 0;
    if (c->scratch_cap >= n) return true;
    char *p = tl_realloc(c->scratch, n, 1);
    if (!p) return false;
    c->scratch = p;
    c->scratch_cap = n;
    return true;
}

struct quoted {
    size_t next;       /* behind the closing quote */
    uint64_t newlines; /* inside the quotes */
    bool doubled;
};

/* p[at] is the opening quote. MORE: the closing one is not in the block. */
static enum tl_csv_result quoted_extent(const char *p, size_t at, size_t n, bool last, struct quoted *q)
{
    *q = (struct quoted){0};
    for (size_t i = at + 1; i < n; i++) {
        if (p[i] == '"') {
            if (i + 1 == n && !last) return TL_CSV_MORE;
            if (i + 1 < n && p[i + 1] == '"') {
                q->doubled = true;
                i++;
                continue;
            }
            q->next = i + 1;
            return TL_CSV_RECORD;
        }
        if (p[i] == '\0') {
            q->next = i;
            return TL_CSV_BAD;
        }
        if (p[i] == '\n' || (p[i] == '\r' && (i + 1 >= n || p[i + 1] != '\n'))) q->newlines++;
    }
    return TL_CSV_MORE;
}

static void push_quoted(struct tl_csv *c, const char *from, size_t n, bool doubled)
{
    if (!doubled) {
        push(c, from, from + n);
        return;
    }
    char *out = c->scratch + c->scratch_n;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        out[k++] = from[i];
        if (from[i] == '"') i++;
    }
    c->scratch_n += k;
    push(c, out, out + k);
}

/* What follows a field's text: its delimiter or the record's end. */
enum after { AFTER_FIELD, AFTER_RECORD, AFTER_MORE };

static enum after after_field(struct tl_csv *c, const char *p, size_t *at, size_t n, bool last)
{
    size_t k = *at;
    if (c->delim == ' ')
        while (k < n && (p[k] == ' ' || p[k] == '\t')) k++;
    if (k == n) {
        *at = k;
        return last ? AFTER_RECORD : AFTER_MORE;
    }
    if (p[k] == '\n' || p[k] == '\r') {
        const size_t e = line_end(p, k, n, last);
        *at = k + e;
        if (e == 0) return AFTER_MORE;
        c->next_line++;
        return AFTER_RECORD;
    }
    *at = c->delim == ' ' ? k : k + 1;
    return AFTER_FIELD;
}

static bool ends_field(const struct tl_csv *c, char ch)
{
    return c->special[(uint8_t)ch] != 0 || (c->delim == ' ' && ch == '\t');
}

/* A quoted field at p[*at]. Sets *at behind it. */
static enum tl_csv_result read_quoted(struct tl_csv *c, const char *p, size_t *at, size_t n, bool last, bool cut,
                                      uint64_t *newlines, struct tl_err *err)
{
    struct quoted q;
    enum tl_csv_result r = quoted_extent(p, *at, n, last && !cut, &q);
    if (r == TL_CSV_BAD) return bad_nul(c, c->line, q.next, err);
    if (r == TL_CSV_MORE) {
        if (cut || !last) return TL_CSV_MORE;
        tl_fail_at(err, TL_PARSE, NULL, c->line + *newlines, c->n + 1, "a quote is opened here and never closed");
        return TL_CSV_BAD;
    }
    push_quoted(c, p + *at + 1, q.next - *at - 2, q.doubled);
    *newlines += q.newlines;
    size_t i = q.next;
    while (i < n && !ends_field(c, p[i])) i++;
    if (i < n && p[i] == '\0') return bad_nul(c, c->line, i, err);
    if (i > q.next && !c->malformed && tl_str_trim((struct tl_str){p + q.next, i - q.next}).n > 0) {
        c->malformed = "text behind a closing quote";
        c->malformed_at = c->n;
    }
    *at = i;
    return TL_CSV_RECORD;
}

/* n is at most VISIBLE; cut says that it was more. */
static enum tl_csv_result next_plain(struct tl_csv *c, const char *p, size_t n, bool last, bool cut, size_t *used,
                                     struct tl_err *err)
{
    size_t at = 0;
    uint64_t newlines = 0;
    c->n = 0;
    if (!scratch_begin(c, n)) {
        tl_fail(err, TL_NOMEM, "no memory for a line of %zu bytes", n);
        return TL_CSV_BAD;
    }
    if (c->delim == ' ')
        while (at < n && (p[at] == ' ' || p[at] == '\t')) at++;
    for (;;) {
        if (at < n && p[at] == '"') {
            const enum tl_csv_result r = read_quoted(c, p, &at, n, last, cut, &newlines, err);
            if (r == TL_CSV_MORE) return ran_out(c, n, err);
            if (r != TL_CSV_RECORD) return r;
        } else {
            const size_t from = at;
            while (at < n && !ends_field(c, p[at])) at++;
            if (at < n && p[at] == '\0') return bad_nul(c, c->line, at, err);
            if (c->delim != ' ' || at > from || c->n == 0) push(c, p + from, p + at);
        }
        const enum after a = after_field(c, p, &at, n, last && !cut);
        if (a == AFTER_MORE) return ran_out(c, n, err);
        if (a == AFTER_RECORD) break;
    }
    c->next_line += newlines;
    *used = at;
    return TL_CSV_RECORD;
}

/* ---- the fast way ---- */

/* Bit k: p[k] is special. */
static inline uint32_t specials16(const struct tl_csv *c, const char *p)
{
#ifdef __SSE2__
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i a = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(c->delim)), _mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
    const __m128i b = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r')), _mm_cmpeq_epi8(v, _mm_setzero_si128()));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(a, b));
#else
    uint32_t mask = 0;
    for (unsigned k = 0; k < 16; k++) mask |= (uint32_t)c->special[(uint8_t)p[k]] << k;
    return mask;
#endif
}

static inline uint32_t specials_tail(const struct tl_csv *c, const char *p, size_t n)
{
    uint32_t mask = 0;
    for (size_t k = 0; k < n; k++) mask |= (uint32_t)c->special[(uint8_t)p[k]] << k;
    return mask;
}

/* MORE with c->n == UINT32_MAX: a field begins with a quote, the plain way has to read this record. */
static enum tl_csv_result next_fast(struct tl_csv *c, const char *p, size_t n, bool last, bool cut, size_t *used,
                                    struct tl_err *err)
{
    size_t at = 0;
    c->n = 0;
    for (size_t i = 0; i < n; i += 16) {
        uint32_t mask = i + 16 <= n ? specials16(c, p + i) : specials_tail(c, p + i, n - i);
        while (mask) {
            const size_t k = i + (size_t)__builtin_ctz(mask);
            mask &= mask - 1;
            if (p[k] == c->delim) {
                push(c, p + at, p + k);
                at = k + 1;
                if (at < n && p[at] == '"') {
                    c->n = UINT32_MAX;
                    return TL_CSV_MORE;
                }
                continue;
            }
            if (p[k] == '\0') return bad_nul(c, c->line, k, err);
            const size_t e = line_end(p, k, n, last && !cut);
            if (e == 0) return ran_out(c, n, err);
            push(c, p + at, p + k);
            c->next_line++;
            *used = k + e;
            return TL_CSV_RECORD;
        }
    }
    if (cut || !last) return ran_out(c, n, err);
    push(c, p + at, p + n);
    *used = n;
    return TL_CSV_RECORD;
}

/* Bytes of a record without its line end. */
static size_t content(const char *p, size_t used)
{
    if (used && p[used - 1] == '\n') used--;
    if (used && p[used - 1] == '\r') used--;
    return used;
}

enum tl_csv_result tl_csv_next(struct tl_csv *c, const char *p, size_t n, bool last, size_t *used, struct tl_err *err)
{
    *used = 0;
    c->line = c->next_line;
    c->malformed = NULL;
    c->n = 0;
    if (n == 0) return last ? TL_CSV_END : TL_CSV_MORE;
    const bool cut = n > VISIBLE;
    const size_t m = cut ? VISIBLE : n;
    enum tl_csv_result r = TL_CSV_MORE;
    c->n = UINT32_MAX;
    if (p[0] != '"' && c->delim != ' ') r = next_fast(c, p, m, last, cut, used, err);
    if (r == TL_CSV_MORE && c->n == UINT32_MAX) r = next_plain(c, p, m, last, cut, used, err);
    if (r != TL_CSV_RECORD) c->next_line = c->line;
    if (r == TL_CSV_RECORD && *used > TL_CSV_RECORD_MAX && content(p, *used) > TL_CSV_RECORD_MAX)
        return too_large(c, err);
    return r;
}

enum tl_csv_result tl_csv_line(struct tl_csv *c, const char *p, size_t n, bool last, size_t *used, struct tl_str *line,
                               struct tl_err *err)
{
    *used = 0;
    c->line = c->next_line;
    c->n = 0;
    if (n == 0) return last ? TL_CSV_END : TL_CSV_MORE;
    const bool cut = n > VISIBLE;
    const size_t m = cut ? VISIBLE : n;
    size_t k = 0;
    while (k < m && p[k] != '\n' && p[k] != '\r' && p[k] != '\0') k++;
    if (k < m && p[k] == '\0') return bad_nul(c, c->line, k, err);
    const size_t e = k < m ? line_end(p, k, m, last && !cut) : 0;
    if (e == 0 && (cut || !last)) return ran_out(c, m, err);
    if (k > TL_CSV_RECORD_MAX) return too_large(c, err);
    *line = (struct tl_str){p, k};
    *used = k + e;
    return TL_CSV_RECORD;
}

char tl_csv_detect(struct tl_str header)
{
    static const char candidates[] = {',', ';', '\t'};
    size_t count[TL_COUNT(candidates)] = {0};
    bool quoted = false;
    for (size_t i = 0; i < header.n; i++) {
        if (header.p[i] == '"') quoted = !quoted;
        for (size_t k = 0; !quoted && k < TL_COUNT(candidates); k++) count[k] += header.p[i] == candidates[k];
    }
    size_t best = 0;
    for (size_t k = 1; k < TL_COUNT(candidates); k++)
        if (count[k] > count[best]) best = k;
    return (char)(count[best] ? candidates[best] : 0);
}
