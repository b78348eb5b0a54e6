"""Downloads from a server on loopback that misbehaves in every way that the markets' servers do."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import market_files as made
import numpy as np
import pandas as pd
import pytest

from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets import load
from powergrid.datasets.fetching import cache
from powergrid.datasets.fetching.http import OFFLINE, Client, Manners, Remote, digest, shown
from powergrid.datasets.loaders import DatasetRegistry
from powergrid.datasets.sources import caiso, ercot, nsrdb, nyiso

QUICK = Manners(pause_s=0.0, attempts=3, backoff_s=0.01, longest_s=1.0, timeout_s=5.0)
BODY = bytes(range(256)) * 2000

Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request by the next function of a list; the last one answers all further requests."""

    answers: list[Answer]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(self)

    def log_message(self, *_: object) -> None:
        pass


class Server:
    """A server on loopback, its address and what it was asked for."""

    def __init__(self) -> None:
        self.handler = type("Own", (Handler,), {"answers": [], "asked": []})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, *answers: Answer) -> None:
        self.handler.answers[:] = answers

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        return self.handler.asked


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.server.shutdown()
    one.server.server_close()


def whole(content: bytes, tag: str = '"1"') -> Answer:
    """The file, or the rest of it where the request asks for that."""

    def answer(handler: Handler) -> None:
        begin = 0
        if handler.headers.get("Range") and handler.headers.get("If-Range") == tag:
            begin = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if begin else 200)
        handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        handler.wfile.write(content[begin:])

    return answer


def half(content: bytes, tag: str = '"1"') -> Answer:
    """Half of the file, then the connection ends."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def status(code: int, after: str = "") -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        if after:
            handler.send_header("Retry-After", after)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def visible(folder: Path) -> list[str]:
    return [file.name for file in folder.glob("*") if file.name[0] != "."]


def sentence(error: pytest.ExceptionInfo[DataError]) -> str:
    """The message, which is one line without a traceback or a secret."""
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, code: int) -> None:
    server.answer(status(code, "0"), status(code), whole(BODY))
    file = Client(QUICK).file(Remote(f"{server.url}/a", "a.bin"), tmp_path)
    assert file.read_bytes() == BODY
    assert len(server.asked) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin"]


@pytest.mark.parametrize(("code", "told"), [(429, "answers 429"), (503, "answers 503")])
def test_a_server_that_stays_busy(server: Server, tmp_path: Path, code: int, told: str) -> None:
    server.answer(status(code))
    with pytest.raises(DataError, match=told) as error:
        Client(QUICK).file(Remote(f"{server.url}/a", "a.bin"), tmp_path)
    assert "3 times" in sentence(error)
    assert len(server.asked) == 3
    assert not visible(tmp_path)


def test_a_server_that_asks_to_wait_for_an_hour(server: Server, tmp_path: Path) -> None:
    server.answer(status(429, "3600"))
    with pytest.raises(DataError, match="asks to wait 3,600 s; try later") as error:
        Client(QUICK).file(Remote(f"{server.url}/a", "a.bin"), tmp_path)
    assert sentence(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_what_will_never_come_is_asked_for_once(server: Server, tmp_path: Path, code: int) -> None:
    server.answer(status(code))
    with pytest.raises(DataError, match=f"answers {code}") as error:
        Client(QUICK).file(Remote(f"{server.url}/a?api_key=sesame", "a.bin"), tmp_path)
    assert "sesame" not in sentence(error)
    assert len(server.asked) == 1


def continued(asked: str | None) -> bool:
    """Whether a request is for what has not come, but for the block that broke off."""
    assert asked is not None
    begin = int(asked.removeprefix("bytes=").rstrip("-"))
    return len(BODY) // 2 - (1 << 16) < begin <= len(BODY) // 2


def test_half_a_file_is_resumed(server: Server, tmp_path: Path) -> None:
    server.answer(half(BODY), whole(BODY))
    file = Client(QUICK).file(Remote(f"{server.url}/a", "a.bin", digest_of(BODY, tmp_path)), tmp_path)
    assert file.read_bytes() == BODY
    assert continued(server.asked[1][1])


def test_half_a_file_is_resumed_by_the_next_command(server: Server, tmp_path: Path) -> None:
    server.answer(half(BODY), status(503))
    remote = Remote(f"{server.url}/a", "a.bin")
    with pytest.raises(DataError, match="what has come is kept, and the same command continues from there") as error:
        Client(QUICK).file(remote, tmp_path)
    assert sentence(error)
    assert not visible(tmp_path)
    server.answer(whole(BODY))
    assert Client(QUICK).file(remote, tmp_path).read_bytes() == BODY
    assert continued(server.asked[-1][1])


def test_a_file_that_has_changed_meanwhile_begins_again(server: Server, tmp_path: Path) -> None:
    other = BODY[::-1]
    server.answer(half(BODY, '"1"'), whole(other, '"2"'))
    assert Client(QUICK).file(Remote(f"{server.url}/a", "a.bin"), tmp_path).read_bytes() == other


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.bin.part").write_bytes(BODY)
    (tmp_path / ".a.bin.mark").write_text('"1"')
    server.answer(status(416), whole(BODY))
    assert Client(QUICK).file(Remote(f"{server.url}/a", "a.bin"), tmp_path).read_bytes() == BODY


def digest_of(content: bytes, folder: Path) -> str:
    file = folder / "expected"
    file.write_bytes(content)
    found = digest(file)
    file.unlink()
    return found


def test_a_wrong_checksum(server: Server, tmp_path: Path) -> None:
    server.answer(whole(BODY))
    with pytest.raises(DataError, match=r"the download has the checksum .* the source states 000000000000") as error:
        Client(QUICK).file(Remote(f"{server.url}/a", "a.bin", "0" * 64), tmp_path)
    assert sentence(error)
    assert not visible(tmp_path)
    assert not (tmp_path / ".a.bin.part").exists()


def test_an_empty_file(server: Server, tmp_path: Path) -> None:
    server.answer(whole(b""))
    with pytest.raises(DataError, match="sends an empty file"):
        Client(QUICK).file(Remote(f"{server.url}/a", "a.bin"), tmp_path)
    assert not visible(tmp_path)


def test_nobody_answers(server: Server, tmp_path: Path) -> None:
    address = server.url
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(DataError, match="the server does not answer") as error:
        Client(QUICK).file(Remote(f"{address}/a?api_key=sesame", "a.bin"), tmp_path)
    assert "sesame" not in sentence(error)
    assert not visible(tmp_path)


def test_error_xml_inside_a_zip_with_status_200(server: Server, tmp_path: Path) -> None:
    content = made.zipped(tmp_path / "x.zip", {"INVALID_REQUEST.xml": made.oasis_error(1004, "Over 31 days")})
    server.answer(whole(content.read_bytes()))
    with pytest.raises(DataError, match="CAISO answers with error 1004: Over 31 days") as error:
        Client(QUICK).file(Remote(f"{server.url}/a", "a.zip", fault=caiso.fault), tmp_path / "cache")
    assert sentence(error)
    assert not list((tmp_path / "cache").glob("*.zip"))


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_asks_nobody(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "environment":
        monkeypatch.setenv(OFFLINE, "1")
    with pytest.raises(DataError, match=r"downloads are off \(--offline or POWERGRID_OFFLINE\)"):
        Client(QUICK, offline=way == "argument").file(Remote(f"{server.url}/a", "a.bin"), tmp_path)
    assert not server.asked


def test_messages_show_no_secrets() -> None:
    text = shown("https://x.org/a.csv?api_key=sesame&names=2022&email=me%40x.org&wkt=POINT(1+2)")
    assert "sesame" not in text
    assert "me" not in text.replace("names", "")
    assert "names=2022" in text


# ----------------------------------------------------------------------------------------- a year of a market, by name


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    for source in (caiso.Caiso, nyiso.Nyiso, ercot.Ercot, nsrdb.Nsrdb):
        monkeypatch.setattr(source, "manners", QUICK)
    monkeypatch.setattr(caiso, "BASE", f"{server.url}/oasis")
    monkeypatch.setattr(nyiso, "BASE", f"{server.url}/nyiso")
    monkeypatch.setattr(ercot, "BASE", f"{server.url}/ercot")
    monkeypatch.setattr(nsrdb, "BASE", f"{server.url}/nsrdb.csv")
    return server


def zip_of(name: str, text: str, folder: Path) -> bytes:
    return made.zipped(folder / "one.zip", {name: text}).read_bytes()


def oasis(folder: Path) -> Answer:
    """A month of the report that a request asks for."""

    def answer(handler: Handler) -> None:
        first = pd.Timestamp(handler.path.split("startdatetime=")[1][:8])
        stamps = pd.date_range(first, first + pd.offsets.MonthBegin(1), freq="h", inclusive="left", tz="Etc/GMT+8")
        value = made.elapsed(stamps)
        if "SLD_REN_FCST" in handler.path:
            text = made.oasis_renewables(stamps, {("NP15", "Solar"): value - 5.0, ("NP15", "Wind"): value})
        elif "SLD_FCST" in handler.path:
            text = made.oasis_load(stamps, {"CA ISO-TAC": value, "PGE-TAC": value})
        else:
            text = made.oasis_prices(stamps, {"TH_NP15_GEN-APND": value, "TH_SP15_GEN-APND": value})
        whole(zip_of("a.csv", text, folder))(handler)

    return answer


def test_a_year_of_caiso_by_name(quick: Server, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(DataError, match=r"caiso_2024 is not on this machine; `powergrid data fetch caiso_2024` downl"):
        load("caiso_2024", cache_dir=folder)
    assert not quick.asked  # nothing is downloaded unasked
    quick.answer(*[oasis(tmp_path)] * 4, status(404))
    with pytest.raises(DataError, match="does not have this file"):
        load("caiso_2024", cache_dir=folder, download=True)
    with pytest.raises(DataError, match="is downloaded in part, 4 files"):
        load("caiso_2024", cache_dir=folder)
    quick.answer(oasis(tmp_path))
    found = load("caiso_2024", cache_dir=folder, download=True)
    assert len(quick.asked) == 5 + 32  # what was there is not fetched again
    assert (found.days, f"{found.start:%Y-%m-%d %H}", found.utc_offset_h) == (366, "2024-01-01 08", -8.0)
    assert found.sites("price_per_mwh")[0] == "price_per_mwh:lmp_np15"
    assert not found.missing["load_mw:ca_iso"].any()
    assert found.series("pv_pu:np15").values.min() == 0.0  # what plants draw at night is no generation
    quick.answer(status(500))
    again = load("caiso_2024", cache_dir=folder)  # from the parsed file
    np.testing.assert_array_equal(again.frame, found.frame)
    arrays = DatasetRegistry.load("caiso_2024", folder)
    assert arrays["price"].shape == (366 * 96,)
    clipped = load("caiso_2024", "2024-02-29", "2024-03-01", cache_dir=folder)
    assert clipped.days == 1


def test_a_year_of_nyiso_and_ercot_by_name(quick: Server, tmp_path: Path) -> None:
    def monthly(handler: Handler) -> None:
        name = handler.path.rpartition("/")[2]
        first = pd.Timestamp(name[:8])
        stamps = pd.date_range(first, first + pd.offsets.MonthBegin(1), freq="h", inclusive="left")
        local = stamps.tz_localize("America/New_York", ambiguous=True, nonexistent="shift_forward").unique()
        value = made.elapsed(local)
        text = (
            made.nyiso_prices(local, {"N.Y.C.": value})
            if "lbmp" in name
            else made.nyiso_load(local, {"N.Y.C.": value + 1.0})
        )
        whole(zip_of(name.replace("_csv.zip", ".csv"), text, tmp_path))(handler)

    quick.answer(monthly)
    found = load("nyiso_2015", cache_dir=tmp_path / "cache", download=True)
    assert len(quick.asked) == 24
    assert {"price_per_mwh:lbmp_nyc", "load_p_pu:nyc"} <= set(found.columns)
    assert found.series("load_p_pu:nyc").values[~np.isnan(found.series("load_p_pu:nyc").values)].max() == 1.0

    stamps = made.hours("America/Chicago", "2020-01-01", 2)
    book = made.zipped(
        tmp_path / "book.zip", {"rpt.xlsx": made.ercot_workbook(stamps, {"HB_HUBAVG": made.elapsed(stamps)})}
    )
    documents = [
        {"Document": {"DocID": str(k), "FriendlyName": f"DAMLZHBSPP_{year}", "PublishDate": f"{year}-12-31"}}
        for k, year in enumerate((2019, 2020))
    ]
    listed = json.dumps({"ListDocsByRptTypeRes": {"DocumentList": documents}})
    quick.answer(whole(listed.encode()), whole(book.read_bytes()))
    prices = load("ercot_2020", cache_dir=tmp_path / "cache", download=True)
    assert quick.asked[-1][0].endswith("doclookupId=1")
    assert (prices.days, int((~prices.missing).to_numpy().sum())) == (366, 48)
    quick.answer(whole(listed.encode()))
    with pytest.raises(DataError, match="ERCOT lists no workbook of 2018, only 2019, 2020"):
        load("ercot_2018", cache_dir=tmp_path / "cache", download=True)


def test_keys_come_from_the_environment_and_are_never_shown(
    quick: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "nsrdb:39.74,-105.18,2022"
    monkeypatch.delenv(nsrdb.KEY, raising=False)
    monkeypatch.setenv(nsrdb.EMAIL, "me@example.org")
    with pytest.raises(DataError, match=r"free from developer.nlr.gov/signup; .*\(NSRDB_API_KEY not set\)"):
        load(name, cache_dir=tmp_path, download=True)
    monkeypatch.setenv(nsrdb.KEY, "sesame")
    quick.answer(status(403))
    with pytest.raises(DataError, match="the key is missing or wrong") as error:
        load(name, cache_dir=tmp_path, download=True)
    assert "sesame" not in sentence(error)
    assert "example.org" not in sentence(error)
    assert "api_key=sesame" in quick.asked[0][0]
    quick.answer(whole(b"errors: over the limit"))
    with pytest.raises(DataError, match="is no table of NSRDB: errors: over the limit"):
        load(name, cache_dir=tmp_path, download=True)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"sesame" not in file.read_bytes()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("caiso_1999", r'no complete year 1999, only 2010 to \d{4}; did you mean "caiso_2010"'),
        ("nyiso_2999", "no complete year 2999, only 2005 to"),
        ("nsrdb:100,0,2020", "latitude lies between -90 and 90"),
        ("nsrdb:40,-100,1990", "NSRDB has the years 1998 to .* nearest is 1998"),
        ("nsrdb:Denver", "write nsrdb:<latitude>,<longitude>,<year>, such as nsrdb:39.74,-105.18,2022"),
    ],
)
def test_what_a_source_does_not_have(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load(name, cache_dir=tmp_path, download=True)


def test_unknown_names_show_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match='unknown dataset "casio_2019"; did you mean "caiso_2019"'):
        load("casio_2019", cache_dir=tmp_path)


def own_files(folder: Path, year: int = 2023) -> None:
    """Prices of a year in the cache, put there by a person."""
    place = cache.folder_of(f"caiso_{year}", folder)
    place.mkdir(parents=True)
    stamps = pd.date_range(f"{year}-01-01", f"{year + 1}-01-01", freq="h", inclusive="left", tz="Etc/GMT+8")
    (place / "prices.csv").write_text(made.oasis_prices(stamps, {"TH_NP15_GEN-APND": made.elapsed(stamps)}))


def test_files_of_a_person_are_read_where_they_are(tmp_path: Path) -> None:
    own_files(tmp_path)
    assert load("caiso_2023", cache_dir=tmp_path).days == 365


def test_caches_of_other_versions_and_damaged_ones(tmp_path: Path) -> None:
    own_files(tmp_path)
    folder, first = cache.folder_of("caiso_2023", tmp_path), load("caiso_2023", cache_dir=tmp_path)
    parsed = tmp_path / "caiso_2023.npz"
    parsed.write_bytes(parsed.read_bytes()[:1000])
    np.testing.assert_array_equal(load("caiso_2023", cache_dir=tmp_path).frame, first.frame)  # from the raw files
    manifest = folder / "manifest.json"
    manifest.write_text('{"format": 0, "files": {}}')
    with pytest.raises(DataError, match=r"was written by another version .* remove the folder and fetch again"):
        load("caiso_2023", cache_dir=tmp_path)
    manifest.write_text('{"format": 1, "files": {"prices.csv": {"sha256": "0", "bytes": 5}}, "complete": true}')
    (folder / ".parsed.json").unlink()
    with pytest.raises(DataError, match="is not as it was downloaded"):
        load("caiso_2023", cache_dir=tmp_path)
