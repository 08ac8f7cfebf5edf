/* SPDX-License-Identifier: Apache-2.0 */
/* Built without OpenSSL: an address with TLS is refused where it is parsed, so the others are never called. */
#include "redis/tls.h"

#include "base/err.h"

#include <errno.h>

bool tl_tls_built(void)
{
    return false;
}

enum tl_status tl_tls_new(const struct tl_redis_address *a, int fd, struct tl_tls **out, struct tl_err *err)
{
    (void)a, (void)fd;
    *out = NULL;
    return tl_fail(err, TL_UNSUPPORTED, "built without TLS");
}

void tl_tls_free(struct tl_tls *t)
{
    (void)t;
}

enum tl_status tl_tls_handshake(struct tl_tls *t, struct tl_err *err)
{
    (void)t;
    return tl_fail(err, TL_UNSUPPORTED, "built without TLS");
}

ssize_t tl_tls_read(struct tl_tls *t, void *p, size_t n)
{
    (void)t, (void)p, (void)n;
    errno = ENOTSUP;
    return -1;
}

ssize_t tl_tls_write(struct tl_tls *t, const void *p, size_t n)
{
    (void)t, (void)p, (void)n;
    errno = ENOTSUP;
    return -1;
}

bool tl_tls_wants_write(const struct tl_tls *t)
{
    (void)t;
    return false;
}
