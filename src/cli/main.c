/* SPDX-License-Identifier: Apache-2.0 */
/* The program `tierline`. Everything is in the library of this folder, so that tests can link it. */

#include "cli/cli.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    return tl_cli_main(argc, argv, environ);
}
