"""What every `Store` must do, for the tests of any store: a class of tests without fixtures.

    class TestMine(StoreContract):
        def make_store(self):
            return MyStore(...)

Each test asks for a store of its own, in which nothing is yet.
"""

from __future__ import annotations

import pytest

from batten.errors import BusyError, StorageError
from batten.model.disk.runs.holders import Holder
from batten.storage.base import Put, Store
from batten.storage.changing import publishing
from batten.storage.failures import is_of_wrong_kind
from batten.storage.listing import list_names_after

STAGING = "out.batten/staging"
HOLDER = Holder(pid=1, host="there", since="2026-01-01T00:00:00Z", boot="", pid_namespace="")


class StoreContract:
    """See the module."""

    def make_store(self) -> Store:
        """Make a store of its own for one test.

        Returns:
            The store, in which nothing is yet.

        Raises:
            NotImplementedError: A subclass does not say how.
        """
        raise NotImplementedError

    def begin(self) -> Store:
        """Begin a test.

        Returns:
            A store in which names can be made where these tests make them.
        """
        store = self.make_store()
        publishing.make_folders(store, ("out", STAGING))
        return store

    def test_a_new_file_is_put_once(self) -> None:
        store = self.begin()
        made = store.put_new("out/x", b"first")
        assert made.put is Put.MADE
        assert store.put_new("out/x", memoryview(b"first")) == (Put.SAME, made.version)
        assert store.put_new("out/x", b"other") == (Put.OTHER, made.version)
        assert store.get("out/x") == (b"first", made.version)
        assert [entry.name for entry in store.list("out")] == ["out/x"]

    def test_a_file_is_replaced_only_in_the_version_that_was_seen(self) -> None:
        store = self.begin()
        first = store.put_new("out/x", b"first").version
        second = store.put_if("out/x", b"second", first)
        assert second.put is Put.MADE
        assert second.version != first
        assert store.put_if("out/x", b"third", first) == (Put.OTHER, second.version)
        assert store.put_if("out/x", b"second", first) == (Put.SAME, second.version)
        assert store.put_if("out/none", b"third", first) == (Put.OTHER, "")
        assert store.read("out/x") == b"second"
        assert store.find("out/none") is None

    def test_a_file_is_deleted_only_in_the_version_that_was_seen(self) -> None:
        store = self.begin()
        first = store.put_new("out/x", b"first").version
        second = store.put_if("out/x", b"second", first).version
        assert store.delete_if("out/x", first) == (Put.OTHER, second)
        assert store.read("out/x") == b"second"
        for _ in range(2):
            assert store.delete_if("out/x", second).put is Put.MADE
            assert store.find("out/x") is None
        assert list(store.list("out")) == []

    def test_a_folder_is_listed_from_a_name_on(self) -> None:
        store = self.begin()
        names = ["000001-a.json", "000001.json", "000002-b.json", "000010.json", "1000000.json"]
        for name in (*names, "000003.json"):
            store.put_new(f"out/{name}", b"x")
        store.put_new("out.batten/plan/000009.json", b"x")
        found = list_names_after(store, "out", "000002")
        assert sorted(found) == ["000002-b.json", "000003.json", *names[3:]]
        assert sorted(list_names_after(store, "out", "000003.json")) == names[3:]
        assert list(list_names_after(store, "out", "2")) == []
        assert list(list_names_after(store, "none", "000002")) == []

    def test_finding_and_listing_tell_the_version(self) -> None:
        store = self.begin()
        version = store.put_new("out/x", b"first").version
        store.put_new("out.batten/plan/y", b"")
        found = store.find("out/x")
        assert found is not None
        assert (found.size, found.version, found.is_file) == (5, version, True)
        listed = found if store.folder is None else found._replace(version="")
        assert list(store.list("out")) == [listed]
        folder = store.find("out.batten/plan")
        assert folder is not None
        assert folder.is_folder
        assert sorted(store.list_names("out.batten")) in (["plan"], ["plan", "staging"])

    def test_ranges_and_whole_files_are_read(self) -> None:
        store = self.begin()
        data = b"0123456789"
        store.put_new("out/x", data)
        for offset, length, expected in (
            (0, None, data),
            (3, 4, b"3456"),
            (8, 4, b"89"),
            (20, 4, b""),
            (-4, None, b"6789"),
            (-4, 2, b"67"),
            (-99, 3, b"012"),
        ):
            assert store.read("out/x", offset=offset, length=length) == expected
        with store.open("out/x") as file:
            file.seek(3)
            assert file.read(4) == b"3456"
        assert list(store.read_each("out", ["x", "none"])) == [data, None]

    def test_more_than_is_expected_is_not_read(self) -> None:
        store = self.begin()
        store.put_new("out/x", b"0123456789")
        assert store.get("out/x", bytes_max=10).data == b"0123456789"
        for read in (store.read, store.get):
            with pytest.raises(StorageError) as caught:
                read("out/x", bytes_max=9)
            assert is_of_wrong_kind(caught.value)

    def test_what_is_missing_is_told_apart_from_a_failure(self) -> None:
        store = self.begin()
        for read in (store.read, store.open, store.get):
            for name in ("out/none", "none/none"):
                with pytest.raises(FileNotFoundError):
                    read(name)
        assert store.find("none/none") is None
        assert list(store.list("none")) == []
        assert list(store.list_names("none")) == []
        assert list(store.read_each("none", ["x"])) == [None]

    @pytest.mark.parametrize("name", ["/etc/x", "../x", "out/../x", ".", "a//b", "out/", "a\0b"])
    def test_names_that_lead_elsewhere_are_refused(self, name: str) -> None:
        store = self.begin()
        for call in (
            lambda: store.put_new(name, b""),
            lambda: store.put_if(name, b"", "1"),
            lambda: store.delete_if(name, "1"),
            lambda: store.get(name),
            lambda: store.read(name),
            lambda: store.open(name),
            lambda: store.find(name),
            lambda: list(store.list(name)),
            lambda: store.lease(name, HOLDER),
            lambda: store.observe_lock(name),
        ):
            with pytest.raises(ValueError, match="not a name within a storage"):
                call()

    def test_one_holds_the_lease_and_is_named(self) -> None:
        store = self.begin()
        name = "out.batten/lock"
        assert store.observe_lock(name) is None
        with store.lease(name, HOLDER) as lease:
            assert store.observe_lock(name) == HOLDER
            with pytest.raises(BusyError):
                store.lease(name, HOLDER)
        lease.release()
        assert store.observe_lock(name) is None
        store.lease(name, HOLDER).release()

    def test_files_come_to_be_and_go_in_one_way(self) -> None:
        store = self.begin()
        assert publishing.create(store, STAGING, "out/x", b"1") is Put.MADE
        assert publishing.create(store, STAGING, "out/x", b"1") is Put.SAME
        puts = publishing.create_many(store, STAGING, [("out/x", b"2"), ("out/y", b"3")])
        assert puts == [Put.OTHER, Put.MADE]
        seen = store.get("out/x").version
        assert publishing.replace(store, STAGING, "out/x", b"4", seen=seen) is Put.MADE
        publishing.put_aside(store, STAGING, "out/z", b"5", is_synced=False)
        publishing.put_aside(store, STAGING, "out/z", b"6", is_synced=True)
        found = {entry.name: store.read(entry.name) for entry in store.list("out")}
        assert found == {"out/x": b"4", "out/y": b"3", "out/z": b"6"}
        for name in (*found, "out/none"):
            publishing.delete(store, name)
        assert list(store.list("out")) == []
        assert list(store.list(STAGING)) == []

    def test_lines_are_added_to_a_log(self) -> None:
        store = self.begin()
        for line in (b"one\n", b"two\n"):
            publishing.append_line(store, "out/log", line)
        assert store.read("out/log") == b"one\ntwo\n"

    def test_what_it_can_do_more_is_itself(self) -> None:
        store = self.make_store()
        assert store.folder in (None, store)
        assert store.local in (None, store)
        assert store.folder is not None or store.local is None
