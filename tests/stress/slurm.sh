#!/usr/bin/env bash
# Brings up a Slurm of one node on this machine, trains a small sweep with --launcher slurm, queues a running job again,
# lets another run out of time, and compares every number with a local sweep. Not part of the test suite.
#
#     apt-get install slurm-wlm munge
#     PYTHON=python tests/stress/slurm.sh        as root, because slurmd starts jobs for users; takes minutes
#
# Everything lies in one temporary folder, and only daemons that this script started are stopped.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python}
WORK=$(mktemp -d /tmp/fer-slurm.XXXXXX)
export SLURM_CONF=$WORK/slurm.conf PYTHONPATH=$PWD
HOST=$(hostname -s)
daemons=()
finish() {
    scancel --user=root 2>/dev/null || true
    for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
    [ -n "${KEEP:-}" ] && echo "kept: $WORK" || rm -rf "$WORK"
}
trap finish EXIT

mkdir -p "$WORK"/{state,spool,munge}
dd if=/dev/urandom of="$WORK/munge/key" bs=1024 count=1 status=none
chmod 700 "$WORK/munge"; chmod 400 "$WORK/munge/key"; chmod 755 "$WORK"
munged --foreground --force --key-file="$WORK/munge/key" --socket="$WORK/munge/socket" --pid-file="$WORK/munge/pid" \
    --log-file="$WORK/munge/log" --seed-file="$WORK/munge/seed" >"$WORK/munged.out" 2>&1 & daemons+=($!)
chmod 711 "$WORK/munge"
cat >"$SLURM_CONF" <<CONF
ClusterName=fer
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$WORK/munge/socket
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd.pid
SlurmctldLogFile=$WORK/slurmctld.log
SlurmdLogFile=$WORK/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerParameters=requeue_setup_env_fail
KillWait=20
OverTimeLimit=0
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=faces Nodes=$HOST Default=YES MaxTime=60 State=UP
CONF
sleep 2
slurmctld -D >"$WORK/slurmctld.out" 2>&1 & daemons+=($!)
slurmd -D -N "$HOST" >"$WORK/slurmd.out" 2>&1 & daemons+=($!)
for _ in $(seq 60); do [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && break; sleep 1; done
sinfo

request=(run --methods ce,crt --noise 0.2 --seeds 0,1 --epochs 30 --train-size 350 --image-size 32)
"$PYTHON" -m fer_bench.cli "${request[@]}" --out "$WORK/local" --jobs 1 >/dev/null
echo "the same sweep with Slurm"
"$PYTHON" -m fer_bench.cli "${request[@]}" --out "$WORK/slurm" --launcher slurm --launcher-option partition=faces \
    --launcher-option minutes=10 --launcher-option array=2 --launcher-option folder="$WORK/jobs" & sweep=$!

# once two runs have an epoch, one is queued again by hand, and the other is told that its time is nearly over
for signal in requeue USR2; do
    for _ in $(seq 6000); do
        job=$(squeue -h -r -t R -o %i | head -1)
        if [ -n "$job" ] && [ "$(find "$WORK/slurm/runs" -name epochs.jsonl 2>/dev/null | wc -l)" -ge 2 ]; then break; fi
        kill -0 "$sweep" 2>/dev/null || break 2
        sleep 0.1
    done
    if [ "$signal" = requeue ]; then scontrol requeue "$job"; else scancel --signal=USR2 "$job"; fi
    echo "$signal: job $job"
    sleep 8
    squeue -r
done
wait "$sweep"
grep -h -E "Bypassing|Caught|Exiting gracefully|Requeued|CANCELLED" "$WORK"/jobs/*.err "$WORK"/jobs/*.out | sort | uniq -c || true
"$PYTHON" - "$WORK" <<'CHECK'
import sys
sys.path.insert(0, ".")
from pathlib import Path
from tests.helpers.commands import numbers
local, slurm = (numbers(Path(sys.argv[1]) / name) for name in ("local", "slurm"))
assert len(slurm) == 4 and slurm == local, "Slurm and the local pool gave different numbers"
print("4 runs, every number as with the local pool")
CHECK
