/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as a server sends them: whole, unmasked, header and payload in one block. */
#ifndef TL_WS_FRAME_H
#define TL_WS_FRAME_H

#include "ws/ws.h"

enum { TL_WS_CONTINUATION = 0, TL_WS_CLOSE = 8, TL_WS_PING = 9, TL_WS_PONG = 10 };
enum { TL_WS_CONTROL_MAX = 125 };

struct tl_ws_frame {
    size_t n;      /* bytes on the wire */
    uint32_t refs; /* of one loop: not atomic */
    unsigned char bytes[];
};

/* [own] of any opcode; NULL: memory is out. A control frame has at most TL_WS_CONTROL_MAX bytes of payload. */
struct tl_ws_frame *tl_ws_frame_make(unsigned opcode, const struct tl_str *parts, size_t n);
/* [own] code 0: a close frame without one. Of the reason what fits, cut between two characters. */
struct tl_ws_frame *tl_ws_frame_close(unsigned code, struct tl_str reason);
/* Whether a close frame may carry it (RFC 6455, 7.4, and what IANA has registered since). */
bool tl_ws_code_valid(unsigned code);

#endif
