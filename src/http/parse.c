/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests, and chunked bodies. A head is looked at whole, once, when its empty line is there: until then only
 * line ends are looked for. Refused are the shapes that smuggle requests: bare LF, folded fields, blanks before the
 * colon, Content-Length more than once, beside Transfer-Encoding or not plain digits, codings other than chunked, NUL
 * and control characters, no Host or two. It allocates nothing and keeps no pointer. */
#include "http/parse.h"

#include "base/util.h"

enum { DIGITS_MAX = 18, CHUNK_DIGITS_MAX = 15, VERSION = 8 }; /* neither overflows */

/* 1: token character (RFC 9110, 5.6.2); 2: may stand in a target. */
static const unsigned char kinds[256] = {
    ['0' ... '9'] = 3, ['A' ... 'Z'] = 3, ['a' ... 'z'] = 3, ['!'] = 3, ['#'] = 1, ['$'] = 3, ['%'] = 3, ['&'] = 3,
    ['\''] = 3,        ['('] = 2,         [')'] = 2,         ['*'] = 3, ['+'] = 3, [','] = 2, ['-'] = 3, ['.'] = 3,
    ['/'] = 2,         [':'] = 2,         [';'] = 2,         ['='] = 2, ['?'] = 2, ['@'] = 2, ['['] = 2, [']'] = 2,
    ['^'] = 3,         ['_'] = 3,         ['`'] = 1,         ['{'] = 2, ['|'] = 3, ['}'] = 2, ['~'] = 3,
};

static bool all_of(struct tl_str s, unsigned char kind)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(kinds[(unsigned char)s.p[i]] & kind)) return false;
    return s.n > 0;
}

size_t tl_http_head_find(const char *p, size_t n, size_t *scanned)
{
    size_t at = *scanned;
    if (n > 0 && at == 0 && !(kinds[(unsigned char)p[0]] & 1)) return n; /* no method begins so: TLS, garbage */
    while (at < n) {
        const char *lf = memchr(p + at, '\n', n - at);
        if (!lf) {
            at = n;
            break;
        }
        size_t next = (size_t)(lf - p) + 1;
        if (lf == p || lf[-1] != '\r') return next; /* a bare LF */
        if (next >= 4 && p[next - 3] == '\n') return next;
        at = next;
    }
    *scanned = at;
    return 0;
}

/* ---- the request line ---- */

static bool refuse(struct tl_http_head *h, int status, const char *why)
{
    h->refuse = status;
    h->why = why;
    return false;
}

static unsigned method_of(struct tl_str name)
{
    for (unsigned m = TL_HTTP_GET; m <= TL_HTTP_PATCH; m <<= 1)
        if (tl_str_eq(name, tl_str(tl_http_method_name((enum tl_http_method)m)))) return m;
    return 0;
}

static bool parse_version(struct tl_http_head *h, struct tl_str v)
{
    if (v.n != VERSION || memcmp(v.p, "HTTP/", 5) != 0 || v.p[5] < '0' || v.p[5] > '9' || v.p[6] != '.' ||
        v.p[7] < '0' || v.p[7] > '9')
        return refuse(h, 400, "the request line does not end with HTTP/1.1");
    if (v.p[5] != '1') return refuse(h, 505, "HTTP/1.1 and HTTP/1.0 are spoken here");
    h->minor_0 = v.p[7] == '0';
    return true;
}

/* Bytes of "http://authority" before the path; 0: there is none. */
static size_t authority_bytes(struct tl_str target)
{
    static const struct tl_str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < TL_COUNT(schemes); i++) {
        size_t n = schemes[i].n;
        if (target.n <= n || !tl_str_ieq((struct tl_str){target.p, n}, schemes[i])) continue;
        while (n < target.n && target.p[n] != '/' && target.p[n] != '?') n++;
        return n > schemes[i].n ? n : 0;
    }
    return 0;
}

static bool parse_target(struct tl_http_head *h, const char *p, struct tl_str target)
{
    if (!all_of(target, 2)) return refuse(h, 400, "the target has a character that must be percent-encoded");
    size_t skip = authority_bytes(target);
    struct tl_str rest = {target.p + skip, target.n - skip};
    bool asterisk = tl_str_eq(rest, TL_STR("*")) && h->method == TL_HTTP_OPTIONS;
    if (!asterisk && skip == 0 && rest.p[0] != '/') return refuse(h, 400, "the target does not begin with \"/\"");
    const char *mark = memchr(rest.p, '?', rest.n);
    size_t path_n = mark ? (size_t)(mark - rest.p) : rest.n;
    h->path = (struct tl_http_span){(uint32_t)(rest.p - p), (uint32_t)path_n};
    h->query = (struct tl_http_span){(uint32_t)(rest.p - p + (ptrdiff_t)path_n), 0};
    if (mark) h->query = (struct tl_http_span){(uint32_t)(mark + 1 - p), (uint32_t)(rest.n - path_n - 1)};
    return true;
}

static bool parse_request_line(struct tl_http_head *h, const char *p, struct tl_str line)
{
    const char *first = memchr(line.p, ' ', line.n);
    if (!first) return refuse(h, 400, "the request line is not METHOD TARGET HTTP/1.1");
    struct tl_str method = {line.p, (size_t)(first - line.p)};
    struct tl_str rest = {first + 1, line.n - method.n - 1};
    const char *second = rest.n ? memchr(rest.p, ' ', rest.n) : NULL;
    if (!second || !all_of(method, 1)) return refuse(h, 400, "the request line is not METHOD TARGET HTTP/1.1");
    h->method_name = (struct tl_http_span){0, (uint32_t)method.n};
    h->method = method_of(method);
    struct tl_str target = {rest.p, (size_t)(second - rest.p)};
    struct tl_str version = {second + 1, rest.n - target.n - 1};
    return parse_version(h, version) && parse_target(h, p, target);
}

/* ---- fields ---- */

struct field_state {
    unsigned fields, hosts, lengths, codings;
};

static bool has_token(struct tl_str list, struct tl_str token)
{
    struct tl_str part;
    while (tl_str_split(&list, ',', &part))
        if (tl_str_ieq(tl_str_trim(part), token)) return true;
    return false;
}

static bool parse_length(struct tl_http_head *h, struct tl_str value)
{
    if (value.n == 0 || value.n > DIGITS_MAX)
        return refuse(h, value.n == 0 ? 400 : 413, "Content-Length is empty or far too large");
    h->length = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') return refuse(h, 400, "Content-Length is not a plain number");
        h->length = h->length * 10 + (uint64_t)(value.p[i] - '0');
    }
    return true;
}

/* Only what changes where the request ends, or whether another one follows. */
static bool parse_known(struct tl_http_head *h, struct field_state *s, struct tl_str name, struct tl_str value)
{
    switch (name.n) {
    case 4:
        if (tl_str_ieq(name, TL_STR("Host"))) s->hosts++;
        return true;
    case 6:
        if (!tl_str_ieq(name, TL_STR("Expect")) || h->minor_0) return true;
        if (!tl_str_ieq(value, TL_STR("100-continue"))) return refuse(h, 417, "only Expect: 100-continue is met");
        return h->expects_continue = true;
    case 10:
        if (!tl_str_ieq(name, TL_STR("Connection"))) return true;
        if (has_token(value, TL_STR("close")))
            h->keep_alive = false;
        else if (h->minor_0 && has_token(value, TL_STR("keep-alive")))
            h->keep_alive = true;
        return true;
    case 14:
        if (!tl_str_ieq(name, TL_STR("Content-Length"))) return true;
        if (s->lengths++ > 0) return refuse(h, 400, "Content-Length comes more than once");
        return parse_length(h, value);
    case 17:
        if (!tl_str_ieq(name, TL_STR("Transfer-Encoding"))) return true;
        if (s->codings++ > 0) return refuse(h, 400, "Transfer-Encoding comes more than once");
        if (h->minor_0) return refuse(h, 400, "HTTP/1.0 has no Transfer-Encoding");
        if (!tl_str_ieq(value, TL_STR("chunked"))) return refuse(h, 501, "of Transfer-Encoding only chunked is known");
        return h->chunked = true;
    default:
        return true;
    }
}

static bool clean_value(struct tl_str v)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static bool parse_field(struct tl_http_head *h, struct field_state *s, struct tl_str line)
{
    if (line.p[0] == ' ' || line.p[0] == '\t') return refuse(h, 400, "a field goes on in the next line");
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon) return refuse(h, 400, "a field without a colon");
    struct tl_str name = {line.p, (size_t)(colon - line.p)};
    struct tl_str value = {colon + 1, line.n - name.n - 1};
    if (!all_of(name, 1)) return refuse(h, 400, "a field's name has a character that is not allowed");
    if (!clean_value(value)) return refuse(h, 400, "a field's value has a control character");
    if (++s->fields > TL_HTTP_FIELDS_MAX) return refuse(h, 431, "more than 100 fields");
    return parse_known(h, s, name, tl_str_trim(value));
}

/* The next line without its CRLF; false: it ends otherwise. */
static bool next_line(struct tl_str *rest, struct tl_str *line)
{
    const char *lf = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    if (!lf || lf == rest->p || lf[-1] != '\r') return false;
    *line = (struct tl_str){rest->p, (size_t)(lf - rest->p) - 1};
    *rest = (struct tl_str){lf + 1, rest->n - line->n - 2};
    return true;
}

void tl_http_head_parse(const char *p, size_t n, struct tl_http_head *h)
{
    struct tl_str rest = {p, n}, line;
    struct field_state s = {0};
    *h = (struct tl_http_head){.why = ""};
    TL_ASSERT(n <= UINT32_MAX);
    if (!next_line(&rest, &line)) {
        (void)refuse(h, 400, "this is no HTTP request, or a line does not end with CR LF");
        return;
    }
    if (!parse_request_line(h, p, line)) return;
    h->keep_alive = !h->minor_0;
    h->fields = (struct tl_http_span){(uint32_t)(n - rest.n), (uint32_t)rest.n};
    for (;;) {
        if (!next_line(&rest, &line)) {
            (void)refuse(h, 400, "a line does not end with CR LF");
            return;
        }
        if (line.n == 0) break;
        if (!parse_field(h, &s, line)) return;
    }
    if (s.hosts > 1 || (s.hosts == 0 && !h->minor_0)) {
        (void)refuse(h, 400, "exactly one Host field is needed");
    } else if (s.lengths > 0 && s.codings > 0) {
        (void)refuse(h, 400, "Content-Length and Transfer-Encoding exclude each other");
    } else if (h->method == 0) {
        (void)refuse(h, 501, "this method is not known here");
    }
}

struct tl_str tl_http_head_field(const char *head, const struct tl_http_head *h, struct tl_str name)
{
    struct tl_str rest = {head + h->fields.at, h->fields.n}, line;
    while (next_line(&rest, &line) && line.n > 0) {
        if (line.n <= name.n || line.p[name.n] != ':') continue;
        if (!tl_str_ieq((struct tl_str){line.p, name.n}, name)) continue;
        return tl_str_trim((struct tl_str){line.p + name.n + 1, line.n - name.n - 1});
    }
    return (struct tl_str){NULL, 0};
}

/* ---- chunked ----
 *
 *   SIZE --";"--> EXTENSION --CRLF--> DATA (size > 0) --> DATA_END --CRLF--> SIZE
 *     `--CRLF--------------------->  TRAILER (size 0) --empty line--> OVER
 */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* A CR, then its LF: 1 when both came, 0 when the LF is due, -1 when it is neither. */
static int line_end(struct tl_http_chunks *k, char c)
{
    if (k->cr) {
        k->cr = false;
        return c == '\n' ? 1 : -1;
    }
    k->cr = c == '\r';
    return k->cr ? 0 : -1;
}

static bool size_byte(struct tl_http_chunks *k, char c)
{
    if (++k->line > TL_HTTP_CHUNK_LINE_MAX) return false;
    int digit = k->cr || k->state != TL_CHUNK_SIZE ? -1 : hex_of(c);
    if (digit >= 0) {
        if (++k->digits > CHUNK_DIGITS_MAX) return false;
        k->left = k->left << 4 | (uint64_t)digit;
        return true;
    }
    if (k->digits == 0) return false;
    if (!k->cr && k->state == TL_CHUNK_SIZE && c == ';') {
        k->state = TL_CHUNK_EXTENSION;
        return true;
    }
    if (!k->cr && k->state == TL_CHUNK_EXTENSION && c != '\r') return (unsigned char)c >= ' ' ? c != 0x7f : c == '\t';
    int end = line_end(k, c);
    if (end <= 0) return end == 0;
    k->state = k->left > 0 ? TL_CHUNK_DATA : TL_CHUNK_TRAILER;
    k->line = k->digits = 0;
    return true;
}

static bool trailer_byte(struct tl_http_chunks *k, char c)
{
    if (++k->trailer > TL_HTTP_TRAILER_MAX) return false;
    if (!k->cr && c != '\r') {
        k->line++;
        return (unsigned char)c >= ' ' ? c != 0x7f : c == '\t';
    }
    int end = line_end(k, c);
    if (end <= 0) return end == 0;
    if (k->line == 0) k->state = TL_CHUNK_OVER;
    k->line = 0;
    return true;
}

static bool data_end_byte(struct tl_http_chunks *k, char c)
{
    int end = line_end(k, c);
    if (end == 1) k->state = TL_CHUNK_SIZE;
    return end >= 0;
}

enum tl_http_chunk tl_http_chunks_next(struct tl_http_chunks *k, struct tl_str *rest, struct tl_str *data)
{
    while (k->state != TL_CHUNK_OVER) {
        if (rest->n == 0) return TL_HTTP_CHUNK_MORE;
        if (k->state == TL_CHUNK_DATA) {
            size_t n = (size_t)TL_MIN(k->left, (uint64_t)rest->n);
            *data = (struct tl_str){rest->p, n};
            *rest = (struct tl_str){rest->p + n, rest->n - n};
            k->left -= n;
            if (k->left == 0) k->state = TL_CHUNK_DATA_END;
            return TL_HTTP_CHUNK_DATA;
        }
        char c = rest->p[0];
        *rest = (struct tl_str){rest->p + 1, rest->n - 1};
        bool ok = k->state == TL_CHUNK_TRAILER    ? trailer_byte(k, c)
                  : k->state == TL_CHUNK_DATA_END ? data_end_byte(k, c)
                                                  : size_byte(k, c);
        if (!ok) return TL_HTTP_CHUNK_BAD;
    }
    return TL_HTTP_CHUNK_OVER;
}
