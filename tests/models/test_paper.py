"""The port of the authors' network against a Keras build of the same description, with the same weights."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import keras
import numpy as np
import pytest
import torch
from keras import layers

from spider_utils.models.build import build_model, count_parameters


def keras_block(x, channels, dropout):
    x = layers.Conv2D(channels, 3, activation="relu", padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(dropout)(x)
    return layers.Conv2D(channels, 3, activation="relu", padding="same")(x)


def keras_network():
    """Build the network as the table of the authors' code describes it, channels last as Keras has them."""
    keras.utils.set_random_seed(0)
    image = layers.Input((None, None, 1))
    x, skips = image, []
    for channels, dropout in ((16, 0.1), (32, 0.1), (64, 0.2), (128, 0.2)):
        x = keras_block(x, channels, dropout)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = keras_block(x, 256, 0.3)
    x = keras_block(x, 512, 0.3)
    x = layers.Conv2DTranspose(256, 3, strides=2, padding="same")(x)
    x = layers.LeakyReLU(negative_slope=0.1)(layers.BatchNormalization()(x))
    x = keras_block(layers.concatenate([x, skips[3]]), 256, 0.2)
    for channels, skip, dropout in ((128, skips[2], 0.2), (64, skips[1], 0.1), (32, skips[0], 0.1)):
        x = layers.Conv2DTranspose(channels, 2, strides=2, padding="same")(x)
        x = keras_block(layers.concatenate([x, skip]), channels, dropout)
    return keras.Model(image, layers.Conv2D(4, 1, activation="softmax")(x))


def in_order_of_the_path(model):
    """Return our layers that have weights, as Keras lists its own."""
    path = [layer for block in model.encoder for layer in block]
    for up, block in zip(model.upsample, model.decoder, strict=True):
        path += [*(up if isinstance(up, torch.nn.Sequential) else [up]), *block]
    return [layer for layer in [*path, model.head] if list(layer.parameters())]


def copy_norm(theirs, ours, rng):
    """Give both batch normalisations the same random scale, shift, mean and variance."""
    count = ours.num_features
    values = [
        rng.uniform(0.5, 1.5, count),
        rng.normal(0, 0.3, count),
        rng.normal(0, 0.3, count),
        rng.uniform(0.5, 1.5, count),
    ]
    theirs.set_weights(values)
    for target, value in zip((ours.weight, ours.bias, ours.running_mean, ours.running_var), values, strict=True):
        target.data.copy_(torch.from_numpy(value))


def copy_convolution(theirs, ours, rng):
    """Give ours the weights of theirs, and both a random bias.

    Keras stores (h, w, in, out), transposed (h, w, out, in); PyTorch (out, in, h, w), transposed (in, out, h, w).
    """
    weight = theirs.get_weights()[0]
    bias = rng.normal(0, 0.1, len(ours.bias))
    theirs.set_weights([weight, bias])
    ours.weight.data.copy_(torch.from_numpy(weight.transpose(3, 2, 0, 1).copy()))
    ours.bias.data.copy_(torch.from_numpy(bias))


@pytest.fixture(scope="module")
def both():
    """A Keras network with random weights and statistics, and ours with the same, in evaluation mode."""
    rng = np.random.default_rng(0)
    theirs, ours = keras_network(), build_model("author_code").eval()
    pairs = zip((layer for layer in theirs.layers if layer.weights), in_order_of_the_path(ours), strict=True)
    for layer, module in pairs:
        (copy_norm if isinstance(module, torch.nn.BatchNorm2d) else copy_convolution)(layer, module, rng)
    return theirs, ours


def test_parameters_are_the_public_models():
    model = build_model("author_code")
    statistics = sum(
        m.running_mean.numel() + m.running_var.numel() for m in model.modules() if hasattr(m, "running_mean")
    )
    assert count_parameters(model) == 8_033_588
    assert count_parameters(model) + statistics == 8_037_076
    assert keras_network().count_params() == 8_037_076


def test_softmax_equals_keras_for_an_odd_batch(both):
    theirs, ours = both
    images = np.random.default_rng(1).random((3, 48, 80, 1)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(images, training=False)
        found = ours(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(dim=1).permute(0, 2, 3, 1)
    expected = expected.detach().cpu().numpy()
    assert expected.std() > 0.05  # not four equal probabilities
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_pytorchs_own_padding_would_not_be_keras():
    ours = build_model("author_code", width=2).upsample[0][0]
    x = torch.rand(1, 64, 5, 4)
    other = torch.nn.functional.conv_transpose2d(x, ours.weight, ours.bias, stride=2, padding=1, output_padding=1)
    assert ours(x).shape == other.shape == (1, 32, 10, 8)
    assert not torch.allclose(ours(x), other)
    torch.testing.assert_close(ours(x)[..., 1:, 1:], other[..., :-1, :-1])


def test_only_one_activation_is_leaky():
    kinds = [type(module).__name__ for module in build_model("author_code").modules()]
    assert kinds.count("LeakyReLU") == 1
    assert kinds.count("ReLU") == 20
