"""What a reader of the documentation has at some point, made in seconds: sweeps that were measured, images, runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from vitscale.fits import datasets
from vitscale.sweeps import Store, preset, run
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine

# Runs as docs/import.md shows them, by name: a width, and an error at the last of 10,000 steps.
_RUNS = {"w192": (192, 0.3616), "w384": (384, 0.3232)}
_LAST = 10_000


def _measured(name: str, store: Path, metric: str = "simulated_error") -> None:
    """Both sweeps of a preset, by a law instead of training: what `vitscale sweep` then finds is all done."""
    opened = Store.open(store, create=True)
    for kind in ("grid", "star"):
        engine = SimulatedEngine(noise=Noise(own=0.003), metric=metric)
        assert run(preset(f"{name}-{kind}"), engine, opened).complete


def _images(folder: Path, classes: tuple[str, ...], each: int) -> None:
    """Class folders of small pictures, whose classes differ in colour."""
    draws = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = draws.integers(0, 120, (32, 32, 3))
            pixels[..., number % 3] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")


def _table(path: Path) -> None:
    """As W&B exports it; the last run did not finish."""
    path.write_text(
        "Name,State,config/model.embed_dim,config/model.depth,config/model.mlp_ratio,config/model.num_heads,"
        "config/patch_size,config/img_size,config/batch_size,config/epochs,config/seed,val/top1\n"
        'w192,finished,192,12,4,3,"[16, 16]",224,1024,90,0,74.1\n'
        'w384,finished,384,12,4,6,"[16, 16]",224,1024,90,0,79.8\n'
        'w768,crashed,768,12,4,12,"[16, 16]",224,1024,90,0,61.0\n'
    )


def _language_models(path: Path) -> None:
    """The shipped runs of Chinchilla, with columns named as people do."""
    names = {"N": "params", "D": "tokens", "C": "train_flops", "loss": "val_loss"}
    pd.read_csv(datasets.path("chinchilla")).rename(columns=names).to_csv(path, index=False)


def _wandb(folder: Path) -> None:
    import wandb

    for name, (width, error) in _RUNS.items():
        model = {"hidden_size": width, "num_hidden_layers": 12, "intermediate_size": 4 * width}
        started = wandb.init(
            project="star",
            dir=str(folder),
            mode="offline",
            id=name,
            name=name,
            config={
                "model": {**model, "num_attention_heads": width // 64},
                "patch_size": 16,
                "image_size": 224,
                "batch_size": 1024,
            },
            settings=wandb.Settings(silent=True, console="off"),
        )
        for step in (_LAST // 2, _LAST):
            value = error * (_LAST / step) ** 0.5
            measured = {"train/loss": 2.0, "val/error": value, "val/top1": 1 - value}
            started.log(measured, step=step)
        started.finish()
    wandb.teardown()


def _mlflow(folder: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment(
        "star", artifact_location=(folder / "mlartifacts").as_uri()
    )
    for name, (width, error) in _RUNS.items():
        started = client.create_run(experiment, run_name=name).info.run_id
        model = {"embed_dim": width, "depth": 12, "mlp_ratio": 4, "num_heads": width // 64}
        for key, value in {f"model.{key}": value for key, value in model.items()}.items():
            client.log_param(started, key, value)
        client.log_param(started, "lr", 1e-3)
        for step in (_LAST // 2, _LAST):
            client.log_metric(started, "val_top1", 1 - error * (_LAST / step) ** 0.5, step=step)
        client.set_terminated(started)


def _tensorboard(folder: Path) -> None:
    from tensorboard.summary import Writer

    names = {"w192": "vit_tiny_patch16_224", "w384": "vit_small_patch16_224"}
    for name, (_, error) in _RUNS.items():
        own = folder / "logs" / name
        writer = Writer(str(own))
        for step in (_LAST // 2, _LAST):
            writer.add_scalar("val/loss", 5 * error * (_LAST / step) ** 0.5, step)
        writer.close()
        told = {"model": names[name], "batch_size": 1024, "max_steps": _LAST, "lr": 1e-3}
        (own / "hparams.yaml").write_text(yaml.safe_dump(told))


GIVEN: dict[str, Callable[[Path, Path], None]] = {
    "the laptop's sweeps measured in runs/laptop": lambda folder, home: _measured(
        "laptop", folder / "runs" / "laptop"
    ),
    "the quickstart's sweeps measured": lambda folder, home: _measured(
        "quickstart", folder / "vitscale-quickstart" / "store"
    ),
    "images of flowers": lambda folder, home: _images(
        home / "images" / "flowers", ("daisy", "rose", "tulip"), each=30
    ),
    "a table of runs": lambda folder, home: _table(folder / "runs.csv"),
    "a table of language models": lambda folder, home: _language_models(folder / "runs.csv"),
    "runs of W&B": lambda folder, home: _wandb(folder),
    "runs of MLflow": lambda folder, home: _mlflow(folder),
    "runs of TensorBoard": lambda folder, home: _tensorboard(folder),
}
"""By the name that pages call it: a function of the reader's folder and home."""
