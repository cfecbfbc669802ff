"""timm's VisionTransformer, eager or compiled, in the race of `train_step.py`; needs torch and timm.

Runs in an environment of its own, and imports nothing of vitscale.
"""

import sys
import time

from benchmarks.peers.jax_step import LEARNING_RATE, WEIGHT_DECAY
from benchmarks.peers.step_server import Cell, Prepared, serve


def prepare(cell: Cell) -> Prepared:
    """Its step on the GPU if there is one; its own initial parameters, but a classifier of zeros.

    Arguments "compile" and "bfloat16" have it compiled and run in mixed precision.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(cell.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    declare_missing_operators()
    from timm.models.vision_transformer import (  # pyright: ignore[reportMissingImports]
        VisionTransformer,
    )

    model = VisionTransformer(
        img_size=cell.image_size,
        patch_size=cell.patch,
        embed_dim=cell.width,
        depth=cell.depth,
        num_heads=cell.heads,
        mlp_ratio=(cell.mlp_dim + 0.5) / cell.width,
        num_classes=cell.classes,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
        act_layer="gelu_tanh",
    ).to(device)
    torch.nn.init.zeros_(model.head.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    images = torch.randn(cell.batch, 3, cell.image_size, cell.image_size, device=device)
    labels = torch.arange(cell.batch, device=device) % cell.classes
    forward = torch.compile(model) if "compile" in sys.argv[1:] else model
    half = torch.autocast(device, torch.bfloat16, enabled="bfloat16" in sys.argv[1:])

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with half:
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run(steps: int) -> None:
        losses = [step() for _ in range(steps)]
        losses[-1].item()  # a GPU may still be at work

    parameters = sum(p.numel() for p in model.parameters())
    began = time.process_time()
    loss = float(step())
    return Prepared(parameters, loss, time.process_time() - began, run)


def declare_missing_operators() -> None:
    """Let timm import a torchvision built for another torch, by declaring what it looks for."""
    import torch  # pyright: ignore[reportMissingImports]

    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor a) -> Tensor")


if __name__ == "__main__":
    serve(prepare)
