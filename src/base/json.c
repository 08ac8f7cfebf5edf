/* SPDX-License-Identifier: Apache-2.0 */
/* The streaming JSON writer. Invariants: a value in an object follows a key, a value in an array or at the top never
 * does, every end matches its begin; breaking one is a bug and asserts. Several values at the top are written side by
 * side without a comma, so that JSON lines need no second writer. Failures live in the buffer alone. */
#include "base/json.h"

#include "base/num.h"
#include "base/util.h"

#include <math.h>
#include <stdio.h>

enum { DEPTH_MAX = 63 };

void tl_json_init(struct tl_json *j, struct tl_buf *out)
{
    *j = (struct tl_json){.out = out};
}

static uint64_t bit(unsigned depth)
{
    return UINT64_C(1) << depth;
}

static void comma(struct tl_json *j)
{
    if (j->depth > 0 && j->has_item & bit(j->depth)) tl_buf_putc(j->out, ',');
    j->has_item |= bit(j->depth);
}

static void before_value(struct tl_json *j)
{
    bool in_object = j->depth > 0 && j->is_object & bit(j->depth);
    TL_ASSERT(in_object == j->after_key);
    if (!j->after_key) comma(j);
    j->after_key = false;
}

static void begin(struct tl_json *j, bool object)
{
    before_value(j);
    TL_ASSERT(j->depth < DEPTH_MAX);
    j->depth++;
    j->has_item &= ~bit(j->depth);
    j->is_object = object ? j->is_object | bit(j->depth) : j->is_object & ~bit(j->depth);
    tl_buf_putc(j->out, object ? '{' : '[');
}

static void end(struct tl_json *j, bool object)
{
    TL_ASSERT(j->depth > 0 && !j->after_key && object == ((j->is_object & bit(j->depth)) != 0));
    j->depth--;
    tl_buf_putc(j->out, object ? '}' : ']');
}

void tl_json_object(struct tl_json *j)
{
    begin(j, true);
}
void tl_json_object_end(struct tl_json *j)
{
    end(j, true);
}
void tl_json_array(struct tl_json *j)
{
    begin(j, false);
}
void tl_json_array_end(struct tl_json *j)
{
    end(j, false);
}

/* Length of the well-formed UTF-8 sequence at p (Unicode 15, table 3-7), 0 when it is none; *bad is then how many
 * bytes one U+FFFD stands for (the longest beginning of a sequence). */
static size_t utf8_length(const unsigned char *p, size_t n, size_t *bad)
{
    unsigned char lead = p[0], low = 0x80, high = 0xBF;
    *bad = 1;
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    size_t len = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (size_t i = 1; i < len; i++, low = 0x80, high = 0xBF) {
        if (i >= n || p[i] < low || p[i] > high) {
            *bad = i;
            return 0;
        }
    }
    return len;
}

static void put_escape(struct tl_buf *out, unsigned char c)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2) {
        if ((unsigned char)shorts[i] != c) continue;
        tl_buf_putc(out, '\\');
        tl_buf_putc(out, shorts[i + 1]);
        return;
    }
    tl_buf_printf(out, "\\u%04x", c);
}

static void put_string(struct tl_buf *out, struct tl_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t plain = 0; /* p[plain .. i) is copied as it is */
    tl_buf_putc(out, '"');
    for (size_t i = 0; i < s.n;) {
        size_t bad, len = utf8_length(p + i, s.n - i, &bad);
        bool escape = len == 1 && (p[i] < 0x20 || p[i] == '"' || p[i] == '\\');
        if (len > 0 && !escape) {
            i += len;
            continue;
        }
        tl_buf_put(out, p + plain, i - plain);
        if (escape)
            put_escape(out, p[i]);
        else
            tl_buf_puts(out, "\xEF\xBF\xBD");
        i += escape ? 1 : bad;
        plain = i;
    }
    if (s.n) tl_buf_put(out, p + plain, s.n - plain);
    tl_buf_putc(out, '"');
}

void tl_json_key(struct tl_json *j, const char *key)
{
    TL_ASSERT(j->depth > 0 && j->is_object & bit(j->depth) && !j->after_key);
    comma(j);
    put_string(j->out, tl_str(key));
    tl_buf_putc(j->out, ':');
    j->after_key = true;
}

void tl_json_str(struct tl_json *j, struct tl_str s)
{
    before_value(j);
    put_string(j->out, s);
}

void tl_json_cstr(struct tl_json *j, const char *z)
{
    if (z)
        tl_json_str(j, tl_str(z));
    else
        tl_json_null(j);
}

void tl_json_i64(struct tl_json *j, int64_t v)
{
    before_value(j);
    tl_buf_printf(j->out, "%lld", (long long)v);
}

void tl_json_u64(struct tl_json *j, uint64_t v)
{
    before_value(j);
    tl_buf_printf(j->out, "%llu", (unsigned long long)v);
}

void tl_json_num(struct tl_json *j, double v)
{
    if (!isfinite(v)) {
        tl_json_null(j);
        return;
    }
    before_value(j);
    char text[TL_NUM_MAX];
    tl_buf_put(j->out, text, tl_num_format(text, v));
}

void tl_json_bool(struct tl_json *j, bool v)
{
    before_value(j);
    tl_buf_puts(j->out, v ? "true" : "false");
}

void tl_json_null(struct tl_json *j)
{
    before_value(j);
    tl_buf_puts(j->out, "null");
}
