#!/usr/bin/env bash
# One machine as a whole SLURM cluster, for tests: munged, slurmctld and slurmd as plain daemons that listen on the
# loopback device alone. Needs root and Debian's packages slurm-wlm and munge; installs them where they are missing.
# usage: scripts/slurm/up.sh [FOLDER]        (default: $FR_SLURM, else /tmp/fr-slurm; removed by down.sh)
# then:  export SLURM_CONF=FOLDER/slurm.conf
# Exits with 3 where it can't be done here (no root, no packages), with 1 where the daemons don't come up.
set -euo pipefail
folder=${1:-${FR_SLURM:-/tmp/fr-slurm}}
export SLURM_CONF="$folder/slurm.conf"

if [ -f "$SLURM_CONF" ] && timeout 20 sinfo --noheader >/dev/null 2>&1; then
  echo "SLURM is up already: SLURM_CONF=$SLURM_CONF"
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "SLURM's daemons need root here: sudo $0" >&2; exit 3; }
complete=yes
for program in slurmctld slurmd munged scontrol; do
  command -v "$program" >/dev/null || complete=
done
if [ -z "$complete" ]; then
  command -v apt-get >/dev/null || { echo "no slurmctld here and no apt-get to install it: slurm-wlm and munge are needed" >&2; exit 3; }
  echo "installing slurm-wlm and munge"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge; } >"${TMPDIR:-/tmp}/fr-slurm-apt.log" 2>&1 ||
    { echo "the packages slurm-wlm and munge can't be installed: ${TMPDIR:-/tmp}/fr-slurm-apt.log" >&2; exit 3; }
fi
"$(dirname "$0")/down.sh" "$folder" >/dev/null  # what an earlier start left half-way

mkdir -p "$folder"/{state,spool,munge}
chmod 755 "$folder" "$folder/munge"
dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
chown -R munge: "$folder/munge"
chmod 400 "$folder/munge/key"

cpus=$(nproc)
[ "$cpus" -ge 4 ] || cpus=4  # several jobs at once, also on a small machine
memory=$(($(free --mebi | awk '/^Mem:/ {print $2}') * 3 / 4))
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
JobRequeue=1
ReturnToService=2
KillWait=10
MpiDefault=none
MailProg=/bin/true
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF

runuser -u munge -- munged --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
  --pid-file="$folder/munge/munged.pid" --log-file="$folder/munge/munged.log" --seed-file="$folder/munge/seed"
slurmctld -c
slurmd -N localhost

for _ in $(seq 60); do
  if [ "$(sinfo --noheader --format=%t 2>/dev/null || true)" = idle ]; then
    echo "SLURM is up, one node of $cpus CPUs: export SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
echo "the node is not idle after 30 s; logs in $folder" >&2
exit 1
