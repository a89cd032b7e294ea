"""Every test gets fresh DSPy settings and an empty cache in memory, and leaves the user's cache alone."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read when DSPy and LiteLLM are imported or first asked for a price: use the packaged price list, fetch none.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
# Read when NumPy is imported: the tests' matrices are too small for threads, which only wait for busy cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dspy
from dspy.dsp.utils.settings import DEFAULT_CONFIG

from pld_dspy.local import classifier, embedding
from pld_dspy.scoring import baselines
from pld_dspy.search import insight

LONGEST = ("test_pld_run", "test_pld_kills", "test_workers", "test_search_cost", "test_local", "test_inside")
"""Files that take the longest begin first, so that no process ends with one of them while the other waits."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort files, and leave the order within them."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_disks() -> Iterator[None]:
    """Optuna's journal waits for the disk after every line; tests kill processes, but pull no plugs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def vectors_without_weights() -> Iterator[None]:
    """Every compile embeds its texts: here with TF-IDF, also where the encoder, which takes seconds, is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "find_spec", lambda name: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def few_draws_and_folds() -> Iterator[None]:
    """A compile draws a learning curve and what its search does not know, and deals labels into folds: few here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "DRAWS", 1)
        patch.setattr(baselines, "SHARES", (0.25, 0.5))
        patch.setattr(insight, "DRAWS", 10)
        patch.setattr(classifier, "FOLDS", 4)
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables made, which takes seconds; each test copies the file."""
    import mlflow  # takes seconds too

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def fresh_dspy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Isolate the test from earlier ones; processes that it starts get a cache folder of their own."""
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "dspy-cache"))
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    yield
    dspy.configure(**copy.deepcopy(DEFAULT_CONFIG), inherit_config=False)
