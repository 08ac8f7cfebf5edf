/* SPDX-License-Identifier: Apache-2.0 */
/* The server itself: is it alive, may it be sent work, how is it set, who is asking, tickets for browsers. */
#include "base/err.h"
#include "base/util.h"
#include "dashboard/dashboard.h"
#include "server/api.h"
#include "server/session.h"

#include <unistd.h>

void api_get_livez(struct api_call *c)
{
    tl_buf_puts(&c->out, "ok\n");
    api_reply_bytes(c, "text/plain; charset=utf-8", NULL);
}

/* Degraded is ready: the other tiers go on. Draining is not. */
void api_get_readyz(struct api_call *c)
{
    struct api *api = c->api;
    struct tl_cache_stats s;
    tl_cache_stats(api->cache, &s);
    bool redis_out = s.redis.configured && !s.redis.up, store_out = s.store.configured && !s.store.up;
    const char *state = api->draining ? "draining" : store_out ? "unavailable" : redis_out ? "degraded" : "ok";
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "status");
    tl_json_cstr(&j, state);
    tl_json_key(&j, "redis");
    tl_json_cstr(&j, !s.redis.configured ? "none" : s.redis.up ? "ok" : s.redis.why[0] ? s.redis.why : "not in use");
    tl_json_key(&j, "store");
    tl_json_cstr(&j, !s.store.configured ? "none" : s.store.up ? "ok" : s.store.why[0] ? s.store.why : "not in use");
    tl_json_object_end(&j);
    tl_buf_putc(&c->out, '\n');
    if (api->draining || store_out) {
        api_problem(c, 503, "CANCELLED", NULL, api->draining ? "draining" : s.store.why);
        return;
    }
    api_reply_bytes(c, "application/json", NULL);
}

void api_get_info(struct api_call *c)
{
    struct api *api = c->api;
    struct tl_json j;
    char host[72] = "";
    (void)gethostname(host, sizeof host - 1);
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, "tierline");
    tl_json_key(&j, "version");
    tl_json_cstr(&j, TL_VERSION);
    tl_json_key(&j, "host");
    tl_json_cstr(&j, host);
    tl_json_key(&j, "pid");
    tl_json_i64(&j, getpid());
    tl_json_key(&j, "started_ms");
    tl_json_i64(&j, api->started_ms);
    tl_json_key(&j, "now_ms");
    tl_json_i64(&j, tl_clock_wall_ms(api->clock));
    tl_json_key(&j, "store");
    tl_json_bool(&j, api->store != NULL);
    tl_json_key(&j, "redis");
    tl_json_bool(&j, api->locks != NULL);
    tl_json_key(&j, "dashboard");
    tl_json_bool(&j, dashboard_is_there());
    tl_json_key(&j, "openapi");
    tl_json_cstr(&j, "/api/v1/openapi.json");
    tl_json_object_end(&j);
    api_reply_json(c);
}

static void put_setting(struct tl_json *j, const char *name, const char *value, const char *source)
{
    char shown[4096];
    tl_url_redact(value, shown, sizeof shown);
    tl_json_object(j);
    tl_json_key(j, "name");
    tl_json_cstr(j, name);
    tl_json_key(j, "value");
    tl_json_cstr(j, shown);
    tl_json_key(j, "source");
    tl_json_cstr(j, source);
    const struct tl_setting *s = tl_setting_find(name);
    if (s) {
        tl_json_key(j, "type");
        tl_json_cstr(j, tl_setting_type_name(s->type));
        tl_json_key(j, "default");
        tl_json_cstr(j, s->def);
        tl_json_key(j, "help");
        tl_json_cstr(j, s->help);
    }
    tl_json_object_end(j);
}

void api_get_config(struct api_call *c)
{
    const struct tl_config *cfg = c->api->config;
    struct tl_config_entry e;
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "file");
    tl_json_cstr(&j, tl_config_file(cfg));
    tl_json_key(&j, "settings");
    tl_json_array(&j);
    for (size_t i = 0; tl_setting_at(i); i++) {
        const char *name = tl_setting_at(i)->name;
        put_setting(&j, name, tl_config_text(cfg, name), tl_config_source(cfg, name));
    }
    for (size_t i = 0; tl_config_entry(cfg, i, &e); i++) {
        char name[96];
        snprintf(name, sizeof name, "%s.%s", e.section, e.name);
        put_setting(&j, name, e.value, e.source);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}

void api_get_whoami(struct api_call *c)
{
    struct tl_json j;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, c->who.name);
    tl_json_key(&j, "scope");
    tl_json_cstr(&j, tl_may_name(c->who.may));
    tl_json_key(&j, "expires_ms");
    if (c->who.expires_ms == INT64_MAX)
        tl_json_null(&j);
    else
        tl_json_i64(&j, c->who.expires_ms);
    tl_json_object_end(&j);
    api_reply_json(c);
}

void api_post_ticket(struct api_call *c)
{
    char ticket[TL_TICKET_MAX];
    struct tl_json j;
    enum tl_status st = tl_auth_ticket(c->api->auth, &c->who, ticket, &c->err);
    if (st != TL_OK) {
        api_fail(c, st, NULL, &c->err);
        return;
    }
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "ticket");
    tl_json_cstr(&j, ticket);
    tl_json_object_end(&j);
    api_reply_json(c);
}
