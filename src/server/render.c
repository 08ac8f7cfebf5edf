/* SPDX-License-Identifier: Apache-2.0 */
/* Which form an answer takes, which rows, and the answers that were made a moment ago: so that many who ask for the
 * same thing at once cost one reading and one writing of it. */
#include "server/render.h"

#include "base/map.h"
#include "base/util.h"

static const char *const types[] = {"application/json", "text/csv; charset=utf-8", "application/vnd.tierline.f64"};

const char *api_form_type(enum api_form form)
{
    return types[form];
}

bool api_accepts(struct api_call *c, enum api_form *out)
{
    static const char *const offers[] = {"application/json", "text/csv", "application/vnd.tierline.f64"};
    const char *format = api_text(c, "format");
    struct tl_str accept = tl_http_header(c->http, "Accept");
    unsigned best = 0;
    *out = API_JSON;
    if (format) {
        *out = strcmp(format, "csv") == 0 ? API_CSV : strcmp(format, "f64") == 0 ? API_F64 : API_JSON;
        return true;
    }
    for (unsigned i = 0; i < TL_COUNT(offers); i++) {
        unsigned q = tl_http_accepts(accept, offers[i]);
        if (q > best) {
            best = q;
            *out = (enum api_form)i;
        }
    }
    if (best) return true;
    api_problem(c, 406, "UNSUPPORTED", "Accept",
                "this comes as application/json, text/csv or application/vnd.tierline.f64");
    return false;
}

bool api_range(struct api_call *c, struct tl_grid_range *out)
{
    *out = (struct tl_grid_range){.has_from = api_given(c, "from"),
                                  .has_to = api_given(c, "to"),
                                  .from_day_ms = api_number(c, "from", 0),
                                  .to_day_ms = api_number(c, "to", 0),
                                  .last = (size_t)api_number(c, "last", 0)};
    if (!out->has_from || !out->has_to || out->from_day_ms <= out->to_day_ms) return true;
    api_problem(c, 400, "INVALID", "from", "from is after to");
    return false;
}

void api_write_grid(enum api_form form, const struct tl_grid *g, size_t from, size_t to, struct tl_buf *out)
{
    if (form == API_CSV) {
        tl_grid_csv(g, from, to, out);
    } else if (form == API_F64) {
        tl_grid_f64(g, from, to, out);
    } else {
        tl_grid_json(g, from, to, out);
        tl_buf_putc(out, '\n');
    }
}

/* ---- answers that were made a moment ago ---- */

enum { VALID_MS = 100, SEQS_MAX = 100000 };

struct made {
    struct made *prev, *next; /* newest read first */
    struct tl_http_body *body;
    const char *type;
    uint64_t at_ns, seq, generation;
    size_t bytes;
    char symbol[TL_SYMBOL_MAX], etag[200], meta[160];
    size_t n_key;
    char key[];
};

struct api_rendered {
    struct tl_map *by_key; /* -> struct made */
    struct tl_map *seqs;   /* symbol -> how often it has changed, from when it was first asked for */
    uint64_t all;          /* how often everything may have changed */
    struct made *first, *last;
    size_t bytes, cap_bytes;
};

enum tl_status api_rendered_new(size_t cap_bytes, struct api_rendered **out)
{
    struct api_rendered *r = tl_calloc(1, sizeof *r);
    if (!r) return TL_NOMEM;
    r->cap_bytes = cap_bytes;
    r->by_key = tl_map_new();
    r->seqs = tl_map_new();
    *out = r;
    if (r->by_key && r->seqs) return TL_OK;
    api_rendered_free(r);
    *out = NULL;
    return TL_NOMEM;
}

static void unlink_made(struct api_rendered *r, struct made *m)
{
    if (m->prev)
        m->prev->next = m->next;
    else
        r->first = m->next;
    if (m->next)
        m->next->prev = m->prev;
    else
        r->last = m->prev;
    m->prev = m->next = NULL;
}

static void link_first(struct api_rendered *r, struct made *m)
{
    m->next = r->first;
    if (r->first)
        r->first->prev = m;
    else
        r->last = m;
    r->first = m;
}

static void drop(struct api_rendered *r, struct made *m)
{
    unlink_made(r, m);
    tl_map_remove(r->by_key, (struct tl_str){m->key, m->n_key});
    r->bytes -= m->bytes;
    tl_http_body_unref(m->body);
    free(m);
}

void api_rendered_free(struct api_rendered *r)
{
    if (!r) return;
    while (r->first) {
        TL_ASSERT(!r->first->prev);
        drop(r, r->first);
    }
    tl_map_free(r->by_key);
    tl_map_free(r->seqs);
    free(r);
}

static uint64_t *seq_of(struct api_rendered *r, const char *symbol)
{
    void **slot = tl_map_get(r->seqs, tl_str(symbol));
    return slot ? (uint64_t *)(void *)slot : NULL;
}

uint64_t api_rendered_seq(struct api *api, const char *symbol)
{
    struct api_rendered *r = api->rendered;
    uint64_t *seq = seq_of(r, symbol);
    if (!seq && tl_map_count(r->seqs) >= SEQS_MAX) { /* all that was made counts as changed */
        struct tl_map *fresh = tl_map_new();
        if (!fresh) return 0;
        tl_map_free(r->seqs);
        r->seqs = fresh;
        r->all++;
    }
    if (!seq) seq = (uint64_t *)(void *)tl_map_put(r->seqs, tl_str(symbol), NULL);
    if (!seq) return 0;
    if (*seq == 0) *seq = 1;
    return *seq + (r->all << 32);
}

void api_rendered_changed(struct api *api, const char *symbol)
{
    struct api_rendered *r = api->rendered;
    uint64_t *seq = symbol ? seq_of(r, symbol) : NULL;
    if (!symbol) r->all++;
    if (seq) ++*seq;
}

struct tl_http_body *api_rendered_get(struct api *api, struct tl_str key, struct api_rendered_head *head)
{
    struct api_rendered *r = api->rendered;
    struct tl_cache *c = api->cache;
    void **slot = tl_map_get(r->by_key, key);
    if (!slot) return NULL;
    struct made *m = *slot;
    if (tl_clock_mono_ns(api->clock) - m->at_ns > VALID_MS * UINT64_C(1000000) || m->seq == 0 ||
        m->seq != api_rendered_seq(api, m->symbol) || m->generation != tl_generations_newest(c->generations) ||
        !tl_peers_trusts_memory(c)) {
        drop(r, m);
        return NULL;
    }
    if (m != r->first) {
        unlink_made(r, m);
        link_first(r, m);
    }
    *head = (struct api_rendered_head){.etag = m->etag, .type = m->type, .meta = m->meta};
    return tl_http_body_ref(m->body);
}

void api_rendered_put(struct api *api, struct tl_str key, const char *symbol, uint64_t seq, struct tl_http_body *body,
                      const struct api_rendered_head *head)
{
    struct api_rendered *r = api->rendered;
    size_t bytes = sizeof(struct made) + key.n + tl_http_body_bytes(body);
    void **slot = tl_map_get(r->by_key, key);
    if (slot) drop(r, *slot);
    if (bytes > r->cap_bytes / 8) return;
    while (r->last && r->bytes + bytes > r->cap_bytes) {
        TL_ASSERT(!r->last->next);
        drop(r, r->last);
    }
    struct made *m = tl_calloc(1, sizeof *m + key.n);
    slot = m ? tl_map_put(r->by_key, key, NULL) : NULL;
    if (!slot) {
        free(m);
        return;
    }
    *slot = m;
    m->body = tl_http_body_ref(body);
    m->type = head->type;
    m->at_ns = tl_clock_mono_ns(api->clock);
    m->seq = seq;
    m->generation = tl_generations_newest(api->cache->generations);
    m->bytes = bytes;
    snprintf(m->symbol, sizeof m->symbol, "%s", symbol);
    snprintf(m->etag, sizeof m->etag, "%s", head->etag);
    snprintf(m->meta, sizeof m->meta, "%s", head->meta);
    m->n_key = key.n;
    memcpy(m->key, key.p, key.n);
    link_first(r, m);
    r->bytes += bytes;
}
