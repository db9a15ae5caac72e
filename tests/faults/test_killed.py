"""A process that makes a run is ended, and the run goes on to the same bytes."""

import contextlib
import os
import random
import shutil
import signal
import time

import pytest
import stages

UPSTREAM = {"phase1": None, "dictionary": "phase1", "phase2": "dictionary", "head": "dictionary"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """By stage: a folder with all before it, what it comes to, its seconds and steps of saves."""
    root = tmp_path_factory.mktemp("whole")
    made = {}

    def ask(stage):
        if stage not in made:
            outputs = root / stage
            before = UPSTREAM[stage]
            if before:
                shutil.copytree(ask(before)[0] / "after", outputs / "before")
            else:
                (outputs / "before").mkdir(parents=True)
            shutil.copytree(outputs / "before", outputs / "after")
            process, answer = stages.start(stage, outputs / "after")
            began = time.monotonic()
            steps = answer.recv()
            seconds = time.monotonic() - began
            process.join()
            made[stage] = outputs, stages.result(stage, outputs / "after"), seconds, steps
        return made[stage]

    return ask


def resumed(stage, outputs):
    process, answer = stages.start(stage, outputs)
    answer.recv()
    process.join(60)
    assert process.exitcode == 0
    debris = [p for p in outputs.rglob("*") if p.name.endswith(".part")]
    assert not debris
    return stages.result(stage, outputs)


def kill_at_random(stage, number, signum, whole, tmp_path, rng):
    prepared, expected, seconds, _ = whole(stage)
    unfinished = 0
    for i in range(number):
        outputs = shutil.copytree(prepared / "before", tmp_path / f"{signum}-{i}")
        process, _ = stages.start(stage, outputs)
        time.sleep(rng.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):  # it was just done
            os.kill(process.pid, signum)
        process.join(60)
        unfinished += process.exitcode != 0
        assert resumed(stage, outputs) == expected
    return unfinished


def kill_in_saves(stage, number, whole, tmp_path, rng):
    prepared, expected, _, steps = whole(stage)
    for at in rng.sample(range(1, steps + 1), min(number, steps)):
        outputs = shutil.copytree(prepared / "before", tmp_path / f"step-{at}")
        process, _ = stages.start(stage, outputs, die_at=at)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert resumed(stage, outputs) == expected


def test_a_few_kills(whole, tmp_path):
    rng = random.Random(1)
    kill_at_random("phase1", 1, signal.SIGKILL, whole, tmp_path, rng)
    kill_in_saves("phase1", 1, whole, tmp_path, rng)


@pytest.mark.long
@pytest.mark.parametrize("stage", UPSTREAM)
def test_twenty_kills_at_random_moments(stage, whole, tmp_path):
    assert kill_at_random(stage, 20, signal.SIGKILL, whole, tmp_path, random.Random(2)) >= 10


@pytest.mark.long
@pytest.mark.parametrize("stage", UPSTREAM)
def test_twenty_kills_inside_a_save(stage, whole, tmp_path):
    kill_in_saves(stage, 20, whole, tmp_path, random.Random(3))


@pytest.mark.long
@pytest.mark.parametrize("stage", UPSTREAM)
def test_ten_times_ctrl_c_and_ten_times_a_kernel_that_is_shut_down(stage, whole, tmp_path):
    for signum in (signal.SIGINT, signal.SIGTERM):
        kill_at_random(stage, 10, signum, whole, tmp_path, random.Random(signum))
