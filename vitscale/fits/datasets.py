"""Published measurements that ship with the package.

| name | what | source |
| --- | --- | --- |
| `sovit_star_sweep` | ImageNet 10-shot error of every shape of the star sweep at its durations, and the paper's own prediction | "Getting ViT in Shape" (arXiv 2305.13035v5), recovered from the coordinates of Figure 4 (exact to 2e-5) and the closed-form FLOP count |
| `scaling_vit_fewshot` | few-shot accuracies by model, data size and steps, with compute | "Scaling Vision Transformers" (arXiv 2106.04560v2), Tables 4 to 13; core-days from Figure 2 |
| `chinchilla` | loss of language models by parameters and tokens | "Training Compute-Optimal Large Language Models" (arXiv 2203.15556), Figure 4, as digitised in kyo-takano/chinchilla (`examples/llm/df.csv`, Apache-2.0) |
"""

from pathlib import Path
from typing import TYPE_CHECKING

from vitscale.scaling.names import suggest

if TYPE_CHECKING:  # a rule wants a column of numbers alone, and pandas is slow to start
    import pandas as pd

_FOLDER = Path(__file__).parent / "published"

NAMES = ("sovit_star_sweep", "scaling_vit_fewshot", "chinchilla")


def path(name: str) -> Path:
    """The CSV file of the published data set `name`.

    Raises `ValueError` for a name that is not in `NAMES`.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; {suggest(name, NAMES)}")
    return _FOLDER / f"{name}.csv"


def load_sovit_star() -> "pd.DataFrame":
    """The star sweep of Getting ViT in Shape: 54 arm runs and the centre's two under each dimension.

    Columns: `dimension`, `x` (size of that dimension), `is_center`, `width`, `depth`, `mlp_dim`,
    `images`, `forward_gflops_per_image` (XLA count, trunk with GAP), `forward_gflops` (times images:
    the paper's t), `error` (ImageNet linear 10-shot), `paper_predicted_error`.
    """
    import pandas as pd

    return pd.read_csv(path("sovit_star_sweep"))


def load_scaling_vit_fewshot() -> "pd.DataFrame":
    """Appendix Tables 4 to 13 of Scaling Vision Transformers, 262 rows.

    Columns: `model`, `table`, `data_size` (images in the pre-training set), `steps_bs4096`,
    accuracies in percent (`inet5`, `inet10`, `cifar5`, ... with the number of shots),
    `core_days_fig2` (TPUv3 core-days) and `fwd_gflops_total`.
    """
    import pandas as pd

    return pd.read_csv(path("scaling_vit_fewshot"))


def load_chinchilla() -> "pd.DataFrame":
    """The training runs of Chinchilla's Figure 4, 234 rows.

    Columns: `C` (training FLOPs), `N` (parameters), `D` (training tokens), `loss` (nats per token).
    """
    import pandas as pd

    return pd.read_csv(path("chinchilla"))
