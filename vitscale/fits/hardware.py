"""What accelerators like: the multiples that sizes are rounded to, and the size of a head."""

import dataclasses
import difflib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """Sizes that fill an accelerator's matrix units.

    `width_multiple`, `mlp_multiple`: width and mlp_dim are multiples of these. `head_dim`: channels of
    a head; None where any does as well. `why`: the reason for the multiples, and its source.
    """

    width_multiple: int
    mlp_multiple: int
    head_dim: int | None
    why: str


# "Tensor Core requirements": dimensions of FP16 products as multiples of 8, on A100 of 64 (128 bytes).
# Heads of 64 are the ViT papers' own, and one of the sizes that FlashAttention has kernels for.
_NVIDIA_GUIDE = "NVIDIA, Matrix Multiplication Background User's Guide"
# Chapter "How to Think About TPUs": v6e multiplies by 256 x 256, all before it by 128 x 128; what is
# smaller is padded to that. A vector register is 8 x 128, so heads below 128 channels are padded too.
_SCALING_BOOK = "Austin et al., How to Scale Your Model, chapter 2"
# A matrix product of XLA or oneDNN works off whole AVX-512 registers, each a cache line of 64 bytes.
_INTEL_GUIDE = "Intel 64 and IA-32 Architectures Optimization Reference Manual, AVX-512"

HARDWARE: dict[str, Hardware] = {
    "cpu": Hardware(
        width_multiple=16,
        mlp_multiple=16,
        head_dim=None,
        why=f"16 float32 fill a 512-bit register ({_INTEL_GUIDE})",
    ),
    "v100": Hardware(
        width_multiple=64,
        mlp_multiple=8,
        head_dim=64,
        why=f"tensor cores take FP16 by 8 ({_NVIDIA_GUIDE}), and heads have 64 channels",
    ),
    "a100": Hardware(
        width_multiple=64,
        mlp_multiple=64,
        head_dim=64,
        why=f"tensor cores are most efficient at 64 FP16 numbers, 128 bytes ({_NVIDIA_GUIDE})",
    ),
    "h100": Hardware(
        width_multiple=128,
        mlp_multiple=128,
        head_dim=64,
        why=f"products are worked off in tiles of 128 x 128 and more ({_NVIDIA_GUIDE})",
    ),
    "tpu-v4": Hardware(
        width_multiple=128,
        mlp_multiple=128,
        head_dim=128,
        why=f"the matrix unit is 128 x 128 ({_SCALING_BOOK})",
    ),
    "tpu-v5e": Hardware(
        width_multiple=128,
        mlp_multiple=128,
        head_dim=128,
        why=f"the matrix unit is 128 x 128 ({_SCALING_BOOK})",
    ),
    "tpu-v5p": Hardware(
        width_multiple=128,
        mlp_multiple=128,
        head_dim=128,
        why=f"the matrix unit is 128 x 128 ({_SCALING_BOOK})",
    ),
    "tpu-v6e": Hardware(
        width_multiple=256,
        mlp_multiple=256,
        head_dim=128,
        why=f"the matrix unit is 256 x 256, a register 128 lanes ({_SCALING_BOOK})",
    ),
}
"""Accelerators by name."""

ALIASES = {"h200": "h100"}
"""Further names: an H200 is an H100's chip with more memory."""


def hardware_named(name: str) -> Hardware:
    """The accelerator called `name`; raises `ValueError` with the nearest name where there is none."""
    if ALIASES.get(name, name) in HARDWARE:
        return HARDWARE[ALIASES.get(name, name)]
    near = difflib.get_close_matches(name.lower(), [*HARDWARE, *ALIASES], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown hardware {name!r}; {hint}known: {', '.join([*HARDWARE, *ALIASES])}")
