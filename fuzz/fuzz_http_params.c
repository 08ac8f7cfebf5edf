/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what comes over a socket: as a head (found at the same place however it is cut; when it is taken, every
 * span lies inside it and it ends with the first empty line), as a chunked body (the same bytes however it is cut), as
 * a query, a value, an Accept and an If-None-Match. */
#include "base/err.h"
#include "base/util.h"
#include "http/http.h"
#include "http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t find(const char *p, size_t n, size_t step)
{
    size_t scanned = 0, found = 0;
    for (size_t have = 0; !found && have < n;) {
        have = TL_MIN(have + step, n);
        found = tl_http_head_find(p, have, &scanned);
        TL_ASSERT(found <= have && scanned <= have);
    }
    return found;
}

static void check_span(struct tl_http_span s, size_t n)
{
    TL_ASSERT(s.at <= n && s.n <= n - s.at);
}

static void check_head(const char *p, size_t n, size_t step)
{
    struct tl_http_head h;
    size_t whole = find(p, n, n);
    /* What cannot be a head ends where that shows: in pieces earlier, but it is refused all the same. */
    size_t cut = find(p, n, step);
    TL_ASSERT(!whole == !cut);
    if (whole == 0) return;
    tl_http_head_parse(p, whole, &h);
    if (cut != whole) {
        TL_ASSERT(h.refuse);
        tl_http_head_parse(p, cut, &h);
        TL_ASSERT(h.refuse);
    }
    if (h.refuse) {
        TL_ASSERT(h.refuse >= 400 && h.refuse < 600 && h.why && h.why[0]);
        return;
    }
    TL_ASSERT(h.method != 0 && whole >= 4 && memcmp(p + whole - 4, "\r\n\r\n", 4) == 0);
    TL_ASSERT(memmem(p, whole, "\r\n\r\n", 4) == p + whole - 4);
    TL_ASSERT(!memchr(p, '\0', whole) && !(h.chunked && h.length > 0));
    check_span(h.path, whole);
    check_span(h.query, whole);
    check_span(h.fields, whole);
    TL_ASSERT(h.path.n == 0 || p[h.path.at] == '/' || p[h.path.at] == '*');
    struct tl_str host = tl_http_head_field(p, &h, TL_STR("Host"));
    TL_ASSERT(host.p || h.minor_0);
}

static enum tl_http_chunk unchunk(const char *p, size_t n, size_t step, struct tl_buf *out, size_t *used)
{
    struct tl_http_chunks k = {0};
    enum tl_http_chunk c = TL_HTTP_CHUNK_MORE;
    for (*used = 0; *used < n && c == TL_HTTP_CHUNK_MORE;) {
        struct tl_str rest = {p + *used, TL_MIN(step, n - *used)}, data;
        while ((c = tl_http_chunks_next(&k, &rest, &data)) == TL_HTTP_CHUNK_DATA) tl_buf_put(out, data.p, data.n);
        *used = (size_t)(rest.p - p);
    }
    return c;
}

static void check_chunks(const char *p, size_t n, size_t step)
{
    struct tl_buf a, b;
    size_t used_a, used_b;
    tl_buf_init(&a, 0);
    tl_buf_init(&b, 0);
    enum tl_http_chunk x = unchunk(p, n, n, &a, &used_a), y = unchunk(p, n, step, &b, &used_b);
    TL_ASSERT(x == y && used_a == used_b && tl_str_eq(tl_buf_str(&a), tl_buf_str(&b)));
    tl_buf_release(&a);
    tl_buf_release(&b);
}

static void check_params(struct tl_str s)
{
    struct tl_str rest = s, name, value;
    while (tl_http_next_param(&rest, &name, &value)) {
        struct tl_buf out;
        tl_buf_init(&out, 1 << 16);
        if (tl_http_decode(value, true, &out, NULL) == TL_OK) TL_ASSERT(!memchr(tl_buf_str(&out).p, '\0', out.n));
        TL_ASSERT(out.n <= value.n);
        tl_buf_release(&out);
    }
    TL_ASSERT(tl_http_accepts(s, "application/json") <= 1000 && tl_http_accepts(s, "gzip") <= 1000);
    (void)tl_http_etag_matches(s, "\"a\"");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t step = 1 + data[0] % 16, n = size - 1;
    char *copy = malloc(n); /* of exactly that size, so that a sanitizer sees any read behind it */
    if (!copy) return 0;
    memcpy(copy, data + 1, n);
    check_head(copy, n, step);
    check_chunks(copy, n, step);
    check_params((struct tl_str){copy, n});
    free(copy);
    return 0;
}
