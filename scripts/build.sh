#!/usr/bin/env bash
# build.sh COMMAND...: builds cmd/COMMAND into $BIN.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p "${BIN:-bin}"
for name in "$@"; do
	"${GO:-go}" build -o "${BIN:-bin}/$name" "./cmd/$name"
	echo "${BIN:-bin}/$name"
done
