/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/tls.h"

#include "base/err.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/socket.h>

struct tl_tls {
    SSL *ssl;
    bool wants_write;
};

bool tl_tls_built(void)
{
    return true;
}

/* ---- the socket below: as OpenSSL's own, but that a closed one raises no SIGPIPE ---- */

static int bio_fd(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}

static int bio_read(BIO *b, char *p, int n)
{
    ssize_t r = recv(bio_fd(b), p, (size_t)n, 0);
    BIO_clear_retry_flags(b);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(b);
    return (int)r;
}

static int bio_write(BIO *b, const char *p, int n)
{
    ssize_t r = send(bio_fd(b), p, (size_t)n, MSG_NOSIGNAL);
    BIO_clear_retry_flags(b);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(b);
    return (int)r;
}

static long bio_ctrl(BIO *b, int command, long number, void *p)
{
    (void)b, (void)number, (void)p;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (!method) return;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static BIO *bio_new(int fd)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *b = method ? BIO_new(method) : NULL;
    if (!b) return NULL;
    BIO_set_data(b, (void *)(intptr_t)fd);
    BIO_set_init(b, 1);
    return b;
}

/* ---- beginning ---- */

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "unknown";
}

static enum tl_status load_files(SSL_CTX *ctx, const struct tl_redis_address *a, struct tl_err *err)
{
    if (a->ca[0] ? SSL_CTX_load_verify_file(ctx, a->ca) != 1 : SSL_CTX_set_default_verify_paths(ctx) != 1)
        return tl_fail(err, TL_INVALID, "TLS: the CA certificates %s cannot be used: %s",
                       a->ca[0] ? a->ca : "of the system", reason());
    if (!a->cert[0]) return TL_OK;
    const char *key = a->key[0] ? a->key : a->cert;
    if (SSL_CTX_use_certificate_chain_file(ctx, a->cert) != 1)
        return tl_fail(err, TL_INVALID, "TLS: the certificate %s cannot be used: %s", a->cert, reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return tl_fail(err, TL_INVALID, "TLS: the key %s cannot be used: %s", key, reason());
    return TL_OK;
}

static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char address[16];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (is_address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* SSL_set_tlsext_host_name without its cast; the text is copied. */
    long named = SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host);
    return named == 1 && SSL_set1_host(ssl, host) == 1;
}

enum tl_status tl_tls_new(const struct tl_redis_address *a, int fd, struct tl_tls **out, struct tl_err *err)
{
    ERR_clear_error();
    struct tl_tls *t = tl_calloc(1, sizeof *t);
    SSL_CTX *ctx = t ? SSL_CTX_new(TLS_client_method()) : NULL;
    BIO *bio = ctx ? bio_new(fd) : NULL;
    enum tl_status st = bio ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for TLS");
    if (st == TL_OK) {
        SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        st = load_files(ctx, a, err);
    }
    if (st == TL_OK) t->ssl = SSL_new(ctx);
    if (st == TL_OK && (!t->ssl || !expect_host(t->ssl, a->host))) st = tl_fail(err, TL_NOMEM, "no memory for TLS");
    if (st == TL_OK) {
        SSL_set_bio(t->ssl, bio, bio);
        SSL_set_connect_state(t->ssl);
        *out = t;
    } else {
        BIO_free(bio);
        tl_tls_free(t);
    }
    SSL_CTX_free(ctx);
    return st;
}

void tl_tls_free(struct tl_tls *t)
{
    if (!t) return;
    SSL_free(t->ssl);
    free(t);
}

/* ---- going on ---- */

enum tl_status tl_tls_handshake(struct tl_tls *t, struct tl_err *err)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(t->ssl), errnum = errno, why = SSL_get_error(t->ssl, rc);
    t->wants_write = why == SSL_ERROR_WANT_WRITE;
    if (rc == 1) return TL_OK;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return TL_BUSY;
    long verify = SSL_get_verify_result(t->ssl);
    if (verify != X509_V_OK)
        return tl_fail(err, TL_DENIED, "TLS: the server's certificate is not believed: %s",
                       X509_verify_cert_error_string(verify));
    if (why == SSL_ERROR_SYSCALL)
        return tl_fail(err, TL_IO, "TLS: the server ended the connection%s%s", errnum ? ": " : "",
                       errnum ? strerror(errnum) : "");
    return tl_fail(err, TL_IO, "TLS: %s", reason());
}

/* What an operation that came to rc is to its caller. */
static ssize_t result(struct tl_tls *t, int rc)
{
    int errnum = errno, why = SSL_get_error(t->ssl, rc);
    t->wants_write = why == SSL_ERROR_WANT_WRITE;
    if (rc > 0) return rc;
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    else
        errno = why == SSL_ERROR_SYSCALL && errnum ? errnum : ECONNRESET;
    return -1;
}

ssize_t tl_tls_read(struct tl_tls *t, void *p, size_t n)
{
    ERR_clear_error();
    errno = 0;
    return result(t, SSL_read(t->ssl, p, (int)TL_MIN(n, (size_t)INT_MAX)));
}

ssize_t tl_tls_write(struct tl_tls *t, const void *p, size_t n)
{
    ERR_clear_error();
    errno = 0;
    return result(t, SSL_write(t->ssl, p, (int)TL_MIN(n, (size_t)INT_MAX)));
}

bool tl_tls_wants_write(const struct tl_tls *t)
{
    return t->wants_write;
}
