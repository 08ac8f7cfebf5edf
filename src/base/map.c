/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map: entries in an array in the order of insertion, and an open-addressed index of positions in it
 * (linear probing, at most half full, deletion by shifting back, so there are no tombstones). Removing moves the last
 * entry into the hole. Invariants: every entry has exactly one index cell, reachable from its hash without passing an
 * empty cell; n_index is a power of two above 2 * n. A failed put leaves the map as it was. */
#include "base/map.h"

#include "base/hash.h"
#include "base/util.h"

struct entry {
    uint64_t hash;
    char *key; /* [own] */
    size_t key_n;
    void *value;
};

struct tl_map {
    struct entry *entries;
    size_t n, cap;
    uint32_t *index; /* position + 1, 0 when empty */
    size_t n_index;
};

enum { FIRST_INDEX = 16 };

struct tl_map *tl_map_new(void)
{
    struct tl_map *m = tl_calloc(1, sizeof *m);
    if (!m) return NULL;
    m->n_index = FIRST_INDEX;
    m->index = tl_calloc(m->n_index, sizeof *m->index);
    if (m->index) return m;
    free(m);
    return NULL;
}

void tl_map_free(struct tl_map *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->n; i++) free(m->entries[i].key);
    free(m->entries);
    free(m->index);
    free(m);
}

size_t tl_map_count(const struct tl_map *m)
{
    return m->n;
}

static size_t next_cell(const struct tl_map *m, size_t cell)
{
    return (cell + 1) & (m->n_index - 1);
}

/* The cell of `key`, or the empty cell where it would go. */
static size_t find_cell(const struct tl_map *m, struct tl_str key, uint64_t hash)
{
    size_t cell = (size_t)hash & (m->n_index - 1);
    for (; m->index[cell] != 0; cell = next_cell(m, cell)) {
        const struct entry *e = &m->entries[m->index[cell] - 1];
        if (e->hash == hash && tl_str_eq((struct tl_str){e->key, e->key_n}, key)) break;
    }
    return cell;
}

void **tl_map_get(const struct tl_map *m, struct tl_str key)
{
    size_t cell = find_cell(m, key, tl_hash64(key.p, key.n));
    return m->index[cell] ? &m->entries[m->index[cell] - 1].value : NULL;
}

static bool grow_index(struct tl_map *m)
{
    size_t n_index = m->n_index * 2;
    uint32_t *index = tl_calloc(n_index, sizeof *index);
    if (!index) return false;
    for (size_t i = 0; i < m->n; i++) {
        size_t cell = (size_t)m->entries[i].hash & (n_index - 1);
        while (index[cell] != 0) cell = (cell + 1) & (n_index - 1);
        index[cell] = (uint32_t)(i + 1);
    }
    free(m->index);
    m->index = index;
    m->n_index = n_index;
    return true;
}

static bool make_room(struct tl_map *m)
{
    if (m->n >= UINT32_MAX / 2) return false;
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : FIRST_INDEX / 2;
        struct entry *entries = tl_realloc(m->entries, cap, sizeof *entries);
        if (!entries) return false;
        m->entries = entries;
        m->cap = cap;
    }
    return 2 * (m->n + 1) < m->n_index || grow_index(m);
}

void **tl_map_put(struct tl_map *m, struct tl_str key, bool *fresh)
{
    if (fresh) *fresh = false;
    uint64_t hash = tl_hash64(key.p, key.n);
    size_t cell = find_cell(m, key, hash);
    if (m->index[cell]) return &m->entries[m->index[cell] - 1].value;
    char *copy = tl_realloc(NULL, key.n, 1);
    if (!copy) return NULL;
    if (!make_room(m)) {
        free(copy);
        return NULL;
    }
    if (key.n) memcpy(copy, key.p, key.n);
    m->entries[m->n] = (struct entry){hash, copy, key.n, NULL};
    m->index[find_cell(m, key, hash)] = (uint32_t)(m->n + 1); /* make_room may have moved the cells */
    if (fresh) *fresh = true;
    return &m->entries[m->n++].value;
}

/* Empties `hole` and pulls back every later cell of the run that would no longer be found. */
static void close_hole(struct tl_map *m, size_t hole)
{
    size_t mask = m->n_index - 1;
    for (size_t cell = next_cell(m, hole); m->index[cell] != 0; cell = next_cell(m, cell)) {
        size_t home = (size_t)m->entries[m->index[cell] - 1].hash & mask;
        if (((cell - home) & mask) < ((cell - hole) & mask)) continue;
        m->index[hole] = m->index[cell];
        hole = cell;
    }
    m->index[hole] = 0;
}

bool tl_map_remove(struct tl_map *m, struct tl_str key)
{
    size_t cell = find_cell(m, key, tl_hash64(key.p, key.n));
    if (!m->index[cell]) return false;
    size_t at = m->index[cell] - 1, last = m->n - 1;
    char *removed = m->entries[at].key;
    close_hole(m, cell);
    if (at != last) {
        struct entry *e = &m->entries[last];
        m->index[find_cell(m, (struct tl_str){e->key, e->key_n}, e->hash)] = (uint32_t)(at + 1);
        m->entries[at] = *e;
    }
    m->n = last;
    free(removed); /* last: `key` may be this very copy */
    return true;
}

bool tl_map_next(const struct tl_map *m, size_t *i, struct tl_str *key, void **value)
{
    if (*i >= m->n) return false;
    const struct entry *e = &m->entries[(*i)++];
    if (key) *key = (struct tl_str){e->key, e->key_n};
    if (value) *value = e->value;
    return true;
}
