#!/usr/bin/env bash
# parts.sh TARGET...: makes the targets one after the other and says how long
# each took; ends at the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

if ((EUID != 0)) && [[ ${CNBUS_REQUIRE:-} == all ]]; then
	echo "Not root: the tests that need it will fail. To skip them: make test REQUIRE="
fi

summary=()
for part in "$@"; do
	scripts/header.sh "$part" "$(sed -n "s/^$part:.*## //p" Makefile)"
	start=$SECONDS
	if ! "${MAKE:-make}" --no-print-directory "$part"; then
		printf '\n=== FAILED: %s, after %d s. Run it alone with: make %s\n' "$part" $((SECONDS - start)) "$part"
		exit 1
	fi
	summary+=("$part $((SECONDS - start)) s")
	printf -- '--- ok: %s\n' "${summary[-1]}"
done

printf '\n=== passed:'
printf ' %s;' "${summary[@]}"
printf ' together %d s\n' "$SECONDS"
