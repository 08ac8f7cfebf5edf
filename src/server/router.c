/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its handler: the route by method and path, who asks, whether the page that asks may, and every
 * parameter by its row. What is refused is refused here, before the body is read, and names the parameter. A handler
 * sees parameters that exist, once, in range. Paths of no route may be files of the dashboard, which are sent at once.
 */
#include "server/call.h"

#include "base/err.h"
#include "base/util.h"
#include "config/choice.h"

#include <inttypes.h>
#include <stdio.h>

enum { BODY_BYTES = 1 << 20, PATH_MAX_BYTES = 4096 };

/* ---- paths ---- */

static bool next_part(struct tl_str *path, struct tl_str *part)
{
    if (path->n == 0 || path->p[0] != '/') return false;
    const char *from = path->p + 1, *end = path->p + path->n;
    const char *slash = memchr(from, '/', (size_t)(end - from));
    const char *to = slash ? slash : end;
    *part = (struct tl_str){from, (size_t)(to - from)};
    *path = (struct tl_str){to, (size_t)(end - to)};
    return true;
}

/* Does the path have the pattern's form? parts: what stands for its names, still encoded. */
static bool matches(const char *pattern, struct tl_str path, struct tl_str parts[API_PATH_PARTS_MAX])
{
    struct tl_str form = tl_str(pattern), want, have;
    size_t n = 0;
    while (next_part(&form, &want)) {
        if (!next_part(&path, &have)) return false;
        if (want.n > 0 && want.p[0] == '{') {
            if (have.n == 0 || n == API_PATH_PARTS_MAX) return false;
            parts[n++] = have;
        } else if (!tl_str_eq(want, have)) {
            return false;
        }
    }
    return path.n == 0;
}

/* Up to its first name a pattern is what a path must begin with. */
void api_routes_prepare(struct api *api)
{
    const struct api_route *r;
    for (size_t i = 0; (r = api_route_at(i)); i++) {
        TL_ASSERT(i < API_ROUTES_MAX);
        api->literal[i] = (unsigned char)strcspn(r->pattern, "{");
    }
}

static const struct api_route *find_route(const struct api *api, enum tl_http_method method, struct tl_str path,
                                          unsigned *methods, struct tl_str parts[API_PATH_PARTS_MAX])
{
    const struct api_route *r;
    struct tl_str found[API_PATH_PARTS_MAX];
    const struct api_route *best = NULL;
    if (method == TL_HTTP_HEAD) method = TL_HTTP_GET;
    for (size_t i = 0; (r = api_route_at(i)); i++) {
        if (path.n < api->literal[i] || memcmp(path.p, r->pattern, api->literal[i]) != 0) continue;
        if (!matches(r->pattern, path, found)) continue;
        *methods |= r->method;
        if (r->method != method || best) continue; /* literal rows stand before those with names */
        best = r;
        memcpy(parts, found, sizeof found);
    }
    return best;
}

static void allow_text(unsigned methods, char out[96])
{
    size_t n = 0;
    if (methods & TL_HTTP_GET) methods |= TL_HTTP_HEAD;
    methods |= TL_HTTP_OPTIONS;
    out[0] = '\0';
    for (unsigned bit = TL_HTTP_GET; bit <= TL_HTTP_PATCH; bit *= 2)
        if (methods & bit)
            n +=
                (size_t)snprintf(out + n, 96 - n, "%s%s", n ? ", " : "", tl_http_method_name((enum tl_http_method)bit));
}

/* ---- who asks, and from which page ---- */

static bool is_own_origin(struct tl_http_request *r, struct tl_str origin)
{
    struct tl_str host = tl_http_header(r, "Host");
    const char *at = memmem(origin.p, origin.n, "://", 3);
    if (!at || !host.p) return false;
    struct tl_str rest = {at + 3, origin.n - (size_t)(at + 3 - origin.p)};
    return tl_str_ieq(rest, host);
}

bool api_cors_allows(const struct api *api, struct tl_str origin)
{
    for (size_t i = 0; i < api->n_origins; i++)
        if (strcmp(api->origins[i], "*") == 0 || tl_str_ieq(tl_str(api->origins[i]), origin)) return true;
    return false;
}

bool api_origin_allowed(const struct api *api, struct tl_http_request *r)
{
    struct tl_str origin = tl_http_header(r, "Origin");
    return !origin.p || is_own_origin(r, origin) || api_cors_allows(api, origin);
}

/* A name that a page of somebody else's could have pointed at us (DNS rebinding) is none of these. */
static bool is_local_host(struct tl_str host)
{
    static const char *const local[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < TL_COUNT(local); i++) {
        size_t n = strlen(local[i]);
        if (host.n >= n && tl_str_ieq((struct tl_str){host.p, n}, tl_str(local[i])) &&
            (host.n == n || host.p[n] == ':'))
            return true;
    }
    return false;
}

static bool may_all_here(const struct api *api, struct tl_http_request *r)
{
    struct tl_str host = tl_http_header(r, "Host");
    bool by_socket = strcmp(tl_http_peer(r), "unix") == 0;
    return api->anonymous_auto && !tl_auth_configured(api->auth) && tl_http_is_local(r) &&
           (by_socket || !host.p || is_local_host(host));
}

enum tl_status api_identify(struct api *api, struct tl_http_request *r, struct tl_identity *who, struct tl_err *err)
{
    struct tl_str header = tl_http_header(r, "Authorization");
    enum tl_status st = tl_auth_check(api->auth, header.p ? header : TL_STR(""), who, err);
    if (st == TL_OK && !header.p && may_all_here(api, r)) {
        who->may = TL_MAY_READ | TL_MAY_WRITE | TL_MAY_ADMIN;
        who->unasked = true;
        snprintf(who->name, sizeof who->name, "local");
    }
    if (st == TL_OK && header.p) tl_http_set_user(r, who->name);
    if (st != TL_OK)
        tl_log(api->log, TL_LOG_INFO, "http", "a token was refused", "peer=%s reason=\"%s\"", tl_http_peer(r),
               err->text);
    return st;
}

/* false: it has been answered. */
static bool authorize(struct api *api, struct tl_http_request *r, unsigned may, struct tl_identity *who)
{
    static const struct tl_http_header_row ask = {"WWW-Authenticate", "Bearer realm=\"tierline\""};
    static const struct tl_http_header_row bad = {"WWW-Authenticate",
                                                  "Bearer realm=\"tierline\", error=\"invalid_token\""};
    struct tl_err err;
    enum tl_status st = api_identify(api, r, who, &err);
    if (st == TL_OK && (who->may & may) == may) return true;
    if (st != TL_OK) {
        tl_http_problem(r, 401, "UNAUTHENTICATED", NULL, "the token is not valid", &bad, 1);
    } else if (!tl_http_header(r, "Authorization").p) {
        tl_http_problem(r, 401, "UNAUTHENTICATED", NULL, "a token is needed: Authorization: Bearer TOKEN", &ask, 1);
    } else {
        char detail[96];
        snprintf(detail, sizeof detail, "the token may not: the scope %s is needed", tl_may_name(may));
        tl_http_problem(r, 403, "DENIED", NULL, detail, NULL, 0);
    }
    return false;
}

/* ---- parameters ---- */

static const struct api_param *find_param(const struct api_route *r, struct tl_str name)
{
    for (const struct api_param *p = r->query; p && p->name; p++)
        if (tl_str_eq(name, tl_str(p->name))) return p;
    return NULL;
}

static enum tl_status value_of(const struct api_param *p, const char *text, int64_t *n, struct tl_err *err)
{
    struct tl_str s = tl_str(text);
    enum tl_freq freq;
    enum tl_adjust adjust;
    *n = 0;
    switch (p->kind) {
    case API_INT:
        if (!tl_str_to_i64(s, n) || *n < p->min || *n > p->max)
            return tl_fail(err, TL_INVALID, "%s: '%.64s' is not a whole number from %" PRId64 " to %" PRId64, p->name,
                           text, p->min, p->max);
        return TL_OK;
    case API_BOOL:
        *n = strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || text[0] == '\0';
        if (!*n && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
            return tl_fail(err, TL_INVALID, "%s: '%.64s' is neither true nor false", p->name, text);
        return TL_OK;
    case API_CHOICE:
        if (!tl_choice_match(p->choices, s).p)
            return tl_fail(err, TL_INVALID, "%s: '%.64s' is none of %s", p->name, text, p->choices);
        return TL_OK;
    case API_DATE:
        if (!tl_civil_parse_date(s, n))
            return tl_fail(err, TL_INVALID, "%s: '%.64s' is not a date like 2024-12-31", p->name, text);
        return TL_OK;
    case API_DURATION:
        if (!tl_duration_parse(s, n) || *n < p->min || *n > p->max)
            return tl_fail(err, TL_INVALID,
                           "%s: '%.64s' is not a time like 500ms, 30s or 5m, from %" PRId64 " to %" PRId64 " ms",
                           p->name, text, p->min, p->max);
        return TL_OK;
    case API_FREQ:
        if (!tl_freq_parse(s, &freq))
            return tl_fail(err, TL_INVALID, "%s: '%.64s' is none of 1m 5m 15m 30m 60m 1d 1w 1mo", p->name, text);
        *n = freq;
        return TL_OK;
    case API_ADJUST:
        if (!tl_adjust_parse(s, &adjust))
            return tl_fail(err, TL_INVALID, "%s: '%.64s' is none of raw forward backward", p->name, text);
        *n = adjust;
        return TL_OK;
    case API_TEXT:
    case API_TTL:
        break; /* TTL: its handler's */
    }
    return TL_OK;
}

/* Into the call's texts. */
static enum tl_status decode(struct api_call *c, struct tl_str raw, bool plus, const char *what, const char **out,
                             struct tl_err *err)
{
    struct tl_buf *b = &c->api->scratch;
    struct tl_err bad;
    tl_buf_clear(b);
    enum tl_status st = tl_http_decode(raw, plus, b, &bad);
    if (b->failed) return tl_fail(err, TL_TOO_LARGE, "%s: at most %d bytes", what, API_TEXT_MAX - 1);
    if (st != TL_OK) return tl_fail(err, st, "%s: %s", what, bad.text);
    if (b->n + 1 > sizeof c->texts - c->texts_n)
        return tl_fail(err, TL_TOO_LARGE, "%s: the parameters are longer than %d bytes", what, API_TEXTS_MAX);
    char *to = c->texts + c->texts_n;
    if (b->n) memcpy(to, b->p, b->n);
    to[b->n] = '\0';
    c->texts_n += b->n + 1;
    *out = to;
    return TL_OK;
}

static enum tl_status unknown_param(struct api_call *c, const char *name, struct tl_err *err)
{
    struct tl_nearest near;
    tl_nearest_init(&near, tl_str(name));
    for (const struct api_param *p = c->route->query; p && p->name; p++) tl_nearest_offer(&near, tl_str(p->name));
    if (near.best.p)
        return tl_fail(err, TL_INVALID, "no parameter '%.64s' here; did you mean %.*s?", name, TL_STR_ARG(near.best));
    return tl_fail(err, TL_INVALID, "no parameter '%.64s' here", name);
}

/* at: the parameter at fault. */
static enum tl_status read_param(struct api_call *c, struct tl_str name, struct tl_str value, const char **at,
                                 struct tl_err *err)
{
    const char *text = "";
    const struct api_param *p = find_param(c->route, name);
    enum tl_status st = p ? TL_OK : decode(c, name, true, "a parameter's name", at, err);
    if (!p && st == TL_OK) p = find_param(c->route, tl_str(*at));
    if (st == TL_OK && !p) return unknown_param(c, *at, err);
    if (st != TL_OK) return st;
    *at = p->name;
    if (api_given(c, p->name)) return tl_fail(err, TL_INVALID, "%s: given twice", p->name);
    if (c->n_query == API_PARAMS_MAX) return tl_fail(err, TL_TOO_LARGE, "more than %d parameters", API_PARAMS_MAX);
    st = decode(c, value, true, p->name, &text, err);
    if (st != TL_OK) return st;
    c->query[c->n_query].param = p;
    c->query[c->n_query].text = text;
    st = value_of(p, text, &c->query[c->n_query].n, err);
    c->n_query += st == TL_OK;
    return st;
}

static enum tl_status read_query(struct api_call *c, const char **at, struct tl_err *err)
{
    struct tl_str rest = tl_http_query(c->http), name, value;
    while (tl_http_next_param(&rest, &name, &value)) {
        enum tl_status st = read_param(c, name, value, at, err);
        if (st != TL_OK) return st;
    }
    for (const struct api_param *p = c->route->query; p && p->name; p++) {
        if (!p->required || api_given(c, p->name)) continue;
        *at = p->name;
        return tl_fail(err, TL_INVALID, "%s is needed: %s", p->name, p->help);
    }
    return TL_OK;
}

static enum tl_status read_path(struct api_call *c, const struct tl_str *parts, const char **at, struct tl_err *err)
{
    size_t i = 0;
    for (const struct api_param *p = c->route->path; p && p->name; p++, i++) {
        *at = p->name;
        enum tl_status st = decode(c, parts[i], false, p->name, &c->path[i], err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

/* ---- the way of a request ---- */

static void on_gone(void *ctx)
{
    ((struct api_call *)ctx)->gone = true;
}

/* Before its body was there. */
static void on_gone_early(void *ctx)
{
    struct api_call *c = ctx;
    tl_http_reply(c->http, &(struct tl_http_answer){.status = 499});
    api_call_free(c);
}

static void preflight(struct api *api, struct tl_http_request *r, unsigned methods)
{
    struct tl_str origin = tl_http_header(r, "Origin");
    bool allowed = origin.p && api_cors_allows(api, origin);
    char allow[96], asked[512];
    allow_text(methods, allow);
    struct tl_str headers = tl_http_header(r, "Access-Control-Request-Headers");
    snprintf(asked, sizeof asked, "%.*s", (int)TL_MIN(headers.n, sizeof asked - 1), headers.p ? headers.p : "");
    struct tl_http_header_row rows[6] = {{"Allow", allow}};
    size_t n = 1;
    char from[200];
    snprintf(from, sizeof from, "%.*s", (int)TL_MIN(origin.n, sizeof from - 1), origin.p ? origin.p : "");
    if (allowed) {
        rows[n++] = (struct tl_http_header_row){"Access-Control-Allow-Origin", from};
        rows[n++] = (struct tl_http_header_row){"Access-Control-Allow-Methods", allow};
        rows[n++] = (struct tl_http_header_row){"Access-Control-Max-Age", "600"};
        if (headers.n) rows[n++] = (struct tl_http_header_row){"Access-Control-Allow-Headers", asked};
    }
    tl_http_reply(r, &(struct tl_http_answer){.status = 204, .headers = rows, .n_headers = n});
}

static bool refused_page(struct api *api, struct tl_http_request *r)
{
    if (tl_http_method(r) == TL_HTTP_GET || tl_http_method(r) == TL_HTTP_HEAD || api_origin_allowed(api, r))
        return false;
    tl_http_problem(r, 403, "DENIED", NULL, "pages of this Origin may not: see server.cors", NULL, 0);
    return true;
}

static bool takes_type(const struct api_route *route, struct tl_str type)
{
    struct tl_str rest = tl_str(route->body), one;
    const char *semicolon = type.p ? memchr(type.p, ';', type.n) : NULL;
    if (semicolon) type.n = (size_t)(semicolon - type.p);
    type = tl_str_trim(type);
    while (tl_str_split(&rest, ' ', &one))
        if (tl_str_ieq(one, type) || tl_str_eq(one, TL_STR("*/*"))) return true;
    return false;
}

static struct api_call *call_new(struct api *api, struct tl_http_request *r)
{
    struct api_call *c = malloc(sizeof *c);
    if (!c) return NULL;
    memset(c, 0, offsetof(struct api_call, texts));
    c->api = api;
    c->http = r;
    tl_buf_init(&c->out, (size_t)256 << 20);
    return c;
}

static size_t make_call(struct api *api, struct tl_http_request *r, const struct api_route *route,
                        const struct tl_str *parts, const struct tl_identity *who)
{
    const char *at = NULL;
    struct tl_err err;
    struct api_call *c = call_new(api, r);
    if (!c) {
        tl_http_fail(r, TL_NOMEM, NULL, NULL);
        return 0;
    }
    c->route = route;
    c->who = *who;
    enum tl_status st = read_path(c, parts, &at, &err);
    if (st == TL_OK) st = read_query(c, &at, &err);
    if (st != TL_OK) {
        tl_http_fail(r, st, at, &err);
        free(c);
        return 0;
    }
    api_settle_series(c);
    tl_http_set_data(r, c);
    tl_http_on_gone(r, on_gone_early, c);
    return route->body_bytes ? route->body_bytes : BODY_BYTES;
}

/* The headers are there. What is refused is answered here; otherwise the call waits for its body. */
size_t api_begin(void *ctx, struct tl_http_request *r)
{
    struct api *api = ctx;
    struct tl_str path = tl_http_path(r), parts[API_PATH_PARTS_MAX];
    unsigned methods = 0;
    struct tl_identity who = {.may = 0};
    const struct api_route *route = find_route(api, tl_http_method(r), path, &methods, parts);
    const struct dashboard_file *file = methods ? NULL : dashboard_find(path);
    if (file) methods = TL_HTTP_GET;
    if (api->closing) {
        tl_http_problem(r, 503, "CANCELLED", NULL, "the server is going away", NULL, 0);
    } else if (tl_http_method(r) == TL_HTTP_OPTIONS && methods) {
        preflight(api, r, methods);
    } else if (file && (tl_http_method(r) == TL_HTTP_GET || tl_http_method(r) == TL_HTTP_HEAD)) {
        api_send_file(r, file);
    } else if (!route && methods) {
        char allow[96];
        allow_text(methods, allow);
        tl_http_problem(r, 405, "INVALID", NULL, "this is not done here: see Allow",
                        &(struct tl_http_header_row){"Allow", allow}, 1);
    } else if (!route) {
        tl_http_problem(r, 404, "NOT_FOUND", NULL, "nothing is here: see /api/v1/openapi.json", NULL, 0);
    } else if (refused_page(api, r) || (route->may && !authorize(api, r, route->may, &who))) {
        return 0;
    } else if (route->body && !takes_type(route, tl_http_header(r, "Content-Type"))) {
        char detail[200];
        snprintf(detail, sizeof detail, "the body must be one of: %s", route->body);
        tl_http_problem(r, 415, "UNSUPPORTED", NULL, detail, NULL, 0);
    } else {
        return make_call(api, r, route, parts, &who);
    }
    return 0;
}

void api_handle(void *ctx, struct tl_http_request *r)
{
    struct api *api = ctx;
    struct api_call *c = tl_http_data(r);
    TL_ASSERT(c && c->api == api);
    api->calls_open++;
    tl_http_on_gone(r, on_gone, c);
    if (api->closing)
        api_problem(c, 503, "CANCELLED", NULL, "the server is going away");
    else
        c->route->run(c);
}

void api_record(void *ctx, const struct tl_http_record *r)
{
    struct api *api = ctx;
    api->calls[r->status / 100 < 6 ? r->status / 100 : 5]++;
    if (!api->access_log) return;
    tl_log(api->log, TL_LOG_INFO, "http", "request",
           "method=%s target=\"%s\" status=%d bytes=%" PRIu64 " ms=%.3f peer=%s user=\"%s\" agent=\"%s\"", r->method,
           r->target, r->status, r->bytes, (double)r->took_ns / 1e6, r->peer, r->user ? r->user : "-",
           r->agent ? r->agent : "-");
}
