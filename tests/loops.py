"""Loops that train in a thread or were kept: to wait for and to compare."""

import time

import torch

from facog_lab.runs import checkpoint


def same(one, two):
    one, two = checkpoint.state(one), checkpoint.state(two)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
