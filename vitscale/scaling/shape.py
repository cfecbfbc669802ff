"""The shape of a Vision Transformer and what it costs: parameters and forward FLOPs by closed form.

Pure Python, so that plans and fits can count without importing jax. The forms were derived for the
ViT of google-research/big_vision (pre-norm, learned positions, biases everywhere, final LayerNorm)
and agree with XLA's own cost analysis to 2e-5; `tests/scaling/test_shape.py` counts the real module.

Three things change a count, and each has a name here, because papers mix them freely:

- what is included: the `readout` ("gap", "map" or "tok") and the `classes` of a linear classifier;
- the unit: `counting` is "mac" (multiply-adds of the matrix products), "2mac" (2 FLOPs each) or
  "xla" (2 per multiply-add plus elementwise work, as XLA's cost analysis reports it);
- the image: `image_size` and `channels`.

`CONVENTIONS` names the combinations that the papers use.
"""

import dataclasses
from typing import Literal, get_args

from vitscale.scaling.names import suggest

Readout = Literal["gap", "map", "tok"]
"""How tokens become one feature: mean over tokens, attention pooling with an MLP, or a class token."""

Counting = Literal["mac", "2mac", "xla"]

DIMENSIONS = ("width", "depth", "mlp_dim")
"""The shape dimensions that SoViT scales, in the order used everywhere."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of one ViT encoder.

    Units: `width` and `mlp_dim` are channels, `depth` is blocks, `patch` is pixels. `heads` is not
    derived from `width`: SoViT-400m has 16 heads of 72 channels.

    Raises `ValueError` where a size is not a positive whole number or `heads` does not divide `width`.
    """

    width: int
    depth: int
    mlp_dim: int
    heads: int
    patch: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{field.name}={value!r} is not a size; expected a whole number from 1"
                )
        if self.width % self.heads:
            below = self.width // self.heads * self.heads
            options = " or ".join(str(w) for w in (below, below + self.heads) if w)
            raise ValueError(
                f"width={self.width} is not divisible by heads={self.heads}; use {options}"
            )

    def __str__(self) -> str:
        return (
            f"width {self.width}, depth {self.depth}, mlp_dim {self.mlp_dim}, "
            f"{self.heads} heads, patch {self.patch}"
        )

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    def tokens(self, image_size: int) -> int:
        """Patches of a square image of `image_size` pixels; what does not fill a patch is cut off.

        Raises `ValueError` where the image is smaller than one patch.
        """
        side = image_size // self.patch
        if not side:
            raise ValueError(
                f"image_size={image_size} is smaller than patch={self.patch}; "
                f"use an image of at least {self.patch} pixels or a smaller patch"
            )
        return side * side

    def check_model(self, *, image_size: int, readout: str, channels: int, classes: int) -> None:
        """Raises `ValueError` that names the value where these do not make a model of this shape."""
        if readout not in get_args(Readout):
            options = suggest(str(readout), get_args(Readout))
            raise ValueError(f"readout={readout!r} is unknown; {options}")
        for name, value, low in (
            ("image_size", image_size, 1),
            ("channels", channels, 1),
            ("classes", classes, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name}={value!r} is not a whole number from {low}")
        self.tokens(image_size)

    def params(
        self,
        *,
        image_size: int = 224,
        readout: Readout = "gap",
        classes: int = 0,
        channels: int = 3,
    ) -> int:
        """Number of parameters, with learned positions for `image_size` and `classes` outputs (0: none)."""
        w, m = self.width, self.mlp_dim
        embedding = channels * self.patch**2 * w + w + self.tokens(image_size) * w
        blocks = self.depth * (4 * w * w + 2 * w * m + 9 * w + m)
        final_norm = 2 * w
        return embedding + blocks + final_norm + self._readout_params(readout) + (w + 1) * classes

    def forward_flops(
        self,
        *,
        image_size: int = 224,
        readout: Readout = "gap",
        classes: int = 0,
        channels: int = 3,
        counting: Counting = "xla",
    ) -> int:
        """Work of one forward pass over one image, in multiply-adds ("mac") or FLOPs ("2mac", "xla").

        Exponentials, tanh and square roots count nothing in "xla", as in XLA's own figure.
        """
        w, m, depth, heads = self.width, self.mlp_dim, self.depth, self.heads
        patches = self.tokens(image_size)
        n = patches + (readout == "tok")

        mac = patches * channels * self.patch**2 * w
        mac += depth * (4 * n * w * w + 2 * n * n * w + 2 * n * w * m)
        if readout == "map":
            mac += 2 * w * w + 2 * n * w * w + 2 * n * w + 2 * w * m
        mac += classes * w
        if counting == "mac":
            return mac
        if counting == "2mac":
            return 2 * mac

        # Elementwise coefficients: exact integer fits to XLA's cost analysis of small ViTs.
        block = 22 * n * w + 9 * n * m + 4 * heads * n * n - heads * n + 8 * n
        outside = 10 * n * w + 4 * n
        if readout == "map":
            outside += n * w + 12 * w + 9 * m + 4 * heads * n
        if readout == "tok":
            # No mean over tokens, and the class token has neither a patch bias nor a position.
            outside -= n * w + 2 * w
        return 2 * mac + depth * block + outside + classes

    def train_flops(self, examples: float, *, image_size: int, **convention) -> float:
        """Training compute in FLOPs: 3 x forward FLOPs x `examples` seen (backward costs two forwards).

        `convention` takes the keywords of `forward_flops`.
        """
        return 3.0 * self.forward_flops(image_size=image_size, **convention) * examples

    def _readout_params(self, readout: Readout) -> int:
        w, m = self.width, self.mlp_dim
        match readout:
            case "gap":
                return 0
            case "tok":
                return w
            case "map":
                return 4 * w * w + 2 * w * m + 8 * w + m


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convention:
    """What a published count includes; pass `**convention.keywords` to `Shape.forward_flops`."""

    readout: Readout
    classes: int
    counting: Counting
    source: str

    @property
    def keywords(self) -> dict:
        """Keyword arguments for `Shape.forward_flops`."""
        return {"readout": self.readout, "classes": self.classes, "counting": self.counting}


CONVENTIONS = {
    "sovit-t": Convention(
        readout="gap",
        classes=0,
        counting="xla",
        source="the compute t of Getting ViT in Shape (arXiv 2305.13035), Figures 3 and 4",
    ),
    "sovit-table1": Convention(
        readout="map",
        classes=0,
        counting="xla",
        source="Getting ViT in Shape, Table 1",
    ),
    "scaling-vit": Convention(
        readout="gap",
        classes=29_593,
        counting="xla",
        source="Scaling Vision Transformers (arXiv 2106.04560), Table 2: trunk and JFT-3B classifier",
    ),
    "mac": Convention(
        readout="gap",
        classes=0,
        counting="mac",
        source="multiply-adds of the matrix products; what many model cards print as GFLOPs",
    ),
    "2mac": Convention(
        readout="gap",
        classes=0,
        counting="2mac",
        source="two FLOPs for each multiply-add, elementwise work left out",
    ),
}
"""The counting conventions of the papers, by name."""


# name: (width, depth, mlp_dim, heads, source)
_VARIANTS: dict[str, tuple[int, int, int, int, str]] = {
    "mu": (32, 1, 128, 2, "big_vision"),
    "s": (256, 6, 1024, 8, "Scaling Vision Transformers, Table 2"),
    "Ti": (192, 12, 768, 3, "Scaling Vision Transformers, Table 2; DeiT"),
    "S": (384, 12, 1536, 6, "Scaling Vision Transformers, Table 2; DeiT"),
    "M": (512, 12, 2048, 8, "big_vision"),
    "B": (768, 12, 3072, 12, "An Image is Worth 16x16 Words, Table 1"),
    "L": (1024, 24, 4096, 16, "An Image is Worth 16x16 Words, Table 1"),
    "H": (1280, 32, 5120, 16, "An Image is Worth 16x16 Words, Table 1"),
    "g": (1408, 40, 6144, 16, "Scaling Vision Transformers, Table 2"),
    "G": (1664, 48, 8192, 16, "Scaling Vision Transformers, Table 2"),
    "So150m": (880, 18, 2320, 16, "Getting ViT in Shape, Section 4"),
    "So400m": (1152, 27, 4304, 16, "Getting ViT in Shape, Section 4"),
    "g-opt": (1536, 40, 6144, 16, "big_vision"),
    "G-opt": (1536, 48, 8192, 16, "big_vision"),
    "e": (1792, 56, 15360, 16, "PaLI; big_vision"),
}

NAMED_VARIANTS = tuple(_VARIANTS)
"""Names that `named_shape` knows, without the patch size."""


def named_shape(name: str) -> Shape:
    """The published shape called `name`, such as "B/16", "ViT-g/14" or "SoViT-400m/14".

    Raises `ValueError` for a name that is not in `NAMED_VARIANTS` or lacks its patch size.
    """
    variant, slash, patch = name.strip().partition("/")
    variant = variant.removeprefix("ViT-").replace("SoViT-", "So")
    if variant not in _VARIANTS:
        letters = variant.rstrip("0123456789")
        if not slash and letters in _VARIANTS and letters != variant:  # S16 for S/16
            whole = f"{letters}/{variant.removeprefix(letters)}"
            raise ValueError(f"unknown ViT {name!r}; did you mean {whole!r}?")
        near = suggest(variant, NAMED_VARIANTS, listed=False)
        raise ValueError(
            f"unknown ViT {name!r}; {near}known: {', '.join(NAMED_VARIANTS)}, followed by a patch size, "
            f"such as B/16"
        )
    if not slash or not patch.isdecimal():
        raise ValueError(f"{name!r} lacks its patch size in pixels; write it as {variant}/16")
    width, depth, mlp_dim, heads, _ = _VARIANTS[variant]
    return Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=int(patch))
