/* SPDX-License-Identifier: Apache-2.0 */
/* Single-use tickets. Invariants: a ticket is in the table and in the list or in neither; the list is in the order of
 * their ends; the table knows hashes alone, so that neither memory nor the time of a look-up tells a ticket. Redeeming
 * takes a ticket out before it is looked at any closer: whatever comes of it, it was used. They are this process's and
 * end with it. */
#include "auth/tickets.h"
#include "auth/text.h"

#include "base/err.h"
#include "base/util.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>

enum { RANDOM_BYTES = 32, DEFAULT_MS = 30000 };

struct tl_ticket {
    struct tl_ticket *prev, *next;
    struct tl_identity identity;
    uint64_t until_ns;
    unsigned char hash[TL_SHA256];
};

enum tl_status tl_tickets_init(struct tl_tickets *t, uint32_t live_ms, struct tl_err *err)
{
    *t = (struct tl_tickets){.by_hash = tl_map_new(), .live_ns = (live_ms ? live_ms : DEFAULT_MS) * UINT64_C(1000000)};
    return t->by_hash ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for tickets");
}

static struct tl_str key_of(const unsigned char hash[TL_SHA256])
{
    return (struct tl_str){(const char *)hash, TL_SHA256};
}

static void drop(struct tl_tickets *t, struct tl_ticket *k)
{
    bool there = tl_map_remove(t->by_hash, key_of(k->hash));
    TL_ASSERT(there);
    if (k == t->first)
        t->first = k->next;
    else
        k->prev->next = k->next;
    if (k == t->last)
        t->last = k->prev;
    else
        k->next->prev = k->prev;
    free(k);
}

void tl_tickets_release(struct tl_tickets *t)
{
    while (t->first) drop(t, t->first);
    tl_map_free(t->by_hash);
    *t = (struct tl_tickets){0};
}

static void append(struct tl_tickets *t, struct tl_ticket *k)
{
    k->prev = t->last;
    if (t->last)
        t->last->next = k;
    else
        t->first = k;
    t->last = k;
}

enum tl_status tl_tickets_issue(struct tl_tickets *t, const struct tl_identity *id, uint64_t now_ns,
                                char out[TL_TICKET_MAX], struct tl_err *err)
{
    unsigned char raw[RANDOM_BYTES];
    bool fresh = false;
    out[0] = '\0';
    while (t->first && (t->first->until_ns <= now_ns || tl_map_count(t->by_hash) >= TL_TICKETS_MAX)) drop(t, t->first);
    struct tl_ticket *k = tl_calloc(1, sizeof *k);
    if (!k) return tl_fail(err, TL_NOMEM, "no memory for a ticket");
    k->identity = *id;
    k->until_ns = now_ns + t->live_ns;
    char text[TL_TICKET_MAX];
    bool made = RAND_priv_bytes(raw, sizeof raw) == 1;
    tl_base64url(raw, sizeof raw, text);
    OPENSSL_cleanse(raw, sizeof raw);
    if (!made || !tl_sha256(tl_str(text), TL_STR(""), k->hash)) {
        ERR_clear_error();
        free(k);
        return tl_fail(err, TL_INTERNAL, "no random numbers for a ticket");
    }
    void **slot = tl_map_put(t->by_hash, key_of(k->hash), &fresh);
    if (!slot) {
        free(k);
        return tl_fail(err, TL_NOMEM, "no memory for a ticket");
    }
    TL_ASSERT(fresh);
    *slot = k;
    append(t, k);
    memcpy(out, text, sizeof text);
    return TL_OK;
}

enum tl_status tl_tickets_redeem(struct tl_tickets *t, struct tl_str ticket, uint64_t now_ns, int64_t now_ms,
                                 struct tl_identity *out, struct tl_err *err)
{
    unsigned char hash[TL_SHA256];
    if (ticket.n != TL_TICKET_MAX - 1) return tl_fail(err, TL_DENIED, "a ticket of another length");
    if (!tl_sha256(ticket, TL_STR(""), hash)) return tl_fail(err, TL_INTERNAL, "no SHA-256");
    void **slot = tl_map_get(t->by_hash, key_of(hash));
    if (!slot) return tl_fail(err, TL_DENIED, "the ticket is not known, or was used");
    struct tl_ticket *k = *slot;
    struct tl_identity id = k->identity;
    bool over = k->until_ns <= now_ns;
    drop(t, k);
    if (over) return tl_fail(err, TL_DENIED, "the ticket has expired");
    if (id.expires_ms <= now_ms) return tl_fail(err, TL_DENIED, "what the ticket stands for has expired");
    *out = id;
    return TL_OK;
}
