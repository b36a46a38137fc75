"""The switch: bytes in, decision, bytes out."""

from importlib.metadata import version

__version__ = version("de39")
