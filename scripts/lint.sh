#!/usr/bin/env bash
# lint.sh: every check that runs no code of the project but its layering and
# house tests. All of them run, so that one look shows all that is to mend.
set -uo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
failed=()

check() { # NAME COMMAND...
	local name=$1 start=$SECONDS out
	shift
	if out=$("$@" 2>&1); then
		printf 'ok      %-20s %3d s\n' "$name" $((SECONDS - start))
	else
		printf 'FAILED  %-20s %3d s: %s\n' "$name" $((SECONDS - start)) "$*"
		printf '%s\n' "$out" | sed 's/^/        /'
		failed+=("$name")
	fi
}

formatted() {
	local files
	files=$("$go" tool gofumpt -l .) || { echo "$files"; return 1; }
	[[ -z $files ]] || { echo "not formatted, run: go tool gofumpt -w"; echo "$files"; return 1; }
}

# Whoever builds for another system has no C compiler for it.
for_system() { env CGO_ENABLED=0 GOOS="$1" GOARCH="$2" "$go" "$3" ./...; }

check gofumpt formatted
check vet "$go" vet ./...
check staticcheck "$go" tool staticcheck ./...
check layering "$go" test -count=1 ./internal/layering
check 'build linux/arm64' for_system linux arm64 build
check 'build linux/s390x' for_system linux s390x build
check 'build darwin/arm64' for_system darwin arm64 build
check 'vet darwin/arm64' for_system darwin arm64 vet

if ((${#failed[@]} > 0)); then
	printf 'lint: failed: %s\n' "$(IFS=,; echo "${failed[*]}")"
	exit 1
fi
