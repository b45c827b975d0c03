"""The same calls by saturate. Run by a Python that has it, as `repeated_saturate.py PORT CALLS`."""

import sys

from saturate import Fixed, pump


def main(port: str, calls: int) -> None:
    pump(
        [{"number": str(number)} for number in range(calls)],
        lambda row: {"prompt": row["number"]},
        lambda answer: {"answer": answer["answer"]},
        f"http://127.0.0.1:{port}",
        "saturated",
        window=Fixed(50),
        id_key="number",
        route="/ask",
        signal_source="none",
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
