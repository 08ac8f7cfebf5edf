/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of the reference outputs. Everything is kept as the text that was read; rows are parsed on demand, since
 * they are looked at only when a hash differs. */
#include "reference_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    size_t len = 0, cap = 1 << 16;
    char *text = malloc(cap + 1);
    while (text) {
        len += fread(text + len, 1, cap - len, f);
        if (len < cap) break;
        cap *= 2;
        char *more = realloc(text, cap + 1);
        if (!more) free(text);
        text = more;
    }
    fclose(f);
    if (text) text[len] = '\0';
    return text;
}

bool ref_bars_load(struct ref_bars *bars, const char *path)
{
    *bars = (struct ref_bars){0};
    char *text = read_text(path);
    if (!text) return false;
    size_t lines = 0;
    for (const char *p = text; *p; p++) lines += *p == '\n';
    double *v = calloc(5 * (lines + 1), sizeof *v);
    if (v) *bars = (struct ref_bars){0, v, v + lines, v + 2 * lines, v + 3 * lines, v + 4 * lines};
    char *line = strchr(text, '\n'); /* the header is skipped */
    bool ok = v && line;
    while (ok && *++line) {
        char *end = strchr(line, '\n');
        size_t i = bars->n++;
        ok = end && sscanf(line, "%*u,%*[0-9-],%lf,%lf,%lf,%lf,%lf", &bars->open[i], &bars->high[i], &bars->low[i],
                           &bars->close[i], &bars->volume[i]) == 5;
        if (ok) line = end;
    }
    free(text);
    if (!ok) ref_bars_release(bars);
    return ok;
}

void ref_bars_release(struct ref_bars *bars)
{
    free(bars->open);
    *bars = (struct ref_bars){0};
}

bool ref_file_load(struct ref_file *file, const char *path)
{
    file->text = file->next = read_text(path);
    return file->text != NULL;
}

void ref_file_release(struct ref_file *file)
{
    free(file->text);
    *file = (struct ref_file){0};
}

bool ref_file_next(struct ref_file *file, struct ref_block *b, bool *malformed)
{
    *malformed = false;
    while (*file->next && strncmp(file->next, "F ", 2) != 0) {
        char *end = strchr(file->next, '\n');
        file->next = end ? end + 1 : file->next + strlen(file->next);
    }
    if (!*file->next) return false;
    *malformed = true;
    char outs[200], fmt[16], sumabs[200];
    unsigned long long fnv;
    if (sscanf(file->next, "F %31s %7s %399s lookback=%zu begin=%zu nb=%zu fnv=%llx outs=%199s sumabs=%199s fmt=%15s",
               b->function, b->set, b->params, &b->lookback, &b->begin, &b->rows, &fnv, outs, sumabs, fmt) != 10)
        return false;
    char *line = strchr(file->next, '\n'), *dot = line ? strstr(line, "\n.\n") : NULL;
    if (!dot) return false;
    b->fnv = fnv;
    b->integer = strstr(outs, ":i") != NULL;
    b->sparse = strcmp(fmt, "sparse") == 0;
    b->stored = line + 1;
    file->next = dot + 3;
    *malformed = false;
    return true;
}

bool ref_block_param(const struct ref_block *b, const char *name, double *value)
{
    size_t len = strlen(name);
    for (const char *p = b->params; p; p = strchr(p, ',')) {
        if (*p == ',') p++;
        if (strncmp(p, name, len) != 0 || p[len] != '=') continue;
        char *end;
        *value = strtod(p + len + 1, &end);
        return end != p + len + 1;
    }
    return false;
}

bool ref_block_row(char **cursor, size_t *bar, double *values, size_t count)
{
    char *p = *cursor, *end;
    if (*p == '.') return false;
    *bar = strtoull(p, &end, 10);
    for (size_t k = 0; k < count; k++) {
        p = end;
        values[k] = strtod(p, &end);
        if (end == p) return false;
    }
    if (*end != '\n') return false;
    *cursor = end + 1;
    return true;
}

uint64_t ref_fnv_begin(void)
{
    return 1469598103934665603u;
}

static uint64_t fnv_bytes(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}

uint64_t ref_fnv(uint64_t hash, const double *v, size_t n, bool integer)
{
    if (!integer) return fnv_bytes(hash, v, n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        int32_t whole = (int32_t)v[i];
        hash = fnv_bytes(hash, &whole, sizeof whole);
    }
    return hash;
}
