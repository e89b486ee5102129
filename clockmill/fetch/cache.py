"""What earlier answers left behind: one JSON file a URL, replaced whole."""

import base64
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A URL's last good answer and its validators, byte-exact; instants are seconds since the epoch, 0 for none."""

    url: str
    final_url: str = ""
    status: int = 0
    content_type: str = ""
    etag: str = ""
    last_modified: str = ""
    expires: float = 0.0
    received: float = 0.0
    #: Before this instant the server does not want to be asked again.
    not_before: float = 0.0
    body: bytes = b""


class Cache:
    """Entries under one folder. A file that cannot be read counts as absent: the document is fetched anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, url: str) -> Entry:
        try:
            found = json.loads(self._path(url).read_bytes())
            entry = Entry(**{**found, "body": base64.b85decode(found["body"])})
        except (OSError, ValueError, TypeError, KeyError):
            return Entry(url)
        return entry if entry.url == url and _well_typed(entry) else Entry(url)

    def put(self, entry: Entry) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({**asdict(entry), "body": base64.b85encode(entry.body).decode("ascii")})
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(self._path(entry.url))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, url: str) -> Path:
        return self._folder / f"{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()}.json"


def _well_typed(entry: Entry) -> bool:
    return all(type(getattr(entry, field.name)) is field.type for field in fields(entry))
