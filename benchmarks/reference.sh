#!/usr/bin/env bash
# Trains and tables the reference results of the README. What is done is not done again, so it can be stopped at any time.
#   benchmarks/reference.sh synthetic          took 56 minutes on 2 CPU cores that had other work
#   benchmarks/reference.sh ferplus DATA_ROOT  took 40 minutes there; DATA_ROOT as `fer-bench datasets ferplus` says
set -euo pipefail
METHODS=ce,nla,coteaching,jocor,scn,eac,cb,balanced_softmax
case "${1:-}" in
synthetic)
    fer-bench run --methods "$METHODS" --noise 0,0.2,0.4 --seeds 0,1,2 --name reference-noise
    fer-bench run --methods "$METHODS" --imbalance 1,50 --seeds 0,1,2 --name reference-imbalance
    ;;
ferplus)
    # 0.3246 is the rate of `human` on these 5,000 images: the share whose FER2013 label is not the FERPlus majority.
    fer-bench run --dataset ferplus --data-root "$2" --methods "$METHODS" --noise-type symmetric,human \
        --noise 0,0.2,0.3246,0.4 --train-size 5000 --epochs 12 --name reference-ferplus
    ;;
*)
    sed -n '2,4p' "$0" >&2
    exit 2
    ;;
esac
