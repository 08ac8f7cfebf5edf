/* SPDX-License-Identifier: Apache-2.0 */
/* Words out of a short list, and the nearest one to a word that is not in it. A suggestion is only made when at most
 * two letters, or a third of the word, are wrong; a word is never suggested for another of which nothing remains. */

#include "config/choice.h"

#include "base/util.h"

#include <stdio.h>

struct tl_str tl_choice_match(const char *choices, struct tl_str value)
{
    struct tl_str rest = tl_str(choices), group, word, canonical;
    while (tl_str_split(&rest, '|', &group)) {
        canonical = (struct tl_str){NULL, 0};
        while (tl_str_split(&group, ',', &word)) {
            if (!canonical.p) canonical = word;
            if (tl_str_ieq(word, value)) return canonical;
        }
    }
    return (struct tl_str){NULL, 0};
}

bool tl_choice_at(const char *choices, size_t i, struct tl_str *word)
{
    struct tl_str rest = tl_str(choices), group;
    while (tl_str_split(&rest, '|', &group)) {
        if (i-- == 0) return tl_str_split(&group, ',', word);
    }
    return false;
}

void tl_choice_list(const char *choices, const char *sep, char *out, size_t cap)
{
    struct tl_str word;
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; tl_choice_at(choices, i, &word); i++) {
        int w = snprintf(out + n, cap - n, "%s%.*s", i ? sep : "", TL_STR_ARG(word));
        if (w < 0 || (size_t)w >= cap - n) return;
        n += (size_t)w;
    }
}

struct tl_str tl_choice_nearest(const char *choices, struct tl_str value)
{
    struct tl_nearest near;
    struct tl_str word;
    tl_nearest_init(&near, value);
    for (size_t i = 0; tl_choice_at(choices, i, &word); i++) tl_nearest_offer(&near, word);
    return near.best;
}

void tl_nearest_init(struct tl_nearest *near, struct tl_str word)
{
    near->word = word;
    near->best = (struct tl_str){NULL, 0};
    size_t third = word.n / 3;
    near->distance = (unsigned)TL_MIN(TL_MAX(third, (size_t)2), (size_t)60) + 1;
}

void tl_nearest_offer(struct tl_nearest *near, struct tl_str candidate)
{
    unsigned d = tl_str_distance(near->word, candidate);
    if (d >= near->distance || d >= TL_MAX(near->word.n, candidate.n)) return;
    near->distance = d;
    near->best = candidate;
}
