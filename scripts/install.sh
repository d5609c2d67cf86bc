#!/usr/bin/env bash
# Create .venv with the exact packages of requirements.lock and segtrain itself, editable. Called by `make install`.
#   PYTHON=python3.12 scripts/install.sh
# pip resolves no versions: the lock pins each package with its hashes, so later releases cannot change the result.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
log=.venv/install.log

fail() {
  echo "error: $*" >&2
  exit 1
}

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
  fail "$python is $("$python" --version 2>&1 | tail -1), expected 3.11 to 3.13. Fix: make install PYTHON=python3.12"
"$python" -m venv .venv ||
  fail "$python cannot create .venv (above). Fix: install its venv package (Debian: apt install python3-venv), or rm -r .venv"

# Override pip settings of the user that would break this installation. pip treats an empty variable as unset, so a
# constraint file is replaced by an empty file.
export PIP_CONSTRAINT=/dev/null PIP_NO_BINARY=:none: PIP_ONLY_BINARY=:none: PIP_USER=0
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USE_PEP517=1 PIP_NO_INPUT=1
unset PIP_BUILD_CONSTRAINT PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIREMENT PIP_EDITABLE

pip_install() {
  .venv/bin/python -m pip install --no-compile --no-deps "$@" 2>&1 | tee -a "$log" |
    awk '/Downloading.*[0-9][0-9.]+ MB|^Installing/ {print "  " substr($0, 1, 100); fflush()}'
}

explain() {
  local cause missing='s/.*satisfies the requirement ([^ ]+).*/\1/p'
  if missing=$(sed -nE "$missing" "$log" | head -1) && [[ -n $missing ]]; then
    cause=$(grep -oE '\[Errno [^]]+\] [A-Za-z ]+|SSL[A-Za-z ]+not available|CERTIFICATE[A-Z_]+|timed out' "$log" | head -1) || true
    fail "the package index cannot be reached, or lacks $missing${cause:+ ($cause)}. Fix: connect and run make install again, or choose another" \
      "index (PIP_INDEX_URL=https://... make install) or a folder of the packages (PIP_NO_INDEX=1" \
      "PIP_FIND_LINKS=/folder make install). pip's output: $log"
  fi
  grep -E '^ *ERROR|^error' "$log" | tail -3 >&2 || true
  fail "pip could not install requirements.lock (exit code $1). Fix: read $log, then run make install again"
}

: >"$log"
echo "installing requirements.lock into .venv: about a minute (the download is 0.8 GB)"
# One package of the lock is source-only and is built with the lock's setuptools, which is therefore installed first.
awk '/^setuptools==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements.lock >.venv/first.lock
pip_install --require-hashes -r .venv/first.lock || explain $?
pip_install --require-hashes --no-build-isolation -r requirements.lock || explain $?
pip_install --no-build-isolation --editable . || explain $?
.venv/bin/python -m pip check >>"$log" 2>&1 ||
  { tail -5 "$log" >&2; fail "requirements.lock does not fit pyproject.toml (above). Fix: make lock"; }
# Compile bytecode now, because many containers cannot write it later: TensorFlow then starts in 3 seconds instead of 8.
.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null || true
touch .venv/installed
