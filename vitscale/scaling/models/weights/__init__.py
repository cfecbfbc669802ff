"""A ViT's weights in and out: timm's, transformers', big_vision's and vitscale's own layout.

    weights = read_weights(Path("model.safetensors"), heads=12)
    params = params_from_weights(weights)              # what a `Vit` of `weights.spec` takes
    arrays = LAYOUTS["timm"].write(weights_from_params(params, weights.spec))

Nothing here imports jax or any of the frameworks.
"""

from vitscale.scaling.models.weights.files import write_npz as write_npz
from vitscale.scaling.models.weights.files import write_safetensors as write_safetensors
from vitscale.scaling.models.weights.folder import new_folder as new_folder
from vitscale.scaling.models.weights.layouts import LAYOUTS as LAYOUTS
from vitscale.scaling.models.weights.layouts import Layout as Layout
from vitscale.scaling.models.weights.layouts import read_weights as read_weights
from vitscale.scaling.models.weights.spec import VitSpec as VitSpec
from vitscale.scaling.models.weights.spec import Weights as Weights
from vitscale.scaling.models.weights.spec import parameter_sizes as parameter_sizes
from vitscale.scaling.models.weights.tree import params_from_weights as params_from_weights
from vitscale.scaling.models.weights.tree import weights_from_params as weights_from_params
