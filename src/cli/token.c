/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline token create|list|revoke`: the tokens that a server takes. A token is printed once, on standard output
 * alone, so that a script can keep it; the file has its hash. Works on the file, with no server running or several:
 * they notice. */
#include "cli/commands.h"
#include "cli/out.h"

#include "auth/auth.h"
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "market/civil.h"

enum { TIME_TEXT_MAX = 96 };

/* "2026-12-31 00:00" (UTC) for people, RFC 3339 for JSON. */
static const char *time_text(char out[TIME_TEXT_MAX], int64_t ms, bool json)
{
    struct tl_civil c;
    tl_civil_from_ms(ms, &c);
    int n = snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02d%c%02d:%02d", c.year, c.month, c.day, json ? 'T' : ' ', c.hour,
                     c.minute);
    if (json) snprintf(out + n, TIME_TEXT_MAX - (size_t)n, ":%02dZ", c.second);
    return out;
}

static void json_time(struct tl_json *j, const char *key, int64_t ms, int64_t unknown)
{
    char text[TIME_TEXT_MAX];
    tl_json_key(j, key);
    tl_json_cstr(j, ms == unknown ? NULL : time_text(text, ms, true));
}

static enum tl_status tokens_file(const struct tl_cli *cli, const char **file, struct tl_err *err)
{
    *file = tl_config_str(cli->cfg, "auth.tokens");
    if (strcmp(*file, "none") != 0) return TL_OK;
    return tl_fail(err, TL_INVALID, "auth.tokens is none: there is no file for tokens");
}

/* ---- create ---- */

/* 90d, 12h, 2026-12-31 (the day on which it ends to be valid, at 00:00 UTC). */
static enum tl_status expiry(struct tl_cli *cli, int64_t now_ms, int64_t *out, struct tl_err *err)
{
    const char *text = tl_cli_opt(cli, "expires");
    int64_t ms;
    *out = INT64_MAX;
    if (!text || strcmp(text, "never") == 0) return TL_OK;
    bool bare = strspn(text, "0123456789") == strlen(text); /* milliseconds are not what anybody means here */
    if (tl_civil_parse_date(tl_str(text), out)) {
        if (*out > now_ms) return TL_OK;
        return tl_fail(err, TL_INVALID, "--expires: %.40s is over already", text);
    }
    if (bare || !tl_duration_parse(tl_str(text), &ms) || ms < 1000 || __builtin_add_overflow(now_ms, ms, out))
        return tl_fail(err, TL_INVALID, "--expires: '%.40s' is neither a time like 90d or 12h nor a date nor never",
                       text);
    return TL_OK;
}

static enum tl_status print_created(struct tl_cli *cli, const char *name, unsigned may, int64_t expires_ms,
                                    const char *token, struct tl_err *err)
{
    if (!tl_cli_flag(cli, "json")) {
        fprintf(cli->out, "%s\n", token);
        return TL_OK;
    }
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_object(&j);
    tl_json_key(&j, "name");
    tl_json_cstr(&j, name);
    tl_json_key(&j, "scope");
    tl_json_cstr(&j, tl_may_name(may));
    json_time(&j, "expires", expires_ms, INT64_MAX);
    tl_json_key(&j, "token");
    tl_json_cstr(&j, token);
    tl_json_object_end(&j);
    enum tl_status st = tl_out_json(cli, &b, err);
    if (b.p) explicit_bzero(b.p, b.cap);
    tl_buf_release(&b);
    return st;
}

static enum tl_status create(struct tl_cli *cli, struct tl_err *err)
{
    const char *file, *name = tl_cli_arg(cli, 1), *scope = tl_cli_opt(cli, "scope");
    char token[TL_TOKEN_MAX];
    int64_t now_ms = tl_clock_wall_ms(cli->clock), expires_ms;
    if (!name) return tl_fail(err, TL_INVALID, "create takes a NAME");
    if (!scope) return tl_fail(err, TL_INVALID, "create needs --scope read, write or admin");
    unsigned may = tl_may_parse(tl_str(scope));
    enum tl_status st = tokens_file(cli, &file, err);
    if (st == TL_OK) st = expiry(cli, now_ms, &expires_ms, err);
    if (st == TL_OK) st = tl_tokens_create(file, name, may, expires_ms, now_ms, token, err);
    if (st != TL_OK) return st;
    expires_ms -= expires_ms == INT64_MAX ? 0 : expires_ms % 1000; /* as it stands in the file */
    st = print_created(cli, name, may, expires_ms, token, err);
    explicit_bzero(token, sizeof token);
    if (st == TL_OK && cli->err_tty) tl_cli_hint(cli, "this is the only time that it is shown; %s has its hash", file);
    return st;
}

/* ---- list ---- */

struct listing {
    int64_t now_ms;
    struct tl_table *table; /* one of the two */
    struct tl_json *json;
};

static bool table_row(void *ctx, const struct tl_token_row *row)
{
    const struct listing *l = ctx;
    char text[TIME_TEXT_MAX];
    tl_table_cell(l->table, row->name);
    tl_table_cell(l->table, tl_may_name(row->may));
    if (row->expires_ms == INT64_MAX)
        tl_table_cell(l->table, "never");
    else
        tl_table_cellf(l->table, "%s%s", time_text(text, row->expires_ms, false),
                       row->expires_ms <= l->now_ms ? " (expired)" : "");
    tl_table_cell(l->table, row->created_ms ? time_text(text, row->created_ms, false) : NULL);
    tl_table_cell(l->table, row->id);
    return true;
}

static bool json_row(void *ctx, const struct tl_token_row *row)
{
    const struct listing *l = ctx;
    tl_json_object(l->json);
    tl_json_key(l->json, "name");
    tl_json_cstr(l->json, row->name);
    tl_json_key(l->json, "scope");
    tl_json_cstr(l->json, tl_may_name(row->may));
    json_time(l->json, "expires", row->expires_ms, INT64_MAX);
    tl_json_key(l->json, "expired");
    tl_json_bool(l->json, row->expires_ms <= l->now_ms);
    json_time(l->json, "created", row->created_ms, 0);
    tl_json_key(l->json, "id");
    tl_json_cstr(l->json, row->id);
    tl_json_object_end(l->json);
    return true;
}

static enum tl_status list_json(struct tl_cli *cli, const char *file, struct listing *l, struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    l->json = &j;
    tl_json_array(&j);
    enum tl_status st = tl_tokens_list(file, json_row, l, err);
    tl_json_array_end(&j);
    if (st == TL_OK) st = tl_out_json(cli, &b, err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status list(struct tl_cli *cli, struct tl_err *err)
{
    static const char *const heads[] = {"<name", "<scope", "<expires", "<created", "<id"};
    const char *file;
    struct listing l = {.now_ms = tl_clock_wall_ms(cli->clock)};
    struct tl_table t;
    if (tl_cli_argc(cli) > 1) return tl_fail(err, TL_INVALID, "list takes no arguments");
    enum tl_status st = tokens_file(cli, &file, err);
    if (st != TL_OK) return st;
    if (tl_cli_flag(cli, "json")) return list_json(cli, file, &l, err);
    tl_table_init(&t, TL_COUNT(heads), heads);
    l.table = &t;
    st = tl_tokens_list(file, table_row, &l, err);
    if (st == TL_OK) st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    return st;
}

/* ---- revoke ---- */

static enum tl_status revoke(struct tl_cli *cli, struct tl_err *err)
{
    const char *file, *name = tl_cli_arg(cli, 1);
    if (!name) return tl_fail(err, TL_INVALID, "revoke takes the NAME or id of a token");
    enum tl_status st = tokens_file(cli, &file, err);
    return st == TL_OK ? tl_tokens_revoke(file, name, err) : st;
}

enum tl_status tl_cmd_token(struct tl_cli *cli, struct tl_err *err)
{
    const char *verb = tl_cli_arg(cli, 0);
    bool creating = strcmp(verb, "create") == 0;
    if (!creating && (tl_cli_opt(cli, "scope") || tl_cli_opt(cli, "expires")))
        return tl_fail(err, TL_INVALID, "--scope and --expires belong to token create");
    if (creating) return create(cli, err);
    if (strcmp(verb, "list") == 0) return list(cli, err);
    if (strcmp(verb, "revoke") == 0) return revoke(cli, err);
    return tl_fail(err, TL_INVALID, "token %.40s: only create, list and revoke are known", verb);
}
