/* SPDX-License-Identifier: Apache-2.0 */
/* The run functions of commands.c's table, one file each. */
#ifndef TL_CLI_COMMANDS_H
#define TL_CLI_COMMANDS_H

#include "cli/cli.h"

tl_run_fn tl_cmd_sample, tl_cmd_import, tl_cmd_calc, tl_cmd_get, tl_cmd_bars, tl_cmd_symbols, tl_cmd_indicators,
    tl_cmd_config, tl_cmd_cache, tl_cmd_lock, tl_cmd_serve, tl_cmd_worker, tl_cmd_watch, tl_cmd_token, tl_cmd_doctor,
    tl_cmd_completion, tl_cmd_help, tl_cmd_version;

#endif
