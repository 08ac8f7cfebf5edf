/* SPDX-License-Identifier: Apache-2.0 */
/* URLs without their secrets, for everything that is printed or logged. Rather hides too much than too little: a
 * password that holds an unescaped "/" or "@" is hidden whole. */

#include "config/config.h"

#include "base/util.h"

struct sink {
    char *out;
    size_t n, cap;
};

static void put(struct sink *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n && s->n + 1 < s->cap; i++) s->out[s->n++] = p[i];
}

static bool secret_key(struct tl_str key)
{
    static const char *const keys[] = {"password", "passwd", "pass", "pw", "token", "secret", "auth", "user", "key"};
    for (size_t i = 0; i < TL_COUNT(keys); i++) {
        if (tl_str_ieq(key, tl_str(keys[i]))) return true;
    }
    return false;
}

/* "?a=b&password=c" with the values of secret keys replaced. */
static void put_query(struct sink *s, struct tl_str query)
{
    size_t i = 0;
    while (i < query.n) {
        size_t end = i + 1, eq = 0;
        while (end < query.n && query.p[end] != '&') {
            if (!eq && query.p[end] == '=') eq = end;
            end++;
        }
        if (eq && secret_key((struct tl_str){query.p + i + 1, eq - i - 1})) {
            put(s, query.p + i, eq + 1 - i);
            put(s, "***", 3);
        } else {
            put(s, query.p + i, end - i);
        }
        i = end;
    }
}

void tl_url_redact(const char *url, char *out, size_t cap)
{
    TL_ASSERT(cap > 0);
    struct sink s = {out, 0, cap};
    const char *rest = url;
    const char *scheme_end = strstr(url, "://");
    if (scheme_end && strncmp(url, "sqlite", 6) != 0) {
        const char *at = strrchr(scheme_end + 3, '@');
        put(&s, url, (size_t)(scheme_end + 3 - url));
        rest = scheme_end + 3;
        if (at) {
            put(&s, "***", 3);
            rest = at;
        }
        const char *query = strchr(rest, '?');
        size_t head = query ? (size_t)(query - rest) : strlen(rest);
        put(&s, rest, head);
        put_query(&s, tl_str(rest + head));
    } else {
        put(&s, url, strlen(url));
    }
    out[s.n] = '\0';
}
