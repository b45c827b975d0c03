"""What is told of a cache, for people."""

from __future__ import annotations

from collections.abc import Iterator

from batten.cache.clearing.inspection import CacheCleaning, CacheOverview, CacheVerification
from batten.cli.text.diagnosis_text import labelled
from batten.model.telling.commands import as_path, command
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes

_SHOWN = 20


def list_overview(overview: CacheOverview) -> Iterator[str]:
    counts = overview.counts
    yield overview.path
    yield labelled("entries", f"{overview.entries}, {show_bytes(overview.bytes)}")
    yield labelled("in use", str(overview.in_use))
    yield labelled("lookups", f"{counts.hits} hits, {counts.misses} misses")
    yield labelled("builds", f"{counts.builds}, and {counts.waits} waits for another's")
    yield labelled("not kept", f"{counts.publish_failures}")
    yield labelled("failures", f"{counts.failures} lookups could not use the cache")
    yield labelled("evicted", f"{counts.evictions}, {show_bytes(counts.evicted_bytes)}")
    yield labelled("damaged", f"{counts.set_aside} set aside")
    yield labelled("cut off", f"{counts.abandoned_builds} builds")
    yield labelled("over", f"{show_bytes(counts.held_over_budget)} held by entries in use")
    yield labelled("left", f"{count_of(len(overview.leftovers), 'leftover')} to clean")


def list_damage(found: CacheVerification) -> Iterator[str]:
    for path in found.damaged[:_SHOWN]:
        yield f"damaged {path}"
    if len(found.damaged) > _SHOWN:
        yield f"and {len(found.damaged) - _SHOWN} more; --json lists them all"
    yield f"{count_of(found.entries, 'whole entry', 'whole entries')}, {show_bytes(found.bytes)}"
    if found.damaged:
        yield f"{len(found.damaged)} damaged, {len(found.set_aside)} set aside"
    if not found.is_sound:
        yield f"next: {command('cache', 'verify', as_path(found.path), '--set-aside')}"


def list_cleaning(cleaning: CacheCleaning) -> Iterator[str]:
    verb = "would remove" if cleaning.is_dry_run else "removed"
    for each in cleaning.leftovers:
        yield f"{verb} {each.path} ({each.kind})"
    count = count_of(len(cleaning.evicted), "entry", "entries")
    yield f"{verb} {count}, {show_bytes(cleaning.evicted_bytes)}"
    yield f"{show_bytes(cleaning.bytes)} stay"
    if cleaning.in_use:
        held = show_bytes(cleaning.held_over_budget)
        yield f"{cleaning.in_use} stay because they are in use, {held} too much"
