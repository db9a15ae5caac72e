"""Functions in several processes of one gloo group, for tests: `run(2, function, argument)`."""

import datetime

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run(count, function, *arguments, folder):
    """What a function of a test's module returns, in each of so many processes."""
    if count == 1:
        return [function(*arguments)]
    rendezvous, results = folder / "rendezvous", folder / "results"
    rendezvous.unlink(missing_ok=True)
    mp.spawn(_joined, (count, function, arguments, rendezvous, results), nprocs=count)
    return [torch.load(f"{results}{rank}") for rank in range(count)]


def _joined(rank, count, function, arguments, rendezvous, results):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=count,
        timeout=datetime.timedelta(seconds=60),
    )
    torch.save(function(*arguments), f"{results}{rank}")
    dist.destroy_process_group()
