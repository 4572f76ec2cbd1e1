#!/usr/bin/env bash
# Trains and tables the reference results of the README, and writes a page of each sweep. What is done is not done again,
# so it can be stopped at any time.
#   benchmarks/reference.sh synthetic          nineteen methods, noise and imbalance, three seeds: 228 runs
#   benchmarks/reference.sh ferplus DATA_ROOT  eight methods, symmetric and human noise: 40 runs
#   benchmarks/reference.sh faces DATA_ROOT    nineteen methods on FERPlus with landmarks: 38 runs
#   benchmarks/reference.sh pretraining DATA_ROOT  cross-entropy on FERPlus from random and from ImageNet weights: 4 runs
# DATA_ROOT as `fer-bench datasets ferplus` says, with landmarks as docs/landmarks.md says.
set -euo pipefail
FIRST=ce,nla,coteaching,jocor,scn,eac,cb,balanced_softmax
ALL=$FIRST,coteaching_plus,decoupling,mentornet,rul,dmue,lanet,man,face2exp,mek,crt,dcl
case "${1:-}" in
synthetic)
    fer-bench run --methods "$ALL" --noise 0,0.2,0.4 --seeds 0,1,2 --name reference-noise
    fer-bench report reference-noise
    fer-bench run --methods "$ALL" --imbalance 1,50 --seeds 0,1,2 --name reference-imbalance
    fer-bench report reference-imbalance
    ;;
ferplus)
    # 0.3246 is the rate of `human` on these 5,000 images: the share whose FER2013 label is not the FERPlus majority.
    fer-bench run --dataset ferplus --data-root "$2" --methods "$FIRST" --noise-type symmetric,human \
        --noise 0,0.2,0.3246,0.4 --train-size 5000 --epochs 12 --name reference-ferplus
    fer-bench report reference-ferplus
    ;;
faces)
    fer-bench run --dataset ferplus --data-root "$2" --methods "$ALL" --noise-type symmetric,human \
        --noise 0.4 --train-size 8000 --epochs 6 --name reference-faces
    fer-bench report reference-faces
    ;;
pretraining)
    pretraining=(--dataset ferplus --data-root "$2" --methods ce --noise 0,0.2 --train-size 2000
        --preset "$(dirname "$0")/presets/pretraining.toml")
    fer-bench run "${pretraining[@]}" --name reference-pretraining
    fer-bench report reference-pretraining
    fer-bench run "${pretraining[@]}" --pretrained efficientnet-lite0 --name reference-pretraining-imagenet
    fer-bench report reference-pretraining-imagenet
    ;;
*)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac
