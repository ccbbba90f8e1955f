#!/usr/bin/env bash
# Brings the database to the newest schema. See --help.
exec "$(dirname -- "${BASH_SOURCE[0]}")/support/run.sh" migrate.ts "$@"
