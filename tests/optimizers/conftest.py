"""The line-up's tests compare texts by their letters."""

from collections.abc import Iterator

import pytest
from tasks import letters

from optimizers import demonstrations, encoder


@pytest.fixture(autouse=True, scope="session")
def quick_vectors() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (demonstrations, encoder):
            patch.setattr(module, "sentence_encoder", letters)
        yield
