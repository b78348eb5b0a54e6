"""Infos that are made at the first look behave as plain dictionaries."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from powergrid.envs.infos import Infos, blank_infos

PLAIN = {"a": 1, "b": [2], "c": None}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def infos(asked: list[str]) -> Infos:
    def later(name: str) -> dict[str, Any]:
        asked.append(name)
        return {name: PLAIN[name]}

    return Infos(blank_infos(PLAIN), later)


def test_a_value_is_made_once_and_only_when_looked_at(infos: Infos, asked: list[str]) -> None:
    assert list(infos) == list(infos.keys()) == ["a", "b", "c"]
    assert (len(infos), "a" in infos, "z" in infos, bool(infos)) == (3, True, False, True)
    assert asked == []
    assert infos["b"] is infos.get("b") is PLAIN["b"]
    assert asked == ["b"]
    assert infos.get("z", 7) == 7
    with pytest.raises(KeyError):
        infos["z"]


def test_one_look_may_make_all() -> None:
    calls = []
    infos = Infos(blank_infos(PLAIN), lambda name: calls.append(name) or PLAIN)
    infos["a"] = "mine"
    assert dict(infos) == {**PLAIN, "a": "mine"}
    assert calls == ["b"]


@pytest.mark.parametrize(
    "whole",
    [
        dict,
        lambda infos: {**infos},
        lambda infos: dict(infos.items()),
        lambda infos: dict(zip(infos, infos.values(), strict=True)),
        lambda infos: infos.copy(),
        lambda infos: infos | {},
        lambda infos: {} | infos,
        copy.copy,
        copy.deepcopy,
        lambda infos: pickle.loads(pickle.dumps(infos)),
        lambda infos: json.loads(json.dumps(infos)),
        lambda infos: (lambda **given: given)(**infos),
        lambda infos: {key: infos.setdefault(key, "?") for key in infos},
        lambda infos: {key: infos.pop(key) for key in list(infos)},
        lambda infos: dict(sorted(infos.popitem() for _ in range(3))),
        lambda infos: eval(repr(infos)),
    ],
)
def test_every_way_to_read_all_of_it_gives_the_values(infos: Infos, whole: Any) -> None:
    assert whole(infos) == PLAIN


def test_equal_to_plain_dictionaries(infos: Infos) -> None:
    assert infos == PLAIN
    assert infos.__eq__(PLAIN) is True
    assert infos.__ne__(PLAIN) is False
    assert infos != {"a": 1}


def test_what_is_written_stays(infos: Infos, asked: list[str]) -> None:
    infos["a"] = 5
    infos |= {"d": 6}
    del infos["b"]
    assert (infos["a"], infos["d"], infos.pop("z", 8)) == (5, 6, 8)
    assert dict(infos) == {"a": 5, "c": None, "d": 6}
    assert asked == ["c"]
