/* SPDX-License-Identifier: Apache-2.0 */
/* What lending (lend.c) and the end of a lease (lend_back.c) have in common. */
#ifndef TL_SCHEDULE_LEND_I_H
#define TL_SCHEDULE_LEND_I_H

#include "schedule/lend.h"

struct local { /* lent without a Redis */
    uint64_t nonce, until_ns;
};
/* Where no Redis says so: who has it, if anybody. [borrow: until it has run out] */
struct local *tl_lend_local_of(struct tl_scheduler *, struct tl_str key);
/* A lease of Redis lasts that long from now; 0: it is over. */
void tl_lend_note_shared(struct tl_scheduler *, const struct tl_cache_key *, uint32_t lease_ms);
/* Fills in the usual one. INVALID. */
TL_MUSTCHECK enum tl_status tl_lend_check_ms(uint32_t *lease_ms, struct tl_err *err);

#endif
