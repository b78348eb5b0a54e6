"""Archives of strangers: good ones are read, hostile ones refused before memory is spent."""

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from powergrid.core.npz import ArchiveError, open_archive, read_npz


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_as_numpy_reads_it(tmp_path, save):
    arrays = {
        "a/b": np.arange(12.0).reshape(3, 4),
        "text": np.array(["x", "long"]),
        "one": np.array(3, np.int64),
        "none": np.zeros((0, 5), np.float32),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "flags": np.array([True, False]),
    }
    save(tmp_path / "good.npz", **arrays)
    found = read_npz(tmp_path / "good.npz")
    assert list(found) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)
    assert list(read_npz(tmp_path / "good.npz", ["one"])) == ["one"]
    with pytest.raises(ArchiveError, match="it has no two"):
        read_npz(tmp_path / "good.npz", ["one", "two"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (header("(1000000000000,)"), r"claims 8,000,000,000,000 bytes and has 0"),
        (header("(1000000000000, 0, 3)") + b"12345678", r"claims 0 bytes and has 8"),
        (header("(-1,)") + b"12345678", "has the shape"),
        (header("(1,)", "|O") + b"12345678", "holds object"),
        (header("(1000000000000,)", "|V0"), "not plain numbers"),
        (header("(1,) * 3"), "damaged"),
        (header("1" + "0" * 90), "damaged"),
        (b"\x93NUMPY\x03\x00" + bytes(200), r"version \(3, 0\)"),
        (b"\x93NUMPY\x01\x00\xff\xff", "damaged"),
        (b"no array", "damaged"),
        (b"", "damaged"),
    ],
)
def test_headers_are_held_against_what_is_there(tmp_path, content, sentence):
    with pytest.raises(ArchiveError, match=sentence):
        read_npz(archive(tmp_path / "bad.npz", x=content))


def test_other_members_and_other_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "nested.npz", "w") as made:
        made.writestr("inner.zip", archive(tmp_path / "inner.npz", x=npy(np.ones(3))).read_bytes())
    with pytest.raises(ArchiveError, match=r"inner\.zip is no array"):
        read_npz(tmp_path / "nested.npz")
    (tmp_path / "text.npz").write_text("hours,load\n")
    with pytest.raises(ArchiveError, match="no zip archive"):
        read_npz(tmp_path / "text.npz")
    good = archive(tmp_path / "good.npz", x=npy(np.ones(3))).read_bytes()
    (tmp_path / "cut.npz").write_bytes(good[:-10])
    with pytest.raises(ArchiveError):
        read_npz(tmp_path / "cut.npz")
    (tmp_path / "directory.npz").write_bytes(good[:-10] + b"\xff\xff\xff\x7f" + good[-6:])
    with pytest.raises(ArchiveError, match="table of contents"):
        read_npz(tmp_path / "directory.npz")
    flipped = bytearray(good)
    flipped[60] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(ArchiveError):
        read_npz(tmp_path / "flipped.npz")


def test_a_bomb_is_refused_by_its_stated_size(tmp_path):
    path = archive(tmp_path / "bomb.npz", x=npy(np.zeros(1)), y=bytes(80_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(ArchiveError, match=r"claims to unpack to 80 MB .* at most 67 MB are read"):
        open_archive(path)


SCRIPT = """
import sys, resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from powergrid.core.npz import ArchiveError, read_npz
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = held()
try:
    read_npz(sys.argv[1])
except ArchiveError as error:
    print(held() - before, error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process has held")
def test_a_member_that_lies_about_its_size_costs_no_memory(tmp_path):
    """The directory states a small size over a large stream; what is stated is what is read."""
    path = archive(tmp_path / "liar.npz", x=header("(40000000,)") + bytes(60_000_000))
    content = path.read_bytes()
    true = struct.pack("<I", 60_000_000 + 128)
    assert content.count(true) == 2
    path.write_bytes(content.replace(true, struct.pack("<I", 128)))
    found = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True).stdout
    grown_kb, _, sentence = found.partition(" ")
    assert "x.npy is damaged" in sentence
    assert int(grown_kb) < 30_000
