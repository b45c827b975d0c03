"""Whether a dataset may be made into another one now: only whole, and of what is there now."""

from __future__ import annotations

from pathlib import Path

from batten.errors import RefusedError, usage_error
from batten.jobs.loading.job_folder import show_path
from batten.model.words import State
from batten.sources.identity.digests import changed_at_work

_WHOLE = frozenset({State.COMPLETE, State.COMPLETE_WITH_ORPHANS})


def refuse_unready(path: Path | str) -> None:
    """Raises `RefusedError` unless a complete dataset is there: `next` is what to do about that
    one. Of something else than a dataset, `UsageError`. Where what it is can't be read,
    `StorageError`."""
    from batten.inspect.advising.upstream import find_behind
    from batten.inspect.diagnose import diagnose
    from batten.inspect.paths.output_path import locate_output
    from batten.ledger.facts.observe import observe_output

    found = diagnose(show_path(path))
    place = locate_output(found.path)
    observation = observe_output(place.storage, place.layout)
    behind = find_behind(place, observation) if found.state is State.STALE else None
    is_usable = found.state in _WHOLE or (behind is not None and behind.is_gone)
    if not is_usable and not found.contents.tables:
        raise RefusedError(
            f"{found.path} is not a complete dataset: {found.state.value}, {found.reason}.",
            safe="Nothing was read of it, and nothing was changed here.",
            next=found.next,
        )
    if found.contents.tables:
        raise usage_error(
            f"{found.path} was made of whole tables, so it has no rows by key.",
            "Read the file itself: from_csv, from_jsonl or from_parquet.",
        )
    if observation.config is None:
        if observation.failure is not None:
            raise observation.failure
        raise usage_error(
            f"{found.path} is no dataset: a folder of landed items, or a tree of files.",
            "Begin with from_landed, or from_files.",
        )


def changed_upstream(shown: str) -> RefusedError:
    """The dataset is another one than at the beginning of the look, or of the run."""
    return changed_at_work(
        f"{shown} was changed while the run was at work.",
        "When that dataset is complete, run the same command again: it sees what changed.",
    )
