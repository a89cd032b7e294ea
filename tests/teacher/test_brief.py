"""What every prompt to the teacher begins with."""

from dataclasses import replace

from tasks import INSTRUCTIONS, mail_task

from pld_dspy.task.task import CHARACTERS_PER_TOKEN
from pld_dspy.teacher.brief import INPUT_CHARACTERS, TOKENS, Kind, brief

SIZES = {"spam": 9, "work": 4, "home": 0}


def test_it_holds_the_task_its_labels_their_kinds_and_what_is_confused():
    kinds = {
        "spam": [Kind("If a prize is promised, answer spam.", 6, ({"text": "You won!"}, {"text": "A  prize\nfor you"}))]
    }
    text = brief(mail_task(), INSTRUCTIONS, SIZES, kinds=kinds, confusions={("spam", "work"): 2, ("work", "home"): 5})
    assert text.startswith(INSTRUCTIONS)
    assert "one label. Where several fit, the earlier one decides" in text
    assert '- 6: If a prize is promised, answer spam. | "You won!" | "A prize for you"' in text
    assert text.index("spam (9 examples)") < text.index("- 6:") < text.index("work (4 examples)")
    assert "answers home where work is right, 5 times; work where spam is right, 2 times." in text


def test_of_several_labels_all_count():
    text = brief(replace(mail_task(), several=True), INSTRUCTIONS, SIZES)
    assert "all labels that fit. Where several fit, all of them count" in text
    assert "takes" not in text


def test_however_much_there_is_it_fits_a_context_and_says_what_it_left_out():
    kind = Kind("n" * 900, 3, ({"text": "i" * 900}, {"text": "j" * 900}))
    text = brief(mail_task(), INSTRUCTIONS, SIZES, kinds={label: [kind] * 100 for label in SIZES})
    assert len(text) < 1.2 * TOKENS * CHARACTERS_PER_TOKEN
    shown = text.count("- 3: ")
    assert shown >= 2 * len(SIZES)
    assert text.count(f"- and {100 - shown // len(SIZES)} smaller kinds") == len(SIZES)
    assert "i" * (INPUT_CHARACTERS - 2) not in text


def test_a_long_field_does_not_hide_a_short_one():
    read = {"contract": "A clause. " * 90, "missing": None, "claim": "It may be shared with employees."}
    text = brief(mail_task(), INSTRUCTIONS, SIZES, kinds={"spam": [Kind("A note.", 6, (read,))]})
    [shown] = [line for line in text.splitlines() if line.startswith("- 6:")]
    assert shown.endswith('... claim: It may be shared with employees."')
    assert "missing" not in shown
    assert INPUT_CHARACTERS < len(shown) < INPUT_CHARACTERS + 50
