"""What is looked at before training starts."""

from __future__ import annotations

import logging

from htc.config.run_schema import Config
from htc.data import CocoDataset, DatasetError
from htc.data.check import quick_check

logger = logging.getLogger("htc")


def check_data(config: Config) -> None:
    """The quick data check; its table goes to the log where there is something to say.

    Raises:
        DatasetError: the data cannot be trained on.
    """
    splits = ("train", "val") if has_validation(config) else ("train",)
    for report in quick_check(config, splits):
        if not report.problems.clean:
            logger.warning("%s", report.text())
        errors = report.problems.errors()
        if errors:
            count = report.problems.total("error")
            raise DatasetError(f"{report.split}: {count} errors in the data, first: {errors[0]}")


def has_validation(config: Config) -> bool:
    """Whether the configuration names data to evaluate on."""
    return config.data.kind == "demo" or bool(config.data.val.annotations)


def validation_data(config: Config) -> CocoDataset | None:
    """The data to evaluate on, or None with a notice."""
    if not has_validation(config):
        logger.info("data.val.annotations is not set: there will be no evaluation")
        return None
    return CocoDataset.from_config(config, "val")
