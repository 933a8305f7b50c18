"""Where bf16 is chosen by itself; which process takes which device."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.engine.process import Device, bf16_pays
from fourier_robust.errors import UserError


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


def test_each_process_takes_the_device_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Device("auto", threads=1).prepare() == Device("cuda", threads=1).prepare() == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")] * 2
    assert Device("cpu", threads=1, keep_blocks=False).prepare() == torch.device("cpu")
    with pytest.raises(UserError, match="cuda:0 with 4 processes"):
        Device("cuda:0", threads=1).prepare()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="process 2 of this machine has no CUDA device of its own, it has 1"):
        Device("auto", threads=1).prepare()


def test_settings_of_several_processes() -> None:
    with pytest.raises(UserError, match="sync_batch_norm needs CUDA"):
        Device("cpu", threads=1, keep_blocks=False, sync_batch_norm=True).prepare()
    with pytest.raises(ValueError, match="processes=0"):
        Device(processes=0)
    with pytest.raises(ValueError, match="micro_batch=0"):
        Device(micro_batch=0)
