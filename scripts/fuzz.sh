#!/usr/bin/env bash
# fuzz.sh [PACKAGE...]: runs every fuzz target for FUZZTIME, one after the
# other; for less where there are so many that they would take more than
# FUZZTOTAL seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
go=${GO:-go}
fuzztime=${FUZZTIME:-3s}
total=${FUZZTOTAL:-100}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if (($# > 0)); then
	mapfile -t dirs < <("$go" list -f '{{.Dir}}' "$@")
else
	mapfile -t dirs < <(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u)
fi

# One instrumented binary for each package serves all its targets.
targets=()
for i in "${!dirs[@]}"; do
	"$go" test -c -fuzz=. -o "$work/$i.test" "${dirs[i]}"
	[[ -x $work/$i.test ]] || continue
	while read -r name; do targets+=("$i $name"); done < <(cd "${dirs[i]}" && "$work/$i.test" -test.list '^Fuzz' | grep '^Fuzz')
done
if ((${#targets[@]} == 0)); then
	echo "no fuzz targets"
	exit 0
fi

if [[ $fuzztime =~ ^([0-9]+)s$ ]] && ((BASH_REMATCH[1] * ${#targets[@]} > total)); then
	fuzztime=$((1000 * total / ${#targets[@]}))ms
	echo "${#targets[@]} targets: $fuzztime for each"
fi

cache=$("$go" env GOCACHE)/fuzz
run() { # INDEX TARGET
	local pkg
	pkg=$(realpath --relative-to="$top" "${dirs[$1]}")
	(cd "${dirs[$1]}" && "$work/$1.test" -test.run='^$' -test.fuzz="^$2\$" -test.fuzztime="$fuzztime" \
		-test.fuzzminimizetime=5s -test.fuzzcachedir="$cache/cnbus/$pkg" -test.timeout=5m) >"$work/out" 2>&1
}

for t in "${targets[@]}"; do
	read -r i name <<<"$t"
	if ! run "$i" "$name"; then
		# Go before 1.27 now and then reports the end of the time as a failure
		# (https://go.dev/issue/75804); a real one has a failing input.
		if ! grep -q 'context deadline exceeded' "$work/out" || grep -qE 'Failing input|panic|_test\.go:' "$work/out" ||
			! { echo "again   $name: go.dev/issue/75804"; run "$i" "$name"; }; then
			echo "FAILED  $name in $(realpath --relative-to="$top" "${dirs[i]}")"
			sed 's/^/        /' "$work/out"
			exit 1
		fi
	fi
	printf 'ok      %-36s %s\n' "$name" "$(grep -oE 'execs: [0-9]+' "$work/out" | tail -n 1)"
done
echo "${#targets[@]} fuzz targets in ${#dirs[@]} packages, $fuzztime each"
