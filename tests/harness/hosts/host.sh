#!/bin/sh
# Makes one host out of the process that runs it. Everything it is to know comes
# in the environment, as LAB_*; nothing of that is shell text.
#
#   host.sh enter DOOR.. -- COMMAND..   goes into a host's cgroups, becomes the command
#   host.sh boot                        in new namespaces: mounts the host's files, becomes its first process
set -eu

enter() {
  while [ "$1" != -- ]; do
    echo $$ >"$1"
    shift
  done
  shift
  exec "$@"
}

mount_files() {
  mount --make-rprivate /
  # Plain layers: what is on the disk says all that was changed, for listings.
  layers="lowerdir=$LAB_BASE,upperdir=$LAB_DIR/disk/upper,workdir=$LAB_DIR/disk/work"
  mount -n -t overlay -o "$layers,redirect_dir=off,metacopy=off,index=off" overlay "$root"
  mount -n -t proc -o nosuid,nodev,noexec proc "$root/proc"
  mount -n -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
  mount -n -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -n -t tmpfs -o mode=755 tmpfs "$root/run"
  # On the disk, as on a stock Debian, so that a full disk is full here too.
  rm -rf "$LAB_DIR/disk/tmp"
  mkdir -m 1777 "$LAB_DIR/disk/tmp"
  mount -n --bind "$LAB_DIR/disk/tmp" "$root/tmp"
  mkdir -p "$root/run/sshd" "$root/run/lab"
  mount -n --bind "$LAB_DIR/settings" "$root/run/lab"
  # The kernel is shared and its boot id with it; machines have one each.
  mount -n --bind "$LAB_DIR/settings/boot_id" "$root/proc/sys/kernel/random/boot_id"
}

make_devices() {
  mount -n -t tmpfs -o mode=755 tmpfs "$root/dev"
  cd "$root/dev"
  mknod -m 666 null c 1 3
  mknod -m 666 zero c 1 5
  mknod -m 666 full c 1 7
  mknod -m 666 random c 1 8
  mknod -m 666 urandom c 1 9
  mknod -m 666 tty c 5 0
  mkdir pts shm
  mount -n -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts pts
  mount -n -t tmpfs -o mode=1777 tmpfs shm
  ln -s pts/ptmx ptmx
  ln -s /proc/self/fd fd
  ln -s /proc/self/fd/0 stdin
  ln -s /proc/self/fd/1 stdout
  ln -s /proc/self/fd/2 stderr
}

join_network() {
  hostname "$LAB_NAME"
  # An address may be another machine's from one moment to the next; notice it soon.
  cd "$root/proc/sys/net/ipv4/neigh/eth0"
  echo 500 >base_reachable_time_ms
  echo 50 >retrans_time_ms
  echo 0 >delay_first_probe_time
  echo 1 >ucast_solicit
  ip link set lo up
  ip address add "$LAB_ADDRESS" dev eth0
  ip link set eth0 up
}

# What an installer of the system would have left, once per disk.
set_up_disk() {
  [ -e "$LAB_DIR/disk/set-up" ] && return
  echo "$LAB_NAME" >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$LAB_NAME" >"$root/etc/hosts"
  mkdir -p -m 700 "$root/root/.ssh"
  cp "$LAB_DIR/user_key.pub" "$root/root/.ssh/authorized_keys"
  chmod 600 "$root/root/.ssh/authorized_keys"
  touch "$LAB_DIR/disk/set-up"
}

boot() {
  root=$LAB_DIR/root
  mount_files
  make_devices
  join_network
  set_up_disk
  cd "$root"
  mkdir run/old
  pivot_root . run/old
  cd /
  umount -l /run/old
  rmdir /run/old
  exec </dev/null >>/run/lab/console.log 2>&1
  # Nothing of the test's environment is the host's.
  clean='env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  if [ "$LAB_INIT" = systemd ]; then
    write_units
    # A container, to it: what machines have and this one has not is left alone.
    exec $clean container=lab "$systemd" --unit=lab.target --log-target=console --show-status=no
  fi
  exec $clean /run/lab/init -s -- $sshd
}

# systemd gets one target with sshd in it. Of what it would start beside that, which is
# another machine's business or sets up a kernel that is not the host's own, only the
# journal stays.
write_units() {
  units=/run/systemd/system
  mkdir -p "$units"
  for unit in /etc/systemd/system/*.wants/* /lib/systemd/system/*.wants/*; do
    unit=${unit##*/}
    case $unit in
      systemd-journald* | *.target) ;;
      *) ln -sf /dev/null "$units/$unit" ;;
    esac
  done
  printf '[Unit]\nDefaultDependencies=no\nRequires=lab-sshd.service\nWants=multi-user.target\n' >"$units/lab.target"
  cat >"$units/lab-sshd.service" <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=$sshd
StandardOutput=append:/run/lab/console.log
StandardError=inherit
END
}

sshd='/usr/sbin/sshd -D -e -f /run/lab/sshd_config'
systemd=/lib/systemd/systemd
stage=$1
shift
"$stage" "$@"
