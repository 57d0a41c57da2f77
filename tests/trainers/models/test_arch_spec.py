"""Layers that are changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainers.models.arch_spec import Layer

LAYER = Layer(kind="conv", inputs=3, outputs=4, kernel=9)


def test_a_changed_layer_is_that_of_dataclasses() -> None:
    changes = {"inputs": 2, "bits": 8, "format": "int8"}
    changed, expected = LAYER.but(**changes), replace(LAYER, **changes)  # type: ignore[arg-type]
    assert changed == expected and hash(changed) == hash(expected) and changed.weights == 72
    assert LAYER.inputs == 3 and LAYER.but() == LAYER


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="a layer has no input"):
        LAYER.but(input=2)
