"""Networks besides the U-Net of DDPM: published sizes, published forward passes, names, labels, and pruning."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conftest import build
from tests.fuzz.watch import at_most
from trainers.compression._asked import Rules, loss_of
from trainers.compression._norm_groups import thinned
from trainers.compression._pruning import kept_channels, without
from trainers.compression.channels import coupled_groups, removal_indices
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.files import load, save
from trainers.models.network import Network
from trainers.models.networks.guided_unet import GuidedUnet
from trainers.models.networks.latent_unet import LatentUnet
from trainers.models.networks.ncsn import Ncsn
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe
from trainers.run import Run
from trainers.teacher import Teacher

DEEP = {
    "NCSN++ deep": Unet(image_size=32, image_channels=3, channels=(128, 256, 256, 256), layers=8),
    "Imagen, 256 pixels": Unet(image_size=256, image_channels=3, channels=(128, 256, 512, 1024, 1024), layers=8),
    "ADM, 512 pixels": Unet(
        image_size=512, image_channels=3, channels=(128, 128, 256, 256, 512, 512, 1024), layers=2, norm_groups=32
    ),
    "Stable Diffusion": LatentUnet(image_size=64, image_channels=4, channels=(320, 640, 1280, 1280), heads=8),
}
MNIST = Ncsn(image_size=28, image_channels=1)
GUIDED = GuidedUnet(image_size=32, image_channels=3, classes=10)
IMAGENET = LatentUnet(image_size=64, image_channels=3, channels=(192, 384, 576, 960))

TINY: dict[str, Network] = {
    "ncsn": Ncsn(image_size=8, image_channels=1, channels=(8, 16), embedding=16, norm_groups=4),
    "guided_unet": GuidedUnet(
        image_size=8, image_channels=1, classes=10, channels=(8, 16, 16), bottleneck=32, heads=2, time_dim=16
    ),
    "latent_unet": LatentUnet(
        image_size=8, image_channels=1, classes=10, channels=(8, 16), layers=1, norm_groups=4, heads=2, context=16
    ),
    "unet": Unet(image_size=8, image_channels=1, classes=10, channels=(8, 16), norm_groups=4, attention=(False, True)),
}
WITH_NO_LABEL = ("guided_unet", "latent_unet")


@pytest.fixture(params=TINY)
def tiny_network(request: pytest.FixtureRequest) -> Network:
    return TINY[request.param]


def parameters(spec: ArchSpec) -> int:
    return sum(layer.parameters for layer in spec.layers.values())


def labels_of(network: Network) -> Tensor | None:
    return torch.tensor([2, 7]) if network.classes else None


def inputs_for(network: Network, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two noisy images and their timesteps."""
    assert network.image_size is not None and network.image_channels is not None
    generator = torch.Generator().manual_seed(seed)
    size = (2, network.image_channels, network.image_size, network.image_size)
    return torch.randn(size, generator=generator), torch.tensor([3, 700])


# Sizes


@pytest.mark.parametrize(
    ("network", "published"),
    [
        (MNIST, 1_115_297),
        (GUIDED, 23_335_299),
        (replace(GUIDED, image_size=64), 23_335_299),
        (IMAGENET, 400_920_579),
        (replace(IMAGENET, classes=1001), 400_920_579 + 1001 * 512),
    ],
)
def test_published_networks_have_their_published_sizes(network: Network, published: int) -> None:
    assert parameters(spec_of(network, sampling_steps=1)) == published


def test_frequencies_are_counted_but_not_trained() -> None:
    spec = spec_of(MNIST, sampling_steps=1)
    constants = {name: layer for name, layer in spec.layers.items() if layer.kind == "constant"}
    assert {name: layer.outputs for name, layer in constants.items()} == {"frequencies": 128}
    net = MNIST.build()
    assert {name for name, _ in net.named_buffers()} == {"frequencies.weight"}
    # They are drawn with a standard deviation of 30.
    assert 24 < net.get_buffer("frequencies.weight").std() < 36


def test_two_groups_per_convolution_give_the_published_size_of_ncsn() -> None:
    grouped = Recipe.parse([{"group": {"groups": 2}}]).plan(spec_of(MNIST, sampling_steps=1))
    assert parameters(grouped) == 682_145


def test_a_spec_counts_what_the_network_holds(tiny_network: Network) -> None:
    spec, net = spec_of(tiny_network, sampling_steps=1), tiny_network.build()
    assert parameters(spec) == sum(parameter.numel() for parameter in net.parameters())


def test_a_saved_network_is_read_again(tiny_network: Network, tmp_path: Path) -> None:
    """With its constants: other frequencies would be another network."""
    model = build(tiny_network, seed=3)
    save(model, tmp_path)
    loaded = load(tmp_path)
    assert loaded.spec == model.spec
    inputs = inputs_for(tiny_network)
    torch.testing.assert_close(
        loaded.predict(*inputs, labels_of(tiny_network)), model.predict(*inputs, labels_of(tiny_network))
    )


def test_attention_at_every_resolution_is_what_the_latent_spec_says() -> None:
    spec = spec_of(replace(IMAGENET, classes=10), sampling_steps=1)
    tokens = {attention.query.split("unet.")[1]: (attention.tokens, attention.keys) for attention in spec.attentions}
    # Blocks at 64 pixels do not attend; one token to attend to in every second attention.
    assert {count for count, _ in tokens.values()} == {32 * 32, 16 * 16, 8 * 8}
    assert all(keys == (1 if ".attn2." in query else 0) for query, (_, keys) in tokens.items())
    assert len(tokens) == 2 * (3 * 2 + 1 + 3 * 3)


# Forward passes, said again as they were published


def test_ncsn_computes_what_its_tutorial_does() -> None:
    network = Ncsn(image_size=28, image_channels=2, channels=(8, 16, 32, 64), embedding=32, timesteps=500)
    model = build(network, seed=1)
    image_BCHW, timestep_B = inputs_for(network)
    expected_BCHW = published_score(model.net.state_dict(), image_BCHW, torch.tensor([3, 700]) / 500)
    # Angles reach hundreds of radians, where float32 leaves five digits.
    torch.testing.assert_close(model.predict(image_BCHW, timestep_B), expected_BCHW, rtol=1e-3, atol=1e-4)


def published_score(state: dict[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
    """ScoreNet of Song's MNIST tutorial, layer by layer, before its division by the standard deviation."""
    groups = {"gnorm1": 4, "gnorm2": 16, "gnorm3": 32, "gnorm4": 32, "tgnorm4": 32, "tgnorm3": 16, "tgnorm2": 8}

    def linear(name: str, value: Tensor) -> Tensor:
        return functional.linear(value, state[f"{name}.weight"], state[f"{name}.bias"])

    def finish(h: Tensor, dense: str, norm: str) -> Tensor:
        h = h + linear(dense, embed)[..., None, None]
        h = functional.group_norm(h, groups[norm], state[f"{norm}.weight"], state[f"{norm}.bias"])
        return h * torch.sigmoid(h)

    angle = t[:, None] * state["frequencies.weight"][None, :] * 2 * math.pi
    embed = linear("embed", torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1))
    embed = embed * torch.sigmoid(embed)
    h1 = finish(functional.conv2d(x, state["conv1.weight"]), "dense1", "gnorm1")
    h2 = finish(functional.conv2d(h1, state["conv2.weight"], stride=2), "dense2", "gnorm2")
    h3 = finish(functional.conv2d(h2, state["conv3.weight"], stride=2), "dense3", "gnorm3")
    h4 = finish(functional.conv2d(h3, state["conv4.weight"], stride=2), "dense4", "gnorm4")
    h = functional.conv_transpose2d(h4, state["tconv4.weight"], stride=2)
    h = torch.cat([finish(h, "dense5", "tgnorm4"), h3], dim=1)
    h = functional.conv_transpose2d(h, state["tconv3.weight"], stride=2, output_padding=1)
    h = torch.cat([finish(h, "dense6", "tgnorm3"), h2], dim=1)
    h = functional.conv_transpose2d(h, state["tconv2.weight"], stride=2, output_padding=1)
    h = torch.cat([finish(h, "dense7", "tgnorm2"), h1], dim=1)
    return functional.conv_transpose2d(h, state["tconv1.weight"], state["tconv1.bias"])


@pytest.mark.parametrize("label_B", [torch.tensor([2, 0]), None])
def test_guided_unet_computes_what_its_tutorial_does(label_B: Tensor | None) -> None:
    network = GuidedUnet(
        image_size=16, image_channels=2, classes=3, channels=(8, 12, 16, 20), bottleneck=24, time_dim=32
    )
    model = build(network, seed=1)
    image_BCHW, timestep_B = inputs_for(network)
    expected_BCHW = PublishedUnet(model.net.state_dict())(image_BCHW, timestep_B, label_B)
    actual_BCHW = model.predict(image_BCHW, timestep_B, label_B)
    torch.testing.assert_close(actual_BCHW, expected_BCHW, rtol=1e-4, atol=1e-4)


class PublishedUnet:
    """UNet_conditional of the tutorial on DDPM, with torch's own multi-head attention of 4 heads."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        width = 32
        inverse = 1.0 / (10000 ** (torch.arange(0, width, 2).float() / width))
        angle = t[:, None].float().repeat(1, width // 2) * inverse
        emb = torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)
        if y is not None:
            emb = emb + self.state["label_embedding.weight"][y]
        x1 = self.double("inc", x)
        x2 = self.attend("sa1", self.down("down1", x1, emb))
        x3 = self.attend("sa2", self.down("down2", x2, emb))
        x4 = self.attend("sa3", self.down("down3", x3, emb))
        x4 = self.double("bot3", self.double("bot2", self.double("bot1", x4)))
        x = self.attend("sa4", self.up("up1", x4, x3, emb))
        x = self.attend("sa5", self.up("up2", x, x2, emb))
        x = self.attend("sa6", self.up("up3", x, x1, emb))
        return functional.conv2d(x, self.state["outc.weight"], self.state["outc.bias"])

    def double(self, name: str, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.state[f"{name}.conv1.weight"], padding=1)
        x = functional.group_norm(x, 1, self.state[f"{name}.norm1.weight"], self.state[f"{name}.norm1.bias"])
        x = functional.conv2d(functional.gelu(x), self.state[f"{name}.conv2.weight"], padding=1)
        return functional.group_norm(x, 1, self.state[f"{name}.norm2.weight"], self.state[f"{name}.norm2.bias"])

    def convolutions(self, name: str, x: Tensor, emb: Tensor) -> Tensor:
        x = self.double(f"{name}.plain", functional.gelu(x + self.double(f"{name}.residual", x)))
        return x + self.linear(f"{name}.time", functional.silu(emb))[:, :, None, None]

    def down(self, name: str, x: Tensor, emb: Tensor) -> Tensor:
        return self.convolutions(name, nn.MaxPool2d(2)(x), emb)

    def up(self, name: str, x: Tensor, skip: Tensor, emb: Tensor) -> Tensor:
        x = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(x)
        return self.convolutions(name, torch.cat([skip, x], dim=1), emb)

    def attend(self, name: str, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        token = x.reshape(batch, channels, height * width).swapaxes(1, 2)
        attention = nn.MultiheadAttention(channels, 4, batch_first=True)
        packed = {
            f"in_proj_{part}": torch.cat([self.state[f"{name}.to_{which}.{part}"] for which in "qkv"])
            for part in ("weight", "bias")
        }
        out = {f"out_proj.{part}": self.state[f"{name}.to_out.{part}"] for part in ("weight", "bias")}
        attention.load_state_dict(packed | out)
        normed = self.layer_norm(f"{name}.norm1", token)
        token = attention(normed, normed, normed)[0] + token
        forward = functional.gelu(self.linear(f"{name}.linear1", self.layer_norm(f"{name}.norm2", token)))
        token = self.linear(f"{name}.linear2", forward) + token
        return token.swapaxes(2, 1).reshape(batch, channels, height, width)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def test_the_latent_unet_is_told_the_class_in_one_token() -> None:
    network = TINY["latent_unet"]
    model = build(network)
    image_BCHW, timestep_B = inputs_for(network)
    token_B1E = model.net.get_parameter("label_embedding.weight")[torch.tensor([2, 7])][:, None]
    expected_BCHW = model.net.get_submodule("unet")(image_BCHW, timestep_B, token_B1E).sample
    assert torch.equal(model.predict(image_BCHW, timestep_B, labels_of(network)), expected_BCHW)
    unlabelled_BCHW = model.predict(image_BCHW, timestep_B, torch.tensor([-1, -1]))
    silent_BCHW = model.net.get_submodule("unet")(image_BCHW, timestep_B, torch.zeros(2, 1, 16)).sample
    assert torch.equal(unlabelled_BCHW, silent_BCHW) and not torch.equal(unlabelled_BCHW, expected_BCHW)


# Other depths and sizes


@pytest.mark.parametrize(
    "network",
    [
        *(Ncsn(image_size=28, image_channels=3, channels=(4, 8, 12, 6)[:depth], embedding=8) for depth in (1, 2, 3, 4)),
        *(Ncsn(image_size=size, image_channels=1, channels=(4, 8, 8), embedding=8) for size in (13, 14, 15, 16)),
        *(
            GuidedUnet(
                image_size=16, image_channels=2, channels=(4, 8, 12, 4, 16)[: depth + 1], bottleneck=8, time_dim=8
            )
            for depth in (1, 2, 4)
        ),
        *(LatentUnet(image_size=8, image_channels=2, channels=(8, 12, 4)[:depth], context=6) for depth in (1, 2, 3)),
        LatentUnet(image_size=8, image_channels=2, channels=(8, 4), layers=1, attention=(True, False), heads=4),
    ],
    ids=lambda network: f"{type(network).__name__}-{network.image_size}-{len(network.channels)}",
)
def test_any_depth_gives_an_image_for_an_image(network: Network) -> None:
    assert network.mistakes() == []
    model = build(network)
    image_BCHW, timestep_B = inputs_for(network)
    prediction_BCHW = model.predict(image_BCHW, timestep_B)
    assert prediction_BCHW.shape == image_BCHW.shape and torch.isfinite(prediction_BCHW).all()
    # The timestep matters.
    assert not torch.allclose(prediction_BCHW, model.predict(image_BCHW, timestep_B + 100))
    assert parameters(model.spec) == sum(parameter.numel() for parameter in model.net.parameters())


@pytest.mark.parametrize(
    ("network", "mistake"),
    [
        (Ncsn(image_size=8, image_channels=1), "Use at most 2 levels"),
        (Ncsn(image_size=28, image_channels=1, channels=(8,) * 5), "Use at most 4 levels"),
        (Ncsn(image_size=28, image_channels=1, channels=(8, 12), norm_groups=8), "8 does not divide the width 12"),
        (Ncsn(image_size=28, image_channels=1, embedding=255), "255 is odd"),
        (Ncsn(image_size=28, image_channels=1, classes=10), "classes: this network knows no labels, got 10"),
        (GuidedUnet(image_size=28, image_channels=1), "28 pixels cannot be halved 3 times"),
        (GuidedUnet(image_size=8, image_channels=1, channels=(64, 6)), "heads: 4 does not divide the width 6"),
        (GuidedUnet(image_size=8, image_channels=1, channels=(6, 64)), "heads: 4 does not divide the width 6"),
        (GuidedUnet(image_size=8, image_channels=1, bottleneck=36, norm_groups=32), "the bottleneck of 36"),
        (GuidedUnet(image_size=8, image_channels=1, time_dim=7), "7 is odd"),
        (Unet(image_size=8, image_channels=1, channels=(2, 4), norm_groups=1), "freq_shift: 1 is half of the first"),
        (LatentUnet(image_size=6, image_channels=1, channels=(8, 8, 8)), "6 pixels cannot be halved 2 times"),
        (LatentUnet(image_size=8, image_channels=1, channels=(8, 12), norm_groups=8), "8 does not divide the width 12"),
        (
            LatentUnet(image_size=8, image_channels=1, channels=(8, 12), heads=8),
            "heads: 8 does not divide the width 12",
        ),
        (LatentUnet(image_size=8, image_channels=1, channels=(8, 16), attention=(True,)), "attention has 1 entries"),
    ],
)
def test_options_that_cannot_be_built_are_mistakes(network: Network, mistake: str) -> None:
    found = network.mistakes()
    assert len(found) == 1 and mistake in found[0]


def test_what_never_attends_may_have_any_width() -> None:
    assert LatentUnet(image_size=8, image_channels=1, channels=(6, 16), heads=4).mistakes() == []


# Labels


@pytest.mark.parametrize("name", WITH_NO_LABEL)
def test_a_label_of_minus_one_is_no_label(name: str) -> None:
    model = build(TINY[name])
    image_BCHW, timestep_B = inputs_for(TINY[name])
    labelled, unlabelled = (model.predict(image_BCHW, timestep_B, label) for label in (torch.tensor([2, 7]), None))
    mixed = model.predict(image_BCHW, timestep_B, torch.tensor([2, -1]))
    assert not torch.allclose(labelled[0], unlabelled[0]) and not torch.allclose(labelled[1], unlabelled[1])
    torch.testing.assert_close(mixed, torch.stack([labelled[0], unlabelled[1]]))


@pytest.mark.parametrize("name", WITH_NO_LABEL)
def test_without_classes_a_label_changes_nothing(name: str) -> None:
    network = replace(TINY[name], classes=0)
    model = build(network)
    image_BCHW, timestep_B = inputs_for(network)
    labelled, unlabelled = (model.predict(image_BCHW, timestep_B, label) for label in (torch.tensor([2, 7]), None))
    assert torch.equal(labelled, unlabelled)
    assert not any(layer.kind == "embedding" for layer in model.spec.layers.values())


# Names of layers, blocks, macro-blocks and regions


def test_every_layer_has_a_place(tiny_network: Network) -> None:
    spec = spec_of(tiny_network, sampling_steps=1)
    assert {tiny_network.block_of(name) for name in spec.layers} == set(tiny_network.blocks())
    for name, layer in spec.layers.items():
        macro_block, region = tiny_network.macro_block_of(name), tiny_network.region_of(name)
        is_shared = tiny_network.block_of(name) == "time"
        assert macro_block[0] in "IDMUO" and (not is_shared or macro_block == "I"), name
        assert (region is None) == (is_shared or not layer.is_product), name
    assert {tiny_network.region_of(name) for name in spec.layers} == {"middle", "end", None}


def test_attentions_are_named_by_their_queries() -> None:
    names = {name: set(network.attentions(network.build())) for name, network in TINY.items()}
    assert names["ncsn"] == set()
    assert names["guided_unet"] == {f"sa{place}.to_q" for place in (1, 2, 3, 4)}
    transformers = ["down_blocks.1.attentions.0", "mid_block.attentions.0"]
    transformers += [f"up_blocks.0.attentions.{place}" for place in (0, 1)]
    assert names["latent_unet"] == {
        f"unet.{place}.transformer_blocks.0.attn{which}.to_q" for place in transformers for which in (1, 2)
    }


def test_regions_of_ncsn_are_those_of_the_work_on_mnist() -> None:
    spec = spec_of(MNIST, sampling_steps=1)
    members: dict[str | None, dict[str, int]] = {"middle": {}, "end": {}, None: {}}
    for name, layer in spec.layers.items():
        members[MNIST.region_of(name)][name] = layer.parameters
    assert set(members["middle"]) == {"conv3", "dense3", "conv4", "dense4", "tconv4", "dense5", "tconv3"}
    assert (sum(members["middle"].values()), sum(members["end"].values())) == (942_592, 105_505)
    assert not any(name.startswith(("conv", "tconv", "dense")) for name in members[None])


def layers_in(network: Network, macro_block: str) -> set[str]:
    spec = spec_of(network, sampling_steps=1)
    found = {name for name in spec.layers if network.macro_block_of(name) == macro_block}
    assert found
    return found


def test_macro_blocks_of_ncsn() -> None:
    assert layers_in(MNIST, "I") == {"frequencies", "embed", "conv1"}
    assert layers_in(MNIST, "D2") == {"conv3", "dense3", "gnorm3"}
    assert layers_in(MNIST, "U2") == {"tconv4", "dense5", "tgnorm4"}
    assert layers_in(MNIST, "O") == {"tconv2", "dense7", "tgnorm2", "tconv1"}


def test_macro_blocks_of_guided_unet() -> None:
    assert layers_in(GUIDED, "I") == {"label_embedding", "inc.conv1"}
    assert layers_in(GUIDED, "D0") == {"inc.norm1", "inc.conv2", "inc.norm2"}
    assert {name.split(".")[0] for name in layers_in(GUIDED, "D3")} == {"down3", "sa3"}
    assert {name.split(".")[0] for name in layers_in(GUIDED, "U2")} == {"up1", "sa4"}
    assert {name for name in layers_in(GUIDED, "M1") if "conv" in name} == {"bot1.conv1", "bot1.conv2", "bot2.conv1"}
    assert {name for name in layers_in(GUIDED, "M2") if "conv" in name} == {"bot2.conv2", "bot3.conv1", "bot3.conv2"}
    assert layers_in(GUIDED, "O") == {
        *("up3.plain.conv2", "up3.plain.norm2", "up3.time", "sa6.to_out", "sa6.linear2", "outc"),
    }
    assert layers_in(GUIDED, "U0") >= {"up3.plain.conv1", "sa6.to_q", "sa6.linear1"}


def test_macro_blocks_of_the_latent_unet_are_those_of_its_skeleton() -> None:
    network = TINY["latent_unet"]
    assert layers_in(network, "O") == {
        f"unet.{name}"
        for name in (
            *("up_blocks.1.resnets.1.conv2", "up_blocks.1.resnets.1.conv_shortcut"),
            *("conv_norm_out", "conv_out"),
        )
    }
    assert layers_in(network, "I") == {
        *("label_embedding", "unet.conv_in", "unet.time_embedding.linear_1", "unet.time_embedding.linear_2"),
    }
    assert all(name.startswith("unet.mid_block.resnets.1.") for name in layers_in(network, "M2"))


# Pruning


def test_every_width_is_in_one_coupled_group(tiny_network: Network) -> None:
    """But for the images, the encoded timestep with what is added to it, and the condition."""
    spec = spec_of(tiny_network, sampling_steps=1)
    covered: dict[tuple[str, str], list[int]] = {}
    for group in coupled_groups(spec):
        for member in group.members:
            run = range(member.offset, member.offset + group.width)
            covered.setdefault((member.layer, member.side), []).extend(run)
    bare = set()
    for name, layer in spec.layers.items():
        for side, width in (("in", layer.inputs), ("out", layer.outputs)):
            if (layer.is_norm or layer.kind in ("embedding", "constant")) and side == "in":
                continue
            found = sorted(covered.get((name, side), []))
            if found:
                assert found == list(range(width)), (name, side)
            else:
                bare.add(f"{name}:{side}".removeprefix("unet."))
    assert bare == UNCOUPLED[type(tiny_network)]


UNCOUPLED = {
    Ncsn: {"frequencies:out", "embed:in", "conv1:in", "tconv1:out"},
    GuidedUnet: {
        *("inc.conv1:in", "outc:out", "label_embedding:out"),
        *(f"{block}.time:in" for block in ("down1", "down2", "up1", "up2")),
    },
    LatentUnet: {
        *("conv_in:in", "conv_out:out", "time_embedding.linear_1:in", "label_embedding:out"),
        *(
            f"{place}.transformer_blocks.0.attn2.{layer}:in"
            for place in (
                *("down_blocks.1.attentions.0", "mid_block.attentions.0"),
                *("up_blocks.0.attentions.0", "up_blocks.0.attentions.1"),
            )
            for layer in ("to_k", "to_v")
        ),
    },
    Unet: {"conv_in:in", "conv_out:out", "time_embedding.linear_1:in"},
}


@pytest.mark.parametrize("rule", ["paper", "flexible"])
def test_half_of_the_channels_can_go(tiny_network: Network, rule: str, run: Run) -> None:
    run.teacher = build(tiny_network)
    recipe = Recipe.parse([{"prune": {"ratio": 0.5, "rule": rule, "criterion": "random"}}])
    planned, model = recipe.plan(run.teacher.spec), recipe.run(run)
    assert parameters(model.spec) == parameters(planned) == sum(p.numel() for p in model.net.parameters())
    assert parameters(planned) < 0.5 * parameters(run.teacher.spec)
    image_BCHW, timestep_B = inputs_for(tiny_network)
    prediction_BCHW = model.predict(image_BCHW, timestep_B, labels_of(tiny_network))
    assert prediction_BCHW.shape == image_BCHW.shape and torch.isfinite(prediction_BCHW).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_pruned_network_equals_the_masked_one(tiny_network: Network, seed: int) -> None:
    model = build(tiny_network, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    rules = Rules(rule="flexible", round_to=1, heads="narrow", keeps_count=False)
    kept = {
        group.name: kept_channels(torch.rand(group.width, generator=generator), loss_of(group, 0.5, rules))
        for group in coupled_groups(model.spec)
    }
    spec, state = without(model.spec, model.net.state_dict(), coupled_groups(model.spec), kept, keeps_count=False)
    pruned = DiffusionModel(net=assembled(spec, state), spec=spec)
    image_BCHW, timestep_B = inputs_for(tiny_network, seed=seed)
    torch.testing.assert_close(
        pruned.predict(image_BCHW, timestep_B, labels_of(tiny_network)),
        masked(model, kept).predict(image_BCHW, timestep_B, labels_of(tiny_network)),
        rtol=1e-4,
        atol=1e-5,
    )


def masked(model: DiffusionModel, kept: dict[str, Tensor]) -> DiffusionModel:
    """The dense network with zeros for the weights that pruning removes, and norms over the survivors only."""
    net = assembled(model.spec, {name: tensor.clone() for name, tensor in model.net.state_dict().items()})
    for (name, side), stays in removal_indices(coupled_groups(model.spec), kept, model.spec).items():
        layer, module = model.spec.layers[name], net.get_submodule(name)
        if layer.is_norm:
            holder, _, attribute = name.rpartition(".")
            sizes = () if layer.kind == "layer_norm" else norm_sizes(model.spec, name, stays)
            setattr(net.get_submodule(holder), attribute, SurvivorsNorm(module, stays, sizes))
            continue
        axis = layer.output_axis if side == "out" else 1 - layer.output_axis
        is_gone = torch.ones(module.weight.shape[axis], dtype=torch.bool)
        is_gone[stays] = False
        with torch.no_grad():
            module.weight.index_fill_(axis, is_gone.nonzero().flatten(), 0.0)
            if side == "out" and layer.bias:
                module.bias[is_gone] = 0.0
    return DiffusionModel(net=net, spec=model.spec)


def norm_sizes(spec: ArchSpec, name: str, stays: Tensor) -> tuple[int, ...]:
    groups = thinned(spec.layers[name], stays, keeps_count=False, is_zeroed=False).norm_groups
    return (len(stays) // groups,) * groups if isinstance(groups, int) else groups


class SurvivorsNorm(nn.Module):
    """Normalises the kept channels, group by group, or token by token without groups; the others come out as zero."""

    def __init__(self, norm: nn.Module, stays: Tensor, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.norm, self.stays, self.sizes = norm, stays, sizes

    def forward(self, value: Tensor) -> Tensor:
        out = torch.zeros_like(value)
        if not self.sizes:
            out[..., self.stays] = self._scaled(value[..., self.stays], (-1,), self.stays, (-1,))
            return out
        for stays in self.stays.split(self.sizes):
            pixels = (1,) * (value.dim() - 2)
            out[:, stays] = self._scaled(value[:, stays], tuple(range(1, value.dim())), stays, (-1, *pixels))
        return out

    def _scaled(self, part: Tensor, axes: tuple[int, ...], stays: Tensor, shape: tuple[int, ...]) -> Tensor:
        mean, variance = part.mean(axes, keepdim=True), part.var(axes, correction=0, keepdim=True)
        weight, bias = (parameter[stays].view(shape) for parameter in (self.norm.weight, self.norm.bias))
        return (part - mean) / (variance + self.norm.eps).sqrt() * weight + bias


@pytest.mark.parametrize("name", WITH_NO_LABEL)
def test_whole_heads_can_go(name: str, run: Run) -> None:
    run.teacher = build(TINY[name])
    recipe = Recipe.parse([{"prune": {"ratio": {"*.to_q": 0.5}, "criterion": "random", "heads": "drop"}}])
    model = recipe.run(run)
    assert {attention.heads for attention in model.spec.attentions} == {1}
    assert set(TINY[name].attentions(model.net).values()) == {1}
    assert {attention.heads for attention in run.teacher.spec.attentions} == {2}
    assert torch.isfinite(model.predict(*inputs_for(TINY[name]), labels_of(TINY[name]))).all()


@pytest.mark.parametrize("name", DEEP)
def test_the_deepest_published_networks_are_allowed(name: str) -> None:
    assert DEEP[name].mistakes() == []


@pytest.mark.parametrize("kind", [Unet, LatentUnet])
def test_networks_deeper_than_any_are_refused_before_they_are_built(kind: type[Unet | LatentUnet]) -> None:
    network = kind(image_size=2048, image_channels=3, channels=(64,) * 8, attention=(True,) * 8, layers=64)
    expected = "layers: 64 at 8 resolutions are 512 residual layers on the way in, which may be 64 at most"
    with at_most(5), pytest.raises(UserError, match=expected):
        Teacher(network=network).planned_spec(image_size=2048, image_channels=3)
    assert replace(network, layers=8).mistakes() == []


def test_a_norm_of_a_single_value_is_one_message() -> None:
    network = Unet(channels=(8, 8, 8, 8), norm_groups=8, image_size=8, image_channels=1)
    with pytest.raises(UserError, match=r"a norm would see a single value.*Use fewer norm_groups"):
        spec_of(network, sampling_steps=4)
