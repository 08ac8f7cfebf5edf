/* SPDX-License-Identifier: Apache-2.0 */
/* TLS on a connected socket that does not block. Built with OpenSSL where it is there; without it tl_tls_built says so
 * and nothing else is called. The server's certificate is always checked, against the address's host. */
#ifndef TL_REDIS_TLS_H
#define TL_REDIS_TLS_H

#include "redis/redis.h"
#include <sys/types.h>

struct tl_tls;

bool tl_tls_built(void);
/* fd stays the caller's. Certificates are read anew each time, so that renewed ones are taken up. Errors: INVALID (a
 * file of the address cannot be used), NOMEM. */
TL_MUSTCHECK enum tl_status tl_tls_new(const struct tl_redis_address *, int fd, struct tl_tls **out,
                                       struct tl_err *err);
void tl_tls_free(struct tl_tls *); /* NULL is fine */

/* BUSY: call again when the socket can be read (or, if tl_tls_wants_write, written). DENIED: the certificate is not
 * believed; IO. */
TL_MUSTCHECK enum tl_status tl_tls_handshake(struct tl_tls *, struct tl_err *err);
/* As read(2) and send(2): errno is EAGAIN when the socket has to be waited for. */
ssize_t tl_tls_read(struct tl_tls *, void *p, size_t n);
ssize_t tl_tls_write(struct tl_tls *, const void *p, size_t n);
/* The last call waits for the socket to become writable, whatever it was. */
bool tl_tls_wants_write(const struct tl_tls *);

#endif
