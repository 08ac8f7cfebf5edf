#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For web.sh and dashboard.sh. in_folder SOURCE FOLDER TOOL...: a copy of SOURCE/web in FOLDER, with what it needs of npm, which is
# fetched once a lock file; and there we are. Exit code 77, with a message: node, npm or a TOOL is not there, or npm has no
# network.
in_folder() {
    source=$1 folder=$2
    shift 2
    for tool in node npm "$@"; do
        command -v "$tool" > /dev/null || { echo "$tool is not installed: nothing is tested"; exit 77; }
    done
    case $(node --version) in
        v18.[2-9][0-9].* | v19.* | v[2-9][0-9].*) ;;
        *) echo "node $(node --version) is older than 18.20: nothing is tested"; exit 77 ;;
    esac

    mkdir -p "$folder" || exit 1
    for part in src test e2e package.json package-lock.json tsconfig.json; do
        rm -rf "${folder:?}/$part"
        cp -R "$source/web/$part" "$folder" || exit 1
    done
    rm -rf "$folder/build"
    cd "$folder" || exit 1
    if cmp -s package-lock.json node_modules/.fetched; then return; fi
    if ! npm ci --ignore-scripts --no-audit --no-fund --fetch-retries 1 --fetch-timeout 60000 > npm.log 2>&1; then
        if grep -qE 'EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|ENETUNREACH' npm.log; then
            echo "npm has no network: nothing is tested"
            exit 77
        fi
        cat npm.log
        exit 1
    fi
    cp package-lock.json node_modules/.fetched
}
