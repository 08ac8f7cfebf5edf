/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document, from the table of routes and the schemas of answers. */
#include "server/api.h"
#include "server/schemas.h"

#include "base/util.h"

#include <stdio.h>

static void text(struct tl_json *j, const char *key, const char *value)
{
    tl_json_key(j, key);
    tl_json_cstr(j, value);
}

/* JSON as it is, behind a key. */
static void raw(struct tl_json *j, const char *key, const char *json)
{
    tl_json_key(j, key);
    tl_json_null(j);
    j->out->n -= 4; /* "null" */
    tl_buf_puts(j->out, json);
}

static void choices(struct tl_json *j, const char *list)
{
    struct tl_str rest = tl_str(list), one;
    tl_json_key(j, "enum");
    tl_json_array(j);
    while (tl_str_split(&rest, '|', &one)) tl_json_str(j, one);
    tl_json_array_end(j);
}

static void param_schema(struct tl_json *j, const struct api_param *p)
{
    tl_json_key(j, "schema");
    tl_json_object(j);
    text(j, "type", p->kind == API_INT ? "integer" : p->kind == API_BOOL ? "boolean" : "string");
    if (p->kind == API_DATE) text(j, "format", "date");
    if (p->kind == API_DURATION) text(j, "pattern", "^[0-9]+(ms|s|m|h|d)?$");
    if (p->kind == API_INT) {
        tl_json_key(j, "minimum");
        tl_json_i64(j, p->min);
        tl_json_key(j, "maximum");
        tl_json_i64(j, p->max);
    }
    if (p->choices) choices(j, p->choices);
    tl_json_object_end(j);
}

static void params(struct tl_json *j, const struct api_param *list, const char *in)
{
    for (const struct api_param *p = list; p && p->name; p++) {
        tl_json_object(j);
        text(j, "name", p->name);
        text(j, "in", in);
        tl_json_key(j, "required");
        tl_json_bool(j, p->required || strcmp(in, "path") == 0);
        text(j, "description", p->help);
        param_schema(j, p);
        if (p->example) text(j, "example", p->example);
        tl_json_object_end(j);
    }
}

static void content(struct tl_json *j, const char *types, const char *schema)
{
    struct tl_str rest = tl_str(types), one;
    tl_json_key(j, "content");
    tl_json_object(j);
    while (tl_str_split(&rest, ' ', &one)) {
        char type[64], ref[96];
        snprintf(type, sizeof type, "%.*s", TL_STR_ARG(one));
        tl_json_key(j, type);
        tl_json_object(j);
        if (schema &&
            (strcmp(type, "application/json") == 0 || strcmp(schema, "Text") == 0 || strcmp(schema, "Bytes") == 0)) {
            snprintf(ref, sizeof ref, "{\"$ref\":\"#/components/schemas/%s\"}", schema);
            raw(j, "schema", ref);
        }
        tl_json_object_end(j);
    }
    tl_json_object_end(j);
}

static void answer(struct tl_json *j, int status, const char *summary, const char *types, const char *schema)
{
    char key[12];
    snprintf(key, sizeof key, "%d", status);
    tl_json_key(j, key);
    tl_json_object(j);
    text(j, "description", summary);
    if (schema) content(j, types ? types : "application/json", schema);
    tl_json_object_end(j);
}

static void answers(struct tl_json *j, const struct api_route *r)
{
    tl_json_key(j, "responses");
    tl_json_object(j);
    answer(j, r->status ? r->status : r->answer ? 200 : 204, r->summary, r->types, r->answer);
    if (r->also_status) answer(j, r->also_status, r->summary, NULL, r->also_answer);
    raw(j, "default", "{\"$ref\":\"#/components/responses/Problem\"}");
    tl_json_object_end(j);
}

static void operation(struct tl_json *j, const struct api_route *r)
{
    static const struct {
        enum tl_http_method method;
        const char *key;
    } keys[] = {{TL_HTTP_GET, "get"}, {TL_HTTP_PUT, "put"}, {TL_HTTP_POST, "post"}, {TL_HTTP_DELETE, "delete"}};
    for (size_t i = 0; i < TL_COUNT(keys); i++)
        if (keys[i].method == r->method) tl_json_key(j, keys[i].key);
    tl_json_object(j);
    text(j, "operationId", r->id);
    text(j, "summary", r->summary);
    tl_json_key(j, "tags");
    tl_json_array(j);
    tl_json_cstr(j, r->tag);
    tl_json_array_end(j);
    if (r->path || r->query) {
        tl_json_key(j, "parameters");
        tl_json_array(j);
        params(j, r->path, "path");
        params(j, r->query, "query");
        tl_json_array_end(j);
    }
    if (r->body) {
        tl_json_key(j, "requestBody");
        tl_json_object(j);
        tl_json_key(j, "required");
        tl_json_bool(j, true);
        content(j, r->body, NULL);
        tl_json_object_end(j);
    }
    answers(j, r);
    tl_json_key(j, "security");
    tl_json_array(j);
    if (r->may) {
        tl_json_object(j);
        tl_json_key(j, "bearer");
        tl_json_array(j);
        tl_json_array_end(j);
        tl_json_object_end(j);
    }
    tl_json_array_end(j);
    tl_json_object_end(j);
}

static bool seen_before(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(api_route_at(k)->pattern, api_route_at(i)->pattern) == 0) return true;
    return false;
}

static void paths(struct tl_json *j)
{
    const struct api_route *r, *other;
    tl_json_key(j, "paths");
    tl_json_object(j);
    for (size_t i = 0; (r = api_route_at(i)); i++) {
        if (seen_before(i)) continue;
        tl_json_key(j, r->pattern);
        tl_json_object(j);
        for (size_t k = i; (other = api_route_at(k)); k++)
            if (strcmp(other->pattern, r->pattern) == 0) operation(j, other);
        tl_json_object_end(j);
    }
    tl_json_object_end(j);
}

static void components(struct tl_json *j)
{
    tl_json_key(j, "components");
    tl_json_object(j);
    raw(j, "securitySchemes",
        "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"A token (tierline token create) or a "
        "JWT\"}}");
    raw(j, "responses",
        "{\"Problem\":{\"description\":\"What is wrong (RFC "
        "9457)\",\"content\":{\"application/problem+json\":{\"schema\":"
        "{\"$ref\":\"#/components/schemas/Problem\"}}}}}");
    tl_json_key(j, "schemas");
    tl_json_object(j);
    for (size_t i = 0; api_schema_at(i); i++) raw(j, api_schema_at(i)->name, api_schema_at(i)->json);
    tl_json_object_end(j);
    tl_json_object_end(j);
}

void api_openapi(struct tl_buf *out)
{
    struct tl_json j;
    tl_json_init(&j, out);
    tl_json_object(&j);
    text(&j, "openapi", "3.1.0");
    tl_json_key(&j, "info");
    tl_json_object(&j);
    text(&j, "title", "Tierline");
    text(&j, "version", TL_VERSION);
    text(&j, "summary", "Indicators computed once, kept in tiers, events as they happen");
    raw(&j, "license", "{\"name\":\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}");
    tl_json_object_end(&j);
    raw(&j, "servers", "[{\"url\":\"/\"}]");
    paths(&j);
    components(&j);
    tl_json_object_end(&j);
}

void api_get_openapi(struct api_call *c)
{
    api_openapi(&c->out);
    api_reply_json(c);
}
