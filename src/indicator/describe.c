/* SPDX-License-Identifier: Apache-2.0 */
/* Writes rows of the registry as JSON: what a form for an indicator is made from. */
#include "indicator/describe.h"

const char *tl_indicator_input_name(unsigned bit)
{
    return bit == TL_IN_OPEN    ? "open"
           : bit == TL_IN_HIGH  ? "high"
           : bit == TL_IN_LOW   ? "low"
           : bit == TL_IN_CLOSE ? "close"
                                : "volume";
}

const char *tl_param_kind_name(enum tl_param_kind kind)
{
    return kind == TL_PARAM_INT ? "integer" : kind == TL_PARAM_REAL ? "real" : "ma_type";
}

void tl_indicator_json(struct tl_json *j, const struct tl_indicator_info *info)
{
    tl_json_object(j);
    tl_json_key(j, "name");
    tl_json_cstr(j, info->name);
    tl_json_key(j, "group");
    tl_json_cstr(j, info->group);
    tl_json_key(j, "title");
    tl_json_cstr(j, info->title);
    tl_json_key(j, "inputs");
    tl_json_array(j);
    for (unsigned bit = TL_IN_OPEN; bit <= TL_IN_VOLUME; bit *= 2)
        if (info->inputs & bit) tl_json_cstr(j, tl_indicator_input_name(bit));
    tl_json_array_end(j);
    tl_json_key(j, "params");
    tl_json_array(j);
    for (unsigned i = 0; i < info->n_params; i++) {
        const struct tl_param *p = &info->params[i];
        tl_json_object(j);
        tl_json_key(j, "name");
        tl_json_cstr(j, p->name);
        tl_json_key(j, "kind");
        tl_json_cstr(j, tl_param_kind_name(p->kind));
        tl_json_key(j, "min");
        tl_json_num(j, p->min);
        tl_json_key(j, "max");
        tl_json_num(j, p->max);
        tl_json_key(j, "default");
        tl_json_num(j, p->def);
        tl_json_object_end(j);
    }
    tl_json_array_end(j);
    tl_json_key(j, "outputs");
    tl_json_array(j);
    for (unsigned i = 0; i < info->n_outputs; i++) tl_json_cstr(j, info->outputs[i]);
    tl_json_array_end(j);
    tl_json_key(j, "integer");
    tl_json_bool(j, info->integer);
    tl_json_object_end(j);
}
