/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline indicators`: the registry, as a table, one indicator in full, or JSON. */

#include "cli/commands.h"
#include "cli/out.h"

#include "base/err.h"
#include "base/num.h"
#include "base/util.h"
#include "config/choice.h"
#include "indicator/describe.h"

#include <tierline/indicator.h>

static const char *const ma_types[] = {"SMA", "EMA", "WMA", "DEMA", "TEMA"};

static void put_value(struct tl_buf *b, const struct tl_param *p, double v)
{
    char text[TL_NUM_MAX];
    size_t type = v >= 0 && v < 100 ? (size_t)v : TL_COUNT(ma_types);
    if (p->kind == TL_PARAM_MA_TYPE && type < TL_COUNT(ma_types))
        tl_buf_puts(b, ma_types[type]);
    else
        tl_buf_put(b, text, tl_num_format(text, v));
}

static void put_inputs(struct tl_buf *b, unsigned inputs)
{
    bool any = false;
    for (unsigned bit = TL_IN_OPEN; bit <= TL_IN_VOLUME; bit *= 2) {
        if (!(inputs & bit)) continue;
        if (any) tl_buf_putc(b, ' ');
        tl_buf_puts(b, tl_indicator_input_name(bit));
        any = true;
    }
}

static enum tl_status print_json(struct tl_cli *cli, const struct tl_indicator_info *only, struct tl_err *err)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    if (only) {
        tl_indicator_json(&j, only);
    } else {
        tl_json_array(&j);
        for (size_t i = 0; i < tl_indicator_count(); i++) tl_indicator_json(&j, tl_indicator_at(i));
        tl_json_array_end(&j);
    }
    enum tl_status st = tl_out_json(cli, &b, err);
    tl_buf_release(&b);
    return st;
}

/* "MACD(FastPeriod=12, SlowPeriod=26, SignalPeriod=9)" */
static void put_usage(struct tl_buf *b, const struct tl_indicator_info *info)
{
    tl_buf_puts(b, info->name);
    for (unsigned i = 0; i < info->n_params; i++) {
        tl_buf_puts(b, i ? ", " : "(");
        tl_buf_puts(b, info->params[i].name);
        tl_buf_putc(b, '=');
        put_value(b, &info->params[i], info->params[i].def);
    }
    if (info->n_params) tl_buf_putc(b, ')');
}

static void put_outputs(struct tl_buf *b, const struct tl_indicator_info *info)
{
    for (unsigned i = 0; i < info->n_outputs; i++) {
        if (i) tl_buf_putc(b, ' ');
        tl_buf_puts(b, info->outputs[i]);
    }
}

/* "FastPeriod=12 [2, 100000], ..." */
static void put_ranges(struct tl_buf *b, const struct tl_indicator_info *info)
{
    for (unsigned i = 0; i < info->n_params; i++) {
        const struct tl_param *p = &info->params[i];
        tl_buf_printf(b, "%s%s=", i ? ", " : "", p->name);
        put_value(b, p, p->def);
        tl_buf_puts(b, " [");
        put_value(b, p, p->min);
        tl_buf_puts(b, p->kind == TL_PARAM_MA_TYPE ? " to " : ", ");
        put_value(b, p, p->max);
        tl_buf_putc(b, ']');
    }
}

static enum tl_status print_all(struct tl_cli *cli, struct tl_err *err)
{
    static const char *const heads[] = {"<indicator", "<outputs", "<title", "<parameters [range]"};
    struct tl_table t;
    struct tl_buf b;
    tl_buf_init(&b, 0);
    tl_table_init(&t, 4, heads);
    for (size_t i = 0; i < tl_indicator_count(); i++) {
        const struct tl_indicator_info *info = tl_indicator_at(i);
        struct tl_spec spec = {.info = info};
        char text[96];
        for (unsigned k = 0; k < info->n_params; k++) spec.params[k] = info->params[k].def;
        tl_table_cell(&t, tl_spec_format(&spec, text, sizeof text) ? text : info->name);
        tl_buf_clear(&b);
        put_outputs(&b, info);
        tl_table_cell(&t, tl_buf_str(&b).p);
        tl_table_cell(&t, info->title);
        tl_buf_clear(&b);
        put_ranges(&b, info);
        tl_table_cell(&t, tl_buf_str(&b).p);
    }
    enum tl_status st = tl_buf_status(&b, err);
    if (st == TL_OK) st = tl_table_print(&t, cli, err);
    tl_table_release(&t);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_one(struct tl_cli *cli, const struct tl_indicator_info *info, struct tl_err *err)
{
    static const char *const heads[] = {"<parameter", "<kind", ">default", ">min", ">max"};
    struct tl_table t;
    struct tl_buf b;
    tl_buf_init(&b, 0);
    put_usage(&b, info);
    tl_buf_printf(&b, "\n%s: %s\ninputs: ", info->group, info->title);
    put_inputs(&b, info->inputs);
    tl_buf_puts(&b, "\noutputs: ");
    put_outputs(&b, info);
    tl_buf_puts(&b, "\n");
    enum tl_status st = tl_buf_status(&b, err);
    if (st == TL_OK) fputs(tl_buf_str(&b).p, cli->out);
    if (st == TL_OK && info->n_params > 0) {
        fputc('\n', cli->out);
        tl_table_init(&t, 5, heads);
        for (unsigned i = 0; i < info->n_params; i++) {
            const struct tl_param *p = &info->params[i];
            const double values[] = {p->def, p->min, p->max};
            tl_table_cell(&t, p->name);
            tl_table_cell(&t, p->kind == TL_PARAM_MA_TYPE ? "moving average" : tl_param_kind_name(p->kind));
            for (size_t k = 0; k < TL_COUNT(values); k++) {
                tl_buf_clear(&b);
                put_value(&b, p, values[k]);
                tl_table_cell(&t, tl_buf_str(&b).p);
            }
        }
        st = tl_table_print(&t, cli, err);
        tl_table_release(&t);
    }
    tl_buf_release(&b);
    return st;
}

enum tl_status tl_cmd_indicators(struct tl_cli *cli, struct tl_err *err)
{
    const char *name = tl_cli_arg(cli, 0);
    const struct tl_indicator_info *only = name ? tl_indicator_find(name) : NULL;
    if (name && !only) {
        struct tl_nearest near;
        tl_nearest_init(&near, tl_str(name));
        for (size_t i = 0; i < tl_indicator_count(); i++) tl_nearest_offer(&near, tl_str(tl_indicator_at(i)->name));
        if (near.best.p)
            return tl_fail(err, TL_NOT_FOUND, "no indicator named '%.64s'; did you mean %.*s?", name,
                           TL_STR_ARG(near.best));
        return tl_fail(err, TL_NOT_FOUND, "no indicator named '%.64s'", name);
    }
    if (tl_cli_flag(cli, "json")) return print_json(cli, only, err);
    return only ? print_one(cli, only, err) : print_all(cli, err);
}
