/* SPDX-License-Identifier: Apache-2.0 */
/* Specs from any bytes: the parser ends, and either fails with a place inside the text, or gives a spec whose canonical
 * text reads back to the same spec and which computes over a few bars. */
#include "base/util.h"

#include <tierline/indicator.h>

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BARS = 64 };

static void compute(const struct tl_spec *spec)
{
    double column[BARS], results[TL_INDICATOR_OUTPUTS_MAX][BARS];
    for (int i = 0; i < BARS; i++) column[i] = 100 + (i * 37) % 11;
    struct tl_input in = {column, column, column, column, column};
    double *out[TL_INDICATOR_OUTPUTS_MAX] = {results[0], results[1], results[2]};
    enum tl_status st = tl_indicator_compute(spec, &in, BARS, out, NULL);
    TL_ASSERT(st == (tl_spec_lookback(spec) < BARS ? TL_OK : TL_TOO_FEW_BARS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = tl_calloc(size + 1, 1);
    TL_ASSERT(text != NULL);
    memcpy(text, data, size);
    struct tl_spec spec, again;
    struct tl_err err = {0};
    enum tl_status st = tl_spec_parse(text, &spec, &err);
    if (st == TL_OK) {
        char canonical[96];
        size_t n = tl_spec_format(&spec, canonical, sizeof canonical);
        TL_ASSERT(n > 0 && n == strlen(canonical));
        TL_ASSERT(tl_spec_parse(canonical, &again, NULL) == TL_OK);
        TL_ASSERT(memcmp(&spec, &again, sizeof spec) == 0);
        compute(&spec);
    } else {
        TL_ASSERT(err.status == st && err.text[0] != '\0');
        TL_ASSERT(err.column >= 1 && err.column <= strlen(text) + 1);
    }
    free(text);
    return 0;
}
