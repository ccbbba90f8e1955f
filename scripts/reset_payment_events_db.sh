#!/usr/bin/env bash
# Deletes the local database with all its data and creates it again. See --help.
exec "$(dirname -- "${BASH_SOURCE[0]}")/support/run.sh" reset.ts "$@"
