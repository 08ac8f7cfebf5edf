/* SPDX-License-Identifier: Apache-2.0 */
/* One conversation of tierline.v1, whatever carries it: who it is with, what it has subscribed to, what is under way
 * for it. Loop thread. */
#ifndef TL_SERVER_TALK_H
#define TL_SERVER_TALK_H

#include "server/feed.h"

#include <jansson.h>

enum {
    TALK_DOCUMENTS_MAX = 100,  /* in one message */
    TALK_ID_MAX = 64,          /* bytes of a document's "id" */
    TALK_WAITING_MAX = 65536,  /* bytes of answers that wait for a slow reader */
    TALK_ASKED_MAX = 4,        /* history, cancel, retry under way at once */
    TALK_HISTORY_MAX = 500,    /* events asked for at once */
    TALK_HISTORY_BYTES = 65536 /* an answer goes on no further than that */
};

/* What carries it. close: what was handed over before still goes; nothing is handed over after it. */
struct talk_transport {
    enum tl_status (*text)(void *ctx, struct tl_str);                       /* FULL: talk_drained will be called */
    enum tl_status (*event)(void *ctx, struct tl_event *, const char *via); /* the same */
    size_t (*backlog)(void *ctx);                                           /* bytes that wait for the reader */
    void (*tell_drained)(void *ctx);                                        /* talk_drained once nothing waits */
    void (*close)(void *ctx, unsigned code, const char *why);
    void *ctx;
};

struct talk {
    struct api *api;
    struct talk_transport to;
    struct tl_identity who;
    bool known;   /* who it is */
    bool closing; /* nothing more is answered */
    struct feed feed;
    struct tl_alarm deadline; /* of authentication, then the end of its token */
    struct tl_buf waiting;    /* answers that found no room, a line each */
    struct talk_asked *asked; /* under way for it */
    size_t n_asked;
};

/* [pinned] until talk_end. who NULL: it will say so in its first message. */
void talk_begin(struct talk *, struct api *, const struct talk_transport *, const struct tl_identity *who);
/* A message: a document a line. */
void talk_message(struct talk *, struct tl_str text);
void talk_drained(struct talk *);
void talk_bye(struct talk *, uint32_t retry_ms);
/* What carried it is gone. */
void talk_end(struct talk *);

/* ---- between the files of it ---- */

/* An answer begins; id: of the document that it answers, NULL: none. */
void talk_begin_answer(struct tl_buf *, struct tl_json *, enum protocol_out, const json_t *id);
/* Closes the object, sends it or lets it wait, releases the buffer. Never lost: one who takes none is closed. */
void talk_answer(struct talk *, struct tl_buf *, struct tl_json *);
void talk_error(struct talk *, const json_t *id, const char *code, const char *topic, const char *detail);
/* talk_ops.c: what takes a while. */
void talk_on_history(struct talk *, const json_t *doc, const json_t *id);
void talk_on_job(struct talk *, const json_t *doc, const json_t *id, bool retry);
void talk_forget_asked(struct talk *);

#endif
