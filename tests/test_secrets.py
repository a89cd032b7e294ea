"""Keys planted wherever users put them, and faults that cite them: none comes out again."""

import logging
from pathlib import Path

import dspy
import pytest
from dspy import lm15
from engine import Failure, fn_lm
from tasks import TRAIN, compiled, micro_rules, pld, student

from pld_dspy.errors import DataError, ModelError, TooManyErrors, without_secrets
from pld_dspy.ledger.keys import adapter_settings, lm_settings

CANARY = "canary-5e3d-q8"
NAMES = (
    *("api_key", "azure_ad_token", "aws_secret_access_key", "aws_access_key_id", "aws_session_token", "hf_token"),
    *("vertex_credentials", "client_secret", "password", "headers", "default_headers", "api_token", "auth", "key"),
)
SETTINGS = {
    **{name: {name: CANARY} for name in NAMES},
    "header": {"extra_headers": {"x-anything": CANARY}},
    "body": {"extra_body": {"options": {"api_key": CANARY}, "top_k": 3}},
    "query": {"extra_query": {"code": CANARY}},
    "models": {"model_list": [{"params": {"api_key": CANARY}}]},
}
TEXTS = (
    f"401 Incorrect API key provided: sk-{CANARY}. Find yours at https://platform.openai.com.",
    f"Client error '400' for url 'https://example.com/v1/models:generate?key={CANARY}&alt=sse'",
    f"Client error for url 'https://example.com/?a=1&token={CANARY}'",
    f"Cannot connect to http://me:{CANARY}@host:8000/v1: refused",
    f"postgresql+psycopg://me:p@{CANARY}@host/db is not reachable",
    f"Unauthorized: Authorization: Bearer {CANARY}",
    f'{{"api_key": "{CANARY}", "model": "x"}}',
    f"OPENAI_API_KEY={CANARY} is not accepted",
    f"password: '{CANARY}'",
    f"aws_secret_access_key={CANARY}",
)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_of_the_connection_is_kept_and_every_error_is_free_of_it(name: str) -> None:
    lm = dspy.LM("custom/x", temperature=0.5)
    lm.kwargs.update(SETTINGS[name])
    kept = lm_settings(lm)
    assert CANARY not in repr(kept)
    assert kept["temperature"] == 0.5
    if name != "query":  # an address shows it under a name that says so
        assert CANARY not in str(DataError(f"The server said: {CANARY}!"))


def test_settings_that_decide_answers_are_kept() -> None:
    lm = dspy.LM("custom/x", max_tokens=7, stop_token_ids=[3], extra_body={"top_k": 3, "api_key": CANARY})
    kept = lm_settings(lm)
    assert (kept["max_tokens"], kept["stop_token_ids"], kept["extra_body"]) == (7, [3], {"top_k": 3})


def test_an_adapters_key_is_not_among_its_settings() -> None:
    adapter = dspy.ChatAdapter()
    adapter.api_key, adapter.style = CANARY, "brief"
    assert CANARY not in adapter_settings(adapter)
    assert "brief" in adapter_settings(adapter)


@pytest.mark.parametrize("text", TEXTS)
def test_what_looks_like_a_secret_is_not_shown(text: str) -> None:
    assert CANARY not in without_secrets(text)
    assert CANARY not in str(ModelError(text))


def test_a_secret_in_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PROVIDER_API_KEY", "plain-word-1")
    monkeypatch.setenv("HOME_TOWN", "Springfield")
    assert without_secrets("plain-word-1 of Springfield") == "*** of Springfield"


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=100000 is too large; the key 'rules' is missing",
        "Unexpected token: identifier at http://127.0.0.1:8000/v1",
        "the label 'secretary' is not in the label set (secretary, basic)",
        "user@example.com wrote to sk-abc",
    ],
)
def test_harmless_texts_stay(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("fault", ["refused", "failed"])
def test_a_compile_that_fails_shows_no_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTHER_API_KEY", f"{CANARY}-2")
    said = f"{CANARY} and {CANARY}-2 at https://me:{CANARY}-3@host/?key={CANARY}-4"

    def answer(system: str, user: str) -> str:
        raise RuntimeError(said)

    refusal = Failure("", lm15.AuthError(said, provider="custom", status=401))
    lm = fn_lm(answer, failures=[refusal] if fault == "refused" else [])
    lm.kwargs["api_key"] = CANARY
    optimizer = pld(tmp_path / "run", teacher=None, tracking=f"nope://me:{CANARY}@host", max_errors=3)
    with dspy.context(lm=lm), pytest.raises((ModelError, TooManyErrors)) as told:
        compiled(optimizer, student(), rationales=micro_rules(TRAIN))
    assert "***" in str(told.value)
    assert CANARY not in str(told.value)
    assert CANARY not in caplog.text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
