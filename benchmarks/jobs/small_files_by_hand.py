"""The same as small_files.py with a pool: each file whole and durable, and nothing known of it."""

import os
import sys
from multiprocessing import Pool


def make(number: int) -> bytes:
    return number.to_bytes(8, "big") * 512


def write(number: int) -> None:
    path = f"by_hand/{number}.bin"
    with open(f"{path}.part", "xb") as file:
        file.write(make(number))
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.part", path)


def main(files: int) -> None:
    os.mkdir("by_hand")
    with Pool(2) as pool:
        for _ in pool.imap(write, range(files), chunksize=256):
            pass
    folder = os.open("by_hand", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]))
