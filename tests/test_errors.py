"""Settings refuse what they do not know, and say what they do know."""

import pytest
from pydantic import Field

from pld_dspy.errors import DataError, Settings


class Oven(Settings):
    degrees: int = Field(default=200, ge=50)
    fan: bool = False


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"degrees": 20}, r"^Oven.degrees is 20; Input should be greater than or equal to 50\.$"),
        ({"grill": True}, r"^Oven has no setting 'grill'\. It has degrees, fan\.$"),
    ],
)
def test_a_bad_setting_is_named(values, message):
    with pytest.raises(DataError, match=message):
        Oven(**values)


def test_settings_survive_their_dump():
    assert Oven(**Oven(degrees=180).model_dump()) == Oven(degrees=180)
