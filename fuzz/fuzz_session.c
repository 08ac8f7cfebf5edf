/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of tierline.v1 may say, over a transport that takes as much or as little as the input says. Every
 * document gets an answer (or waits, or the conversation is over), everything that goes out is lines of JSON objects
 * with a word of the table or whole envelopes, nothing goes out after the close, no reader's share is overdrawn, and in
 * the end nothing is subscribed to.
 *
 * First byte: who it is, and how much the transport takes. Then messages; the byte below 9 that ends one says what
 * happens next. $T in a message is a token that is valid, $P a position that is known. */
#include "base/err.h"
#include "base/util.h"
#include "cache/cache.h"
#include "server/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { QUEUE_BYTES = 256 * 1024, TURNS = 4 };

static struct { /* made once: a bus with a task that has a past, in a cache of memory alone */
    uv_loop_t loop;
    struct api api;
    struct tl_task *task;
    struct tl_topic_source market;
    char token[TL_TOKEN_MAX], position[TL_POSITION_MAX];
} world;

struct wire {
    struct talk talk;
    size_t room, queued, answers;
    bool full, told, closed;
};

static void turn(unsigned n)
{
    while (n--) uv_run(&world.loop, UV_RUN_NOWAIT);
}

/* ---- what goes out ---- */

static void check_line(struct tl_str line)
{
    json_error_t bad;
    json_t *doc = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &bad);
    const char *op = json_string_value(json_object_get(doc, "op"));
    bool known = false;
    TL_ASSERT(json_is_object(doc));
    for (int i = 0; op && i <= PROTOCOL_bye; i++)
        known = known || strcmp(op, protocol_out_name((enum protocol_out)i)) == 0;
    TL_ASSERT(known || (!op && json_is_string(json_object_get(doc, "specversion"))));
    if (op && strcmp(op, "error") == 0) TL_ASSERT(json_string_length(json_object_get(doc, "detail")) > 0);
    json_decref(doc);
}

static enum tl_status take(struct wire *w, size_t n)
{
    TL_ASSERT(!w->closed);
    if (w->queued > 0 && w->queued + n > w->room) {
        w->full = true;
        return TL_FULL;
    }
    w->queued += n;
    return TL_OK;
}

static enum tl_status wire_text(void *ctx, struct tl_str text)
{
    struct wire *w = ctx;
    struct tl_str rest = text, line;
    while (tl_str_split(&rest, '\n', &line)) check_line(line);
    enum tl_status st = take(w, text.n);
    if (st == TL_OK) w->answers++;
    return st;
}

static enum tl_status wire_event(void *ctx, struct tl_event *e, const char *via)
{
    struct tl_buf b;
    tl_buf_init(&b, 0);
    if (via) {
        TL_ASSERT(strcmp(via, "tasks") == 0 && strncmp(e->topic, "task/", 5) == 0);
        protocol_put_via(&b, (struct tl_str){e->json, e->n}, via);
        check_line(tl_buf_str(&b));
    } else {
        check_line((struct tl_str){e->json, e->n});
    }
    tl_buf_release(&b);
    return take(ctx, e->n);
}

static size_t wire_backlog(void *ctx)
{
    return ((struct wire *)ctx)->queued;
}

static void wire_tell_drained(void *ctx)
{
    ((struct wire *)ctx)->told = true;
}

static void wire_close(void *ctx, unsigned code, const char *why)
{
    struct wire *w = ctx;
    TL_ASSERT(!w->closed && code >= 1000 && code <= 4999 && strlen(why) < 124);
    w->closed = true;
}

static void drain(struct wire *w)
{
    for (int i = 0; i < 3 && !w->closed; i++) {
        bool tell = w->full || w->told;
        w->queued = 0;
        w->full = w->told = false;
        if (tell) talk_drained(&w->talk);
        turn(1);
    }
}

/* ---- what comes in ---- */

static size_t asked_and_waiting(const struct wire *w)
{
    return w->answers + w->talk.waiting.n + w->talk.n_asked + w->closed;
}

static void say(struct wire *w, struct tl_str raw)
{
    struct tl_buf b;
    tl_buf_init(&b, 0);
    for (size_t i = 0; i < raw.n; i++) {
        char next = i + 1 < raw.n && raw.p[i] == '$' ? raw.p[i + 1] : '\0';
        if (next == 'T' || next == 'P') {
            tl_buf_puts(&b, next == 'T' ? world.token : world.position);
            i++;
        } else {
            tl_buf_putc(&b, raw.p[i]);
        }
    }
    struct tl_str text = tl_buf_str(&b);
    size_t before = asked_and_waiting(w);
    if (!w->closed) talk_message(&w->talk, text);
    bool blank = true;
    for (size_t i = 0; i < text.n; i++) blank = blank && strchr(" \t\r\n\v\f", text.p[i]) && text.p[i];
    TL_ASSERT(blank || w->closed || asked_and_waiting(w) > before);
    TL_ASSERT(w->talk.waiting.n <= TALK_WAITING_MAX && w->talk.n_asked <= TALK_ASKED_MAX);
    TL_ASSERT(w->talk.feed.n_subs <= FEED_TOPICS_MAX && w->talk.feed.n_pending <= FEED_PENDING_MAX);
    tl_buf_release(&b);
}

static void act(struct wire *w, unsigned what)
{
    struct tl_task_progress p = {.state = TL_TASK_RUNNING, .done = w->answers, .total = 9, .eta_ms = -1};
    switch (what) {
    case 1:
        turn(TURNS);
        break;
    case 2:
        drain(w);
        break;
    case 3:
        (void)!tl_task_event(world.task, "task.item.failed.v1", TL_STR("{\"item\":\"S\",\"error\":\"\\u00e9\"}"), NULL);
        break;
    case 4:
        tl_task_progress(world.task, &p);
        break;
    case 5:
        for (int i = 0; i < 20; i++)
            tl_bus_publish(world.api.bus, "market/A", "market.update.v1", TL_STR("{\"symbol\":\"A\",\"bars\":1}"));
        turn(1);
        break;
    case 6:
        talk_bye(&w->talk, 1000);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t rooms[] = {QUEUE_BYTES, 20000, 600, 1};
    static struct wire w; /* callbacks point into it */
    if (size < 2) return 0;
    struct tl_identity who = {
        .may = TL_MAY_READ | (data[0] & 2u ? TL_MAY_WRITE : 0u), .name = "fuzz", .expires_ms = INT64_MAX};
    const struct talk_transport to = {.text = wire_text,
                                      .event = wire_event,
                                      .backlog = wire_backlog,
                                      .tell_drained = wire_tell_drained,
                                      .close = wire_close,
                                      .ctx = &w};
    w = (struct wire){.room = rooms[data[0] >> 2 & 3]};
    talk_begin(&w.talk, &world.api, &to, data[0] & 1 ? &who : NULL);
    for (size_t at = 1; at < size;) {
        size_t end = at;
        while (end < size && data[end] > 8) end++;
        say(&w, (struct tl_str){(const char *)data + at, end - at});
        if (end < size) act(&w, data[end]);
        at = end + 1;
    }
    turn(TURNS);
    drain(&w);
    w.closed = w.closed || w.talk.closing;
    talk_end(&w.talk);
    turn(TURNS);
    struct tl_bus_stats s;
    tl_bus_stats(world.api.bus, &s);
    TL_ASSERT(s.subscriptions == 0);
    return 0;
}

/* ---- the world ---- */

static enum tl_status check_market(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    (void)ctx;
    if (!topic[strlen("market/")]) return tl_fail(err, TL_INVALID, "no symbol");
    snprintf(out, TL_TOPIC_MAX + 1, "market/%c", topic[strlen("market/")] & ~0x20 ? 'A' : 'B');
    return TL_OK;
}

static char tokens_file[] = "/tmp/tl-fuzz-tokens-XXXXXX";

static void remove_tokens(void)
{
    unlink(tokens_file);
}

static void make_token(struct tl_err *err)
{
    int fd = mkstemp(tokens_file);
    TL_ASSERT(fd >= 0 && atexit(remove_tokens) == 0);
    close(fd);
    TL_ASSERT(tl_tokens_create(tokens_file, "fuzz", TL_MAY_READ, INT64_MAX, 0, world.token, err) == TL_OK);
    const struct tl_auth_options o = {.tokens_file = tokens_file, .clock = &tl_clock_system};
    TL_ASSERT(tl_auth_open(&o, &world.api.auth, err) == TL_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct tl_cache_options co = {.log_level = -1, .memory_bytes = 8u << 20};
    const struct tl_bus_options bo = {.ring_events = 50, .tasks_max = 20};
    const struct tl_task_options to = {.id = "a", .name = "fuzz"};
    struct tl_err err;
    (void)argc, (void)argv;
    TL_ASSERT(uv_loop_init(&world.loop) == 0);
    TL_ASSERT(tl_cache_open(&world.loop, &co, &world.api.cache, &err) == TL_OK);
    TL_ASSERT(tl_bus_open(world.api.cache, &bo, &world.api.bus, &err) == TL_OK);
    world.market = (struct tl_topic_source){.prefix = "market/", .check = check_market};
    TL_ASSERT(tl_bus_source(world.api.bus, &world.market) == TL_OK);
    world.api.clock = &tl_clock_system;
    world.api.loop = &world.loop;
    make_token(&err);
    TL_ASSERT(tl_task_open(world.api.bus, &to, &world.task, &err) == TL_OK);
    for (int i = 0; i < 100; i++)
        TL_ASSERT(tl_task_event(world.task, "task.item.completed.v1", TL_STR("{\"item\":\"S\"}"), &err) == TL_OK);
    turn(20);
    struct tl_position p = tl_task_position(world.task);
    TL_ASSERT(p.seq == 100);
    p.seq -= 10;
    tl_position_format(p, world.position);
    return 0;
}
