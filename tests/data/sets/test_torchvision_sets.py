"""CIFAR and MNIST through torchvision, from files made here and a server run here."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import pickle
import threading

import numpy as np
import pytest
from torchvision import datasets

from curriculum_zoo.data import open_dataset
from curriculum_zoo.errors import DataError

NOWHERE = "http://127.0.0.1:9/"  # the discard port, where nobody listens


def idx_files(seed=0, count=20):
    """The four files of an MNIST-like set, by name."""
    rng = np.random.default_rng(seed)
    files = {}
    for part, number in (("train", count), ("t10k", count // 2)):
        images = rng.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4) for size in array.shape)
            files[f"{part}-{name}-ubyte"] = header + array.tobytes()
    return files


def write_mnist(root, folder="MNIST"):
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for name, content in idx_files().items():
        (raw / name).write_bytes(content)
    return raw


@pytest.mark.parametrize(
    ("name", "folder", "flip"), [("mnist", "MNIST", False), ("fashion_mnist", "FashionMNIST", True)]
)
def test_the_mnists_are_read_from_their_folder(name, folder, flip, tmp_path):
    write_mnist(tmp_path, folder)
    opened = open_dataset(name, root=tmp_path)
    content = idx_files()["train-images-idx3-ubyte"]
    assert opened.train_images.tobytes() == content[16:]
    assert (opened.train_images.shape, opened.test_images.shape) == ((20, 28, 28, 1), (10, 28, 28, 1))
    assert opened.test_labels.tolist() == list(range(10))
    assert (len(opened.classes), opened.flip, opened.name) == (10, flip, name)


def test_digits_are_called_by_their_digit(tmp_path):
    write_mnist(tmp_path)
    assert open_dataset("mnist", root=tmp_path).classes == tuple("0123456789")


def write_cifar(root, name, monkeypatch):
    """A small set in the published layout, with its checksums told to torchvision."""
    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    fine = name == "cifar100"
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)

    def write(file_name, content):
        (folder / file_name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / file_name).read_bytes()).hexdigest()

    def batch(count):
        labels = (np.arange(count) % (100 if fine else 10)).tolist()
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": data, "fine_labels" if fine else "labels": labels}

    train = [[entry[0], write(entry[0], batch(20))] for entry in source.train_list]
    test = [[entry[0], write(entry[0], batch(10))] for entry in source.test_list]
    key = source.meta["key"]
    names = [f"class {number}" for number in range(100 if fine else 10)]
    meta = {**source.meta, "md5": write(source.meta["filename"], {key: names})}
    for attribute, value in (("train_list", train), ("test_list", test), ("meta", meta)):
        monkeypatch.setattr(source, attribute, value)
    return folder


@pytest.mark.parametrize(("name", "count", "classes"), [("cifar10", 100, 10), ("cifar100", 20, 100)])
def test_the_cifars_are_read_from_their_folder(name, count, classes, tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, name, monkeypatch)
    opened = open_dataset(name, root=tmp_path)
    assert opened.train_images.shape == (count, 32, 32, 3)
    first = pickle.loads((folder / {"cifar10": "data_batch_1", "cifar100": "train"}[name]).read_bytes())["data"][0]
    assert (opened.train_images[0] == first.reshape(3, 32, 32).transpose(1, 2, 0)).all()
    assert opened.test_labels.tolist() == list(range(10))
    assert (opened.classes[7], len(opened.classes), opened.flip) == ("class 7", classes, True)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "FashionMNIST/raw"),
    ],
)
def test_a_missing_set_is_not_downloaded_unasked_and_the_message_says_where_it_belongs(name, folder, tmp_path):
    with pytest.raises(DataError, match=rf"^{name} is not in {tmp_path / folder}\. Allow its download \(--download"):
        open_dataset(name, root=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[: len(content) // 2]])
@pytest.mark.parametrize("name", sorted(idx_files()))
def test_a_damaged_mnist_is_refused(name, damage, tmp_path):
    path = write_mnist(tmp_path) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"mnist in {path.parent} is incomplete or damaged .*Delete that folder"):
        open_dataset("mnist", root=tmp_path)


def test_a_damaged_or_incomplete_cifar_is_refused_and_never_unpickled(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, "cifar10", monkeypatch)

    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

    (folder / "data_batch_3").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"cifar10 in .* is incomplete or damaged"):
        open_dataset("cifar10", root=tmp_path)
    assert not (tmp_path / "sprung").exists()
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"cifar10 in .* is incomplete or damaged"):
        open_dataset("cifar10", root=tmp_path)


@contextlib.contextmanager
def server(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def test_a_missing_set_is_downloaded_where_that_is_asked_for(tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name, content in idx_files(seed=3).items():
        packed = gzip.compress(content)
        (served / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    with server(served) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        opened = open_dataset("mnist", root=tmp_path / "root", download=True)
    assert opened.train_images.tobytes() == idx_files(seed=3)["train-images-idx3-ubyte"][16:]
    assert open_dataset("mnist", root=tmp_path / "root").fingerprint == opened.fingerprint


def test_a_download_that_fails_says_so_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [NOWHERE])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{NOWHERE}cifar-10-python.tar.gz")
    for name in ("mnist", "cifar10"):
        with pytest.raises(DataError, match=rf"{name} could not be downloaded to .*Try again later, or put the files"):
            open_dataset(name, root=tmp_path, download=True)


def test_they_take_no_argument(tmp_path):
    with pytest.raises(DataError, match="cifar10 takes no argument"):
        open_dataset("cifar10:small", root=tmp_path)
