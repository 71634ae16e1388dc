#!/usr/bin/env bash
# deps.sh PACKAGE:COMMAND...: installs each Debian package whose command is
# missing; PACKAGE:+HEADER asks for a header that the C compiler finds.
# It asks nothing. Elsewhere than on Debian it only says what is missing.
set -euo pipefail

have() {
	case $1 in
	+*) printf '#include <%s>\n' "${1#+}" | gcc -E - >/dev/null 2>&1 ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
	esac
}

missing=()
for dep in "$@"; do
	have "${dep#*:}" || missing+=("${dep%%:*}")
done
if ((${#missing[@]} == 0)); then
	echo "nothing to install: ${*%%:*}"
	exit 0
fi
echo "missing: ${missing[*]}"

if ! command -v apt-get >/dev/null; then
	echo "no apt-get here: install by other means what gives the commands of ${missing[*]}" >&2
	exit 1
fi
as_root=()
if ((EUID != 0)); then
	as_root=(sudo -n)
	if ! sudo -n true 2>/dev/null; then
		echo "not root, and sudo does not work without a password; run: sudo apt-get install ${missing[*]}" >&2
		exit 1
	fi
fi
apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" </dev/null
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "apt-get could not install: ${missing[*]}" >&2
	exit 1
fi

for dep in "$@"; do
	have "${dep#*:}" || { echo "package ${dep%%:*} is installed, but ${dep#*:} is still missing" >&2; exit 1; }
done
echo "installed: ${missing[*]}"
