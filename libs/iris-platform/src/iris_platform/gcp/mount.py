"""What the controller's machine runs at every boot: it mounts the disk with state and keys.

Constant text: there is nothing in it that differs from one cluster to another.
"""

from __future__ import annotations

from iris_config.defaults import PKI_DIR, STATE_DIR

# The disk's name as a device of the machine: /dev/disk/by-id/google-NAME.
DISK_NAME = "iris-state"

# Only a disk on which blkid finds nothing at all (status 2) is formatted: one that cannot
# be read is left as it is. The mounts are in fstab, so that systemd makes them before it
# starts the controller at a later boot.
MOUNT_SCRIPT = f"""\
#!/bin/sh
set -eu
disk=/dev/disk/by-id/google-{DISK_NAME}
place=/var/lib/iris-disk
tries=0
until [ -b "$disk" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 60 ]; then
    echo "iris: there is no disk $disk" >&2
    exit 1
  fi
  sleep 1
done
status=0
blkid -p "$disk" >/dev/null || status=$?
if [ "$status" -eq 2 ]; then
  mkfs.ext4 -q -m 0 "$disk"
elif [ "$status" -ne 0 ]; then
  echo "iris: $disk cannot be read" >&2
  exit 1
fi
entry() {{
  grep -qF " $2 " /etc/fstab || echo "$1 $2 $3" >>/etc/fstab
}}
mkdir -p "$place"
entry "$disk" "$place" "ext4 nosuid,nodev,discard 0 2"
mountpoint -q "$place" || mount "$place"
for there in {STATE_DIR} {PKI_DIR}; do
  kept="$place/${{there##*/}}"
  mkdir -p -m 700 "$kept" "$there"
  entry "$kept" "$there" "none bind,x-systemd.requires-mounts-for=$place 0 0"
  mountpoint -q "$there" || mount "$there"
done
"""
