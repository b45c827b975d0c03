"""The example against its own server: real HTTP with real troubles, killed and resumed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "synthetic_data"
BATTEN = str(Path(sys.executable).with_name("batten"))
TROUBLES = ("malformed", "dropped", "failed", "refused")
SECONDS_MAX = 60


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"synthetic_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


synthesize = load("synthesize")


class Model:
    """The example's server, in a process of its own."""

    def __init__(self, milliseconds: int) -> None:
        command = [sys.executable, str(EXAMPLE / "server.py"), "--milliseconds", str(milliseconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def counts(self, when: str = "idle") -> dict[str, int]:
        """What it was asked so far: now, or as soon as it has nothing in hand."""
        return self.get(f"/counts?{when}")

    def get(self, path: str) -> dict[str, int]:
        url = self.url.removesuffix("/v1") + path
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            url, timeout=SECONDS_MAX
        ) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model(milliseconds=20)
    yield model
    model.stop()


@pytest.fixture
def slow_model() -> Iterator[Model]:
    model = Model(milliseconds=50)
    yield model
    model.stop()


# --- samplers ------------------------------------------------------------------------------


def test_a_customer_follows_from_the_number_alone() -> None:
    assert synthesize.draw_customer(7) == {
        "order": 100007,
        "product": "kettle",
        "problem": "the lid does not close",
        "mood": "calm",
        "days_since_delivery": 34,
    }


def test_customers_are_drawn_as_the_weights_say() -> None:
    customers = [synthesize.draw_customer(number) for number in range(1200)]
    assert len({customer["order"] for customer in customers}) == 1200
    assert all(each["problem"] in synthesize.PROBLEMS[each["product"]] for each in customers)
    moods = Counter(customer["mood"] for customer in customers)
    assert [mood for mood, _ in moods.most_common()] == list(synthesize.MOODS)


# --- what the model wrote ------------------------------------------------------------------

PAIR = {"question": "Why?", "answer": "Because it is so.", "quality": 4}


def completion(content: str, finish_reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, "finish_reason": finish_reason}]}


def test_what_was_asked_for_is_taken_and_the_rest_left() -> None:
    pairs = [PAIR | {"mood": "calm"}, PAIR]
    assert synthesize.read_pairs(completion(json.dumps({"pairs": pairs}))) == [PAIR, PAIR]


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"pairs": [{"question": "Wh',
        'Sure! {"pairs": []}',
        "[]",
        "{}",
        '{"pairs": []}',
        '{"pairs": {"question": "Why?"}}',
        '{"pairs": ["Why?"]}',
        json.dumps({"pairs": [PAIR, {"question": "Why?", "answer": "So."}]}),
        json.dumps({"pairs": [PAIR | {"quality": "4"}]}),
        json.dumps({"pairs": [PAIR | {"quality": True}]}),
        json.dumps({"pairs": [PAIR | {"quality": 6}]}),
        json.dumps({"pairs": [PAIR | {"question": " "}]}),
    ],
)
def test_any_other_answer_is_an_error(content: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        synthesize.read_pairs(completion(content))


def test_an_answer_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(ValueError, match="cut off"):
        synthesize.read_pairs(completion(json.dumps({"pairs": [PAIR]}), "length"))


def test_a_row_for_each_pair_and_only_good_ones() -> None:
    good = PAIR | {"answer": "Thirty days from delivery."}
    rows = synthesize.flatten({"mood": "calm", "pairs": [good, PAIR, good | {"quality": 1}]})
    assert rows[0] == {"mood": "calm"} | good
    assert [synthesize.is_good(row) for row in rows] == [True, False, False]


def test_each_question_stays_once_and_a_customer_on_one_side() -> None:
    keys = [key for key in range(200) for _ in range(2)]
    questions = [f"question {number % 350}" for number in range(len(keys))]
    table = pa.table({"key": keys, "question": questions})
    split = synthesize.split(table)
    assert split["question"].to_pylist() == questions[:350]
    assert split["key"].to_pylist() == keys[:350]
    sides = dict(zip(split["key"].to_pylist(), split["split"].to_pylist(), strict=True))
    assert len(set(zip(split["key"].to_pylist(), split["split"].to_pylist(), strict=True))) == 175
    assert 5 < list(sides.values()).count("test") < 40
    assert synthesize.split(table.slice(0, 100)) == split.slice(0, 100)


# --- the server ----------------------------------------------------------------------------


def test_the_server_fails_at_first_tries_only_and_answers_always_alike(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    errors: list[Exception] = []

    async def ask(ask_model: Any, number: int) -> Any:
        customer = synthesize.draw_customer(number)
        for _ in range(3):
            try:
                return await ask_model(customer)
            except (ValueError, httpx2.HTTPError) as error:
                errors.append(error)
        raise AssertionError(f"{number} failed three times")

    async def ask_all() -> list[Any]:
        ask_model = synthesize.AskModel()
        async with ask_model.client:
            return await asyncio.gather(*(ask(ask_model, number) for number in range(100)))

    first = asyncio.run(ask_all())
    counts = model.counts()
    assert (counts["answered"], counts["requests"], counts["answered_again"]) == (100, 100, 0)
    assert min(counts[trouble] for trouble in TROUBLES) > 0
    assert len(errors) == sum(counts[trouble] for trouble in TROUBLES)
    responses = [each.response for each in errors if isinstance(each, httpx2.HTTPStatusError)]
    assert Counter(each.status_code for each in responses) == {
        429: counts["refused"],
        503: counts["failed"],
    }
    assert {each.headers.get("Retry-After") for each in responses if each.status_code == 429} == {
        "1"
    }
    assert asyncio.run(ask_all()) == first
    counts = model.counts()
    assert (counts["answered"], counts["answered_again"]) == (200, 100)


# --- the job -------------------------------------------------------------------------------

RECORDS = 80


class Job:
    """The job in a folder of its own."""

    def __init__(self, folder: Path, model: Model) -> None:
        folder.mkdir()
        for name in ("synthesize.py", "overnight.py"):
            shutil.copy(EXAMPLE / name, folder)
        self.folder = folder
        self._variables = os.environ | {
            "OPENAI_BASE_URL": model.url,
            "NO_PROXY": "127.0.0.1",
            "RECORDS": str(RECORDS),
            "CONCURRENCY": "8",
            "POLL_SECONDS": "0.05",
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BATTEN, *arguments, "--json"],
            cwd=self.folder,
            env=self._variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def report(self, *arguments: str, **variables: str) -> dict[str, Any]:
        text, _ = self.start(*arguments, **variables).communicate(timeout=SECONDS_MAX)
        report: dict[str, Any] = json.loads(text)
        return report

    def run(self, **variables: str) -> dict[str, Any]:
        return self.report("run", "synthesize.py", "--quiet", **variables)

    def finished(self) -> int:
        items = self.report("diagnose", "conversations")["items"] or {}
        return sum(items.get(name, 0) for name in ("committed", "filtered", "staged"))

    def parts(self, *outputs: str) -> dict[str, bytes]:
        paths = [path for output in outputs for path in sorted((self.folder / output).iterdir())]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def rows(self, output: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.folder / output).to_pylist()
        return rows


def test_killed_and_resumed_it_pays_again_only_for_what_was_in_flight(
    tmp_path: Path, slow_model: Model, model: Model
) -> None:
    job = Job(tmp_path / "killed", slow_model)
    process = job.start("run", "synthesize.py", "--quiet")
    # The model pauses, so that there is time to see what is put aside before anything else ends.
    deadline = time.monotonic() + SECONDS_MAX
    while process.poll() is None and slow_model.counts("now")["answered"] < RECORDS // 4:
        assert time.monotonic() < deadline
    slow_model.signal(signal.SIGSTOP)
    while process.poll() is None and not job.finished():
        assert time.monotonic() < deadline
    process.kill()
    process.communicate()
    slow_model.signal(signal.SIGCONT)
    kept, answered = job.finished(), slow_model.counts()["answered"]
    assert 0 < kept < RECORDS

    report = job.run()
    assert report["status"] == "complete"
    assert report["executed_items"] == RECORDS - kept
    counts = slow_model.counts()
    assert counts["requests"] == RECORDS
    assert counts["answered_again"] == answered - kept

    undisturbed = Job(tmp_path / "undisturbed", model)
    assert undisturbed.run()["status"] == "complete"
    outputs = ("conversations", "training")
    assert undisturbed.parts(*outputs) == job.parts(*outputs)


def test_more_records_cost_only_their_own_calls(tmp_path: Path, model: Model) -> None:
    job = Job(tmp_path / "job", model)
    assert job.run()["status"] == "complete"
    assert model.counts()["answered"] == RECORDS
    parts, training = job.parts("conversations"), job.rows("training")
    report = job.run(RECORDS=str(RECORDS + 5))
    assert report["status"] == "complete", report
    assert report["executed_items"] == 5
    assert model.counts()["answered"] == RECORDS + 5
    assert job.parts("conversations").items() >= parts.items()
    assert job.rows("training")[: len(training)] == training
    assert job.run(RECORDS=str(RECORDS + 5))["status"] == "nothing-to-do"

    rows = job.rows("conversations")
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    customers = {row["key"]: synthesize.draw_customer(row["key"]) for row in rows}
    assert all(row.items() >= customers[row["key"]].items() for row in rows)
    assert all(synthesize.is_good(row) for row in rows)
    assert report["items"]["filtered"] == RECORDS + 5 - len(customers)
    questions = [row["question"] for row in job.rows("training")]
    assert questions == list(dict.fromkeys(row["question"] for row in rows))
    assert len(questions) < len(rows)


def test_another_model_is_refused_by_name_and_asked_nothing(tmp_path: Path, model: Model) -> None:
    job = Job(tmp_path / "job", model)
    job.run(RECORDS="5")
    before = model.counts()
    report = job.run(RECORDS="5", OPENAI_MODEL="another")
    assert report["status"] == "refused", report
    assert "synthesize.MODEL: 'stand-in' → 'another'" in report["error"]["what"]
    assert model.counts() == before


def test_a_budget_is_not_passed_and_what_was_paid_is_kept(tmp_path: Path, model: Model) -> None:
    job = Job(tmp_path / "job", model)
    report = job.report("run", "synthesize.py", "--quiet", "--budget", "0.003")
    assert report["status"] == "interrupted", report
    assert "Stopped by the budget" in report["error"]["what"]
    cost = job.report("diagnose", "conversations")["usage"]["total"]["cost"]
    assert 0 < cost <= 0.003
    assert job.run()["status"] == "complete"
    counts = model.counts()
    assert (counts["answered"], counts["answered_again"]) == (RECORDS, 0)


def test_in_batches_the_rows_are_the_same_at_half_the_price(tmp_path: Path, model: Model) -> None:
    job = Job(tmp_path / "job", model)
    assert job.run()["status"] == "complete"
    later = job.report("run", "overnight.py", "--quiet", LATER="1")
    assert later["status"] == "interrupted", later
    [waiting] = job.report("diagnose", "overnight")["submitted"]
    assert waiting["requests"] == RECORDS
    model.get("/next-day")
    report = job.report("run", "overnight.py", "--quiet")
    assert report["status"] == "complete", report
    assert job.rows("overnight") == job.rows("conversations")

    counts, used = model.get("/counts/batches"), report["usage"]["total"]
    assert counts["handed_in_again"] == 0
    assert counts["handed_in"] > RECORDS  # Some failed, and were asked again.
    assert used["input_tokens"] == counts["prompt_tokens"]
    assert used["output_tokens"] == counts["completion_tokens"]
    told = synthesize.find_cost(counts)
    assert used["cost"] == pytest.approx(float(told / 2))
