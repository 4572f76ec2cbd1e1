#!/usr/bin/env bash
# Checks and measures fer-bench on a GPU, in under nine minutes and without a network; see docs/development/gpu.md.
#   bash benchmarks/gpu/check.sh                       findings in $OUT, else in results/gpu
#   DEVICE=cpu bash benchmarks/gpu/check.sh            a rehearsal without a GPU, everything scaled down
#   PARTS="steps loader" bash benchmarks/gpu/check.sh  some parts only
# Also: PYTHON, SECONDS_IN_ALL (525), WHEELS (.wheels), DATASET, DATA_ROOT (data), WEIGHTS (a file for
# resnet18).
# Findings are written one by one, so it can be stopped at any time; the summary is made then too.
set -u
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-python3}
device=${DEVICE:-cuda:0}
out=${OUT:-results/gpu}
wheels=${WHEELS:-.wheels}
in_all=${SECONDS_IN_ALL:-525}
parts=${PARTS:-correctness steps jobs loader paper}
declare -A limits=([correctness]=185 [steps]=175 [jobs]=75 [loader]=50 [paper]=600)
small=()
[ "$device" = cpu ] && small=(--small)

mkdir -p "$out"
rm -f "$out/findings.jsonl"
scratch=$(mktemp -d)
# fer-bench may not be installed: these are the names under which an installation has the two folders
mkdir "$scratch/site"
ln -s "$PWD/methods" "$scratch/site/fer_bench_methods"
ln -s "$PWD/benchmarks" "$scratch/site/fer_bench_benchmarks"
export PYTHONPATH=$PWD:$scratch/site FER_BENCH_CACHE=${FER_BENCH_CACHE:-$scratch/cache} PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
if compgen -G "$wheels/*.whl" >/dev/null; then
    $python -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$scratch/site" "$wheels"/*.whl ||
        exit 1
fi

child=
finish() {
    [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
    wait
    $python -m benchmarks.gpu.summary "$out"
    rm -rf "$scratch"
    exit "${1:-0}"
}
trap 'finish 143' TERM
trap 'finish 130' INT

for part in $parts; do
    left=$((in_all - SECONDS))
    [ "$left" -le 15 ] && break
    limit=${limits[$part]}
    [ "$limit" -gt $((left - 10)) ] && limit=$((left - 10))
    # a part begins nothing after its limit; what it has begun is ended 15 seconds later
    timeout -k 10 $((limit + 15 < left ? limit + 15 : left)) \
        $python -m benchmarks.gpu "$part" --out "$out" --device "$device" --seconds "$limit" "${small[@]}" \
        2>>"$out/log.txt" &
    child=$!
    wait "$child"
    echo "$part: exit code $?, $SECONDS s so far"
    child=
done
finish
