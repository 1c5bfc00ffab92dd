from pathlib import Path
from typing import Self

import pytest
from pydantic import Field, model_validator

from admlops.config import Config
from admlops.errors import ConfigError, DataError


class Engine(Config):
    num_cylinders: int = Field(default=4, ge=1)
    """How many cylinders."""


class Car(Config):
    name: str
    engine: Engine = Engine()


def test_float_from_kfp_becomes_an_integer() -> None:
    assert Car.parse({"name": "a", "engine": {"num_cylinders": 6.0}}).engine.num_cylinders == 6


def test_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"here: Car has 1 wrong.*\n.*colour.*name, engine"):
        Car.parse({"name": "a", "colour": "red"}, where="here")


def test_wrong_value_names_the_path_and_the_bound() -> None:
    with pytest.raises(ConfigError, match=r"engine\.num_cylinders.*greater than or equal to 1.*0"):
        Car.parse({"name": "a", "engine": {"num_cylinders": 0}})


class Race(Config):
    cars: tuple[Car, ...] = ()
    password: str = ""

    @model_validator(mode="after")
    def _somebody_drives(self) -> Self:
        if not self.cars:
            raise ValueError("cars: none are named")
        return self


def test_what_is_wrong_with_the_whole_is_said_without_showing_the_whole() -> None:
    with pytest.raises(ConfigError) as raised:
        Race.parse({"password": "x"}, where="race.yaml")
    assert str(raised.value).splitlines() == [
        "race.yaml: Race has 1 wrong field(s)",
        "  (whole): cars: none are named",
    ]


def test_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match="name: Field required"):
        Car.parse({})


def test_yaml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "car.yaml"
    path.write_text("name: b\nengine: {num_cylinders: 8}\n")
    car = Car.load(path)
    assert Car.parse(car.to_json_dict()) == car
    assert car.replace(name="c").engine.num_cylinders == 8


@pytest.mark.parametrize(
    ("text", "reason"), [("- a\n", "mapping"), ("a: [", "not valid YAML"), (None, "cannot be read")]
)
def test_bad_file_is_named(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "car.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=rf"car\.yaml.*{reason}"):
        Car.load(path)


@pytest.mark.parametrize(
    "content", [b"name: \xff", b"name: 2026-13-45", b"[" * 5000, b"name: \x00"]
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "car.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"car\.yaml.*not valid YAML"):
        Car.load(path)


def test_field_text_is_help() -> None:
    assert Engine.model_fields["num_cylinders"].description == "How many cylinders."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"name": ', r"car\.json: not a car's record: Expecting value"),
        ('{"colour": "red"}', r"(?s)not a car's record: Car has .*colour"),
        ("[" * 100_000, r"not a car's record: maximum recursion"),
        (None, r"car\.json: car's record cannot be read \(No such file"),
    ],
)
def test_damaged_records_are_data_errors(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "car.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        Car.read_record(path, "car's record")


def test_a_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "car.json"
    path.write_text('{"name": "a"}')
    assert Car.read_record(path, "car's record") == Car(name="a")
