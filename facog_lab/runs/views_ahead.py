"""Views of phase 1 that are made before their step asks for them, where that saves time."""

from __future__ import annotations

import torch
from torch import Tensor

from facog_lab.data.decode import ImageFiles
from facog_lab.data.prefetch import Prefetch, workers_for
from facog_lab.phase1 import Phase1

AHEAD = 8  # steps whose views a GPU makes at once
PIXELS_AHEAD = 2**25  # but no more values than this for one view of each image


class ViewsAhead:
    """Makes a loop's views: images decoded ahead by workers, several steps at once on a GPU.

    A GPU waits for the CPU to launch the many small operations that make views, so they are
    launched for several steps at once. On a CPU the views of one step fit its caches better.

    Args:
        loop: whose `batch_views` this becomes.

    Attributes:
        ahead: steps whose views are made at once.
        decoded: the images of coming batches; None where all are in memory, or without workers.
    """

    def __init__(self, loop: Phase1) -> None:
        self.loop, self.ahead = loop, 1
        self.decoded: Prefetch | None = None
        images, on_gpu = loop.data.images, loop.device.type == "cuda"
        if isinstance(images, ImageFiles) and (workers := workers_for(images, loop.device)):
            self.decoded = Prefetch(images, self._rows, loop.total_steps, workers, on_gpu)
        if on_gpu and isinstance(images, Tensor):
            pixels = loop.data.channels * (loop.config.crop_size or loop.data.side) ** 2
            most = PIXELS_AHEAD // (loop.config.batch_size * pixels)
            self.ahead = max(1, min(AHEAD, most))
        self._made: dict[tuple[int, int], Tensor] = {}  # views, by epoch and batch
        loop.batch_views = self

    def __call__(self, epoch: int, batch: int) -> Tensor:
        """(V, B', channels, H, W): the views of this process's part of a batch."""
        if (epoch, batch) not in self._made:
            coming = self.loop.order[batch : batch + self.ahead]
            parts = [self.loop.world.share(index) for index in coming]
            images = None
            if self.decoded:
                images = self.decoded.take(epoch * self.loop.steps_per_epoch + batch)
            views = self.loop.views(torch.cat(parts), epoch, images)
            of_parts = views.split([len(part) for part in parts], dim=1)
            self._made = {(epoch, batch + i): part for i, part in enumerate(of_parts)}
        return self._made.pop((epoch, batch))

    def _rows(self, step: int) -> Tensor:
        epoch, batch = divmod(step, self.loop.steps_per_epoch)
        return self.loop.world.share(self.loop.batches(epoch)[batch])
