import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admlops.annotation.sampling import (
    AQLS,
    CODE_LETTERS,
    SAMPLE_SIZES,
    code_letter,
    draw_sample,
    plan_sampling,
    table_aql,
)
from admlops.errors import ConfigError

UP, DOWN = "^", "v"
MASTER_TABLE = {
    # rows of table 2-A as printed, AQL 0.65 to 15: acceptance numbers and arrows
    "A": (DOWN, DOWN, DOWN, DOWN, DOWN, 0, DOWN, DOWN),
    "B": (DOWN, DOWN, DOWN, DOWN, 0, UP, DOWN, 1),
    "C": (DOWN, DOWN, DOWN, 0, UP, DOWN, 1, 2),
    "D": (DOWN, DOWN, 0, UP, DOWN, 1, 2, 3),
    "E": (DOWN, 0, UP, DOWN, 1, 2, 3, 5),
    "F": (0, UP, DOWN, 1, 2, 3, 5, 7),
    "G": (UP, DOWN, 1, 2, 3, 5, 7, 10),
    "H": (DOWN, 1, 2, 3, 5, 7, 10, 14),
    "J": (1, 2, 3, 5, 7, 10, 14, 21),
    "K": (2, 3, 5, 7, 10, 14, 21, UP),
    "L": (3, 5, 7, 10, 14, 21, UP, UP),
    "M": (5, 7, 10, 14, 21, UP, UP, UP),
    "N": (7, 10, 14, 21, UP, UP, UP, UP),
    "P": (10, 14, 21, UP, UP, UP, UP, UP),
    "Q": (14, 21, UP, UP, UP, UP, UP, UP),
    "R": (21, UP, UP, UP, UP, UP, UP, UP),
}
LOTS_OF_LETTER = dict(
    zip(
        "ABCDEFGHJKLMNPQ",
        (2, 9, 16, 26, 51, 91, 151, 281, 501, 1201, 3201, 10_001, 35_001, 150_001, 500_001),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("lot", "letters"),
    [
        (2, "AAB"),
        (8, "AAB"),
        (9, "ABC"),
        (25, "BCD"),
        (26, "CDE"),
        (90, "CEF"),
        (91, "DFG"),
        (280, "EGH"),
        (500, "FHJ"),
        (501, "GJK"),
        (1200, "GJK"),
        (3200, "HKL"),
        (10_000, "JLM"),
        (35_000, "KMN"),
        (150_000, "LNP"),
        (500_000, "MPQ"),
        (500_001, "NQR"),
    ],
)
def test_code_letters_are_those_of_table_1(lot, letters):
    assert "".join(code_letter(lot, level) for level in ("I", "II", "III")) == letters


def follow(letter, column):
    row = CODE_LETTERS.index(letter)
    while not isinstance(entry := MASTER_TABLE[CODE_LETTERS[row]][column], int):
        row += 1 if entry == DOWN else -1
    return CODE_LETTERS[row], entry


@pytest.mark.parametrize("letter", LOTS_OF_LETTER)
@pytest.mark.parametrize("column", range(8))
def test_plans_are_those_of_table_2a(letter, column):
    lot = LOTS_OF_LETTER[letter]
    aql = (0.65, 1.0, 1.5, 2.5, 4.0, 6.5, 10.0, 15.0)[column]
    plan = plan_sampling(lot, aql)
    expected_letter, number = follow(letter, column)
    assert (plan.code_letter, plan.acceptance_number) == (expected_letter, number)
    assert plan.sample_size == min(lot, SAMPLE_SIZES[CODE_LETTERS.index(expected_letter)])


@pytest.mark.parametrize(
    ("lot", "aql", "letter", "size", "number"),
    [
        (1000, 1.0, "J", 80, 2),  # the textbook plan: n = 80, Ac 2, Re 3
        (600_000, 0.010, "Q", 1250, 0),
        (600_000, 0.040, "Q", 1250, 1),
        (20, 650.0, "C", 5, 44),
        (5, 1000.0, "A", 2, 30),
        (100, 100.0, "E", 13, 21),  # up from F: 30 is only for E and smaller
        (400, 0.010, "Q", 400, 0),  # as much as the lot: all of it
    ],
)
def test_published_plans(lot, aql, letter, size, number):
    plan = plan_sampling(lot, aql)
    assert (plan.code_letter, plan.sample_size, plan.acceptance_number) == (letter, size, number)
    assert plan.accepts(number)
    assert not plan.accepts(number + 1)


@given(st.integers(1, 10**7), st.sampled_from(AQLS), st.sampled_from(["I", "II", "III"]))
def test_every_lot_has_a_plan(lot, aql, level):
    plan = plan_sampling(lot, aql, level)
    assert 1 <= plan.sample_size <= lot


def test_between_two_limits_the_stricter_is_taken():
    assert table_aql(2.0) == 1.5
    assert table_aql(0.1) == 0.10
    with pytest.raises(ConfigError, match="least"):
        table_aql(0.001)
    with pytest.raises(ConfigError, match="at least one"):
        plan_sampling(0, 1.0)


def test_samples_are_drawn_without_replacement_and_repeatably():
    plan = plan_sampling(1000, 1.0)
    drawn = draw_sample(plan, seed=7)
    assert len(np.unique(drawn)) == 80
    assert (drawn == draw_sample(plan, seed=7)).all()
    assert not (drawn == draw_sample(plan, seed=8)).all()
    assert drawn.max() < 1000
