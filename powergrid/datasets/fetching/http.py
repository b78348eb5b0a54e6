"""One file from a server: pauses between requests, growing pauses between retries, resumes, checks, a move into place.

What is not whole stays in a hidden file with the ending ``.part``, from which the next attempt continues if the server
states that the file is still the same (``If-Range``).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.core.files import make_folder, unwritable

if TYPE_CHECKING:
    import urllib3

SECRETS = ("api_key", "email", "token", "key")
"""Parameters of addresses that no message shows."""
OFFLINE = "POWERGRID_OFFLINE"
"""Environment variable that refuses every download."""
MOST_BYTES = 1 << 32
"""Largest file that is downloaded [byte]."""
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_BLOCK = 1 << 16

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes so far, and the bytes in all, 0 if that is not known."""


class Remote(NamedTuple):
    """A file of a source.

    Attributes
    ----------
    url
        Its address.
    name
        Its name in the cache.
    sha256
        Its checksum if the source states one.
    fault
        Returns a sentence if a whole download is none, such as an error message of the source, else an empty text.
    """

    url: str
    name: str
    sha256: str = ""
    fault: Callable[[Path], str] | None = None


class Manners(NamedTuple):
    """How a source wants to be treated.

    Attributes
    ----------
    pause_s
        Least time between two requests [s].
    attempts
        Requests for one file before giving up.
    backoff_s
        Pause after the first failure [s]; it doubles with each.
    longest_s
        Longest pause, that which a server asks for included [s].
    timeout_s
        Longest silence of a server [s].
    """

    pause_s: float = 1.0
    attempts: int = 5
    backoff_s: float = 2.0
    longest_s: float = 120.0
    timeout_s: float = 60.0


class Client:
    """Requests to one source.

    Parameters
    ----------
    manners
        How it wants to be treated.
    offline
        True refuses every request, as does the environment variable ``POWERGRID_OFFLINE``.

    Raises
    ------
    MissingExtraError
        If urllib3 is absent.
    """

    def __init__(self, manners: Manners, offline: bool = False):
        try:
            import urllib3
        except ImportError as error:
            raise MissingExtraError("urllib3", "data", "downloading") from error
        self.manners = manners
        self.offline = offline or bool(os.environ.get(OFFLINE))
        timeout = urllib3.Timeout(connect=min(manners.timeout_s, 20.0), read=manners.timeout_s)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)
        self._next = 0.0

    def text(self, url: str) -> str:
        """Content of a small file, such as a list of others.

        Raises
        ------
        DataError
            If it cannot be had.
        """
        parts: list[bytes] = []

        def take(response: urllib3.BaseHTTPResponse, _: int) -> None:
            parts[:] = [response.read(1 << 24)]

        self._persist(url, take, lambda: 0, lambda: "")
        return parts[0].decode("utf-8", "replace")

    def file(self, remote: Remote, folder: Path, progress: Progress | None = None) -> Path:
        """Download a file, unless it is there.

        Parameters
        ----------
        remote
            The file.
        folder
            Where it goes.
        progress
            Called as it grows.

        Returns
        -------
        Path
            The whole file.

        Raises
        ------
        DataError
            If it cannot be had, or is not what it should be; nothing has then its name.
        RunError
            If the folder cannot be written.
        """
        target = folder / remote.name
        if target.exists():
            return target
        make_folder(folder)
        part, mark = folder / f".{remote.name}.part", folder / f".{remote.name}.mark"

        def take(response: urllib3.BaseHTTPResponse, begun: int) -> None:
            resumed = response.status == 206
            size = int(response.headers.get("Content-Length") or 0)
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            mark.write_text(tag, encoding="utf-8")
            done = begun if resumed else 0
            whole = size + done if size else 0
            if whole > MOST_BYTES:
                raise DataError(f"{shown(remote.url)}: claims {whole / 1e9:,.1f} GB, more than is downloaded")
            with part.open("ab" if resumed else "wb") as stream:
                for block in response.stream(_BLOCK):
                    stream.write(block)
                    done += len(block)
                    if done > MOST_BYTES:
                        raise DataError(f"{shown(remote.url)}: sends more than {MOST_BYTES / 1e9:,.1f} GB; stopped")
                    if progress is not None:
                        progress(remote.name, done, whole)
                stream.flush()
                os.fsync(stream.fileno())

        def begun() -> int:
            return part.stat().st_size if part.exists() and mark.exists() and mark.read_text() else 0

        try:
            self._persist(remote.url, take, begun, lambda: mark.read_text(encoding="utf-8"), lambda: part.unlink())
            if told := _fault(part, remote):
                part.unlink()
                raise DataError(told)
            os.replace(part, target)
            mark.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(target, error) from error
        return target

    def _persist(
        self,
        url: str,
        take: Callable[[Any, int], None],
        begun: Callable[[], int],
        mark: Callable[[], str],
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """Request an address until its content is taken whole."""
        import urllib3

        if self.offline:
            raise DataError(f"{shown(url)}: is not downloaded, since downloads are off (--offline or {OFFLINE})")
        told, pause_s = "", 0.0
        for attempt in range(self.manners.attempts):
            self._wait(pause_s)
            pause_s = min(self.manners.backoff_s * 2.0**attempt, self.manners.longest_s)
            size = begun()
            headers = {"User-Agent": "powergrid-marl", "Accept-Encoding": "identity"}
            if size:
                headers |= {"Range": f"bytes={size}-", "If-Range": mark()}
            try:
                response = self._pool.request("GET", url, headers=headers, preload_content=False, redirect=True)
            except urllib3.exceptions.HTTPError as error:
                told = f"does not answer ({_reason(error)})"
                continue
            try:
                if response.status in (200, 206):
                    take(response, size)
                    return
                told = f"answers {response.status} {response.reason or ''}".rstrip()
                if response.status == 416:  # the part is as long as the file or longer: begin again
                    forget()
                elif response.status not in _BUSY:
                    raise DataError(f"{shown(url)}: the server {told}{_meaning(response.status)}")
                asked_s = _asked(response.headers.get("Retry-After"))
                if asked_s > self.manners.longest_s:
                    raise DataError(f"{shown(url)}: the server {told} and asks to wait {asked_s:,.0f} s; try later")
                pause_s = max(pause_s, asked_s)
            except (urllib3.exceptions.HTTPError, ConnectionError) as error:
                told = f"breaks off ({_reason(error)})"
            finally:
                response.close()
        raise DataError(
            f"{shown(url)}: the server {told}, {self.manners.attempts} times; what has come is kept, and the same "
            "command continues from there"
        )

    def _wait(self, pause_s: float) -> None:
        now = time.monotonic()
        time.sleep(max(self._next - now, pause_s, 0.0))
        self._next = time.monotonic() + self.manners.pause_s


def shown(url: str) -> str:
    """An address without the values of its secrets."""
    parts = urlsplit(url)
    query = [(key, "..." if key in SECRETS else value) for key, value in parse_qsl(parts.query)]
    return urlunsplit(parts._replace(query=urlencode(query, safe=".:,-()")))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fault(part: Path, remote: Remote) -> str:
    """A sentence if a downloaded file is not what it should be."""
    if not part.exists() or not part.stat().st_size:
        part.touch()
        return f"{shown(remote.url)}: the server sends an empty file"
    if remote.sha256 and digest(part) != remote.sha256:
        return (
            f"{shown(remote.url)}: the download has the checksum {digest(part)[:12]}..., the source states "
            f"{remote.sha256[:12]}...; it is damaged or another file, and has been removed"
        )
    told = remote.fault(part) if remote.fault is not None else ""
    return f"{shown(remote.url)}: {told}" if told else ""


def _asked(header: str | None) -> float:
    """Pause that a server asks for [s]; 0 where it asks for none."""
    from urllib3.util import Retry

    if not header:
        return 0.0
    try:
        return float(Retry().parse_retry_after(header))
    except Exception:  # a header that is neither seconds nor a date
        return 0.0


def _meaning(status: int) -> str:
    return {
        401: "; the key is missing or wrong",
        403: "; the key is missing or wrong, or the source refuses this machine",
        404: "; the source does not have this file",
    }.get(status, "")


def _reason(error: BaseException) -> str:
    """Class and text of an error, without addresses, in which secrets may stand."""
    from urllib3.exceptions import IncompleteRead, ProtocolError

    if isinstance(error, ProtocolError) and len(error.args) > 1 and isinstance(error.args[1], IncompleteRead):
        error = error.args[1]
    if isinstance(error, IncompleteRead):
        return f"{error.partial:,} bytes of {error.partial + (error.expected or 0):,}"
    return type(error).__name__
