/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a Sec-WebSocket-Key (RFC 6455, 4.2.2). The key is checked for its form; the bits of its last character
 * that are behind the 16 bytes are not looked at, as decoders do. The rest of the handshake is HTTP's. */
#include "ws/ws.h"

#include "base/err.h"

#include <openssl/evp.h>

enum { KEY_CHARS = 24, SHA1_BYTES = 20 };

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

static bool is_key(struct tl_str key)
{
    if (key.n != KEY_CHARS || key.p[KEY_CHARS - 2] != '=' || key.p[KEY_CHARS - 1] != '=') return false;
    for (size_t i = 0; i < KEY_CHARS - 2; i++)
        if (!is_base64(key.p[i])) return false;
    return true;
}

enum tl_status tl_ws_accept(struct tl_str key, char out[TL_WS_ACCEPT_MAX], struct tl_err *err)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_CHARS + sizeof guid - 1];
    unsigned char digest[EVP_MAX_MD_SIZE], base64[TL_WS_ACCEPT_MAX];
    unsigned n = 0;
    if (!is_key(key)) return tl_fail(err, TL_INVALID, "Sec-WebSocket-Key: not 16 bytes in base64");
    memcpy(text, key.p, KEY_CHARS);
    memcpy(text + KEY_CHARS, guid, sizeof guid - 1);
    if (!EVP_Digest(text, sizeof text, digest, &n, EVP_sha1(), NULL) || n != SHA1_BYTES)
        return tl_fail(err, TL_INTERNAL, "SHA-1 is not to be had");
    EVP_EncodeBlock(base64, digest, SHA1_BYTES);
    memcpy(out, base64, TL_WS_ACCEPT_MAX);
    return TL_OK;
}
