"""What the JAX peers of `train_step.py` share: threads, a batch, AdamW, and the compiled step."""

import os
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers.step_server import Cell, Prepared

LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4


def limit_threads(threads: int) -> None:
    """Give XLA this many processors, and so threads; call before jax is imported."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def prepare_step(
    initial: Callable[[], Any], logits: Callable[[Any, Any], Any], cell: Cell
) -> Prepared:
    """The compiled step of AdamW on the softmax cross-entropy of `logits(params, images)`."""
    import jax
    import optax
    from jax import numpy as jnp

    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    size = (cell.batch, cell.image_size, cell.image_size, 3)
    images = jax.random.normal(jax.random.key(0), size)
    labels = jnp.arange(cell.batch) % cell.classes

    def batch_loss(params: Any, images: Any, labels: Any) -> Any:
        scores = logits(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    def step(params: Any, state: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(batch_loss)(params, images, labels)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    params = jax.jit(initial)()
    state = jax.jit(optimizer.init)(params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    began = time.process_time()
    jitted = jax.jit(step, donate_argnums=(0, 1))
    compiled = jitted.lower(params, state, images, labels).compile()
    compile_cpu_s = time.process_time() - began
    params, state, loss = compiled(params, state, images, labels)

    def run(steps: int) -> None:
        nonlocal params, state, loss
        for _ in range(steps):
            params, state, loss = compiled(params, state, images, labels)
        jax.block_until_ready(loss)

    return Prepared(parameters, float(loss), compile_cpu_s, run)
