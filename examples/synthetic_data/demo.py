"""A guided tour: a job that pays by the call, killed, resumed, extended (`make demo-synthetic`)."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

EXAMPLE = Path(__file__).resolve().parent
WORK = EXAMPLE.parents[1] / "demo-output" / "synthetic_data"
UNDISTURBED = WORK / "undisturbed"
THRIFTY = WORK / "thrifty"
BATTEN = Path(sys.executable).with_name("batten")
RUN = ("run", "synthesize.py")

RECORDS = 200
MORE = 30
IN_BATCHES = 60
BUDGET = 0.01
ANSWER_MILLISECONDS = 200
IDLE_SECONDS_MAX = 60
POLL_SECONDS = 0.1


def main() -> None:
    started = time.monotonic()
    prepare()
    with serve() as url:
        model = Model(url)
        killed, answered = run_and_kill(model)
        look_with_diagnose()
        resume(model, killed, answered)
        check()
        extend(model)
        change_the_model(model)
        compare_with_undisturbed()
        stay_within_budget()
        run_overnight(model)
    show_rows()
    seconds = time.monotonic() - started
    print(f"\nAll as promised, in {seconds:.0f} seconds. It is all in demo-output/synthetic_data/.")


def prepare() -> None:
    title("A chat model with bad moments")
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in (WORK, UNDISTURBED, THRIFTY):
        folder.mkdir(parents=True)
        shutil.copy(EXAMPLE / "synthesize.py", folder)
    shutil.copy(EXAMPLE / "overnight.py", WORK)
    say(
        "server.py stands in for a model that is paid by the call. It speaks the protocol of "
        f"OpenAI over HTTP, takes about {ANSWER_MILLISECONDS} ms, and at the first tries of some "
        "requests answers 429 or 503, breaks the connection, or writes JSON that is none."
    )
    say("The job, synthesize.py: customers from samplers, questions and answers from the model.")


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """The model's address, while it is there."""
    options = ("--milliseconds", str(ANSWER_MILLISECONDS))
    command = [sys.executable, str(EXAMPLE / "server.py"), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip() if server.stdout is not None else ""
        promise(bool(url), f"it serves at {url}")
        os.environ |= {
            "OPENAI_BASE_URL": url,
            "NO_PROXY": "127.0.0.1",
            "RECORDS": str(RECORDS),
            "CONCURRENCY": "50",
            "POLL_SECONDS": "0.2",
        }
        yield url
    finally:
        server.terminate()
        server.wait()


class Model:
    """What the server says of itself."""

    def __init__(self, url: str) -> None:
        self._url = url.removesuffix("/v1")
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def counts(self) -> dict[str, int]:
        """What it was asked so far, as soon as it has nothing in hand."""
        return self._get("/counts?idle")

    def count_batches(self) -> dict[str, int]:
        """What it was asked in batches so far."""
        return self._get("/counts/batches")

    def let_time_pass(self) -> None:
        """The batches that it has end now."""
        self._get("/next-day")

    def _get(self, path: str) -> dict[str, int]:
        with self._open(f"{self._url}{path}", timeout=IDLE_SECONDS_MAX) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


def run_and_kill(model: Model) -> tuple[dict[str, Any], int]:
    """Start the job, kill it at about half. Gives what `diagnose` sees then, and how many calls the
    model answered, those included that nobody listened to any more."""
    title("Run it, and kill it in the middle")
    print_command(RUN, {})
    process = subprocess.Popen([str(BATTEN), *RUN], cwd=WORK)
    try:
        while process.poll() is None and finished_items(diagnose()) < RECORDS // 2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
    promise(process.returncode == -signal.SIGKILL, "SIGKILL, without a warning")
    return diagnose(), model.counts()["answered"]


def look_with_diagnose() -> None:
    title("What happened? Is it safe to run again?")
    batten("diagnose", "conversations", expected=10)


def resume(model: Model, killed: dict[str, Any], answered: int) -> None:
    title("The same command again")
    report = run()
    kept = finished_items(killed)
    print(f"  {answered:4} calls had been answered, and paid, when it was killed")
    print(f"  {kept:4} of them were kept")
    print(f"  {report['executed_items']:4} were made now")
    promise(kept + report["executed_items"] == RECORDS, f"together {RECORDS}: none left out")
    counts = model.counts()
    again = counts["answered_again"]
    promise(
        again == answered - kept,
        f"{again} paid for twice: in flight, or just answered",
    )
    print(f"  {report['usage']['total']['cost']:.4f} dollars were told, over both runs")
    troubles = ", ".join(f"{counts[name]} {name}" for name in ("malformed", "dropped", "failed"))
    promise(
        report["items"]["quarantined"] == 0,
        f"{troubles}, {counts['refused']} told to wait: tried again, and none failed for good",
    )


def check() -> None:
    title("Trust it?")
    batten("verify", "conversations")
    batten("show", "conversations")
    batten("verify", "training")
    rows, kept = count_rows("conversations"), count_rows("training")
    promise(0 < kept < rows, f"finalized: {kept} rows of {rows}, each question once")
    report = run()
    promise(report["status"] == "nothing-to-do", "run once more: nothing to do")


def extend(model: Model) -> None:
    title(f"{MORE} more")
    before = model.counts()["answered"]
    report = run(records=RECORDS + MORE)
    promise(report["executed_items"] == MORE, "only the new ones were run")
    promise(model.counts()["answered"] == before + MORE, f"only {MORE} calls were paid for")
    rows = report["finalized"][0]["rows"]
    promise(count_rows("training") == rows, f"and training/ was made anew, with {rows} rows")


def change_the_model(model: Model) -> None:
    title("Another model, by mistake")
    before = model.counts()["answered"]
    batten(*RUN, records=RECORDS + MORE, OPENAI_MODEL="another", expected=5)
    promise(model.counts()["answered"] == before, "refused before any call; nothing is mixed")


def compare_with_undisturbed() -> None:
    title("And had it never been killed?")
    run(records=RECORDS + MORE, folder=UNDISTURBED)
    names = sorted(
        str(path.relative_to(folder))
        for folder in (WORK, UNDISTURBED)
        for output in ("conversations", "training")
        for path in (folder / output).iterdir()
    )
    same, different, missing = filecmp.cmpfiles(WORK, UNDISTURBED, set(names), shallow=False)
    promise(
        bool(same) and not different and not missing,
        f"a run in another folder made the same {len(same)} files, byte for byte",
    )


def stay_within_budget() -> None:
    title("Only so many dollars")
    batten(*RUN, "--budget", str(BUDGET), folder=THRIFTY, expected=75)
    cost = find_usage("conversations", THRIFTY)["cost"]
    promise(0 < cost <= BUDGET, f"it stopped at {cost:.4f} of {BUDGET} dollars, and kept the rows")


def run_overnight(model: Model) -> None:
    title("At half the price, if it may take until tomorrow")
    overnight = ("run", "overnight.py", "--quiet")
    print_command(overnight, {"RECORDS": str(IN_BATCHES)})
    environment = os.environ | {"RECORDS": str(IN_BATCHES)}
    process = subprocess.Popen([str(BATTEN), *overnight], cwd=WORK, env=environment)
    try:
        while process.poll() is None and not model.count_batches()["batches"]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
    promise(process.returncode == -signal.SIGKILL, "SIGKILL, while the vendor begins a batch")
    batten(*overnight, records=IN_BATCHES, LATER="1", expected=75)
    batten("diagnose", "overnight", expected=10)
    say("The next day:")
    model.let_time_pass()
    batten(*overnight, records=IN_BATCHES)
    counts, usage = model.count_batches(), find_usage("overnight")
    promise(
        counts["handed_in_again"] == 0,
        f"{counts['handed_in']} requests in {counts['batches']} batches, none handed in twice",
    )
    charged = (counts["prompt_tokens"], counts["completion_tokens"])
    promise(
        (usage["input_tokens"], usage["output_tokens"]) == charged,
        f"{sum(charged)} tokens in the accounts, as the server counts: {usage['cost']:.4f} dollars",
    )
    single = pq.read_table(WORK / "conversations", filters=[("key", "<", IN_BATCHES)])
    promise(pq.read_table(WORK / "overnight").equals(single), "and the rows are those of before")


def show_rows() -> None:
    title("A few rows")
    rows = pq.read_table(WORK / "training").to_pylist()
    for row in rows[:: len(rows) // 4]:
        print(f"  {row['key']:4}  {row['split']:<5}  ({row['mood']}) {row['question']}")
        print(f"               {row['answer']}")


def count_rows(output: str) -> int:
    return int(pq.read_table(WORK / output, columns=["key"]).num_rows)


def find_usage(output: str, folder: Path = WORK) -> dict[str, float]:
    """What the accounts have in all."""
    command = [str(BATTEN), "diagnose", output, "--json"]
    done = subprocess.run(command, cwd=folder, check=False, text=True, stdout=subprocess.PIPE)
    total: dict[str, float] = json.loads(done.stdout)["usage"]["total"]
    return total


def diagnose() -> dict[str, Any]:
    command = [str(BATTEN), "diagnose", "conversations", "--json"]
    done = subprocess.run(command, cwd=WORK, check=False, text=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def finished_items(report: dict[str, Any]) -> int:
    items = report.get("items") or {}
    return sum(int(items.get(name, 0)) for name in ("committed", "filtered", "staged"))


def run(*, records: int = RECORDS, folder: Path = WORK) -> dict[str, Any]:
    """Run the job to its end, and give its report."""
    done = batten(*RUN, "--json", records=records, folder=folder, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def batten(
    *arguments: str,
    records: int = RECORDS,
    folder: Path = WORK,
    stdout: int | None = None,
    expected: int = 0,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a batten command, with its command line and its words on the screen."""
    if records != RECORDS:
        variables["RECORDS"] = str(records)
    print_command(arguments, variables)
    environment = os.environ | variables
    command = [str(BATTEN), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, text=True, stdout=stdout
    )
    promise(done.returncode == expected, f"batten {arguments[0]} ends with exit {expected}")
    return done


def title(text: str) -> None:
    print(f"\n=== {text} {'=' * (74 - len(text))}\n", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(text, 78), flush=True)


def print_command(arguments: Sequence[str], variables: Mapping[str, str]) -> None:
    words = [*(f"{name}={value}" for name, value in variables.items()), "batten", *arguments]
    print(f"$ {' '.join(words)}", flush=True)


def promise(is_kept: bool, text: str) -> None:
    """Say that it is as promised, or end the demo where it is not."""
    if not is_kept:
        sys.exit(f"[NOT AS PROMISED] {text}")
    print(f"[ok] {text}", flush=True)


if __name__ == "__main__":
    main()
