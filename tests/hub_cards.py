"""Cards on the tests' Hub: how it reads and checks their metadata, and the one that it writes into a new Space."""

from __future__ import annotations

import re
from typing import Any

import yaml

SDKS = ("gradio", "docker", "static")


def metadata(card: str) -> Any:
    """The YAML at the head of a card."""
    block = re.match(r"\s*---\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", card, re.DOTALL)
    return yaml.safe_load(block[1]) if block else {}


def card_errors(card: str, kind: str = "model") -> list[str]:
    """What the Hub refuses in the metadata of a model's card or a Space's: the few rules that matter here."""
    try:
        data = metadata(card)
    except yaml.YAMLError as error:
        return [f"YAML is not valid: {error}"]
    if not isinstance(data, dict):
        return ["Metadata must be a mapping"]
    errors = [
        f'"{key}" must be a string' for key in ("library_name", "pipeline_tag") if type(data.get(key, "")) is not str
    ]
    errors += [f'"{key}" must be a list' for key in ("tags", "model-index") if not isinstance(data.get(key, []), list)]
    for index, model in enumerate(data.get("model-index") or []):
        if not isinstance(model, dict) or not model.get("name"):
            errors.append(f'"model-index[{index}].name" is required')
    if kind == "space":
        if data.get("sdk") not in SDKS:
            errors.append(f'"sdk" must be one of {", ".join(SDKS)}')
        versions = ("sdk_version", "python_version")
        errors += [f'"{key}" must be a string' for key in versions if type(data.get(key, "")) is not str]
        if not isinstance(data.get("models", []), list):
            errors.append('"models" must be a list')
    return errors


def new_space(name: str, sdk: str) -> str:
    """The README.md that the Hub writes into a Space as it makes one."""
    title = name.partition("/")[2]
    return (
        f"---\ntitle: {title}\nemoji: 🌖\ncolorFrom: pink\ncolorTo: green\nsdk: {sdk}\nsdk_version: 6.0.0\n"
        "app_file: app.py\npinned: false\n---\n\n"
        "Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference\n"
    )
