"""The ideal for slow.py: two processes that do nothing but call the function. Prints the time that
the calls took, without the start of Python."""

import os
import sys
import time


def sleep(number: int) -> None:
    time.sleep(0.005)


def spin(number: int) -> None:
    until = time.thread_time() + 0.005
    while time.thread_time() < until:
        pass


def main(kind: str, items: int) -> None:
    function = {"sleep": sleep, "spin": spin}[kind]
    began = time.perf_counter()
    child = os.fork()
    for number in range(items // 2):
        function(number)
    if child:
        os.waitpid(child, 0)
        print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
