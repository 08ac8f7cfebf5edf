/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all indicators, in the order of names, and looking one up. Each row is defined beside its kernel. */
#include "indicator/rows.h"

#include "base/str.h"
#include "base/util.h"

static const struct tl_indicator *const rows[] = {
#define X(name) &tl_ind_##name,
#include "indicator/indicators.tbl.h"
#undef X
};

size_t tl_indicator_count(void)
{
    return TL_COUNT(rows);
}

const struct tl_indicator_info *tl_indicator_at(size_t i)
{
    return i < TL_COUNT(rows) ? &rows[i]->info : NULL;
}

/* Names are upper case. Returns like strcmp. */
static int compare(const char *text, const char *name)
{
    for (;; text++, name++) {
        char c = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;
        if (c != *name) return (unsigned char)c < (unsigned char)*name ? -1 : 1;
        if (c == '\0') return 0;
    }
}

const struct tl_indicator_info *tl_indicator_find(const char *name)
{
    size_t low = 0, high = TL_COUNT(rows);
    while (name && low < high) {
        size_t mid = low + (high - low) / 2;
        int order = compare(name, rows[mid]->info.name);
        if (order == 0) return &rows[mid]->info;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct tl_indicator *tl_indicator_of(const struct tl_indicator_info *info)
{
    _Static_assert(offsetof(struct tl_indicator, info) == 0, "a row begins with its public part");
    return (const struct tl_indicator *)(const void *)info;
}
