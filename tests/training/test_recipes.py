"""Every data set has a recipe that builds a net for it and trains it."""

import dataclasses

import numpy as np
import pytest

import bncore as bn
from bncore.training import TargetScale, recipes

EXPECTED = {"wine": 0.9, "breast_cancer": 0.92, "iris": 0.85}


@pytest.mark.parametrize("name", EXPECTED)
def test_small_tables_are_learnt(name):
    pytest.importorskip("sklearn")
    data = bn.data.load(name)
    recipe = recipes.recipe_for(data)
    net = recipe.build_net(data, rng=0)
    bn.fit(net, data.x_train, data.y_train, progress=False, **recipe.fit_options(data))
    assert bn.evaluate(net, data.x_test, data.y_test)["accuracy"] > EXPECTED[name]


def test_diabetes_is_better_than_its_mean():
    pytest.importorskip("sklearn")
    data = bn.data.load("diabetes")
    recipe = recipes.recipe_for(data)
    net, scale = recipe.build_net(data, rng=0), TargetScale.of(data.y_train)
    y = scale.standardize(data.y_train)
    bn.fit(net, data.x_train, y, progress=False, **recipe.fit_options(data))
    scale.absorb(net)
    assert bn.evaluate(net, data.x_test, data.y_test, "mse")["loss"] < 0.7 * data.y_test.var()


@pytest.mark.parametrize(
    "net", ["cnn", "resnet20", "inception_small", "separable", "mlp", "lstm", "rnn"]
)
def test_images_fit_every_net(net):
    data = bn.data.Dataset(
        "mine",
        *(np.zeros((4, 3, 9, 9), np.float32), np.zeros(4, np.int64)) * 2,
        task="classification",
        classes=("a", "b"),
    )
    recipe = recipes.recipe_for(data, net)
    assert recipe.build_net(data, norm="none", rng=0).eval()(data.x_test).shape == (4, 2)


def test_tables_do_not_fit_image_nets():
    data = bn.data.Dataset(
        "mine",
        *(np.zeros((4, 3), np.float32), np.zeros((4, 1), np.float32)) * 2,
        task="regression",
    )
    recipe = recipes.recipe_for(data)
    assert recipe.optimizer == "adamw"
    with pytest.raises(ValueError, match=r"cnn needs images.*\(3,\)"):
        dataclasses.replace(recipe, net="cnn").build_net(data)
    with pytest.raises(ValueError, match="net must be one of"):
        dataclasses.replace(recipe, net="vgg").build_net(data)


def test_digits_reach_their_accuracy(native):
    pytest.importorskip("sklearn")
    data = bn.data.load("digits")
    recipe = recipes.recipe_for(data)
    net = recipe.build_net(data, rng=0)
    bn.fit(net, data.x_train, data.y_train, progress=False, **recipe.fit_options(data))
    assert bn.evaluate(net, data.x_test, data.y_test)["accuracy"] > 0.985
