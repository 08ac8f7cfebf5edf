/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP API: a table of routes (routes.c) from which matching, checking of parameters, scopes and the OpenAPI
 * document follow, and one file of handlers a subject (api_*.c). A request is a call: made by the router, answered
 * exactly once, freed with its answer. Loop thread, but for the runs of works. */
#ifndef TL_SERVER_API_H
#define TL_SERVER_API_H

#include "aio/workers.h"
#include "auth/auth.h"
#include "base/json.h"
#include "cache/cache.h"
#include "config/config.h"
#include "event/bus.h"
#include "http/http.h"
#include "job/jobs.h"
#include "schedule/symbol.h"
#include "ws/ws.h"

#include <tierline/lock.h>

enum {
    API_PARAMS_MAX = 16,
    API_PATH_PARTS_MAX = 8,
    API_TEXT_MAX = 512,   /* of a parameter, decoded */
    API_TEXTS_MAX = 4096, /* of all parameters of a call */
    API_ROUTES_MAX = 96,
    API_WORKERS = 2,
    API_ORIGINS_MAX = 32
};

struct api;
struct api_call;
struct api_rendered;
struct api_foreign;  /* api_compute.c */
struct api_sessions; /* session.c */
struct local_locks;
struct sse;
struct topics; /* topics.c */

/* Everything handlers need; the composition root's (serve.c), who opens and closes all of it. */
struct api {
    uv_loop_t *loop;
    const struct tl_clock *clock;
    const struct tl_log *log;
    const struct tl_config *config;
    struct tl_cache *cache;
    struct tl_store *store; /* NULL: --store none */
    bool read_only;
    struct tl_scheduler *scheduler;
    struct tl_locks *locks; /* NULL: no Redis */
    struct tl_bus *bus;
    struct tl_jobs *jobs; /* NULL: without a store */
    struct tl_auth *auth;
    struct tl_http *http;
    struct tl_ws_loop *ws;
    struct tl_workers *workers;                   /* what would block the loop: reading bars, importing, rendering */
    struct tl_store_reader *readers[API_WORKERS]; /* one a worker */
    struct tl_view_sessions sessions;
    char origins[API_ORIGINS_MAX][128]; /* CORS: "https://app.example.org", "*" */
    size_t n_origins;
    bool anonymous_auto; /* local peers may do everything, since nothing to authenticate with is configured */
    bool access_log;
    bool draining;
    bool closing; /* parts are going away: nothing new is begun */
    int64_t started_ms;
    struct api_rendered *rendered; /* render.c */
    struct api_foreign *foreign;
    struct api_sessions *sockets;
    struct sse *streams;      /* sse.c */
    struct local_locks *held; /* without a Redis */
    struct topics *topics;
    unsigned char literal[API_ROUTES_MAX]; /* bytes of each route's pattern before its first name */
    struct tl_buf scratch;                 /* of the router */
    size_t calls_open;
    uint64_t calls[6]; /* answers by class */
};

/* ---- routes ---- */

enum api_param_kind { API_TEXT, API_INT, API_BOOL, API_CHOICE, API_DATE, API_DURATION, API_FREQ, API_ADJUST, API_TTL };

struct api_param {
    const char *name; /* NULL ends a list; in a pattern: that part of the path */
    enum api_param_kind kind;
    const char *help;
    const char *choices; /* "json|csv" */
    int64_t min, max;    /* of INT; DURATION in ms */
    bool required;
    const char *example;
};

typedef void api_handler(struct api_call *);

struct api_route {
    enum tl_http_method method;
    const char *pattern; /* "/api/v1/bars/{symbol}" */
    unsigned may;        /* TL_MAY_*; 0: anybody */
    api_handler *run;
    const char *id, *tag, *summary;
    const struct api_param *path, *query; /* NULL: none */
    const char *body;                     /* content types that are taken, parted by blanks; NULL: no body */
    size_t body_bytes;                    /* at most; 0: 1 MiB */
    const char *answer;                   /* name of a schema (schemas.c), or NULL: 204 */
    const char *types;                    /* content types of the answer; NULL: application/json */
    int status;                           /* of success; 0: 200 */
    int also_status;                      /* of another success, with JSON; 0: none */
    const char *also_answer;              /* its schema */
};
const struct api_route *api_route_at(size_t i); /* NULL past the end */

/* ---- a call ---- */

struct api_call {
    struct api *api;
    struct tl_http_request *http;
    const struct api_route *route;
    struct tl_identity who;
    enum tl_freq freq;                    /* "freq", else calc.freq as it was when the call came */
    enum tl_adjust adjust;                /* "adjust", else calc.adjust */
    const char *path[API_PATH_PARTS_MAX]; /* decoded, in the order of the pattern's names */
    struct {
        const struct api_param *param;
        const char *text;
        int64_t n; /* INT, BOOL, DATE (ms), DURATION (ms), FREQ, ADJUST */
    } query[API_PARAMS_MAX];
    size_t n_query;
    bool gone; /* the client has hung up: the answer goes nowhere */
    /* for the handler */
    struct tl_work work;
    void (*run)(struct api_call *, struct tl_store_reader *); /* on a worker */
    void (*done)(struct api_call *);                          /* on the loop */
    enum tl_status status;
    struct tl_err err;
    const char *at; /* parameter at fault; NULL: none */
    struct tl_buf out;
    void *state; /* the handler's own; freed (release, else free) with the call */
    void (*release)(void *state);
    size_t texts_n;
    char texts[API_TEXTS_MAX]; /* what path and query point into */
};

/* The router's, for struct tl_http_options. Before the first: api_routes_prepare. */
void api_routes_prepare(struct api *);
size_t api_begin(void *api, struct tl_http_request *);
void api_handle(void *api, struct tl_http_request *);
void api_record(void *api, const struct tl_http_record *);

/* Part of the path by its place in the pattern; "" past the last. */
static inline const char *api_path(const struct api_call *c, size_t i)
{
    return c->path[i] ? c->path[i] : "";
}
/* NULL: not given. */
const char *api_text(const struct api_call *, const char *name);
int64_t api_number(const struct api_call *, const char *name, int64_t def);
bool api_given(const struct api_call *, const char *name);

/* Runs c->run on a worker, with a reader of the store (NULL: no store), then c->done on the loop. */
void api_work(struct api_call *, void (*run)(struct api_call *, struct tl_store_reader *),
              void (*done)(struct api_call *));

/* Each answers and frees the call. */
void api_reply_json(struct api_call *);                                      /* c->out, with the route's status */
void api_reply_bytes(struct api_call *, const char *type, const char *etag); /* c->out */
void api_reply_empty(struct api_call *, int status);
void api_reply_body(struct api_call *, const struct tl_http_answer *);
void api_fail(struct api_call *, enum tl_status, const char *param, const struct tl_err *);
void api_problem(struct api_call *, int status, const char *code, const char *param, const char *detail);
/* The call ends with the HTTP exchange: a WebSocket; a stream (its on_gone frees the reader). */
void api_upgrade(struct api_call *, const char *protocol, const struct tl_http_header_row *, size_t n_headers,
                 void (*cb)(void *ctx, int fd, struct tl_str early), void *ctx);
/* Otherwise the call has been answered, and on_gone is not called. */
TL_MUSTCHECK enum tl_status api_stream(struct api_call *, const char *type, size_t queue_bytes,
                                       void (*on_gone)(void *ctx), void *ctx, struct tl_http_stream **out);
/* c->status, c->err and c->at, or (OK) JSON. */
void api_reply(struct api_call *);

/* The common parameters. On failure the call has been answered. */
bool api_symbol(struct api_call *, const char *text, struct tl_symbol *out);
bool api_spec(struct api_call *, const char *text, struct tl_spec *out);
bool api_needs_store(struct api_call *);
bool api_needs_writable(struct api_call *);

/* Who asks, by the Authorization header, or as one on this machine. DENIED: the token is not valid. */
TL_MUSTCHECK enum tl_status api_identify(struct api *, struct tl_http_request *, struct tl_identity *who,
                                         struct tl_err *err);
/* May the page that asks (Origin)? Requests that come from no page may. */
bool api_origin_allowed(const struct api *, struct tl_http_request *);

/* ---- handlers, by subject ---- */
api_handler api_get_symbols, api_get_bars, api_put_bars, api_post_bars;                       /* api_market.c */
api_handler api_get_indicators, api_get_series, api_post_calculate, api_post_calculate_batch; /* api_indicators.c */
api_handler api_get_jobs, api_post_job, api_get_job, api_get_job_errors, api_cancel_job, api_retry_job,
    api_get_schedules, api_post_task_events, api_get_task_events; /* api_jobs.c */
api_handler api_get_cache, api_put_cache, api_delete_cache, api_post_cache_get, api_post_cache_put, api_invalidate,
    api_get_cache_stats, api_get_cache_top;                                           /* api_cache.c */
api_handler api_get_locks, api_acquire_lock, api_renew_lock, api_release_lock;        /* api_locks.c */
api_handler api_post_compute, api_put_compute, api_delete_compute, api_renew_compute; /* api_compute.c */
api_handler api_get_config, api_post_ticket, api_get_whoami, api_get_livez, api_get_readyz,
    api_get_info;            /* api_system.c */
api_handler api_get_metrics; /* metrics.c */
api_handler api_get_openapi; /* openapi.c */
api_handler api_get_ws;      /* session.c */
void sse_bye(struct api *);  /* ends every stream with a word */
api_handler api_get_events;  /* sse.c */

#endif
