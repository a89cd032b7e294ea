"""The review page as a browser gets it: a real server on loopback over the folder of a small synthetic run."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from browser import load, needs_chromium
from test_report import EVIL, LABELS, make_result, write_run

from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl, write_jsonl
from pld_dspy.release.edits import read_edits
from pld_dspy.release.recheck import Flip
from pld_dspy.release.review import ReviewServer
from pld_dspy.release.review_page import Review
from pld_dspy.release.signature import sign
from pld_dspy.release.trail import read_trail
from pld_dspy.rules import MicroRule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; the tests copy it."""
    folder, result = tmp_path_factory.mktemp("runs") / "demo-run", make_result()
    few = [rule.model_copy(update={"support": rule.support[:2]}) for rule in result.rules.rules]
    result = result.model_copy(update={"rules": result.rules.with_rules(few)})  # a page is made many times here
    write_run(folder, result)
    run = RunFolder(folder)
    write_jsonl(run.micro_rules, read_jsonl(run.micro_rules, MicroRule)[:3])
    run.rules.write_text(result.rules.to_yaml(result.bench), encoding="utf-8")
    state = {result.predictor: {"signature": {"instructions": result.instructions}}}
    run.program.write_text(json.dumps(state), encoding="utf-8")
    return folder


class Reader:
    """A person's browser without scripts, at the page of the run in ``folder``."""

    def __init__(self, folder: Path, server: ReviewServer) -> None:
        self.folder, self.server, self.rules = folder, server, RunFolder(folder).rules
        self.html = ""

    def request(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, HTTPMessage, str]:
        connection = HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.msg, answer.read().decode()
        finally:
            connection.close()

    def load(self) -> str:
        status, _, self.html = self.request("GET", urlsplit(self.server.url).path)
        assert status == 200
        return self.html

    def send(self, **form: str) -> int:
        """Send a form of the page that was loaded last; what the browser then shows is in ``html``."""
        version = re.findall(r'name="version" value="(\w+)"', self.html)[0]
        path = urlsplit(self.server.url).path
        status, headers, self.html = self.request("POST", f"{path}edit", urlencode({"version": version, **form}))
        if status == 303:
            assert headers["Location"].startswith(path)
            self.load()
        return status

    def card(self, rule_id: str) -> str:
        """The HTML of one rule."""
        return self.html.partition(f'id="rule-{rule_id}"')[2].partition('id="rule-')[0]

    @property
    def ids(self) -> list[list[str]]:
        rules, bench = read_edits(self.folder)
        return [[rule.id for rule in rules.rules], [rule.id for rule in bench]]

    @property
    def state(self) -> str:
        found = re.search(r'class="state (\w+)"', self.html)
        return found[1] if found else ""


@pytest.fixture
def reader(finished: Path, tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    flips = {"r1": [Flip(f"Text {EVIL}", LABELS[0], None, LABELS[0])], None: [Flip("far", LABELS[0], LABELS[0], None)]}
    found = {**{f"r{number}": [] for number in range(20)}, **flips}
    with ReviewServer(Review(folder, by="Ada", find_flips=lambda rules: (found, ""))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        page = Reader(folder, server)
        page.load()
        yield page
        server.shutdown()
        thread.join()


def test_only_who_has_the_address_gets_in(reader: Reader) -> None:
    path, port = urlsplit(reader.server.url).path, reader.server.server_port
    before = reader.rules.read_bytes()
    for wrong in ("/", "/x/", f"{path[:-2]}/", path.replace("/", "//", 1)[:2]):
        assert reader.request("GET", wrong)[0] == 403
        assert reader.request("POST", f"{wrong}edit", "rule=r0&do=bench")[0] == 403
    for host in (f"rebound.example:{port}", "127.0.0.1", "127.0.0.1:1"):
        assert reader.request("GET", path, Host=host)[0] == 403
        assert reader.request("POST", f"{path}edit", "rule=r0&do=bench", Host=host)[0] == 403
    assert reader.request("GET", path, Host=f"localhost:{port}")[0] == 200
    assert reader.request("GET", f"{path}../rules.yaml")[0] == 404
    assert reader.rules.read_bytes() == before
    assert reader.server.server_address[0] == "127.0.0.1"


def test_the_page_may_load_nothing_from_elsewhere(reader: Reader) -> None:
    _, headers, page = reader.request("GET", urlsplit(reader.server.url).path)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    nonce = policy["script-src"]
    assert policy == {
        "default-src": "'none'",
        "style-src": nonce,
        "script-src": nonce,
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert page.count(f'nonce="{nonce[7:-1]}"') == 2
    assert nonce not in reader.request("GET", urlsplit(reader.server.url).path)[1]["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert not re.search(r"(?:src|href)=\"(?!#)|https?://|url\(|@import", page)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}


def test_every_text_is_inert(reader: Reader) -> None:
    evil = f'</textarea></script>{EVIL}"><img src=x onerror=alert(1)>'
    assert reader.send(rule="r0", text=evil, reason=evil, comment=evil, do="accept") == 303
    assert reader.send(rule="r0", text=f"{evil} once more") == 303
    assert f"Since 1 &amp; {EVIL.replace('<', '&lt;').replace('>', '&gt;')[:8]}" in reader.html
    for page in (reader.html, reader.load()):
        found = Tags(page)
        assert found.tags.count("script") == 1
        assert not {"img", "b"} & set(found.tags)
        assert not {"onerror", "src", "style"} & found.names
    reader.rules.write_text(f"rules: [{evil}")
    assert Tags(reader.load()).tags.count("script") == 0
    assert not {"img", "b"} & set(Tags(reader.html).tags)


def test_buttons_move_a_rule(reader: Reader) -> None:
    steps = (
        ({"do": "up"}, "r1 r0 r2 r3", "r10 r11 r12"),
        ({"do": "up"}, "r1 r0 r2 r3", "r10 r11 r12"),  # it stands at the top already
        ({"do": "down"}, "r0 r1 r2 r3", "r10 r11 r12"),
        ({"do": "place", "to": "3"}, "r0 r2 r3 r1", "r10 r11 r12"),
        ({"do": "bench"}, "r0 r2 r3", "r1 r10 r11 r12"),
        ({"do": "list", "rule": "r11"}, "r0 r2 r3 r11", "r1 r10 r12"),
        ({"do": "ban", "rule": "r2"}, "r0 r3 r11", "r2 r1 r10 r12"),
        ({"do": "ban", "rule": "r12"}, "r0 r3 r11", "r2 r1 r10 r12"),
    )
    for form, rules, bench in steps:
        assert reader.send(**{"rule": "r1", **form}) == 303
        assert reader.ids == [rules.split(), bench.split()]
        assert re.findall(r'id="rule-(r\d+)"', reader.html) == [*rules.split(), *bench.split()]


def test_texts_and_flags_are_saved_and_seen_after_reload(reader: Reader) -> None:
    first = read_edits(reader.folder)[0].rules[1]
    assert reader.send(rule="r1", text="If A,\r\nanswer B. ", reason="Policy 4", comment="ask\r\nAda", do="pin") == 303
    rule = read_edits(reader.folder)[0].rules[1]
    assert (rule.text, rule.reason, rule.comment, rule.pin) == ("If A,\nanswer B.", "Policy 4", "ask\nAda", True)
    assert rule.wordings[1:] == first.wordings
    assert rule.origins[0] == "people"
    for shown in ("If A,\nanswer B.", "Policy 4", "ask\nAda", "Pinned", "Changed: "):
        assert shown in reader.card("r1")
    # the next text of a person's own replaces this one; the machine's wordings stay
    reader.send(rule="r1", text="If C, answer B.", reason="", comment="")
    rule = read_edits(reader.folder)[0].rules[1]
    assert rule.wordings == ("If C, answer B.", *first.wordings)
    assert (rule.reason, rule.comment, rule.pin) == ("", "", True)
    reader.send(rule="r1", text="If C, answer B.", wording=first.wordings[1])
    assert read_edits(reader.folder)[0].rules[1].text == first.wordings[1]
    reader.send(rule="r1", do="ban")
    assert next((rule.id, rule.ban, rule.pin) for rule in read_edits(reader.folder)[1]) == ("r1", True, False)
    assert "Banned" in reader.card("r1")
    reader.send(rule="r1", do="list")
    assert not read_edits(reader.folder)[0].rules[-1].ban


def test_every_edit_says_in_the_trail_whose_it_is(reader: Reader) -> None:
    reader.send(rule="r0", text="If C, answer A.")
    reader.send(do="undo")
    first, second = read_trail(reader.folder)
    assert (first.what, first.by, first.details) == ("edited", "Ada", {"rule": "r0", "did": "save"})
    assert (second.what, second.details) == ("edited", {"undone": True})


def test_a_form_that_changes_nothing_writes_nothing(reader: Reader) -> None:
    before = reader.rules.stat().st_mtime_ns
    rule = read_edits(reader.folder)[0].rules[0]
    assert reader.send(rule="r0", text=f" {rule.text}\r\n", reason=rule.reason, comment="") == 303
    assert reader.rules.stat().st_mtime_ns == before


def test_a_form_made_from_an_older_file_is_refused(reader: Reader) -> None:
    other_tab = Reader(reader.folder, reader.server)
    other_tab.load()
    assert other_tab.send(rule="r2", comment="from the other tab") == 303
    before = reader.rules.read_bytes()
    assert reader.send(rule="r0", text="My careful text", do="bench") == 409
    assert "changed elsewhere" in reader.html
    assert "My careful text" in reader.html  # to be copied
    assert "from the other tab" in reader.html
    assert reader.rules.read_bytes() == before
    assert reader.send(rule="r0", text="My careful text") == 303  # the page shown was the new one
    assert reader.request("POST", f"{urlsplit(reader.server.url).path}edit", "rule=r0&do=bench")[0] == 409


def test_an_impossible_edit_is_refused(reader: Reader) -> None:
    before = reader.rules.read_bytes()
    for form, says in (
        ({"rule": "r0", "text": " \r\n "}, "The text of rule r0 is empty"),
        ({"rule": "r99"}, "There is no rule &#39;r99&#39;"),
        ({"rule": "r0", "do": "explode"}, "no button &#39;explode&#39;"),
        ({"rule": "r0", "wording": "Nothing like it"}, "has no wording &#39;Nothing like it&#39;"),
        ({"rule": "r0", "do": "place"}, "There is no place &#39;&#39;. Give to as a number from 0 to 3"),
        ({"rule": "r0", "do": "place", "to": "99"}, "There is no place &#39;99&#39;"),
        ({}, "There is no rule None"),
        ({"rule": "r10", "do": "pin"}, "is pinned and stands on the bench"),
    ):
        assert reader.send(**form) == 422
        assert says in reader.html
        assert reader.rules.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("- id: r1\n  text:", "- id: r1\n  txt:", "line {line}: rules 2 (r1) has no text"),
        ("- id: r1\n", "- id: r1\n \tx: [\n", "line {next}, column 2"),
    ],
)
def test_a_file_broken_in_an_editor_is_shown_with_its_line_and_kept(
    reader: Reader, old: str, new: str, says: str
) -> None:
    broken = reader.rules.read_text(encoding="utf-8").replace(old, new)
    line = broken.partition("- id: r1")[0].count("\n") + 1
    version = re.findall(r'name="version" value="(\w+)"', reader.html)[0]
    reader.rules.write_text(broken, encoding="utf-8")
    reader.load()
    assert says.format(line=line, next=line + 1) in reader.html
    assert f"{line:4d}  - id: r1" in reader.html
    assert "<form" not in reader.html
    for held in (version, "x"):
        form = f"version={held}&rule=r0&do=up"
        assert reader.request("POST", f"{urlsplit(reader.server.url).path}edit", form)[0] == 409
    assert reader.rules.read_text(encoding="utf-8") == broken


def test_an_acceptance_is_kept_in_the_trail_and_counts_for_the_very_text(reader: Reader) -> None:
    text = read_edits(reader.folder)[0].rules[0].text
    reader.send(rule="r0", comment="fine", do="accept")
    _, entry = read_trail(reader.folder)  # the comment is an edit
    assert (entry.what, entry.by, entry.details) == ("accepted", "Ada", {"rule": "r0", "text": text})
    assert "Accepted by Ada" in reader.card("r0")
    assert "1 of 4 rules accepted" in reader.html
    reader.send(rule="r0", text="Another text")
    assert "Accepted by" not in reader.card("r0")
    assert "Examples behind this rule, before people reworded it" in reader.card("r0")
    reader.send(rule="r0", wording=text)
    assert "before people reworded it" not in reader.card("r0")
    assert "Accepted by Ada" in reader.card("r0")
    reader.send(rule="r0", do="unaccept")
    assert "Accepted by" not in reader.card("r0")
    (reader.folder / "audit.jsonl").write_text("{}\n")
    assert "audit.jsonl line 1: when" in reader.load()


def test_an_acceptance_leaves_a_signature_valid(reader: Reader) -> None:
    rules, bench = read_edits(reader.folder)
    rules = rules.with_rules([rules.rules[0].model_copy(update={"comment": "A block.\n"}), *rules.rules[1:]])
    reader.rules.write_text(rules.to_yaml(bench), encoding="utf-8")
    PLDResult.load(reader.folder).model_copy(update={"rules": rules}).save(reader.folder)
    sign(reader.folder, by="Ann")
    reader.load()
    reader.send(rule="r0", text=rules.rules[0].text, reason=rules.rules[0].reason, comment="A block.\r\n", do="accept")
    assert "Accepted by Ada" in reader.card("r0")
    assert reader.state == "signed"


def test_edits_of_this_page_can_be_taken_back(reader: Reader) -> None:
    texts = [reader.rules.read_text(encoding="utf-8")]
    for form in ({"comment": "one"}, {"do": "down"}):
        reader.send(rule="r0", **form)
        texts.append(reader.rules.read_text(encoding="utf-8"))
    for text in texts[1::-1]:
        reader.send(do="undo")
        assert reader.rules.read_text(encoding="utf-8") == text
    assert re.search(r'value="undo"[^>]*disabled', reader.html)
    reader.send(rule="r0", comment="one")
    changed = reader.rules.read_text(encoding="utf-8") + "\n"
    reader.rules.write_text(changed, encoding="utf-8")  # in an editor
    reader.load()
    reader.send(do="undo")
    assert reader.rules.read_text(encoding="utf-8") == changed


def test_the_bar_tells_the_state_and_the_page_what_to_do(reader: Reader) -> None:
    assert reader.state == "unchanged"
    assert "pld-dspy recheck" in reader.html
    assert f"sign {reader.folder} --by NAME" in reader.html
    sign(reader.folder, by="Grace")
    reader.load()
    assert reader.state == "signed"
    assert "Signed by Grace" in reader.html
    reader.send(rule="r0", do="down")
    assert reader.state == "void"
    assert "rules.yaml has changed since Grace signed" in reader.html
    RunFolder(reader.folder).signature.unlink()
    reader.load()
    assert reader.state == "edited"
    assert "Edited, not rechecked" in reader.html
    RunFolder(reader.folder).signature.write_text("{")
    assert "signature.json is damaged" in reader.load()


def test_the_page_shows_scores_examples_findings_and_flips(reader: Reader) -> None:
    result = make_result()
    assert result.test is not None
    for comparison in (result.test, result.validation):
        for figure in (comparison.baseline.macro_f1, comparison.compiled.macro_f1, *comparison.compiled.interval):
            assert f"{figure:.3f}" in reader.html
        assert f"{comparison.difference.macro_f1:+.3f}" in reader.html
    assert "label in doubt" in reader.card("r0")
    assert "1 turned right" in re.sub(r"\s+", " ", reader.card("r1"))
    assert "no answer" in reader.card("r1")
    assert "nearness, not" in reader.html
    assert "Near no rule: 0 turned right, 1 turned wrong" in re.sub(r"\s+", " ", reader.html)
    reader.send(rule="r1", text=read_edits(reader.folder)[0].rules[0].text)
    assert "near-duplicate" in reader.html


def test_what_the_page_needs_is_said_when_it_cannot_be_had(finished: Path, reader: Reader) -> None:
    with pytest.raises(DataError, match=r"Port \d+ cannot be used"):
        ReviewServer(reader.server.review, reader.server.server_port)
    page = Review(finished, by="Ada", find_flips=lambda rules: (None, "They are not known: no answers.")).page(nonce="")
    assert "no answers." in page
    reader.rules.unlink()
    status, _, said = reader.request("GET", urlsplit(reader.server.url).path)
    assert status == 500
    assert "Cannot read" in said


def test_flips_are_looked_up_anew_when_a_recheck_has_changed_the_rules(finished: Path, tmp_path: Path) -> None:
    folder, asked = tmp_path / "run", []

    def find(rules: RuleSet) -> tuple[None, str]:
        asked.append(len(rules))
        return None, ""

    shutil.copytree(finished, folder)
    review = Review(folder, by="Ada", find_flips=find)
    review.page(nonce="")
    assert asked == [4]
    result = make_result()
    result.model_copy(update={"rules": result.rules.with_rules(result.rules.rules[:2])}).save(folder)
    review.page(nonce="")
    assert asked == [4, 2]


@needs_chromium
def test_the_script_runs_under_the_policy_of_the_page(reader: Reader, tmp_path: Path) -> None:
    found = load(reader.server.url, tmp_path / "browser", "--enable-logging=stderr")
    assert found.stdout.count('draggable="true"') == 4
    assert "CONSOLE" not in found.stderr  # no error, and nothing that the policy refused
