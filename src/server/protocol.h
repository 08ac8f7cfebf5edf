/* SPDX-License-Identifier: Apache-2.0 */
/* The words of tierline.v1 (docs/protocol.md), and documents made of them. */
#ifndef TL_SERVER_PROTOCOL_H
#define TL_SERVER_PROTOCOL_H

#include "base/json.h"

#define PROTOCOL_NAME "tierline.v1"

enum protocol_in {
    PROTOCOL_IN_NONE,
#define IN(name) PROTOCOL_IN_##name,
#include "server/protocol.tbl.h"
};

enum protocol_out {
#define OUT(name) PROTOCOL_##name,
#include "server/protocol.tbl.h"
};

enum protocol_close {
#define CLOSE(name, code) PROTOCOL_CLOSE_##name = (code),
#include "server/protocol.tbl.h"
};

/* NONE: it is none. */
enum protocol_in protocol_in(const char *op);
const char *protocol_out_name(enum protocol_out);

/* {"op":"...": the caller writes the rest and the closing brace. out is initialised, with max_bytes, and the caller's
 * to release. */
void protocol_begin(struct tl_buf *out, struct tl_json *, enum protocol_out, size_t max_bytes);
/* {"op":"bye","reason":"...","retry_ms":N} */
void protocol_bye(struct tl_buf *out, const char *reason, uint32_t retry_ms);
/* An envelope as a subscription of another topic has it: with "via". */
void protocol_put_via(struct tl_buf *out, struct tl_str envelope, const char *via);
/* A member whose value is JSON already. */
void protocol_raw(struct tl_buf *, struct tl_json *, const char *key, struct tl_str json);

#endif
