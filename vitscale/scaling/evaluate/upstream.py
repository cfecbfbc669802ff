"""Loss and error on images of the training classes that training never sees."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from vitscale.scaling.data.batch import Source, image_set
from vitscale.scaling.evaluate.finite import check_finite
from vitscale.scaling.evaluate.frozen import FORWARD_BATCH, FrozenModel, Metric, Outputs


def metrics(model: FrozenModel, source: Source) -> Iterator[Metric]:
    """`upstream_loss` (softmax cross-entropy, nats) and `upstream_error` on held-out images.

    The loss is the same function whatever the recipe's, without label smoothing, so that recipes can
    be compared; a model trained by sigmoid cross-entropy also gives that, summed over classes, as
    `upstream_sigmoid_loss`. Labels of -1 are padding and are left out. No two batches are held at
    once: logits of 21,843 classes would take gigabytes.

    Raises `NotFiniteError` where the logits are not finite, `ValueError` where there is no image.
    """
    sigmoid = model.recipe.loss == "sigmoid"
    examples, sums = 0, np.zeros(3)
    for outputs in _batches(model, source):
        labelled = outputs.labels >= 0
        logits, labels = outputs.logits[labelled], outputs.labels[labelled]
        check_finite(logits, "upstream logits")
        _check_labels(labels, logits.shape[1])
        sums[0] += _softmax_cross_entropy(logits, labels).sum(dtype=np.float64)
        sums[1] += np.sum(logits.argmax(-1) != labels)
        if sigmoid:
            sums[2] += _sigmoid_cross_entropy(logits, labels).sum(dtype=np.float64)
        examples += len(labels)
    if not examples:
        raise ValueError("the evaluation split holds no labelled image; name one in eval_split")
    loss, error, sigmoid_loss = sums / examples
    yield Metric("upstream_loss", float(loss))
    yield Metric("upstream_error", float(error))
    if sigmoid:
        yield Metric("upstream_sigmoid_loss", float(sigmoid_loss))


def _batches(model: FrozenModel, source: Source) -> Iterator[Outputs]:
    images = source.evaluation()
    for batch in images.batches(FORWARD_BATCH):
        yield model.outputs(image_set(batch.images, batch.labels, classes=images.classes))


def _check_labels(labels: Int[np.ndarray, " n"], classes: int) -> None:
    if len(labels) and labels.max() >= classes:
        raise ValueError(
            f"the evaluation split holds class {labels.max()}, but the model tells {classes} classes "
            f"apart; name a split of the data that it was trained on in eval_split"
        )


def _softmax_cross_entropy(
    logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    chosen = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return special.logsumexp(logits, axis=1) - chosen


def _sigmoid_cross_entropy(
    logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    chosen = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return np.logaddexp(0, logits).sum(1, dtype=np.float64) - chosen
