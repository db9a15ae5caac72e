"""A mapped file gives what was saved, and gives its memory back."""

import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch

from facog_lab.runs import mmap


def test_a_file_made_to_be_filled_is_what_the_library_writes(tmp_path):
    rng = torch.Generator().manual_seed(0)
    tensors = {
        "b": torch.arange(3),
        "a": torch.randn(2, 5, generator=rng),
        "c": torch.ones(7, dtype=torch.float16),
        "none": torch.empty(0, 4),
    }
    path = tmp_path / "file"
    mmap.create(path, {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()})
    for name, tensor in mmap.read(path, write=True).tensors.items():
        assert not tensor.any()
        tensor.copy_(tensors[name])
    written = safetensors.torch.load(path.read_bytes())
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)


def test_it_reads_what_the_library_wrote(tmp_path):
    rng = torch.Generator().manual_seed(0)
    saved = {
        "a": torch.rand(3, 5, generator=rng),
        "scalar": torch.tensor(7),
        "none": torch.empty(0, 4),
        "bits": torch.tensor([True, False]),
        "bytes": torch.arange(9, dtype=torch.uint8),
        "half": torch.rand(4, generator=rng).bfloat16(),
        "double": torch.rand(2, 2, generator=rng).double(),
    }
    path = tmp_path / "state.safetensors"
    safetensors.torch.save_file(saved, path, {"note": "metadata is no tensor"})
    found = mmap.read(path).tensors
    assert found.keys() == saved.keys()
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_to_write_into_a_tensor_leaves_the_file_alone(tmp_path):
    path = tmp_path / "state.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(4)}, path)
    before = path.read_bytes()
    mmap.read(path).tensors["a"].fill_(1)
    assert path.read_bytes() == before


def test_memory_of_a_large_file_is_given_back_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(mmap, "LARGE", 2**20)
    path = tmp_path / "state.safetensors"
    saved = torch.rand(2**22)  # 16 MB
    safetensors.torch.save_file({"a": saved}, path)
    file = mmap.read(path)
    total = file.tensors["a"].sum()
    read = resident()
    file.release()
    assert read - resident() > 12
    assert file.tensors["a"].sum() == total == saved.sum()


def resident():
    """MB in memory; the test is skipped where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        pytest.skip("no /proc")
    return pages * resource.getpagesize() / 2**20
