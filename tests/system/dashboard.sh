#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dashboard.sh SOURCE FOLDER [PROGRAM [ARGUMENT...]]: a program of SOURCE/web/e2e is run in FOLDER against TL_TEST_BINARY: run (the tests,
# unless another is named), frames (a figure), screenshots. Exit code 77, with a message: what it needs is not there (npm.sh), no
# browser, or a binary without the dashboard.
set -u
# shellcheck source=tests/system/npm.sh
. "$(dirname "$0")/npm.sh"
TL_CHROMIUM=
for name in chromium chromium-browser google-chrome-stable google-chrome; do # Ubuntu's chromium-browser may be an empty shell
    if "$name" --version > /dev/null 2>&1; then TL_CHROMIUM=$(command -v "$name"); break; fi
done
if [ -z "$TL_CHROMIUM" ]; then echo "chromium is not installed: nothing is tested"; exit 77; fi
export TL_CHROMIUM
in_folder "$1" "$2" redis-server
shift 2
program=${1:-run}
if [ $# -gt 0 ]; then shift; fi
npm run build --silent || exit 1
exec node "build/e2e/$program.js" "$@"
