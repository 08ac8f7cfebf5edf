/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes and states of tasks from any bytes: the parsers end, and either say why not, or give what reads back to the
 * same. The first byte chooses. */
#include "base/util.h"
#include "event/bus.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void envelope(struct tl_str text)
{
    struct tl_event *e, *again;
    struct tl_err err = {0};
    enum tl_status st = tl_event_parse(text, &e, &err);
    if (st != TL_OK) {
        TL_ASSERT(st == TL_INVALID && !e && err.text[0]);
        return;
    }
    TL_ASSERT(e->n == strlen(e->json) && e->n <= TL_EVENT_BYTES_MAX);
    TL_ASSERT(tl_event_parse((struct tl_str){e->json, e->n}, &again, NULL) == TL_OK);
    TL_ASSERT(strcmp(e->json, again->json) == 0 && e->kind == again->kind && e->time_ms == again->time_ms);
    TL_ASSERT(tl_position_cmp(e->position, again->position) == 0 && strcmp(e->topic, again->topic) == 0);
    TL_ASSERT(tl_str_eq(tl_event_data(e), tl_event_data(again)));
    tl_event_unref(e);
    tl_event_unref(again);
}

static void progress(struct tl_str text)
{
    char id[TL_TOPIC_MAX + 1], name[72], id2[TL_TOPIC_MAX + 1], name2[72];
    struct tl_task_progress p, q;
    struct tl_buf out, out2;
    if (tl_task_progress_parse(text, id, name, &p, NULL) != TL_OK) return;
    tl_buf_init(&out, 0);
    tl_buf_init(&out2, 0);
    tl_task_progress_json(&out, id, name, &p);
    TL_ASSERT(!out.failed && tl_task_progress_parse(tl_buf_str(&out), id2, name2, &q, NULL) == TL_OK);
    tl_task_progress_json(&out2, id2, name2, &q);
    TL_ASSERT(tl_str_eq(tl_buf_str(&out), tl_buf_str(&out2)));
    tl_buf_release(&out);
    tl_buf_release(&out2);
}

static void position(struct tl_str text)
{
    struct tl_position p;
    char out[TL_POSITION_MAX];
    if (!tl_position_parse(text, &p)) return;
    tl_position_format(p, out);
    TL_ASSERT(tl_str_eq(text, tl_str(out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    char *copy = tl_calloc(size - 1, 1); /* its end is its end: reading on is seen */
    TL_ASSERT(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct tl_str text = {copy, size - 1};
    if (data[0] % 3 == 0)
        envelope(text);
    else if (data[0] % 3 == 1)
        progress(text);
    else
        position(text);
    free(copy);
    return 0;
}
