"""Files: whole or not there, refused if a byte has changed, written by one process at a time."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from course_lib.engine.files import InUse, only_writer, read_tensors, write_tensors, write_whole
from tests.faults import damage, forking, no_file_over

TENSORS = {
    "weights": torch.arange(6.0).view(2, 3).T,  # not contiguous
    "half": torch.ones(3, dtype=torch.bfloat16),
    "count": torch.tensor(2**40 + 1),
    "nothing": torch.zeros(0, 4),
}


def test_tensors_come_back_bit_for_bit_and_other_programs_can_read_them(tmp_path):
    path = tmp_path / "new" / "x.safetensors"
    write_tensors(path, TENSORS, {"note": "ü", "numbers": [1, 0.1]})
    tensors, header = read_tensors(path)
    assert header == {"note": "ü", "numbers": [1, 0.1]} and tensors.keys() == TENSORS.keys()
    for read in (tensors, load_file(path)):
        for name, tensor in TENSORS.items():
            assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
    again = path.read_bytes()
    write_tensors(path, TENSORS, header)
    assert path.read_bytes() == again  # no dates, no chance


@pytest.mark.trust("a file of tensors damaged anywhere", cases=300, long=3000)
def test_damages_are_all_refused(tmp_path, cases):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"note": "a test"})
    whole = path.read_bytes()
    for seed in range(cases):
        path.write_bytes(damage(whole, seed))
        with pytest.raises(ValueError, match="not a whole .safetensors file of this course"):
            read_tensors(path)


@pytest.mark.trust("a file of another program in a checkpoint's place, a pickle among them", cases=3)
def test_files_of_other_programs_are_refused_and_no_pickle_is_opened(tmp_path):
    path = tmp_path / "x"
    save_file(TENSORS | {"weights": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="not a whole"):
        read_tensors(path)
    torch.save(TENSORS, path)
    with pytest.raises(ValueError, match="not a whole"):
        read_tensors(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="not a whole"):
        read_tensors(path)


@pytest.mark.trust("a file of tensors damaged anywhere")
def test_a_sealed_header_that_nests_too_deep_is_refused(tmp_path, monkeypatch):
    deep = "[" * 100_000 + "]" * 100_000
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda value, **options: deep if value == "deep" else dumps(value, **options))
    write_tensors(tmp_path / "x", {"a": torch.ones(1)}, "deep")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="not a whole .*recursion"):
        read_tensors(tmp_path / "x")


@pytest.mark.trust("a disk that is full half-way through a write")
def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    write_whole(path, "a,b\n")
    with no_file_over(50), pytest.raises(OSError, match="File too large"):
        write_whole(path, "1,2\n" * 100)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_tensors(path, {}, {"loss": float("nan")})
    assert path.read_bytes() == b"a,b\n" and [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_write_goes_out_to_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (done.append(name), real(*a))[1])
    write_whole(tmp_path / "x", b"1")
    assert done == ["fsync", "replace", "fsync"]  # the bytes, the name, the folder that has the name


@pytest.mark.trust("two processes that write one output")
def test_one_writer_at_a_time(tmp_path):
    with only_writer(tmp_path / "x"):
        with pytest.raises(InUse, match=f"another run .process {os.getpid()}.*name another place"):
            with only_writer(tmp_path / "x"):
                pass
        with only_writer(tmp_path / "y"):
            pass
    with only_writer(tmp_path / "x"):  # the first is done
        pass
    assert not list(tmp_path.iterdir())


def count_up(path) -> None:
    """Add 1 to the number in a file, 25 times, each as its only writer."""
    for _ in range(25):
        while True:
            try:
                with only_writer(path):
                    write_whole(path, str(int(path.read_text()) + 1))
                break
            except InUse:
                pass


@pytest.mark.trust("two processes that write one output", cases=100)
def test_four_processes_in_turn_lose_no_count(tmp_path):
    write_whole(tmp_path / "x", "0")
    context = forking()
    workers = [context.Process(target=count_up, args=(tmp_path / "x",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert (tmp_path / "x").read_text() == "100" and [w.exitcode for w in workers] == [0] * 4
