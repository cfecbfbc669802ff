"""The same function as everyone's ViT: timm's and transformers' weights in ours, and ours in theirs.

Weights are random with every bias, norm and position in play, as in a trained model: as initialised,
many parts of a ViT look alike.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest

from vitscale.commands.convert import Convert, run
from vitscale.fits.export import ModelSpec, huggingface_config, timm_keywords
from vitscale.scaling.models.weights import LAYOUTS, read_weights
from vitscale.scaling.shape import Shape

pytestmark = pytest.mark.interop

# 240 / 208 is a ratio that timm would round to 239 channels.
ODD = Shape(width=208, depth=3, mlp_dim=240, heads=4, patch=16)
# SoViT-400m/14 an eighth as wide: heads of 72 channels, and mlp_dim / width as there.
SOVIT = Shape(width=144, depth=3, mlp_dim=538, heads=2, patch=14)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model of timm: what our config says of it, and what timm's own has otherwise."""

    shape: Shape
    readout: str
    image_size: int = 64
    channels: int = 3
    classes: int = 0
    timm_options: tuple[tuple[str, bool], ...] = ()

    @property
    def spec(self) -> ModelSpec:
        names = ("shape", "image_size", "readout", "channels", "classes")
        return ModelSpec(**{name: getattr(self, name) for name in names})


CASES = {
    "siglip": Case(ODD, "map"),
    "sovit": Case(SOVIT, "map", image_size=56),
    "map with classes": Case(ODD, "map", classes=7),
    "gap": Case(ODD, "gap", classes=7),
    "gap of one channel, pixels left over": Case(SOVIT, "gap", image_size=50, channels=1),
    "class token": Case(ODD, "tok", classes=7),
    "class token without classes": Case(SOVIT, "tok", image_size=56),
    # timm's ordinary ViT, such as vit_base_patch16_224.
    "class token with a position": Case(
        ODD, "tok", classes=7, timm_options=(("no_embed_class", False),)
    ),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def trained(torch, model):
    """The model with weights such as training leaves: no part is zero, and norms are not the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 2:
                parameter.copy_(noise / parameter.shape[1] ** 0.5)
            elif "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return model.eval()


def timm_model(torch, timm, case: Case):
    options = timm_keywords(case.spec) | dict(case.timm_options)
    return trained(torch, timm.models.vision_transformer.VisionTransformer(**options))


def images_for(torch, case: Case):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, case.channels, case.image_size, case.image_size, generator=generator)


def of_torch(torch, model, images) -> np.ndarray:
    with torch.no_grad():
        return model(images).numpy()


def of_ours(weights, images) -> np.ndarray:
    """Logits, or features where there is no classifier, of vitscale's model with these weights."""
    import jax

    from vitscale.scaling.models.vit import Vit, merge_vit, split_vit
    from vitscale.scaling.models.weights import params_from_weights

    spec = weights.spec
    vit = Vit(
        spec.shape,
        image_size=spec.image_size,
        channels=spec.channels,
        readout=spec.readout,
        classes=spec.classes,
    )
    graph, _ = split_vit(vit)

    @jax.jit
    def output(params, pixels):
        vit = merge_vit(graph, params)
        return vit(pixels) if spec.classes else vit.features(pixels)

    return np.asarray(output(params_from_weights(weights), images.numpy().transpose(0, 2, 3, 1)))


def equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    # Of order 1, so that the tolerance is one of float32 and not of small numbers.
    assert ours.shape == theirs.shape and theirs.std() > 0.3
    assert np.abs(ours - theirs).max() < 2e-5


def saved(torch, model, path):
    """A state dict as timm's users keep it."""
    from safetensors.torch import save_file

    save_file(model.state_dict(), path)
    return path


def folder_of(torch, timm, case: Case, tmp_path, target: str):
    """The weights of timm's model for `case`, converted into a folder for `target`."""
    model = timm_model(torch, timm, case)
    source = saved(torch, model, tmp_path / "timm.safetensors")
    folder = tmp_path / target
    convert(source, folder, target, case)
    return model, source, folder


def convert(source, folder, target: Any, case: Case) -> None:
    asked = Convert(source, folder, to=target, heads=case.shape.heads, image_size=case.image_size)
    assert run(asked) == 0


def same_arrays(first, second) -> None:
    assert first.spec == second.spec
    for parameter, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[parameter], err_msg=parameter)


@EACH
def test_timms_weights_give_the_same_outputs_in_ours(torch, timm, tmp_path, case):
    model, images = timm_model(torch, timm, case), images_for(torch, case)
    path = saved(torch, model, tmp_path / "model.safetensors")
    weights = read_weights(path, heads=case.shape.heads, image_size=case.image_size)
    assert (weights.spec.shape, weights.spec.image_size) == (case.shape, case.image_size)
    equal(of_ours(weights, images), of_torch(torch, model, images))


@EACH
def test_our_folder_loads_in_timm(torch, timm, tmp_path, case):
    model, source, folder = folder_of(torch, timm, case, tmp_path, "timm")
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = images_for(torch, case)
    equal(of_torch(torch, loaded, images), of_torch(torch, model, images))
    given = read_weights(source, heads=case.shape.heads, image_size=case.image_size)
    same_arrays(given, read_weights(folder))


@EACH
def test_our_folder_loads_in_transformers(torch, timm, transformers, tmp_path, case):
    model, _, folder = folder_of(torch, timm, case, tmp_path, "huggingface")
    (architecture,) = transformers.AutoConfig.from_pretrained(folder).architectures
    options = {"add_pooling_layer": False} if architecture == "ViTModel" else {}
    loaded, told = getattr(transformers, architecture).from_pretrained(
        folder, output_loading_info=True, **options
    )
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images = images_for(torch, case)
    with torch.no_grad():
        output = loaded.eval()(images)
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        expected = model(images) if case.readout == "tok" else features
    if architecture == "ViTForImageClassification":
        theirs = output.logits
    elif architecture == "ViTModel":
        theirs = output.last_hidden_state[:, 0]
    else:
        pooled = case.readout == "map"
        theirs = output.pooler_output if pooled else output.last_hidden_state.mean(1)
    equal(theirs.numpy(), expected.numpy())


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.channels == 3], ids=str
)
def test_our_folder_loads_in_openclip(torch, timm, open_clip, tmp_path, name):
    case = CASES[name]
    model, _, folder = folder_of(torch, timm, case, tmp_path, "openclip")
    loaded = open_clip.create_model(f"local-dir:{folder}", pretrained_image=True).eval()
    images = images_for(torch, case)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
        theirs = loaded.encode_image(images)
        texts = loaded.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a cat"]))
    equal(theirs.numpy(), expected.numpy())
    # What is compared has one size for both.
    assert texts.shape[1] == theirs.shape[1] == case.shape.width


def test_openclip_starts_anew_where_weights_are_not_asked_for(torch, timm, open_clip, tmp_path):
    case = CASES["siglip"]
    model, _, folder = folder_of(torch, timm, case, tmp_path, "openclip")
    loaded = open_clip.create_model(f"local-dir:{folder}")
    weight = model.state_dict()["blocks.0.mlp.fc1.weight"]
    assert not torch.equal(loaded.visual.trunk.blocks[0].mlp.fc1.weight, weight)


@pytest.mark.parametrize("name", ["siglip", "gap"])
def test_timm_reads_our_big_vision_file(torch, timm, tmp_path, name):
    # timm has a reader of big_vision's files of its own.
    case = dataclasses.replace(CASES[name], classes=0)
    model, _, folder = folder_of(torch, timm, case, tmp_path, "big_vision")
    loaded = timm.models.vision_transformer.VisionTransformer(**timm_keywords(case.spec))
    loaded.load_pretrained(str(folder / "model.npz"))
    for parameter, array in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[parameter], array), parameter


def siglip_config(case: Case) -> dict:
    config = huggingface_config(case.spec)
    return {name: config[name] for name in config if name not in ("architectures", "num_labels")}


@pytest.mark.parametrize("name", ["siglip", "gap"])
def test_transformers_siglip_gives_the_same_features_in_ours(torch, transformers, tmp_path, name):
    case = dataclasses.replace(CASES[name], classes=0)
    config = transformers.SiglipVisionConfig(**siglip_config(case))
    model = trained(torch, transformers.SiglipVisionModel(config))
    model.save_pretrained(tmp_path)
    images = images_for(torch, case)
    with torch.no_grad():
        output = model(images)
    pooled = case.readout == "map"
    theirs = output.pooler_output if pooled else output.last_hidden_state.mean(1)
    weights = read_weights(tmp_path)
    assert weights.notes == ()
    equal(of_ours(weights, images), theirs.numpy())


def test_the_vision_half_of_a_whole_siglip(torch, transformers, tmp_path):
    case = CASES["siglip"]
    text = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 1}
    config = transformers.SiglipConfig(
        vision_config=siglip_config(case), text_config=text | {"num_attention_heads": 2}
    )
    model = trained(torch, transformers.SiglipModel(config))
    model.save_pretrained(tmp_path)
    images = images_for(torch, case)
    with torch.no_grad():
        theirs = model.vision_model(images).pooler_output
    weights = read_weights(tmp_path)
    assert weights.notes == ("SigLIP's text model is left out",)
    equal(of_ours(weights, images), theirs.numpy())


def test_transformers_vit_gives_the_same_logits_in_ours(torch, transformers, tmp_path):
    case = CASES["class token"]
    config = transformers.ViTConfig(**siglip_config(case), num_labels=case.classes)
    model = trained(torch, transformers.ViTForImageClassification(config))
    model.save_pretrained(tmp_path)
    images = images_for(torch, case)
    with torch.no_grad():
        theirs = model(images).logits
    equal(of_ours(read_weights(tmp_path), images), theirs.numpy())


@pytest.mark.parametrize("name", ["map with classes", "gap", "class token"])
def test_through_every_layout_and_back_bit_for_bit(torch, timm, tmp_path, name):
    case = CASES[name]
    source = saved(torch, timm_model(torch, timm, case), tmp_path / "model.safetensors")
    for i, target in enumerate([*sorted(LAYOUTS.keys() - {"huggingface"}), "timm"]):
        convert(source, tmp_path / str(i), target, case)
        source = tmp_path / str(i)
    first = read_weights(tmp_path / "model.safetensors", heads=case.shape.heads)
    same_arrays(first, read_weights(source))


def test_an_exact_gelu_is_told_by_this_comparison(torch, timm, tmp_path):
    case = CASES["siglip"]
    model = timm_model(torch, timm, case)
    path = saved(torch, model, tmp_path / "model.safetensors")
    for block in model.blocks:
        block.mlp.act = torch.nn.GELU()
    images = images_for(torch, case)
    ours = of_ours(read_weights(path, heads=case.shape.heads), images)
    assert np.abs(ours - of_torch(torch, model, images)).max() > 5e-5


@pytest.mark.parametrize(("old", "new"), [(16, 8), (14, 21), (8, 32)])
def test_the_patch_kernel_is_resized_as_timm_does(torch, timm, old, new):
    from vitscale.scaling.models.resize import resize_patch_kernel

    kernel = torch.randn(24, 3, old, old, generator=torch.Generator().manual_seed(0))
    theirs = timm.layers.patch_embed.resample_patch_embed(
        kernel, [new, new], interpolation="bilinear", antialias=False
    )
    rows = lambda k: k.permute(2, 3, 1, 0).reshape(-1, 24).numpy()  # noqa: E731
    ours = resize_patch_kernel(rows(kernel), from_patch=old, to_patch=new, channels=3)
    np.testing.assert_allclose(ours, rows(theirs), atol=2e-5)
