/* SPDX-License-Identifier: Apache-2.0 */
/* Everything public. */
#ifndef TIERLINE_TIERLINE_H
#define TIERLINE_TIERLINE_H

#include <tierline/indicator.h>
#include <tierline/status.h>

#ifdef __cplusplus
extern "C" {
#endif
/* "0.1.0" */
TL_API const char *tl_version_string(void);
#ifdef __cplusplus
}
#endif
#endif
