"""The tests' own Hub answers the real client as the Hub does."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

LARGE = bytes(range(256)) * 45_000


def adds(**files):
    return [CommitOperationAdd(path.replace("__", "."), content) for path, content in files.items()]


@pytest.fixture
def api(hub):
    api = HfApi()
    api.create_repo("ada/net")
    return api


def test_what_is_committed_comes_back_by_branch_tag_and_commit(hub, api):
    card = b"---\nlibrary_name: timm\nlicense: mit\ntags: [x]\n---\n# Net\n"
    first = api.create_commit("ada/net", adds(README__md=card, model__safetensors=LARGE), commit_message="first")
    api.create_tag("ada/net", tag="v1", revision=first.oid)
    second = api.create_commit("ada/net", adds(README__md=b"# Other\n"), commit_message="second")
    for revision, expected in (("main", b"# Other\n"), ("v1", card), (first.oid, card), (second.oid, b"# Other\n")):
        with open(hf_hub_download("ada/net", "README.md", revision=revision), "rb") as file:
            assert file.read() == expected
    with open(hf_hub_download("ada/net", "model.safetensors"), "rb") as file:
        assert file.read() == LARGE
    assert [commit.title for commit in api.list_repo_commits("ada/net")] == ["second", "first", "initial commit"]
    info = api.model_info("ada/net", revision="v1", files_metadata=True)
    assert (info.sha, info.library_name, info.card_data.license) == (first.oid, "timm", "mit")
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
    assert sizes["model.safetensors"] == len(LARGE)
    refs = api.list_repo_refs("ada/net")
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", first.oid)]


def test_what_is_there_already_is_neither_sent_nor_committed_again(hub, api):
    api.create_commit("ada/net", adds(a__txt=b"a", model__safetensors=LARGE), commit_message="first")
    before = len(hub.requests)
    again = api.create_commit("ada/net", adds(a__txt=b"a", model__safetensors=LARGE), commit_message="again")
    assert not [request for request in hub.requests[before:] if request[0] == "PUT" or "/commit/" in request[1]]
    assert again.oid == hub.commits("ada/net")[0]["id"]


def test_files_are_listed_and_deleted(hub, api):
    api.create_commit("ada/net", adds(a__txt=b"a"), commit_message="one")
    operations = [CommitOperationAdd("deep/er/b.txt", b"b"), CommitOperationDelete("a.txt")]
    api.create_commit("ada/net", operations, commit_message="two")
    assert set(api.list_repo_files("ada/net")) == {".gitattributes", "deep/er/b.txt"}
    top = [entry.path for entry in api.list_repo_tree("ada/net")]
    assert sorted(top) == [".gitattributes", "deep"]
    (info,) = api.get_paths_info("ada/net", ["deep/er/b.txt", "none"])
    assert (info.path, info.size) == ("deep/er/b.txt", 1)


def test_a_commit_on_a_parent_that_is_no_longer_the_head_is_refused(hub, api):
    first = api.create_commit("ada/net", adds(a__txt=b"a"), commit_message="one")
    api.create_commit("ada/net", adds(a__txt=b"b"), commit_message="two")
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit("ada/net", adds(a__txt=b"c"), commit_message="three", parent_commit=first.oid)
    assert hub.files("ada/net")["a.txt"] == b"b"


def test_errors_are_those_that_the_client_knows(hub, api):
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("ada/none", "a.txt")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("ada/net", "a.txt", revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("ada/net", "a.txt")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("ada/net")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("grace/net")
    hub.put("grace/net", {"a.txt": b"a"})
    hub.settings("grace/net", gated=True)
    with pytest.raises(GatedRepoError):
        hf_hub_download("grace/net", "a.txt")
    hub.settings("grace/net", private=True)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("grace/net", "a.txt")


def test_a_renamed_repository_is_found_under_its_old_name(hub, api):
    hub.put("ada/net", {"a.txt": b"a"})
    api.move_repo("ada/net", "ada/other")
    with open(hf_hub_download("ada/net", "a.txt"), "rb") as file:
        assert file.read() == b"a"


def test_a_download_that_breaks_off_is_resumed(hub, api):
    hub.put("ada/net", {"model.safetensors": LARGE})
    hub.cut("resolve/.*safetensors", after=3_000_000)
    with open(hf_hub_download("ada/net", "model.safetensors"), "rb") as file:
        assert file.read() == LARGE


def test_a_card_that_the_hub_would_refuse_is_refused(hub, api):
    with pytest.raises(ValueError, match="model-index"):
        api.create_commit("ada/net", adds(README__md=b"---\nmodel-index:\n- results: []\n---\n"), commit_message="x")
