/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a connection to replies, by hiredis' parser, in memory that is used again for every reply. */
#ifndef TL_REDIS_REPLY_H
#define TL_REDIS_REPLY_H

#include "redis/redis.h"

struct tl_reply_reader;

/* [own] NULL: memory is out. max_bytes: of one reply. */
struct tl_reply_reader *tl_reply_reader_new(size_t max_bytes);
void tl_reply_reader_free(struct tl_reply_reader *);
/* Appends bytes. */
TL_MUSTCHECK enum tl_status tl_reply_reader_feed(struct tl_reply_reader *, const void *p, size_t n, struct tl_err *err);
/* The next whole reply, NULL when more bytes are needed. PARSE (not RESP), TOO_LARGE, NOMEM: the connection is of no
 * use any more. [borrow: until the next call] */
TL_MUSTCHECK enum tl_status tl_reply_reader_next(struct tl_reply_reader *, const struct tl_reply **out,
                                                 struct tl_err *err);

/* What went wrong: of a command inside a script (up to Redis 6 the script's own error stands around it), else the text
 * itself. [borrow: as long as text] */
struct tl_str tl_reply_error_inner(struct tl_str text);
/* As struct tl_redis_cmd says. */
enum tl_status tl_reply_error_status(struct tl_str text);

#endif
