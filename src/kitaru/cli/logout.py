"""`kitaru logout`: keep executions on this machine again."""

from __future__ import annotations

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text
from kitaru.client import login as logins


def logout(*, output: OutputFormat = "text") -> None:
    """Forget the server that `login` has saved, with its token. Executions there stay there."""
    left = logins.forget_login()
    present = settings.reread()
    store = settings.masked_url(present.store_url)
    if output == "json":
        print_item("logout", {"server_url": left, "store": store})
    elif left is None:
        print_text("There is no server to leave.")
    else:
        print_text(f"Logged out of {settings.masked_url(left)}. Executions are kept in {store}.")
    if settings.is_server(present.store_url):
        print_note(f"Warning: {present.sources['store_url']} still names the server {store}.")
