"""A user's own recorder cannot end a compile."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from tasks import compiled, pld, student, student_lm

from pld_dspy.run.guarded import GuardedRecorder
from pld_dspy.run.result import PLDResult
from pld_dspy.run.tracking import Recorder

METHODS = ("run", "params", "metric", "artifact", "data", "prompt", "describe")


class Broken(Recorder):
    """Raises in every method."""

    def __init__(self) -> None:
        self.calls = dict.fromkeys(METHODS, 0)


def _raising(method: str):
    def fails(self, *given, **named):
        self.calls[method] += 1
        raise ValueError(f"no\n{method}: api_key=sk-very-secret-key-1")

    return fails


for _name in METHODS:
    setattr(Broken, _name, _raising(_name))


def test_a_recorder_that_always_raises_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def result(folder: str, tracking: Recorder | None) -> PLDResult:
        optimizer = pld(tmp_path / folder, tracking=tracking)
        compiled(optimizer, student(student_lm()))
        return optimizer.result

    broken, times = Broken(), {"seconds", "costs"}
    found, expected = result("broken", broken), result("plain", None)
    assert found.model_dump(exclude=times) == expected.model_dump(exclude=times)
    assert broken.calls["metric"] > 1, "further calls go on"
    said = [record.message for record in caplog.records if record.name == "pld_dspy.run.guarded"]
    assert sorted(said) == sorted(
        f"Broken.{method} failed and the compile goes on: ValueError: no {method}: api_key=***" for method in METHODS
    )


@pytest.mark.parametrize("error", [ValueError("the block's own"), KeyboardInterrupt()])
def test_what_ends_a_compile_ends_it_whatever_the_recorder_does(error: BaseException) -> None:
    seen = []

    class Swallowing(Recorder):
        @contextmanager
        def run(self, name):
            try:
                yield
            except (ValueError, KeyboardInterrupt) as raised:
                seen.append((name, raised))

    with pytest.raises(type(error)) as raised, GuardedRecorder(Swallowing()).run("a"):
        raise error
    assert raised.value is error
    assert seen == [("a", error)]


def test_an_interrupt_in_a_recorder_is_none_of_its_errors() -> None:
    class Interrupted(Recorder):
        def metric(self, name, value, step=0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GuardedRecorder(Interrupted()).metric("m", 1.0)


def test_an_end_that_fails_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Ending(Recorder):
        @contextmanager
        def run(self, name):
            yield
            raise OSError("disk full")

    with GuardedRecorder(Ending()).run("a"):
        pass
    assert [record.message for record in caplog.records] == [
        "Ending.run failed and the compile goes on: OSError: disk full"
    ]
