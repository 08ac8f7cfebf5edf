/* SPDX-License-Identifier: Apache-2.0 */
/* The dashboard (web/) as files inside the binary, or, where it was built without, a page in their place. Constants:
 * any thread. */
#ifndef TL_DASHBOARD_DASHBOARD_H
#define TL_DASHBOARD_DASHBOARD_H

#include "base/str.h"

#include <stdbool.h>

struct dashboard_file {
    const char *path; /* "/assets/index-Cq3f9xZ1.js", as browsers ask for it */
    const char *type; /* Content-Type */
    const char *etag; /* with its quotes; NULL: none */
    const unsigned char *bytes;
    size_t n;
    const unsigned char *gzip; /* NULL: it does not pay */
    size_t n_gzip;
    bool immutable; /* another content would have another path */
};

bool dashboard_is_there(void);
/* "/" is the page itself, or says how to get one. NULL: none of the files. */
const struct dashboard_file *dashboard_find(struct tl_str path);

#endif
