"""Messages on pipes: whole or not at all, and never a blocked driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO

import pytest

from batten.executors.processes.frames import (
    FrameReader,
    FrameWriter,
    encode_frame,
    read_header,
    read_payload,
    write_frame,
)


class Pipe:
    def __init__(self) -> None:
        read, write = os.pipe2(os.O_NONBLOCK)
        self.reading, self.writing = FileIO(read, "r"), FileIO(write, "w")
        self.read, self.write = read, write


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.reading.close()
    made.writing.close()


def test_frames_come_out_as_they_went_in_however_they_are_cut(pipe: Pipe) -> None:
    read, write = pipe.read, pipe.write
    reader = FrameReader(read)
    frames = [(7, 0, b""), (8, 1, b"x" * 100), (2**40, 0, b"y")]
    data = b"".join(encode_frame(*frame) for frame in frames)
    taken = []
    for start in range(0, len(data), 5):
        os.write(write, data[start : start + 5])
        assert reader.read_available()
        taken += [
            (header.task_id, header.kind, payload) for header, payload in reader.take_frames()
        ]
    assert taken == frames


def test_a_torn_frame_is_no_frame(pipe: Pipe) -> None:
    read, write = pipe.read, pipe.write
    reader = FrameReader(read)
    os.write(write, encode_frame(1, 0, b"whole") + encode_frame(2, 0, b"torn")[:-1])
    pipe.writing.close()
    while reader.read_available():
        pass
    assert [header.task_id for header, _ in reader.take_frames()] == [1]


def test_a_writer_keeps_what_the_pipe_has_no_room_for(pipe: Pipe) -> None:
    read, write = pipe.read, pipe.write
    writer, reader = FrameWriter(write), FrameReader(read)
    payload = os.urandom(300_000)
    writer.write(encode_frame(1, 0, payload))
    writer.write(encode_frame(2, 0, b"behind"))
    assert writer.is_waiting
    frames: list[bytes] = []
    while len(frames) < 2:
        reader.read_available()
        frames += [payload for _, payload in reader.take_frames()]
        writer.write()
    assert frames == [payload, b"behind"]
    assert not writer.is_waiting


def test_a_closed_end_ends_blocking_reads_and_silences_writes(pipe: Pipe) -> None:
    read, write = pipe.read, pipe.write
    write_frame(write, 1, 0, b"four")
    pipe.writing.close()
    header = read_header(read)
    assert header == (1, 0, 4)
    assert read_payload(read, header.length) == b"four"
    with pytest.raises(EOFError):
        read_header(read)


def test_a_writer_without_a_reader_stays_silent(pipe: Pipe) -> None:
    writer = FrameWriter(pipe.write)
    pipe.reading.close()
    writer.write(b"x" * 300_000)
    assert not writer.is_waiting
