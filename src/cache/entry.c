/* SPDX-License-Identifier: Apache-2.0 */
/* Entries in memory and on the wire. One allocation an entry: header, key, NUL, payload. The wire form is checked as a
 * whole before anything of it is believed; what a tier holds may be anybody's bytes. */
#include "cache/entry.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"

#include <endian.h>

struct tl_entry *tl_entry_new(struct tl_str key, const void *payload, size_t n)
{
    TL_ASSERT(key.n <= TL_KEY_MAX && n <= TL_ENTRY_MAX);
    size_t size = offsetof(struct tl_entry, bytes) + key.n + 1 + n;
    struct tl_entry *e = malloc(TL_MAX(size, sizeof *e));
    if (!e) return NULL;
    memset(e, 0, sizeof *e);
    atomic_init(&e->refs, 1);
    e->n = (uint32_t)n;
    e->key_n = (uint8_t)key.n;
    if (key.n) memcpy(e->bytes, key.p, key.n);
    e->bytes[key.n] = '\0';
    if (payload && n) memcpy(e->bytes + key.n + 1, payload, n);
    return e;
}

struct tl_entry *tl_entry_ref(struct tl_entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void tl_entry_unref(struct tl_entry *e)
{
    if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1) free(e);
}

struct tl_str tl_entry_key(const struct tl_entry *e)
{
    return (struct tl_str){e->bytes, e->key_n};
}

struct tl_str tl_entry_payload(const struct tl_entry *e)
{
    return (struct tl_str){e->bytes + e->key_n + 1, e->n};
}

char *tl_entry_fill(struct tl_entry *e)
{
    return e->bytes + e->key_n + 1;
}

static int order_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int first_of(int a, int b)
{
    return a ? a : b;
}

int tl_entry_cmp(const struct tl_entry *a, const struct tl_entry *b)
{
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    if (a->kind == TL_ENTRY_GENERAL)
        return first_of(
            order_i64(a->general.ms, b->general.ms),
            first_of(order_u64(a->general.instance, b->general.instance), order_u64(a->general.seq, b->general.seq)));
    int version =
        first_of(order_i64(a->series.revision, b->series.revision),
                 first_of(order_u64(a->series.bars, b->series.bars), order_i64(a->series.last_ts, b->series.last_ts)));
    return first_of(version, first_of(order_u64(a->series.kernel_version, b->series.kernel_version),
                                      order_u64(a->series.token, b->series.token)));
}

static int64_t expiry(const struct tl_entry *e, uint32_t ttl_ms)
{
    int64_t at;
    if (e->kind != TL_ENTRY_GENERAL || ttl_ms == TL_TTL_NEVER || __builtin_add_overflow(e->general.ms, ttl_ms, &at))
        return INT64_MAX;
    return at;
}

int64_t tl_entry_soft_ms(const struct tl_entry *e)
{
    return expiry(e, e->kind == TL_ENTRY_GENERAL ? e->general.soft_ttl_ms : 0);
}

int64_t tl_entry_hard_ms(const struct tl_entry *e)
{
    return expiry(e, e->kind == TL_ENTRY_GENERAL ? e->general.hard_ttl_ms : 0);
}

/* ---- wire ---- */

static void put_le32(unsigned char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static uint32_t get_le32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static void put_be32(unsigned char *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

static uint32_t get_be32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static void put_be64(unsigned char *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
}

static uint64_t get_be64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

/* Signed numbers with the sign bit flipped are in the order of their bytes. */
static uint64_t flip(int64_t v)
{
    return (uint64_t)v ^ (UINT64_C(1) << 63);
}

static int64_t unflip(uint64_t v)
{
    return (int64_t)(v ^ (UINT64_C(1) << 63));
}

static uint32_t wire_crc(const unsigned char *header, struct tl_str payload)
{
    uint32_t crc = tl_crc32c(tl_crc32c(0, header, 8), header + 12, TL_ENTRY_HEADER - 12);
    return tl_crc32c(crc, payload.p, payload.n);
}

void tl_entry_encode_header(const struct tl_entry *e, unsigned char out[TL_ENTRY_HEADER])
{
    memset(out, 0, TL_ENTRY_HEADER);
    memcpy(out, "TLE", 3);
    out[3] = TL_ENTRY_FORMAT;
    out[4] = e->kind;
    out[5] = e->failure;
    put_le32(out + 12, e->n);
    uint64_t generation = htole64(atomic_load_explicit(&e->generation, memory_order_relaxed));
    memcpy(out + 16, &generation, sizeof generation);
    if (e->kind == TL_ENTRY_GENERAL) {
        put_be64(out + 24, flip(e->general.ms));
        put_be64(out + 32, e->general.instance);
        put_be32(out + 40, e->general.seq);
        put_le32(out + 56, e->general.soft_ttl_ms);
        put_le32(out + 60, e->general.hard_ttl_ms);
    } else {
        put_be64(out + 24, flip(e->series.revision));
        put_be32(out + 32, e->series.bars);
        put_be64(out + 36, flip(e->series.last_ts));
        out[44] = (unsigned char)(e->series.kernel_version >> 8);
        out[45] = (unsigned char)e->series.kernel_version;
        put_be64(out + 46, e->series.token);
    }
    put_le32(out + 8, wire_crc(out, tl_entry_payload(e)));
}

static void decode_header(struct tl_entry *e, const unsigned char *p)
{
    uint64_t generation;
    memcpy(&generation, p + 16, sizeof generation);
    atomic_init(&e->generation, le64toh(generation));
    e->kind = p[4];
    e->failure = p[5];
    if (e->kind == TL_ENTRY_GENERAL) {
        e->general.ms = unflip(get_be64(p + 24));
        e->general.instance = get_be64(p + 32);
        e->general.seq = get_be32(p + 40);
        e->general.soft_ttl_ms = get_le32(p + 56);
        e->general.hard_ttl_ms = get_le32(p + 60);
    } else {
        e->series.revision = unflip(get_be64(p + 24));
        e->series.bars = get_be32(p + 32);
        e->series.last_ts = unflip(get_be64(p + 36));
        e->series.kernel_version = (uint16_t)(p[44] << 8 | p[45]);
        e->series.token = get_be64(p + 46);
    }
}

static bool all_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

/* What is not used is zero: the tiers compare the order as 32 bytes. */
static bool unused_is_zero(const unsigned char *p)
{
    if (!all_zero(p + 6, 2)) return false;
    return p[4] == TL_ENTRY_GENERAL ? all_zero(p + 44, 12) : all_zero(p + 54, 10);
}

enum tl_status tl_entry_decode(struct tl_str key, struct tl_str wire, struct tl_entry **out, struct tl_err *err)
{
    const unsigned char *p = (const unsigned char *)wire.p;
    if (wire.n < TL_ENTRY_HEADER)
        return tl_fail(err, TL_CORRUPT, "%.*s: %zu bytes are no entry", TL_STR_ARG(key), wire.n);
    if (memcmp(p, "TLE", 3) != 0) return tl_fail(err, TL_CORRUPT, "%.*s: not an entry of Tierline", TL_STR_ARG(key));
    if (p[3] != TL_ENTRY_FORMAT)
        return tl_fail(err, TL_TOO_NEW, "%.*s: entry format %u, this program knows %d", TL_STR_ARG(key), p[3],
                       TL_ENTRY_FORMAT);
    struct tl_str payload = {wire.p + TL_ENTRY_HEADER, wire.n - TL_ENTRY_HEADER};
    if (get_le32(p + 12) != payload.n || payload.n > TL_ENTRY_MAX)
        return tl_fail(err, TL_CORRUPT, "%.*s: %zu bytes of %u are there", TL_STR_ARG(key), payload.n,
                       get_le32(p + 12));
    if (get_le32(p + 8) != wire_crc(p, payload))
        return tl_fail(err, TL_CORRUPT, "%.*s: its checksum is wrong", TL_STR_ARG(key));
    if (p[4] > TL_ENTRY_SERIES || !unused_is_zero(p))
        return tl_fail(err, TL_CORRUPT, "%.*s: kind %u with a header that is not of format %d", TL_STR_ARG(key), p[4],
                       TL_ENTRY_FORMAT);
    struct tl_entry *e = tl_entry_new(key, payload.p, payload.n);
    if (!e) return tl_fail(err, TL_NOMEM, "no memory for an entry of %zu bytes", payload.n);
    decode_header(e, p);
    *out = e;
    return TL_OK;
}
