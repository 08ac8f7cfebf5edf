/* SPDX-License-Identifier: Apache-2.0 */
/* Looks a path up among the dashboard's files. A binary without them still has something to say at "/", so that nobody
 * who opens the server in a browser is left with a problem document. */
#include "dashboard/files.h"

static const char without[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Tierline</title>\n"
    "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;"
    "padding:0 1rem}code{font-size:.9em}</style>\n"
    "<h1>Tierline</h1>\n"
    "<p>The server is running. It was built without the dashboard: install <code>nodejs</code> and <code>npm</code> "
    "and "
    "run <code>make build</code> again.</p>\n"
    "<ul>\n"
    "<li><a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>: the API</li>\n"
    "<li><a href=\"/metrics\">/metrics</a>: counters and gauges</li>\n"
    "<li><a href=\"/readyz\">/readyz</a>: whether it may be sent work</li>\n"
    "</ul>\n"
    "</html>\n";

static const struct dashboard_file explanation = {
    .path = "/",
    .type = "text/html; charset=utf-8",
    .bytes = (const unsigned char *)without,
    .n = sizeof without - 1,
};

bool dashboard_is_there(void)
{
    return dashboard_n_files > 0;
}

const struct dashboard_file *dashboard_find(struct tl_str path)
{
    bool front = tl_str_eq(path, TL_STR("/"));
    if (!dashboard_is_there()) return front ? &explanation : NULL;
    if (front) path = TL_STR("/index.html");
    for (size_t i = 0; i < dashboard_n_files; i++)
        if (tl_str_eq(path, tl_str(dashboard_files[i].path))) return &dashboard_files[i];
    return NULL;
}
