"""Resolve: the student's remaining errors go back to the teacher, which patches rules; a patch stays if it pays."""

from .config import UNSAID, Blame, ResolveConfig
from .loop import resolve
from .propose import Resolver
from .result import PatchRecord, Resolution, Round, read_patches, write_patches

__all__ = [
    "UNSAID",
    "Blame",
    "PatchRecord",
    "Resolution",
    "ResolveConfig",
    "Resolver",
    "Round",
    "read_patches",
    "resolve",
    "write_patches",
]
