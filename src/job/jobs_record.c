/* SPDX-License-Identifier: Apache-2.0 */
/* Records of jobs and requests for them, as JSON and back by jansson. A record is this program's own writing: what is
 * wrong in it is damage; a request is somebody else's, and its errors name the field. Checks form, not existence. */
#include "job/jobs_record.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>

void tl_job_record_release(struct tl_job_record *r)
{
    free(r->symbols);
    free(r->specs);
    r->symbols = r->specs = NULL;
}

enum tl_status tl_job_record_copy(const struct tl_job_record *r, struct tl_job_record *out)
{
    *out = *r;
    out->symbols = strdup(r->symbols ? r->symbols : "");
    out->specs = strdup(r->specs ? r->specs : "");
    if (out->symbols && out->specs) return TL_OK;
    tl_job_record_release(out);
    return TL_NOMEM;
}

bool tl_job_name_ok(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_') return false;
    return n >= 1 && n <= TL_JOB_NAME_MAX;
}

void tl_job_id_make(const char *name, int64_t wall_ms, struct tl_rng *rng, char out[TL_JOB_ID_MAX + 1])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* in rising order */
    char time[11], random[5];
    uint64_t ms = wall_ms > 0 ? (uint64_t)wall_ms : 0, r = tl_rng_u64(rng);
    for (int i = 9; i >= 0; i--, ms >>= 5) time[i] = digits[ms & 31];
    for (int i = 0; i < 4; i++, r >>= 5) random[i] = digits[r & 31];
    time[10] = random[4] = '\0';
    snprintf(out, TL_JOB_ID_MAX + 1, "%.*s-%s-%s", TL_JOB_NAME_MAX, name, time, random);
}

/* ---- records ---- */

static void put_text(struct tl_json *j, const char *key, const char *text)
{
    tl_json_key(j, key);
    tl_json_cstr(j, text && text[0] ? text : NULL);
}

static void put_number(struct tl_json *j, const char *key, int64_t n)
{
    tl_json_key(j, key);
    tl_json_i64(j, n);
}

static void put_flag(struct tl_json *j, const char *key, bool on)
{
    tl_json_key(j, key);
    tl_json_bool(j, on);
}

static void put_progress(struct tl_json *j, const struct tl_job_record *r)
{
    const struct tl_task_progress *p = &r->progress;
    put_text(j, "state", tl_task_state_name(p->state));
    put_text(j, "error", p->error);
    put_number(j, "total", (int64_t)p->total);
    put_number(j, "done", (int64_t)p->done);
    put_number(j, "computed", (int64_t)p->computed);
    put_number(j, "from_cache", (int64_t)p->from_cache);
    put_number(j, "waited", (int64_t)p->waited);
    put_number(j, "skipped", (int64_t)p->skipped);
    put_number(j, "failed", (int64_t)p->failed);
    put_number(j, "elapsed_ms", p->elapsed_ms);
    put_number(j, "errors", (int64_t)r->errors);
}

void tl_job_record_json(struct tl_buf *out, const struct tl_job_record *r)
{
    struct tl_json j;
    char date[11] = "";
    if (r->day_ms != INT64_MIN) tl_civil_format_date(r->day_ms, date);
    tl_json_init(&j, out);
    tl_json_object(&j);
    put_text(&j, "id", r->id);
    put_text(&j, "name", r->name);
    put_text(&j, "symbols", r->symbols);
    put_text(&j, "specs", r->specs);
    put_text(&j, "set", r->set);
    put_text(&j, "schedule", r->schedule);
    put_text(&j, "retry_of", r->retry_of);
    put_text(&j, "freq", tl_freq_name(r->freq));
    put_text(&j, "adjust", tl_adjust_name(r->adjust));
    put_text(&j, "suspended", r->drop_suspended ? "drop" : "keep");
    put_flag(&j, "recompute", r->recompute);
    put_text(&j, "date", date);
    put_number(&j, "posted_ms", r->posted_ms);
    put_number(&j, "started_ms", r->started_ms);
    put_number(&j, "ended_ms", r->ended_ms);
    put_progress(&j, r);
    tl_json_object_end(&j);
}

/* "" where it is missing or null; NULL where it is something else. */
static const char *text_of(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return "";
    return json_string_value(v);
}

static bool take_text(const json_t *root, const char *key, char *out, size_t cap)
{
    const char *text = text_of(root, key);
    if (!text || strlen(text) >= cap) return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool take_long_text(const json_t *root, const char *key, size_t max, char **out)
{
    const char *text = text_of(root, key);
    if (!text || strlen(text) > max) return false;
    *out = strdup(text);
    return *out != NULL;
}

static bool take_number(const json_t *root, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(root, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = json_integer_value(v);
    return true;
}

static bool take_count(const json_t *root, const char *key, uint64_t *out)
{
    int64_t n;
    if (!take_number(root, key, &n)) return false;
    *out = (uint64_t)n;
    return true;
}

/* The field that is not as it was written; NULL: none. */
static const char *take_progress(const json_t *root, struct tl_job_record *r)
{
    struct tl_task_progress *p = &r->progress;
    const char *state = text_of(root, "state");
    p->eta_ms = -1;
    if (!state || !tl_task_state_parse(tl_str(state), &p->state)) return "state";
    if (!take_text(root, "error", p->error, sizeof p->error)) return "error";
    if (!take_count(root, "total", &p->total)) return "total";
    if (!take_count(root, "done", &p->done)) return "done";
    if (!take_count(root, "computed", &p->computed)) return "computed";
    if (!take_count(root, "from_cache", &p->from_cache)) return "from_cache";
    if (!take_count(root, "waited", &p->waited)) return "waited";
    if (!take_count(root, "skipped", &p->skipped)) return "skipped";
    if (!take_count(root, "failed", &p->failed)) return "failed";
    if (!take_number(root, "elapsed_ms", &p->elapsed_ms)) return "elapsed_ms";
    return take_count(root, "errors", &r->errors) ? NULL : "errors";
}

static const char *take_record(const json_t *root, struct tl_job_record *r)
{
    const char *freq = text_of(root, "freq"), *adjust = text_of(root, "adjust"), *date = text_of(root, "date");
    const char *suspended = text_of(root, "suspended");
    r->day_ms = INT64_MIN;
    if (!take_text(root, "id", r->id, sizeof r->id) || !r->id[0]) return "id";
    if (!take_text(root, "name", r->name, sizeof r->name)) return "name";
    if (!take_long_text(root, "symbols", TL_JOB_SYMBOLS_MAX, &r->symbols)) return "symbols";
    if (!take_long_text(root, "specs", TL_JOB_SPECS_MAX, &r->specs)) return "specs";
    if (!take_text(root, "set", r->set, sizeof r->set)) return "set";
    if (!take_text(root, "schedule", r->schedule, sizeof r->schedule)) return "schedule";
    if (!take_text(root, "retry_of", r->retry_of, sizeof r->retry_of)) return "retry_of";
    if (!freq || !tl_freq_parse(tl_str(freq), &r->freq)) return "freq";
    if (!adjust || !tl_adjust_parse(tl_str(adjust), &r->adjust)) return "adjust";
    if (!suspended || (strcmp(suspended, "drop") != 0 && strcmp(suspended, "keep") != 0)) return "suspended";
    if (!date || (date[0] && !tl_civil_parse_date(tl_str(date), &r->day_ms))) return "date";
    if (!json_is_boolean(json_object_get(root, "recompute"))) return "recompute";
    if (!take_number(root, "posted_ms", &r->posted_ms)) return "posted_ms";
    if (!take_number(root, "started_ms", &r->started_ms)) return "started_ms";
    if (!take_number(root, "ended_ms", &r->ended_ms)) return "ended_ms";
    r->drop_suspended = suspended[0] == 'd';
    r->recompute = json_is_true(json_object_get(root, "recompute"));
    return take_progress(root, r);
}

enum tl_status tl_job_record_parse(struct tl_str json, struct tl_job_record *out, struct tl_err *err)
{
    *out = (struct tl_job_record){.symbols = NULL};
    if (json.n > TL_JOB_RECORD_MAX) return tl_fail(err, TL_CORRUPT, "the record of a job has %zu bytes", json.n);
    json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
    const char *wrong = root ? take_record(root, out) : "it";
    json_decref(root);
    if (!wrong) return TL_OK;
    tl_job_record_release(out);
    return tl_fail(err, TL_CORRUPT, "the record of a job is damaged: %s cannot be read", wrong);
}

/* ---- requests ---- */

/* "A,B" from a string or an array of strings, into out as a text of its own (with its NUL). */
static enum tl_status take_list(const json_t *v, const char *key, char sep, size_t max, struct tl_buf *out,
                                struct tl_err *err)
{
    size_t begin = out->n;
    if (json_is_string(v)) {
        tl_buf_puts(out, json_string_value(v));
    } else if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            const char *text = json_string_value(json_array_get(v, i));
            if (!text) return tl_fail(err, TL_INVALID, "%s: item %zu is no string", key, i + 1);
            if (i) tl_buf_putc(out, sep);
            tl_buf_puts(out, text);
        }
    } else {
        return tl_fail(err, TL_INVALID, "%s: neither a string nor an array of strings", key);
    }
    if (out->n - begin > max) return tl_fail(err, TL_TOO_LARGE, "%s: more than %zu bytes", key, max);
    if (out->n == begin) return tl_fail(err, TL_INVALID, "%s: the value is empty", key);
    tl_buf_putc(out, '\0');
    return tl_buf_status(out, err);
}

/* Where the texts of a request begin in its storage; 0: not given. */
struct texts {
    size_t name, symbols, specs, set;
};

static enum tl_status take_choice(const char *key, const char *text, struct tl_job_request *r, struct tl_err *err)
{
    if (strcmp(key, "freq") == 0 && !tl_freq_parse(tl_str(text), &r->freq))
        return tl_fail(err, TL_INVALID, "freq: '%.40s' is none of 1m, 5m, 15m, 30m, 60m, 1d, 1w, 1mo", text);
    if (strcmp(key, "adjust") == 0 && !tl_adjust_parse(tl_str(text), &r->adjust))
        return tl_fail(err, TL_INVALID, "adjust: '%.40s' is none of raw, forward, backward", text);
    if (strcmp(key, "date") == 0 && !tl_civil_parse_date(tl_str(text), &r->day_ms))
        return tl_fail(err, TL_INVALID, "date: '%.40s' is not a date (YYYY-MM-DD or YYYYMMDD)", text);
    if (strcmp(key, "suspended") == 0) {
        if (strcmp(text, "keep") != 0 && strcmp(text, "drop") != 0)
            return tl_fail(err, TL_INVALID, "suspended: '%.40s' is none of keep, drop", text);
        r->drop_suspended = text[0] == 'd';
    }
    return TL_OK;
}

static enum tl_status take_member(const char *key, const json_t *v, struct tl_job_request *r, struct texts *at,
                                  struct tl_buf *out, struct tl_err *err)
{
    static const char *const choices[] = {"freq", "adjust", "date", "suspended"};
    const struct {
        const char *key;
        size_t *at;
        char sep;
        size_t max;
    } lists[] = {{"name", &at->name, 0, TL_JOB_NAME_MAX},
                 {"set", &at->set, 0, TL_JOB_NAME_MAX},
                 {"symbols", &at->symbols, ',', TL_JOB_SYMBOLS_MAX},
                 {"specs", &at->specs, ';', TL_JOB_SPECS_MAX}};
    for (size_t i = 0; i < TL_COUNT(lists); i++) {
        if (strcmp(key, lists[i].key) != 0) continue;
        if (!lists[i].sep && !json_is_string(v)) return tl_fail(err, TL_INVALID, "%s: no string", key);
        *lists[i].at = out->n;
        return take_list(v, key, lists[i].sep, lists[i].max, out, err);
    }
    for (size_t i = 0; i < TL_COUNT(choices); i++) {
        if (strcmp(key, choices[i]) != 0) continue;
        if (!json_is_string(v)) return tl_fail(err, TL_INVALID, "%s: no string", key);
        return take_choice(key, json_string_value(v), r, err);
    }
    if (strcmp(key, "recompute") != 0)
        return tl_fail(err, TL_INVALID,
                       "'%.40s' is no field of a job (name, symbols, specs, set, freq, adjust, suspended, recompute, "
                       "date)",
                       key);
    if (!json_is_boolean(v)) return tl_fail(err, TL_INVALID, "recompute: neither true nor false");
    r->recompute = json_is_true(v);
    return TL_OK;
}

enum tl_status tl_job_request_parse(struct tl_str json, struct tl_job_request *request, char **storage,
                                    struct tl_err *err)
{
    *storage = NULL;
    if (json.n > TL_JOB_RECORD_MAX)
        return tl_fail(err, TL_TOO_LARGE, "a request of %zu bytes: at most %d", json.n, TL_JOB_RECORD_MAX);
    json_error_t why;
    json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return tl_fail_at(err, TL_PARSE, NULL, (uint64_t)TL_MAX(why.line, 1), (uint32_t)TL_MAX(why.column, 1),
                          "no JSON: %s", why.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return tl_fail(err, TL_INVALID, "a request is an object: {\"symbols\": \"all\"}");
    }
    struct tl_buf out;
    struct texts at = {0};
    struct tl_job_request r = *request;
    tl_buf_init(&out, TL_JOB_RECORD_MAX);
    tl_buf_putc(&out, '\0'); /* no text begins at 0 */
    const char *key;
    json_t *v;
    enum tl_status st = TL_OK;
    void *it = json_object_iter(root);
    for (; it && st == TL_OK; it = json_object_iter_next(root, it)) {
        key = json_object_iter_key(it);
        v = json_object_iter_value(it);
        if (!json_is_null(v)) st = take_member(key, v, &r, &at, &out, err);
    }
    json_decref(root);
    if (st == TL_OK) st = tl_buf_status(&out, err);
    char *texts = st == TL_OK ? tl_buf_take(&out, NULL) : NULL;
    tl_buf_release(&out);
    if (st != TL_OK) return st;
    r.name = at.name ? texts + at.name : r.name;
    r.symbols = at.symbols ? texts + at.symbols : r.symbols;
    r.specs = at.specs ? texts + at.specs : r.specs;
    r.set = at.set ? texts + at.set : r.set;
    *request = r;
    *storage = texts;
    return TL_OK;
}
