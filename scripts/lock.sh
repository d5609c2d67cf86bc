#!/usr/bin/env bash
# Update requirements.lock from pyproject.toml: every package that segtrain and its tools need, with hashes.
#   scripts/lock.sh                       the newest versions that pyproject.toml allows
#   scripts/lock.sh --keep                keep the versions of the lock if pyproject.toml still allows them
# One lock for python 3.11 to 3.13 on every system. It contains no index URL: pip uses its configured one.
set -euo pipefail
cd "$(dirname "$0")/.."

resolver=$(mktemp -d)
trap 'rm -rf "$resolver"' EXIT
"${PYTHON:-python3}" -m venv "$resolver"
"$resolver/bin/python" -m pip install --quiet 'uv==0.13.8'

new=$resolver/requirements.lock
if [[ ${1:-} == --keep ]]; then cp requirements.lock "$new"; fi
"$resolver/bin/uv" pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
  --no-header --no-emit-index-url --no-emit-find-links --annotation-style line --quiet --output-file "$new" >/dev/null
if grep -nE '://|^-|^nvidia' "$new"; then
  echo "error: the new lock contains an address, an option or a CUDA package (above); requirements.lock is unchanged" >&2
  exit 1
fi
{
  echo "# What \`make install\` installs, segtrain's tools included. Made from pyproject.toml by \`make lock\`; not edited by hand."
  cat "$new"
} >requirements.lock
echo "requirements.lock: $(grep -c '==' requirements.lock) packages"
