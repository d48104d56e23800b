"""Expressions of curricula, in strings and in Python, and what cannot be combined."""

import contextlib
import dataclasses
import json
import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.curricula import (
    HRT,
    TRD,
    Baseline,
    Curriculum,
    FollowOn,
    Frozen,
    LowFrequency,
    Overlay,
    ProgressiveResizing,
    ProgressiveSharpening,
    Stage,
    create_curriculum,
    curriculum_from_dict,
)
from curriculum_zoo.curricula.curriculum import _MADE_BY, divide
from curriculum_zoo.errors import CurriculumError, PluginError, UnknownNameError
from curriculum_zoo.registry import CURRICULA
from curriculum_zoo.views import BoxBlur, Chain, LowFrequencyCrop, Resize, SobelEdges, identity


def stages(curriculum: Curriculum) -> list[Stage]:
    return [curriculum.stage(epoch) for epoch in range(curriculum.epochs)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Always(Curriculum):
    """The same stage in every epoch."""

    what: Stage = Stage(name="full")

    def _stage(self, epoch: int) -> Stage:
        return self.what


def always(**what: object) -> Always:
    curriculum = Always(epochs=2)
    object.__setattr__(curriculum, "what", Stage(**{"name": "full", **what}))
    return curriculum


# Strings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trd", TRD(epochs=10, seed=4)),
        (" trd ( ) ", TRD(epochs=10, seed=4)),
        ("curriculum-zoo/trd", TRD(epochs=10, seed=4)),
        ("trd(resolution=16,participation=0.5)", TRD(epochs=10, seed=4, resolution=16)),
        ("trd(resolution=.25, variant=regular)", TRD(epochs=10, seed=4, resolution=0.25, variant="regular")),
        ("trd(variant='three', drops=(3, 6,))", TRD(epochs=10, seed=4, variant="three", drops=(3, 6))),
        ('trd(variant="batch", drops=[])', TRD(epochs=10, seed=4, variant="batch", drops=())),
        ("trd(scale_batch=true, resolution=none)", TRD(epochs=10, seed=4, scale_batch=True)),
        ("trd(scale_batch=True, resolution=None)", TRD(epochs=10, seed=4, scale_batch=True)),
        ("trd(participation=1e-1)", TRD(epochs=10, seed=4, participation=0.1)),
        ("trd(seed=7)", TRD(epochs=10, seed=7)),
        ("trd(seed=-7)", TRD(epochs=10, seed=-7)),
        ("hrt(freeze=('a.*','b'),edges=canny)", HRT(epochs=10, seed=4, freeze=("a.*", "b"), edges="canny")),
        ("progressive_sharpening(kernels=(3,1))", ProgressiveSharpening(epochs=10, seed=4, kernels=(3, 1))),
    ],
)  # fmt: skip
def test_names_with_parameters_are_read(text, expected):
    assert create_curriculum(text, epochs=10, seed=4) == expected


def test_keywords_and_parentheses_add_up_and_must_not_overlap():
    got = create_curriculum("trd(resolution=16)", epochs=10, participation=0.3)
    assert got == TRD(epochs=10, resolution=16, participation=0.3)
    with pytest.raises(CurriculumError, match="resolution is given in the string and as a keyword"):
        create_curriculum("trd(resolution=16)", epochs=10, resolution=8)
    with pytest.raises(CurriculumError, match="give each its parameters in parentheses"):
        create_curriculum("trd+hrt", epochs=10, resolution=8)


def test_plus_binds_closer_than_follows_and_parentheses_group():
    a, b, c = "trd", "progressive_sharpening", "baseline"
    tight = create_curriculum(f"{a}+{b}>{c}", epochs=20)
    assert isinstance(tight, FollowOn)
    assert [type(part) for part in tight.parts] == [Overlay, Baseline]
    assert tight == create_curriculum(f"({a}+{b})>{c}", epochs=20)
    loose = create_curriculum(f"{a}+({b}>{c})", epochs=20)
    assert isinstance(loose, Overlay)
    assert [type(part) for part in loose.parts] == [TRD, FollowOn]
    assert create_curriculum("((trd))", epochs=3) == TRD(epochs=3)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("hrt>trd", [10, 10]),
        ("hrt:0.4>trd", [8, 12]),
        ("hrt:0.4>trd:0.6", [8, 12]),
        ("hrt:0.5>trd>baseline", [10, 5, 5]),
        ("hrt+trd:0.3>baseline", [6, 14]),
        ("(hrt:0.5>trd):0.6>baseline", [6, 6, 8]),
    ],
)
def test_shares_divide_the_epochs(text, lengths):
    curriculum = create_curriculum(text, epochs=20)
    assert [part.epochs for part in curriculum.parts] == lengths
    assert curriculum.epochs == 20
    assert len(stages(curriculum)) == 20


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", 0, "expected the name"),
        ("hrt:0.4>>trd", 8, "expected the name"),
        ("hrt+", 4, "expected the name"),
        ("(hrt", 4, r"expected '\)' before the end"),
        ("hrt)", 3, r"expected '\+', '>' or the end"),
        ("hrt trd", 4, r"expected '\+', '>' or the end, not 'trd'"),
        ("tr$d", 2, "this character has no meaning"),
        ("trd(resolution=)", 15, "expected a value"),
        ("trd(resolution)", 14, r"expected '=', not '\)'"),
        ("trd(resolution=3 participation=2)", 17, "expected ','"),
        ("trd(5)", 4, "expected a parameter of trd"),
        ("trd(", 4, "expected a parameter of trd"),
        ("trd(drops=(1,2)", 15, "expected ',' before the end"),
        ("trd(resolution=1,resolution=2)", 17, "given twice"),
        ("trd(epochs=3)", 4, "epochs are the training's"),
        ("trd(variant='three)", 12, "no meaning"),
        ("trd(resolution=16px)", 15, "no meaning"),
        ("hrt:0.4", 0, "only where another curriculum follows"),
        ("hrt:>trd", 4, "lies between 0 and 1"),
        ("hrt:1.5>trd", 4, "lies between 0 and 1"),
        ("hrt:0.4>trd:0.4", 0, "add up to 0.8"),
        ("hrt:0.6>trd:0.4>baseline", 0, "leave 0 for 1 more"),
    ],
)
def test_an_error_points_at_the_character(text, position, problem):
    with pytest.raises(CurriculumError, match=problem) as caught:
        create_curriculum(text, epochs=20)
    _, shown, caret = str(caught.value).split("\n")
    assert shown == f"  {text}"
    assert caret == "  " + " " * position + "^"


@given(st.text("hrtd+>:()0.4,= '[]", max_size=14))
def test_any_string_is_read_or_refused_in_words(text):
    with contextlib.suppress(CurriculumError, UnknownNameError):
        assert isinstance(create_curriculum(text, epochs=9), Curriculum)


def test_unknown_names_and_parameters_offer_the_closest():
    with pytest.raises(UnknownNameError, match=r"'progressive_sharpenin'.*Did you mean 'progressive_sharpening'"):
        create_curriculum("progressive_sharpenin", epochs=9)
    with pytest.raises(CurriculumError, match=r"trd has no parameter 'resolutions'. Did you mean 'resolution'"):
        create_curriculum("trd", epochs=9, resolutions=3)
    with pytest.raises(CurriculumError, match="takes a name"):
        create_curriculum(None, epochs=9)


def test_a_part_that_gets_too_few_epochs_says_how_many_it_needs():
    with pytest.raises(CurriculumError, match=r"hrt: epochs must be at least 5.*got 4"):
        create_curriculum("hrt:0.2>trd", epochs=20)
    with pytest.raises(CurriculumError, match="2 epochs are too few"):
        create_curriculum("baseline>trd>baseline", epochs=2)


@given(st.integers(1, 300), st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_divided_epochs_add_up_and_miss_no_share_by_more_than_one(epochs, weights):
    shares = tuple(weight / sum(weights) for weight in weights)
    try:
        parts = divide(epochs, shares)
    except CurriculumError:
        assert min(shares) * epochs < 1.5
        return
    assert sum(parts) == epochs
    assert all(abs(part - share * epochs) <= 1 for part, share in zip(parts, shares, strict=True))


def test_curricula_are_imported_and_created_without_timm(python):
    loaded = python(
        """
        import json, sys
        from curriculum_zoo import create_curriculum, list_curricula

        for name in list_curricula():
            create_curriculum(name, epochs=20).timeline(32)
        print(json.dumps([module for module in ("timm", "torchvision", "albumentations") if module in sys.modules]))
        """
    )
    assert loaded == []


# Plugins ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def registered():
    known = dict(CURRICULA._session)
    yield CURRICULA.register
    CURRICULA._session.clear()
    CURRICULA._session.update(known)


def test_a_curriculum_of_ones_own_composes_and_survives_json(registered):
    @registered(name="blink")
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Blinking(Curriculum):
        every: int = 2

        def _stage(self, epoch: int) -> Stage:
            return Stage(name="blur", view=BoxBlur(3)) if epoch % self.every else Stage(name="full")

    curriculum = create_curriculum("blink(every=3)+trd", epochs=6)
    assert curriculum.parts[0] == Blinking(epochs=6, every=3)
    described = json.loads(json.dumps(curriculum.to_dict()))
    assert described["parts"][0]["name"] == "blink"
    assert curriculum_from_dict(described) == curriculum
    with pytest.raises(CurriculumError, match=r"blink has no parameter 'evry'. Did you mean 'every'"):
        create_curriculum("blink(evry=3)", epochs=6)


def test_a_function_may_make_curricula_and_its_wrong_result_is_a_plugin_error(registered):
    @registered
    def halves(epochs: int, seed: int, share: float) -> Curriculum:
        return TRD(epochs=epochs, seed=seed, participation=share)

    @registered
    def nothing(epochs: int, seed: int = 0) -> str:
        return "nothing"

    @registered
    def broken(epochs: int, seed: int = 0) -> Curriculum:
        raise KeyError("lost")

    @registered
    class NoCurriculum:
        pass

    assert create_curriculum("halves(share=0.2)", epochs=4) == TRD(epochs=4, participation=0.2)
    with pytest.raises(CurriculumError, match="halves needs share"):
        create_curriculum("halves", epochs=4)
    with pytest.raises(PluginError, match=r"'nothing'.*returned a str"):
        create_curriculum("nothing", epochs=4)
    with pytest.raises(PluginError, match=r"'broken'.*fails: KeyError: 'lost'"):
        create_curriculum("broken", epochs=4)
    with pytest.raises(PluginError, match="no curriculum_zoo"):
        create_curriculum("NoCurriculum", epochs=4)
    with pytest.raises(CurriculumError, match="made by a function"):
        curriculum_from_dict({"name": "halves", "epochs": 4})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blinks(Curriculum):
    """Registered by no name of its own: functions make it."""

    every: int = 2

    def _stage(self, epoch: int) -> Stage:
        return Stage(name="blur", view=BoxBlur(3)) if epoch % self.every else Stage(name="full")


def blinking(epochs: int, seed: int = 0, every: int = 3) -> Curriculum:
    return Blinks(epochs=epochs, seed=seed, every=every)


@pytest.mark.parametrize("text", ["blinking", "blinking(every=4)", "blinking + trd", "blinking:0.5 > trd"])
@pytest.mark.parametrize("target", [blinking, Blinks])
def test_what_a_registered_function_makes_survives_json_in_this_process_and_in_another(registered, text, target):
    # As an entry point that names a function, or a class that was defined elsewhere than it names.
    registered(target, name="blinking")
    CURRICULA._session["blinking"] = dataclasses.replace(CURRICULA._session["blinking"], target="elsewhere:blinking")
    curriculum = create_curriculum(text, epochs=8)
    described = json.loads(json.dumps(curriculum.to_dict()))
    assert "blinking" in json.dumps(described)
    assert curriculum_from_dict(described) == curriculum
    _MADE_BY.clear()
    again = curriculum_from_dict(described)
    assert again == curriculum
    assert again.to_dict() == described
    _MADE_BY.clear()


# Overlays ---------------------------------------------------------------------------------------------------------


def test_the_smaller_resolution_holds_and_other_views_follow_it_in_order():
    combined = always(view=BoxBlur(3)) + always(view=Resize(0.5), image_size=0.5)
    stage = (combined + always(view=SobelEdges()) + always(view=Resize(0.25), image_size=0.25)).stage(0)
    assert stage.view == Chain((Resize(0.25), BoxBlur(3), SobelEdges()))
    assert stage.image_size == 0.25
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(stage.view(images), SobelEdges()(BoxBlur(3)(Resize(0.25)(images))))
    reverse = (always(view=SobelEdges()) + always(view=BoxBlur(3))).stage(0)
    assert reverse.view == Chain((SobelEdges(), BoxBlur(3)))


def test_a_low_pass_crop_and_a_resize_leave_one_of_them():
    low = always(view=LowFrequencyCrop(0.5), image_size=0.5)
    small = always(view=Resize(0.25, "bilinear", 4), image_size=0.25, size_multiple=4)
    stage = (low + small).stage(0)
    assert (stage.view, stage.image_size, stage.size_multiple) == (Resize(0.25, "bilinear", 4), 0.25, 4)
    full = (low + always()).stage(0)
    assert (full.view, full.image_size) == (LowFrequencyCrop(0.5), 0.5)
    assert (always() + always()).stage(0) == Stage(name="full")


def test_pixels_and_pixels_compare_and_pixels_and_shares_do_not():
    assert (always(view=Resize(16), image_size=16) + always(view=Resize(24), image_size=24)).stage(0).view == Resize(16)
    with pytest.raises(CurriculumError, match=r"\(16 and 0\.5\).*both as shares"):
        TRD(epochs=40, resolution=16) + ProgressiveResizing(epochs=40)


def test_frozen_sets_unite_and_the_rest_follows_its_rules():
    one = always(frozen=(Frozen(("a",)),), fresh_optimizer=True, levels=3, augment_strength=2.0)
    two = always(frozen=(Frozen(("a",)), Frozen(("b",))), levels=2, level_weights=(1.0, 2.0), scale_batch=True)
    stage = (one + two + always(augment_strength=5.0, name="x") + always(name="y")).stage(0)
    assert stage == Stage(
        name="x + y",
        frozen=(Frozen(("a",)), Frozen(("b",))),
        fresh_optimizer=True,
        levels=2,
        level_weights=(1.0, 2.0),
        augment_strength=5.0,
        scale_batch=True,
    )


def test_what_cannot_be_overlaid_says_why():
    with pytest.raises(CurriculumError, match=r"weigh the losses.*\(1\.0, 2\.0\) and \(2\.0, 1\.0\)"):
        always(level_weights=(1.0, 2.0)) + always(level_weights=(2.0, 1.0))
    with pytest.raises(CurriculumError, match="lowers the resolution in a way of its own"):
        always(view=lambda images: images[..., ::2, ::2], image_size=0.5) + always(view=Resize(0.25), image_size=0.25)
    with pytest.raises(CurriculumError, match="must plan equal epochs: trd plans 4, not 5"):
        Baseline(epochs=5) + TRD(epochs=4)
    with pytest.raises(TypeError):
        Baseline(epochs=5) + 3


def test_an_opaque_view_that_goes_lower_itself_is_kept():
    def crop(images: torch.Tensor) -> torch.Tensor:
        return images[..., :4, :4]

    stage = (always(view=crop, image_size=4) + always(view=Resize(8), image_size=8)).stage(0)
    assert (stage.view, stage.image_size) == (crop, 4)


def test_trd_over_sharpening_is_both():
    combined = create_curriculum("trd+progressive_sharpening", epochs=10, seed=2)
    trd, sharpening = TRD(epochs=10, seed=2), ProgressiveSharpening(epochs=10, seed=2)
    images = torch.rand(2, 3, 32, 32)
    for epoch, stage in enumerate(stages(combined)):
        assert stage.image_size == trd.stage(epoch).image_size
        alone = sharpening.stage(epoch).view(trd.stage(epoch).view(images))
        torch.testing.assert_close(stage.view(images), alone)
    assert combined.relative_cost(32) == trd.relative_cost(32)
    assert combined == trd + sharpening


# Following on -----------------------------------------------------------------------------------------------------


def test_each_part_plans_its_epochs_as_a_training_of_its_own():
    curriculum = create_curriculum("hrt:0.5>progressive_sharpening", epochs=20)
    assert stages(curriculum) == stages(HRT(epochs=10)) + stages(ProgressiveSharpening(epochs=10))
    cost = create_curriculum("baseline>trd(participation=1.0)", epochs=8).relative_cost(32)
    assert cost == (1 + 0.25) / 2


def test_in_python_epochs_add_up_and_shares_plan_anew():
    a, b, c = HRT(epochs=6), TRD(epochs=4), Baseline(epochs=2)
    assert a.then(b).epochs == 10
    assert a.then(b).then(c).parts == (a, b, c) == a.then(b.then(c)).parts
    shared = HRT(epochs=20).then(TRD(epochs=20), share=0.4)
    assert shared == create_curriculum("hrt:0.4>trd", epochs=20)
    with pytest.raises(CurriculumError, match="the same epochs"):
        a.then(b, share=0.5)
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(CurriculumError, match="between 0 and 1"):
            a.then(a, share=share)


@pytest.mark.parametrize("compare", [operator.lt, operator.gt, operator.le, operator.ge])
def test_curricula_have_no_order_in_python(compare):
    # Python reads a < b as b > a, and a > b > c as a > b and b > c: neither could mean one after the other.
    with pytest.raises(TypeError, match="not supported"):
        compare(Baseline(epochs=1), Baseline(epochs=2))
    with pytest.raises(TypeError, match="not supported"):
        compare(Baseline(epochs=1).then(Baseline(epochs=2)), 3)


def test_every_curriculum_counts_as_true():
    assert Baseline(epochs=1)
    assert Baseline(epochs=1).then(Baseline(epochs=2))
    assert Baseline(epochs=2) + Baseline(epochs=2)


def test_comparing_and_hashing_curricula_is_left_alone():
    assert TRD(epochs=5) == TRD(epochs=5)
    assert TRD(epochs=5) != TRD(epochs=6)
    assert len({TRD(epochs=5), TRD(epochs=5), HRT(epochs=5)}) == 2
    combined = TRD(epochs=5) + HRT(epochs=5)
    assert hash(combined) == hash(TRD(epochs=5) + HRT(epochs=5))
    assert combined != HRT(epochs=5) + TRD(epochs=5)


def test_learning_rate_drops_reach_the_parts_in_their_own_count():
    told = create_curriculum("baseline:0.5>trd+hrt", epochs=20).with_learning_rate_drops((9, 14))
    trd = told.parts[1].parts[0]
    assert trd.drops == (-1, 4)
    assert [epoch for epoch in range(10) if trd.protected(epoch)] == [0, 2, 3, 4, 5]
    stated = create_curriculum("trd(drops=(3,))>trd", epochs=20).with_learning_rate_drops((9,))
    assert [part.drops for part in stated.parts] == [(3,), (-1,)]


@pytest.mark.parametrize(
    "text", ["trd+hrt", "hrt:0.5>trd", "(hrt+progressive_sharpening(replay=0.2)):0.6>low_frequency>trd(variant=three)"]
)
def test_compositions_survive_json(text):
    curriculum = create_curriculum(text, epochs=20, seed=3)
    described = json.loads(json.dumps(curriculum.to_dict()))
    again = curriculum_from_dict(described)
    assert again == curriculum
    assert stages(again) == stages(curriculum)
    described["parts"][0]["epochs"] = 3
    with pytest.raises(CurriculumError):
        curriculum_from_dict(described)


def test_a_composition_is_named_after_its_parts():
    assert create_curriculum("hrt:0.5>(trd+baseline)", epochs=20).name == "hrt>trd+baseline"
    assert create_curriculum("(hrt>trd)+baseline", epochs=20).name == "(hrt>trd)+baseline"
    assert LowFrequency(epochs=9).name == "low_frequency"
    assert create_curriculum("baseline", epochs=3).stage(0).view is identity
