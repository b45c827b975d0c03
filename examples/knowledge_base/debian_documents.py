"""Fetches real documents, those of Debian documentation packages: `debian_documents.py FOLDER`.

Packages are downloaded by apt, from wherever this machine has its packages, and unpacked, not
installed.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from convert import is_convertible

PACKAGES = ("debian-policy", "gnuplot-doc", "python3.11-doc")
DOCUMENTS = Path("usr/share/doc")


def fetch(package: str, folder: Path) -> int:
    """Put the documents of a package below `folder`; how many there are."""
    with tempfile.TemporaryDirectory(prefix="debian-documents-") as name:
        work = Path(name)
        subprocess.run(["apt-get", "download", "-q", package], cwd=work, check=True)
        (archive,) = work.glob("*.deb")
        unpacked = work / "unpacked"
        subprocess.run(["dpkg-deb", "--extract", archive, unpacked], check=True)
        return sum(
            copy_document(path, folder / path.relative_to(unpacked / DOCUMENTS))
            for path in sorted((unpacked / DOCUMENTS).rglob("*"))
            if path.is_file() and not path.is_symlink()
        )


def copy_document(source: Path, target: Path) -> bool:
    """Copy it, decompressed, if it can be converted; whether it can."""
    is_compressed = source.suffix == ".gz"
    target = target.with_suffix("") if is_compressed else target
    if not is_convertible(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_compressed:
        with gzip.open(source) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
    else:
        shutil.copyfile(source, target)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("packages", nargs="*", default=PACKAGES, help="default: %(default)s")
    given = parser.parse_args()
    for package in given.packages:
        try:
            count = fetch(package, given.folder)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{package}: {error}", file=sys.stderr)
            return 1
        print(f"{package}: {count} documents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
