/* SPDX-License-Identifier: Apache-2.0 */
/* An entry: what the tiers hold. Key, payload and header in one allocation, refcounted, immutable once it is shared
 * (but for `generation`, which only rises). On the wire (Redis, store) it is a 64-byte header, then the payload. */
#ifndef TL_CACHE_ENTRY_H
#define TL_CACHE_ENTRY_H

#include "base/str.h"
#include "series/bars.h"
#include <stdatomic.h>

enum {
    TL_KEY_MAX = 255,        /* bytes of a key without NUL */
    TL_VALUE_MAX = 8 << 20,  /* bytes of a general value */
    TL_ENTRY_MAX = 48 << 20, /* payload bytes: a series of years of minutes */
    TL_ENTRY_HEADER = 64,    /* wire bytes in front of the payload */
    TL_ENTRY_FORMAT = 1
};
#define TL_TTL_NEVER UINT32_MAX
enum tl_entry_kind { TL_ENTRY_GENERAL, TL_ENTRY_SERIES };

/* Order of general puts: ms, then instance, then seq. */
struct tl_stamp {
    int64_t ms;        /* wall clock of the put, never lower than that of the instance's put before */
    uint64_t instance; /* random, of the process */
    uint32_t seq;
};

struct tl_entry {
    _Atomic uint32_t refs;
    uint32_t n;                  /* payload bytes */
    _Atomic uint64_t generation; /* newest invalidation that was known before the value's source was read */
    /* Packed to its 30 bytes for what follows to fit in; its fields lie aligned nevertheless. */
    union {
        struct __attribute__((packed)) { /* kind SERIES: ordered by (revision, bars, last_ts), kernel_version, token */
            int64_t revision, last_ts;
            uint64_t token;
            uint32_t bars;
            uint16_t kernel_version;
        } series;
        struct __attribute__((packed)) { /* kind GENERAL */
            int64_t ms;
            uint64_t instance;
            uint32_t seq;
            uint32_t soft_ttl_ms, hard_ttl_ms; /* after ms; TL_TTL_NEVER */
        } general;
    } __attribute__((packed, aligned(2)));
    uint8_t kind;
    uint8_t failure; /* 0: a value; otherwise the failure -status, payload is its text */
    uint8_t key_n;
    char bytes[]; /* key, NUL, payload */
};

/* [own] refs 1, header zero but for n and key_n; payload NULL: left to be filled. NULL: memory is out.
 * key.n <= TL_KEY_MAX, n <= TL_ENTRY_MAX (asserted). */
struct tl_entry *tl_entry_new(struct tl_str key, const void *payload, size_t n);
struct tl_entry *tl_entry_ref(struct tl_entry *);
void tl_entry_unref(struct tl_entry *); /* NULL is fine */
struct tl_str tl_entry_key(const struct tl_entry *);
struct tl_str tl_entry_payload(const struct tl_entry *);
char *tl_entry_fill(struct tl_entry *); /* the payload, to be written before it is shared */

/* <0, 0, >0: which of two entries of one key and kind is newer. Different kinds: GENERAL first. */
int tl_entry_cmp(const struct tl_entry *, const struct tl_entry *);
/* Wall clock of soft and hard expiry; INT64_MAX: never (always so for SERIES). */
int64_t tl_entry_soft_ms(const struct tl_entry *);
int64_t tl_entry_hard_ms(const struct tl_entry *);

/* Wire header, little-endian but for the order:
 *    0 magic "TLE", format    4 kind, failure, 2 bytes 0    8 CRC32C of the rest: header and payload
 *   12 payload bytes 4       16 generation 8
 *   24 order 32, big-endian, so that its byte order is the order of the entries:
 *        GENERAL ms 8 (sign bit flipped), instance 8, seq 4, 12 bytes 0
 *        SERIES  revision 8 (flipped), bars 4, last_ts 8 (flipped), kernel_version 2, token 8, 2 bytes 0
 *   56 soft TTL 4, hard TTL 4 (SERIES: zero) */
enum { TL_ENTRY_ORDER_AT = 24, TL_ENTRY_ORDER = 32 };
void tl_entry_encode_header(const struct tl_entry *, unsigned char out[TL_ENTRY_HEADER]);
/* [own] *out. CORRUPT (magic, crc, length, too short or too long; the text says which), TOO_NEW (another format),
 * NOMEM. */
TL_MUSTCHECK enum tl_status tl_entry_decode(struct tl_str key, struct tl_str wire, struct tl_entry **out,
                                            struct tl_err *err);

#endif
