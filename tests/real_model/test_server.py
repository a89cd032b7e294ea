"""The local model's server, with the real test model behind it."""

import os
import re
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import dspy
import pytest

from pld_dspy.errors import ModelError
from pld_dspy.local import server as serving
from pld_dspy.local.connect import local_lm, resolve_lm
from pld_dspy.local.lm import LocalLM
from pld_dspy.local.models import find
from pld_dspy.local.server import LocalServer, serve

PLANT = 'root ::= "[[ ## answer ## ]]\\nplant\\n\\n[[ ## completed ## ]]"'


@pytest.fixture
def server(lm: dspy.LM) -> LocalServer:
    return serve(find("smollm2-135m"))


def accepts(host: str, server: LocalServer) -> bool:
    try:
        socket.create_connection((host, int(server.url.rpartition(":")[2])), timeout=2).close()
    except OSError:
        return False
    return True


def test_predict_answers_within_the_grammar_and_reports_usage(lm: dspy.LM) -> None:
    predict = dspy.Predict("question -> answer", extra_body={"grammar": PLANT})
    with dspy.context(lm=lm, track_usage=True, usage_tracker=None):
        first = predict(question="What is an oak?")
        second = predict(question="What is an elm?")
    assert first.answer == second.answer == "plant"
    assert set(first.get_lm_usage()) == {"openai/smollm2-135m"}
    usage = second.get_lm_usage()["openai/smollm2-135m"]
    assert usage["prompt_tokens"] > 100
    assert 1 < usage["completion_tokens"] < 30
    assert usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"] / 2


def test_history_and_cache_know_the_weights_and_not_the_port(lm: dspy.LM) -> None:
    lm("Hi")
    serve(find("smollm2-135m")).close()
    again = local_lm("local:smollm2-135m", max_tokens=30)
    assert again.kwargs["api_base"] != lm.kwargs["api_base"]
    assert again("Hi") == lm.history[-1]["outputs"]
    assert again.history[-1]["usage"] == {}, "the answer came from the cache"
    assert again.history[-1]["model"] == "openai/smollm2-135m"
    assert lm.history[-1]["response_model"] == "smollm2-135m"


def test_answer_does_not_depend_on_what_was_asked_before(lm: dspy.LM) -> None:
    rules = "Answer yes or no. " * 20

    def ask(question: str) -> Any:
        answer = lm(f"{rules}{question}", logprobs=True, cache=False, max_tokens=4)[0]
        return answer["text"], [token["logprob"] for token in answer["logprobs"]["content"]]

    fresh = ask("Do dogs fly?")
    ask("Is rain wet, and is a stone softer than bread?")
    assert ask("Do dogs fly?") == fresh
    assert ask("Do dogs fly?") == fresh


def test_server_listens_on_the_loopback_address_only(server: LocalServer) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    assert accepts("127.0.0.1", server)
    assert not accepts("127.0.0.2", server), "a server on all interfaces would answer here"


def test_one_file_is_served_once_until_closed(server: LocalServer) -> None:
    path = find("smollm2-135m")
    with closing(serve(path)) as same:
        assert same is server
    assert not accepts("127.0.0.1", server)
    server.close()
    reopened = serve(path)
    assert reopened is not server
    assert accepts("127.0.0.1", reopened)


def test_closing_waits_for_the_answer_in_progress(lm: dspy.LM, server: LocalServer) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(lm, "Tell a story.", cache=False)
        while not serving._busy(server._engine):
            time.sleep(0.01)
        server.close()
        assert answer.result(timeout=20)
    assert not accepts("127.0.0.1", server)


def test_files_of_the_same_name_get_names_of_their_own(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    shutil.copy(cache / "smollm2-135m.gguf", file)
    names = [local_lm(str(file)).model]
    serve(file).close()
    with file.open("ab") as stream:
        stream.write(b"\0" * 32)
    names.append(resolve_lm(str(file)).model)
    serve(file).close()
    assert all(re.fullmatch(r"openai/own-[0-9a-f]{8}", name) for name in names)
    assert names[0] != names[1]


def test_configured_proxy_is_not_asked_for_the_loopback_address(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.close()
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "intranet.example")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert local_lm("local:smollm2-135m", max_tokens=2, num_retries=0)("Hi")
    assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1"


def test_tokens_are_counted_by_the_model_itself(lm: LocalLM) -> None:
    assert lm.count_tokens("hello world") == 2
    assert lm.count_tokens("") == 0


def test_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" * 100)
    with pytest.raises(ModelError, match=r"cannot serve .*broken.gguf"):
        serve(file)
