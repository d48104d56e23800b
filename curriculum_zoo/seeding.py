"""Seeds for everything random in a run, each a pure function of what it is for."""

from __future__ import annotations

import operator
from hashlib import blake2b

__all__ = ["derive_seed"]


def derive_seed(*parts: int) -> int:
    """A seed that depends on every part and on their order, the same on every machine.

    Parts that differ in one bit give unrelated seeds, which adding them up would not: ``seed + epoch`` makes epoch 1
    of run 0 draw what epoch 0 of run 1 draws.

    Args:
        *parts: integers of any size and sign, such as ``(seed, epoch, step)``.

    Returns:
        An integer from 0 to 2⁶³ − 1, as both ``torch.Generator.manual_seed`` and NumPy take it.
    """
    text = ",".join(str(operator.index(part)) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
