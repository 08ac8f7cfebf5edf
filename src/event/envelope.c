/* SPDX-License-Identifier: Apache-2.0 */
/* Positions and envelopes. An event's json is always the canonical text: the members in the order of event.h, strings
 * escaped by base/json.h, "data" last and byte for byte as it was given. What comes from the wire is put into that
 * form, so that finding the data again needs no parser: no member before it is an object, and a quote inside a string
 * is escaped. Members of other programs (extensions of CloudEvents) are passed over. Knows nothing of topics' meaning.
 */
#include "event/event.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "event/types.h"
#include "market/civil.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>

enum { ID_MAX = TL_TOPIC_MAX + 64, SOURCE_MAX = 128, TIME_MAX = 40 };

/* ---- positions ---- */

int tl_position_cmp(struct tl_position a, struct tl_position b)
{
    if (a.epoch_ms != b.epoch_ms) return a.epoch_ms < b.epoch_ms ? -1 : 1;
    return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}

/* Digits alone, without a leading zero, at most max. */
static bool digits(struct tl_str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20 || (s.n > 1 && s.p[0] == '0')) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(v, UINT64_C(10), &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *out = v;
    return v <= max;
}

bool tl_position_parse(struct tl_str s, struct tl_position *out)
{
    const char *dash = s.n ? memchr(s.p, '-', s.n) : NULL;
    uint64_t epoch, seq;
    if (!dash) return false;
    struct tl_str left = {s.p, (size_t)(dash - s.p)}, right = {dash + 1, s.n - (size_t)(dash - s.p) - 1};
    if (!digits(left, INT64_MAX, &epoch) || !digits(right, UINT64_MAX, &seq)) return false;
    *out = (struct tl_position){.epoch_ms = (int64_t)epoch, .seq = seq};
    return true;
}

void tl_position_format(struct tl_position p, char out[TL_POSITION_MAX])
{
    snprintf(out, TL_POSITION_MAX, "%" PRId64 "-%" PRIu64, p.epoch_ms, p.seq);
}

/* ---- types ---- */

bool tl_event_type_ends(const char *type)
{
    return strcmp(type, TL_TYPE_COMPLETED) == 0 || strcmp(type, TL_TYPE_FAILED) == 0 ||
           strcmp(type, TL_TYPE_CANCELLED) == 0;
}

bool tl_event_type_bears_state(const char *type)
{
    return strcmp(type, TL_TYPE_PROGRESS) == 0 || strcmp(type, TL_TYPE_STARTED) == 0 || tl_event_type_ends(type);
}

bool tl_event_type_of_task(const char *type)
{
    size_t n = strlen(type), i;
    if (n > TL_EVENT_TYPE_MAX || n < 9 || strncmp(type, "task.", 5) != 0) return false;
    for (i = 5; i < n; i++) {
        bool word = (type[i] >= 'a' && type[i] <= 'z') || (type[i] >= '0' && type[i] <= '9') || type[i] == '_';
        if (!word && !(type[i] == '.' && type[i - 1] != '.')) return false;
    }
    const char *version = strrchr(type, '.');
    return version[1] == 'v' && version[2] >= '1' && version[2] <= '9' &&
           strspn(version + 2, "0123456789") == strlen(version + 2);
}

/* Any type: printable without quotes, so that it stands in JSON as it is. */
static bool type_ok(const char *type)
{
    size_t n = strlen(type);
    for (size_t i = 0; i < n; i++)
        if (type[i] <= ' ' || type[i] >= 0x7f || type[i] == '"' || type[i] == '\\') return false;
    return n >= 1 && n <= TL_EVENT_TYPE_MAX;
}

static bool topic_ok(const char *topic)
{
    size_t n = strlen(topic);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)topic[i] < ' ' || topic[i] == 0x7f) return false;
    return n >= 1 && n <= TL_TOPIC_MAX;
}

/* ---- making ---- */

struct parts {
    const char *id, *source, *type, *topic, *time;
    int64_t time_ms;
    struct tl_position position;
    struct tl_str data;
};

static void member(struct tl_json *j, const char *key, const char *value)
{
    tl_json_key(j, key);
    tl_json_cstr(j, value);
}

static struct tl_event *make(const struct parts *p)
{
    struct tl_json j;
    struct tl_buf out;
    char position[TL_POSITION_MAX];
    tl_buf_init(&out, TL_EVENT_BYTES_MAX);
    tl_json_init(&j, &out);
    tl_json_object(&j);
    member(&j, "specversion", "1.0");
    member(&j, "id", p->id);
    member(&j, "source", p->source);
    member(&j, "type", p->type);
    member(&j, "subject", p->topic);
    member(&j, "time", p->time);
    if (p->position.epoch_ms) {
        tl_position_format(p->position, position);
        member(&j, "sequence", position);
    }
    if (p->data.n) {
        tl_buf_puts(&out, ",\"data\":");
        tl_buf_put(&out, p->data.p, p->data.n);
    }
    tl_json_object_end(&j);
    struct tl_event *e = out.failed ? NULL : tl_calloc(1, sizeof *e + out.n + 1);
    if (e) {
        atomic_init(&e->refs, 1);
        bool of_task = strncmp(p->type, "task.", 5) == 0;
        e->kind = of_task && strcmp(p->type, TL_TYPE_PROGRESS) != 0 ? TL_EVENT_LIFECYCLE : TL_EVENT_STATE;
        e->item = strncmp(p->type, "task.item.", 10) == 0;
        e->last = tl_event_type_ends(p->type);
        e->position = p->position;
        e->time_ms = p->time_ms;
        snprintf(e->type, sizeof e->type, "%s", p->type);
        snprintf(e->topic, sizeof e->topic, "%s", p->topic);
        e->n = out.n;
        memcpy(e->json, out.p, out.n + 1);
    }
    tl_buf_release(&out);
    return e;
}

static void time_text(int64_t ms, char out[TIME_MAX])
{
    struct tl_civil c;
    tl_civil_from_ms(ms, &c);
    int64_t in_day = ((ms % 86400000) + 86400000) % 86400000;
    snprintf(out, TIME_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year % 10000, c.month, c.day,
             (int)(in_day / 3600000), (int)(in_day / 60000 % 60), (int)(in_day / 1000 % 60), (int)(in_day % 1000));
}

struct tl_event *tl_event_new(const char *topic, const char *type, struct tl_position position, uint64_t instance,
                              int64_t time_ms, struct tl_str data)
{
    static atomic_uint_least64_t made; /* makes the ids of events without a position differ */
    char id[ID_MAX], source[40], time[TIME_MAX], text[TL_POSITION_MAX];
    TL_ASSERT(topic_ok(topic) && type_ok(type));
    tl_position_format(position, text);
    if (position.epoch_ms)
        snprintf(id, sizeof id, "%s/%s", topic, text);
    else
        snprintf(id, sizeof id, "%s/%" PRId64 "-%" PRIuLEAST64, topic, time_ms, atomic_fetch_add(&made, 1) + 1);
    snprintf(source, sizeof source, "tierline/%016" PRIx64, instance);
    time_text(time_ms, time);
    return make(&(struct parts){.id = id,
                                .source = source,
                                .type = type,
                                .topic = topic,
                                .time = time,
                                .time_ms = time_ms,
                                .position = position,
                                .data = data});
}

struct tl_event *tl_event_ref(struct tl_event *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void tl_event_unref(struct tl_event *e)
{
    if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1) return;
    if (e->frame && e->free_frame) e->free_frame(e->frame);
    free(e);
}

struct tl_str tl_event_data(const struct tl_event *e)
{
    static const char mark[] = ",\"data\":";
    const char *at = memmem(e->json, e->n, mark, sizeof mark - 1);
    if (!at) return (struct tl_str){e->json + e->n, 0};
    at += sizeof mark - 1;
    return (struct tl_str){at, e->n - (size_t)(at - e->json) - 1};
}

/* ---- reading ---- */

/* Behind the string that begins at p[i]; the text is valid JSON. */
static size_t skip_string(struct tl_str s, size_t i)
{
    for (i++; i < s.n && s.p[i] != '"'; i++)
        if (s.p[i] == '\\') i++;
    return i + 1;
}

static size_t skip_blank(struct tl_str s, size_t i)
{
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t')) i++;
    return i;
}

/* Behind the value that begins at p[i]. */
static size_t skip_value(struct tl_str s, size_t i)
{
    size_t depth = 0;
    while (i < s.n) {
        char c = s.p[i];
        if (depth == 0 && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t')) return i;
        i = c == '"' ? skip_string(s, i) : i + 1;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        if (depth == 0 && (c == '"' || c == '}' || c == ']')) return i;
    }
    return s.n;
}

/* The text of the member "data" of the object s, which is valid JSON without line ends. Empty: none. */
static struct tl_str find_data(struct tl_str s)
{
    size_t i = skip_blank(s, 0) + 1;
    for (;;) {
        i = skip_blank(s, i);
        if (i >= s.n || s.p[i] != '"') return (struct tl_str){"", 0};
        struct tl_str key = {s.p + i, skip_string(s, i) - i};
        i = skip_blank(s, i + key.n) + 1; /* the colon */
        i = skip_blank(s, i);
        size_t end = skip_value(s, i);
        if (end > s.n) return (struct tl_str){"", 0};
        if (tl_str_eq(key, TL_STR("\"data\""))) return (struct tl_str){s.p + i, end - i};
        i = skip_blank(s, end) + 1; /* the comma */
    }
}

/* "2024-01-02T03:04:05.678Z", the fraction of any length or missing. */
static bool parse_time(const char *text, int64_t *out)
{
    struct tl_civil c = {.ms = 0};
    int used = 0, unit = 100;
    if (strlen(text) < 20) return false;
    for (size_t i = 0; i < 19; i++) { /* no signs or blanks, which sscanf would take */
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (digit == (strchr("-T:", "0000-00-00T00:00:00"[i]) != NULL)) return false;
    }
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &c.year, &c.month, &c.day, &c.hour, &c.minute, &c.second, &used) != 6)
        return false;
    const char *p = text + used;
    if (*p == '.') {
        if (p[1] < '0' || p[1] > '9') return false;
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10) c.ms += (*p - '0') * unit;
    }
    if (used != 19 || strcmp(p, "Z") != 0 || !tl_civil_valid(&c)) return false;
    *out = tl_civil_to_ms(&c);
    return true;
}

/* A member that must be a string of 1 to max bytes; NULL: it is not. */
static const char *text_of(const json_t *root, const char *key, size_t max, struct tl_err *err)
{
    const json_t *v = json_object_get(root, key);
    const char *text = json_string_value(v);
    if (text && text[0] && json_string_length(v) <= max && strlen(text) == json_string_length(v)) return text;
    (void)tl_fail(err, TL_INVALID, "an event's \"%s\" must be a string of 1 to %zu bytes", key, max);
    return NULL;
}

static enum tl_status read_parts(const json_t *root, struct tl_str json, struct parts *p, struct tl_err *err)
{
    const char *version = text_of(root, "specversion", 8, err);
    const json_t *sequence = json_object_get(root, "sequence");
    if (!version || !(p->id = text_of(root, "id", ID_MAX - 1, err)) ||
        !(p->source = text_of(root, "source", SOURCE_MAX, err)) ||
        !(p->type = text_of(root, "type", TL_EVENT_TYPE_MAX, err)) ||
        !(p->topic = text_of(root, "subject", TL_TOPIC_MAX, err)) ||
        !(p->time = text_of(root, "time", TIME_MAX - 1, err)))
        return TL_INVALID;
    if (strcmp(version, "1.0") != 0) return tl_fail(err, TL_INVALID, "an event of CloudEvents %.8s: 1.0", version);
    if (!type_ok(p->type)) return tl_fail(err, TL_INVALID, "an event's type \"%.40s\"", p->type);
    if (!topic_ok(p->topic)) return tl_fail(err, TL_INVALID, "an event's subject has control bytes");
    if (!parse_time(p->time, &p->time_ms)) return tl_fail(err, TL_INVALID, "an event's time \"%.39s\"", p->time);
    p->position = (struct tl_position){0, 0};
    if (sequence) {
        const char *text = text_of(root, "sequence", TL_POSITION_MAX - 1, err);
        if (!text) return TL_INVALID;
        if (!tl_position_parse(tl_str(text), &p->position) || p->position.epoch_ms == 0 || p->position.seq == 0)
            return tl_fail(err, TL_INVALID, "an event's sequence \"%.41s\"", text);
    }
    p->data = find_data(json);
    if ((json_object_get(root, "data") != NULL) != (p->data.n > 0))
        return tl_fail(err, TL_INVALID, "an event's \"data\" cannot be found");
    return TL_OK;
}

enum tl_status tl_event_parse(struct tl_str json, struct tl_event **out, struct tl_err *err)
{
    json_error_t why;
    *out = NULL;
    if (json.n == 0) return tl_fail(err, TL_INVALID, "an event of no bytes");
    if (json.n > TL_EVENT_BYTES_MAX)
        return tl_fail(err, TL_INVALID, "an event of %zu bytes: at most %d", json.n, TL_EVENT_BYTES_MAX);
    if (memchr(json.p, '\n', json.n) || memchr(json.p, '\r', json.n) || memchr(json.p, '\0', json.n))
        return tl_fail(err, TL_INVALID, "an event is one line");
    json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &why);
    struct parts p = {.id = NULL};
    enum tl_status st = TL_OK;
    if (!json_is_object(root)) st = tl_fail(err, TL_INVALID, "not an event: %.150s", root ? "not an object" : why.text);
    if (st == TL_OK) st = read_parts(root, json, &p, err);
    if (st == TL_OK && !(*out = make(&p)))
        st = tl_fail(err, TL_INVALID, "an event of more than %d bytes, or memory is out", TL_EVENT_BYTES_MAX);
    json_decref(root);
    return st;
}
