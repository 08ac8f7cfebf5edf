/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: immutable once made, one block each, shared by every queue that holds a reference. Never fragmented, never
 * masked. Loop thread: the count of references is not atomic. */
#include "ws/frame.h"

#include "base/util.h"

enum { HEADER_MAX = 10, CLOSE_REASON_MAX = TL_WS_CONTROL_MAX - 2 };

static size_t put_header(unsigned char *p, unsigned opcode, size_t n)
{
    p[0] = (unsigned char)(0x80 | opcode);
    if (n < 126) {
        p[1] = (unsigned char)n;
        return 2;
    }
    size_t bytes = n <= UINT16_MAX ? 2 : 8;
    p[1] = bytes == 2 ? 126 : 127;
    for (size_t i = 0; i < bytes; i++) p[2 + i] = (unsigned char)((uint64_t)n >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

struct tl_ws_frame *tl_ws_frame_make(unsigned opcode, const struct tl_str *parts, size_t n)
{
    size_t payload = 0, all;
    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow(payload, parts[i].n, &payload)) return NULL;
    if (__builtin_add_overflow(payload, sizeof(struct tl_ws_frame) + HEADER_MAX, &all)) return NULL;
    unsigned char header[HEADER_MAX];
    size_t at = put_header(header, opcode, payload);
    TL_ASSERT(opcode < TL_WS_CLOSE || payload <= TL_WS_CONTROL_MAX);
    struct tl_ws_frame *f = tl_calloc(1, all - HEADER_MAX + at);
    if (!f) return NULL;
    f->refs = 1;
    f->n = at + payload;
    memcpy(f->bytes, header, at);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n) memcpy(f->bytes + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    return f;
}

struct tl_ws_frame *tl_ws_frame_close(unsigned code, struct tl_str reason)
{
    char be[2] = {(char)(code >> 8), (char)code};
    if (code == 0) return tl_ws_frame_make(TL_WS_CLOSE, NULL, 0);
    if (reason.n > CLOSE_REASON_MAX) {
        reason.n = CLOSE_REASON_MAX;
        while (reason.n > 0 && ((unsigned char)reason.p[reason.n] & 0xC0) == 0x80) reason.n--;
    }
    return tl_ws_frame_make(TL_WS_CLOSE, (const struct tl_str[]){{be, 2}, reason}, 2);
}

bool tl_ws_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

struct tl_ws_frame *tl_ws_frame_new(enum tl_ws_opcode opcode, const struct tl_str *parts, size_t n)
{
    return tl_ws_frame_make(opcode, parts, n);
}

struct tl_ws_frame *tl_ws_frame_ref(struct tl_ws_frame *f)
{
    TL_ASSERT(f->refs > 0 && f->refs < UINT32_MAX);
    f->refs++;
    return f;
}

void tl_ws_frame_unref(struct tl_ws_frame *f)
{
    if (!f) return;
    TL_ASSERT(f->refs > 0);
    if (--f->refs == 0) free(f);
}

size_t tl_ws_frame_bytes(const struct tl_ws_frame *f)
{
    return f->n;
}
