/* SPDX-License-Identifier: Apache-2.0 */
/* Telling whoever publishes a task something: in this process at once, in others by channel:task:control. What this
 * process has said itself is passed over when it comes back. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum { OP_MAX = 32 };

struct control_op {
    struct tl_bus *bus;
    struct tl_control *op;
    struct tl_soon soon;
    struct tl_redis_cmd cmd;
    struct tl_str argv[3];
    struct tl_event *event; /* [ref] what is sent */
    char id[TASK_ID_MAX + 1], name[OP_MAX + 1];
    enum tl_status status;
    bool sent; /* the command is under way */
    struct control_op *prev, *next;
};

static struct tl_task *publisher(struct tl_bus *b, const char *id)
{
    for (struct tl_task *k = b->terms; k; k = k->next)
        if (!k->gone && k->phase != TASK_FENCED && strcmp(k->id, id) == 0) return k;
    return NULL;
}

/* true: it is here. */
static bool tell(struct tl_bus *b, const char *id, const char *op)
{
    struct tl_task *k = publisher(b, id);
    if (k && k->opt.on_control) k->opt.on_control(k->opt.ctx, op); /* may end it */
    return k != NULL;
}

static void end(struct control_op *c, enum tl_status status)
{
    struct tl_bus *b = c->bus;
    struct tl_control *op = c->op;
    if (c->prev)
        c->prev->next = c->next;
    else
        b->controls = c->next;
    if (c->next) c->next->prev = c->prev;
    tl_soon_cancel(b->alarms, &c->soon);
    tl_event_unref(c->event);
    op->state = NULL;
    free(c);
    op->cb(op, status);
}

static void on_published(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                         const struct tl_err *err)
{
    struct control_op *c = cmd->user;
    struct tl_bus *b = c->bus;
    (void)reply;
    (void)err;
    b->commands--;
    c->sent = false;
    end(c, c->status == TL_OK ? TL_OK : status);
    bus_check_closed(b);
}

static void on_soon(struct tl_soon *s)
{
    struct control_op *c = CONTAINER(s, struct control_op, soon);
    struct tl_bus *b = c->bus;
    if (tell(b, c->id, c->name)) c->status = TL_OK;
    if (!b->redis || b->closing) {
        end(c, b->closing ? TL_CANCELLED : c->status);
        return;
    }
    struct tl_str argv[] = {TL_STR("PUBLISH"), tl_str(b->channels[2]), {c->event->json, c->event->n}};
    memcpy(c->argv, argv, sizeof argv);
    c->cmd = (struct tl_redis_cmd){.argv = c->argv, .argc = TL_COUNT(argv), .cb = on_published, .user = c};
    enum tl_status st = tl_redis_submit(b->redis, &c->cmd, b->timeout_ms, NULL);
    if (st == TL_OK) {
        c->sent = true;
        b->commands++;
    } else {
        end(c, c->status == TL_OK ? TL_OK : st);
    }
}

static bool op_ok(const char *op)
{
    size_t n = op ? strlen(op) : 0;
    return n >= 1 && n <= OP_MAX && strspn(op, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}

static struct tl_event *message(struct tl_bus *b, const char *id, const char *op)
{
    char topic[TL_TOPIC_MAX + 1], data[64];
    snprintf(topic, sizeof topic, "task/%s", id);
    snprintf(data, sizeof data, "{\"op\":\"%s\"}", op);
    return tl_event_new(topic, TL_TYPE_CONTROL, (struct tl_position){0, 0}, b->instance, bus_now_ms(b), tl_str(data));
}

enum tl_status tl_bus_control(struct tl_bus *b, struct tl_control *op, const char *id, const char *name,
                              struct tl_err *err)
{
    if (b->closing) return tl_fail(err, TL_CANCELLED, "the bus is being closed");
    if (!task_id_ok(id)) return tl_fail(err, TL_INVALID, "task id \"%.120s\"", id ? id : "");
    if (!op_ok(name))
        return tl_fail(err, TL_INVALID, "\"%.60s\" cannot be asked of a task: 1 to %d of a-z, 0-9, _ . -",
                       name ? name : "", OP_MAX);
    struct control_op *c = tl_calloc(1, sizeof *c);
    struct tl_event *e = c ? message(b, id, name) : NULL;
    if (!e) {
        free(c);
        return tl_fail(err, TL_NOMEM, "no memory for a message");
    }
    *c = (struct control_op){.bus = b, .op = op, .event = e, .soon.call = on_soon, .status = TL_NOT_FOUND};
    snprintf(c->id, sizeof c->id, "%s", id);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->next = b->controls;
    if (b->controls) b->controls->prev = c;
    b->controls = c;
    op->state = c;
    tl_soon_call(b->alarms, &c->soon);
    return TL_OK;
}

void control_message(struct tl_bus *b, struct tl_str payload)
{
    struct tl_event *e;
    char source[40];
    if (tl_event_parse(payload, &e, NULL) != TL_OK) return;
    snprintf(source, sizeof source, "\"tierline/%016" PRIx64 "\"", b->instance);
    bool ours = memmem(e->json, e->n, source, strlen(source)) != NULL;
    struct tl_str data = tl_event_data(e);
    json_t *root = !ours && strcmp(e->type, TL_TYPE_CONTROL) == 0 && strncmp(e->topic, "task/", 5) == 0
                       ? json_loadb(data.p, data.n, 0, NULL)
                       : NULL;
    const char *op = json_string_value(json_object_get(root, "op"));
    if (op_ok(op)) (void)tell(b, e->topic + 5, op);
    json_decref(root);
    tl_event_unref(e);
}

void controls_end(struct tl_bus *b)
{
    for (struct control_op *c = b->controls, *next; c; c = next) {
        next = c->next;
        if (!c->sent) end(c, TL_CANCELLED);
    }
}
