"""Optimizers: Muon for the matrices of 1x1 convolutions, Adam for everything else."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vaecodec_train.config import TrainConfig

# Newton-Schulz: one iteration takes a singular value s to A s + B s^3 + C s^5.
NEWTON_SCHULZ_A = 3.4445
NEWTON_SCHULZ_B = -4.7750
NEWTON_SCHULZ_C = 2.0315
NEWTON_SCHULZ_ITERATIONS = 5
LR_QUANTILES = 1e-3  # of the quantiles of the prior of z


def newton_schulz(x: Tensor) -> Tensor:
    """Orthogonalise matrices: return those nearest to x whose singular values are about 1.

    The iterations run on the smaller Gram matrix, and their product is applied once. For matrices
    with sides 1 : 4 this halves the multiplications.

    Args:
        x: (count, rows, columns), float32.
    """
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-12)
    tall = x.shape[1] > x.shape[2]
    gram = x.mT @ x if tall else x @ x.mT
    product: Tensor | None = None
    for number in range(NEWTON_SCHULZ_ITERATIONS):
        factor = torch.baddbmm(gram, gram, gram, beta=NEWTON_SCHULZ_B, alpha=NEWTON_SCHULZ_C)
        factor.diagonal(dim1=1, dim2=2).add_(NEWTON_SCHULZ_A)
        product = factor if product is None else factor @ product
        if number < NEWTON_SCHULZ_ITERATIONS - 1:
            gram = factor @ gram @ factor
    assert product is not None
    return x @ product if tall else product @ x


def newton_schulz_bf16(x: Tensor) -> Tensor:
    """Do the same in bfloat16, with every iteration applied to the matrices themselves.

    The products of Gram matrices in `newton_schulz` would lose too much precision in 8 bits.
    """
    tall = x.shape[1] > x.shape[2]
    y = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-12)).bfloat16()
    y = y.mT.contiguous() if tall else y
    for _ in range(NEWTON_SCHULZ_ITERATIONS):
        gram = y @ y.mT
        factor = torch.baddbmm(gram, gram, gram, beta=NEWTON_SCHULZ_B, alpha=NEWTON_SCHULZ_C)
        y = torch.baddbmm(y, factor, y, beta=NEWTON_SCHULZ_A)
    result: Tensor = (y.mT if tall else y).float()
    return result


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised by Newton-Schulz iterations (Jordan et al. 2024, "Muon").

    Matrices of the same shape are batched into one multiplication.

    Args:
        params: 1x1 convolution weights, see `is_matrix`.
        lr: learning rate.
        momentum: decay of the averaged gradient.
        bf16: orthogonalise in bfloat16.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, bf16: bool = False
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.orthogonalise = newton_schulz_bf16 if bf16 else newton_schulz

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault((p.shape[0], p[0].numel()), []).append(p)
            for (rows, columns), params in by_shape.items():
                self._update(params, rows, columns, group["lr"], group["momentum"])

    def _update(
        self, params: list[Tensor], rows: int, columns: int, lr: float, momentum: float
    ) -> None:
        for p in params:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in params]
        grads = [p.grad for p in params if p.grad is not None]
        torch._foreach_lerp_(momenta, grads, 1 - momentum)
        nesterov = torch._foreach_lerp(grads, momenta, momentum)
        updates = self.orthogonalise(torch.stack([g.reshape(rows, columns) for g in nesterov]))
        torch._foreach_add_(
            params,
            [u.reshape(p.shape) for p, u in zip(params, updates, strict=True)],
            alpha=-lr * max(1, rows / columns) ** 0.5,
        )


def is_matrix(p: Tensor) -> bool:
    """Return whether p is the weight of a 1x1 convolution over channels."""
    return p.ndim == 4 and p.shape[1] > 1 and p.shape[2] == 1


def build_optimizers(
    autoencoder: nn.Module, config: TrainConfig, bf16: bool
) -> list[tuple[torch.optim.Optimizer, float]]:
    """Return pairs of an optimizer and its full learning rate.

    The last pair trains the quantiles of z, whose learning rate never changes.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    quantiles: list[Tensor] = []
    for name, p in autoencoder.named_parameters():
        if name.endswith("quantiles"):
            quantiles.append(p)
        elif is_matrix(p):
            matrices.append(p)
        else:
            others.append(p)
    first: torch.optim.Optimizer
    if config.optimizer == "muon":
        first = Muon(matrices, config.lr_matrix, bf16=bf16)
    elif config.optimizer == "adam":
        first = torch.optim.Adam(matrices, config.lr_matrix)
    else:
        first = torch.optim.RMSprop(matrices, config.lr_matrix, alpha=0.99)
    return [
        (first, config.lr_matrix),
        (torch.optim.Adam(others, config.lr_other), config.lr_other),
        (torch.optim.Adam(quantiles, LR_QUANTILES), LR_QUANTILES),
    ]
