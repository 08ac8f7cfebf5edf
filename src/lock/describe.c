/* SPDX-License-Identifier: Apache-2.0 */
#include "lock/describe.h"

void tl_lease_json(struct tl_json *j, const struct tl_lease_info *l)
{
    tl_json_object(j);
    tl_json_key(j, "name");
    tl_json_cstr(j, l->name);
    tl_json_key(j, "holder");
    tl_json_cstr(j, l->holder);
    tl_json_key(j, "token");
    tl_json_u64(j, l->token);
    tl_json_key(j, "left_ms");
    tl_json_u64(j, l->left_ms);
    tl_json_key(j, "computation");
    tl_json_bool(j, l->computation);
    tl_json_object_end(j);
}
