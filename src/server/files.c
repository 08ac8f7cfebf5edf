/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the dashboard, as they are in the binary: packed when it was built. Anybody may have them, from any Host:
 * they hold no data, and the page asks the API for it like every other client. */
#include "base/util.h"
#include "server/call.h"

#define POLICY                                                                                                         \
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "                 \
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"

static bool is_page(const struct dashboard_file *f)
{
    return strncmp(f->type, "text/html", strlen("text/html")) == 0;
}

void api_send_file(struct tl_http_request *r, const struct dashboard_file *f)
{
    const struct tl_http_header_row rows[] = {
        {"Cache-Control", f->immutable ? "public, max-age=31536000, immutable" : "no-cache"},
        {"Content-Security-Policy", POLICY}, /* from here on for pages alone */
        {"Referrer-Policy", "no-referrer"}};
    struct tl_http_body *body = tl_http_body_wrap(f->bytes, f->n, NULL, NULL);
    struct tl_http_body *gzip = f->gzip ? tl_http_body_wrap(f->gzip, f->n_gzip, NULL, NULL) : NULL;
    if (!body || (f->gzip && !gzip)) {
        tl_http_body_unref(body);
        tl_http_body_unref(gzip);
        tl_http_fail(r, TL_NOMEM, NULL, NULL);
        return;
    }
    if (gzip) tl_http_body_set_gzip(body, gzip);
    tl_http_reply(r, &(struct tl_http_answer){.status = 200,
                                              .type = f->type,
                                              .body = body,
                                              .etag = f->etag,
                                              .headers = rows,
                                              .n_headers = is_page(f) ? TL_COUNT(rows) : 1,
                                              .compress = gzip != NULL});
}
