/* SPDX-License-Identifier: Apache-2.0 */
/* compute/{key}: get the value, or be lent the key and make it. POST asks: 200 with the value, or 201 with a lease, or
 * 409 while another makes it. PUT with the lease hands the value in (or, with ?error=, the reason why there is none),
 * and who waits is answered at once. What was lent is not remembered here: any server on the prefix takes the value. */
#include "base/err.h"
#include "base/util.h"
#include "server/options.h"
#include "schedule/lend.h"
#include "server/api.h"

#include <inttypes.h>
#include <stdio.h>

enum { TTL_USUAL_MS = 30000 };

/* The key is all of a data type's: "compute" unless told otherwise. */
static struct tl_key key_of(const struct api_call *c)
{
    const char *type = api_text(c, "type");
    return (struct tl_key){.data_type = type ? type : "compute", .symbol = api_path(c, 0)};
}

/* The parameter that is wrong where the key, or else `other`, is. */
static const char *at_fault(const struct api_call *c, const char *other)
{
    struct tl_cache_key made;
    struct tl_key key = {.data_type = "compute", .symbol = api_path(c, 0)};
    if (tl_cache_key_general(&key, &made, NULL) != TL_OK) return "key";
    key = key_of(c);
    return tl_cache_key_general(&key, &made, NULL) != TL_OK ? "type" : other;
}

struct asking {
    struct tl_lend lend;
};

static void release_asking(void *state)
{
    struct asking *a = state;
    tl_value_unref(a->lend.value);
    free(a);
}

static void unref_value(void *value)
{
    tl_value_unref(value);
}

static void reply_value(struct api_call *c, const struct tl_lend *op)
{
    size_t n;
    char age[32];
    const void *bytes = tl_value_bytes(op->value, &n);
    struct tl_http_body *body = tl_http_body_wrap(bytes, n, unref_value, tl_value_ref(op->value));
    snprintf(age, sizeof age, "%" PRId64, op->age_ms);
    const struct tl_http_header_row rows[] = {{"Tierline-Compute", op->waited ? "WAITED" : "HIT"},
                                              {"Tierline-Source", tl_tier_name(op->source)},
                                              {"Tierline-Age-Ms", age},
                                              {"Cache-Control", "no-store"}};
    if (!body) tl_value_unref(op->value);
    if (!body)
        api_fail(c, TL_NOMEM, NULL, NULL);
    else
        api_reply_body(c, &(struct tl_http_answer){.status = 200,
                                                   .type = "application/octet-stream",
                                                   .body = body,
                                                   .headers = rows,
                                                   .n_headers = TL_COUNT(rows),
                                                   .compress = true});
}

/* ---- ended with its connection ---- */

struct bound {
    struct api *api;
    struct tl_lend_end end;
    char type[80], symbol[80], lease[TL_LEND_TEXT_MAX];
};

static void on_given_back(struct tl_lend_end *end, enum tl_status status)
{
    (void)status; /* it was handed in, or it runs out by itself */
    free(end->user);
}

static void on_connection_closed(void *ctx)
{
    struct bound *b = ctx;
    if (b->api->closing) { /* it runs out by itself */
        free(b);
        return;
    }
    struct tl_key key = {.data_type = b->type, .symbol = b->symbol};
    b->end = (struct tl_lend_end){.cb = on_given_back, .user = b};
    if (tl_lend_fail(b->api->scheduler, &b->end, &key, b->lease, TL_CANCELLED, "its connection was closed", NULL) !=
        TL_OK)
        free(b);
}

static bool is_bound(const void *ctx, const void *what)
{
    return strcmp(((const struct bound *)ctx)->lease, what) == 0;
}

/* The lease is over: nothing is left to do when the connection closes. */
static void unbind(struct api_call *c)
{
    free(tl_http_off_closed(c->http, on_connection_closed, is_bound, api_text(c, "lease")));
}

static enum tl_status bind_to_connection(struct api_call *c, const char *lease)
{
    const char *bind = api_text(c, "bind");
    struct tl_key key = key_of(c);
    if (!bind || strcmp(bind, "connection") != 0) return TL_OK;
    struct bound *b = tl_calloc(1, sizeof *b);
    if (!b) return TL_NOMEM;
    b->api = c->api;
    snprintf(b->type, sizeof b->type, "%.79s", key.data_type);
    snprintf(b->symbol, sizeof b->symbol, "%.79s", key.symbol);
    snprintf(b->lease, sizeof b->lease, "%s", lease);
    enum tl_status st = tl_http_on_closed(c->http, on_connection_closed, b);
    if (st != TL_OK) free(b);
    return st;
}

/* ---- asking ---- */

static void reply_lease(struct api_call *c, const struct tl_lend *op)
{
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "verdict");
    tl_json_cstr(&j, "GRANTED");
    tl_json_key(&j, "lease");
    tl_json_cstr(&j, op->lease);
    tl_json_key(&j, "token");
    tl_json_u64(&j, op->token);
    tl_json_key(&j, "lease_ms");
    tl_json_u64(&j, op->lease_ms);
    tl_json_key(&j, "taken_over");
    tl_json_bool(&j, op->taken_over);
    tl_json_object_end(&j);
    tl_buf_putc(&c->out, '\n');
    size_t n = 0;
    char *bytes = tl_buf_take(&c->out, &n);
    struct tl_http_body *body = bytes ? tl_http_body_take(bytes, n) : NULL;
    const struct tl_http_header_row rows[] = {{"Tierline-Compute", "GRANTED"}, {"Cache-Control", "no-store"}};
    if (!body)
        api_fail(c, TL_NOMEM, NULL, NULL);
    else
        api_reply_body(
            c,
            &(struct tl_http_answer){
                .status = 201, .type = "application/json", .body = body, .headers = rows, .n_headers = TL_COUNT(rows)});
}

/* Lent to one who has gone: given back, so that another need not wait for it. */
static void give_back(struct api_call *c, const char *lease, enum tl_status why)
{
    struct bound *b = tl_calloc(1, sizeof *b);
    struct tl_key key = key_of(c);
    if (b) {
        b->api = c->api;
        b->end = (struct tl_lend_end){.cb = on_given_back, .user = b};
        if (tl_lend_fail(c->api->scheduler, &b->end, &key, lease, TL_CANCELLED, "its caller has gone", NULL) != TL_OK)
            free(b);
    }
    char detail[96];
    snprintf(detail, sizeof detail, "%d leases are bound to this connection already", TL_HTTP_CLOSERS_MAX);
    api_problem(c, 503, tl_status_name(why), why == TL_FULL ? "bind" : NULL,
                why == TL_FULL ? detail : "the lease was given back");
}

static void on_lent(struct tl_lend *op, enum tl_status status)
{
    struct api_call *c = op->user;
    char detail[128];
    enum tl_status bound = TL_CANCELLED;
    if (status == TL_OK && !op->value && !c->gone) bound = bind_to_connection(c, op->lease);
    if (status == TL_OK && op->value) {
        reply_value(c, op);
    } else if (status == TL_OK && bound != TL_OK) {
        give_back(c, op->lease, bound);
    } else if (status == TL_OK) {
        reply_lease(c, op);
    } else if (status == TL_BUSY) {
        snprintf(detail, sizeof detail, "another is making it, for %" PRId64 " ms unless it is renewed", op->left_ms);
        api_problem(c, 409, "BUSY", NULL, detail);
    } else if (status == TL_CANCELLED || status == TL_NOMEM || status == TL_FULL) {
        api_fail(c, status, NULL, &op->err);
    } else { /* the failure of whoever made it */
        api_problem(c, 424, tl_status_name(status), NULL, op->err.text);
    }
}

static void on_gone(void *ctx)
{
    struct api_call *c = ctx;
    struct asking *a = c->state;
    c->gone = true;
    tl_lend_cancel(&a->lend);
}

void api_post_compute(struct api_call *c)
{
    struct asking *a = c->state = tl_calloc(1, sizeof *a);
    struct tl_key key = key_of(c);
    if (!a) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    c->release = release_asking;
    a->lend = (struct tl_lend){.lease_ms = (uint32_t)api_number(c, "lease_ms", TTL_USUAL_MS),
                               .max_age_ms = api_number(c, "max_age", 0),
                               .wait_ms = (uint64_t)api_number(c, "wait_ms", 0),
                               .cb = on_lent,
                               .user = c};
    enum tl_status st = tl_lend(c->api->scheduler, &a->lend, &key, &c->err);
    if (st == TL_OK)
        tl_http_on_gone(c->http, on_gone, c);
    else
        api_fail(c, st, at_fault(c, "lease_ms"), &c->err);
}

/* ---- handing in ---- */

static void on_end(struct tl_lend_end *op, enum tl_status status)
{
    struct api_call *c = op->user;
    if (status == TL_OK || status == TL_LOCK_LOST) unbind(c);
    if (status == TL_OK)
        api_reply_empty(c, 204);
    else
        api_fail(c, status, status == TL_LOCK_LOST ? "lease" : NULL, &op->err);
}

static struct tl_lend_end *end_new(struct api_call *c)
{
    struct tl_lend_end *op = c->state = tl_calloc(1, sizeof *op);
    if (op)
        *op = (struct tl_lend_end){.cb = on_end, .user = c};
    else
        api_fail(c, TL_NOMEM, NULL, NULL);
    return op;
}

/* error=no_data and the like: the status by name, in any case; retry by its kind. */
static enum tl_status status_of(const char *name)
{
    static const enum tl_status known[] = {TL_INVALID, TL_NO_DATA, TL_IO, TL_TIMEOUT, TL_UNSUPPORTED, TL_NOT_FOUND};
    for (size_t i = 0; i < TL_COUNT(known); i++)
        if (tl_str_ieq(tl_str(name), tl_str(tl_status_name(known[i])))) return known[i];
    return TL_INTERNAL;
}

void api_put_compute(struct api_call *c)
{
    struct tl_lend_end *op = end_new(c);
    struct tl_key key = key_of(c);
    struct tl_str body = tl_http_body(c->http);
    const char *error = api_text(c, "error"), *text = api_text(c, "ttl");
    struct tl_ttl ttl = {.fresh_ms = 0};
    char why[200];
    if (!op) return;
    enum tl_status st = text ? tl_ttl_read("ttl", tl_str(text), &ttl, &c->err) : TL_OK;
    if (st != TL_OK) {
        api_fail(c, st, "ttl", &c->err);
        return;
    }
    snprintf(why, sizeof why, "%.*s", (int)TL_MIN(body.n, sizeof why - 1), body.p ? body.p : "");
    st = error ? tl_lend_fail(c->api->scheduler, op, &key, api_text(c, "lease"), status_of(error), why, &c->err)
               : tl_lend_value(c->api->scheduler, op, &key, api_text(c, "lease"), body.p ? body.p : "", body.n, &ttl,
                               &c->err);
    if (st != TL_OK) api_fail(c, st, st == TL_INVALID ? at_fault(c, "lease") : NULL, &c->err);
}

void api_delete_compute(struct api_call *c)
{
    struct tl_lend_end *op = end_new(c);
    struct tl_key key = key_of(c);
    enum tl_status st =
        op ? tl_lend_fail(c->api->scheduler, op, &key, api_text(c, "lease"), TL_CANCELLED, "it was given back", &c->err)
           : TL_OK;
    if (st != TL_OK) api_fail(c, st, at_fault(c, "lease"), &c->err);
}

void api_renew_compute(struct api_call *c)
{
    struct tl_lend_end *op = end_new(c);
    struct tl_key key = key_of(c);
    enum tl_status st = op ? tl_lend_renew(c->api->scheduler, op, &key, api_text(c, "lease"),
                                           (uint32_t)api_number(c, "lease_ms", TTL_USUAL_MS), &c->err)
                           : TL_OK;
    if (st != TL_OK) api_fail(c, st, at_fault(c, "lease"), &c->err);
}
