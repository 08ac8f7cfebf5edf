/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an HTTP/1.1 request (RFC 9112): its head, and the chunked coding of its body. Pure and strict: what two
 * parsers could read in two ways is refused, never repaired. */
#ifndef TL_HTTP_PARSE_H
#define TL_HTTP_PARSE_H

#include "http/http.h"

enum { TL_HTTP_FIELDS_MAX = 100 };

/* Offsets from the beginning of the head. */
struct tl_http_span {
    uint32_t at, n;
};

struct tl_http_head {
    int refuse;      /* status of the refusal, then nothing else counts but `why`; 0: the head is fine */
    const char *why; /* static */
    unsigned method; /* enum tl_http_method; 0: another one (TRACE, CONNECT, unknown) */
    struct tl_http_span method_name, path, query, fields;
    uint64_t length; /* Content-Length; 0: none */
    bool minor_0;    /* HTTP/1.0 */
    bool keep_alive, chunked, expects_continue;
};

/* Bytes of the head that begins at p, its last empty line included; 0: it is not whole yet. A head that cannot be one
 * any more ends where that shows. *scanned: what was looked at already, 0 at first; so byte by byte costs no more. */
size_t tl_http_head_find(const char *p, size_t n, size_t *scanned);
void tl_http_head_parse(const char *p, size_t n, struct tl_http_head *out);
/* The first field of that name in a head that was parsed and not refused. p NULL: none. */
struct tl_str tl_http_head_field(const char *head, const struct tl_http_head *, struct tl_str name);

enum { TL_HTTP_CHUNK_LINE_MAX = 256, TL_HTTP_TRAILER_MAX = 8192 };

/* Zero-initialised: at the beginning of a body. */
struct tl_http_chunks {
    enum { TL_CHUNK_SIZE, TL_CHUNK_EXTENSION, TL_CHUNK_DATA, TL_CHUNK_DATA_END, TL_CHUNK_TRAILER, TL_CHUNK_OVER } state;
    uint64_t left;   /* of this chunk */
    uint32_t line;   /* bytes of the line so far */
    uint32_t digits; /* of the size */
    uint32_t trailer;
    bool cr; /* a CR came, its LF is due */
};
enum tl_http_chunk { TL_HTTP_CHUNK_MORE, TL_HTTP_CHUNK_DATA, TL_HTTP_CHUNK_OVER, TL_HTTP_CHUNK_BAD };
/* The next piece of data in *rest, which moves on. MORE: *rest is used up. OVER: *rest is what stands behind the body.
 * BAD: refused. Data never reaches from one chunk into the next. */
enum tl_http_chunk tl_http_chunks_next(struct tl_http_chunks *, struct tl_str *rest, struct tl_str *data);

#endif
