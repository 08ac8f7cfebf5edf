/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a build with -Ddashboard=disabled. */
#include "dashboard/files.h"

const struct dashboard_file dashboard_files[] = {{.path = NULL}};
const size_t dashboard_n_files = 0;
