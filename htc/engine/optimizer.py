"""SGD as the reference has it, or AdamW; and their state under the model's names."""

from __future__ import annotations

import numpy as np
import paddle

from htc.config.run_schema import TrainConfig

# What Paddle appends to a parameter's name for each of an optimiser's states.
_STATES = {
    paddle.optimizer.Momentum: ("velocity_0",),
    paddle.optimizer.AdamW: ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0"),
}


def build_optimizer(train: TrainConfig, model) -> paddle.optimizer.Optimizer:
    """The optimiser of all trained parameters; frozen ones are left out.

    sgd has momentum, and weight decay in the gradient; adamw decays the weights themselves.
    """
    common = {
        "learning_rate": train.learning_rate,
        "parameters": [p for p in model.parameters() if not p.stop_gradient],
        "weight_decay": train.weight_decay or None,
        "grad_clip": paddle.nn.ClipGradByGlobalNorm(train.clip_norm) if train.clip_norm else None,
    }
    if train.optimizer == "adamw":
        return paddle.optimizer.AdamW(**common | {"weight_decay": train.weight_decay})
    return paddle.optimizer.Momentum(momentum=train.momentum, **common)


def optimizer_state(optimizer, model) -> dict[str, np.ndarray]:
    """The state of each trained parameter, such as "backbone.conv1.weight.velocity_0"."""
    state = optimizer.state_dict()
    return {
        f"{name}.{kind}": state[f"{parameter.name}_{kind}"].numpy()
        for name, parameter in model.named_parameters()
        for kind in _STATES[type(optimizer)]
        if f"{parameter.name}_{kind}" in state
    }


def set_optimizer_state(optimizer, model, values: dict[str, np.ndarray]) -> None:
    """Put back what `optimizer_state` gave.

    Raises:
        ValueError: names that are not those of this optimiser on this model.
    """
    if not values:  # saved before the first step
        return
    trained = {
        f"{name}.{kind}": f"{parameter.name}_{kind}"
        for name, parameter in model.named_parameters()
        for kind in _STATES[type(optimizer)]
        if not parameter.stop_gradient
    }
    if set(values) != set(trained):
        odd = sorted(set(values) ^ set(trained))
        raise ValueError(
            f"optimiser state: expected {len(trained)} tensors, got {len(values)};"
            f" they differ in {', '.join(odd[:4])}"
        )
    optimizer.set_state_dict(
        {trained[name]: paddle.to_tensor(value) for name, value in values.items()}
    )
