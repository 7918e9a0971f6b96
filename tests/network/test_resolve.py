"""A model, or the name of one, becomes a network on a device."""

from __future__ import annotations

import pytest
import torch
from helpers.networks import Perceptron
from torch import nn

from layerwise.errors import InvalidData
from layerwise.network.resolve import find_network


def test_a_module_is_taken_as_it_is_and_named_by_its_class():
    model = Perceptron()
    network, name = find_network(model, None)
    assert network.model is model
    assert name == "Perceptron"
    assert network.device == torch.device("cpu")


def test_a_wrapper_is_taken_off():
    model = Perceptron()
    assert find_network(nn.DataParallel(model), None)[0].model is model


def test_a_function_by_name_keeps_its_name():
    network, name = find_network("helpers.networks:Perceptron", None)
    assert name == "helpers.networks:Perceptron"
    assert type(network.model).__name__ == "Perceptron"


def test_the_name_of_a_pretrained_model_is_its_own():
    model = Perceptron()
    model.name_or_path = "lab/perceptron"
    assert find_network(model, None)[1] == "lab/perceptron"
    model.pretrained_cfg = {"architecture": "perceptron", "tag": "in1k"}
    assert find_network(model, None)[1] == "perceptron.in1k"


def test_what_is_no_module_is_refused():
    with pytest.raises(InvalidData, match="torch module or a name .* not a list"):
        find_network([Perceptron()], None)


def test_weights_without_values_are_refused_by_name():
    with torch.device("meta"):
        model = Perceptron()
    with pytest.raises(InvalidData, match=r"first\.0\.weight.*meta"):
        find_network(model, None)


def test_a_device_that_is_not_there_leaves_the_network_where_it_was():
    model = Perceptron()
    with pytest.raises(InvalidData, match="cannot be brought to 'cuda:99'; there are cpu and"):
        find_network(model, "cuda:99")
    assert {value.device.type for value in model.parameters()} == {"cpu"}
