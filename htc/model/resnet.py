"""ResNet and ResNeXt (K. He et al., arXiv 1512.03385; S. Xie et al., arXiv 1611.05431).

Both places for a stage's stride, frozen stages, and deformable convolutions in chosen stages.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn.initializer import Constant

from htc.config.schema import BackboneConfig
from htc.model.layers import conv2d, conv_norm, he_normal
from htc.model.resizing import max_pool_half

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class ResNet(nn.Layer):
    """The backbone; returns the outputs of its four stages, at strides 4, 8, 16 and 32."""

    def __init__(self, config: BackboneConfig):
        super().__init__()
        depth, width = config.depth, config.width
        if depth not in BLOCKS:
            raise ValueError(f"backbone.depth: expected one of {sorted(BLOCKS)}, got {depth}")
        if depth < 50 and (config.groups != 1 or config.deformable_stages or config.stride_in_1x1):
            raise ValueError(
                "backbone.depth: groups, deformable_stages and stride_in_1x1 are for bottleneck "
                f"blocks, depth 50 and more; got {depth}"
            )
        block = Bottleneck if depth >= 50 else BasicBlock
        self.conv1 = conv2d(3, width, 7, stride=2, bias=False)
        self.bn1 = batch_norm(width, config.norm_eval)
        in_channels = width
        self.out_channels = []
        for stage, count in enumerate(BLOCKS[depth], start=1):
            channels = width * 2 ** (stage - 1)
            blocks = []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                deformable = stage in config.deformable_stages
                blocks.append(block(in_channels, channels, stride, config, deformable))
                in_channels = channels * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            self.out_channels.append(in_channels)
        self._freeze(config.frozen_stages)

    def forward(self, images):
        """images [B, 3, H, W] -> four feature maps [B, C_t, H / 2**(t + 2), W / 2**(t + 2)]."""
        x = conv_norm(images, self.conv1, self.bn1, relu=True)
        x = max_pool_half(x)
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return outputs

    def _freeze(self, frozen_stages: int):
        frozen = [self.conv1, self.bn1] if frozen_stages >= 0 else []
        frozen += [getattr(self, f"layer{stage}") for stage in range(1, frozen_stages + 1)]
        for part in frozen:
            for parameter in part.parameters():
                parameter.stop_gradient = True
            for layer in part.sublayers(include_self=True):
                if isinstance(layer, nn.BatchNorm2D):
                    layer._use_global_stats = True


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions beside the identity."""

    expansion = 1

    def __init__(self, in_channels, channels, stride, config: BackboneConfig, deformable=False):
        super().__init__()
        norm_eval = config.norm_eval
        self.conv1 = conv2d(in_channels, channels, 3, stride=stride, bias=False)
        self.bn1 = batch_norm(channels, norm_eval)
        self.conv2 = conv2d(channels, channels, 3, bias=False)
        self.bn2 = batch_norm(channels, norm_eval, scale=0.0)
        self.downsample = projection(in_channels, channels, stride, norm_eval)

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        x = conv_norm(x, self.conv1, self.bn1, relu=True)
        return conv_norm(x, self.conv2, self.bn2, relu=True, add=identity)


class Bottleneck(nn.Layer):
    """1x1, 3x3 (grouped or deformable) and 1x1 convolutions beside the identity."""

    expansion = 4

    def __init__(self, in_channels, channels, stride, config: BackboneConfig, deformable):
        super().__init__()
        groups, norm_eval = config.groups, config.norm_eval
        width = channels * config.width_per_group // 64 * groups
        out_channels = channels * self.expansion
        stride1, stride2 = (stride, 1) if config.stride_in_1x1 else (1, stride)
        conv3x3 = DeformableConv if deformable else conv2d
        self.conv1 = conv2d(in_channels, width, 1, stride=stride1, bias=False)
        self.bn1 = batch_norm(width, norm_eval)
        self.conv2 = conv3x3(width, width, 3, stride=stride2, groups=groups, bias=False)
        self.bn2 = batch_norm(width, norm_eval)
        self.conv3 = conv2d(width, out_channels, 1, bias=False)
        self.bn3 = batch_norm(out_channels, norm_eval, scale=0.0)
        self.downsample = projection(in_channels, out_channels, stride, norm_eval)

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        x = conv_norm(x, self.conv1, self.bn1, relu=True)
        x = conv_norm(x, self.conv2, self.bn2, relu=True)
        return conv_norm(x, self.conv3, self.bn3, relu=True, add=identity)


class DeformableConv(nn.Layer):
    """Deformable convolution, version 1 (J. Dai et al., arXiv 1703.06211), one offset group.

    The offsets (dy, dx of each tap) come from an ordinary convolution that starts at zero, so the
    layer starts as an ordinary convolution.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, groups, bias):
        super().__init__()
        assert not bias, "the batch norm behind it has the bias"
        self.stride, self.padding, self.groups = stride, kernel_size // 2, groups
        self.weight = self.create_parameter(
            [out_channels, in_channels // groups, kernel_size, kernel_size],
            default_initializer=he_normal(out_channels * kernel_size**2 // groups),
        )
        self.offset = conv2d(
            in_channels,
            2 * kernel_size**2,
            kernel_size,
            stride,
            initializer=Constant(0.0),
            last=True,
        )

    def forward(self, x):
        # Sampling positions need float32: float16 is too coarse for a pixel far from the corner.
        offset = self.offset(x).astype(self.weight.dtype)
        return paddle.vision.ops.deform_conv2d(
            x.astype(self.weight.dtype),
            offset,
            self.weight,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )


class Projection(nn.Sequential):
    """A convolution and its batch norm."""

    def forward(self, x):
        conv, norm = self
        return conv_norm(x, conv, norm)


def projection(in_channels, out_channels, stride, norm_eval):
    """The 1x1 convolution on the identity, where a block changes the shape; else None."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return Projection(conv, batch_norm(out_channels, norm_eval))


def batch_norm(channels, norm_eval, scale=1.0) -> nn.BatchNorm2D:
    """Batch norm. The last of a block starts at scale 0: a fresh network starts as the identity."""
    return nn.BatchNorm2D(
        channels,
        weight_attr=paddle.ParamAttr(initializer=Constant(scale)),
        use_global_stats=True if norm_eval else None,
    )
