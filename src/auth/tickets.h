/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets that stand for an identity, once and shortly. Inside src/auth only. */
#ifndef TL_AUTH_TICKETS_H
#define TL_AUTH_TICKETS_H

#include "auth/auth.h"
#include "base/map.h"

enum { TL_TICKETS_MAX = 10000 };

struct tl_ticket;
struct tl_tickets {
    struct tl_map *by_hash;         /* SHA-256 of the ticket -> struct tl_ticket */
    struct tl_ticket *first, *last; /* the oldest is first, and expires first: all live equally long */
    uint64_t live_ns;
};

TL_MUSTCHECK enum tl_status tl_tickets_init(struct tl_tickets *, uint32_t live_ms, struct tl_err *err);
void tl_tickets_release(struct tl_tickets *);
TL_MUSTCHECK enum tl_status tl_tickets_issue(struct tl_tickets *, const struct tl_identity *, uint64_t now_ns,
                                             char out[TL_TICKET_MAX], struct tl_err *err);
/* DENIED. now_ms: the identity behind it may have expired. */
TL_MUSTCHECK enum tl_status tl_tickets_redeem(struct tl_tickets *, struct tl_str ticket, uint64_t now_ns,
                                              int64_t now_ms, struct tl_identity *out, struct tl_err *err);

#endif
