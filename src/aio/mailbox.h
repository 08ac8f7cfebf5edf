/* SPDX-License-Identifier: Apache-2.0 */
/* Handing things from any thread to the loop thread: posted mails are delivered there, in the order of posting. */
#ifndef TL_AIO_MAILBOX_H
#define TL_AIO_MAILBOX_H

#include <tierline/status.h>
#include <uv.h>

struct tl_mailbox;

/* [pinned] from post until deliver is called, which may free it. */
struct tl_mail {
    void (*deliver)(struct tl_mail *);
    struct tl_mail *next; /* the mailbox's */
};

TL_MUSTCHECK enum tl_status tl_mailbox_start(uv_loop_t *, struct tl_mailbox **out, struct tl_err *err);
/* Any thread. Nothing may be posted once close was called. */
void tl_mailbox_post(struct tl_mailbox *, struct tl_mail *);
/* Loop thread. Delivers what was posted, then calls cb and frees. */
void tl_mailbox_close(struct tl_mailbox *, void (*cb)(void *ctx), void *ctx);

#endif
