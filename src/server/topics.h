/* SPDX-License-Identifier: Apache-2.0 */
/* The topics that a server makes itself, from when somebody wants them: market/<symbol>,
 * indicator/<symbol>/<freq>/<spec>, cache/stats and locks. All of them are state: the last event of a topic is its
 * snapshot. */
#ifndef TL_SERVER_TOPICS_H
#define TL_SERVER_TOPICS_H

#include "server/api.h"

/* Takes over tl_cache.on_bars and the bus' market events. NOMEM. */
TL_MUSTCHECK enum tl_status topics_open(struct api *, struct topics **out);
/* Before scheduler, locks and bus are closed: ends what is under way; its ends come from them. */
void topics_end(struct topics *);
void topics_free(struct topics *);

#endif
