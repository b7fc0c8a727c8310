#!/usr/bin/env bash
# How heads.xz was made, with LVM's own tools: needs root and two loop devices, so tests do not run
# it. It holds the first MiB of each of two physical volumes of 120 MiB; below it, on standard
# output, is what LVM itself says of where the logical volumes are.
set -euo pipefail
folder=$(mktemp -d)
trap 'losetup --detach "${devices[@]}"; rm -r "$folder"' EXIT
for name in first second; do truncate --size=120M "$folder/$name"; done
devices=("$(losetup --find --show "$folder/first")" "$(losetup --find --show "$folder/second")")
# No device mapper is asked: nothing is activated, only metadata are written.
options=(--driverloaded n --config 'devices{use_devicesfile=0}')

pvcreate "${options[@]}" "${devices[@]}"
vgcreate "${options[@]}" --physicalextentsize 1m machine "${devices[@]}"
create() { lvcreate "${options[@]}" --activate n --zero n --wipesignatures n "$@"; }
create --size 24m --name root machine "${devices[0]}"
create --size 8m --name swap machine "${devices[0]}"
lvextend "${options[@]}" --size 40m machine/root "${devices[0]}"
create --stripes 2 --stripesize 64k --size 32m --name striped machine "${devices[@]}"
create --size 20m --name data machine "${devices[1]}"
lvs "${options[@]}" --options lv_name,segtype,seg_start_pe,seg_size_pe,seg_pe_ranges,stripesize

for name in first second; do head --bytes=1M "$folder/$name"; done |
	xz -9 >"$(dirname "$0")/heads.xz"
