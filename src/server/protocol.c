/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where a document gets its "op": no word goes out that is not in the table. Sends nothing itself. */
#include "server/protocol.h"

#include "base/util.h"

enum protocol_in protocol_in(const char *op)
{
    static const char *const names[] = {
#define IN(name) [PROTOCOL_IN_##name] = #name,
#include "server/protocol.tbl.h"
    };
    for (size_t i = PROTOCOL_IN_NONE + 1; i < TL_COUNT(names); i++)
        if (strcmp(names[i], op) == 0) return (enum protocol_in)i;
    return PROTOCOL_IN_NONE;
}

const char *protocol_out_name(enum protocol_out op)
{
    static const char *const names[] = {
#define OUT(name) [PROTOCOL_##name] = #name,
#include "server/protocol.tbl.h"
    };
    return names[op];
}

void protocol_begin(struct tl_buf *out, struct tl_json *j, enum protocol_out op, size_t max_bytes)
{
    tl_buf_init(out, max_bytes);
    tl_json_init(j, out);
    tl_json_object(j);
    tl_json_key(j, "op");
    tl_json_cstr(j, protocol_out_name(op));
}

void protocol_bye(struct tl_buf *out, const char *reason, uint32_t retry_ms)
{
    struct tl_json j;
    protocol_begin(out, &j, PROTOCOL_bye, 1024);
    tl_json_key(&j, "reason");
    tl_json_cstr(&j, reason);
    tl_json_key(&j, "retry_ms");
    tl_json_u64(&j, retry_ms);
    tl_json_object_end(&j);
}

void protocol_raw(struct tl_buf *b, struct tl_json *j, const char *key, struct tl_str json)
{
    tl_json_key(j, key);
    tl_json_null(j);
    if (b->failed) return;
    b->n -= strlen("null");
    tl_buf_put(b, json.p, json.n);
}

void protocol_put_via(struct tl_buf *out, struct tl_str envelope, const char *via)
{
    struct tl_json j;
    TL_ASSERT(envelope.n > 2 && envelope.p[envelope.n - 1] == '}');
    tl_buf_put(out, envelope.p, envelope.n - 1);
    tl_buf_puts(out, ",\"via\":");
    tl_json_init(&j, out);
    tl_json_cstr(&j, via);
    tl_buf_putc(out, '}');
}
