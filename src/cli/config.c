/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline config`: every setting and named entry, its value and where it came from. Values pass through
 * tl_url_redact, so no credentials are shown. */

#include "cli/commands.h"
#include "cli/out.h"

#include "base/err.h"
#include "base/json.h"

typedef void row_fn(void *ctx, const char *name, const char *value, const char *source);

static void json_row(void *ctx, const char *name, const char *value, const char *source)
{
    struct tl_json *j = ctx;
    tl_json_object(j);
    tl_json_key(j, "name");
    tl_json_cstr(j, name);
    tl_json_key(j, "value");
    tl_json_cstr(j, value);
    tl_json_key(j, "source");
    tl_json_cstr(j, source);
    const struct tl_setting *s = tl_setting_find(name); /* NULL: a name of the user's own */
    if (s) {
        char env[64];
        tl_setting_env(s, env);
        tl_json_key(j, "type");
        tl_json_cstr(j, tl_setting_type_name(s->type));
        tl_json_key(j, "default");
        tl_json_cstr(j, s->def);
        tl_json_key(j, "env");
        tl_json_cstr(j, env);
        tl_json_key(j, "help");
        tl_json_cstr(j, s->help);
    }
    tl_json_object_end(j);
}

static void each(const struct tl_config *cfg, row_fn *row, void *ctx)
{
    char value[4096];
    for (size_t i = 0; tl_setting_at(i); i++) {
        const char *name = tl_setting_at(i)->name;
        tl_url_redact(tl_config_text(cfg, name), value, sizeof value);
        row(ctx, name, value, tl_config_source(cfg, name));
    }
    struct tl_config_entry e;
    for (size_t i = 0; tl_config_entry(cfg, i, &e); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s", e.section, e.name);
        row(ctx, name, e.value, e.source);
    }
}

static void table_row(void *ctx, const char *name, const char *value, const char *source)
{
    tl_table_cell(ctx, name);
    tl_table_cell(ctx, source);
    tl_table_cell(ctx, value); /* last, since sets are long */
}

enum tl_status tl_cmd_config(struct tl_cli *cli, struct tl_err *err)
{
    enum tl_status st;
    if (tl_cli_flag(cli, "json")) {
        struct tl_buf b;
        struct tl_json j;
        tl_buf_init(&b, 0);
        tl_json_init(&j, &b);
        tl_json_object(&j);
        tl_json_key(&j, "file");
        tl_json_cstr(&j, tl_config_file(cli->cfg));
        tl_json_key(&j, "settings");
        tl_json_array(&j);
        each(cli->cfg, json_row, &j);
        tl_json_array_end(&j);
        tl_json_object_end(&j);
        st = tl_out_json(cli, &b, err);
        tl_buf_release(&b);
        return st;
    }
    static const char *const heads[] = {"<setting", "<from", "<value"};
    struct tl_table t;
    tl_table_init(&t, 3, heads);
    each(cli->cfg, table_row, &t);
    st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    return st;
}
