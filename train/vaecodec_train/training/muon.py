"""Optimizers: Muon for the matrices of 1x1 convolutions, Adam for everything else."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vaecodec_train.config import TrainConfig


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised by five Newton–Schulz steps (Jordan et al. 2024, "Muon").

    Matrices of one shape are batched into one multiplication. bf16: whether to orthogonalise in bfloat16.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, bf16: bool = False
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.orthogonal = orthogonal_bf16 if bf16 else orthogonal

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
            for (rows, columns), params in shapes.items():
                for p in params:
                    if "momentum" not in self.state[p]:
                        self.state[p]["momentum"] = torch.zeros_like(p)
                momenta = [self.state[p]["momentum"] for p in params]
                grads = [p.grad for p in params if p.grad is not None]
                torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
                ahead = torch._foreach_lerp(grads, momenta, group["momentum"])
                update = self.orthogonal(torch.stack([a.reshape(rows, columns) for a in ahead]))
                scale = -group["lr"] * max(1, rows / columns) ** 0.5
                torch._foreach_add_(
                    params,
                    [u.reshape(p.shape) for p, u in zip(params, update, strict=True)],
                    alpha=scale,
                )


A, B, C = 3.4445, -4.7750, 2.0315  # a step takes a singular value s to A s + B s^3 + C s^5
NS_STEPS = 5


def orthogonal(x: Tensor) -> Tensor:
    """(n, rows, columns) -> the nearest matrices whose singular values are about 1.

    The steps run on the smaller Gram matrix and are applied once: half the multiplications for matrices of 1 : 4.
    """
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-12)
    tall = x.shape[1] > x.shape[2]
    gram = x.mT @ x if tall else x @ x.mT
    whole: Tensor | None = None
    for number in range(NS_STEPS):
        step = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        step.diagonal(dim1=1, dim2=2).add_(A)
        whole = step if whole is None else step @ whole
        if number < NS_STEPS - 1:
            gram = step @ gram @ step
    assert whole is not None
    return x @ whole if tall else whole @ x


def orthogonal_bf16(x: Tensor) -> Tensor:
    """The same in bfloat16, step by step on the matrices themselves: the products above would lose too much in 8 bits."""
    tall = x.shape[1] > x.shape[2]
    y = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-12)).bfloat16()
    y = y.mT.contiguous() if tall else y
    for _ in range(NS_STEPS):
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), y, beta=A)
    result: Tensor = (y.mT if tall else y).float()
    return result


def is_matrix(p: Tensor) -> bool:
    return p.ndim == 4 and p.shape[1] > 1 and p.shape[2] == 1


def build(
    model: nn.Module, config: TrainConfig, bf16: bool
) -> list[tuple[torch.optim.Optimizer, float]]:
    """(optimizer, its full learning rate) pairs; the last one is that of the quantiles of z, whose rate never changes."""
    named = [(n, p) for n, p in model.named_parameters() if not n.endswith("quantiles")]
    matrices, others = (
        [p for _, p in named if is_matrix(p)],
        [p for _, p in named if not is_matrix(p)],
    )
    first: torch.optim.Optimizer
    if config.optimizer == "muon":
        first = Muon(matrices, config.lr_matrix, bf16=bf16)
    elif config.optimizer == "adam":
        first = torch.optim.Adam(matrices, config.lr_matrix)
    else:
        first = torch.optim.RMSprop(matrices, config.lr_matrix, alpha=0.99)
    quantiles = [p for n, p in model.named_parameters() if n.endswith("quantiles")]
    return [
        (first, config.lr_matrix),
        (torch.optim.Adam(others, config.lr_other), config.lr_other),
        (torch.optim.Adam(quantiles, 1e-3), 1e-3),
    ]
