"""Where bf16 is chosen by itself."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.engine.process import bf16_pays


@pytest.mark.parametrize(
    ("capabilities", "pays"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Core", "avx2": True}, False),
        ({}, False),
    ],
)
def test_bf16_where_it_is_faster(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], pays: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert bf16_pays(torch.device("cpu")) is pays
