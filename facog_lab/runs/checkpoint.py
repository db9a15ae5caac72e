"""Networks and optimisers, or a whole loop, as one flat dictionary of tensors, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from facog_lab.metrics import History, Step


class Loop(Protocol):
    """What a loop must offer to be saved, resumed and guarded."""

    phase: str
    step: int
    total_steps: int
    steps_per_epoch: int
    device: torch.device
    history: History

    @property
    def config(self) -> Any:
        """Its settings."""
        ...

    def __next__(self) -> Step:
        """Takes a step."""
        ...

    def parts(
        self, saved: Iterable[str] | None = None
    ) -> Mapping[str, nn.Module | torch.optim.Optimizer]:
        """What it has learned, by name; made to fit these names of saved tensors, if given."""
        ...

    def resumed(self) -> None:
        """Called after another state was put into the parts."""
        ...


def state(loop: Loop) -> dict[str, Tensor]:
    """The state that a later session needs to resume at a loop's step."""
    return pack(**loop.parts()) | {"step": torch.tensor(loop.step)}


def restore(loop: Loop, tensors: Mapping[str, Tensor], history: History) -> None:
    """Goes on from what `state` gave.

    Raises:
        RuntimeError, LookupError, ValueError: if the tensors do not fit the loop.
    """
    unpack(tensors, **loop.parts(tensors))
    loop.step, loop.history = int(tensors["step"]), history
    loop.resumed()


def pack(**parts: nn.Module | torch.optim.Optimizer) -> dict[str, Tensor]:
    """Modules and optimisers as one flat dictionary of tensors, each name led by its part's."""
    return {
        f"{part}.{name}": tensor.detach()
        for part, owner in parts.items()
        for name, tensor in _tensors(owner)
    }


def unpack(tensors: Mapping[str, Tensor], **parts: nn.Module | torch.optim.Optimizer) -> None:
    """Puts what `pack` made back into the same parts.

    Raises:
        RuntimeError, LookupError, ValueError: if it was made of other parts.
    """
    for part, owner in parts.items():
        own = {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{part}.")
        }
        if isinstance(owner, nn.Module):
            owner.load_state_dict(own)
            continue
        owner.state.clear()  # an optimiser that took no step yet has none
        parameters = [p for group in owner.param_groups for p in group["params"]]
        for name, tensor in own.items():
            number, slot = name.split(".", 1)
            parameter = parameters[int(number)]
            # Adam counts its steps in a tensor that stays on the CPU
            if tensor.shape != (() if slot == "step" else parameter.shape):
                raise ValueError(f"{part}.{name} has another shape than its parameter")
            target = tensor if slot == "step" else tensor.to(parameter.device)
            owner.state[parameter][slot] = target.clone()


def _tensors(owner: nn.Module | torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    if isinstance(owner, nn.Module):
        yield from owner.state_dict().items()
        return
    parameters = [p for group in owner.param_groups for p in group["params"]]
    for number, parameter in enumerate(parameters):
        for slot, value in owner.state.get(parameter, {}).items():
            if value is not None:
                yield f"{number}.{slot}", value
