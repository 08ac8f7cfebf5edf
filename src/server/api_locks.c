/* SPDX-License-Identifier: Apache-2.0 */
/* Leases for programs in any language. With a Redis the lease is let out of hand as soon as it is got: its text,
 * "instance:nonce:token", is the lock's value, and any server on the prefix renews and releases by it. Without a Redis
 * the leases are this process'. A lease that was asked for with bind=connection ends with the connection. */
#include "base/err.h"
#include "base/util.h"
#include "lock/describe.h"
#include "server/api.h"
#include "server/local_locks.h"

#include <inttypes.h>
#include <stdio.h>

enum { TTL_USUAL_MS = 30000, LIST_MS = 5000 };

struct locking {
    struct api_call *call; /* NULL: nobody waits for it any more */
    struct api *api;
    char name[TL_LEASE_NAME_MAX + 1], text[96];
    struct tl_lease lease;
    struct local_wait local;
    bool releases; /* once it is taken up */
};

static uint32_t ttl_of(const struct api_call *c)
{
    return (uint32_t)api_number(c, "ttl", TTL_USUAL_MS);
}

/* false: the call has been answered. */
static bool name_of(struct api_call *c, char out[TL_LEASE_NAME_MAX + 1])
{
    size_t n = strlen(api_path(c, 0));
    if (n > 0 && n <= TL_LEASE_NAME_MAX) {
        memcpy(out, api_path(c, 0), n + 1);
        return true;
    }
    api_problem(c, 400, "INVALID", "name", "a lease's name has 1 to 200 bytes");
    return false;
}

static void write_lease(struct api_call *c, const char *name, const char *text, uint64_t token, uint64_t ttl_ms)
{
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, name);
    tl_json_key(&j, "lease");
    tl_json_cstr(&j, text);
    tl_json_key(&j, "token");
    tl_json_u64(&j, token);
    tl_json_key(&j, "ttl_ms");
    tl_json_u64(&j, ttl_ms);
    tl_json_object_end(&j);
    api_reply_json(c);
}

static void held_by_another(struct api_call *c, uint64_t left_ms)
{
    char detail[96];
    snprintf(detail, sizeof detail, "another holds it, for %" PRIu64 " ms unless it is renewed", left_ms);
    api_problem(c, 409, "BUSY", NULL, left_ms ? detail : "another holds it");
}

/* ---- ended with its connection ---- */

static void on_let_go(struct tl_lease *lease, enum tl_status status)
{
    (void)status; /* it runs out by itself otherwise */
    free(lease->user);
}

static void on_taken_back(struct tl_lease *lease, enum tl_status status)
{
    if (status != TL_OK || tl_lease_release(lease, on_let_go, NULL) != TL_OK) free(lease->user);
}

struct bound {
    struct api *api;
    char name[TL_LEASE_NAME_MAX + 1], text[96];
};

/* The token and owner of "instance:nonce:token". */
static bool split(const char *text, char owner[TL_LEASE_OWNER_MAX], uint64_t *token)
{
    const char *last = strrchr(text, ':');
    int64_t n;
    if (!last || (size_t)(last - text) >= TL_LEASE_OWNER_MAX || !tl_str_to_i64(tl_str(last + 1), &n) || n <= 0)
        return false;
    snprintf(owner, TL_LEASE_OWNER_MAX, "%.*s", (int)(last - text), text);
    *token = (uint64_t)n;
    return true;
}

static void on_connection_closed(void *ctx)
{
    struct bound *b = ctx;
    if (b->api->closing) { /* it runs out by itself */
        free(b);
        return;
    }
    char owner[TL_LEASE_OWNER_MAX];
    uint64_t token = 0;
    bool ok = split(b->text, owner, &token);
    if (ok && !b->api->locks) local_locks_release(b->api->held, b->name, token);
    struct locking *k = ok && b->api->locks ? tl_calloc(1, sizeof *k) : NULL;
    if (k) {
        k->lease = (struct tl_lease){.ttl_ms = TTL_USUAL_MS, .token = token, .user = k};
        if (tl_lease_resume(b->api->locks, &k->lease, b->name, owner, on_taken_back, NULL) != TL_OK) free(k);
    }
    free(b);
}

static bool is_bound(const void *ctx, const void *what)
{
    return strcmp(((const struct bound *)ctx)->text, what) == 0;
}

/* The lease is over: nothing is left to do when the connection closes. */
static void unbind(struct api_call *c)
{
    free(tl_http_off_closed(c->http, on_connection_closed, is_bound, api_text(c, "lease")));
}

static enum tl_status bind_to_connection(struct api_call *c, const char *name, const char *text)
{
    const char *bind = api_text(c, "bind");
    if (!bind || strcmp(bind, "connection") != 0) return TL_OK;
    struct bound *b = tl_calloc(1, sizeof *b);
    if (!b) return tl_fail(&c->err, TL_NOMEM, "no memory for the lease");
    b->api = c->api;
    snprintf(b->name, sizeof b->name, "%s", name);
    snprintf(b->text, sizeof b->text, "%s", text);
    enum tl_status st = tl_http_on_closed(c->http, on_connection_closed, b);
    if (st == TL_OK) return TL_OK;
    free(b);
    return tl_fail(&c->err, st,
                   st == TL_FULL ? "%d leases are bound to this connection already"
                                 : "the lease cannot be bound to its connection",
                   TL_HTTP_CLOSERS_MAX);
}

/* ---- acquiring ---- */

static void give_back(struct locking *k)
{
    if (tl_lease_release(&k->lease, on_let_go, NULL) != TL_OK) free(k);
}

static void on_acquired(struct tl_lease *lease, enum tl_status status)
{
    struct locking *k = lease->user;
    struct api_call *c = k->call;
    char owner[TL_LEASE_OWNER_MAX];
    if (status == TL_OK && c->gone) { /* nobody would release it */
        api_reply_empty(c, 204);
        give_back(k);
        return;
    }
    if (status == TL_OK) {
        tl_lease_owner(lease, owner);
        snprintf(k->text, sizeof k->text, "%s:%" PRIu64, owner, lease->token);
        status = bind_to_connection(c, k->name, k->text);
        if (status != TL_OK) {
            api_fail(c, status, "bind", &c->err);
            give_back(k);
            return;
        }
        tl_lease_forget(lease);
        write_lease(c, k->name, k->text, lease->token, lease->ttl_ms);
    } else if (status == TL_BUSY || status == TL_TIMEOUT) {
        held_by_another(c, 0);
    } else {
        api_fail(c, status, NULL, &lease->err);
    }
    free(k);
}

static void on_gone(void *ctx)
{
    struct locking *k = ctx;
    k->call->gone = true;
    if (k->local.cb)
        local_locks_cancel(&k->local);
    else
        tl_lease_cancel(&k->lease);
}

static void on_local(struct local_wait *w, enum tl_status status)
{
    struct locking *k = w->user;
    struct api_call *c = k->call;
    snprintf(k->text, sizeof k->text, "local:%" PRIu64, w->token);
    enum tl_status bound = status == TL_OK && !c->gone ? bind_to_connection(c, k->name, k->text) : TL_OK;
    if (status == TL_OK && (c->gone || bound != TL_OK)) {
        local_locks_release(c->api->held, k->name, w->token);
        if (bound != TL_OK)
            api_fail(c, bound, "bind", &c->err);
        else
            api_reply_empty(c, 204);
    } else if (status == TL_OK) {
        write_lease(c, k->name, k->text, w->token, w->ttl_ms);
    } else if (status == TL_BUSY || status == TL_TIMEOUT) {
        held_by_another(c, w->left_ms);
    } else {
        api_fail(c, status, NULL, NULL);
    }
    free(k);
}

static struct locking *locking_new(struct api_call *c)
{
    struct locking *k = tl_calloc(1, sizeof *k);
    if (!k) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return NULL;
    }
    k->call = c;
    k->api = c->api;
    if (name_of(c, k->name)) return k;
    free(k);
    return NULL;
}

void api_acquire_lock(struct api_call *c)
{
    struct locking *k = locking_new(c);
    if (!k) return;
    uint64_t wait_ms = (uint64_t)api_number(c, "wait", 0);
    if (!c->api->locks) {
        k->local = (struct local_wait){.ttl_ms = ttl_of(c), .wait_ms = wait_ms, .cb = on_local, .user = k};
        local_locks_acquire(c->api->held, &k->local, k->name);
        tl_http_on_gone(c->http, on_gone, k);
        return;
    }
    k->lease = (struct tl_lease){.ttl_ms = ttl_of(c), .wait_ms = wait_ms, .user = k};
    enum tl_status st = tl_lease_acquire(c->api->locks, &k->lease, k->name, on_acquired, &c->err);
    if (st == TL_OK) {
        tl_http_on_gone(c->http, on_gone, k);
    } else {
        free(k);
        api_fail(c, st, NULL, &c->err);
    }
}

/* ---- renewing, releasing ---- */

static void on_released(struct tl_lease *lease, enum tl_status status)
{
    struct locking *k = lease->user;
    if (status == TL_OK || status == TL_LOCK_LOST) unbind(k->call);
    if (status == TL_OK)
        api_reply_empty(k->call, 204);
    else
        api_fail(k->call, status, "lease", &lease->err);
    free(k);
}

static void on_resumed(struct tl_lease *lease, enum tl_status status)
{
    struct locking *k = lease->user;
    struct api_call *c = k->call;
    if (status == TL_OK && k->releases) {
        status = tl_lease_release(lease, on_released, &lease->err);
        if (status == TL_OK) return;
    }
    if (status == TL_OK) {
        tl_lease_forget(lease);
        write_lease(c, k->name, k->text, lease->token, lease->ttl_ms);
    } else {
        if (status == TL_LOCK_LOST) unbind(c);
        api_fail(c, status, "lease", &lease->err);
    }
    free(k);
}

static void resume(struct api_call *c, bool releases)
{
    const char *text = api_text(c, "lease");
    char owner[TL_LEASE_OWNER_MAX];
    uint64_t token = 0;
    if (!split(text, owner, &token)) {
        api_problem(c, 400, "INVALID", "lease", "this is no lease of ours");
        return;
    }
    struct locking *k = locking_new(c);
    if (!k) return;
    if (!c->api->locks) {
        bool held = releases ? local_locks_release(c->api->held, k->name, token)
                             : local_locks_renew(c->api->held, k->name, token, ttl_of(c));
        if (!held || releases) unbind(c);
        if (!held)
            api_problem(c, 409, "LOCK_LOST", "lease", "the lease is not held any more");
        else if (releases)
            api_reply_empty(c, 204);
        else
            write_lease(c, k->name, text, token, ttl_of(c));
        free(k);
        return;
    }
    k->releases = releases;
    snprintf(k->text, sizeof k->text, "%s", text);
    k->lease = (struct tl_lease){.ttl_ms = ttl_of(c), .token = token, .user = k};
    enum tl_status st = tl_lease_resume(c->api->locks, &k->lease, k->name, owner, on_resumed, &c->err);
    if (st == TL_OK) return;
    free(k);
    api_fail(c, st, "lease", &c->err);
}

void api_renew_lock(struct api_call *c)
{
    resume(c, false);
}

void api_release_lock(struct api_call *c)
{
    resume(c, true);
}

/* ---- the list ---- */

static bool put_local(void *ctx, const struct tl_lease_info *l)
{
    tl_lease_json(ctx, l);
    return true;
}

static void on_list(struct tl_locks_list *op, enum tl_status status)
{
    struct api_call *c = op->user;
    struct tl_json j;
    if (status != TL_OK) {
        api_fail(c, status, NULL, &op->err);
        return;
    }
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "locks");
    tl_json_array(&j);
    for (size_t i = 0; i < op->n; i++) tl_lease_json(&j, &op->items[i]);
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}

void api_get_locks(struct api_call *c)
{
    struct tl_json j;
    if (!c->api->locks) {
        tl_json_init(&j, &c->out);
        tl_json_object(&j);
        tl_json_key(&j, "locks");
        tl_json_array(&j);
        local_locks_each(c->api->held, put_local, &j);
        tl_json_array_end(&j);
        tl_json_object_end(&j);
        api_reply_json(c);
        return;
    }
    struct tl_locks_list *op = c->state = tl_calloc(1, sizeof *op);
    if (op) op->user = c;
    enum tl_status st = op ? tl_locks_list(c->api->locks, op, LIST_MS, on_list, &c->err) : TL_NOMEM;
    if (st != TL_OK) api_fail(c, st, NULL, op ? &c->err : NULL);
}
