#!/usr/bin/env bash
# header.sh PART TEXT: the line above the output of a part of `make test`.
set -euo pipefail
printf '\n=== %s: %s\n' "$1" "${2:-}"
