/* SPDX-License-Identifier: Apache-2.0 */
/* One script call of a group: its arguments are written one behind the other and sent together. exchange.c has what is
 * common and the renewal, acquire.c the question and what others announce, commit.c the handing in. */
#ifndef TL_SCHEDULE_EXCHANGE_H
#define TL_SCHEDULE_EXCHANGE_H

#include "schedule/once.h"

struct once_exchange {
    struct tl_redis_cmd cmd;
    struct once_group *group; /* NULL: it is over, nobody waits for the answer */
    struct tl_scheduler *s;
    struct tl_buf text;
    size_t n, cap;
    size_t *ends;
    struct tl_str *argv;
    uint64_t asked_ns;
    void (*answered)(struct once_group *, enum tl_status, const struct tl_reply *, const struct tl_err *,
                     struct once_exchange *);
};

/* [own] for `cap` arguments. NULL: memory is out. */
struct once_exchange *tl_exchange_new(struct once_group *, size_t cap);
void tl_exchange_free(struct once_exchange *);
void tl_exchange_arg(struct once_exchange *, struct tl_str);
void tl_exchange_end_arg(struct once_exchange *); /* behind bytes that were written to text */
void tl_exchange_i64(struct once_exchange *, int64_t);
void tl_exchange_key(struct once_exchange *, const char *kind, struct tl_str key);
void tl_exchange_keys(struct once_exchange *, struct tl_str key); /* entry, lock, fail, wait */
void tl_exchange_version(struct once_exchange *, const struct once_group *);
void tl_exchange_entry(struct once_exchange *, const struct tl_entry *);
void tl_exchange_version_text(const struct once_group *, char out[72]);
/* OK: `answered` comes, or, without a group, one of the scheduler's partings ends; then x is freed. Otherwise x stays
 * the caller's. */
TL_MUSTCHECK enum tl_status tl_exchange_submit(struct once_exchange *, enum tl_cache_script, struct tl_err *err);
/* Redis did not do it, or may have done it: once more in a while (true), or, after a few times, without it (false). */
bool tl_exchange_again(struct once_group *, enum tl_status, const char *why);

/* ---- acquire.c ---- */
void tl_once_land_value(struct once_key *, struct tl_entry *, enum tl_freshness, enum tl_tier_id source);

#endif
