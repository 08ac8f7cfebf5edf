/* SPDX-License-Identifier: Apache-2.0 */
/* The version that the build was configured with. */
#include <tierline/tierline.h>

const char *tl_version_string(void)
{
    return TL_VERSION;
}
