/* SPDX-License-Identifier: Apache-2.0 */
/* The settings in force and where each came from. Every value in here has passed its check; a later source replaces an
 * earlier one whole. Files are read in file.c, value texts in value.c. Nothing is locked: load first, share read-only.
 */

#include "config/config.h"

#include "base/err.h"
#include "base/util.h"
#include "config/choice.h"
#include "config/config_i.h"
#include "config/value.h"

#include <ctype.h>
#include <stdio.h>

static const struct {
    const char *section, *name, *value;
} built_in[] = {
    {"sets", "daily", "SMA(5);SMA(10);SMA(20);SMA(60);MACD(12,26,9);RSI(14);BBANDS(20,2,2,SMA);ATR(14);KDJ(9,3,3)"},
    {"sessions", "CN", "09:30-11:30,13:00-15:00"},
    {"sessions", "HK", "09:30-12:00,13:00-16:00"},
    {"sessions", "US", "09:30-16:00"},
};

/* Variables with our prefix that are no settings. */
static const char *const other_variables[] = {"TIERLINE_CONFIG", "TIERLINE_SHARED"};

static char *copy(struct tl_str s)
{
    char *p = tl_calloc(s.n + 1, 1);
    if (p && s.n) memcpy(p, s.p, s.n);
    return p;
}

static bool replace(char **slot, struct tl_str s)
{
    char *p = copy(s);
    if (!p) return false;
    free(*slot);
    *slot = p;
    return true;
}

size_t tl_config_index(const struct tl_setting *s)
{
    return (size_t)(s - tl_setting_at(0));
}

const char *tl_config_open_section(struct tl_str name)
{
    if (tl_str_ieq(name, TL_STR("sets"))) return "sets";
    if (tl_str_ieq(name, TL_STR("sessions"))) return "sessions";
    if (tl_str_ieq(name, TL_STR("schedules"))) return "schedules";
    return NULL;
}

struct tl_config_named *tl_config_named_find(const struct tl_config *cfg, const char *section, struct tl_str name)
{
    for (size_t i = 0; i < cfg->n_named; i++) {
        struct tl_config_named *e = &cfg->named[i];
        if (strcmp(e->section, section) == 0 && tl_str_ieq(tl_str(e->name), name)) return e;
    }
    return NULL;
}

enum tl_status tl_config_assign(struct tl_config *cfg, const struct tl_setting *s, struct tl_str value,
                                const char *source, struct tl_err *err)
{
    struct tl_str canonical;
    int64_t number;
    enum tl_status st = tl_setting_check(s, value, &canonical, &number, err);
    if (st != TL_OK) return st;
    struct tl_config_value *v = &cfg->values[tl_config_index(s)];
    if (!replace(&v->text, canonical) || !replace(&v->source, tl_str(source)))
        return tl_fail(err, TL_NOMEM, "%s: out of memory", s->name);
    v->number = number;
    return TL_OK;
}

static struct tl_config_named *add_named(struct tl_config *cfg, const char *section, struct tl_str name)
{
    struct tl_config_named *grown = tl_realloc(cfg->named, cfg->n_named + 1, sizeof *grown);
    if (!grown) return NULL;
    cfg->named = grown;
    struct tl_config_named *e = &grown[cfg->n_named];
    *e = (struct tl_config_named){section, copy(name), copy(TL_STR("")), copy(TL_STR("")), 0};
    cfg->n_named++;
    return e->name && e->value && e->source ? e : NULL;
}

static bool own_name_ok(struct tl_str name)
{
    if (name.n == 0 || name.n > 32) return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (!isalnum(c) && c != '_' && c != '-') return false;
    }
    return true;
}

/* The text to keep, into out; name: the canonical name. */
static enum tl_status check_named(const char *section, struct tl_str *name, struct tl_str value, struct tl_buf *out,
                                  struct tl_err *err)
{
    if (strcmp(section, "sessions") == 0) {
        const char *market;
        enum tl_status st = tl_session_check(*name, tl_str_trim(value), &market, err);
        if (st != TL_OK) return st;
        *name = tl_str(market);
        value = tl_str_trim(value);
        tl_buf_put(out, value.p, value.n);
        return tl_buf_status(out, err);
    }
    if (!own_name_ok(*name))
        return tl_fail(err, TL_INVALID, "%s: '%.*s' is no name for a %.*s (1 to 32 letters, digits, - or _)", section,
                       (int)TL_MIN(name->n, (size_t)64), name->p, (int)strlen(section) - 1, section);
    if (strcmp(section, "schedules") == 0) { /* what it says is for the jobs, who know indicators and zones */
        value = tl_str_trim(value);
        tl_buf_put(out, value.p, value.n);
        return tl_buf_status(out, err);
    }
    char z[40];
    memcpy(z, name->p, name->n);
    z[name->n] = '\0';
    return tl_set_check(z, value, out, err);
}

enum tl_status tl_config_assign_named(struct tl_config *cfg, const char *section, struct tl_str name,
                                      struct tl_str value, bool append, const char *source, struct tl_err *err)
{
    struct tl_buf text;
    tl_buf_init(&text, 1 << 16);
    struct tl_config_named *e = tl_config_named_find(cfg, section, name);
    if (append && e) tl_buf_puts(&text, e->value);
    enum tl_status st = check_named(section, &name, value, &text, err);
    if (st == TL_OK) {
        if (!e) e = add_named(cfg, section, name);
        if (!e || !replace(&e->value, tl_buf_str(&text)) || !replace(&e->source, tl_str(source)))
            st = tl_fail(err, TL_NOMEM, "%s: out of memory", section);
    }
    tl_buf_release(&text);
    return st;
}

struct tl_config *tl_config_new(void)
{
    struct tl_config *cfg = tl_calloc(1, sizeof *cfg);
    if (!cfg) return NULL;
    while (tl_setting_at(cfg->n_values)) cfg->n_values++;
    cfg->values = tl_calloc(cfg->n_values, sizeof *cfg->values);
    bool ok = cfg->values != NULL;
    struct tl_err err;
    for (size_t i = 0; ok && i < cfg->n_values; i++) {
        const struct tl_setting *s = tl_setting_at(i);
        enum tl_status st = tl_config_assign(cfg, s, tl_str(s->def), "default", &err);
        TL_ASSERT(st == TL_OK || st == TL_NOMEM); /* a default that its own row refuses is a bug of the table */
        ok = st == TL_OK;
    }
    for (size_t i = 0; ok && i < TL_COUNT(built_in); i++) {
        /* not checked: commands that need no set must not depend on the registry */
        struct tl_config_named *e = add_named(cfg, built_in[i].section, tl_str(built_in[i].name));
        ok = e && replace(&e->value, tl_str(built_in[i].value)) && replace(&e->source, TL_STR("default"));
    }
    if (ok) return cfg;
    tl_config_free(cfg);
    return NULL;
}

void tl_config_free(struct tl_config *cfg)
{
    if (!cfg) return;
    for (size_t i = 0; cfg->values && i < cfg->n_values; i++) {
        free(cfg->values[i].text);
        free(cfg->values[i].source);
    }
    for (size_t i = 0; i < cfg->n_named; i++) {
        free(cfg->named[i].name);
        free(cfg->named[i].value);
        free(cfg->named[i].source);
    }
    free(cfg->values);
    free(cfg->named);
    free(cfg->file);
    free(cfg);
}

static enum tl_status unknown_variable(struct tl_str name, struct tl_err *err)
{
    struct tl_nearest near;
    char env[64], best[64] = "";
    tl_nearest_init(&near, name);
    for (size_t i = 0; tl_setting_at(i); i++) {
        tl_setting_env(tl_setting_at(i), env);
        unsigned before = near.distance;
        tl_nearest_offer(&near, tl_str(env));
        if (near.distance < before) memcpy(best, env, sizeof best);
    }
    for (size_t i = 0; i < TL_COUNT(other_variables); i++) {
        unsigned before = near.distance;
        tl_nearest_offer(&near, tl_str(other_variables[i]));
        if (near.distance < before) snprintf(best, sizeof best, "%s", other_variables[i]);
    }
    if (best[0])
        return tl_fail(err, TL_INVALID, "environment variable %.*s is no setting; did you mean %s?",
                       (int)TL_MIN(name.n, (size_t)80), name.p, best);
    return tl_fail(err, TL_INVALID, "environment variable %.*s is no setting (tierline config lists them)",
                   (int)TL_MIN(name.n, (size_t)80), name.p);
}

static enum tl_status assign_variable(struct tl_config *cfg, struct tl_str name, struct tl_str value,
                                      struct tl_err *err)
{
    char env[64], source[80];
    snprintf(source, sizeof source, "env %.*s", (int)TL_MIN(name.n, (size_t)64), name.p);
    for (size_t i = 0; tl_setting_at(i); i++) {
        tl_setting_env(tl_setting_at(i), env);
        if (tl_str_eq(name, tl_str(env))) return tl_config_assign(cfg, tl_setting_at(i), value, source, err);
    }
    static const struct {
        struct tl_str prefix;
        const char *section;
    } open[] = {{{"TIERLINE_SETS_", 14}, "sets"},
                {{"TIERLINE_SESSIONS_", 18}, "sessions"},
                {{"TIERLINE_SCHEDULES_", 19}, "schedules"}};
    for (size_t i = 0; i < TL_COUNT(open); i++) {
        if (name.n <= open[i].prefix.n || memcmp(name.p, open[i].prefix.p, open[i].prefix.n) != 0) continue;
        char key[33];
        struct tl_str tail = {name.p + open[i].prefix.n, name.n - open[i].prefix.n};
        if (tail.n >= sizeof key) break;
        for (size_t k = 0; k < tail.n; k++) key[k] = (char)tolower((unsigned char)tail.p[k]);
        enum tl_status st =
            tl_config_assign_named(cfg, open[i].section, (struct tl_str){key, tail.n}, value, false, source, err);
        if (st != TL_OK) return st;
        const struct tl_config_named *e = tl_config_named_find(cfg, open[i].section, (struct tl_str){key, tail.n});
        TL_ASSERT(e); /* just assigned */
        if (e->value[0] == '\0') return tl_fail(err, TL_INVALID, "%s %s: the value is empty", open[i].section, e->name);
        return TL_OK;
    }
    return unknown_variable(name, err);
}

enum tl_status tl_config_environment(struct tl_config *cfg, char *const *envp, struct tl_err *err)
{
    for (size_t i = 0; envp && envp[i]; i++) {
        struct tl_str value = tl_str(envp[i]), name;
        if (strncmp(envp[i], "TIERLINE_", 9) != 0 || !tl_str_split(&value, '=', &name)) continue;
        bool other = false;
        for (size_t k = 0; k < TL_COUNT(other_variables); k++) other |= tl_str_eq(name, tl_str(other_variables[k]));
        if (other) continue;
        struct tl_err why = {0};
        enum tl_status st = assign_variable(cfg, name, value, &why);
        if (st == TL_OK) continue;
        if (strncmp(why.text, "environment", 11) == 0) return tl_fail(err, st, "%s", why.text);
        return tl_fail(err, st, "environment variable %.*s: %s", TL_STR_ARG(name), why.text);
    }
    return TL_OK;
}

enum tl_status tl_config_flag(struct tl_config *cfg, const char *name, const char *value, const char *flag,
                              struct tl_err *err)
{
    const struct tl_setting *s = tl_setting_find(name);
    TL_ASSERT(s != NULL);
    char source[80];
    snprintf(source, sizeof source, "flag %s", flag);
    struct tl_err why = {0};
    enum tl_status st = tl_config_assign(cfg, s, tl_str(value), source, &why);
    if (st == TL_OK) return TL_OK;
    const char *colon = strchr(why.text, ':'); /* the flag instead of the setting's name */
    return tl_fail(err, st, "%s%s", flag, colon ? colon : ": bad value");
}

static const struct tl_config_value *value_of(const struct tl_config *cfg, const char *name, unsigned types)
{
    const struct tl_setting *s = tl_setting_find(name);
    TL_ASSERT(s != NULL);
    TL_ASSERT(types & (1u << s->type));
    return &cfg->values[tl_config_index(s)];
}

const char *tl_config_str(const struct tl_config *cfg, const char *name)
{
    return value_of(cfg, name, 1u << TL_SETTING_STRING | 1u << TL_SETTING_ENUM)->text;
}

int64_t tl_config_int(const struct tl_config *cfg, const char *name)
{
    return value_of(cfg, name, 1u << TL_SETTING_INT | 1u << TL_SETTING_BYTES | 1u << TL_SETTING_DURATION)->number;
}

bool tl_config_bool(const struct tl_config *cfg, const char *name)
{
    return value_of(cfg, name, 1u << TL_SETTING_BOOL)->number != 0;
}

const char *tl_config_text(const struct tl_config *cfg, const char *name)
{
    return value_of(cfg, name, ~0u)->text;
}

const char *tl_config_source(const struct tl_config *cfg, const char *name)
{
    return value_of(cfg, name, ~0u)->source;
}

const char *tl_config_file(const struct tl_config *cfg)
{
    return cfg->file;
}

bool tl_config_entry(const struct tl_config *cfg, size_t i, struct tl_config_entry *out)
{
    if (i >= cfg->n_named) return false;
    const struct tl_config_named *e = &cfg->named[i];
    bool from_file = strncmp(e->source, "file ", 5) == 0;
    *out = (struct tl_config_entry){e->section, e->name, e->value, e->source, from_file ? e->line : 0};
    return true;
}

enum tl_status tl_config_set(const struct tl_config *cfg, const char *name, const char **specs, struct tl_err *err)
{
    const struct tl_config_named *e = tl_config_named_find(cfg, "sets", tl_str_trim(tl_str(name)));
    *specs = NULL;
    if (e) {
        *specs = e->value;
        return TL_OK;
    }
    struct tl_nearest near;
    tl_nearest_init(&near, tl_str(name));
    char all[160] = "";
    size_t n = 0;
    for (size_t i = 0; i < cfg->n_named; i++) {
        if (strcmp(cfg->named[i].section, "sets") != 0) continue;
        tl_nearest_offer(&near, tl_str(cfg->named[i].name));
        int w = snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", cfg->named[i].name);
        if (w > 0 && (size_t)w < sizeof all - n) n += (size_t)w;
    }
    all[n] = '\0';
    if (near.best.p)
        return tl_fail(err, TL_NOT_FOUND, "no set named '%.64s'; did you mean '%.*s'?", name, TL_STR_ARG(near.best));
    return tl_fail(err, TL_NOT_FOUND, "no set named '%.64s'; there are %s", name, all);
}

const char *tl_config_sessions(const struct tl_config *cfg, const char *market)
{
    const struct tl_config_named *e = tl_config_named_find(cfg, "sessions", tl_str(market));
    return e ? e->value : NULL;
}
