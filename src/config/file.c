/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file. inih does the INI grammar, fed line by line by reader() below, which knows the true line
 * number, refuses what inih would silently drop or cut (lines over its buffer, text behind a section head, NUL bytes,
 * lines without "="), and takes two of inih's habits away: an indented line only continues the value above inside
 * [sets], and there and in [schedules] " ;" parts specs or options and begins no comment. After an error reader() ends
 * the text, so the first error is the one that is reported. */

#include "config/config.h"

#include "base/err.h"
#include "base/util.h"
#include "config/choice.h"
#include "config/config_i.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, LINE_MAX_BYTES = 8192 };

struct reading {
    struct tl_config *cfg;
    const char *file;
    struct tl_str rest;   /* [borrow] text not yet read; p == NULL at the end */
    uint64_t line;        /* of the text handed to inih last */
    char section[40];     /* "" above all sections */
    bool in_sets, parted; /* parted: ";" parts the value */
    bool continues;       /* `continues`: the line belongs to the entry of the line before */
    char pending[LINE_MAX_BYTES];
    size_t pending_n, pending_at; /* what did not fit into inih's buffer, from pending_at on */
    char entry[40];               /* name of the set under way */
    enum tl_status status;
    struct tl_err *err;
};

static void fail(struct reading *r, const char *text)
{
    r->status = tl_fail_at(r->err, TL_INVALID, r->file, r->line, 0, "%s", text);
}

static struct tl_str nearest_section(struct tl_str name)
{
    struct tl_nearest near;
    tl_nearest_init(&near, name);
    for (size_t i = 0; tl_setting_at(i); i++) {
        struct tl_str full = tl_str(tl_setting_at(i)->name), head;
        if (strchr(full.p, '.') && tl_str_split(&full, '.', &head)) tl_nearest_offer(&near, head);
    }
    tl_nearest_offer(&near, TL_STR("sets"));
    tl_nearest_offer(&near, TL_STR("sessions"));
    tl_nearest_offer(&near, TL_STR("schedules"));
    return near.best;
}

static bool section_known(struct tl_str name)
{
    if (tl_config_open_section(name)) return true;
    for (size_t i = 0; tl_setting_at(i); i++) {
        struct tl_str full = tl_str(tl_setting_at(i)->name), head;
        if (strchr(full.p, '.') && tl_str_split(&full, '.', &head) && tl_str_ieq(head, name)) return true;
    }
    return false;
}

/* A line that begins with "[". */
static void enter_section(struct reading *r, struct tl_str line)
{
    const char *end = memchr(line.p, ']', line.n);
    if (!end) {
        fail(r, "the section head has no ']'");
        return;
    }
    struct tl_str name = tl_str_trim((struct tl_str){line.p + 1, (size_t)(end - line.p) - 1});
    struct tl_str tail = tl_str_trim((struct tl_str){end + 1, line.n - (size_t)(end - line.p) - 1});
    if (tail.n > 0 && tail.p[0] != ';' && tail.p[0] != '#') {
        fail(r, "there is text behind the section head");
        return;
    }
    if (!section_known(name)) {
        struct tl_str near = nearest_section(name);
        int shown = (int)TL_MIN(name.n, (size_t)40);
        if (near.p)
            r->status = tl_fail_at(r->err, TL_INVALID, r->file, r->line, 0,
                                   "unknown section [%.*s]; did you mean [%.*s]?", shown, name.p, TL_STR_ARG(near));
        else
            r->status = tl_fail_at(r->err, TL_INVALID, r->file, r->line, 0, "unknown section [%.*s]", shown, name.p);
        return;
    }
    memcpy(r->section, name.p, name.n);
    r->section[name.n] = '\0';
    r->in_sets = tl_str_ieq(name, TL_STR("sets"));
    r->parted = r->in_sets || tl_str_ieq(name, TL_STR("schedules"));
    r->entry[0] = '\0';
}

/* The next line of the text, cleaned, into r->pending; false at the end or after an error. */
static bool next_line(struct reading *r)
{
    struct tl_str raw;
    if (r->status != TL_OK || !tl_str_split(&r->rest, '\n', &raw)) return false;
    r->line++;
    r->continues = false;
    r->pending_n = r->pending_at = 0;
    if (r->line == 1 && raw.n >= 3 && memcmp(raw.p, "\xEF\xBB\xBF", 3) == 0)
        raw = (struct tl_str){raw.p + 3, raw.n - 3};
    struct tl_str line = tl_str_trim(raw);
    if (raw.n > 0 && memchr(raw.p, '\0', raw.n)) {
        fail(r, "the line holds a NUL byte");
        return false;
    }
    if (line.n == 0 || line.p[0] == ';' || line.p[0] == '#') return true;
    if (line.p[0] == '[') {
        enter_section(r, line);
        return r->status == TL_OK;
    }
    if (line.n >= LINE_MAX_BYTES - 2) {
        fail(r, "the line is too long");
        return false;
    }
    bool assigns = memchr(line.p, '=', line.n) || (!r->in_sets && memchr(line.p, ':', line.n));
    if (!assigns) {
        if (!r->in_sets || !r->entry[0] || !isspace((unsigned char)raw.p[0])) {
            fail(r, "the line is neither 'name = value' nor '[section]' nor a comment");
            return false;
        }
        r->continues = true;
        r->pending[r->pending_n++] = ' ';
    }
    for (size_t i = 0; i < line.n; i++) {
        if (r->parted && line.p[i] == ';') {
            /* A blank before it would make it a comment to inih, and so would a cut between two of them. */
            while (r->pending_n > 0 && isspace((unsigned char)r->pending[r->pending_n - 1])) r->pending_n--;
            if (r->pending_n > 0 && r->pending[r->pending_n - 1] == ';') continue;
        }
        r->pending[r->pending_n++] = line.p[i];
    }
    return true;
}

/* ini_reader: at most cap - 1 bytes of a line. */
static char *reader(char *out, int cap, void *user)
{
    struct reading *r = user;
    size_t room = cap > 8 ? (size_t)cap - 3 : 0;
    if (r->pending_at == r->pending_n) {
        if (!next_line(r)) return NULL;
    } else {
        r->continues = true;
    }
    size_t left = r->pending_n - r->pending_at, take = left, n = 0;
    const char *from = r->pending + r->pending_at;
    if (r->pending_at > 0) {
        out[n++] = ' ';
        room--;
    }
    if (left > room) {
        take = room;
        while (take > 0 && from[take - 1] != ';') take--;
        if (!r->parted || take == 0) {
            r->status = tl_fail_at(r->err, TL_TOO_LARGE, r->file, r->line, 0,
                                   "the line has %zu bytes, more than the %zu that fit", left, room);
            return NULL;
        }
    }
    memcpy(out + n, from, take);
    n += take;
    r->pending_at += take;
    out[n++] = '\n';
    out[n] = '\0';
    return out;
}

static void unknown_key(struct reading *r, struct tl_str full)
{
    struct tl_nearest near;
    tl_nearest_init(&near, full);
    for (size_t i = 0; tl_setting_at(i); i++) tl_nearest_offer(&near, tl_str(tl_setting_at(i)->name));
    if (near.best.p)
        r->status = tl_fail_at(r->err, TL_INVALID, r->file, r->line, 0, "unknown setting '%.*s'; did you mean '%.*s'?",
                               TL_STR_ARG(full), TL_STR_ARG(near.best));
    else
        r->status = tl_fail_at(r->err, TL_INVALID, r->file, r->line, 0, "unknown setting '%.*s'", TL_STR_ARG(full));
}

static bool given_before(struct reading *r, const char *section, const char *name, uint64_t *line)
{
    if (*line == 0) {
        *line = r->line;
        return false;
    }
    r->status = tl_fail_at(r->err, TL_INVALID, r->file, r->line, 0, "%s%s%s is given twice, first in line %llu",
                           section, section[0] ? "." : "", name, (unsigned long long)*line);
    return true;
}

static void take_named(struct reading *r, const char *section, const char *name, const char *value, const char *source,
                       struct tl_err *why)
{
    if (strlen(name) >= sizeof r->entry) {
        fail(r, "the name is too long");
        return;
    }
    struct tl_config_named *e = tl_config_named_find(r->cfg, section, tl_str(name));
    if (!r->continues && e && given_before(r, section, name, &e->line)) return;
    r->status = tl_config_assign_named(r->cfg, section, tl_str(name), tl_str(value), r->continues, source, why);
    if (r->status != TL_OK) return;
    e = tl_config_named_find(r->cfg, section, tl_str(name));
    if (!r->continues) e->line = r->line;
    memcpy(r->entry, name, strlen(name) + 1);
}

/* ini_handler; inih's own idea of the section is not used. */
static int handler(void *user, const char *ini_section, const char *name, const char *value)
{
    (void)ini_section;
    struct reading *r = user;
    if (r->status != TL_OK) return 0;
    char full[128], source[512];
    snprintf(full, sizeof full, "%s%s%s", r->section, r->section[0] ? "." : "", name);
    snprintf(source, sizeof source, "file %s:%llu", r->file, (unsigned long long)r->line);
    struct tl_err why = {0};
    const char *section = tl_config_open_section(tl_str(r->section));
    const struct tl_setting *s = section ? NULL : tl_setting_find(full);
    if (section) {
        take_named(r, section, name, value, source, &why);
    } else if (!s) {
        unknown_key(r, tl_str(full));
    } else if (!given_before(r, "", s->name, &r->cfg->values[tl_config_index(s)].line)) {
        r->status = tl_config_assign(r->cfg, s, tl_str(value), source, &why);
    }
    if (r->status != TL_OK && why.status != TL_OK)
        r->status = tl_fail_at(r->err, why.status, r->file, r->line, 0, "%s", why.text);
    return r->status == TL_OK;
}

enum tl_status tl_config_parse(struct tl_config *cfg, struct tl_str text, const char *file, struct tl_err *err)
{
    struct reading *r = tl_calloc(1, sizeof *r);
    if (!r) return tl_fail(err, TL_NOMEM, "out of memory for the configuration");
    *r = (struct reading){.cfg = cfg, .file = file, .rest = text, .err = err};
    for (size_t i = 0; i < cfg->n_values; i++) cfg->values[i].line = 0;
    for (size_t i = 0; i < cfg->n_named; i++) cfg->named[i].line = 0;
    int bad = ini_parse_stream(reader, r, handler, r);
    if (r->status == TL_OK && bad != 0)
        r->status = tl_fail_at(err, bad < 0 ? TL_NOMEM : TL_INVALID, file, bad > 0 ? (uint64_t)bad : 0, 0,
                               "the line cannot be parsed");
    for (size_t i = 0; r->status == TL_OK && i < cfg->n_named; i++) {
        if (cfg->named[i].value[0] == '\0')
            r->status = tl_fail_at(err, TL_INVALID, file, cfg->named[i].line, 0, "%s.%s: the value is empty",
                                   cfg->named[i].section, cfg->named[i].name);
    }
    enum tl_status st = r->status;
    free(r);
    return st;
}

/* NOT_FOUND only when nothing is there; a file that is there and cannot be read is always an error. */
static enum tl_status read_file(const char *path, char **text, size_t *n, struct tl_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return tl_fail_errno(err, errno, "configuration %s", path);
    struct stat sb;
    enum tl_status st = TL_OK;
    char *p = NULL;
    size_t len = 0;
    if (fstat(fd, &sb) != 0) {
        st = tl_fail_errno(err, errno, "configuration %s", path);
    } else if (S_ISDIR(sb.st_mode)) {
        st = tl_fail(err, TL_INVALID, "configuration %s is a folder, not a file", path);
    } else if (!(p = tl_calloc(FILE_MAX + 1, 1))) {
        st = tl_fail(err, TL_NOMEM, "out of memory for the configuration");
    }
    while (st == TL_OK && len <= FILE_MAX) {
        ssize_t got = read(fd, p + len, FILE_MAX + 1 - len);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) st = tl_fail_errno(err, errno, "configuration %s", path);
        if (got <= 0) break;
        len += (size_t)got;
    }
    if (st == TL_OK && len > FILE_MAX) st = tl_fail(err, TL_TOO_LARGE, "configuration %s is larger than 1 MiB", path);
    close(fd);
    if (st != TL_OK) {
        free(p);
        return st;
    }
    *text = p;
    *n = len;
    return TL_OK;
}

static const char *variable(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; envp && envp[i]; i++) {
        if (strncmp(envp[i], name, n) == 0 && envp[i][n] == '=' && envp[i][n + 1] != '\0') return envp[i] + n + 1;
    }
    return NULL;
}

/* The first of the usual places that has a file; false when none has. */
static bool usual_file(char *const *envp, char *out, size_t cap)
{
    const char *xdg = variable(envp, "XDG_CONFIG_HOME"), *home = variable(envp, "HOME");
    for (int i = 0; i < 3; i++) {
        int w = -1;
        if (i == 0) w = snprintf(out, cap, "tierline.ini");
        if (i == 1 && xdg && xdg[0] == '/')
            w = snprintf(out, cap, "%s/tierline/tierline.ini", xdg);
        else if (i == 1 && home && home[0] == '/')
            w = snprintf(out, cap, "%s/.config/tierline/tierline.ini", home);
        if (i == 2) w = snprintf(out, cap, "/etc/tierline/tierline.ini");
        if (w <= 0 || (size_t)w >= cap) continue;
        if (access(out, F_OK) == 0) return true;
    }
    return false;
}

enum tl_status tl_config_load(const char *file, char *const *envp, struct tl_config **out, struct tl_err *err)
{
    *out = NULL;
    struct tl_config *cfg = tl_config_new();
    if (!cfg) return tl_fail(err, TL_NOMEM, "out of memory for the configuration");
    char path[4096];
    const char *from = file ? file : variable(envp, "TIERLINE_CONFIG");
    if (!from && usual_file(envp, path, sizeof path)) from = path;
    enum tl_status st = TL_OK;
    if (from) {
        char *text = NULL;
        size_t n = 0;
        st = read_file(from, &text, &n, err);
        if (st == TL_OK) st = tl_config_parse(cfg, (struct tl_str){text, n}, from, err);
        free(text);
        if (st == TL_OK && !(cfg->file = strdup(from))) st = tl_fail(err, TL_NOMEM, "out of memory");
    }
    if (st == TL_OK) st = tl_config_environment(cfg, envp, err);
    if (st != TL_OK) {
        tl_config_free(cfg);
        return st;
    }
    *out = cfg;
    return TL_OK;
}
