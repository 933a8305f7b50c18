"""What a check has to say."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["broken", "look", "missing", "ok"]


class Finding(NamedTuple):
    """One line of the answer.

    Attributes:
        kind: broken: will fail or give wrong numbers; look: works, but perhaps not as meant; missing: optional and not
            there; ok.
        text: what was found.
        help: what to do, or empty.
        details: lines for who asks for all.
    """

    kind: Kind
    text: str
    help: str = ""
    details: tuple[str, ...] = ()
