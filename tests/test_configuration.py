"""Configurations are strict: what is wrong is one error that names the field, and JSON gives back the same instance."""

import json
import math
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.configuration import Configuration, setting
from curriculum_zoo.errors import CurriculumError, CurriculumZooError, RecipeError


@dataclass(frozen=True, kw_only=True)
class Engine(Configuration):
    power: float = setting(1.0, above=0, below=1000)
    valves: int = setting(8, low=2, high=48)

    def check(self) -> None:
        if self.valves % 2:
            self.fail("valves", f"must be even, got {self.valves}")


@dataclass(frozen=True, kw_only=True)
class Wheel(Configuration):
    _error = CurriculumError
    size: int = 16


@dataclass(frozen=True, kw_only=True)
class Car(Configuration):
    name: str
    seats: int = setting(4, low=1, high=9)
    weight: float = setting(1.2, low=0)
    electric: bool = False
    colour: Literal["red", "blue", 3] = "red"
    owner: str | None = None
    size: int | float | None = None
    gears: tuple[float, ...] = setting((1.0, 2.0), above=0)
    engine: Engine = Engine()
    spare: Wheel | None = None
    doors: tuple[int, bool] = (4, False)
    prices: dict[str, float] = setting(factory=dict)
    extras: dict[str, Any] = setting(factory=dict)


def refusal(**values: Any) -> str:
    """What a car with these values is refused with, by JSON and by Python alike."""
    values = {"name": "T", **values}
    with pytest.raises(RecipeError) as by_dict:
        Car.from_dict(values)
    with pytest.raises(RecipeError) as by_call:
        Car(**values)
    assert str(by_dict.value) == str(by_call.value)
    return str(by_dict.value)


# Fields


def test_an_unknown_field_is_named_with_the_closest_there_is():
    with pytest.raises(RecipeError, match=r"^Car: wieght is no field of it; did you mean 'weight'\?$"):
        Car.from_dict({"name": "T", "wieght": 1})
    with pytest.raises(RecipeError, match=r"^Engine: 7 is no field of it; its fields are power, valves$"):
        Engine.from_dict({7: 1})


def test_an_unknown_keyword_in_python_is_pythons_own_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'wieght'"):
        Car(name="T", wieght=1)


def test_a_missing_field_without_default_is_named():
    with pytest.raises(RecipeError, match="Car: name is missing; it has no default"):
        Car.from_dict({"seats": 2})


def test_what_is_no_object_of_fields_is_refused():
    with pytest.raises(RecipeError, match=r"Car: expected an object of fields, got \['name'\]"):
        Car.from_dict(["name"])


# Types


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("name", 3, "a string"),
        ("name", None, "a string"),
        ("seats", True, "an integer"),
        ("seats", "4", "an integer"),
        ("seats", 4.0, "an integer"),
        ("seats", None, "an integer"),
        ("weight", "1.2", "a number"),
        ("weight", False, "a number"),
        ("weight", 10**400, "a number"),
        ("electric", 1, "true or false"),
        ("electric", "true", "true or false"),
        ("colour", "green", "one of 'red', 'blue', 3"),
        ("colour", 3.0, "one of 'red', 'blue', 3"),
        ("owner", 5, "a string or null"),
        ("size", "big", "an integer or a number or null"),
        ("size", True, "an integer or a number or null"),
        ("gears", 1.0, "a list, each item a number"),
        ("gears", [1.0, "2"], "a list, each item a number"),
        ("gears", "12", "a list, each item a number"),
        ("doors", [4], "a list of 2: an integer, true or false"),
        ("doors", [4, 1], "a list of 2: an integer, true or false"),
        ("engine", 3, "an object"),
        ("engine", Wheel(), "an object"),
        ("spare", "wheel", "an object or null"),
        ("prices", {"net": "12"}, "an object"),
        ("prices", {1: 12.0}, "an object"),
        ("extras", [1], "an object"),
        ("extras", {"radio": {"fm", "am"}}, "an object"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_what_is_expected(field, value, expected):
    assert refusal(**{field: value}) == f"Car: {field} expects {expected}, got {value!r}"


def test_an_integer_stands_for_a_number_and_a_list_for_a_tuple():
    car = Car(name="T", weight=2, gears=[1, 2], doors=[2, True], prices={"net": 12})
    assert isinstance(car.weight, float)
    assert car.gears == (1.0, 2.0)
    assert all(isinstance(gear, float) for gear in car.gears)
    assert car.doors == (2, True)
    assert isinstance(car.prices["net"], float)


@dataclass(frozen=True, kw_only=True)
class EitherWay(Configuration):
    pixels_or_share: float | int = 1


def test_where_integer_and_number_mean_different_things_each_stays_what_it_is():
    for value in (1, 1.0):
        assert type(Car(name="T", size=value).size) is type(value)
        assert type(EitherWay(pixels_or_share=value).pixels_or_share) is type(value)


@dataclass(frozen=True, kw_only=True)
class Unchecked(Configuration):
    items: list[int] = setting(factory=list)


def test_an_annotation_that_cannot_be_checked_is_refused_rather_than_passed_over():
    with pytest.raises(TypeError, match=r"cannot check the annotation list\[int\]"):
        Unchecked()


# Ranges


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("seats", 0, "must be at least 1, got 0"),
        ("seats", 10, "must be at most 9, got 10"),
        ("seats", 10**400, f"must be at most 9, got {10**400}"),
        ("weight", -0.5, "must be at least 0, got -0.5"),
        ("weight", -1e-300, "must be at least 0, got -1e-300"),
        ("weight", math.inf, "must be finite, got inf"),
        ("weight", math.nan, "must be finite, got nan"),
        ("size", math.nan, "must be finite, got nan"),
        ("gears", (1.0, 0), "must be above 0, got 0.0"),
        ("gears", (1.0, -math.inf), "must be finite, got -inf"),
        ("prices", {"net": math.nan}, "must be finite, got nan"),
        ("extras", {"deep": [{"er": math.inf}]}, "must be finite, got inf"),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_bound(field, value, problem):
    assert refusal(**{field: value}) == f"Car: {field} {problem}"


@given(st.floats() | st.integers())
def test_bounds_let_through_exactly_what_lies_between_them(value):
    if 0 < value < 1000:
        assert Engine(power=value).power == value
    else:
        with pytest.raises(RecipeError, match="Engine: power "):
            Engine(power=value)


def test_bounds_that_belong_to_the_range_are_allowed():
    assert [Engine(valves=valves).valves for valves in (2, 48)] == [2, 48]


# Nesting


@pytest.mark.parametrize(
    ("engine", "problem"),
    [
        ({"power": "x"}, "Car: engine.power expects a number, got 'x'"),
        ({"power": 0}, "Car: engine.power must be above 0, got 0.0"),
        ({"valves": 3}, "Car: engine.valves must be even, got 3"),
        ({"powr": 1}, "Car: engine.powr is no field of it; did you mean 'power'?"),
    ],
)
def test_a_nested_field_is_named_by_its_path(engine, problem):
    assert refusal(engine=engine) == problem


@dataclass(frozen=True, kw_only=True)
class Garage(Configuration):
    _error = CurriculumError
    car: Car


def test_the_path_goes_all_the_way_down_and_the_error_is_the_outermost_ones():
    with pytest.raises(CurriculumError) as caught:
        Garage.from_dict({"car": {"name": "T", "engine": {"valves": None}}})
    assert str(caught.value) == "Garage: car.engine.valves expects an integer, got None"
    with pytest.raises(CurriculumError, match=r"^Garage: car\.name is missing; it has no default$"):
        Garage.from_dict({"car": {}})
    assert refusal(spare={"size": "x"}) == "Car: spare.size expects an integer, got 'x'"


def test_nested_fields_may_be_given_as_objects_or_as_instances():
    car = Car(name="T", engine={"power": 2}, spare={"size": 15})
    assert car == Car(name="T", engine=Engine(power=2.0), spare=Wheel(size=15))


# What an instance is


def test_an_instance_cannot_be_changed_and_a_changed_copy_is_checked_again():
    car = Car(name="T")
    with pytest.raises(FrozenInstanceError):
        car.seats = 5
    assert replace(car, seats=5).seats == 5
    with pytest.raises(RecipeError, match="seats must be at most 9"):
        replace(car, seats=50)


def test_what_the_caller_keeps_of_an_object_field_is_not_shared():
    extras = {"radio": [1, 2]}
    car = Car(name="T", extras=extras)
    extras["radio"].append(3)
    extras["phone"] = 1
    assert car.extras == {"radio": [1, 2]}


def test_errors_are_of_the_classes_own_kind():
    assert issubclass(RecipeError, CurriculumZooError)
    with pytest.raises(CurriculumError, match="Wheel: size"):
        Wheel(size="x")


# JSON

finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)  # what a configuration takes
scalars = st.none() | st.booleans() | integers | finite | st.text()
objects = st.dictionaries(
    st.text(), st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
cars = st.builds(
    Car,
    name=st.text(),
    seats=st.integers(1, 9),
    weight=st.floats(0, allow_infinity=False),
    electric=st.booleans(),
    colour=st.sampled_from(["red", "blue", 3]),
    owner=st.none() | st.text(),
    size=st.none() | integers | finite,
    gears=st.lists(st.floats(0, exclude_min=True, allow_infinity=False)),
    engine=st.builds(
        Engine,
        power=st.floats(0, 1000, exclude_min=True, exclude_max=True),
        valves=st.integers(1, 24).map(lambda half: 2 * half),
    ),
    spare=st.none() | st.builds(Wheel, size=integers),
    doors=st.tuples(integers, st.booleans()),
    prices=st.dictionaries(st.text(), finite),
    extras=objects,
)


@given(cars)
def test_json_gives_the_same_instance_back(car: Car):
    text = json.dumps(car.to_dict(), allow_nan=False)
    again = Car.from_dict(json.loads(text))
    assert again == car
    assert json.dumps(again.to_dict(), allow_nan=False) == text
    assert type(again.size) is type(car.size)


def taken(values: dict[str, Any]) -> dict[str, Any] | str:
    """The fields of a car made of these values, or the text of its refusal."""
    try:
        return Car.from_dict({"name": "T", **values}).to_dict()
    except RecipeError as refused:
        return str(refused)


@given(objects.filter(lambda values: values and not values.keys() & Car.__dataclass_fields__))
def test_whatever_has_no_field_is_refused_by_its_name(values: dict[str, Any]):
    assert taken(values).startswith(f"Car: {next(iter(values))} is no field of it; ")


@given(st.sampled_from(sorted(Car.__dataclass_fields__)), scalars | st.lists(scalars) | objects)
def test_any_value_in_any_field_is_kept_or_refused_by_that_fields_name(field: str, value: Any):
    answer = taken({field: value})
    if isinstance(answer, str):
        assert answer.startswith((f"Car: {field} ", f"Car: {field}."))
    else:
        assert answer[field] == value or (field in ("engine", "spare") and value == {})
