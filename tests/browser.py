"""Chromium without a window, for the pages that people look at."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
NO_CALLS_HOME = ("--disable-background-networking", "--disable-component-update")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")


def load(url: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Load a page and run its scripts; its document is the standard output.

    Args:
        url: the page.
        profile: a folder of the browser's own; made if missing.
        options: further ones of Chromium.
    """
    command = [str(CHROMIUM), *OPTIONS, *NO_CALLS_HOME, f"--user-data-dir={profile}", *options, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
