#!/usr/bin/env bash
# boot.sh RUN: boots the image, throws its changes away, and exits with the status of RUN/command, which it ran as root in the guest.
# The guest sees RUN as /run/host (it may write there) and the checkout as /checkout (it may not). It has no network.
# 124: it took longer than VM_TIMEOUT (780 s). 125: the guest died; the end of its console is shown.
#   VM_WORK, SUITE  as for build-image.sh
#   VM_ACCEL        qemu's -accel; default: emulation, which every machine can do
#   VM_MEMORY       MiB, default 1024
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../../.." && pwd)
image=${VM_WORK:-$here/../.build}/${SUITE:-bookworm}
run=$(cd "$1" && pwd)
rm -f "$run/status" "$run/booted"

# The output goes through a pipe: qemu would overwrite a file that others write to as well.
status=0
timeout --foreground --kill-after=5 "${VM_TIMEOUT:-780}" qemu-system-x86_64 \
  -M q35 -cpu max -accel "${VM_ACCEL:-tcg,thread=multi,tb-size=512}" -smp 2 -m "${VM_MEMORY:-1024}" \
  -nodefaults -no-user-config -display none -nic none -no-reboot \
  -kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
  -append 'console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on nokaslr audit=0 quiet systemd.show_status=0 tsc=reliable no_timer_check' \
  -drive "if=none,id=root,format=raw,file=$image/root.ext4,snapshot=on,cache=unsafe,aio=threads" -device virtio-blk-pci,drive=root \
  -fsdev "local,id=run,path=$run,security_model=none" -device virtio-9p-pci,fsdev=run,mount_tag=run \
  -fsdev "local,id=checkout,path=$checkout,security_model=none,multidevs=remap,readonly=on" \
  -device virtio-9p-pci,fsdev=checkout,mount_tag=checkout \
  -device virtio-serial-pci -chardev file,id=out,path=/proc/self/fd/1,append=on -device virtserialport,chardev=out,name=out \
  -serial "file:$run/console.log" -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
  </dev/null | cat || status=${PIPESTATUS[0]}

if [[ -s $run/status ]]; then exit "$(cat "$run/status")"; fi
tail -n 40 "$run/console.log" 2>/dev/null | tr -d '\r' >&2 || true
if ((status == 124)); then echo "The guest took longer than ${VM_TIMEOUT:-780} s." >&2; exit 124; fi
echo "The guest ended without a word (qemu: $status)." >&2
exit 125
