/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that are published by other programs over HTTP. */
#ifndef TL_SERVER_FOREIGN_H
#define TL_SERVER_FOREIGN_H

#include "server/api.h"

/* [own] NULL: memory is out. */
struct api_foreign *foreign_new(struct api *);
/* Tasks that are not over are left to be taken up through another server. */
void foreign_free(struct api_foreign *);
/* Answers the call: {"term","position"}. */
void foreign_task_events(struct api_call *);

#endif
