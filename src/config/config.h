/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: one table (settings.tbl.h), four sources, later ones win: defaults < file < environment < flags.
 * File: INI; `store.busy_ms` is key busy_ms in section [store], or the key store.busy_ms above all sections.
 * Environment: TIERLINE_STORE_BUSY_MS. Three sections hold names of the user's own: [sets] (lists of indicator specs),
 * [sessions] (trading hours by market) and [schedules] (when jobs run; what is in them src/job reads and checks).
 * A key or variable that is no setting, a bad value and a key given twice are errors, never ignored. */
#ifndef TL_CONFIG_CONFIG_H
#define TL_CONFIG_CONFIG_H

#include "base/str.h"
#include <tierline/status.h>

enum tl_setting_type {
    TL_SETTING_STRING,
    TL_SETTING_INT,
    TL_SETTING_BOOL,     /* true/false yes/no on/off 1/0 */
    TL_SETTING_ENUM,     /* one of `choices` */
    TL_SETTING_BYTES,    /* 1048576, 64KiB, 64MiB, 2GiB (K, M, G alone mean the same) */
    TL_SETTING_DURATION, /* milliseconds: 500, 500ms, 5s, 2m, 1h */
};

struct tl_setting {
    const char *name; /* "store.busy_ms" */
    enum tl_setting_type type;
    const char *def;     /* as it would stand in the file */
    int64_t min, max;    /* INT, BYTES, DURATION */
    const char *choices; /* ENUM: "keep|drop" */
    const char *help;
};

/* NULL past the end / when there is none. */
const struct tl_setting *tl_setting_at(size_t i);
const struct tl_setting *tl_setting_find(const char *name);
const char *tl_setting_type_name(enum tl_setting_type);
/* "TIERLINE_STORE_BUSY_MS". */
void tl_setting_env(const struct tl_setting *, char out[64]);

/* 500, 500ms, 5s, 2m, 1h, 7d: a bare number is milliseconds. false: none, or out of range. */
bool tl_duration_parse(struct tl_str, int64_t *ms);

struct tl_config;

/* [own] Defaults only. NULL when memory is out. */
struct tl_config *tl_config_new(void);
void tl_config_free(struct tl_config *);

/* Defaults, then the file, then the environment. file: that of --config (NOT_FOUND when it is not there); NULL:
 * TIERLINE_CONFIG, else the first that exists of ./tierline.ini, $XDG_CONFIG_HOME/tierline/tierline.ini
 * (~/.config when unset), /etc/tierline/tierline.ini. envp: as in environ, NULL: none.
 * Errors name file and line, or the variable. */
TL_MUSTCHECK enum tl_status tl_config_load(const char *file, char *const *envp, struct tl_config **out,
                                           struct tl_err *err);
/* INI text as if it stood in `file`. On failure the settings are undefined: free them. */
TL_MUSTCHECK enum tl_status tl_config_parse(struct tl_config *, struct tl_str text, const char *file,
                                            struct tl_err *err);
/* Every TIERLINE_* variable of envp. */
TL_MUSTCHECK enum tl_status tl_config_environment(struct tl_config *, char *const *envp, struct tl_err *err);
/* One value by a flag ("--workers"); errors name the flag. */
TL_MUSTCHECK enum tl_status tl_config_flag(struct tl_config *, const char *name, const char *value, const char *flag,
                                           struct tl_err *err);

/* Values; `name` must be in the table and of the type (asserted). [borrow: until the next change] */
const char *tl_config_str(const struct tl_config *, const char *name); /* STRING, ENUM */
int64_t tl_config_int(const struct tl_config *, const char *name);     /* INT, BYTES, DURATION */
bool tl_config_bool(const struct tl_config *, const char *name);
/* Any type, as text. */
const char *tl_config_text(const struct tl_config *, const char *name);
/* "default", "file /etc/tierline/tierline.ini:12", "env TIERLINE_STORE", "flag --store". */
const char *tl_config_source(const struct tl_config *, const char *name);
/* The file that was read, NULL when there was none. */
const char *tl_config_file(const struct tl_config *);

/* [sets], [sessions] and [schedules]; built in: daily, CN, HK, US. Names in any case. */
struct tl_config_entry {
    const char *section; /* "sets", "sessions", "schedules" */
    const char *name;
    const char *value; /* "SMA(5);RSI(14)", "09:30-11:30,13:00-15:00" */
    const char *source;
    uint64_t line; /* of tl_config_file(); 0: it is not from there */
};
/* false past the end. */
bool tl_config_entry(const struct tl_config *, size_t i, struct tl_config_entry *out);
/* Specs of a set parted by ";"; NOT_FOUND with the nearest name. */
TL_MUSTCHECK enum tl_status tl_config_set(const struct tl_config *, const char *name, const char **specs,
                                          struct tl_err *err);
/* NULL: no sessions for that market. */
const char *tl_config_sessions(const struct tl_config *, const char *market);

/* `url` with user, password and secret query values replaced by "***"; always terminated. */
void tl_url_redact(const char *url, char *out, size_t cap);

#endif
