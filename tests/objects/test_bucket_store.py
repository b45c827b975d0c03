"""The contract of stores over a real one, and what it says where something fails."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from batten.crashlab.servers.object_relay import ObjectRelay, ObjectRequest
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import BusyError, StorageError, UsageError
from batten.model.disk.records import decode_record, encode_record
from batten.model.disk.runs.holders import Holder, Lease
from batten.storage.base import Put, Store
from batten.storage.objects import lease as leases
from batten.storage.objects.lease import HeldLease
from batten.storage.objects.store import BucketStore, declare
from batten.storage.twin.fates import MISHAPS, Fate
from batten.testing import StoreContract
from batten.testing.stores import HOLDER


class TestBucket(StoreContract):
    @pytest.fixture(autouse=True)
    def _place(self, prefix: str) -> None:
        self.prefix = prefix

    def make_store(self) -> Store:
        return BucketStore(self.prefix)


def test_pickled_it_is_the_same_place(prefix: str) -> None:
    store = BucketStore(prefix)
    store.put_new("out/x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again.read("out/x") == b"1"
    assert again.place == prefix


def test_an_object_that_changes_while_it_is_read_is_no_mixture(prefix: str) -> None:
    store = BucketStore(prefix)
    made = store.put_new("x", b"1" * (1 << 21))
    with store.open("x") as file:
        assert file.read(10) == b"1" * 10
        store.put_if("x", b"2" * (1 << 21), made.version)
        with pytest.raises(StorageError):
            file.read()


@pytest.mark.parametrize("replaced", [b"2" * (1 << 21), b"2" * (1 << 19), b""])
def test_a_store_that_ignores_conditions_of_reads_gives_no_mixture(
    prefix: str, objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, replaced: bytes
) -> None:
    def forget_conditions(request: ObjectRequest) -> Fate:
        for name in [each for each in request.headers if each.lower() == "if-match"]:
            if request.method == "GET":
                del request.headers[name]
        return Fate.DONE

    with ObjectRelay(objects.port, forget_conditions) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        store = BucketStore(prefix)
        made = store.put_new("x", b"1" * (1 << 21))
        with store.open("x") as file:
            assert file.read(10) == b"1" * 10
            assert store.put_if("x", replaced, made.version).put is Put.MADE
            with pytest.raises(StorageError, match="changed since it was opened"):
                file.read()


@pytest.mark.parametrize("fate", MISHAPS)
@pytest.mark.parametrize("at", range(1, 7))
def test_a_store_is_not_blamed_for_an_answer_that_was_lost(
    prefix: str,
    objects: ObjectStoreServer,
    fate: Fate,
    at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decide(request: ObjectRequest) -> Fate:
        return fate if request.number == at else Fate.DONE

    with ObjectRelay(objects.port, decide) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        assert BucketStore(prefix).put_new("x", b"1").put in (Put.MADE, Put.SAME)


def test_a_renewal_that_arrives_late_takes_no_lease_from_its_holder(prefix: str) -> None:
    store = BucketStore(prefix)
    with store.lease("lock", HOLDER) as lease:
        assert isinstance(lease, HeldLease)
        seen = store.get("lock")
        late = replace(decode_record(Lease, seen.data), nonce="late")
        store.put_if("lock", encode_record(late), seen.version)
        lease.renew()
        lease.renew()
        with pytest.raises(BusyError):
            store.lease("lock", HOLDER)
    assert store.observe_lock("lock") is None


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_a_lease_of_one_that_is_gone_is_seen_to_be_over_whatever_the_clock_says(
    prefix: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Else a machine whose clock is an hour behind would wait for an hour."""
    store = BucketStore(prefix)
    gone = Holder(pid=1, host="elsewhere", since="2026-01-01T00:00:00Z", boot="another")
    mine = Lease(epoch=1, nonce="n", is_held=True, holder=gone)
    store.put_new("lock", encode_record(mine))
    monkeypatch.setattr(leases, "SECONDS", 1.0)
    found = store.find("lock")
    assert found is not None
    now = found.modified_seconds + 2 + 3600 * hours
    monkeypatch.setattr(leases.time, "time", lambda: now)
    assert store.observe_lock("lock") is None


def test_empty_objects_are_read(prefix: str) -> None:
    store = BucketStore(prefix)
    assert store.put_new("x", b"").put is Put.MADE
    assert store.read("x") == store.read("x", offset=-8) == store.read("x", offset=3) == b""
    with store.open("x") as file:
        assert file.read() == b""


def test_a_bucket_that_is_not_there_is_named(prefix: str) -> None:
    store = BucketStore("s3://no-such-bucket/x")
    for look in (lambda: list(store.list("a")), lambda: store.put_new("a", b"")):
        with pytest.raises(StorageError) as caught:
            look()
        assert "no-such-bucket" in str(caught.value)


@pytest.mark.parametrize(
    "address", ["s3://key:secret@bucket/x", "s3://bucket/x?secret=1", "s3://bucket/x#1"]
)
def test_an_address_with_a_secret_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        declare(None, address)
    assert "secret" not in str(caught.value)
