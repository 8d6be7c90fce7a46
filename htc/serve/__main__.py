"""python -m htc.serve: answers over HTTP what is in a picture."""

from __future__ import annotations

import argparse
import logging
import sys

from htc.commands import command_parser, configuration, run
from htc.config import ConfigError
from htc.deploy.options import add_engine_options
from htc.engine.setup import prepare_threads

EPILOG = """\
examples:
  python -m htc.serve -o weights=exported
  python -m htc.serve -c htc_r50_fpn_1x_coco -o weights=htc_r50.pth --port 8080 --batch-size 4
  curl --data-binary @a.jpg "localhost:8000/detect?score=0.6"
"""


def parser() -> argparse.ArgumentParser:
    result = command_parser("serve", __doc__.partition(": ")[2], EPILOG)
    result.add_argument("--host", default="127.0.0.1", help="address (default: this machine alone)")
    result.add_argument("--port", type=int, default=8000, help="default: 8000")
    result.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="pictures that go together, at most"
    )
    result.add_argument(
        "--max-mib", type=float, default=20, metavar="N", help="size of an upload (default: 20)"
    )
    result.add_argument(
        "--max-megapixels", type=float, default=50, metavar="N", help="of a picture (default: 50)"
    )
    result.add_argument(
        "--queue", type=int, default=32, metavar="N", help="pictures that may wait (default: 32)"
    )
    add_engine_options(result)
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    return run(lambda: serve(options))


def serve(options: argparse.Namespace) -> int:
    config = configuration(options)
    if not config.weights:
        raise ConfigError("weights: expected trained weights, got none; give -o weights=PATH")
    for name in ("batch_size", "queue", "max_mib", "max_megapixels"):
        if getattr(options, name) <= 0:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag}: expected more than 0, got {getattr(options, name)}")
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ConfigError(f'the service needs {error.name}: pip install ".[serve]"') from None
    prepare_threads(config.runtime)
    from htc.deploy import is_export
    from htc.predictor import Predictor
    from htc.serve.application import make_application
    from htc.serve.uploads import Limits

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    own = options.config is not None or any(
        not text.startswith(("weights=", "runtime.")) for text in options.overrides
    )
    predictor = Predictor(
        config.weights,
        config if own and not is_export(config.weights) else None,
        config.runtime.device,
        options.precision,
        options.batch_size,
        options.engine,
        config.runtime.threads or None,
    )
    limits = Limits(int(options.max_mib * 2**20), int(options.max_megapixels * 1e6), options.queue)
    application = make_application(predictor, limits)
    # On a signal: no new connections, the pictures that wait are finished, then the end.
    uvicorn.run(
        application,
        host=options.host,
        port=options.port,
        log_config=None,
        timeout_graceful_shutdown=30,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
