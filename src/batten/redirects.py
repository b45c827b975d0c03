"""Requests over HTTP that are not asked again of another server."""

from __future__ import annotations

import urllib.request
from typing import Any


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever is sent elsewhere would begin something there, or take a password along."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None
