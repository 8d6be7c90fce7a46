"""SGD as the reference has it, and its state under the model's names."""

from __future__ import annotations

import numpy as np
import paddle

from htc.config.run_schema import TrainConfig

_VELOCITY = "_velocity_0"  # what Paddle appends to a parameter's name


def build_optimizer(train: TrainConfig, model) -> paddle.optimizer.Momentum:
    """SGD with momentum and L2 weight decay on all trained parameters; frozen ones are left out."""
    clip = paddle.nn.ClipGradByGlobalNorm(train.clip_norm) if train.clip_norm else None
    return paddle.optimizer.Momentum(
        learning_rate=train.learning_rate,
        momentum=train.momentum,
        parameters=[p for p in model.parameters() if not p.stop_gradient],
        weight_decay=train.weight_decay or None,
        grad_clip=clip,
    )


def velocities(optimizer, model) -> dict[str, np.ndarray]:
    """The momentum of each trained parameter, by the parameter's name in the model."""
    state = optimizer.state_dict()
    return {
        name: state[parameter.name + _VELOCITY].numpy()
        for name, parameter in model.named_parameters()
        if parameter.name + _VELOCITY in state
    }


def set_velocities(optimizer, model, values: dict[str, np.ndarray]) -> None:
    """Put back what `velocities` gave.

    Raises:
        ValueError: names that are not those of the model's trained parameters.
    """
    if not values:  # saved before the first step
        return
    trained = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    if set(values) != set(trained):
        odd = sorted(set(values) ^ set(trained))
        raise ValueError(
            f"optimiser state: expected that of {len(trained)} trained parameters, got"
            f" {len(values)}; they differ in {', '.join(odd[:4])}"
        )
    optimizer.set_state_dict(
        {trained[name].name + _VELOCITY: paddle.to_tensor(value) for name, value in values.items()}
    )
