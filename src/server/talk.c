/* SPDX-License-Identifier: Apache-2.0 */
/* A message is one JSON document a line. Who may is settled before anything else, by what carries it or by the first
 * message; a token that runs out ends the conversation unless it is refreshed. Every document gets an answer, in the
 * order in which they are settled: one that finds no room waits, and a reader who lets more wait than TALK_WAITING_MAX
 * is closed. The feed does the rest. Knows no socket. */
#include "server/talk.h"

#include "base/err.h"
#include "base/util.h"

#include <math.h>

enum {
    AUTH_MS = 10000 /* for the first message, of one who has not said who it is */,
    TOKEN_CHECK_MS = 1000,
    HZ_MAX = 1000
};
static const double HZ_MIN = 0.001;

/* ---- answers ---- */

/* Never from inside the feed: its subscriptions are gone at once, since nothing goes out behind a close. */
static void hang_up(struct talk *t, unsigned code, const char *why)
{
    if (t->closing) return;
    t->closing = true;
    feed_release(&t->feed);
    t->to.close(t->to.ctx, code, why);
}

void talk_begin_answer(struct tl_buf *b, struct tl_json *j, enum protocol_out op, const json_t *id)
{
    protocol_begin(b, j, op, TALK_HISTORY_BYTES + TL_EVENT_BYTES_MAX + 4096);
    if (json_is_integer(id)) {
        tl_json_key(j, "id");
        tl_json_i64(j, json_integer_value(id));
    } else if (json_is_string(id)) {
        tl_json_key(j, "id");
        tl_json_cstr(j, json_string_value(id));
    }
}

static void let_wait(struct talk *t, struct tl_str json)
{
    if (t->waiting.n) tl_buf_putc(&t->waiting, '\n');
    tl_buf_put(&t->waiting, json.p, json.n);
    if (t->waiting.failed) hang_up(t, PROTOCOL_CLOSE_NOT_READ, "answers are not read");
}

void talk_answer(struct talk *t, struct tl_buf *b, struct tl_json *j)
{
    tl_json_object_end(j);
    enum tl_status st = b->failed ? TL_NOMEM : t->waiting.n ? TL_FULL : TL_OK;
    if (st == TL_OK && !t->closing) st = t->to.text(t->to.ctx, tl_buf_str(b));
    if (st == TL_FULL && !t->closing) let_wait(t, tl_buf_str(b));
    if (st == TL_NOMEM) hang_up(t, PROTOCOL_CLOSE_MEMORY, "out of memory");
    tl_buf_release(b);
}

void talk_error(struct talk *t, const json_t *id, const char *code, const char *topic, const char *detail)
{
    struct tl_buf b;
    struct tl_json j;
    talk_begin_answer(&b, &j, PROTOCOL_error, id);
    tl_json_key(&j, "code");
    tl_json_cstr(&j, code);
    if (topic) {
        tl_json_key(&j, "topic");
        tl_json_str(&j, (struct tl_str){topic, strnlen(topic, TL_TOPIC_MAX)});
    }
    tl_json_key(&j, "detail");
    tl_json_cstr(&j, detail);
    talk_answer(t, &b, &j);
}

/* ---- what the feed sends: behind the answers that wait, so that "subscribed" comes before its snapshot ---- */

static enum tl_status sink_event(void *ctx, struct tl_event *e, const char *via)
{
    struct talk *t = ctx;
    return t->waiting.n ? TL_FULL : t->to.event(t->to.ctx, e, via);
}

static enum tl_status sink_document(void *ctx, enum protocol_out op, struct tl_str json)
{
    struct talk *t = ctx;
    (void)op;
    return t->waiting.n ? TL_FULL : t->to.text(t->to.ctx, json);
}

static size_t sink_backlog(void *ctx)
{
    struct talk *t = ctx;
    return t->to.backlog(t->to.ctx);
}

static void sink_tell_drained(void *ctx)
{
    struct talk *t = ctx;
    t->to.tell_drained(t->to.ctx);
}

/* ---- who it is ---- */

static void set_deadline(struct talk *t, uint64_t ms)
{
    (void)!tl_alarm_set(t->api->cache->alarms, &t->deadline, tl_clock_mono_ns(t->api->clock) + ms * UINT64_C(1000000));
}

static void on_deadline(struct tl_alarm *a)
{
    struct talk *t = (struct talk *)(void *)((char *)a - offsetof(struct talk, deadline));
    if (!t->known) {
        talk_error(t, NULL, "UNAUTHENTICATED", NULL, "no token came in time");
        hang_up(t, PROTOCOL_CLOSE_UNAUTHENTICATED, "no token came in time");
        return;
    }
    const char *ended = tl_auth_ended(t->api->auth, &t->who);
    if (!ended) {
        set_deadline(t, TOKEN_CHECK_MS);
        return;
    }
    talk_error(t, NULL, "UNAUTHENTICATED", NULL, ended);
    hang_up(t, PROTOCOL_CLOSE_UNAUTHENTICATED, ended);
}

static void welcome(struct talk *t, const json_t *id)
{
    struct tl_buf b;
    struct tl_json j;
    t->known = true;
    talk_begin_answer(&b, &j, PROTOCOL_hello, id);
    tl_json_key(&j, "protocol");
    tl_json_cstr(&j, PROTOCOL_NAME);
    tl_json_key(&j, "server");
    tl_json_cstr(&j, TL_VERSION);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, t->who.name);
    tl_json_key(&j, "scope");
    tl_json_cstr(&j, tl_may_name(t->who.may));
    tl_json_key(&j, "expires_ms");
    if (t->who.expires_ms == INT64_MAX)
        tl_json_null(&j);
    else
        tl_json_i64(&j, t->who.expires_ms);
    tl_json_key(&j, "time_ms");
    tl_json_i64(&j, tl_clock_wall_ms(t->api->clock));
    talk_answer(t, &b, &j);
    set_deadline(t, TOKEN_CHECK_MS);
}

/* First, and again to refresh: a refresh that is refused leaves what was there, to its end. */
static void on_auth(struct talk *t, const json_t *doc, const json_t *id)
{
    const char *token = json_string_value(json_object_get(doc, "token"));
    struct tl_identity who;
    struct tl_err err;
    if (!token || tl_auth_token(t->api->auth, tl_str(token), &who, &err) != TL_OK || !(who.may & TL_MAY_READ)) {
        talk_error(t, id, "UNAUTHENTICATED", NULL, "the token is not valid, or may not read");
        if (!t->known) hang_up(t, PROTOCOL_CLOSE_UNAUTHENTICATED, "the token is not valid, or may not read");
        return;
    }
    t->who = who;
    welcome(t, id);
}

/* ---- subscribing ---- */

static const json_t *read_topics(struct talk *t, const json_t *doc, const json_t *id)
{
    const json_t *topics = json_object_get(doc, "topics");
    if (json_array_size(topics) >= 1 && json_array_size(topics) <= FEED_TOPICS_MAX) return topics;
    talk_error(t, id, "INVALID", NULL, "topics: an array of 1 to 200 texts is needed");
    return NULL;
}

/* What holds for all topics of the document. */
static const char *read_options(const json_t *doc, struct feed_options *o)
{
    const json_t *mode = json_object_get(doc, "mode"), *hz = json_object_get(doc, "max_hz"),
                 *since = json_object_get(doc, "since");
    const char *text = json_string_value(mode);
    *o = (struct feed_options){.max_hz = json_number_value(hz)};
    if (mode && (!text || (strcmp(text, "latest") != 0 && strcmp(text, "stream") != 0)))
        return "mode: latest or stream is needed";
    o->latest = text && strcmp(text, "latest") == 0;
    if (hz && (!json_is_number(hz) || !isfinite(o->max_hz) || o->max_hz < 0 || o->max_hz > HZ_MAX ||
               (o->max_hz > 0 && o->max_hz < HZ_MIN)))
        return "max_hz: 0 (as they come), or a number from 0.001 to 1000, is needed";
    if (since && !json_is_string(since) && !json_is_object(since) && !json_is_null(since))
        return "since: a position, or an object of topics and positions, is needed";
    return NULL;
}

static enum tl_status subscribe_one(struct talk *t, const char *name, const json_t *since, struct feed_options o,
                                    const char **canonical, struct tl_err *err)
{
    if (!name) return tl_fail(err, TL_INVALID, "topics: texts are needed");
    const json_t *from = json_is_object(since) ? json_object_get(since, name) : since;
    const char *text = json_string_value(from);
    if (from && !json_is_null(from) && (!text || !tl_position_parse(tl_str(text), &o.since)))
        return tl_fail(err, TL_INVALID, "since: '%.64s' is no position", text ? text : "");
    return feed_subscribe(&t->feed, name, &o, canonical, err);
}

static void answer_topic(struct talk *t, enum protocol_out op, const json_t *id, const char *topic, const char *asked)
{
    struct tl_buf b;
    struct tl_json j;
    talk_begin_answer(&b, &j, op, id);
    tl_json_key(&j, "topic");
    tl_json_cstr(&j, topic);
    if (asked) {
        tl_json_key(&j, "asked");
        tl_json_cstr(&j, asked);
    }
    talk_answer(t, &b, &j);
}

static void on_subscribe(struct talk *t, const json_t *doc, const json_t *id)
{
    const json_t *topics = read_topics(t, doc, id), *topic;
    struct feed_options o;
    const char *bad = topics ? read_options(doc, &o) : NULL;
    size_t i;
    if (bad) talk_error(t, id, "INVALID", NULL, bad);
    if (bad || !topics) return;
    json_array_foreach(topics, i, topic)
    {
        if (t->closing) return;
        const char *name = json_string_value(topic), *canonical = NULL;
        struct tl_err err = {.status = TL_OK};
        enum tl_status st = subscribe_one(t, name, json_object_get(doc, "since"), o, &canonical, &err);
        if (st == TL_OK)
            answer_topic(t, PROTOCOL_subscribed, id, canonical, name);
        else
            talk_error(t, id, tl_status_name(st), name, err.text);
    }
}

static void on_unsubscribe(struct talk *t, const json_t *doc, const json_t *id)
{
    const json_t *topics = read_topics(t, doc, id), *topic;
    size_t i;
    json_array_foreach(topics, i, topic)
    {
        const char *name = json_string_value(topic);
        char canonical[TL_TOPIC_MAX + 1];
        if (name && feed_unsubscribe(&t->feed, name, canonical))
            answer_topic(t, PROTOCOL_unsubscribed, id, canonical, NULL);
        else
            talk_error(t, id, "NOT_FOUND", name, "not subscribed");
    }
}

/* ---- documents ---- */

static void on_ping(struct talk *t, const json_t *id)
{
    struct tl_buf b;
    struct tl_json j;
    talk_begin_answer(&b, &j, PROTOCOL_pong, id);
    tl_json_key(&j, "time_ms");
    tl_json_i64(&j, tl_clock_wall_ms(t->api->clock));
    talk_answer(t, &b, &j);
}

static void on_op(struct talk *t, enum protocol_in op, const json_t *doc, const json_t *id)
{
    switch (op) {
    case PROTOCOL_IN_auth:
    case PROTOCOL_IN_token:
        on_auth(t, doc, id);
        break;
    case PROTOCOL_IN_subscribe:
        on_subscribe(t, doc, id);
        break;
    case PROTOCOL_IN_unsubscribe:
        on_unsubscribe(t, doc, id);
        break;
    case PROTOCOL_IN_history:
        talk_on_history(t, doc, id);
        break;
    case PROTOCOL_IN_cancel:
    case PROTOCOL_IN_retry:
        talk_on_job(t, doc, id, op == PROTOCOL_IN_retry);
        break;
    case PROTOCOL_IN_ping:
        on_ping(t, id);
        break;
    case PROTOCOL_IN_NONE:
        talk_error(t, id, "INVALID", NULL,
                   "op: auth, token, subscribe, unsubscribe, history, cancel, retry or ping is needed");
    }
}

static void on_document(struct talk *t, const json_t *doc)
{
    const json_t *id = json_object_get(doc, "id");
    const char *op = json_string_value(json_object_get(doc, "op"));
    enum protocol_in in = op ? protocol_in(op) : PROTOCOL_IN_NONE;
    bool good_id =
        !id || json_is_integer(id) || json_is_null(id) || (json_is_string(id) && json_string_length(id) <= TALK_ID_MAX);
    if (!good_id)
        talk_error(t, NULL, "INVALID", NULL, "id: a whole number or a text of at most 64 bytes is needed");
    else if (!t->known && in != PROTOCOL_IN_auth && in != PROTOCOL_IN_token)
        talk_error(t, id, "UNAUTHENTICATED", NULL, "op auth with a token must come first");
    else
        on_op(t, in, doc, id);
}

void talk_message(struct talk *t, struct tl_str text)
{
    struct tl_str rest = text, line;
    size_t n = 0;
    while (!t->closing && tl_str_split(&rest, '\n', &line)) {
        line = tl_str_trim(line);
        if (line.n == 0) continue;
        if (++n > TALK_DOCUMENTS_MAX) {
            talk_error(t, NULL, "TOO_LARGE", NULL, "more than 100 documents in one message: the rest is not looked at");
            return;
        }
        json_error_t bad;
        json_t *doc = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &bad);
        if (json_is_object(doc))
            on_document(t, doc);
        else
            talk_error(t, NULL, "PARSE", NULL, doc ? "an object is needed" : bad.text);
        json_decref(doc);
    }
}

/* ---- life ---- */

void talk_begin(struct talk *t, struct api *api, const struct talk_transport *to, const struct tl_identity *who)
{
    const struct feed_sink sink = {.event = sink_event,
                                   .document = sink_document,
                                   .backlog = sink_backlog,
                                   .tell_drained = sink_tell_drained,
                                   .ctx = t};
    *t = (struct talk){.api = api, .to = *to, .deadline.ring = on_deadline};
    tl_buf_init(&t->waiting, TALK_WAITING_MAX);
    feed_init(&t->feed, api, &sink);
    if (!who) {
        set_deadline(t, AUTH_MS);
        return;
    }
    t->who = *who;
    welcome(t, NULL);
}

void talk_drained(struct talk *t)
{
    if (t->closing) return;
    if (t->waiting.n) {
        enum tl_status st = t->to.text(t->to.ctx, tl_buf_str(&t->waiting));
        if (st == TL_NOMEM) hang_up(t, PROTOCOL_CLOSE_MEMORY, "out of memory");
        if (st != TL_OK) return; /* FULL: this is called again */
        tl_buf_release(&t->waiting);
        tl_buf_init(&t->waiting, TALK_WAITING_MAX);
    }
    feed_drained(&t->feed);
}

void talk_bye(struct talk *t, uint32_t retry_ms)
{
    struct tl_buf b;
    if (t->closing) return;
    protocol_bye(&b, "the server is going away", retry_ms);
    if (!b.failed) (void)!t->to.text(t->to.ctx, tl_buf_str(&b)); /* the close frame says it, too */
    tl_buf_release(&b);
    hang_up(t, PROTOCOL_CLOSE_AWAY, "the server is going away");
}

void talk_end(struct talk *t)
{
    t->closing = true;
    feed_release(&t->feed);
    tl_alarm_clear(t->api->cache->alarms, &t->deadline);
    talk_forget_asked(t);
    tl_buf_release(&t->waiting);
}
