#!/usr/bin/env bash
# unpack.sh DEBS OUT: makes of a kernel's packages what the rig boots:
#   vmlinux      uncompressed: booted through PVH, which under emulation is
#                faster than a compressed image by 2 to 7 s
#   initrd.img   busybox, and the modules of AF_RXRPC and of the virtual devices
#   release, config
# modules.list in the initrd names the modules in the order to insert them;
# modules.kafs and modules.netem name sets that are inserted on demand.
set -euo pipefail
debs=$1 out=$2
for tool in busybox cpio depmod modprobe xz zstd; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || { echo "unpack.sh: no $tool here; run: make deps" >&2; exit 1; }
done
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A whole tree of modules has 500 MB: only the parts that a guest needs.
mkdir "$work/all"
for deb in "$debs"/*.deb; do
	# tar complains of patterns that a package has nothing of.
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$work/all" -xf - --wildcards \
		'./boot/*' '*lib/modules/*/vmlinuz' '*lib/modules/*/config' '*lib/modules/*/modules.*' '*/kernel/net/*' '*/kernel/fs/afs/*' '*/kernel/fs/netfs/*' \
		'*/kernel/fs/fscache/*' '*/kernel/crypto/*' '*/kernel/lib/*' '*/kernel/arch/x86/crypto/*' '*/kernel/drivers/virtio/*' \
		'*/kernel/drivers/net/virtio_net*' '*/kernel/drivers/net/net_failover*' '*/kernel/drivers/char/hw_random/*' \
		'*/kernel/security/keys/*' 2>/dev/null || true
done
one() { find "$work/all" "$@" | sort | head -n 1; }
release=$(basename "$(one -type d -path '*lib/modules/*' -prune)")
echo "$release" >"$out/release"
cp "$(one -type f '(' -name 'config-*' -o -name config ')')" "$out/config"

# The image holds the kernel compressed: the first place that unpacks to an ELF file.
image=$(one -type f -name 'vmlinuz*')
unpacked() { # MAGIC COMMAND...
	local magic=$1 at
	shift
	for at in $(LC_ALL=C grep -aobP "$magic" "$image" | cut -d: -f1); do
		tail -c +$((at + 1)) "$image" | "$@" >"$out/vmlinux" 2>/dev/null || true
		[[ $(head -c 4 "$out/vmlinux" | tr -d '\177') == ELF ]] && return 0
	done
	return 1
}
unpacked '\x28\xb5\x2f\xfd' zstd -dcq || unpacked '\xfd7zXZ\x00' xz -dcq --single-stream || unpacked '\x1f\x8b\x08' gzip -dcq ||
	{ echo "unpack.sh: no kernel in $(basename "$image")" >&2; exit 1; }

# depmod and modprobe find the order among unpacked modules.
tree=$work/tree/lib/modules/$release
mkdir -p "$(dirname "$tree")"
mv "$(one -type d -path "*lib/modules/$release" -prune)" "$tree"
find "$tree" -name '*.ko.xz' -exec xz -d {} +
find "$tree" -name '*.ko.zst' -exec zstd -q -d --rm {} +
[[ -e $tree/modules.order ]] || : >"$tree/modules.order"
sed -i 's/\.ko\.\(xz\|zst\)$/.ko/' "$tree/modules.order"
depmod -b "$work/tree" "$release" 2>/dev/null

root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,modules,rig,tmp,out,etc}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
	[[ $applet == busybox ]] || ln -sf busybox "$root/bin/$applet"
done
echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
put() { # MODULE...: copies them and what they need, prints the order; silent where they are built in or absent
	for m in "$@"; do
		modprobe -d "$work/tree" -S "$release" --show-depends "$m" 2>/dev/null | sed -n 's/^insmod \([^ ]*\).*/\1/p' || true
	done | awk '!seen[$0]++' | while read -r file; do
		cp -n "$file" "$root/modules/"
		basename "$file"
	done
}
put virtio_pci virtio_net virtio-rng des_generic fcrypt pcbc rxrpc >"$root/modules.list"
put kafs >"$root/modules.kafs"
put sch_netem >"$root/modules.netem"
grep -q '^rxrpc' "$root/modules.list" || { echo "unpack.sh: $release has no rxrpc module" >&2; exit 1; }
(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$out/initrd.img"
