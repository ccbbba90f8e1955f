#!/usr/bin/env bash
# Runs a TypeScript file of scripts/ from the repository's root, after installing what is missing.
set -euo pipefail
cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"

if ! command -v npm > /dev/null; then
  echo 'Node.js 20.19 or later is needed: https://nodejs.org' >&2
  exit 1
fi
# npm writes its own copy of the lock file last: none, or an older one, means something is missing.
if [[ package-lock.json -nt node_modules/.package-lock.json ]]; then
  echo 'Installing what is missing (npm ci) …'
  npm ci --no-audit --no-fund
fi
exec node --import tsx "scripts/$1" "${@:2}"
