"""The real test model, fetched once; these tests run by themselves, since a model needs the processor for itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pld_dspy.local import models as models_module
from pld_dspy.local.connect import local_lm
from pld_dspy.local.fetch import fetch
from pld_dspy.local.lm import LocalLM


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder with the really fetched test model."""
    pytest.importorskip("xllamacpp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLD_DSPY_CACHE", str(tmp_path_factory.mktemp("cache")))
        fetch("smollm2-135m")
        yield models_module.cache_dir()


@pytest.fixture
def lm(cache: Path) -> LocalLM:
    return local_lm("local:smollm2-135m", max_tokens=30)
