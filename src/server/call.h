/* SPDX-License-Identifier: Apache-2.0 */
/* What the router and the calls share. */
#ifndef TL_SERVER_CALL_H
#define TL_SERVER_CALL_H

#include "dashboard/dashboard.h"
#include "server/api.h"

/* Without an answer: its request is gone. */
void api_call_free(struct api_call *);
/* Sets freq and adjust: workers must not read the configuration, which a reload replaces. */
void api_settle_series(struct api_call *);
/* May pages of this Origin read our answers? */
bool api_cors_allows(const struct api *, struct tl_str origin);
/* Answers with a file of the dashboard: no call, no token, whatever the query. */
void api_send_file(struct tl_http_request *, const struct dashboard_file *);

#endif
