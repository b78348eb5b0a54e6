"""The v1 data file and CAISO's CSV files."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env

from powergrid.core.errors import DataError, UnknownNameError
from powergrid.v1.datasets import read_caiso, read_data, read_pickle, write_v1_layout


def layout(hours=48):
    split = {
        quantity: {name: np.linspace(0, 1, hours, dtype=np.float32)}
        for quantity, name in (("load", "AVA"), ("solar", "NP15"), ("wind", "NP15"), ("price", "0096WD_7_N001"))
    }
    return {"train": split, "test": split}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_layout_of_version_1_is_read(tmp_path, protocol):
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(layout(), protocol))
    data = read_pickle(path)
    assert data["test"]["load"]["AVA"].tolist() == layout()["test"]["load"]["AVA"].tolist()
    env = IEEE13Env({"data": path})
    assert env.dataset["price"].size == 48
    with pytest.raises(UnknownNameError, match='did you mean "AVA"'):
        read_data("train", "AVB", "NP15", "0096WD_7_N001", source=path)


class Command:
    """Would run a command when loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_anything_else_is_refused_before_it_is_loaded(tmp_path, protocol):
    trace = tmp_path / "trace"
    data = layout()
    data["train"]["load"]["x"] = Command(trace)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(data, protocol))
    with pytest.raises(DataError, match=r"refused before loading.*mkdir"):
        read_pickle(tmp_path / "bad.pkl")
    assert not trace.exists()


class Reduced:
    """Pickles as a call with a state of its own choice."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def rebuilt(shape, kind, content):
    return Reduced(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, shape, kind, False, content))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.array([1, "a", None], object), "are no numbers"),
        (np.zeros(3, [("a", "f4")]), "are no numbers"),
        (Reduced(np.ndarray, ((10**12,),)), "a call of ndarray"),
        (Reduced(np.ndarray, ((4000,), "f8")), "a call of ndarray"),
        (Reduced(np._core.multiarray._reconstruct, (np.ndarray, (10**12,), b"d")), "no vector of numbers"),
        (rebuilt((10**12,), np.dtype("f8"), b"x" * 8), "no readable pickle"),
        (rebuilt((1,), np.dtype("f8"), [1.0]), "content is no bytes"),
        (rebuilt((1,), "f8", b"x" * 8), "without a type"),
        (rebuilt((1,), Reduced(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {}, -1, -1, 0)), b""), "records"),
        (Reduced(np._core.numeric._frombuffer, (b"A" * 8, np.dtype("O"), (1,), "C")), "are no numbers"),
        (Reduced(np.memmap, ("absent",)), "refused before loading.*numpy.memmap"),
        (Reduced(np.load, ("/etc/passwd",)), "refused before loading.*numpy.load"),
        (Reduced(getattr, (Reduced(__import__, ("os",)), "system")), "refused before loading.*getattr"),
    ],
)
def test_arrays_are_made_of_plain_numbers_that_are_there(tmp_path, value, sentence):
    data = layout()
    data["train"]["load"]["x"] = value
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(data, 5))
    with pytest.raises(DataError, match=sentence):
        read_pickle(tmp_path / "bad.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [">f8", "<f4", "i2", "u1", np.float16])
def test_numbers_of_other_sizes_and_byte_orders(tmp_path, protocol, kind):
    data = layout()
    data["test"]["price"]["x"] = np.arange(48).astype(kind)
    data["test"]["price"]["every other"] = np.arange(96).astype(kind)[::2]
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(data, protocol))
    found = read_pickle(tmp_path / "data.pkl")["test"]["price"]
    assert (found["x"] == data["test"]["price"]["x"]).all()
    assert (found["every other"] == data["test"]["price"]["every other"]).all()
    found["x"][0] = 1  # as v1's were


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"training": {}}, "top level holds training"),
        ({"train": {}}, '"train" has no "load"'),
        ({"train": {"load": {"a": np.ones(3)}}, "test": {}}, '"train" has no "solar"'),
        ({**layout(), "train": {**layout()["train"], "load": {"AVA": ["a"]}}}, "is no vector of numbers"),
    ],
)
def test_another_layout_is_refused_with_the_expected_one(tmp_path, data, sentence):
    write_v1_layout(data, tmp_path / "odd.pkl")
    with pytest.raises(DataError, match=sentence):
        read_pickle(tmp_path / "odd.pkl")


def test_one_split_is_enough_and_lengths_count_where_they_are_used(tmp_path):
    data = {"test": layout(47)["test"]}
    data["test"]["load"]["AZPS"] = np.ones(3, np.float32)
    write_v1_layout(data, tmp_path / "test_only.pkl")
    assert IEEE13Env({"train": False, "data": tmp_path / "test_only.pkl"}).dataset["load"].size == 47
    with pytest.raises(DataError, match='has no split "train", only test'):
        read_data("train", "AVA", "NP15", "0096WD_7_N001", source=tmp_path / "test_only.pkl")
    with pytest.raises(DataError, match=r"differ in length \(load/AZPS 3, solar/NP15 47"):
        read_data("test", "AZPS", "NP15", "0096WD_7_N001", source=tmp_path / "test_only.pkl")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [(3, "must be the path"), ({}, "only nothing"), ({"train": {"solar": {}}}, 'has no "load", only solar')],
)
def test_data_of_another_kind(source, sentence):
    with pytest.raises(DataError, match=sentence):
        read_data("train", "AVA", "NP15", "0096WD_7_N001", source=source)


def test_no_pickle_at_all(tmp_path):
    (tmp_path / "text.pkl").write_text("hours,load\n")
    with pytest.raises(DataError, match="no readable pickle"):
        read_pickle(tmp_path / "text.pkl")
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path / "absent.pkl")


def test_without_a_file_the_embedded_data_serve():
    data = read_data("train", "AVA", "NP15", "0096WD_7_N001")
    assert {quantity: values.shape for quantity, values in data.items()} == dict.fromkeys(data, (8760,))
    for quantity in ("load", "solar", "wind"):
        assert 0 <= data[quantity].min() < data[quantity].max() <= 1
    other = read_data("test", "AVA", "NP15", "0096WD_7_N001")
    assert (other["price"] != data["price"]).any()


@pytest.mark.parametrize(("month", "clock_change"), [("202303", "2023-03-12"), ("202311", "2023-11-05")])
def test_caiso_hours_are_those_of_standard_time_across_clock_changes(shared, month, clock_change):
    import pandas as pd

    folder = shared / "data-samples/caiso"
    data = read_caiso(sorted(folder.glob(f"{month}*.zip")))["train"]
    hourly = pd.read_csv(folder / "caiso_2023_hourly.csv.gz", index_col=0, parse_dates=True)
    hours = data["price"]["0096WD_7_N001"].size
    assert hours % 24 == 0
    change = pd.Timestamp(clock_change, tz="UTC") + pd.Timedelta(hours=8)
    for days_before in range(4):  # the excerpts begin some days before the change
        start = change - pd.Timedelta(days=days_before)
        window = hourly.loc[start : start + pd.Timedelta(hours=hours - 1)]
        wanted = window["lmp_usd_per_mwh 0096WD_7_N001"].to_numpy(np.float32)
        if np.allclose(wanted, data["price"]["0096WD_7_N001"], atol=0.01):
            break
    else:
        pytest.fail("no midnight of standard time lets the prices agree")
    assert start <= change < start + pd.Timedelta(hours=hours)
    solar = window["solar_mw NP15"].to_numpy()
    np.testing.assert_allclose(data["solar"]["NP15"], np.clip(solar / solar.max(), 0, None), atol=1e-5)
    load = window["load_mw CA ISO-TAC"].to_numpy()
    np.testing.assert_allclose(data["load"]["CA ISO-TAC"], load / load.max(), atol=1e-4)


def test_caiso_files_that_do_not_do(shared, tmp_path):
    prices = sorted((shared / "data-samples/caiso").glob("202311*PRC*.csv"))
    with pytest.raises(DataError, match="no load and no solar and no wind"):
        read_caiso(prices)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is no OASIS file"):
        read_caiso(tmp_path)


def test_a_file_written_anew_is_read_anew(tmp_path):
    """Also where neither its size nor the time of its last change tells."""
    path = tmp_path / "data.pkl"
    for price in (10.0, 99.0):
        data = layout()
        data["train"]["price"]["0096WD_7_N001"][:] = price
        write_v1_layout(data, path)
        os.utime(path, ns=(1, 1))
        assert IEEE13Env({"data": path}).dataset["price"][0] == price
    kept = read_data("train", "AVA", "NP15", "0096WD_7_N001", source=path)["price"]
    assert kept is read_data("train", "AVA", "NP15", "0096WD_7_N001", source=path)["price"]
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_data("train", "AVA", "NP15", "0096WD_7_N001", source=path)


def pickled(body: bytes) -> bytes:
    return b"\x80\x05" + body + b"."


HOSTILE = {
    "memo of two billion places": (pickled(b"}r\xff\xff\xff\x7f"), "top level holds nothing"),
    "bytes that are not there": (pickled(b"\x96" + (10**12).to_bytes(8, "little")), "no readable pickle"),
    "a tuple of tuples as a key": (pickled(b"})" + b"\x85" * 150_000 + b"Ns"), "neither texts nor numbers"),
    "two to the sixtieth": (pickled(b"})" + b"\x94h\x00h\x00\x86" * 60 + b"Ns"), "neither texts nor numbers|memo"),
    "a dictionary in itself": (pickled(b"}\x94(" + b"".join(b"K%ch\x00" % k for k in range(9)) + b"u"), "top level"),
    "an opcode that no array needs": (pickled(b"}0"), "an object by POP"),
    "too many opcodes": (pickled(b"N" * 10_000_000), "more than 200,000 opcodes"),
    "a call of a call": (pickled(b"}}R"), "has no name"),
    "an instance": (b"(ios\nsystem\n.", "refused before loading.*INST"),
    "an extension": (pickled(b"\x82\x01"), "refused before loading.*EXT1"),
    "a persistent object": (b"Pdb\n.", "refused before loading.*PERSID"),
    "a long text": (pickled(b"X\x80\x96\x98\x00" + b"a" * 10_000_000 + b"\x8c\x01bc"), "damaged|refused|readable"),
    "no end": (b"\x80\x05}", "no readable pickle"),
}
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from powergrid.core.errors import DataError
from powergrid.v1.datasets import read_pickle
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
before = held()
for path in sys.argv[1:]:
    try:
        print("read", read_pickle(path))
    except DataError as error:
        print(len(str(error)), str(error))
print(held() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system does not say what a process has held")
def test_hostile_files_cost_a_sentence_and_little_memory(tmp_path):
    paths = []
    for k, (content, _) in enumerate(HOSTILE.values()):
        paths.append(tmp_path / f"{k}.pkl")
        paths[-1].write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *told, grown_mb = done.stdout.splitlines()
    assert len(told) == len(HOSTILE)
    for line, (name, (_, sentence)) in zip(told, HOSTILE.items(), strict=True):
        length, message = line.split(" ", 1)
        assert re.search(sentence, message), (name, message)
        assert int(length) < 600, name
    assert int(grown_mb) < 80


def test_one_content_is_not_copied_into_many_arrays(tmp_path):
    """A hundred arrays of one and the same bytes, 40 MB from 400 kB."""
    content = np.arange(50_000.0).tobytes()
    shared_bytes = [rebuilt((50_000,), np.dtype("f8"), content) for _ in range(100)]
    data = layout()
    data["train"]["load"] = dict(zip(map(str, range(100)), shared_bytes, strict=True))
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(data, 5))
    assert path.stat().st_size < 500_000
    with pytest.raises(DataError, match="arrays together are larger than the file"):
        read_pickle(path)


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.pkl"
    with path.open("wb") as stream:
        stream.truncate(1 << 33)
    with pytest.raises(DataError, match="has 8,590 MB, a v1 data file at most 537"):
        read_pickle(path)


@pytest.mark.parametrize(
    ("stamp", "value", "sentence"),
    [("soon", "1", r'line 3: "soon" is no INTERVALSTARTTIME_GMT'), ("2023-03-01T09:00:00-00:00", "x", "is no MW")],
)
def test_caiso_lines_that_are_damaged_are_told(tmp_path, stamp, value, sentence):
    rows = ["INTERVALSTARTTIME_GMT,TAC_AREA_NAME,MW", "2023-03-01T08:00:00-00:00,AVA,3", f"{stamp},AVA,{value}"]
    (tmp_path / "load.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=sentence):
        read_caiso(tmp_path)
