/* SPDX-License-Identifier: Apache-2.0 */
/* Life of an indicator series. */
#include "series/series.h"

#include <stdlib.h>

void tl_series_init(struct tl_series *s)
{
    *s = (struct tl_series){0};
}

void tl_series_release(struct tl_series *s)
{
    free(s->rows);
    tl_series_init(s);
}
