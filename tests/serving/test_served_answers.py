"""What processes answer that serve a page: to hostile uploads, and from a Space as it was published."""

import os
import socket
import struct
import sys
import zlib

import numpy as np
import pytest
from huggingface_hub import snapshot_download
from PIL import Image
from served_process import served_by, without_gradio

from curriculum_zoo.evaluation import predict
from curriculum_zoo.publishing.space import publish_with_space

pytestmark = [
    pytest.mark.slow,
    without_gradio,
    pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process alone"),
]


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return file


def ask(address, file):
    """The problem, classes by name and stages of an upload, as the page's own API gives them."""
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False, analytics_enabled=False)
    problem, classes, figure, _, stages, note = client.predict(handle_file(file), api_name="/answer")
    found = {each["label"]: each["confidence"] for each in (classes or {}).get("confidences") or ()}
    return problem, found, figure, stages, note


def expected(run, file):
    return {name: pytest.approx(share, abs=1e-4) for name, share in predict(run, [file], device="cpu")[0].classes}


def bomb(file):
    """A PNG of a few kB that says it has 60,000 × 60,000 pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(2**20), 9)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def test_hostile_uploads_are_refused_by_name_and_the_next_image_is_answered(finished_run, picture, tmp_path):
    files = {name: tmp_path / name for name in ("bomb.png", "letter.png", "cut.jpg", "empty.gif", "page.svg")}
    bomb(files["bomb.png"])
    files["letter.png"].write_bytes(b"no image at all")
    Image.open(picture).save(tmp_path / "whole.jpg")
    files["cut.jpg"].write_bytes((tmp_path / "whole.jpg").read_bytes()[:300])
    files["empty.gif"].write_bytes(b"")
    files["page.svg"].write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (30, 40), (10, 200, 30, 40)).save(tmp_path / "inks.jpg")
    command = [sys.executable, "-m", "curriculum_zoo", "serve", str(finished_run), "--device", "cpu"]
    with served_by(command, tmp_path) as address:
        for name, file in files.items():
            problem, classes, figure, stages, _ = ask(address, file)
            assert name in problem
            assert "Traceback" not in problem
            assert str(tmp_path) not in problem
            assert (classes, figure, stages) == ({}, None, [])
        for name in (picture.name, "moving.gif", "inks.jpg"):
            problem, classes, _, stages, _ = ask(address, tmp_path / name)
            assert problem == ""
            assert classes == expected(finished_run, tmp_path / name)
            assert len(stages) > 1


def test_a_published_spaces_own_app_answers_from_the_weights_on_the_hub(hub, finished_run, picture, tmp_path):
    publish_with_space(finished_run, "ada/squares")
    folder = tmp_path / "space"
    snapshot_download("ada/squares", repo_type="space", local_dir=folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As on the Hub: nobody is logged in, nothing is in the cache; but there the server's name is 0.0.0.0.
    nobody = {**hub.environment, "HF_TOKEN": "", "HF_HOME": str(tmp_path / "home")}
    told = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "SPACE_ID": "ada/squares"}
    hub.requests.clear()
    with served_by([sys.executable, "app.py"], folder, **nobody, **told) as address:
        assert address == f"http://127.0.0.1:{port}/"
        problem, classes, figure, stages, note = ask(address, picture)
    assert any(path.endswith("model.safetensors") for _, path in hub.requests)
    assert problem == ""
    assert classes == expected(finished_run, picture)
    assert figure
    assert len(stages) > 1
    assert "trd(variant=regular) over 3 epochs, by which it was trained" in note
