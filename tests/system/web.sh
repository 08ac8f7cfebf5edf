#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# web.sh SOURCE FOLDER: the TypeScript client (SOURCE/web) is checked and tested in FOLDER, against TL_TEST_BINARY. Exit code 77, with a
# message: what it needs is not there (npm.sh).
set -u
# shellcheck source=tests/system/npm.sh
. "$(dirname "$0")/npm.sh"
in_folder "$1" "$2" redis-server
exec npm test --silent
