/* SPDX-License-Identifier: Apache-2.0 */
/* The import tests, a file a topic: records, fields and times, bars, bad input, vendors, factors and calendars, files
 * and the store, real data. */
#include "import_fixture.h"

int main(void)
{
    int failed = 0;
    failed += test_import_csv();
    failed += test_import_fields();
    failed += test_import_bars();
    failed += test_import_bad();
    failed += test_import_vendors();
    failed += test_import_facts();
    failed += test_import_files();
    failed += test_import_real();
    return failed ? 1 : 0;
}
