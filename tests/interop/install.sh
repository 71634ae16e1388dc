#!/usr/bin/env bash
# install.sh PART...: fetches what the interop tests talk to, into
# ${CNBUS_RIG_DIR:-the user's cache}/, without installing anything into the
# system and without root. A part that is there already costs nothing.
#
#   openafs   Debian 12's OpenAFS: servers, commands, headers, static library
#   6.1       Debian 12's kernel
#   6.12      Debian 12's newer kernel
#   newest    the newest kernel in Debian's backports
#
# Packages come from the mirror that this machine uses, by a private apt
# configuration that verifies signatures as usual.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${CNBUS_RIG_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/cnbus/rig}
(($# > 0)) || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }

mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
exec 9>"$dir/apt/lock"
flock 9 # another clone may be at it

for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || { echo "install.sh: no $tool here: the rig is made of Debian packages" >&2; exit 1; }
done

# apt-get and apt-cache see only the lists below $dir.
apt() {
	local cmd=$1
	shift
	"$cmd" -qq -o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o "Dir::State::lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt/cache" -o APT::Sandbox::User=root \
		-o Acquire::Retries=3 "$@" </dev/null
}

update() { # once in a run, and only if something is to be fetched
	[[ -z ${updated:-} ]] || return 0
	updated=1
	local mirror key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed -n 's#/debian/\{0,1\}$##p' | head -n 1)
	mirror=${mirror:-http://deb.debian.org}
	printf "deb $key $mirror/%s main\n" 'debian bookworm' 'debian-security bookworm-security' \
		'debian bookworm-backports' 'debian trixie-backports' >"$dir/apt/sources.list"
	apt apt-get update
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# complete says that a part is whole: its last file names the packages it was
# made of, and the version of this recipe.
complete() { [[ -s $dir/$1/packages && $(head -n 1 "$dir/$1/packages") == "recipe $recipe" ]]; }

fetch() { # PACKAGE...: into $work/debs
	rm -rf "$work/debs" && mkdir "$work/debs"
	(cd "$work/debs" && apt apt-get download "$@")
}

place() { # NAME: $work/part becomes $dir/NAME
	{ echo "recipe $recipe"; ls "$work/debs"; } >"$work/part/packages"
	rm -rf "$dir/$1"
	mkdir -p "$(dirname "$dir/$1")"
	mv "$work/part" "$dir/$1"
}

openafs() {
	local recipe=1
	complete openafs && { echo "openafs: present"; return; }
	update
	fetch openafs-client openafs-fileserver openafs-dbserver openafs-krb5 libopenafs-dev \
		libroken19-heimdal libhcrypto5-heimdal libheimbase1-heimdal libasn1-8-heimdal \
		libkrb5-3 libk5crypto3 libkrb5support0 libkeyutils1 libcom-err2
	mkdir "$work/part"
	local deb
	for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/part"; done
	rm -rf "$work/part"/{usr/share,etc,var,lib/systemd}
	# Libraries in one place, whether their package knows of the merged /usr or not.
	if [[ -d $work/part/lib ]]; then cp -a "$work/part/lib/." "$work/part/usr/lib/" && rm -rf "$work/part/lib"; fi
	place openafs
	echo "openafs: $(du -sh "$dir/openafs" | cut -f1)"
}

newest() { apt apt-cache pkgnames | grep -E "^$1\$" | sort -V | tail -n 1; }

kernel() { # FLAVOUR
	local recipe=1 flavour=$1 pkgs v
	complete "kernels/$flavour" && { echo "kernel $flavour: present ($(cat "$dir/kernels/$flavour/release"))"; return; }
	update
	case $flavour in
	6.1) pkgs=("$(newest 'linux-image-6\.1\.0-[0-9]+-amd64')") ;;
	6.12) pkgs=("$(newest 'linux-image-6\.12\.[0-9.]+\+deb12-amd64')") ;;
	newest)
		v=$(newest 'linux-modules-[0-9.]+\+deb13-amd64')
		v=${v#linux-modules-}
		pkgs=("linux-base-$v" "linux-binary-$v" "linux-modules-$v")
		[[ -n $v ]] || pkgs=("$(newest 'linux-image-[0-9.]+\+deb13-amd64')")
		;;
	esac
	[[ -n ${pkgs[0]} ]] || { echo "install.sh: no package for kernel $flavour" >&2; exit 1; }
	fetch "${pkgs[@]}"
	"$here/kernel/unpack.sh" "$work/debs" "$work/part"
	place "kernels/$flavour"
	echo "kernel $flavour: $(cat "$dir/kernels/$flavour/release"), $(du -sh "$dir/kernels/$flavour" | cut -f1)"
}

for part in "$@"; do
	case $part in
	openafs) openafs ;;
	6.1 | 6.12 | newest) kernel "$part" ;;
	*) echo "install.sh: unknown part $part" >&2; exit 2 ;;
	esac
done
