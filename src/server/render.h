/* SPDX-License-Identifier: Apache-2.0 */
/* The forms in which bars and indicators are handed out. */
#ifndef TL_SERVER_RENDER_H
#define TL_SERVER_RENDER_H

#include "schedule/present.h"
#include "server/api.h"

enum api_form { API_JSON, API_CSV, API_F64 };
const char *api_form_type(enum api_form);
/* By "format", else Accept. false: the call has been answered. */
bool api_accepts(struct api_call *, enum api_form *out);
/* "from", "to", "last". false: the call has been answered. */
bool api_range(struct api_call *, struct tl_grid_range *out);
void api_write_grid(enum api_form, const struct tl_grid *, size_t from, size_t to, struct tl_buf *out);

/* ---- answers that were made a moment ago ---- */

/* Loop thread. Bounded in bytes; what was read longest ago goes first. An answer is handed out as long as nothing is
 * known to have changed: neither the symbol's bars (tl_cache.on_bars) nor any generation, and at most 100 ms long,
 * since it says how old it is. */
TL_MUSTCHECK enum tl_status api_rendered_new(size_t cap_bytes, struct api_rendered **out);
void api_rendered_free(struct api_rendered *);
struct api_rendered_head {
    const char *etag, *type, *meta; /* "" where there is none */
};
/* [ref] NULL: none that may be handed out. head [borrow: until the next call]. */
struct tl_http_body *api_rendered_get(struct api *, struct tl_str key, struct api_rendered_head *head);
/* Of a symbol, from a version that was current when seq was asked for. */
void api_rendered_put(struct api *, struct tl_str key, const char *symbol, uint64_t seq, struct tl_http_body *,
                      const struct api_rendered_head *head);
/* Rises with every change that is heard of for the symbol. */
uint64_t api_rendered_seq(struct api *, const char *symbol);
/* NULL: of all symbols. */
void api_rendered_changed(struct api *, const char *symbol);

#endif
