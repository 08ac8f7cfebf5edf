/* SPDX-License-Identifier: Apache-2.0 */
/* The data of a task's state: names of the states, writing, reading. What comes from the wire is untrusted: texts are
 * cut to their places at a character's end, numbers are clamped to what they count. Pure. */
#include "event/bus.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static const char *const state_names[] = {
    [TL_TASK_QUEUED] = "queued",         [TL_TASK_RUNNING] = "running",     [TL_TASK_STALLED] = "stalled",
    [TL_TASK_CANCELLING] = "cancelling", [TL_TASK_COMPLETED] = "completed", [TL_TASK_FAILED] = "failed",
    [TL_TASK_CANCELLED] = "cancelled"};

const char *tl_task_state_name(enum tl_task_state s)
{
    return (unsigned)s < TL_COUNT(state_names) ? state_names[s] : "unknown";
}

bool tl_task_state_parse(struct tl_str text, enum tl_task_state *out)
{
    for (size_t i = 0; i < TL_COUNT(state_names); i++) {
        if (!tl_str_eq(text, tl_str(state_names[i]))) continue;
        *out = (enum tl_task_state)i;
        return true;
    }
    return false;
}

static void count(struct tl_json *j, const char *key, uint64_t v)
{
    tl_json_key(j, key);
    tl_json_u64(j, TL_MIN(v, (uint64_t)INT64_MAX));
}

void tl_task_progress_json(struct tl_buf *out, const char *id, const char *name, const struct tl_task_progress *p)
{
    struct tl_json j;
    tl_json_init(&j, out);
    tl_json_object(&j);
    tl_json_key(&j, "task");
    tl_json_cstr(&j, id);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, name);
    tl_json_key(&j, "state");
    tl_json_cstr(&j, tl_task_state_name(p->state));
    count(&j, "done", p->done);
    count(&j, "total", p->total);
    count(&j, "failed", p->failed);
    count(&j, "skipped", p->skipped);
    count(&j, "from_cache", p->from_cache);
    count(&j, "computed", p->computed);
    count(&j, "waited", p->waited);
    tl_json_key(&j, "rate");
    tl_json_num(&j, isfinite(p->rate) ? p->rate : 0);
    tl_json_key(&j, "eta_ms");
    if (p->eta_ms < 0)
        tl_json_null(&j);
    else
        tl_json_i64(&j, p->eta_ms);
    tl_json_key(&j, "item");
    tl_json_cstr(&j, p->item);
    tl_json_key(&j, "elapsed_ms");
    tl_json_i64(&j, p->elapsed_ms);
    if (p->error[0]) {
        tl_json_key(&j, "error");
        tl_json_cstr(&j, p->error);
    }
    tl_json_object_end(&j);
}

/* Never ends within a character. */
static void text_of(const json_t *root, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(root, key));
    size_t n = text ? strlen(text) : 0;
    if (n >= cap)
        for (n = cap - 1; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80;) n--;
    if (n) memcpy(out, text, n);
    out[n] = '\0';
}

static uint64_t count_of(const json_t *root, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(root, key));
    return v > 0 ? (uint64_t)v : 0;
}

enum tl_status tl_task_progress_parse(struct tl_str json, char id[TL_TOPIC_MAX + 1], char name[72],
                                      struct tl_task_progress *out, struct tl_err *err)
{
    json_error_t why;
    *out = (struct tl_task_progress){.eta_ms = -1};
    id[0] = name[0] = '\0';
    if (json.n > TL_EVENT_BYTES_MAX)
        return tl_fail(err, TL_INVALID, "the state of a task in %zu bytes: at most %d", json.n, TL_EVENT_BYTES_MAX);
    json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &why);
    enum tl_status st = TL_OK;
    if (!json_is_object(root))
        st = tl_fail(err, TL_INVALID, "not the state of a task: %.150s", root ? "not an object" : why.text);
    const char *state = json_string_value(json_object_get(root, "state"));
    const json_t *eta = json_object_get(root, "eta_ms");
    if (st == TL_OK && (!state || !tl_task_state_parse(tl_str(state), &out->state)))
        st = tl_fail(err, TL_INVALID, "the state of a task is \"%.40s\"", state ? state : "");
    if (st == TL_OK) {
        text_of(root, "task", id, TL_TOPIC_MAX + 1);
        text_of(root, "name", name, 72);
        text_of(root, "item", out->item, sizeof out->item);
        text_of(root, "error", out->error, sizeof out->error);
        out->done = count_of(root, "done");
        out->total = count_of(root, "total");
        out->failed = count_of(root, "failed");
        out->skipped = count_of(root, "skipped");
        out->from_cache = count_of(root, "from_cache");
        out->computed = count_of(root, "computed");
        out->waited = count_of(root, "waited");
        out->elapsed_ms = (int64_t)count_of(root, "elapsed_ms");
        double rate = json_number_value(json_object_get(root, "rate"));
        out->rate = rate > 0 ? rate : 0;
        if (json_is_integer(eta) && json_integer_value(eta) >= 0) out->eta_ms = json_integer_value(eta);
    }
    json_decref(root);
    return st;
}
