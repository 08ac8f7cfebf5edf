/* SPDX-License-Identifier: Apache-2.0 */
/* Choices as text ("raw,none|forward,qfq": canonical words parted by "|", other spellings after ",") and
 * "did you mean". Pure. */
#ifndef TL_CONFIG_CHOICE_H
#define TL_CONFIG_CHOICE_H

#include "base/str.h"

/* The canonical word that `value` (any case) stands for; p == NULL when it stands for none. */
struct tl_str tl_choice_match(const char *choices, struct tl_str value);
/* The i-th canonical word; false past the end. */
bool tl_choice_at(const char *choices, size_t i, struct tl_str *word);
/* Canonical words with `sep` between them; cut to cap, always terminated. */
void tl_choice_list(const char *choices, const char *sep, char *out, size_t cap);
/* The canonical word nearest to `value`, p == NULL when none is near. */
struct tl_str tl_choice_nearest(const char *choices, struct tl_str value);

/* Finds the candidate nearest to `word`: init, offer each, read `best` (p == NULL: none is near enough to name). */
struct tl_nearest {
    struct tl_str word, best;
    unsigned distance;
};
void tl_nearest_init(struct tl_nearest *, struct tl_str word);
void tl_nearest_offer(struct tl_nearest *, struct tl_str candidate);

#endif
