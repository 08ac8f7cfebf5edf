/* SPDX-License-Identifier: Apache-2.0 */
/* The units of systemd in dist/, read by systemd itself where it is there. */
#include "support.h"

#include "run.h"

static void units(void **state)
{
    (void)state;
    struct run r;
    char line[2048];
    const char *root = getenv("TL_TEST_SOURCE");
    assert_non_null(root);
    run_init(&r);
    /* The binary has no place in the search path here. A mistake in a copy must be found, or the check checks nothing.
     */
    snprintf(line, sizeof line,
             "command -v systemd-analyze >/dev/null || exit 42; cp '%s'/dist/*.service '%s'/dist/*.socket . && "
             "sed -i \"s|=tierline |=$TIER |\" *.service && "
             "systemd-analyze verify --man=no ./*.service ./*.socket 2>&1; code=$?; "
             "sed -i 's/^NoNewPrivileges=yes/NoNewPrivilege=yes/' tierline.service; "
             "systemd-analyze verify --man=no ./tierline.service 2>&1 | grep -q \"'NoNewPrivilege'\" && echo found; "
             "exit $code",
             root, root);
    run_shell(&r, line);
    if (r.code == 42) {
        print_message("systemd-analyze is not there: the units are not checked\n");
        run_release(&r);
        skip();
    }
    expect(&r, 0, "found", NULL);
    assert_string_equal(r.out, "found\n");
    run_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(units)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
