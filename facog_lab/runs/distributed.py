"""Processes that train as one: who this one is, its share of a batch, what all gather.

A batch is cut into shares, one for each process. The process takes its share through the backbone;
the features of all are gathered, and each process computes the whole loss of the whole batch. So a
loss that compares samples knows nothing of processes, whichever it is. The heads are thereby
computed once per process; compared with a backbone they cost little.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from facog_lab.config import ConfigError, Device
from facog_lab.phase1 import ALONE, Network, World
from facog_lab.runs.sync_batchnorm import SharedBatchNorm


def count() -> int:
    """How many processes there are; 1 unless torchrun has started them."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0; only the first writes and prints."""
    return dist.get_rank() if count() > 1 else 0


@contextlib.contextmanager
def joined(device: Device = "auto") -> Iterator[None]:
    """Inside, the processes that torchrun has started are one group; a process alone stays so.

    By NCCL between GPUs, one GPU a process, and by gloo between CPUs. All but the first are silent.

    Args:
        device: where they train.

    Raises:
        ValueError: if a machine has fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    local, on_gpus = int(os.environ["LOCAL_RANK"]), device != "cpu" and torch.cuda.is_available()
    if on_gpus:
        check_gpus(int(os.environ["LOCAL_WORLD_SIZE"]))
        torch.cuda.set_device(local)
    store, number, size = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun keeps its store when it restarts processes, with the addresses of dead ones.
        # Machines count restarts differently; docs/scale.md says what several of them need.
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=size)
    try:
        with contextlib.ExitStack() as stack:
            if rank():
                os.environ["TQDM_DISABLE"] = "1"
                silence = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            yield
    finally:
        sys.stdout.flush()
        dist.destroy_process_group()


def check_gpus(devices: int) -> None:
    """Asks for one GPU a process.

    Raises:
        ValueError: if this machine has fewer.
    """
    if devices > torch.cuda.device_count():
        raise ValueError(
            f"devices = {devices}, and PyTorch sees {torch.cuda.device_count()} GPU(s): set "
            "devices to that or fewer, or device to 'cpu'."
        )


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        dist.barrier()


def broadcast(value: int) -> int:
    """The value of the first process."""
    if count() == 1:
        return value
    said = torch.tensor(value)
    dist.broadcast(said, 0)
    return int(said)


def shard(index: Tensor) -> Tensor:
    """This process's part of a batch, (B,); the parts differ by one in size at most."""
    return index.tensor_split(count())[rank()]


def gather(own: Tensor, total: int) -> Tensor:
    """The features of all shares of a batch, in its order, each with its gradient.

    Args:
        own: (V, B', D), of this process's share.
        total: B, images in the batch.

    Returns:
        (V, B, D).
    """
    return own if count() == 1 else _Gather.apply(own, total)


def sync_batchnorm(backbone: nn.Module) -> None:
    """Has each batch norm of a backbone take its mean and deviation over all shares.

    PyTorch's own SyncBatchNorm is for GPUs; on a CPU `SharedBatchNorm` does the same. States of a
    process alone and of several fit each other.
    """
    on_gpus = next(backbone.parameters()).is_cuda
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            if on_gpus:
                owner = backbone.get_submodule(name.rpartition(".")[0])
                whole = nn.SyncBatchNorm.convert_sync_batchnorm(module)
                setattr(owner, name.rpartition(".")[2], whole)
            else:
                module.__class__ = SharedBatchNorm  # the same parameters and buffers


def wrap_ddp(network: nn.Module, all_used: bool) -> nn.Module:
    """A network whose gradients are the mean over the processes, by DistributedDataParallel.

    Args:
        network: on its device, in the form in which it is trained.
        all_used: whether each parameter takes part in each loss.
    """
    device = next(network.parameters()).device
    ids = [torch.cuda.current_device()] if device.type == "cuda" else None
    return DistributedDataParallel(network, ids, find_unused_parameters=not all_used)


def world(batch_size: int, images: int) -> World:
    """The processes that there are, as phase 1 needs to know them.

    Args:
        batch_size: of the config.
        images: of an epoch.

    Raises:
        ConfigError: if there are more processes than images in the smallest batch.
    """
    if count() == 1:
        return ALONE
    if images // math.ceil(images / batch_size) < count():
        raise ConfigError(
            f"batch_size = {batch_size}: with {count()} processes a batch must have as many images "
            "at least. Take fewer processes, or a larger batch."
        )
    return World(shard, gather, _wrap)


def _wrap(network: Network) -> nn.Module:
    sync_batchnorm(network.model.backbone)
    return wrap_ddp(network, all_used=network.objective.contrastive)  # else the projector is idle


class _Gather(torch.autograd.Function):
    """All-gather of shares of unequal size.

    Backwards nothing is sent. The gradient of a feature is the sum over the processes of the
    gradients of their losses; these are one and the same loss, so it is so many times the own one.
    (Their mean, which the averaged network takes, is the gradient of the one loss.)
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, total: int) -> Tensor:
        parts = torch.arange(total).tensor_split(count())
        ctx.own = int(parts[rank()][0]), len(parts[rank()])
        # Of one size, since gloo gathers nothing else: the first share is the largest.
        padded = own.new_zeros(len(parts[0]), len(own), own.shape[2])
        padded[: own.shape[1]] = own.transpose(0, 1)
        found = [torch.empty_like(padded) for _ in parts]
        dist.all_gather(found, padded)
        rows = [one[: len(part)] for one, part in zip(found, parts, strict=True)]
        return torch.cat(rows).transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.narrow(1, *ctx.own) * count(), None
