"""Build the integer engine in C, if there is a compiler. pyproject.toml has everything else."""

import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# One build serves all versions of Python from 3.11 on, except those without the GIL.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildExtensions(build_ext):
    """Sets the compiler's options, and leaves out extensions that could not be built."""

    def build_extensions(self) -> None:
        msvc = self.compiler.compiler_type == "msvc"
        for extension in self.extensions:
            # What an earlier build left must not pass for a success of this one.
            Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            # Python's own -fwrapv would halve the speed of the kernels of GCC 12.
            extension.extra_compile_args = (
                ["/O2", "/std:c11"] if msvc else ["-O3", "-std=c11", "-g0", "-fno-wrapv"]
            )
        super().build_extensions()
        self.distribution.ext_modules = [
            extension
            for extension in self.extensions
            if Path(self.get_ext_fullpath(extension.name)).exists()
        ]


class BuildWheel(bdist_wheel):
    """Names a wheel without extensions as one for all platforms."""

    def run(self) -> None:
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


setup(
    ext_modules=[
        Extension(
            "vaecodec.engine._engine",
            ["codec/vaecodec/engine/engine.c"],
            define_macros=[("Py_LIMITED_API", "0x030b0000")] if STABLE_ABI else [],
            py_limited_api=STABLE_ABI,
            optional=True,  # vaecodec.engine then runs on NumPy
        )
    ],
    cmdclass={"build_ext": BuildExtensions, "bdist_wheel": BuildWheel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
