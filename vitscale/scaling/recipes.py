"""Named recipes: those of the papers, each number with its source, and the embedded default.

Papers give weight decay as a multiple of the learning rate (AdamW: p -= lr (u + wd p)); a recipe's is
what a step at the peak takes away, so theirs is multiplied by the peak learning rate here. What a paper
leaves open is said at its recipe. `docs/recipes.md` has them side by side, with the lengths of training.
"""

import dataclasses

from vitscale.scaling.recipe import Recipe

# Getting ViT in Shape (arXiv 2305.13035), Table 5, for both of its sweeps: 224 pixels, batch 128,
# Inception crop and flip, Adafactor, clipping at 1, learning rate 8e-4, decay 0.03 x 8e-4, no label
# smoothing, reciprocal square root with 10K steps of warmup and 50K of cooldown. What Table 5 leaves
# open is that of Scaling Vision Transformers (arXiv 2106.04560): Section 3.4, momentum in bfloat16;
# Appendix B, 100 times the decay on the head; Appendix C, sigmoid loss; and of big_vision's
# `train_vit_g.py`: timescale 10K, evaluation on resize(256) and central crop(224). The readout is the
# one whose compute the paper's own axes count.
_SOVIT = Recipe(
    data="jft-3b",
    image_size=224,
    crop="inception",
    flip=True,
    eval_crop_ratio=224 / 256,
    readout="gap",
    batch_size=128,
    loss="sigmoid",
    label_smoothing=0.0,
    optimizer="adafactor",
    momentum_dtype="bfloat16",
    learning_rate=8e-4,
    clip_norm=1.0,
    body_weight_decay=0.03 * 8e-4,
    head_weight_decay=100 * 0.03 * 8e-4,
    schedule="rsqrt",
    warmup_steps=10_000,
    timescale_steps=10_000,
    cooldown_steps=50_000,
    precision="bfloat16",  # what a TPU rounds the inputs of matrix products to
)

# An Image is Worth 16x16 Words (arXiv 2010.11929), Table 3, rows ViT-B and ViT-L on ImageNet-21k (90
# epochs): Adam with 0.9 and 0.999, batch 4096, learning rate 1e-3, 10K steps of warmup, linear decay,
# weight decay 0.03, dropout 0.1, no clipping. How the decay is coupled, the loss and the augmentation
# are not said: AdamW, softmax, and the crop and flip of AugReg, by the same authors. The paper's
# classifier has a hidden layer in pre-training; ours is linear.
_VIT = Recipe(
    data="imagenet21k",
    image_size=224,
    crop="inception",
    flip=True,
    eval_crop_ratio=224 / 256,
    readout="tok",
    batch_size=4096,
    loss="softmax",
    optimizer="adamw",
    adam_b1=0.9,
    adam_b2=0.999,
    learning_rate=1e-3,
    clip_norm=1e9,
    body_weight_decay=0.03 * 1e-3,
    head_weight_decay=0.03 * 1e-3,
    dropout=0.1,
    schedule="linear",
    warmup_steps=10_000,
    cooldown_steps=0,
    precision="bfloat16",
)

RECIPES: dict[str, Recipe] = {
    "sovit": _SOVIT,
    # Scaling Vision Transformers, Sections 3.2-3.4 and Appendices B and C: as above, but batch 4096 and
    # attention pooling. Its runs of 30K and 60K steps cool down for 10K, ours for 15K and 30K.
    "scaling-vit": dataclasses.replace(_SOVIT, batch_size=4096, readout="map"),
    "vit": _VIT,
    # The same paper's row ViT-* on ImageNet (300 epochs): learning rate 3e-3, cosine, weight decay 0.3,
    # clipping at 1.
    "vit-i1k": dataclasses.replace(
        _VIT,
        data="tfds:imagenet2012",
        eval_split="validation",
        learning_rate=3e-3,
        schedule="cosine",
        body_weight_decay=0.3 * 3e-3,
        head_weight_decay=0.3 * 3e-3,
        clip_norm=1.0,
    ),
    # How to train your ViT? (arXiv 2106.10270), ImageNet, 300 epochs, for B/16: Section 3.4, Adam with 0.9
    # and 0.999, batch 4096, learning rate 1e-3, cosine with 10K steps of warmup, clipping at 1, crop and
    # flip, weight decay 0.1; big_vision's `vit_i1k.py`: augmentation medium2 (RandAugment of 2 layers at
    # magnitude 15, Mixup 0.5) without dropout for B/16, 99% of the training images, softmax loss, first
    # moment in bfloat16. The config's tanh layer before the classifier is left out.
    "augreg": dataclasses.replace(
        _VIT,
        data="tfds:imagenet2012",
        train_split="train[:99%]",
        eval_split="validation",
        schedule="cosine",
        body_weight_decay=0.1 * 1e-3,
        head_weight_decay=0.1 * 1e-3,
        clip_norm=1.0,
        momentum_dtype="bfloat16",
        randaugment_layers=2,
        randaugment_magnitude=15,
        mixup=0.5,
        dropout=0.0,
    ),
    # The embedded default: procedural glyphs, for minutes on a CPU. The learning rate's place and its
    # exponents are measured: benchmarks/learning_rate.py.
    "glyphs": Recipe(
        data="glyphs",
        image_size=16,
        channels=1,
        batch_size=64,
        learning_rate=8.5e-3,
        reference_width=24,
        reference_depth=4,
        lr_width_exponent=0.4,
        lr_depth_exponent=0.2,
        warmup_steps=50,
        timescale_steps=1_000,
        cooldown_steps=1_000_000,
        cooldown_max_fraction=0.3,
        body_weight_decay=1e-4,
        head_weight_decay=1e-4,
        adam_b2=0.99,
    ),
}
"""Named recipes."""
