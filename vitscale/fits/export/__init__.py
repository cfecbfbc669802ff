"""A shape as the config files of the frameworks that can train it.

`TARGETS` is the table of what a shape can be emitted for, one file of this folder for each;
`write_targets` writes the files of some of them into a folder.

The model behind all of them is the one whose cost `Shape` counts: pre-norm, learned positions,
biases everywhere, LayerNorm epsilon 1e-6, tanh-approximated GELU. `tests/interop` builds the models
from the files, counts them and gives them weights. No framework is imported here, nor jax.
"""

from vitscale.fits.export.big_vision import big_vision_config as big_vision_config
from vitscale.fits.export.big_vision import big_vision_python as big_vision_python
from vitscale.fits.export.huggingface import huggingface_config as huggingface_config
from vitscale.fits.export.openclip import openclip_config as openclip_config
from vitscale.fits.export.table import TARGETS as TARGETS
from vitscale.fits.export.table import Written as Written
from vitscale.fits.export.table import target_texts as target_texts
from vitscale.fits.export.table import targets_named as targets_named
from vitscale.fits.export.table import write_targets as write_targets
from vitscale.fits.export.table import write_texts as write_texts
from vitscale.fits.export.target import Emission as Emission
from vitscale.fits.export.target import Target as Target
from vitscale.fits.export.target import Training as Training
from vitscale.fits.export.timm import timm_config as timm_config
from vitscale.fits.export.timm import timm_keywords as timm_keywords
from vitscale.fits.export.trial import trial_toml as trial_toml
from vitscale.fits.export.writing import json_text as json_text
from vitscale.fits.export.writing import replace_text as replace_text
from vitscale.fits.shape_file import ModelSpec as ModelSpec
from vitscale.fits.shape_file import shape_from_json as shape_from_json
from vitscale.fits.shape_file import shape_json as shape_json
