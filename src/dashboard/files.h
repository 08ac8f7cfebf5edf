/* SPDX-License-Identifier: Apache-2.0 */
/* The table that tools/build-dashboard writes. Only dashboard.c and the table itself include this. */
#ifndef TL_DASHBOARD_FILES_H
#define TL_DASHBOARD_FILES_H

#include "dashboard/dashboard.h"

extern const struct dashboard_file dashboard_files[];
extern const size_t dashboard_n_files;

#endif
