/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that JWTs are verified with. Invariants: a key file gives a key for its own algorithm or an error: a PEM
 * text is no secret for HS256 (whoever has the public key of RS256 could sign with it), and only an RSA public key of
 * enough bits serves RS256. Keeps no private key and makes no signatures. */
#include "auth/file.h"
#include "auth/jwt.h"

#include "base/err.h"
#include "base/util.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

static enum tl_status load_secret(const char *file, struct tl_jwt_keys *k, struct tl_err *err)
{
    struct tl_buf text;
    struct stat sb;
    tl_buf_init(&text, TL_JWT_SECRET_MAX + 2); /* "\r\n" behind it */
    enum tl_status st = tl_file_read(file, TL_FILE_SECRET, &text, &sb, err);
    struct tl_str key = tl_buf_str(&text);
    if (key.n > 0 && key.p[key.n - 1] == '\n') key.n--;
    if (key.n > 0 && key.n < text.n && key.p[key.n - 1] == '\r') key.n--;
    if (st == TL_OK && memmem(key.p, key.n, "-----BEGIN", 10))
        st = tl_fail_at(err, TL_INVALID, file, 0, 0, "is PEM, which is no shared secret: HS256 needs random bytes");
    if (st == TL_OK && (key.n < TL_JWT_SECRET_MIN || key.n > TL_JWT_SECRET_MAX))
        st = tl_fail_at(err, TL_INVALID, file, 0, 0, "a secret for HS256 has %d to %d bytes, this one has %zu",
                        TL_JWT_SECRET_MIN, TL_JWT_SECRET_MAX, key.n);
    if (st == TL_OK) {
        k->secret = OPENSSL_memdup(key.p, key.n);
        k->secret_n = key.n;
        if (!k->secret) st = tl_fail_at(err, TL_NOMEM, file, 0, 0, "no memory for the secret");
    }
    tl_file_wipe(&text);
    return st;
}

/* [own] NULL: there is none in it. */
static EVP_PKEY *read_public_key(struct tl_str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    /* A password callback that has none, so that nothing asks on the terminal. */
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static enum tl_status load_public_key(const char *file, struct tl_jwt_keys *k, struct tl_err *err)
{
    struct tl_buf text;
    struct stat sb;
    tl_buf_init(&text, TL_JWT_PEM_MAX);
    enum tl_status st = tl_file_read(file, TL_FILE_PUBLIC, &text, &sb, err);
    struct tl_str pem = tl_buf_str(&text);
    if (st == TL_OK && memmem(pem.p, pem.n, "PRIVATE KEY-----", 16))
        st = tl_fail_at(err, TL_INVALID, file, 0, 0, "has a private key: only the public one belongs here");
    if (st == TL_OK) {
        k->rsa = read_public_key(pem);
        if (!k->rsa) st = tl_fail_at(err, TL_PARSE, file, 0, 0, "has no PEM block 'BEGIN PUBLIC KEY' that can be read");
    }
    if (st == TL_OK && EVP_PKEY_get_base_id(k->rsa) != EVP_PKEY_RSA)
        st = tl_fail_at(err, TL_INVALID, file, 0, 0, "is no RSA key: RS256 needs one");
    if (st == TL_OK && EVP_PKEY_get_bits(k->rsa) < TL_JWT_RSA_MIN)
        st = tl_fail_at(err, TL_INVALID, file, 0, 0, "an RSA key of %d bits is too short: %d at least",
                        EVP_PKEY_get_bits(k->rsa), TL_JWT_RSA_MIN);
    tl_file_wipe(&text);
    return st;
}

enum tl_status tl_jwt_load(const char *hs256_file, const char *rs256_file, struct tl_jwt_keys *k, struct tl_err *err)
{
    *k = (struct tl_jwt_keys){0};
    enum tl_status st = hs256_file ? load_secret(hs256_file, k, err) : TL_OK;
    if (st == TL_OK && rs256_file) st = load_public_key(rs256_file, k, err);
    if (st != TL_OK) tl_jwt_release(k);
    return st;
}

void tl_jwt_release(struct tl_jwt_keys *k)
{
    OPENSSL_clear_free(k->secret, k->secret_n);
    EVP_PKEY_free(k->rsa);
    *k = (struct tl_jwt_keys){0};
}
