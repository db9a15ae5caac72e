"""Functions in several processes of one gloo group, for tests."""

import datetime

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run(count, jobs, folder):
    """What each job returns in each of so many processes, which take the jobs one by one.

    Args:
        count: of processes; they begin anew, which takes seconds.
        jobs: (function, *arguments) by name; functions of a test's module.
        folder: to meet in.

    Returns:
        By name, a list with what each process made.
    """
    mp.spawn(_joined, (count, jobs, folder), nprocs=count)
    made = [torch.load(folder / str(rank)) for rank in range(count)]
    return {name: [one[name] for one in made] for name in jobs}


def _joined(rank, count, jobs, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=count,
        timeout=datetime.timedelta(seconds=60),
    )
    made = {name: function(*arguments) for name, (function, *arguments) in jobs.items()}
    torch.save(made, folder / str(rank))
    dist.destroy_process_group()
