"""Optimizers: Muon for the matrices of 1x1 convolutions, Adam for everything else."""
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vaecodec_train.config import TrainConfig


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised by five Newton–Schulz steps (Jordan et al. 2024, "Muon").

    Matrices of one shape are batched into one multiplication.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, bf16: bool = True):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = torch.bfloat16 if bf16 else torch.float32

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
                grads = torch.stack([p.grad.reshape(rows, columns) for p in params])  # type: ignore[union-attr]
                old = torch.stack([self.state[p]["momentum"].reshape(rows, columns) for p in params])
                momentum = old.lerp_(grads, 1 - group["momentum"])
                update = self.orthogonal(grads.lerp(momentum, group["momentum"]))
                update = update * (-group["lr"] * max(1, rows / columns) ** 0.5)
                for p, m, u in zip(params, momentum, update, strict=True):
                    self.state[p]["momentum"].copy_(m.reshape(p.shape))
                    p.add_(u.reshape(p.shape))

    def orthogonal(self, x: Tensor) -> Tensor:
        """(n, rows, columns) -> the nearest matrices whose singular values are about 1."""
        x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-12)).to(self.dtype)
        tall = x.shape[1] > x.shape[2]
        if tall:
            x = x.mT.contiguous()
        for _ in range(5):
            a = x @ x.mT
            x = 3.4445 * x + torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315) @ x
        return (x.mT if tall else x).float()


def is_matrix(p: Tensor) -> bool:
    return p.ndim == 4 and p.shape[1] > 1 and p.shape[2] == 1


def build(model: nn.Module, config: TrainConfig, bf16: bool) -> list[tuple[torch.optim.Optimizer, float]]:
    """(optimizer, its full learning rate) pairs; the last one is that of the quantiles of z, whose rate never changes."""
    named = [(n, p) for n, p in model.named_parameters() if not n.endswith("quantiles")]
    matrices, others = [p for _, p in named if is_matrix(p)], [p for _, p in named if not is_matrix(p)]
    first: torch.optim.Optimizer
    if config.optimizer == "muon":
        first = Muon(matrices, config.lr_matrix, bf16=bf16)
    elif config.optimizer == "adam":
        first = torch.optim.Adam(matrices, config.lr_matrix)
    else:
        first = torch.optim.RMSprop(matrices, config.lr_matrix, alpha=0.99)
    quantiles = [p for n, p in model.named_parameters() if n.endswith("quantiles")]
    return [(first, config.lr_matrix), (torch.optim.Adam(others, config.lr_other), config.lr_other),
            (torch.optim.Adam(quantiles, 1e-3), 1e-3)]
