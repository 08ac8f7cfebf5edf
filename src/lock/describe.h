/* SPDX-License-Identifier: Apache-2.0 */
/* A lease for programs. */
#ifndef TL_LOCK_DESCRIBE_H
#define TL_LOCK_DESCRIBE_H

#include "base/json.h"
#include <tierline/lock.h>

/* {"name","holder","token","left_ms","computation"} */
void tl_lease_json(struct tl_json *, const struct tl_lease_info *);

#endif
