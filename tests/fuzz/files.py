"""Files gone wrong: networks as JSON, series as CSV, archives and pickles of arrays."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mutants import STRANGE, _drop, _place, _rename, _scale, _swap

import powergrid
from powergrid.core.errors import PowerGridError
from powergrid.core.npz import ArchiveError, read_npz
from powergrid.networks import Network
from powergrid.v1.datasets.pickle_file import read_pickle


def network_file(draw: random.Random, folder: Path) -> str:
    """A saved pandapower net: it is refused, or has a power flow without NaN, or one that says it has none."""
    net = deepcopy(_net())
    for _ in range(draw.choice((1, 1, 2, 4))):
        draw.choice((_drop, _strange, _strange, _rename, _scale, _scale, _swap))(draw, net)
    text = json.dumps(_packed(net))
    file = folder / "net.json"
    file.write_bytes(_damaged(draw, text.encode()) if draw.random() < 0.1 else text.encode())
    try:
        network = Network.from_pandapower(file)
        flow = network.power_flow()
    except PowerGridError:
        return "refused"
    if flow.converged and not np.isfinite(flow.bus["v_pu"]).all():
        raise AssertionError("a converged power flow with a voltage that is not finite")
    return "ran"


def series_file(draw: random.Random, folder: Path) -> str:
    """A CSV file of a year: it is refused, or an environment on it steps on finite numbers."""
    text = _table()
    for _ in range(draw.choice((1, 1, 2))):
        text = _mistaken(draw, text)
    file = folder / "series.csv"
    file.write_bytes(_damaged(draw, text.encode()) if draw.random() < 0.1 else text.encode("utf-8", "surrogatepass"))
    given: dict[str, Any] = {"network": "ieee13", "datasets": {"load": str(file)}, "simulation": {"time_step": 3600}}
    given["agents"] = [{"id": "b", "type": "ESS", "bus": "671"}]
    try:
        env = powergrid.make(given, backend="numpy")
    except PowerGridError:
        return "refused"
    env.reset(seed=draw.randrange(100))
    for _ in range(3):
        observations, rewards, *_ = env.step({"b": np.zeros(env.action_space("b").shape)})
        if not (np.isfinite(observations["b"]).all() and np.isfinite(rewards["b"])):
            raise AssertionError(f"not finite: {observations} {rewards}")
    return "ran"


def archive_file(draw: random.Random, folder: Path) -> str:
    """An npz file: it is refused, or gives arrays."""
    file = folder / "arrays.npz"
    file.write_bytes(_damaged(draw, _archive(draw.random() < 0.5)))
    try:
        read_npz(file)
    except ArchiveError:
        return "refused"
    return "ran"


def pickle_file(draw: random.Random, folder: Path) -> str:
    """A v1 data file: it is refused, or gives the series; nothing in it runs."""
    file = folder / "data.pkl"
    file.write_bytes(_damaged(draw, _pickle(draw.choice((2, 3, 4, 5)))))
    try:
        read_pickle(file)
    except PowerGridError:
        return "refused"
    return "ran"


KINDS: dict[str, Callable[[random.Random, Path], str]] = {
    "network": network_file,
    "series": series_file,
    "archive": archive_file,
    "pickle": pickle_file,
}


def _damaged(draw: random.Random, content: bytes) -> bytes:
    """Bytes turned, cut, doubled or written over."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 3, 10))):
        if not found:
            break
        at, much = draw.randrange(len(found)), draw.randrange(1, 9)
        kind = draw.randrange(5)
        if kind == 0:
            found[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del found[at : at + much]
        elif kind == 2:
            found[at:at] = found[at : at + much]
        elif kind == 3:
            found[at : at + much] = bytes(draw.choice((0, 255, draw.randrange(256))) for _ in range(much))
        elif draw.random() < 0.3:
            del found[at:]
    return bytes(found)


def _strange(draw: random.Random, data: Any) -> None:
    if found := _place(draw, data):
        found[0][found[1]] = deepcopy(draw.choice(STRANGE))


@cache
def _net() -> Any:
    """A small net with every usual element, its tables as data."""
    import pandapower as pp

    net = pp.create_empty_network(name="mutated")
    b = [pp.create_bus(net, vn_kv=kv, name=f"bus {i}") for i, kv in enumerate((20.0, 0.4, 0.4, 20.0))]
    pp.create_ext_grid(net, b[0], vm_pu=1.02)
    pp.create_transformer(net, b[0], b[1], "0.4 MVA 20/0.4 kV")
    pp.create_line(net, b[1], b[2], 0.1, "NAYY 4x150 SE")
    pp.create_line(net, b[0], b[3], 2.0, "NA2XS2Y 1x185 RM/25 12/20 kV")
    pp.create_load(net, b[2], 0.05, 0.01)
    pp.create_load(net, b[3], 0.5, 0.1, const_z_p_percent=20.0)
    pp.create_sgen(net, b[2], 0.02)
    pp.create_storage(net, b[1], 0.01, max_e_mwh=0.1)
    pp.create_shunt(net, b[3], -0.1)
    pp.create_gen(net, b[3], 0.1, vm_pu=1.0)
    pp.create_switch(net, b[1], 0, et="l")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _unpacked(json.loads(pp.to_json(net)))


def _unpacked(value: Any) -> Any:
    """Tables inside of texts as data, so that what they hold can be changed."""
    if isinstance(value, dict):
        inner = {key: _unpacked(item) for key, item in value.items()}
        if isinstance(value.get("_object"), str) and value["_object"].startswith("{"):
            inner["_object"] = {"packed": json.loads(value["_object"])}
        return inner
    return [_unpacked(item) for item in value] if isinstance(value, list) else value


def _packed(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _packed(item) for key, item in value.items()}
        table = value.get("_object")
        if isinstance(table, dict) and set(table) == {"packed"}:
            inner["_object"] = json.dumps(table["packed"])
        return inner
    return [_packed(item) for item in value] if isinstance(value, list) else value


@cache
def _table() -> str:
    hours = np.datetime64("2023-01-01T00:00") + np.arange(8760) * np.timedelta64(1, "h")
    values = 0.5 + 0.3 * np.sin(np.arange(8760) * 2 * np.pi / 24)
    rows = (f"{hour},{value:.4f}" for hour, value in zip(hours, values, strict=True))
    return "time,load_p_pu\n" + "\n".join(rows) + "\n"


def _mistaken(draw: random.Random, text: str) -> str:
    """A slip that tables have."""
    lines = text.splitlines()
    at = draw.randrange(1, len(lines)) if len(lines) > 1 else 0
    time, _, value = lines[at].partition(",")
    cell = draw.choice(("", "nan", "inf", "-1", "1e9", "x", '"0,5"', "0,5", "true", "1e400", "\u0663", "0.5;0.5"))
    stamp = draw.choice(("", "2023-13-45", "01.02.2023 03:00", "2023-01-01T00:00+02:00", "9999-12-31", "0", "x"))
    change = draw.randrange(12)
    if change == 0:
        lines[at] = f"{time},{cell}"
    elif change == 1:
        lines[at] = f"{stamp},{value}"
    elif change == 2:
        del lines[at : at + draw.choice((1, 24, 4000))]
    elif change == 3:
        lines.insert(at, lines[at])
    elif change == 4:
        lines[0] = draw.choice(("time,load", "load_p_pu,time", "time;load_p_pu", "", "time,load_p_kw", "a,b,c", "time"))
    elif change == 5:
        return text.replace(",", draw.choice((";", "\t", "|", ", ")))
    elif change == 6:
        return re.sub(r"(\d)\.(\d{4})$", r"\1,\2", text, flags=re.MULTILINE).replace(",", ";", 1)
    elif change == 7:
        factor = draw.choice((1000, -1, 1e6, 1e20, 0))
        lines[1:] = [f"{t},{float(v or 0) * factor:.6g}" if _float(v) else f"{t},{v}" for t, _, v in _cells(lines)]
    elif change == 8:
        return "\ufeff" + text
    elif change == 9:
        return text.replace("\n", draw.choice(("\r", "\r\n", "\n\n")))
    elif change == 10:
        draw.shuffle(lines)
    else:
        return text[: draw.randrange(len(text))]
    return "\n".join(lines) + "\n"


def _cells(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(",") for line in lines[1:]]


def _float(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


@cache
def _archive(compressed: bool) -> bytes:
    stream = io.BytesIO()
    arrays = {"weights": np.linspace(0, 1, 60).reshape(3, 20), "names": np.array(["a", "bc"]), "step": np.array(7)}
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


@cache
def _pickle(protocol: int) -> bytes:
    hours = np.linspace(0.1, 1.0, 240)
    areas = {"load": {"A": hours}, "solar": {"N": hours}, "wind": {"N": hours}, "price": {"P": hours * 50}}
    return pickle.dumps({"train": areas, "test": areas}, protocol=protocol)
