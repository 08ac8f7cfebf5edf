/* SPDX-License-Identifier: Apache-2.0 */
/* Writing and reading announcements. What comes from the channel is untrusted: sizes and types are checked, unknown
 * members and types are passed over. Sends nothing itself. */
#include "cache/announce.h"

#include "base/json.h"
#include "cache/key.h"
#include "market/civil.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void time_text(int64_t ms, char out[40])
{
    struct tl_civil c;
    tl_civil_from_ms(ms, &c);
    int64_t in_day = ((ms % 86400000) + 86400000) % 86400000;
    snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year % 10000, c.month, c.day, (int)(in_day / 3600000),
             (int)(in_day / 60000 % 60), (int)(in_day / 1000 % 60), (int)(in_day % 1000));
}

/* The envelope up to and with `"data":{`. id only needs to be unique within its source. */
static void begin(struct tl_json *j, struct tl_buf *out, uint64_t instance, int64_t now_ms, const char *type,
                  const char *subject, uint64_t id)
{
    char text[64];
    tl_json_init(j, out);
    tl_json_object(j);
    tl_json_key(j, "specversion");
    tl_json_cstr(j, "1.0");
    tl_json_key(j, "id");
    snprintf(text, sizeof text, "%" PRIu64, id);
    tl_json_cstr(j, text);
    tl_json_key(j, "source");
    snprintf(text, sizeof text, "tierline/%016" PRIx64, instance);
    tl_json_cstr(j, text);
    tl_json_key(j, "type");
    tl_json_cstr(j, type);
    tl_json_key(j, "subject");
    tl_json_cstr(j, subject);
    tl_json_key(j, "time");
    time_text(now_ms, text);
    tl_json_cstr(j, text);
    tl_json_key(j, "data");
    tl_json_object(j);
}

static void member_i64(struct tl_json *j, const char *key, int64_t v)
{
    tl_json_key(j, key);
    tl_json_i64(j, v);
}

void tl_announce_put(struct tl_buf *out, uint64_t instance, int64_t now_ms, struct tl_str key, const struct tl_entry *e)
{
    struct tl_json j;
    char text[20];
    begin(&j, out, instance, now_ms, "cache.put.v1", "cache", ((uint64_t)e->general.ms << 16) ^ e->general.seq);
    tl_json_key(&j, "key");
    tl_json_str(&j, key);
    member_i64(&j, "ms", e->general.ms);
    tl_json_key(&j, "instance");
    snprintf(text, sizeof text, "%016" PRIx64, e->general.instance);
    tl_json_cstr(&j, text);
    member_i64(&j, "seq", e->general.seq);
    tl_json_object_end(&j);
    tl_json_object_end(&j);
}

void tl_announce_invalidate(struct tl_buf *out, struct tl_buf *tail, uint64_t instance, int64_t now_ms,
                            struct tl_str scope, uint64_t before, uint64_t generation, bool stored)
{
    struct tl_json j;
    begin(&j, out, instance, now_ms, "cache.invalidate.v1", "cache", (uint64_t)now_ms);
    tl_json_key(&j, "scope");
    tl_json_str(&j, scope);
    member_i64(&j, "before", (int64_t)before);
    tl_json_key(&j, "stored");
    tl_json_bool(&j, stored);
    tl_json_key(&j, "generation");
    if (generation > 0) {
        tl_json_i64(&j, (int64_t)generation);
        tl_json_object_end(&j);
        tl_json_object_end(&j);
    } else {
        tl_buf_puts(tail, "}}");
    }
}

void tl_announce_market(struct tl_buf *out, uint64_t instance, int64_t now_ms, const struct tl_symbol *symbol,
                        enum tl_freq freq, enum tl_adjust adjust, struct tl_version v)
{
    struct tl_json j;
    char subject[16 + TL_SYMBOL_MAX];
    snprintf(subject, sizeof subject, "market/%s", symbol->text);
    begin(&j, out, instance, now_ms, "market.update.v1", subject, (uint64_t)now_ms);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, symbol->text);
    tl_json_key(&j, "freq");
    tl_json_cstr(&j, tl_freq_name(freq));
    tl_json_key(&j, "adjust");
    tl_json_cstr(&j, tl_adjust_name(adjust));
    member_i64(&j, "revision", v.revision);
    member_i64(&j, "bars", v.bars);
    member_i64(&j, "last_ts", v.last_ts);
    tl_json_object_end(&j);
    tl_json_object_end(&j);
}

/* ---- reading ---- */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int64_t int_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool parse_market(const json_t *data, struct tl_announcement *out)
{
    const char *symbol = text_of(data, "symbol"), *freq = text_of(data, "freq"), *adjust = text_of(data, "adjust");
    if (!symbol || !freq || !adjust || strlen(symbol) >= TL_SYMBOL_MAX) return false;
    memcpy(out->symbol.text, symbol, strlen(symbol) + 1);
    out->version = (struct tl_version){
        .revision = int_of(data, "revision"), .bars = int_of(data, "bars"), .last_ts = int_of(data, "last_ts")};
    return tl_freq_parse(tl_str(freq), &out->freq) && tl_adjust_parse(tl_str(adjust), &out->adjust);
}

static bool parse_data(const json_t *data, const char *type, struct tl_announcement *out)
{
    out->type = strcmp(type, "cache.put.v1") == 0          ? TL_ANNOUNCE_PUT
                : strcmp(type, "cache.invalidate.v1") == 0 ? TL_ANNOUNCE_INVALIDATE
                : strcmp(type, "market.update.v1") == 0    ? TL_ANNOUNCE_MARKET
                                                           : TL_ANNOUNCE_OTHER;
    if (out->type == TL_ANNOUNCE_OTHER) return true;
    if (out->type == TL_ANNOUNCE_MARKET) return parse_market(data, out);
    const char *key = text_of(data, out->type == TL_ANNOUNCE_PUT ? "key" : "scope");
    if (!key || strlen(key) > TL_KEY_MAX) return false;
    memcpy(out->key, key, strlen(key) + 1);
    if (out->type == TL_ANNOUNCE_PUT) {
        const char *instance = text_of(data, "instance");
        if (!instance) return false;
        out->stamp = (struct tl_stamp){
            .ms = int_of(data, "ms"), .instance = strtoull(instance, NULL, 16), .seq = (uint32_t)int_of(data, "seq")};
        return true;
    }
    int64_t generation = int_of(data, "generation"), before = int_of(data, "before");
    if (generation <= 0 || before < 0) return false;
    out->generation = (uint64_t)generation;
    out->before = (uint64_t)before;
    out->stored = json_is_true(json_object_get(data, "stored"));
    return true;
}

bool tl_announcement_parse(struct tl_str message, struct tl_announcement *out)
{
    *out = (struct tl_announcement){.type = TL_ANNOUNCE_OTHER};
    if (message.n > 65536) return false;
    json_t *root = json_loadb(message.p, message.n, 0, NULL);
    const char *type = text_of(root, "type"), *source = text_of(root, "source");
    const json_t *data = json_object_get(root, "data");
    bool ok = type && source && json_is_object(data) && parse_data(data, type, out);
    if (ok && strncmp(source, "tierline/", 9) == 0) out->source = strtoull(source + 9, NULL, 16);
    json_decref(root);
    return ok;
}
