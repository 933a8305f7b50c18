"""Every random number of a run derives from its one seed."""

from __future__ import annotations

import hashlib


def derive(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for the purpose named by `keys`: the first bytes of SHA-256 over all of them.

    Derived, not counted: epoch 3, step 7 draws the same numbers whether or not anything ran before it,
    which is what makes a resumed run equal an uninterrupted one without saving generator states.
    """
    digest = hashlib.sha256("/".join([str(seed), *map(str, keys)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
