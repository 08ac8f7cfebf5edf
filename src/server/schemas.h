/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schemas of answers, by the names that routes use. */
#ifndef TL_SERVER_SCHEMAS_H
#define TL_SERVER_SCHEMAS_H

#include "base/buf.h"

struct api_schema {
    const char *name, *json;
};
const struct api_schema *api_schema_at(size_t i); /* NULL past the end */

/* The whole OpenAPI document, appended. */
void api_openapi(struct tl_buf *out);

#endif
