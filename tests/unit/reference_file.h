/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of the reference outputs (a .ref text of blocks beside a .input.csv of bars) and of the hash they carry. */
#ifndef TL_TESTS_REFERENCE_FILE_H
#define TL_TESTS_REFERENCE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ref_bars {
    size_t n;
    double *open, *high, *low, *close, *volume; /* one allocation, at `open` */
};

/* Reads idx,date,open,high,low,close,volume. False when the file is missing or malformed. */
bool ref_bars_load(struct ref_bars *, const char *path);
void ref_bars_release(struct ref_bars *);

struct ref_file {
    char *text;
    char *next; /* where the next block begins */
};

struct ref_block {
    char function[32], set[8], params[400];
    size_t lookback, begin, rows;
    uint64_t fnv;
    bool integer, sparse;
    char *stored; /* the stored rows, up to a line with a dot */
};

bool ref_file_load(struct ref_file *, const char *path);
void ref_file_release(struct ref_file *);
/* False at the end of the file; *malformed tells a broken block from the end. */
bool ref_file_next(struct ref_file *, struct ref_block *, bool *malformed);
/* Value of "name=value" in params. */
bool ref_block_param(const struct ref_block *, const char *name, double *value);
/* The stored row at *cursor (begin with block->stored): its bar and values. False after the last one. */
bool ref_block_row(char **cursor, size_t *bar, double *values, size_t count);

/* FNV-1a 64 with the files' own offset, continued over n doubles; as 32-bit integers when `integer`. */
uint64_t ref_fnv_begin(void);
uint64_t ref_fnv(uint64_t hash, const double *v, size_t n, bool integer);

#endif
