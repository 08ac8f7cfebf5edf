/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long command is. Redraws by "\r" and erase-to-end-of-line on a terminal, whole lines elsewhere; writes a
 * line with one fputs, so nothing of another stream falls into it. Never wider than the terminal: a wrapped line could
 * not be taken back. */

#include "cli/out.h"

#include "base/util.h"

enum { REDRAW_MS = 100, LINE_MS = 2000, BAR_MAX = 30 };

void tl_progress_init(struct tl_progress *p, const struct tl_cli *cli, const char *label, const char *unit)
{
    *p = (struct tl_progress){.cli = cli, .label = label, .unit = unit, .start_ns = tl_clock_mono_ns(cli->clock)};
}

static bool is_bytes(const struct tl_progress *p)
{
    return strcmp(p->unit, "B") == 0;
}

static const char *amount(const struct tl_progress *p, char out[TL_HUMAN_MAX], uint64_t n)
{
    return is_bytes(p) ? tl_human_bytes(out, n) : tl_human_count(out, n);
}

/* "120/300 symbols, 45/s, ETA 4.00 s, 2 failed, 600519.SH" */
static void describe(const struct tl_progress *p, char *out, size_t cap, double seconds, uint64_t done, uint64_t total,
                     uint64_t failed, const char *item)
{
    char a[TL_HUMAN_MAX], b[TL_HUMAN_MAX], r[TL_HUMAN_MAX];
    double rate = seconds > 0.05 ? (double)done / seconds : 0;
    int n = total > 0 ? snprintf(out, cap, "%s/%s", amount(p, a, done), amount(p, b, total))
                      : snprintf(out, cap, "%s", amount(p, a, done));
    if (!is_bytes(p)) n += snprintf(out + n, cap - (size_t)n, " %s", p->unit);
    if (rate > 0) n += snprintf(out + n, cap - (size_t)n, ", %s/s", amount(p, r, (uint64_t)(rate + 0.5)));
    if (rate > 0 && total > done)
        n += snprintf(out + n, cap - (size_t)n, ", ETA %s", tl_human_seconds(r, (double)(total - done) / rate));
    if (failed > 0) n += snprintf(out + n, cap - (size_t)n, ", %s failed", tl_human_count(r, failed));
    if (item && item[0]) snprintf(out + n, cap - (size_t)n, ", %.40s", item);
}

/* Cuts to `columns` at a character's end. */
static void cut(char *text, size_t columns)
{
    size_t n = strlen(text);
    while (n > 0 && tl_text_width((struct tl_str){text, n}) > columns) {
        n--;
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    }
    text[n] = '\0';
}

static void draw(struct tl_progress *p, const char *text, uint64_t done, uint64_t total)
{
    char line[640], bar[4 * BAR_MAX + 8] = "", shown[256];
    size_t label = strlen(p->label), width = TL_MIN(p->cli->width, 200u) - 1, room = 0;
    size_t taken = label + 1 + tl_text_width(tl_str(text)) + 3;
    if (total > 0 && width > taken + 8) room = TL_MIN(width - taken, (size_t)BAR_MAX);
    if (room > 0) {
        size_t full = done >= total ? room : (size_t)((double)done / (double)total * (double)room), n = 0;
        bar[n++] = '[';
        for (size_t i = 0; i < room; i++) bar[n++] = i < full ? '#' : '.';
        bar[n++] = ']';
        bar[n++] = ' ';
        bar[n] = '\0';
    }
    snprintf(shown, sizeof shown, "%s", text);
    cut(shown, width > label + 1 ? width - label - 1 - (room ? room + 3 : 0) : 0);
    bool color = p->cli->err_color;
    snprintf(line, sizeof line, "\r%s%s%s %s%s\033[K", tl_paint(color, TL_PAINT_BOLD), p->label,
             tl_paint(color, TL_PAINT_RESET), bar, shown);
    fputs(line, p->cli->err);
    (void)!fflush(p->cli->err);
    p->on_screen = true;
}

void tl_progress_update(struct tl_progress *p, uint64_t done, uint64_t total, uint64_t failed, const char *item)
{
    if (p->cli->quiet) return;
    uint64_t now = tl_clock_mono_ns(p->cli->clock);
    uint64_t pause_ms = p->cli->err_tty ? REDRAW_MS : LINE_MS;
    uint64_t since = p->drawn_ns ? p->drawn_ns : p->cli->err_tty ? 0 : p->start_ns;
    if (since && now - since < pause_ms * 1000000u && !(p->on_screen && total > 0 && done == total)) return;
    p->drawn_ns = now;
    char text[256];
    describe(p, text, sizeof text, (double)(now - p->start_ns) / 1e9, done, total, failed, item);
    if (p->cli->err_tty)
        draw(p, text, done, total);
    else
        fprintf(p->cli->err, "%s: %s\n", p->label, text);
}

void tl_progress_clear(struct tl_progress *p)
{
    if (!p->on_screen) return;
    fputs("\r\033[K", p->cli->err);
    (void)!fflush(p->cli->err);
    p->on_screen = false;
    p->drawn_ns = 0;
}
