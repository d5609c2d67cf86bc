#!/usr/bin/env bash
# Test installation as a new user: a fresh clone in an empty folder with an empty pip cache, for each installed Python
# with its bundled pip and with the newest pip: `make install`, then in another clone `pip install .` (the newest versions
# that pyproject.toml allows); then --help, one epoch, one eval. About 90 seconds each.
#   scripts/check_doors.sh                         python3.11, 3.12 and 3.13, if installed; tests the last commit
#   scripts/check_doors.sh python3.12              only the given interpreters
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

pythons=("$@")
if [[ $# -eq 0 ]]; then
  for version in 3.11 3.12 3.13; do
    # pyenv's python3.12 is a shim that exists even if no 3.12 is active.
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
      if "$candidate" -c '' 2>/dev/null; then pythons+=("$(command -v "$candidate")") && break; fi
    done
  done
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_CACHE_DIR=$scratch/pip-cache KERAS_HOME=$scratch/keras
unset VIRTUAL_ENV PYTHONPATH SEGTRAIN_TEST_DATA

install_lock() {
  make install PYTHON="$1"
}

install_newest() {
  .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-compile . && .venv/bin/python -m pip check
}

# One epoch of a small network on the drawn sample data: takes seconds and runs every stage of both commands.
use() {
  local small="dataset=people model=lraspp backbone=mobilenet_v3_small backbone.weights=null epochs=1 batch_size=4 crop_size=[96,96]
    schedule.warmup_steps=0 dataset.num_train_images=8 dataset.num_val_images=2"
  .venv/bin/segtrain --help >/dev/null && .venv/bin/segtrain train --help >/dev/null &&
    .venv/bin/segtrain train $small && .venv/bin/segtrain eval &&
    ls runs/eval/*/scores.json runs/eval/*/overlays/*.png >/dev/null
}

try() {
  "$1" -m venv .venv && { [[ $2 == shipped ]] || .venv/bin/python -m pip install --quiet --upgrade pip; } &&
    "install_$3" "$1" && use
}

failed=0
for python in "${pythons[@]}"; do
  for pip in shipped newest; do
    for door in lock newest; do
      cd "$scratch" && rm -rf "$scratch/door" "$PIP_CACHE_DIR"
      git clone --quiet "$repository" "$scratch/door"
      cd "$scratch/door"
      started=$SECONDS log=$scratch/log result=passed
      try "$python" "$pip" "$door" >"$log" 2>&1 || result=FAILED
      printf '%-7s %s, pip %s, versions: %-7s %4d s\n' "$result" "$("$python" --version)" \
        "$(.venv/bin/python -m pip --version | cut -d ' ' -f 2)" "$door" $((SECONDS - started))
      if [[ $result == FAILED ]]; then failed=1 && tail -20 "$log" >&2; fi
    done
  done
done
exit $failed
