#!/bin/sh
# tools/make_venv.sh FOLDER [PYTHON]: a virtual environment in FOLDER, kept if it is there and works.
set -eu
folder=$1
suits='import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'

if "$folder/bin/python" -c "$suits" 2>/dev/null && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
for python in "${2:-python3.11}" python3 python3.12 python3.13 python3.10 python; do
    if "$python" -c "$suits" 2>/dev/null; then
        echo "Creating $folder with $("$python" --version), then installing into it: a few minutes, once."
        exec "$python" -m venv --clear "$folder"
    fi
done
say() { echo "$1" >&2; }
say "No suitable Python was found. The course needs Python 3.10, 3.11, 3.12 or 3.13 with its venv module."
say "  Debian, Ubuntu:  sudo apt install python3 python3-venv"
say "  macOS:           brew install python@3.11"
say "  anything else:   https://www.python.org/downloads/"
say "If yours has an unusual name:  make lab PYTHON=/path/to/python3"
exit 1
