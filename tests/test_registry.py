"""The registry's rules, on distributions built by hand; `test_plugins` has real ones."""

import math
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.errors import NameClashError, PluginError, PluginWarning, UnknownNameError
from curriculum_zoo.registry import CURRICULA, DATASETS, MODELS, Registry, closest

GROUP = "curriculum_zoo.widgets"


class HandBuilt(metadata.Distribution):
    """A distribution whose files are these strings; the metadata is missing where `name` is None."""

    def __init__(self, name: str | None, version: str = "1.0", **entries: str) -> None:
        lines = [f"[{GROUP}]", *(f"{entry} = {target}" for entry, target in entries.items())]
        self.texts = {"entry_points.txt": "\n".join(lines)}
        if name is not None:
            self.texts["METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        return self.texts.get(filename)

    def locate_file(self, path: object) -> Path:
        return Path("site-packages") / str(path)


ZOO = HandBuilt("curriculum_zoo", "0.1.0", root="math:sqrt", fraction="fractions:Fraction")


def installed(patch: pytest.MonkeyPatch, *distributions: metadata.Distribution) -> Registry:
    """A registry that finds these distributions and no others; none of them has another copy on the path."""
    patch.setattr(metadata, "distributions", lambda name=None: iter(() if name else distributions))
    return Registry("widget", GROUP)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry]]:
    return lambda *distributions: installed(monkeypatch, *distributions)


# Listing and telling


def test_names_are_sorted_and_matched_by_shell_patterns(install):
    registry = install(HandBuilt("plugin", ratio="fractions:Fraction", area="math:prod"), ZOO)
    assert registry.names() == ["area", "fraction", "ratio", "root"]
    assert registry.names("r*") == ["ratio", "root"]
    assert registry.names("R*") == []
    assert registry.names("[ab]r?a") == ["area"]


def test_listing_and_telling_never_import_the_target(install):
    registry = install(ZOO, HandBuilt("plugin", "3.1", ghost="no_such_module_at_all:thing"))
    assert "ghost" in registry.names()
    entry = registry.entry("ghost")
    assert (entry.kind, entry.name, entry.distribution, entry.version, entry.target) == (
        "widget",
        "ghost",
        "plugin",
        "3.1",
        "no_such_module_at_all:thing",
    )
    assert not entry.built_in
    assert registry.entry("root").built_in


def test_load_gives_the_very_object_that_the_target_names(install):
    registry = install(ZOO)
    assert registry.load("root") is math.sqrt
    assert registry.load("curriculum-zoo/fraction") is Fraction


def test_a_distribution_installed_twice_counts_once_and_the_first_on_the_path_wins(install):
    registry = install(
        ZOO, HandBuilt("my-plugin", "2.0", area="math:prod"), HandBuilt("My_Plugin", "1.0", area="math:sqrt")
    )
    assert registry.entry("area").version == "2.0"
    assert registry.load("area") is math.prod


def on_the_path(folder: Path, name: str, version: str, entries: str) -> str:
    """A folder of installed distributions that has this one alone."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entries:
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")
    return str(folder)


@pytest.mark.parametrize("newer", ["", "volume = math:prod"])
def test_an_older_copy_is_hidden_by_a_newer_one_that_has_no_such_entry(tmp_path, monkeypatch, newer):
    first = on_the_path(tmp_path / "first", "twice_installed", "2.0", newer)
    second = on_the_path(tmp_path / "second", "twice_installed", "1.0", "area = math:sqrt")
    monkeypatch.setattr("sys.path", [first, second])
    assert Registry("widget", GROUP).names() == (["volume"] if newer else [])
    monkeypatch.setattr("sys.path", [second, first])
    assert Registry("widget", GROUP).names() == ["area"]


@pytest.mark.parametrize(
    "value", ["fractions:Fraction [fast]", "fractions:Fraction[fast,more]", "fractions : Fraction"]
)
def test_extras_and_spaces_are_no_part_of_a_target(install, value):
    entry = install(ZOO, HandBuilt("plugin", share=value)).entry("share")
    assert entry.target == "fractions:Fraction"
    assert entry.load() is Fraction


@pytest.mark.parametrize("name", ["two words", "a+b", "half(0.5)", "50%", "x>y", "a:b", "größe!", "-x"])
def test_a_name_that_could_not_be_written_is_passed_over_with_the_reason(install, name):
    registry = install(ZOO, HandBuilt("plugin", good="math:sqrt", **{name: "math:sqrt"}))
    with pytest.warns(PluginWarning, match=r"of plugin is passed over: it could not be written.*Begin it with") as told:
        assert registry.names() == ["fraction", "good", "root"]
    assert repr(name) in str(told[0].message)
    with pytest.raises(PluginError, match=r"is refused: it could not be written"):
        registry.register(math.sqrt, name=name)


def test_only_curricula_must_begin_with_a_letter(install):
    assert "3d" in install(ZOO, HandBuilt("plugin", **{"3d": "math:sqrt"})).names()
    with pytest.raises(PluginError, match="Begin it with a letter;"):
        CURRICULA.register(math.sqrt, name="3d")


claims = st.dictionaries(
    st.sampled_from(["curriculum-zoo", "a", "b", "c_d"]),
    st.sets(st.sampled_from(["x", "y", "a/x", "curriculum-zoo/x"]), min_size=1),
    min_size=1,
)


@given(claims)
def test_every_listed_name_leads_to_one_claim_and_every_claim_has_one_listed_name(claims: dict[str, set[str]]):
    distributions = [HandBuilt(name, **dict.fromkeys(names, "math:sqrt")) for name, names in claims.items()]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        registry = installed(patch, *distributions)
        found = [registry.entry(name) for name in registry.names()]
    assert sorted(entry.qualified_name for entry in found) == sorted(
        f"{name.replace('_', '-')}/{entry}" for name, entries in claims.items() for entry in entries
    )


# Unknown names


@pytest.mark.parametrize("typo", ["rot", "Root", "roots", "rooot"])
def test_an_unknown_name_is_answered_with_the_closest(install, typo):
    with pytest.raises(UnknownNameError, match=f"No widget named '{typo}'. Did you mean 'root'") as caught:
        install(ZOO).entry(typo)
    assert isinstance(caught.value, LookupError)


def test_an_unknown_name_like_no_other_is_answered_with_what_there_is(install):
    with pytest.raises(UnknownNameError, match="There are: fraction, root"):
        install(ZOO).load("zzzzzz")


def test_a_long_list_is_referred_to_rather_than_spelled_out():
    names = [f"name{number}" for number in range(31)]
    assert closest("zzzzzz", names) == "See the full list."
    assert closest("zzzzzz", names[:2], "curriculum-zoo list models") == "See curriculum-zoo list models."
    assert closest("zzzzzz", []) == "There are: none."


def test_a_package_that_is_imported_but_not_installed_says_so(install):
    with pytest.raises(UnknownNameError, match=r"not installed.*pip install"):
        install(HandBuilt("plugin", area="math:prod")).entry("root")


# Clashes


def test_a_name_that_two_claim_is_refused_naming_both_until_it_is_qualified(install):
    registry = install(ZOO, HandBuilt("one", "1.1", area="math:prod"), HandBuilt("two", "2.2", area="math:fsum"))
    assert registry.names("*area") == ["one/area", "two/area"]
    with pytest.raises(
        NameClashError, match=r"'area' is claimed by one 1\.1 and two 2\.2\. Say 'one/area' or 'two/area'"
    ):
        registry.entry("area")
    assert registry.load("one/area") is math.prod
    assert registry.load("two/area") is math.fsum


@pytest.mark.parametrize("spelling", ["my-plugin", "My_Plugin", "my.plugin", "MY--PLUGIN"])
def test_a_distribution_may_be_spelled_as_pip_takes_it(install, spelling):
    registry = install(ZOO, HandBuilt("My.Plugin", area="math:prod"))
    assert registry.entry(f"{spelling}/area").distribution == "my-plugin"


@pytest.mark.parametrize("order", [1, -1])
def test_a_built_in_name_is_kept_with_a_warning_that_says_where_the_other_one_is(install, order):
    registry = install(*[ZOO, HandBuilt("plugin", "0.7", root="math:cbrt")][::order])
    assert registry.names() == ["fraction", "plugin/root", "root"]
    with pytest.warns(PluginWarning, match=r"plugin 0\.7 also claims the widget name 'root'.*'plugin/root'"):
        assert registry.load("root") is math.sqrt
    assert registry.load("plugin/root") is math.cbrt
    assert registry.load("curriculum-zoo/root") is math.sqrt


def test_a_plugin_cannot_take_the_qualified_name_of_a_built_in(install):
    registry = install(HandBuilt("plugin", **{"curriculum-zoo/root": "math:cbrt"}), ZOO)
    assert registry.load("curriculum-zoo/root") is math.sqrt
    assert registry.load("plugin/curriculum-zoo/root") is math.cbrt
    assert registry.names("*root") == ["plugin/curriculum-zoo/root", "root"]


# Plugins that fail


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("no_such_module_at_all:thing", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("math:no_such_name", "AttributeError: .*no_such_name"),
        ("math:pi", "points at a float, which cannot be called"),
        ("not a target!", "cannot be loaded"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_named_with_its_distribution_version_and_cause(install, target, cause):
    registry = install(ZOO, HandBuilt("plugin", "0.7", bad=target))
    with pytest.raises(PluginError, match=cause) as caught:
        registry.load("bad")
    for fact in ("widget 'bad'", target, "plugin 0.7", "CURRICULUM_ZOO_DISABLE_PLUGINS=1"):
        assert fact in str(caught.value)
    assert registry.load("root") is math.sqrt


def test_a_module_that_exits_on_import_does_not_end_the_process(install, tmp_path, monkeypatch):
    (tmp_path / "widget_that_exits.py").write_text("raise SystemExit('wrong Python')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="SystemExit: wrong Python") as caught:
        install(ZOO, HandBuilt("plugin", bad="widget_that_exits:thing")).load("bad")
    assert isinstance(caught.value.__cause__, SystemExit)


def test_what_a_target_returns_must_be_of_the_kind_that_is_due(install):
    registry = install(ZOO, HandBuilt("plugin", "0.7", numbers="builtins:dict"))
    assert registry.entry("fraction").build(Fraction, 1, denominator=3) == Fraction(1, 3)
    with pytest.raises(
        PluginError, match=r"'numbers'.*plugin 0\.7.*returned a dict, where a fractions\.Fraction is due"
    ):
        registry.entry("numbers").build(Fraction, one=1)
    with pytest.raises(PluginError, match="returned an int"):
        install(ZOO, HandBuilt("plugin", whole="builtins:int")).entry("whole").build(Fraction)


def test_the_remedy_fits_whose_entry_it_is(install):
    registry = install(HandBuilt("curriculum-zoo", root="math:pi"), HandBuilt("plugin", bad="math:pi"))
    registry.register(dict, name="cell")
    remedies = {"root": "Reinstall curriculum-zoo", "bad": "uninstall plugin", "cell": "register it again"}
    for name, remedy in remedies.items():
        with pytest.raises(PluginError, match=remedy):
            registry.entry(name).build(Fraction)


@pytest.mark.parametrize(
    "damage", ["no metadata", "no metadata at all", "garbage for entry points", "bytes that are no text"]
)
def test_a_distribution_with_damaged_files_is_passed_over_with_a_warning(install, damage):
    broken = HandBuilt("plugin", area="math:prod")
    if damage == "garbage for entry points":
        broken.texts["entry_points.txt"] += "\nthis line has no equals sign"
    elif damage == "bytes that are no text":
        broken.read_text = lambda filename: b"\xff".decode()
    elif damage == "no metadata":
        broken.texts["METADATA"] = ""
    else:
        del broken.texts["METADATA"]
    registry = install(broken, ZOO)
    with pytest.warns(PluginWarning, match="passed over.*Reinstall"):
        assert registry.names() == ["fraction", "root"]
    assert registry.load("root") is math.sqrt


def test_damage_in_a_distribution_that_is_no_plugin_concerns_nobody(install):
    stranger = HandBuilt(None)
    stranger.texts["entry_points.txt"] = "[console_scripts]\nthis line has no equals sign"
    assert install(stranger, ZOO).names() == ["fraction", "root"]


# The switch


@pytest.mark.parametrize(("value", "disabled"), [("1", True), ("true", True), ("", False), ("0", False), ("No", False)])
def test_one_variable_leaves_the_built_ins_alone(install, monkeypatch, value, disabled):
    monkeypatch.setenv("CURRICULUM_ZOO_DISABLE_PLUGINS", value)
    registry = install(ZOO, HandBuilt("plugin", area="math:prod", root="math:cbrt"))
    assert registry.names() == (["fraction", "root"] if disabled else ["area", "fraction", "plugin/root", "root"])
    if disabled:
        assert registry.load("root") is math.sqrt  # and no PluginWarning, which would be an error here
        with pytest.raises(UnknownNameError):
            registry.entry("plugin/root")


# This session's own


def test_decorators_register_by_the_function_name_or_a_given_one(install, monkeypatch):
    registry = install(ZOO)

    @registry.register
    def mine() -> str:
        return "mine"

    @registry.register(name="yours")
    def other() -> str:
        return "other"

    assert registry.names() == ["fraction", "mine", "root", "yours"]
    assert registry.load("mine") is mine
    assert mine() == "mine"
    assert registry.load("yours") is other
    assert registry.entry("mine").target.startswith(f"{__name__}:")
    monkeypatch.setenv("CURRICULUM_ZOO_DISABLE_PLUGINS", "1")
    assert registry.names("mine") == ["mine"]


def test_running_a_notebook_cell_again_replaces_its_entry(install):
    registry = install(ZOO)
    registry.register(lambda: 1, name="cell")
    registry.register(lambda: 2, name="cell")
    assert registry.load("cell")() == 2
    assert registry.names("cell") == ["cell"]


def test_a_session_can_neither_take_a_built_in_name_nor_hide_a_plugin(install):
    registry = install(ZOO, HandBuilt("plugin", "0.7", area="math:prod"))
    with pytest.raises(NameClashError, match="'root' is built in"):
        registry.register(lambda: 1, name="root")
    registry.register(math.fsum, name="area")
    with pytest.raises(
        NameClashError, match=r"plugin 0\.7 and this session\. Say 'plugin/area' or 'this session/area'"
    ):
        registry.entry("area")
    assert registry.load("this session/area") is math.fsum


def test_refresh_finds_what_was_installed_since(install):
    distributions = [ZOO]
    registry = install()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "distributions", lambda name=None: iter(() if name else distributions))
        assert registry.names() == ["fraction", "root"]
        distributions.append(HandBuilt("plugin", area="math:prod"))
        assert registry.names() == ["fraction", "root"]
        registry.refresh()
        assert registry.names() == ["area", "fraction", "root"]


@pytest.mark.parametrize("registry", [MODELS, CURRICULA, DATASETS], ids=lambda registry: registry.kind)
def test_every_entry_of_this_package_loads(registry):
    built_in = [entry for entry in registry.entries() if entry.built_in]
    assert built_in
    for entry in built_in:
        assert callable(entry.load())
