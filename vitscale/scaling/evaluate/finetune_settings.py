"""How long and how fast to fine-tune on a data set: the papers' tables, and a default for all others."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Fine-tuning by SGD with momentum, on a cosine schedule, without weight decay.

    - `learning_rates`: peaks to choose from on the part `held_out` of each class of the training
      images; the chosen one then trains on all of them.
    - `warmup_steps`: in which the learning rate rises linearly from 0.
    - `clip_norm`: largest global norm of a gradient.
    """

    steps: int
    learning_rates: tuple[float, ...]
    held_out: float
    warmup_steps: int = 0
    batch_size: int = 512
    momentum: float = 0.9
    clip_norm: float = 1.0


# Vision Transformer (arXiv 2010.11929), Table 4 and Appendix B.1.1; its 0.06 on ImageNet was tried
# for ResNets alone. The warm-up on ImageNet is that of Scaling Vision Transformers, Appendix.
_IMAGENET = FinetuneSettings(
    steps=20_000, learning_rates=(0.003, 0.01, 0.03), held_out=0.01, warmup_steps=500
)
_CIFAR = FinetuneSettings(steps=10_000, learning_rates=(0.001, 0.003, 0.01, 0.03), held_out=0.02)
_SMALL = FinetuneSettings(steps=500, learning_rates=(0.001, 0.003, 0.01, 0.03), held_out=0.1)

SETTINGS: dict[str, FinetuneSettings] = {
    "imagenet2012": _IMAGENET,
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "oxford_iiit_pet": _SMALL,
    "oxford_flowers102": _SMALL,
}
"""By the task's name, which is that of TFDS."""

HIGH_RESOLUTION = 384 / 224
"""Times the image size of pre-training, in the papers' fine-tuning at higher resolution."""


def settings_for(task: str) -> FinetuneSettings:
    """The papers' settings of a data set; of one that they do not name, those of their small ones."""
    return SETTINGS.get(task, _SMALL)
