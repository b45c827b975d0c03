"""Names of what a tree that transactions change keeps beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batten.model.disk.names import CONTROL_SUFFIX, UNSYNCED
from batten.model.disk.staged_names import DIGEST_CHARACTERS
from batten.model.disk.throwaway_names import is_throwaway
from batten.model.patterns import pattern

TREE_FOLDER = "/tree"
"""Where in the control folder of a tree everything about its transactions lies."""


_CHANGE_STAGED = pattern(r"[0-9a-f]{16}\.\d{6,}", re.ASCII)


@dataclass(frozen=True)
class TreeLayout:
    """Where everything of one tree lies. `root` is its name in the folder that holds it."""

    root: str

    @property
    def control(self) -> str:
        return f"{self.root}{CONTROL_SUFFIX}{TREE_FOLDER}"

    @property
    def lock(self) -> str:
        return f"{self.control}/lock"

    @property
    def journal(self) -> str:
        return f"{self.control}/JOURNAL"

    @property
    def unsynced(self) -> str:
        return f"{self.control}/{UNSYNCED}"

    @property
    def staging(self) -> str:
        return f"{self.control}/staging"

    @property
    def tokens(self) -> str:
        return f"{self.control}/tokens"

    @property
    def set_aside(self) -> str:
        return f"{self.control}/set-aside"

    def target(self, path: str) -> str:
        """What `path`, relative to the root, is called."""
        return f"{self.root}/{path}"

    def staged(self, change: str, number: int) -> str:
        return f"{self.staging}/{change}.{number:06}"

    def token(self, digest: str) -> str:
        """`digest` is of the token."""
        return f"{self.tokens}/{digest[:DIGEST_CHARACTERS]}.json"


def is_change_throwaway(name: str) -> bool:
    """As `is_throwaway`, for a file of the `staging/` of a tree."""
    return _CHANGE_STAGED.fullmatch(name) is not None or is_throwaway(name)
