import json
import os
import subprocess
import sys

import pytest
import torch

PREPARE = """
import json, os, sys
import torch
from conftest import SIDE, Seen, TinyNet
from curriculum_zoo.curricula import create_curriculum

torch.manual_seed(0)
network = TinyNet()
record = Seen(network)
generator = torch.Generator().manual_seed(1)
images = torch.rand(16, 3, SIDE, SIDE, generator=generator)
labels = torch.arange(16) % 3
curriculum = create_curriculum("hrt(edge_epochs=2)+trd(variant=regular)", epochs=4)
"""
TRAIN = {
    "lightning": """
import lightning.pytorch as pl
from torch.utils.data import DataLoader, TensorDataset
from curriculum_zoo.adapters.lightning import CurriculumCallback

class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = network

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true", max_epochs=4, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, callbacks=[CurriculumCallback(curriculum)],
).fit(Classifier(), DataLoader(TensorDataset(images, labels), batch_size=4))
""",
    "transformers": """
from transformers import Trainer, TrainingArguments
from curriculum_zoo.adapters.transformers import CurriculumCallback

class Wrapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network

    def forward(self, pixel_values, labels):
        logits = self.network(pixel_values)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

arguments = TrainingArguments(
    "run", num_train_epochs=4, per_device_train_batch_size=4, use_cpu=True, report_to="none", save_strategy="no",
    disable_tqdm=True, learning_rate=0.01,
)
data = [{"pixel_values": image, "labels": int(label)} for image, label in zip(images, labels)]
Trainer(Wrapped(), arguments, train_dataset=data, callbacks=[CurriculumCallback(curriculum)]).train()
""",
}
REPORT = """
rank = os.environ["RANK"]
torch.save(network.state_dict(), f"weights{rank}.pt")
open(f"sides{rank}.json", "w").write(json.dumps(record.sides(per_epoch=2)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", TRAIN)
def test_two_processes_see_the_same_stages_and_keep_the_same_weights(library, tmp_path, same_weights):
    pytest.importorskip(library)
    script = tmp_path / "script.py"
    script.write_text(PREPARE + TRAIN[library] + REPORT, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    finished = subprocess.run(
        [sys.executable, *launch], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    first, second = (torch.load(tmp_path / f"weights{rank}.pt") for rank in (0, 1))
    learned = [name for name in first if "running" not in name and "tracked" not in name]
    same_weights({name: first[name] for name in learned}, {name: second[name] for name in learned})
    sides = [json.loads((tmp_path / f"sides{rank}.json").read_text()) for rank in (0, 1)]
    assert sides == [[8, 16, 8, 16]] * 2
