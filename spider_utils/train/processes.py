"""Training by several processes with a device each, as `accelerate launch` or `torchrun` start them, on one machine or
several: together they do what one process does, so that the same batch gives the same curve to rounding.

All draw the same batch and augment it alike; each shows the network its part of the slices. What a training takes over
the whole batch is put together: the statistics of batch normalisation (as `torch.nn.SyncBatchNorm` does, which knows no
CPU), the masks of dropout, the logits that the loss is taken of, the gradients. A batch with fewer slices than
processes is done whole by each of them. The first process alone writes.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spider_utils.models.dropout import Dropout, dense, noise
from spider_utils.models.saved import select_device


def launched() -> bool:
    """Tell whether this is one of several processes that train together."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


class Processes:
    """The processes of a training, and the slices of the present batch that this one takes: all of a lone process.

    `part` of `count` slices are this process's; None: the batch is not shared.
    """

    def __init__(self, device: str):
        self.number, self.rank, self.device = 1, 0, select_device(device)
        self.part: slice | None = None
        self.count = 0
        if launched():
            from accelerate import PartialState  # takes seconds to import

            self._state: Any = PartialState(cpu=self.device.type == "cpu")
            atexit.register(self._state.destroy_process_group)  # else its threads may abort a process that is done
            self.number, self.rank = self._state.num_processes, self._state.process_index
            self.device = self._state.device

    @property
    def writes(self) -> bool:
        """True for the process that writes files and shows progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.number > 1:
            self._state.wait_for_everyone()

    @contextmanager
    def first_one_first(self) -> Iterator[None]:
        """Let the process that writes do something, and then the others, which find it done."""
        if not self.writes:
            self.wait()
        yield
        if self.writes:
            self.wait()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Let a network's normalisation and dropout see the batches of all processes; weights and names stay."""
        if self.number > 1:
            for name, child in model.named_children():
                setattr(model, name, self._shared_layer(self.prepare(child)))
        return model

    def _shared_layer(self, layer: nn.Module) -> nn.Module:
        if type(layer) is nn.BatchNorm2d:
            shared = SharedBatchNorm(self, layer.num_features, layer.eps, layer.momentum)
            shared.load_state_dict(layer.state_dict())
            return shared
        return SharedDropout(self, layer.p) if type(layer) is Dropout else layer

    @contextmanager
    def sharing(self, count: int) -> Iterator[None]:
        """Share a batch of so many slices: each process takes its part, where there is one for each."""
        if 1 < self.number <= count:
            self.count = count
            self.part = slice(count * self.rank // self.number, count * (self.rank + 1) // self.number)
        try:
            yield
        finally:
            self.part = None

    def own(self, batch: Tensor) -> Tensor:
        """Return this process's slices of a batch (N, ...)."""
        return batch if self.part is None else batch[self.part]

    def whole(self, logits: Tensor) -> Tensor:
        """Put the logits of all processes' slices together: (n, classes, H, W), or (heads, n, classes, H, W), to N."""
        if self.part is None:
            return logits
        axis = logits.ndim - 4
        shape = (*logits.shape[:axis], self.count, *logits.shape[axis + 1 :])
        placed = logits.new_zeros(shape).movedim(axis, 0)
        placed[self.part] = logits.movedim(axis, 0)
        return SumOverProcesses.apply(placed).movedim(0, axis)

    def average_gradients(self, model: nn.Module) -> None:
        """Give all processes the mean of their gradients, which is that of the loss over the whole batch.

        Each process's are those of the sum of all processes' losses, and all have the same loss.
        """
        if self.number > 1:
            found = [one.grad for one in model.parameters() if one.grad is not None]
            flat = self.sum(torch.cat([one.flatten() for one in found])) / self.number
            for gradient, part in zip(found, flat.split([one.numel() for one in found]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.number == 1:
            return values
        return SumOverProcesses.apply(values.to(self.device))


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes, whose gradient is summed over them, too."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        values = values.contiguous().clone()
        torch.distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return SumOverProcesses.forward(context, gradient)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the slices of all processes, of (n, C, H, W); in evaluation, that of torch."""

    def __init__(self, processes: Processes, features: int, eps: float, momentum: float | None):
        super().__init__(features, eps, momentum)
        self.processes = processes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.processes.part is None:
            return super().forward(x)
        pixels, axes = self.processes.count * x.shape[2] * x.shape[3], (0, 2, 3)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = SumOverProcesses.apply(values.sum(axes)) / pixels
        centred = values - mean[:, None, None]
        variance = SumOverProcesses.apply(centred.square().sum(axes)) / pixels
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * pixels / (pixels - 1), self.momentum)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class SharedDropout(Dropout):
    """Dropout whose mask is this process's part of that of the whole batch."""

    def __init__(self, processes: Processes, p: float):
        super().__init__(p)
        self.processes = processes

    def forward(self, x: Tensor) -> Tensor:
        part = self.processes.part
        if not self.training or part is None:
            return super().forward(x)
        x = dense(x)
        size = x[0].numel()
        whole = noise(self.processes.count * size, self.p, x)
        return x * whole[part.start * size : part.stop * size].as_strided(x.shape, x.stride())
