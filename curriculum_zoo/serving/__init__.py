"""A trained network in a web page: drop an image, see classes, what speaks for them, and the curriculum's stages."""

from .answers import Answer, Showcase
from .page import make_page, serve

__all__ = ["Answer", "Showcase", "make_page", "serve"]
