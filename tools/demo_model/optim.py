"""Muon (momentum orthogonalised by Newton-Schulz) beside AdamW, in one optimiser with one state to save.

Source: Jordan et al. 2024 (Muon); the update is scaled by 0.2·sqrt(max(rows, columns)) so that its root mean square
equals AdamW's and both parts take the same learning rate (Liu et al. 2025, "match_rms_adamw").
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonalize(update: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to `update` (rows, columns), approximately; bfloat16 is exact enough."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (update / (update.norm() + 1e-7)).bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(update.dtype)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups marked `muon` (matrices; convolutions are flattened), AdamW for the rest."""

    def __init__(self, matrices: Iterable[nn.Parameter], rest: Iterable[nn.Parameter], lr: float, decay: float = 0.01):
        groups = [
            {"params": list(matrices), "muon": True},
            {"params": list(rest), "muon": False},
        ]
        super().__init__([g for g in groups if g["params"]], {"lr": lr, "decay": decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["decay"])
                    update = self._muon if group["muon"] else self._adamw
                    update(parameter, parameter.grad, group)

    def _muon(self, parameter: Tensor, grad: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(grad)
        state["momentum"].lerp_(grad, 1 - group["momentum"])
        nesterov = grad.lerp(state["momentum"], group["momentum"]).flatten(1)
        scale = 0.2 * max(nesterov.shape) ** 0.5
        parameter.add_(orthogonalize(nesterov).view_as(parameter), alpha=-group["lr"] * scale)

    def _adamw(self, parameter: Tensor, grad: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state["count"] = 0
            state["mean"] = torch.zeros_like(grad)
            state["square"] = torch.zeros_like(grad)
        state["count"] += 1
        state["mean"].lerp_(grad, 0.1)
        state["square"].lerp_(grad.square(), 0.01)
        mean = state["mean"] / (1 - 0.9 ** state["count"])
        square = state["square"] / (1 - 0.99 ** state["count"])
        parameter.addcdiv_(mean, square.sqrt().add_(1e-8), value=-group["lr"])


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
