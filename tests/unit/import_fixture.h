/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing text in memory and writing down what came out, for the import tests. Every parse is done in one block and in
 * small pieces, and has to give the same. */
#ifndef TL_TESTS_IMPORT_FIXTURE_H
#define TL_TESTS_IMPORT_FIXTURE_H

#include "../support.h"

#include "base/buf.h"
#include "import/parse.h"

struct captured {
    enum tl_status status;
    struct tl_err err;
    struct tl_import_counts count;
    struct tl_buf out;     /* "SYM freq zone\n" and "date time o h l c v a\n" lines; factors, days likewise */
    struct tl_buf rejects; /* "line:column text\n" */
};

struct tl_import_options fixture_options(void);
/* Releases what c held before. */
void fixture_parse(struct captured *c, const char *name, struct tl_str text, const struct tl_import_options *);
void fixture_release(struct captured *c);
/* One block only, for big inputs. piece 0: whole. */
void fixture_parse_once(struct captured *c, const char *name, struct tl_str text, const struct tl_import_options *,
                        size_t piece);
/* A whole file; NULL when it cannot be read. [own] */
char *fixture_slurp(const char *path, size_t *n);

#define assert_begins(text, prefix) assert_memory_equal(text, prefix, strlen(prefix))

int test_import_csv(void);
int test_import_fields(void);
int test_import_bars(void);
int test_import_bad(void);
int test_import_vendors(void);
int test_import_facts(void);
int test_import_files(void);
int test_import_real(void);

#endif
