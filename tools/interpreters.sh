#!/usr/bin/env bash
# Prints the interpreters that batten is tested with and that are here, a line each: the first of
# each version in PATH, or among those of pyenv. `--others`: without that of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

own=
if [ "${1:-}" = --others ] && [ -x .venv/bin/python ]; then own=$(version .venv/bin/python); fi
for wanted in 3.11 3.12 3.13 3.14; do
    if [ "$wanted" = "$own" ]; then continue; fi
    found=
    for candidate in "python$wanted" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$wanted".*/bin/python"$wanted"; do
        if [ "$(version "$candidate")" = "$wanted" ]; then
            found=$(command -v "$candidate")
            break
        fi
    done
    if [ -n "$found" ]; then echo "$found"; else echo "Python $wanted is not here: not tested" >&2; fi
done
