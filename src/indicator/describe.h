/* SPDX-License-Identifier: Apache-2.0 */
/* The registry for programs. */
#ifndef TL_INDICATOR_DESCRIBE_H
#define TL_INDICATOR_DESCRIBE_H

#include "base/json.h"
#include <tierline/indicator.h>

/* {"name","group","title","inputs":[...],"params":[{"name","kind","min","max","default"}],"outputs":[...],"integer"} */
void tl_indicator_json(struct tl_json *, const struct tl_indicator_info *);
/* "open" ... of one TL_IN_* bit; "integer", "real", "ma_type". */
const char *tl_indicator_input_name(unsigned bit);
const char *tl_param_kind_name(enum tl_param_kind);

#endif
