#!/usr/bin/env bash
# npm run test:system [-- ACT...]: the installed package on a stock Debian in a virtual machine. What it shows, and what it needs:
# CONTRIBUTING.md, "System tests". Exit status: 0 all passed, 1 something failed, 69 something that it needs is not here.
#
#   ACT...            only these acts of scenario/main.ts, after the start: adapter, radio, ...
#   VM_WORK           where images and runs are kept       default: test/system/.build
#   SUITE             bookworm (default) or trixie
#   VM_ACCEL          qemu's -accel; default: emulation. With hardware help (kvm) the limits of real machines are applied
#   SYSTEM_PATIENCE   all limits times this, on a machine that has other work to do; default: 1
#   PORCHLIGHT_DIST   a build to install instead of a new one in dist
#   SYSTEM_REPORT     where to write the numbers as JSON too
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=test/system
PATH=$PATH:/usr/sbin:/sbin

needs=()
unable() { needs+=("$1"); }
[[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] || unable 'Linux on x86-64'
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || unable 'Debian, or one of its children'
[[ $(id -u) == 0 ]] || unable 'root (for mmdebstrap)'
packages=()
for pair in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs cpio:cpio depmod:kmod zstd:zstd xz:xz-utils \
  busybox:busybox-static /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring; do
  if [[ ${pair%%:*} == /* ]]; then [[ -e ${pair%%:*} ]]; else command -v "${pair%%:*}" >/dev/null; fi || packages+=("${pair##*:}")
done
((${#packages[@]} == 0)) || unable "these packages: apt-get install --no-install-recommends ${packages[*]}"
if ((${#needs[@]} > 0)); then
  printf 'The system tests boot a virtual machine. Missing for that:\n' >&2
  printf '  - %s\n' "${needs[@]}" >&2
  exit 69
fi

work=${VM_WORK:-$here/.build}
mkdir -p "$work"
VM_WORK=$(cd "$work" && pwd)
export VM_WORK SUITE=${SUITE:-bookworm}
run=$(mktemp -d "$VM_WORK/run.XXXXXX")
if [[ -z ${KEEP_RUN:-} ]]; then trap 'rm -rf "$run"' EXIT; else echo "kept: $run"; fi

# The lamp's packages, as locked; they are nobody else's.
if ! cmp -s "$here/package-lock.json" "$here/node_modules/.locked"; then
  (cd "$here" && npm ci --loglevel=error)
  cp "$here/package-lock.json" "$here/node_modules/.locked"
fi

# The package: what `npm pack` ships, with the production packages of the lock file beside it, as `npm install --global` leaves it.
build=${PORCHLIGHT_DIST:-dist}
[[ -n ${PORCHLIGHT_DIST:-} ]] || npm run --silent build
mkdir -p "$run/modules"
tar --extract --gzip --file "$(npm pack --silent --pack-destination "$run" | sed "s#^#$run/#")" --directory "$run/modules"
mv "$run/modules/package" "$run/modules/porchlight"
if [[ -n ${PORCHLIGHT_DIST:-} ]]; then rm -rf "$run/modules/porchlight/dist" && cp -r "$build" "$run/modules/porchlight/dist"; fi
chmod +x "$run/modules/porchlight/dist/main.js"
npm ls --omit=dev --all --parseable | tail -n +2 | sed "s#^$PWD/##" | tar --create --files-from - | tar --extract --directory "$run/modules/porchlight"
tar --create --owner=0 --group=0 --file "$run/package.tar" --directory "$run/modules" porchlight
rm -rf "$run/modules"

npx rolldown "$here/scenario/main.ts" --platform node --format esm --file "$run/scenario.mjs" >/dev/null

"$here/vm/build-image.sh"
speed=emulated
[[ -z ${VM_ACCEL:-} || $VM_ACCEL == tcg* ]] || speed=real
acts=$(IFS=,; echo "$*")
printf 'exec node scenario.mjs %q %q %q %q\n' "/checkout/$build" "$speed" "${SYSTEM_PATIENCE:-1}" "$acts" >"$run/command"
echo "booting $SUITE: $([[ $speed == real ]] && echo 'with hardware help' || echo 'emulated, some ten times slower than a real machine')"
status=0
"$here/vm/boot.sh" "$run" || status=$?
if [[ -n ${SYSTEM_REPORT:-} && -s $run/report.json ]]; then cp "$run/report.json" "$SYSTEM_REPORT"; fi
echo "booted in $(cat "$run/booted" 2>/dev/null || echo '?') s; all of it took $SECONDS s"
exit "$status"
