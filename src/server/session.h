/* SPDX-License-Identifier: Apache-2.0 */
/* The WebSocket sessions of a server: sub-protocol tierline.v1 (docs/protocol.md). */
#ifndef TL_SERVER_SESSION_H
#define TL_SERVER_SESSION_H

#include "server/api.h"

/* [own] NULL: memory is out. */
struct api_sessions *sessions_new(struct api *);
/* "bye" to everybody, with a hint when to come back, and a close with 1001. */
void sessions_bye(struct api_sessions *, uint32_t retry_ms);
size_t sessions_count(const struct api_sessions *);
void sessions_totals(const struct api_sessions *, uint64_t *conflated, uint64_t *resyncs);
/* Every session is gone by then. */
void sessions_free(struct api_sessions *);

#endif
