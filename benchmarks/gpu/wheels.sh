#!/usr/bin/env bash
# Downloads the packages that a machine with torch, torchvision, timm, pandas, scipy, scikit-learn, statsmodels, seaborn,
# pyarrow, click, rich, jinja2 and safetensors, but without a network, lacks: into .wheels (or $WHEELS), for check.sh. Nothing
# else is fetched, so the versions of the machine stay as they are.
#   bash benchmarks/gpu/wheels.sh [PYTHON_VERSION]     3.12 by default
set -eu
cd "$(dirname "$0")/../.."
version=${1:-3.12} wheels=${WHEELS:-.wheels}
rm -rf "$wheels"
platforms=()
for glibc in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
${PYTHON:-python3} -m pip download -q --no-deps --only-binary=:all: -d "$wheels" --implementation cp \
    --python-version "$version" "${platforms[@]}" --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
    'orjson>=3.10' 'platformdirs>=4.0' 'scikit-posthocs>=0.11' 'imagehash>=4.3' pywavelets
du -sh "$wheels"
