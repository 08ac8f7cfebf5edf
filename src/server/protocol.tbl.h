/* SPDX-License-Identifier: Apache-2.0 */
/* The words of tierline.v1: what a client may send (IN), what it is sent (OUT), the codes a WebSocket is closed with by
 * the conversation (CLOSE). docs/protocol.md, docs/asyncapi.json and the client in web/ follow it: tools/check-protocol.
 * Define those that are wanted. */
/* clang-format off */
#ifndef IN
#define IN(name)
#endif
#ifndef OUT
#define OUT(name)
#endif
#ifndef CLOSE
#define CLOSE(name, code)
#endif
IN(auth)
IN(token)
IN(subscribe)
IN(unsubscribe)
IN(history)
IN(cancel)
IN(retry)
IN(ping)
OUT(hello)
OUT(subscribed)
OUT(unsubscribed)
OUT(snapshot)
OUT(conflated)
OUT(resync)
OUT(history)
OUT(done)
OUT(pong)
OUT(error)
OUT(bye)
CLOSE(AWAY,             1001) /* the server is going away */
CLOSE(NOT_TEXT,         1003)
CLOSE(NOT_READ,         1008) /* answers that are not taken */
CLOSE(MEMORY,           1011)
CLOSE(UNAUTHENTICATED,  4401) /* no token came, it is not valid, or it has run out */
#undef IN
#undef OUT
#undef CLOSE
/* clang-format on */
