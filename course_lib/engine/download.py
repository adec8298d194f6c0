"""One file from the first of several addresses that has it: checked, with progress, going on where it broke off."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TIMEOUT = (3, 20)  # seconds to wait for an address, and for the next bytes from it
ATTEMPTS = 2  # at each address that answers
PATIENCE, SLOWEST = 30, 10_000  # seconds; after them, bytes a second since the beginning, or the next address is asked
LARGEST = 100_000_000  # bytes: no file of the course's is larger


class DownloadFailed(Exception):
    """No address gave the file; the message has every reason."""


class TooSlow(Exception):
    """The address sends, but would take too long, or would never end."""


def fetch_file(addresses: Sequence[str], filename: str, md5: str, folder: Path) -> Path:
    """Fetch ``filename`` from below one of ``addresses`` into ``folder``; it appears there only whole, its MD5 right.

    Raises:
        DownloadFailed: no address gave it, or the folder cannot be written.
    """
    import pooch
    import requests

    reasons = []
    for address in addresses:
        for _ in range(ATTEMPTS):
            try:
                return Path(pooch.retrieve(address + filename, f"md5:{md5}", filename, folder, downloader=_resume))
            except (requests.RequestException, TooSlow, ValueError) as error:  # a ValueError: the wrong checksum
                reasons.append(f"{address.split('/')[2]}: {_short(error)}")
                if isinstance(error, (requests.ConnectionError, requests.HTTPError, TooSlow)):
                    break  # asking the same address again would not help
            except OSError as error:
                raise DownloadFailed(f"{folder} cannot be written ({error})") from error
    raise DownloadFailed(f"no address gave it ({'; '.join(reasons)})")


def _short(error: Exception) -> str:
    """What went wrong, without the layers of a network library around it."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    return str(getattr(error, "reason", error)).rpartition("): ")[2]


def _resume(url: str, output_file: str, pooch) -> None:
    """A downloader for pooch that keeps what came when it breaks off, and asks for the rest next time."""
    import requests
    from tqdm.auto import tqdm

    output = Path(output_file)  # a temporary name in the folder of the download
    rest = output.with_name(f"{url.rsplit('/', 1)[-1]}.part")
    if rest.exists():
        os.replace(rest, output)  # taken from under any other process
    have = output.stat().st_size
    try:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        begin = time.monotonic()
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == requests.codes.range_not_satisfiable:
                return  # there is no rest: the checksum says whether this is the file
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0
            length = int(answer.headers.get("Content-Length", 0))
            bar = tqdm(desc=rest.stem, initial=have, total=have + length, unit="B", unit_scale=True)
            with bar, open(output, "r+b") as file:
                file.seek(have)
                file.truncate()
                for part in _as_it_comes(answer):
                    file.write(part)
                    bar.update(len(part))
                    late = time.monotonic() - begin - PATIENCE
                    if bar.n > LARGEST or bar.n - have < SLOWEST * late:
                        raise TooSlow(f"{bar.n - have} bytes came in {PATIENCE + late:.0f} s, and no end")
                if length and bar.n < have + length:
                    raise requests.exceptions.ChunkedEncodingError(f"broke off after {bar.n} bytes")
    except BaseException:  # a keyboard interrupt too
        os.replace(output, rest)
        raise


def _as_it_comes(answer) -> Iterator[bytes]:
    """What is sent, in the parts in which it comes; to fill parts of one size may take for ever."""
    import requests

    while True:
        try:
            part = answer.raw.read1(1 << 16)
        except Exception as error:  # of the library below requests, whose words they get only in its own loops
            raise requests.exceptions.ChunkedEncodingError(error) from error
        if not part:
            return
        yield part
