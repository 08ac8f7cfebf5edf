/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration text: the parser takes any bytes, ends, and either fails with a place or leaves settings that can all
 * be read. The first byte chooses between file and environment. */
#include "base/err.h"
#include "base/util.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_everything(const struct tl_config *cfg)
{
    char out[256];
    for (size_t i = 0; tl_setting_at(i); i++) {
        const struct tl_setting *s = tl_setting_at(i);
        TL_ASSERT(tl_config_text(cfg, s->name)[0] != '\0');
        TL_ASSERT(tl_config_source(cfg, s->name)[0] != '\0');
        tl_url_redact(tl_config_text(cfg, s->name), out, sizeof out);
    }
    struct tl_config_entry e;
    for (size_t i = 0; tl_config_entry(cfg, i, &e); i++) TL_ASSERT(e.value[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tl_config *cfg = tl_config_new();
    if (!cfg || size == 0) {
        tl_config_free(cfg);
        return 0;
    }
    struct tl_err err = {0};
    enum tl_status st;
    if (data[0] == 1) {
        char *entry = tl_calloc(size + 10, 1);
        TL_ASSERT(entry != NULL);
        memcpy(entry, "TIERLINE_", 9);
        memcpy(entry + 9, data + 1, size - 1);
        char *envp[] = {entry, NULL};
        st = tl_config_environment(cfg, envp, &err);
        free(entry);
    } else {
        st = tl_config_parse(cfg, (struct tl_str){(const char *)data + 1, size - 1}, "fuzz.ini", &err);
        TL_ASSERT(st == TL_OK || st == TL_NOMEM || err.line > 0);
    }
    TL_ASSERT(st == TL_OK || err.text[0] != '\0');
    if (st == TL_OK) read_everything(cfg);
    tl_config_free(cfg);
    return 0;
}
