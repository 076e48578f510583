"""How much a caller asks for."""

from __future__ import annotations

from kitaru.errors import KitaruUsageError


def check_bounds(
    *, limit: int | None = None, page: int | None = None, size: int | None = None
) -> None:
    """Raise `KitaruUsageError` unless the bounds given are positive and go together."""
    for name, value in (("limit", limit), ("page", page), ("size", size)):
        if value is not None and value < 1:
            message = f"expected `{name}` to be 1 or more, got: {value!r}"
            raise KitaruUsageError(message)
    if limit is not None and (page is not None or size is not None):
        message = "`limit` cannot be combined with `page` or `size`."
        raise KitaruUsageError(message)
    if page is not None and size is None:
        message = "`page` needs `size`."
        raise KitaruUsageError(message)
