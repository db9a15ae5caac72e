import pytest
import torch

from facog_lab import models
from facog_lab.rivals.facog_attention import AttentionGenerator


@pytest.mark.parametrize(
    ("architecture", "width", "millions", "dim"),
    [("resnet32", 1, 0.46, 64), ("resnet32", 4, 7.4, 256), ("resnet32", 8, 29.5, 512),
     ("resnet34", 1, 21.3, 512)],
)  # fmt: skip
def test_sizes_of_the_backbones(architecture, width, millions, dim):
    network = models.backbone(architecture, 3, width)
    assert models.parameter_count(network) / 1e6 == pytest.approx(millions, rel=0.01)
    assert network.feature_dim == dim
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, dim)


def test_resnet32_multiply_adds_and_embedding():
    """69 M multiply-adds on 32×32, counted from the shapes that really pass."""
    network = models.backbone("resnet32", 3, feature_dim=512)
    total = 0

    def count(module, inputs, output):
        nonlocal total
        kernel = module.weight[0].numel()
        total += kernel * output[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 512)
    assert total / 1e6 == pytest.approx(69, abs=0.5)


def test_resnext50_is_two_thousand_wide():
    network = models.backbone("resnext50", 1)
    assert network.feature_dim == 2048
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 2048)
    assert models.parameter_count(network) / 1e6 == pytest.approx(23.0, abs=0.1)


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32), (3, 33)])
def test_small_network_takes_any_image(channels, side):
    network = models.backbone("small", channels)
    assert network(torch.zeros(2, channels, side, side)).shape == (2, 64)


def test_a_block_of_zero_weights_is_its_option_a_shortcut():
    block = models.BasicBlock(4, 8, stride=2).eval()
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(1, 4, 6, 6)
    y = block(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert y[:, :2].abs().sum() == 0
    assert y[:, 6:].abs().sum() == 0


@pytest.mark.parametrize("n_s", [1, 2, 5, 20])
@pytest.mark.parametrize("kind", ["mlp", "attention", "batch_norm"])
def test_weights_are_on_the_simplex(kind, n_s):
    torch.manual_seed(0)
    generator = (
        AttentionGenerator(7, 16)
        if kind == "attention"
        else models.Generator(7, 20, batch_norm=kind == "batch_norm")
    )
    labels = torch.arange(7).repeat(3)
    weights = generator(torch.randn(21, 100) * 5, labels, torch.randn(21, n_s, 16))
    assert weights.shape == (21, n_s)
    assert (weights >= 0).all()
    assert weights.sum(1).tolist() == pytest.approx([1.0] * 21, abs=1e-6)


def test_attention_permutes_with_its_features_and_the_papers_generator_is_blind():
    torch.manual_seed(0)
    noise, labels, features = torch.randn(6, 100), torch.arange(6), torch.randn(6, 5, 16)
    order = torch.tensor([3, 1, 4, 0, 2])
    attention = AttentionGenerator(6, 16)
    assert torch.allclose(
        attention(noise, labels, features)[:, order],
        attention(noise, labels, features[:, order]),
        atol=1e-6,
    )
    blind = models.Generator(6, 20)
    assert torch.equal(blind(noise, labels, features), blind(noise, labels, features * 3 + 1))


def test_discriminator_depends_on_the_class():
    torch.manual_seed(0)
    discriminator = models.Discriminator(3, 8)
    feature = torch.randn(1, 8).expand(3, 8)
    assert discriminator(feature, torch.arange(3)).unique().numel() == 3


def test_embeddings_have_length_one():
    model = models.Phase1Model(models.backbone("small", 1), 10, 32)
    assert model.embed(torch.randn(4, 64)).norm(dim=1).tolist() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("vgg", 3), "no architecture named"), (("resnet34", 3, 2), "width = 2"),
     (("resnext50", 3, 1, 64), "feature_dim = 64")],
)  # fmt: skip
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.backbone(*arguments)
