/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c and file.c share. Inside src/config only. */
#ifndef TL_CONFIG_CONFIG_I_H
#define TL_CONFIG_CONFIG_I_H

#include "base/buf.h"
#include "config/config.h"

/* Setting i of the table. Strings are owned. */
struct tl_config_value {
    char *text;
    char *source;
    int64_t number;
    uint64_t line; /* of the file under way, 0: not given there */
};

/* A name of the user's own in [sets], [sessions] or [schedules]. Strings are owned, but for section. */
struct tl_config_named {
    const char *section;
    char *name, *value, *source;
    uint64_t line;
};

struct tl_config {
    struct tl_config_value *values; /* one a setting */
    size_t n_values;
    struct tl_config_named *named;
    size_t n_named;
    char *file;
};

/* Sets one setting; `source` is copied. Errors begin with the setting's name. */
TL_MUSTCHECK enum tl_status tl_config_assign(struct tl_config *, const struct tl_setting *, struct tl_str value,
                                             const char *source, struct tl_err *err);
/* The same for a name in an open section ("sets", "sessions", "schedules"). append: behind what is there. */
TL_MUSTCHECK enum tl_status tl_config_assign_named(struct tl_config *, const char *section, struct tl_str name,
                                                   struct tl_str value, bool append, const char *source,
                                                   struct tl_err *err);
/* "sets", "sessions" or "schedules" in any case; NULL when it is none of them. */
const char *tl_config_open_section(struct tl_str name);
struct tl_config_named *tl_config_named_find(const struct tl_config *, const char *section, struct tl_str name);
size_t tl_config_index(const struct tl_setting *);

#endif
