"""Builds the extension: every kernel once per (instruction set, dtype), every op once per dtype, the rest once.

Plain setuptools compiles a source once, whatever flags several libraries ask for, hence the objects are made here and
handed to the linker. What the build found (OpenMP, instruction sets, or why there is no extension) is written to
``bncore/_build_info.json``, which ``bncore info`` reports.

BNCORE_REQUIRE_EXT=1   a failed compile is fatal (otherwise the package installs without its extension)
BNCORE_DEBUG=1         no optimization, bounds checks, address and undefined-behaviour sanitizers
BNCORE_NO_OPENMP=1     a serial build
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
C = Path("src_c")
DEBUG = os.environ.get("BNCORE_DEBUG") == "1"
REQUIRED = os.environ.get("BNCORE_REQUIRE_EXT") == "1"
SERIAL = os.environ.get("BNCORE_NO_OPENMP") == "1"
DTYPES = {"f32": 0, "f64": 1}
COMMON = [
    "-std=gnu11",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fopenmp-simd",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
]
OPTIMIZE = (
    ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if DEBUG else ["-O3"]
)
# One entry per variant of the kernels. x86-64-v3 and -v4 are the psABI's names for these feature sets.
ISA_FLAGS = {
    "generic": [],
    "avx2": ["-mavx2", "-mfma", "-mbmi", "-mbmi2"],
    "avx512": [
        *(
            "-mavx512f",
            "-mavx512dq",
            "-mavx512bw",
            "-mavx512vl",
            "-mavx2",
            "-mfma",
            "-mbmi",
            "-mbmi2",
        ),
        "-mprefer-vector-width=512",
    ],
}


# What the last build in this folder was made with: when it changes, everything is made again.
STAMP = Path("build/flags.json")
FLAGS = json.dumps([COMMON, OPTIMIZE, ISA_FLAGS, SERIAL, os.environ.get("CC")])


def flags_changed() -> bool:
    """Whether the last build here used other flags (or there was none)."""
    return not STAMP.exists() or STAMP.read_text() != FLAGS


def isas() -> list[str]:
    """Instruction sets to build for: variants on Linux x86-64, the compiler's baseline elsewhere."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return list(ISA_FLAGS) if sys.platform == "linux" and is_x86 else ["generic"]


class BuildExt(build_ext):
    """Compiles the variants, then lets setuptools build and link the Cython module with their objects."""

    def run(self) -> None:
        info: dict[str, object] = {"extension": False}
        # asked before run(), which puts inplace aside and, when it fails, does not put it back
        beside_sources = self.inplace or getattr(self, "editable_mode", False)
        try:
            super().run()
            info = self.info
        except Exception as error:
            if REQUIRED:
                raise
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            print(f"bncore: building WITHOUT the compiled extension ({reason})", file=sys.stderr)
            info["reason"] = reason
        self.write_info(info, ROOT if beside_sources else Path(self.build_lib))

    def build_extension(self, ext: Extension) -> None:
        self.force = self.force or flags_changed()
        openmp = [] if SERIAL else self.find_openmp()
        self.info: dict[str, object] = {
            "extension": True,
            "isas": isas(),
            "openmp": bool(openmp),
            "debug": DEBUG,
        }
        ext.extra_objects = self.compile_variants(openmp)
        ext.extra_compile_args = [
            *COMMON,
            *OPTIMIZE,
            "-Wno-unused-function",
            "-Wno-unused-parameter",
            "-Wno-sign-compare",
        ]
        ext.extra_link_args = [*openmp, *(OPTIMIZE if DEBUG else [])]
        super().build_extension(ext)
        STAMP.parent.mkdir(exist_ok=True)
        STAMP.write_text(FLAGS)

    def find_openmp(self) -> list[str]:
        """Flags with which a small OpenMP program compiles AND links, or none."""
        source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        candidates = [["-fopenmp"], ["-Xpreprocessor", "-fopenmp", "-lomp"]]
        with tempfile.TemporaryDirectory() as tmp:
            program = Path(tmp, "probe.c")
            program.write_text(source)
            for flags in candidates:
                command = [
                    *self.compiler.compiler,
                    str(program),
                    *flags,
                    "-o",
                    str(Path(tmp, "probe")),
                ]
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    return flags
        print("bncore: no OpenMP found, building a serial extension", file=sys.stderr)
        return []

    def compile_variants(self, openmp: list[str]) -> list[str]:
        """All C objects, in parallel; each is compiled again when its source, a header or this file is newer."""
        jobs: list[tuple[Path, Path, list[str]]] = []
        out = Path(self.build_temp)
        for source in sorted((C / "kernels").glob("*.c")):
            for isa in isas():
                for dtype, f64 in DTYPES.items():
                    defines = [f"-DBNC_ISA={isa}", f"-DBNC_F64={f64}"]
                    jobs.append(
                        (source, out / "kernels" / isa / dtype, [*ISA_FLAGS[isa], *defines])
                    )
        have = [f"-DBNC_HAVE_{isa.upper()}=1" for isa in isas()]
        for source in sorted((C / "ops").glob("*.c")):
            jobs.extend(
                (source, out / "ops" / dtype, [f"-DBNC_F64={f64}", *have])
                for dtype, f64 in DTYPES.items()
            )
        jobs.extend(
            (source, out / "runtime", [*openmp, *have])
            for source in sorted((C / "runtime").glob("*.c"))
        )
        newest = max(p.stat().st_mtime for p in [*C.rglob("*.h"), Path("setup.py")])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda job: self.compile_one(*job, newest), jobs))

    def compile_one(self, source: Path, folder: Path, flags: list[str], newest: float) -> str:
        """One object; setuptools' own compile step tracks neither headers nor flags, so it is not used."""
        target = folder / source.with_suffix(".o").name
        if (
            not self.force
            and target.exists()
            and target.stat().st_mtime > max(source.stat().st_mtime, newest)
        ):
            return str(target)
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *self.compiler.compiler_so,
            *COMMON,
            *OPTIMIZE,
            *flags,
            f"-I{C}",
            "-c",
            str(source),
            "-o",
            str(target),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stderr:
            print(done.stderr, file=sys.stderr)
        if done.returncode:
            raise RuntimeError(f"compiling {source} failed")
        return str(target)

    def write_info(self, info: dict[str, object], root: Path) -> None:
        """In the package that is being built, under `root`: the source folder for an editable install."""
        target = root / "bncore" / "_build_info.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(info, indent=1) + "\n")

    def get_outputs(self) -> list[str]:
        """What was really built: nothing when there is no compiler."""
        return [path for path in super().get_outputs() if Path(path).exists()]


def extensions() -> list[Extension]:
    """The one extension module, its C generated by Cython."""
    import numpy
    from Cython.Build import cythonize

    everything = [str(p) for p in [*C.rglob("*.c"), *C.rglob("*.h"), *Path("bncore").glob("*.pxi")]]
    native = Extension(
        "bncore._native",
        ["bncore/_native.pyx"],
        include_dirs=[str(C), numpy.get_include()],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_1_23_API_VERSION"),  # the arrays' mem_handler
        ],
        depends=everything,
    )
    return cythonize(
        [native], compiler_directives={"boundscheck": DEBUG}, force=flags_changed(), quiet=True
    )


os.chdir(ROOT)
setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
