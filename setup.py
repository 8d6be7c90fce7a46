"""Builds the operators for the Paddle at hand; all else about the package is in pyproject.toml."""

import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "csrc" / "build_tools"))

from ninja_build import LIBRARY_NAME, BuildError, build_library  # noqa: E402
from paddle_target import DEFAULT_REQUIREMENT, PaddleError, find_paddle  # noqa: E402


class CleanBuild(build):
    """Starts from an empty folder, so that no file deleted from the source stays in the wheel."""

    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildOperators(build_ext):
    """Puts the library beside the package's Python files, in the wheel or (-e) in the source."""

    def get_ext_filename(self, fullname):
        return str(Path(*fullname.split(".")[:-1], LIBRARY_NAME))

    def build_extension(self, ext):
        if paddle is None:
            raise BuildError(
                f"there is no Paddle to build against: pip install {DEFAULT_REQUIREMENT}"
            )
        folder = HERE / "build" / f"{paddle.distribution}-{paddle.version}-{sys.platform}"
        version = self.distribution.get_version()
        library = build_library(HERE, folder, paddle, version)
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A running process may have the old one mapped: replace the name, not the contents.
        temporary = target.with_suffix(".part")
        shutil.copy2(library, temporary)
        temporary.replace(target)


# What htc needs beside Paddle; the operators alone need NumPy only.
LIBRARIES = ["matplotlib", "Pillow", "pycocotools", "PyYAML", "safetensors", "tqdm"]

try:
    paddle = find_paddle()
    setup(
        ext_modules=[Extension("htc_ops.libhtc_ops", sources=[])],
        cmdclass={"build": CleanBuild, "build_ext": BuildOperators},
        # No Paddle yet: pip brings one into the isolated build, and the same version afterwards.
        setup_requires=[] if paddle else [DEFAULT_REQUIREMENT],
        install_requires=(paddle.requirements if paddle else [DEFAULT_REQUIREMENT]) + LIBRARIES,
    )
except (PaddleError, BuildError) as error:
    sys.exit(f"error: {error}")
