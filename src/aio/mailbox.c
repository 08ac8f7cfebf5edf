/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox: a list under a lock and an async handle. `lock` guards the list alone. A post wakes the loop inside the
 * lock, so the handle is never used after the loop has taken the last mail and closed it. */
#include "aio/mailbox.h"

#include "base/err.h"
#include "base/util.h"

struct tl_mailbox {
    uv_async_t wake;
    uv_mutex_t lock;
    struct tl_mail *head, **tail;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void deliver_all(struct tl_mailbox *box)
{
    uv_mutex_lock(&box->lock);
    struct tl_mail *m = box->head;
    box->head = NULL;
    box->tail = &box->head;
    uv_mutex_unlock(&box->lock);
    while (m) {
        struct tl_mail *next = m->next;
        m->deliver(m);
        m = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    deliver_all(wake->data);
}

enum tl_status tl_mailbox_start(uv_loop_t *loop, struct tl_mailbox **out, struct tl_err *err)
{
    struct tl_mailbox *box = tl_calloc(1, sizeof *box);
    if (!box) return tl_fail(err, TL_NOMEM, "no memory for a mailbox");
    box->tail = &box->head;
    box->wake.data = box;
    int rc = uv_mutex_init(&box->lock);
    if (rc == 0 && (rc = uv_async_init(loop, &box->wake, on_wake)) != 0) uv_mutex_destroy(&box->lock);
    if (rc != 0) {
        free(box);
        return tl_fail(err, TL_IO, "cannot make a mailbox: %s", uv_strerror(rc));
    }
    *out = box;
    return TL_OK;
}

void tl_mailbox_post(struct tl_mailbox *box, struct tl_mail *mail)
{
    mail->next = NULL;
    uv_mutex_lock(&box->lock);
    *box->tail = mail;
    box->tail = &mail->next;
    uv_async_send(&box->wake);
    uv_mutex_unlock(&box->lock);
}

static void on_closed(uv_handle_t *handle)
{
    struct tl_mailbox *box = handle->data;
    void (*cb)(void *) = box->closed;
    void *ctx = box->closed_ctx;
    uv_mutex_destroy(&box->lock);
    free(box);
    if (cb) cb(ctx);
}

void tl_mailbox_close(struct tl_mailbox *box, void (*cb)(void *ctx), void *ctx)
{
    deliver_all(box);
    box->closed = cb;
    box->closed_ctx = ctx;
    uv_close((uv_handle_t *)&box->wake, on_closed);
}
