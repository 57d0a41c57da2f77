"""Published teachers: the same outputs as in diffusers, and what we cannot express is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from tests.fuzz.watch import at_most
from trainers.data.digits import Digits
from trainers.errors import UserError
from trainers.models import files
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.published import load_published, published_network, published_spec
from trainers.models.tracing import spec_of
from trainers.teacher import Teacher

SMALL = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
}
VARIANTS = {
    "defaults of diffusers": {},
    "google/ddpm-cifar10-32": {
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
    },
    "heads of 4": {"attention_head_dim": 4, "norm_eps": 1e-3},
    "classes": {"attention_head_dim": 8, "num_class_embeds": 5},
    "attention everywhere, colour": {
        "down_block_types": ("AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D"),
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 2,
        "sample_size": [8, 8],
        "dropout": 0.1,
        "act_fn": "swish",
    },
}


def saved(folder: Path, **options: Any) -> UNet2DModel:
    """A UNet2DModel with no weight at its first value, saved as diffusers does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = UNet2DModel(**SMALL | options).eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    net.save_pretrained(folder)
    return net


def assert_same_outputs(model: DiffusionModel, net: UNet2DModel) -> None:
    generator = torch.Generator().manual_seed(1)
    image_BCHW = torch.randn(3, net.config.in_channels, 8, 8, generator=generator)
    timestep_B = torch.tensor([0, 17, 999])
    label_B = torch.tensor([4, 0, 2]) if net.config.num_class_embeds else None
    with torch.no_grad():
        expected_BCHW = net(image_BCHW, timestep_B, class_labels=label_B).sample
        assert torch.equal(model.predict(image_BCHW, timestep_B, label_B), expected_BCHW)
    assert expected_BCHW.std() > 0.01


def change_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("variant", VARIANTS)
def test_network_saved_alone_gives_the_same_outputs_bit_for_bit(tmp_path: Path, variant: str) -> None:
    net = saved(tmp_path, **VARIANTS[variant])
    model = load_published(str(tmp_path), sampling_steps=10)
    assert_same_outputs(model, net)
    assert model.spec.sampling_steps == 10
    assert model.spec.diffusion == Diffusion()
    assert sum(layer.parameters for layer in model.spec.layers.values()) == net.num_parameters()


@pytest.mark.parametrize("given", ["", "unet"])
def test_pipeline_gives_the_same_outputs_and_its_schedule(tmp_path: Path, given: str) -> None:
    net = saved(tmp_path / "alone")
    scheduler = DDPMScheduler(num_train_timesteps=500, beta_start=0.001, beta_end=0.03)
    DDPMPipeline(unet=net, scheduler=scheduler).save_pretrained(tmp_path / "pipeline")
    model = load_published(str(tmp_path / "pipeline" / given), sampling_steps=10)
    assert_same_outputs(model, net)
    assert model.spec.diffusion == Diffusion(steps=500, beta_start=0.001, beta_end=0.03)
    ours_T, theirs_T = model.spec.diffusion.alpha_bar_T(), scheduler.alphas_cumprod
    torch.testing.assert_close(ours_T, theirs_T, rtol=1e-4, atol=1e-7)


def test_pipeline_in_one_flat_folder_is_understood(tmp_path: Path) -> None:
    # So lie google/ddpm-cifar10-32 and its like on the hub.
    net = saved(tmp_path)
    DDIMScheduler(num_train_timesteps=200).save_pretrained(tmp_path)
    index = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "X"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    model = load_published(str(tmp_path), sampling_steps=10)
    assert_same_outputs(model, net)
    assert model.spec.diffusion.steps == 200


def test_attention_under_its_old_names_is_read(tmp_path: Path) -> None:
    net = saved(tmp_path, attention_head_dim=None)
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    renamed = {}
    for name, tensor in state.items():
        for new, old in old_names.items():
            name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = tensor
    assert renamed.keys() != state.keys()
    save_file(renamed, tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    assert_same_outputs(load_published(str(tmp_path), sampling_steps=10), net)


def test_loading_leaves_the_global_random_stream_and_the_terminal_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path)
    state = torch.get_rng_state()
    load_published(str(tmp_path), sampling_steps=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


def test_weights_lie_in_memory_as_new_ones_do(tmp_path: Path) -> None:
    """Not as in the file, where each begins at the end of the one before: kernels may round otherwise there."""
    saved(tmp_path)
    weights = load_published(str(tmp_path), sampling_steps=4).net.state_dict().values()
    assert {tensor.data_ptr() % 64 for tensor in weights} == {0}


def test_plan_needs_the_configuration_only_and_agrees_with_the_model(tmp_path: Path) -> None:
    saved(tmp_path)
    model = load_published(str(tmp_path), sampling_steps=10)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    assert published_network(str(tmp_path)) == model.spec.network
    assert published_spec(str(tmp_path), sampling_steps=10) == model.spec


def test_slimfront_model_is_loaded_with_the_asked_sampling_steps(tmp_path: Path) -> None:
    network = Unet(image_size=8, image_channels=1, channels=(4, 8))
    model = DiffusionModel(net=network.build().eval(), spec=spec_of(network, sampling_steps=7))
    files.save(model, tmp_path)
    loaded = load_published(str(tmp_path), sampling_steps=3)
    assert loaded.spec == model.spec.with_sampling_steps(3)
    assert published_spec(str(tmp_path), sampling_steps=3) == loaded.spec
    assert published_network(str(tmp_path)) == network
    state = model.net.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.net.state_dict().items())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("_class_name", "UNet2DConditionModel"),
        ("time_embedding_type", "fourier"),
        ("time_embedding_dim", 64),
        ("center_input_sample", True),
        ("act_fn", "relu"),
        ("mid_block_scale_factor", 1.5),
        ("resnet_time_scale_shift", "scale_shift"),
        ("downsample_type", "resnet"),
        ("add_attention", False),
        ("attn_norm_num_groups", 2),
        ("class_embed_type", "timestep"),
        ("out_channels", 2),
        ("downsample_padding", 2),
        ("sample_size", [8, 16]),
        ("norm_num_groups", 3),
        ("down_block_types", ["SkipDownBlock2D", "AttnDownBlock2D"]),
        ("up_block_types", ["UpBlock2D", "AttnUpBlock2D"]),
        ("quantization_config", {"quant_method": "bitsandbytes"}),
    ],
)
def test_what_our_network_lacks_is_refused_by_name_and_value(tmp_path: Path, option: str, value: Any) -> None:
    saved(tmp_path)
    change_json(tmp_path / "config.json", **{option: value})
    with pytest.raises(UserError) as raised:
        published_network(str(tmp_path))
    message = str(raised.value)
    our_name = "norm_groups" if option == "norm_num_groups" else option
    assert our_name in message
    assert (value if isinstance(value, str) else repr(value)) in message or str(value[0]) in message


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("beta_schedule", "squaredcos_cap_v2"),
        ("trained_betas", [0.1]),
        ("rescale_betas_zero_snr", True),
        ("predict_epsilon", False),
        ("num_train_timesteps", 0),
        ("_class_name", "ScoreSdeVeScheduler"),
    ],
)
def test_other_noise_processes_are_refused_by_name_and_value(tmp_path: Path, option: str, value: Any) -> None:
    saved(tmp_path)
    DDPMScheduler().save_pretrained(tmp_path)
    change_json(tmp_path / "scheduler_config.json", **{option: value})
    shown = "steps" if option == "num_train_timesteps" else option
    with pytest.raises(UserError, match=rf"scheduler_config\.json: {shown}.*{str(value).strip('[]')}"):
        load_published(str(tmp_path), sampling_steps=10)


def test_network_that_is_told_a_text_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "unet")
    index = {"_class_name": "StableDiffusionPipeline", "unet": [], "scheduler": [], "vae": [], "text_encoder": []}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="StableDiffusionPipeline also has text_encoder"):
        load_published(str(tmp_path), sampling_steps=10)


def test_network_that_works_on_latents_is_not_clipped_and_wants_latents(tmp_path: Path) -> None:
    net = saved(tmp_path / "unet")
    DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195).save_pretrained(
        tmp_path / "scheduler"
    )
    index = {"_class_name": "LDMPipeline", "unet": [], "scheduler": [], "vqvae": []}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    model = load_published(str(tmp_path), sampling_steps=10)
    assert_same_outputs(model, net)
    assert model.spec.diffusion == Diffusion(
        schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195, is_clipped=False
    )
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195)
    torch.testing.assert_close(model.spec.diffusion.alpha_bar_T(), scheduler.alphas_cumprod, rtol=1e-4, atol=1e-7)
    with pytest.raises(UserError, match="works on latents, but this data is of pixels"):
        Teacher(source=str(tmp_path), sampling_steps=10).planned_for(Digits())


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    saved(tmp_path).save_pretrained(tmp_path, safe_serialization=False)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    assert (tmp_path / "diffusion_pytorch_model.bin").is_file()
    with pytest.raises(UserError, match=r"no diffusion_pytorch_model\.safetensors"):
        load_published(str(tmp_path), sampling_steps=10)


def without_one(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name != "conv_in.bias"}


def with_one_more(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return state | {"conv_extra.bias": torch.zeros(1)}


def with_another_shape(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return state | {"conv_in.bias": torch.zeros(9)}


@pytest.mark.parametrize(
    ("damage", "name"),
    [(without_one, "conv_in.bias"), (with_one_more, "conv_extra.bias"), (with_another_shape, "")],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, damage: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], name: str
) -> None:
    # diffusers alone would fill a gap with random weights.
    saved(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(damage(load_file(file)), file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"the weights in .*{name}"):
        load_published(str(tmp_path), sampling_steps=10)


@pytest.mark.parametrize("kept", [1000, -1])
def test_damaged_weights_are_a_message(tmp_path: Path, kept: int) -> None:
    saved(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_published(str(tmp_path), sampling_steps=10)


@pytest.mark.parametrize("option", ["sample_size", "block_out_channels", "down_block_types", "up_block_types"])
@pytest.mark.parametrize("value", ["x", 3.5, {}, [], [[8]], ["x"], [None], [10**400], -1, 0, True, [0] * 50])
def test_options_of_another_type_are_a_message(tmp_path: Path, option: str, value: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"_class_name": "UNet2DModel", option: value}))
    with pytest.raises(UserError, match=rf"config\.json: (image_size|channels|{option})") as raised:
        published_network(str(tmp_path))
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "recursion"),
        ('{"a": ' + "9" * 5_000 + "}", "cannot be read"),
        (" " * (5 * 2**20), "larger than 4,194,304 bytes"),
        ("[]", "holds a list, not options"),
        ("", "cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "scheduler_config.json", "model_index.json"])
def test_files_that_hold_no_options_are_a_message(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"_class_name": "UNet2DModel"}))
    (tmp_path / name).write_text(text)
    with at_most(10), pytest.raises(UserError, match=rf"{name}.*{words}"):
        published_spec(str(tmp_path), sampling_steps=10)


@pytest.mark.parametrize("name", ["config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"])
def test_files_outside_of_the_folder_are_not_opened(tmp_path: Path, name: str) -> None:
    saved(tmp_path / "model")
    DDPMScheduler().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / name).rename(tmp_path / "private")
    (tmp_path / "model" / name).symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match=rf"{name} leads out of .*model"):
        load_published(str(tmp_path / "model"), sampling_steps=10)


@pytest.mark.parametrize(
    "index",
    [{}, {"weight_map": [1]}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../weights"}}],
)
def test_list_of_weights_that_names_none_is_a_message(tmp_path: Path, index: dict[str, Any]) -> None:
    saved(tmp_path / "model")
    (tmp_path / "model" / "diffusion_pytorch_model.safetensors").rename(tmp_path / "weights")
    (tmp_path / "model" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"index\.json does not say in which files of .*model the weights are"):
        load_published(str(tmp_path / "model"), sampling_steps=10)


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    net = saved(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    net.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*-of-*.safetensors"))) > 1
    assert_same_outputs(load_published(str(tmp_path), sampling_steps=10), net)


def test_more_sampling_steps_than_timesteps_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    DDPMScheduler(num_train_timesteps=20).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="sampling_steps: 32 is more than the 20 timesteps"):
        load_published(str(tmp_path), sampling_steps=32)


@pytest.mark.parametrize(
    "source", ["./teachers/cifar", "teachers/cifar", "teacher", "../teacher", "/no/where", "a/b/c"]
)
def test_path_that_does_not_exist_is_not_looked_up_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "teachers").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"{source} does not exist \(looked for .*hub id of the form owner/name"):
        load_published(source, sampling_steps=10)


def test_folder_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither model\.safetensors \(Slimfront\) nor config\.json"):
        load_published(str(tmp_path), sampling_steps=10)


def test_hub_model_is_found_in_the_cache_or_the_message_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"hf download google/tiny --local-dir FOLDER.*teacher: \{from: FOLDER\}"):
        load_published("google/tiny", sampling_steps=10)
    reference = tmp_path / "models--google--tiny" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("7" * 40)
    net = saved(tmp_path / "models--google--tiny" / "snapshots" / ("7" * 40))
    assert_same_outputs(load_published("google/tiny", sampling_steps=10), net)
    assert published_network("google/tiny").image_size == 8
