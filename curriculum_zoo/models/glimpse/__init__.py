"""Glimpse pyramids: hard attention down an image pyramid, and the dense networks that they are compared with."""

from . import baseline, pyramids

__all__ = ["baseline", "pyramids"]
