/* SPDX-License-Identifier: Apache-2.0 */
/* Redis URLs. Credentials are decoded into the address and appear in no text made here. */
#include "redis/redis.h"

#include "base/err.h"
#include "base/util.h"
#include "redis/tls.h"

#include <stdio.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded into out; false: too long, a broken escape, or a NUL. */
static bool decode(struct tl_str s, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (i + 2 >= s.n || hex_digit(s.p[i + 1]) < 0 || hex_digit(s.p[i + 2]) < 0) return false;
            c = (char)(hex_digit(s.p[i + 1]) * 16 + hex_digit(s.p[i + 2]));
            i += 2;
        }
        if (c == '\0' || n + 1 >= cap) return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

/* Cuts "user:password@" off the front. */
static enum tl_status take_credentials(struct tl_str *rest, struct tl_redis_address *out, struct tl_err *err)
{
    size_t end = 0;
    while (end < rest->n && rest->p[end] != '/' && rest->p[end] != '?') end++;
    const char *at = memrchr(rest->p, '@', end);
    if (!at) return TL_OK;
    struct tl_str both = {rest->p, (size_t)(at - rest->p)}, user = both, password = {"", 0};
    const char *colon = memchr(both.p, ':', both.n);
    if (colon) {
        user.n = (size_t)(colon - both.p);
        password = (struct tl_str){colon + 1, both.n - user.n - 1};
    }
    if (!decode(user, out->user, sizeof out->user) || !decode(password, out->password, sizeof out->password))
        return tl_fail(err, TL_INVALID, "redis: user or password in the URL is too long or wrongly encoded");
    if (out->user[0] && !out->password[0])
        return tl_fail(err, TL_INVALID, "redis: the URL names a user without a password (redis://user:password@host)");
    rest->p = at + 1;
    rest->n -= both.n + 1;
    return TL_OK;
}

static enum tl_status take_db(struct tl_str text, struct tl_redis_address *out, struct tl_err *err)
{
    int64_t db = 0;
    if (text.n > 0 && (!tl_str_to_i64(text, &db) || db < 0 || db > 65535))
        return tl_fail(err, TL_INVALID, "redis: database %.*s is no number from 0 on", TL_STR_ARG(text));
    out->db = (uint32_t)db;
    return TL_OK;
}

/* An @ behind the host is most likely one of a password with a / or ?, pieces of which must not be quoted. */
static enum tl_status stray_at(struct tl_err *err)
{
    return tl_fail(err, TL_INVALID,
                   "redis: an @ stands where none may (percent-encode / ? @ in user and password: %%2F %%3F "
                   "%%40)");
}

/* "/path[?db=N]" */
static enum tl_status parse_unix(struct tl_str rest, struct tl_redis_address *out, struct tl_err *err)
{
    const char *query = memchr(rest.p, '?', rest.n);
    struct tl_str path = {rest.p, query ? (size_t)(query - rest.p) : rest.n};
    if (path.n == 0 || path.p[0] != '/' || path.n > 100 || !decode(path, out->host, sizeof out->host))
        return tl_fail(err, TL_INVALID,
                       "redis: an absolute path of a socket (at most 100 bytes) follows redis+unix://");
    if (!query) return TL_OK;
    struct tl_str q = {query + 1, rest.n - path.n - 1};
    if (memchr(q.p, '@', q.n)) return stray_at(err);
    if (q.n < 3 || memcmp(q.p, "db=", 3) != 0)
        return tl_fail(err, TL_INVALID, "redis: ?%.*s: only ?db=N is known", TL_STR_ARG(q));
    return take_db((struct tl_str){q.p + 3, q.n - 3}, out, err);
}

/* "ca=FILE&cert=FILE&key=FILE", in any order */
static enum tl_status take_files(struct tl_str query, struct tl_redis_address *out, struct tl_err *err)
{
    const struct {
        struct tl_str name;
        char *to;
    } files[] = {{TL_STR("ca="), out->ca}, {TL_STR("cert="), out->cert}, {TL_STR("key="), out->key}};
    struct tl_str part;
    while (tl_str_split(&query, '&', &part)) {
        bool known = false;
        for (size_t i = 0; i < TL_COUNT(files) && !known; i++) {
            struct tl_str name = files[i].name;
            known = part.n > name.n && memcmp(part.p, name.p, name.n) == 0;
            if (known && !decode((struct tl_str){part.p + name.n, part.n - name.n}, files[i].to, TL_REDIS_WORD_MAX))
                return tl_fail(err, TL_INVALID, "redis: the file of ?%.*s is too long or wrongly encoded",
                               TL_STR_ARG(part));
        }
        if (!known)
            return tl_fail(err, TL_INVALID, "redis: ?%.*s: only ca=FILE, cert=FILE and key=FILE are known",
                           TL_STR_ARG(part));
    }
    if (out->key[0] && !out->cert[0]) return tl_fail(err, TL_INVALID, "redis: ?key=... without cert=...");
    return TL_OK;
}

/* "host[:port][/db]", host also "[::1]" */
static enum tl_status parse_tcp(struct tl_str rest, struct tl_redis_address *out, struct tl_err *err)
{
    if (memchr(rest.p, '@', rest.n)) return stray_at(err);
    const char *query = memchr(rest.p, '?', rest.n);
    if (query && !out->tls) return tl_fail(err, TL_INVALID, "redis: ?...: this URL takes no options");
    if (query) {
        enum tl_status st = take_files((struct tl_str){query + 1, (size_t)(rest.p + rest.n - query) - 1}, out, err);
        if (st != TL_OK) return st;
        rest.n = (size_t)(query - rest.p);
    }
    const char *slash = memchr(rest.p, '/', rest.n);
    struct tl_str place = {rest.p, slash ? (size_t)(slash - rest.p) : rest.n}, host = place, port = {"", 0};
    const char *colon;
    if (place.n > 0 && place.p[0] == '[') {
        const char *close = memchr(place.p, ']', place.n);
        if (!close) return tl_fail(err, TL_INVALID, "redis: %.*s: ] is missing", TL_STR_ARG(place));
        host = (struct tl_str){place.p + 1, (size_t)(close - place.p) - 1};
        colon = close + 1 < place.p + place.n ? close + 1 : NULL;
        if (colon && *colon != ':')
            return tl_fail(err, TL_INVALID, "redis: %.*s: only :port may follow ]", TL_STR_ARG(place));
    } else {
        colon = memchr(place.p, ':', place.n);
        if (colon) host.n = (size_t)(colon - place.p);
    }
    if (colon) port = (struct tl_str){colon + 1, (size_t)(place.p + place.n - colon) - 1};
    int64_t number = 6379;
    if (colon && (!tl_str_to_i64(port, &number) || number < 1 || number > 65535))
        return tl_fail(err, TL_INVALID, "redis: port %.*s is no number from 1 to 65535", TL_STR_ARG(port));
    if (host.n == 0) return tl_fail(err, TL_INVALID, "redis: the URL names no host (redis://127.0.0.1:6379/0)");
    bool odd = host.n >= sizeof out->host;
    for (size_t i = 0; i < host.n; i++) odd = odd || (unsigned char)host.p[i] <= ' ' || host.p[i] == 0x7F;
    if (odd) return tl_fail(err, TL_INVALID, "redis: the host cannot be one");
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = '\0';
    out->port = (uint16_t)number;
    if (!slash) return TL_OK;
    return take_db((struct tl_str){slash + 1, (size_t)(rest.p + rest.n - slash) - 1}, out, err);
}

enum tl_status tl_redis_address_parse(const char *url, struct tl_redis_address *out, struct tl_err *err)
{
    *out = (struct tl_redis_address){.port = 0};
    const char *sep = strstr(url, "://");
    if (!sep) return tl_fail(err, TL_INVALID, "redis: a URL is needed (redis://127.0.0.1:6379/0)");
    struct tl_str scheme = {url, (size_t)(sep - url)}, rest = tl_str(sep + 3);
    bool is_unix = tl_str_eq(scheme, TL_STR("redis+unix"));
    out->tls = tl_str_eq(scheme, TL_STR("rediss"));
    if (out->tls && !tl_tls_built())
        return tl_fail(err, TL_UNSUPPORTED,
                       "redis: built without TLS: rediss:// cannot be used (let a TLS proxy such as "
                       "stunnel stand in between)");
    if (tl_str_eq(scheme, TL_STR("redis+sentinel")) || tl_str_eq(scheme, TL_STR("redis+cluster")))
        return tl_fail(err, TL_UNSUPPORTED, "redis: %.*s:// is not supported yet", TL_STR_ARG(scheme));
    for (size_t i = 0; i < scheme.n; i++)
        if (scheme.p[i] == '@' || scheme.p[i] == ':') return stray_at(err);
    if (!is_unix && !out->tls && !tl_str_eq(scheme, TL_STR("redis")))
        return tl_fail(err, TL_INVALID, "redis: unknown scheme %.*s (known: redis, rediss, redis+unix)",
                       TL_STR_ARG(scheme));
    enum tl_status st = take_credentials(&rest, out, err);
    if (st != TL_OK) return st;
    return is_unix ? parse_unix(rest, out, err) : parse_tcp(rest, out, err);
}

void tl_redis_address_format(const struct tl_redis_address *a, char *out, size_t cap)
{
    if (a->port == 0)
        snprintf(out, cap, "%s/%u", a->host, a->db);
    else
        snprintf(out, cap, strchr(a->host, ':') ? "[%s]:%u/%u" : "%s:%u/%u", a->host, a->port, a->db);
}
