"""Cards that people have edited come through an update unchanged, to the byte, in all that was not generated."""

import json
import sys
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.errors import PublishError
from curriculum_zoo.publishing.card import license_of, write_card
from curriculum_zoo.publishing.layout import lay_out
from curriculum_zoo.publishing.previous_card import metadata_of, with_metadata, with_sections, without_metadata
from curriculum_zoo.publishing.text import first_sentence
from curriculum_zoo.registry import CURRICULA, MODELS


@pytest.fixture(scope="module")
def layout(finished_run):
    return lay_out(finished_run, data="mnist")


def updated(layout, previous):
    """The card that an update makes of one."""
    files = layout.files(name="squares", loads="hf-hub:ada/squares", hub_id="ada/squares", previous=previous)
    return files["README.md"].content.decode()


@pytest.fixture(scope="module")
def new(layout):
    return updated(layout, None)


def replaced(*pairs):
    """An edit of a card: each text by the one after it, which stands there then."""

    def edit(card):
        for old, now in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in card
            card = card.replace(old, now)
        return card

    return edit


MIT, SENTENCE = "license: mit\n", "under the MIT licence"
TWO = (SENTENCE, "under the mit, cc-by-4.0 licence")
EDITS = {
    "a licence as a list": replaced(MIT, "license:\n  - mit   # the code\n  - cc-by-4.0\n", *TWO),
    "a licence as a list in brackets": replaced(MIT, "license: [mit, cc-by-4.0]\n", *TWO),
    "a licence in quotes": replaced(MIT, 'license: "apache-2.0" # so\n', SENTENCE, "under the Apache 2.0 licence"),
    "Norwegian": replaced(MIT, f"{MIT}language: no\n"),
    "comments": replaced("tags:\n", "# ours\ntags: # theirs\n\n", "- timm\n", "- timm  # yes\n"),
    "tags of one's own, in brackets": replaced(
        "tags:\n", "tags: [image-classification, timm, curriculum-zoo, curriculum-learning, trd, mine]\nx:\n"
    ),
    "a text of several lines": replaced(MIT, f"{MIT}widget: |\n  a\n   # b\n\n"),
    "a date, and a version with a zero": replaced(MIT, f"{MIT}day: 2026-01-02\nv: 1.10\n"),
    "the order of keys": replaced(MIT, "", "tags:\n", f"{MIT}tags:\n"),
    "line ends of Windows": replaced("\n", "\r\n"),
    "empty lines below the metadata": replaced("---\n#", "---  \n\n\n#"),
    "marks in a code block": lambda card: card + "\n```html\n<!-- generated: about -->\nmine\n```\n",
    "half a section in a code block of tildes": lambda card: card + "\n~~~~\n```\n<!-- /generated: use -->\n~~~~\n",
    "marks in a line of text": lambda card: card + "\nBetween `<!-- generated: use -->` marks nothing is kept.\n",
    "marks in an indented block": lambda card: card + "\n    <!-- generated: use -->\n",
    "no line end at the end": lambda card: card.rstrip("\n") + "\nmine",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_card_that_is_up_to_date_does_not_change_by_a_byte(layout, new, edit):
    edited = edit(new)
    assert edited != new
    assert updated(layout, edited) == edited


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_in_an_edited_card_what_is_out_of_date_changes_and_nothing_else(layout, new, edit):
    """What an update corrects is the same with the edit and without it."""
    old = new.replace("parameters", "numbers").replace("library_name: timm", "library_name: other")
    assert old != new
    assert updated(layout, edit(old)) == edit(new)


def test_a_list_of_licences_is_the_configs_licence_too(layout, new):
    edited = new.replace("license: mit\n", "license:\n- mit\n- cc-by-4.0\n")
    assert license_of(edited) == "mit, cc-by-4.0"
    config = layout.settled(edited).config
    assert config["pretrained_cfg"]["license"] == "mit, cc-by-4.0"
    card = write_card(config, name="squares", loads="hf-hub:ada/squares")
    assert metadata_of(card)["license"] == ["mit", "cc-by-4.0"]


def test_a_missing_tag_joins_those_that_a_person_wrote(layout, new):
    card = updated(layout, new.replace("- curriculum-zoo\n", "- mine\n"))
    assert {"mine", "curriculum-zoo", "timm"} <= set(metadata_of(card)["tags"])


def test_a_released_cards_line_ends_are_kept_on_the_disk(layout, new, finished_run, tmp_path):
    from curriculum_zoo.publishing.layout import release

    folder = tmp_path / "simple_cnn.squares"
    release(finished_run, folder, data="mnist")
    card = folder / "README.md"
    edited = card.read_bytes().replace(b"\n", b"\r\n").replace(b"license: mit\r\n", b"license: mit\r\nlanguage: no\r\n")
    card.write_bytes(edited)
    assert release(finished_run, folder, data="mnist", update=True) == []
    assert card.read_bytes() == edited


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda card: card + "\n```\n<!-- generated: about -->\n", "does not end"),
        (lambda card: card.replace("<!-- generated: use -->", ""), "marks of a generated section"),
        (lambda card: card.replace("<!-- /generated: use -->", "<!-- /generated: about -->"), "marks of a generated"),
        (lambda card: card.replace("license: mit", "license: mit\nlicense: gpl"), "a key stands twice"),
        (lambda card: "---\n{license: mit, language: de}\n---\n" + without_metadata(card), "each key on a line"),
        (lambda card: card.replace("license: mit", "day: 2026-99-99"), "metadata"),
        (lambda card: card.replace("license: mit", "a: " + "[" * 5000), "metadata"),
        (lambda card: card.replace("license: mit", "a: !!python/object/apply:os.system [ls]"), "metadata"),
    ],
)
def test_what_cannot_be_brought_up_to_date_is_refused_with_the_reason(layout, new, damage, problem):
    with pytest.raises(PublishError, match=problem):
        updated(layout, damage(new))


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
values = st.one_of(words, st.integers(), st.booleans(), st.none(), st.lists(words, max_size=3))
keys = st.text("abcdefgh", min_size=1, max_size=3)


@given(st.dictionaries(keys, values), st.dictionaries(keys, values), st.sampled_from(["\n", "\r\n"]))
def test_keys_change_to_what_they_are_now_and_others_keep_their_lines(before, now, newline):
    text = yaml.safe_dump(before, sort_keys=False, allow_unicode=True) if before else ""
    card = f"---\n{text}---\nbody\n".replace("\n", newline)
    changed = with_metadata(card, now)
    assert metadata_of(changed) == {**before, **now}
    assert with_metadata(changed, now) == changed
    for key in before.keys() - now.keys():
        lines = yaml.safe_dump({key: before[key]}, allow_unicode=True).replace("\n", newline)
        assert lines in changed


@given(st.text("`~ab\n\r <>!-", max_size=60))
def test_a_text_without_marks_is_kept_whatever_it_is(text):
    assert with_sections(text, "<!-- generated: use -->\nx\n<!-- /generated: use -->\n") == text


@pytest.mark.parametrize("registry", [CURRICULA, MODELS], ids=["curricula", "models"])
def test_what_a_card_takes_from_docstrings_is_the_same_where_python_drops_them(registry, monkeypatch):
    targets = {name: registry.load(name) for name in registry.names() if registry.entry(name).built_in}
    told = {name: first_sentence(target) for name, target in targets.items()}
    assert all(told.values())
    monkeypatch.setattr(sys, "flags", SimpleNamespace(optimize=2))
    for target in targets.values():
        monkeypatch.setattr(target, "__doc__", None)
    assert {name: first_sentence(target) for name, target in targets.items()} == told


@pytest.mark.slow
def test_python_without_docstrings_writes_the_same_card(layout, new, python, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(layout.settled(None).config))
    code = f"""
        import json, pathlib, sys
        from curriculum_zoo.publishing.card import write_card
        config = json.loads(pathlib.Path({str(tmp_path / "config.json")!r}).read_text())
        card = write_card(config, name="squares", loads="hf-hub:ada/squares", hub_id="ada/squares")
        print(json.dumps([sys.flags.optimize, card]))
    """
    assert python(code, PYTHONOPTIMIZE="2") == [2, new]
