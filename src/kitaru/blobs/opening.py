"""From a URL to its place for blobs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from kitaru.access import NO_ACCESS, ServerAccess
from kitaru.blobs.contract import BlobStore
from kitaru.blobs.local import LocalBlobs
from kitaru.errors import KitaruFeatureNotAvailableError, KitaruUsageError

_DRIVE = re.compile(r"/[A-Za-z]:")


def open_blobs(url: str, *, access: ServerAccess = NO_ACCESS) -> BlobStore:
    """Return the place for blobs at `url`, such as `file:///absolute/folder` or a server's URL.

    The folder is created with the first blob. `access` is for servers, and means nothing to folders.

    Raises:
        KitaruUsageError: It is no URL of a place for blobs.
        KitaruFeatureNotAvailableError: Places of its kind cannot be opened here.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        message = f"expected the URL of a folder such as 'file:///home/me/blobs', got: {url!r}"
        raise KitaruUsageError(message)
    if scheme in {"http", "https"}:
        # Imported here: who has files needs no client, and `http.client` costs 20 ms.
        from kitaru.blobs.http import HttpBlobs

        return HttpBlobs(url, access=access)
    if scheme != "file":
        message = (
            f"blobs at {scheme!r} URLs are not available in this version."
            f" Use a folder: 'file:///path/to/folder'."
        )
        raise KitaruFeatureNotAvailableError(message)
    path = unquote(rest)
    if not path.startswith("/"):
        message = (
            f"expected an absolute path after 'file://', got: {url!r}."
            f" Write three slashes: 'file:///{path}'"
        )
        raise KitaruUsageError(message)
    path = "/" + path.lstrip("/")
    return LocalBlobs(Path(os.path.normpath(path[1:] if _DRIVE.match(path) else path)))
