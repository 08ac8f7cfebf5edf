/* SPDX-License-Identifier: Apache-2.0 */
/* A streaming JSON writer into a tl_buf. Commas and escapes are its business; nesting is asserted (at most 63 deep).
 * Bytes that are not UTF-8 become U+FFFD. Non-finite doubles become null. */
#ifndef TL_BASE_JSON_H
#define TL_BASE_JSON_H

#include "base/buf.h"

struct tl_json {
    struct tl_buf *out; /* [borrow: while writing] */
    unsigned depth;
    uint64_t has_item;  /* bit d: something stands at depth d already */
    uint64_t is_object; /* bit d: depth d is an object, else an array */
    bool after_key;
};

void tl_json_init(struct tl_json *, struct tl_buf *out);
void tl_json_object(struct tl_json *);
void tl_json_object_end(struct tl_json *);
void tl_json_array(struct tl_json *);
void tl_json_array_end(struct tl_json *);
void tl_json_key(struct tl_json *, const char *key);
void tl_json_str(struct tl_json *, struct tl_str);
void tl_json_cstr(struct tl_json *, const char *z); /* NULL: null */
void tl_json_i64(struct tl_json *, int64_t);
void tl_json_u64(struct tl_json *, uint64_t);
void tl_json_num(struct tl_json *, double);
void tl_json_bool(struct tl_json *, bool);
void tl_json_null(struct tl_json *);

#endif
