"""By which names norms are put to linear operations, and which are left alone."""

from __future__ import annotations

import pytest

from bncore.folding.state.names import LinearNames, is_norm_name, pool_of, sounds_transposed

# norm, the linear operations of the file, those it goes with (a star: the name alone does not say on which side)
CONVENTIONS = [
    ("bn1", ["conv1", "conv2"], ["conv1*"]),
    ("layer1.0.bn2", ["layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv2"], ["layer1.0.conv2*"]),
    ("1", ["0", "3"], ["0"]),
    ("layer2.0.downsample.1", ["layer2.0.downsample.0"], ["layer2.0.downsample.0"]),
    ("features.0.bn", ["features.0.conv"], ["features.0.conv*"]),
    ("a.normalization", ["a.convolution", "b.convolution"], ["a.convolution*"]),
    ("Mixed_5b.branch1x1.bn", ["Mixed_5b.branch1x1.conv"], ["Mixed_5b.branch1x1.conv*"]),
    ("fc1_bn", ["fc1", "fc2"], ["fc1"]),
    ("bn_conv1", ["conv1"], ["conv1"]),
    ("backbone.conv1.norm", ["backbone.conv1"], ["backbone.conv1"]),
    ("mlp_bns.0", ["mlp_convs.0", "mlp_convs.1"], ["mlp_convs.0*"]),
    ("bn_blocks.1.0", ["conv_blocks.1.0", "conv_blocks.0.1"], ["conv_blocks.1.0*"]),
    ("blocks.0.c.bn", ["blocks.0.c.c"], ["blocks.0.c.c*"]),
    ("batch_normalization_3", ["conv2d_3", "dense_3x"], ["conv2d_3*"]),
    ("deconv.bn2", ["deconv.deconv2"], ["deconv.deconv2*"]),
    # families
    ("b.bn3", ["b.conv_pw", "b.conv_dw", "b.conv_pwl"], ["b.conv_pwl"]),
    ("b.bn2", ["b.conv_dw", "b.conv_pw"], ["b.conv_pw"]),
    ("b._bn1", ["b._expand_conv", "b._depthwise_conv", "b._project_conv"], ["b._depthwise_conv"]),
    ("_bn0", ["_conv_stem", "_conv_head"], ["_conv_stem"]),
    # several, or none
    ("bn", ["conv", "fc"], ["conv*", "fc*"]),
    ("2", ["0"], []),
    ("rbr_identity", ["rbr_dense.conv"], []),
    ("abnormal", ["conv"], []),
    ("bn1", ["1", "conv2"], []),
]


@pytest.mark.parametrize("norm, linears, expected", CONVENTIONS, ids=[c[0] for c in CONVENTIONS])
def test_naming_conventions(norm, linears, expected):
    found = [f"{g.linear}{'' if g.follows else '*'}" for g in LinearNames(linears).beside(norm)]
    assert found == expected


def test_norms_blocks_and_transposed_convolutions_by_name():
    assert all(map(is_norm_name, ("bn1", "a.norm", "layernorm", "InstanceNorm")))
    assert not any(map(is_norm_name, ("prelu", "bn.act", "enormous")))
    assert pool_of("layer2.10.conv1") == "layer#.#" and pool_of("conv1") == ""
    assert all(map(sounds_transposed, ("deconv1", "up1.conv", "a.conv_transpose", "UpBlock.0")))
    assert not any(map(sounds_transposed, ("conv1", "group.conv", "setup.0")))
