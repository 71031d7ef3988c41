#!/usr/bin/env bash
# build-image.sh [--force]: a bootable Debian for the system tests, from Debian's own packages: a root file system with systemd,
# BlueZ and mosquitto, Debian's kernel, and an initrd that only mounts the root. Run it as root on Debian.
#
# It writes $VM_WORK/SUITE/{root.ext4,vmlinuz,initrd.img}, and keeps the .deb files in $VM_WORK/SUITE/debs. An image is used again
# as long as the files of this folder and the Node binary stay the same.
#   VM_WORK  where to work            default: test/system/.build
#   SUITE    the Debian in the guest  default: bookworm
#   NODE     the Node binary in it    default: the one on the PATH
#   MIRROR   the archive              default: what this machine's apt uses
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=${SUITE:-bookworm}
node=${NODE:-$(command -v node)}
mkdir -p "${VM_WORK:-$here/../.build}/$suite/debs"
out=$(cd "${VM_WORK:-$here/../.build}/$suite" && pwd)
PATH=$PATH:/usr/sbin:/sbin

stamp=$( { cat "${BASH_SOURCE[0]}" "$here"/guest/*; sha256sum <"$node"; } | sha256sum | cut -c1-16)
if [[ ${1:-} != --force && -s $out/root.ext4 && $(cat "$out/stamp" 2>/dev/null) == "$stamp" ]]; then
  echo "image: $suite, as built before ($stamp)"
  exit
fi
rm -f "$out/stamp"

# From here on the packages are Debian's: systemd as PID 1, bluetoothd, btvirt (bluez-test-tools), a broker. python3-dbus and
# strace are for people who look into a failure by hand.
packages=systemd,systemd-sysv,dbus,udev,kmod,procps,iproute2,bluez,bluez-test-tools,mosquitto,rfkill,libcap2-bin,util-linux,passwd,strace

lap() { printf 'image: %4d s  %s\n' "$SECONDS" "$*"; }

mirror() { # the archive that this machine's own packages come from
  local codename
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016 # apt's placeholders
  apt-get indextargets --no-release-info --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$codename" '$1 == release && $2 == "main" { print $3; exit }'
}
archive=${MIRROR:-$(mirror)}
[[ -n $archive ]] || { echo 'No Debian archive is configured in apt here; name one: MIRROR=http://deb.debian.org/debian' >&2; exit 69; }

scratch=$(mktemp -d "$out/scratch.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
root=$scratch/root kernel=$scratch/kernel debs=$out/debs

# 1. The root file system. Documentation is left out; the .deb files of an earlier build are taken again.
proxies=()
while read -r line; do proxies+=(--aptopt="$line"); done < <(apt-config dump | grep -iE '^Acquire::https?::Proxy "[^"]' || true)
keep="cp --no-clobber \"\$1\"/var/cache/apt/archives/*.deb '$debs/' 2>/dev/null || true"
mmdebstrap --quiet --mode=root --dpkgopt=force-unsafe-io --variant=minbase --architectures=amd64 --include="$packages" "${proxies[@]}" \
  --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --skip=download/empty \
  --setup-hook="mkdir -p \"\$1\"/var/cache/apt/archives && cp '$debs'/*.deb \"\$1\"/var/cache/apt/archives/ 2>/dev/null || true" \
  --essential-hook="$keep" --customize-hook="$keep" "$suite" "$root" "deb $archive $suite main"
lap 'packages'

# 2. The kernel: unpacked, not installed, so that no boot loader and no initramfs-tools come along. It has an apt of its own,
# because the suite may not be this machine's. Drivers that a virtual machine without a network card never loads are left out.
private=$out/apt
mkdir -p "$private"/{lists,cache/archives}/partial "$out/kernel"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$private/sources.list"
apt=(-o Dir::Etc::sourcelist="$private/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$private/lists"
  -o Dir::Cache="$private/cache" -o Dir::State::status=/dev/null -o APT::Architecture=amd64 -o APT::Architectures=amd64
  -o APT::Sandbox::User=root -qq)
if ! compgen -G "$out/kernel/linux-image-*.deb" >/dev/null; then
  apt-get "${apt[@]}" update
  name=$(apt-cache "${apt[@]}" depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  (cd "$out/kernel" && apt-get "${apt[@]}" download "$name")
fi
mkdir -p "$kernel"
dpkg-deb -x "$(compgen -G "$out/kernel/linux-image-*.deb" | tail -1)" "$kernel"
[[ -d $kernel/lib/modules ]] || { mkdir -p "$kernel/lib" && mv "$kernel/usr/lib/modules" "$kernel/lib/modules"; }
version=$(ls "$kernel/lib/modules")
modules=$kernel/lib/modules/$version
cp "$kernel/boot/vmlinuz-$version" "$out/vmlinuz"
rm -rf "$modules"/kernel/{sound,drivers/{gpu,media,scsi,infiniband,ata,iio,staging,mtd,hwmon,target,mmc,usb}} \
  "$modules"/kernel/drivers/net/{ethernet,wireless} "$modules"/kernel/fs/{ocfs2,btrfs,xfs,gfs2,ceph,nfs,nfsd,smb,f2fs,reiserfs,jfs,nilfs2}
depmod -b "$kernel" "$version"
mkdir -p "$root/lib/modules"
rm -rf "$root/lib/modules/$version"
cp -a "$modules" "$root/lib/modules/"
lap "kernel $version"

# 3. What makes it the guest: Node, the virtual controllers (started by the scenario), and a service that runs the host's command.
install -m 755 "$node" "$root/usr/local/bin/node"
install -m 644 "$here/guest/controllers.service" "$here/guest/command.service" "$root/etc/systemd/system/"
install -m 755 "$here/guest/command" "$root/usr/local/sbin/command"
echo 'porch-pi' >"$root/etc/hostname"
echo '127.0.0.1 localhost porch-pi' >"$root/etc/hosts"
echo '/dev/vda / ext4 rw,noatime 0 0' >"$root/etc/fstab"
echo '0123456789abcdef0123456789abcdef' >"$root/etc/machine-id"
mkdir -p "$root/checkout"
# The broker and bluetoothd are installed and enabled, as on a Pi; the scenario starts them when its controllers are there.
systemctl --root="$root" --quiet disable mosquitto.service bluetooth.service
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer getty.target serial-getty@ttyS0.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
systemctl --root="$root" --quiet enable command.service
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/*

# 4. The initrd: busybox, and the modules that the root and the shared folders are reached with.
initrd=$scratch/initrd
mkdir -p "$initrd"/{bin,proc,sys,dev,newroot,modules}
cp "$(command -v busybox)" "$initrd/bin/busybox"
install -m 755 "$here/guest/init" "$initrd/init"
number=10
for module in virtio_pci virtio_blk ext4 9pnet_virtio 9p virtio_console virtio_rng; do
  modprobe -d "$kernel" -S "$version" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r path; do
  number=$((number + 1))
  cp "$path" "$initrd/modules/$number-$(basename "$path")"
done
for packed in "$initrd"/modules/*.xz; do if [[ -e $packed ]]; then xz --decompress "$packed"; fi; done
(cd "$initrd" && find . | cpio --create --format=newc --quiet | zstd -q -3 -f -o "$out/initrd.img")

# 5. One file, made without mounting anything.
rm -f "$out/root.ext4"
mke2fs -q -t ext4 -O '^has_journal' -d "$root" -L root -m 0 "$out/root.ext4" 2G >/dev/null
echo "$stamp" >"$out/stamp"
lap "$suite is ready, $(du -m "$out/root.ext4" | cut -f1) MiB"
