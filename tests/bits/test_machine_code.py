"""The extensions as the compiler left them: no fused multiply-add, prefetches, nothing of libm, OpenMP or BLAS.

The tests of bits would find most of this, but only on a processor that has the instructions, and where rounding shows.
"""

import re
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import capstone
import numpy as np
import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from gdfast import _extension

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads ELF, the format of Linux")

EXTENSIONS = [
    Path(find_spec(f"gdfast.{_extension.EXTENSIONS[isa]}").origin) for isa in _extension.built()
]
MACHINES = {
    "EM_X86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "EM_AARCH64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
}
FUSED = re.compile(r"vfn?c?m(add|sub)|b?f(n?m(add|sub|l[as]|ad|sb)|cmla|mmla)")
PREFETCH = re.compile(r"prefetch|prfm")
# Of libm all but what IEEE-754 rounds exactly; fma, which it does too, is a fused multiply-add.
FOREIGN = re.compile(
    r"(__)?(a?(sin|cos|tan)h?|atan2|sincos|exp(2|10|m1)?|log(2|10|1p)?|pow|cbrt|hypot|erfc?|[lt]?gamma|fma)"
    r"(f|l|f\d+x?)?(_r)?(_finite)?"
    r"|(GOMP|omp|__kmpc|_ZGV|__svml|cblas)_?.*|[sdcz](gemm|gemv|dot|axpy|nrm2)_"
)
LIBRARIES = re.compile(r"lib(gomp|i?omp|mvec|svml|\w*blas|mkl)\b.*")


def instructions(machine: str, code: bytes) -> Counter[str]:
    """How often code has which instruction; all must be known."""
    names, size = Counter(), 0
    for _, length, name, _ in capstone.Cs(*MACHINES[machine]).disasm_lite(code, 0):
        names[name] += 1
        size += length
    assert size == len(code), f"not an instruction that is known: {code[size : size + 15].hex()}"
    return names


def named(names: Counter[str], pattern: re.Pattern[str]) -> Counter[str]:
    """Those of the instructions whose names begin like this."""
    return Counter({name: count for name, count in names.items() if pattern.match(name)})


def foreign(elf: ELFFile) -> set[str]:
    """The foreign functions and libraries that a shared object asks for."""
    symbols = elf.get_section_by_name(".dynsym").iter_symbols()
    names = {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF"}
    tags = elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
    libraries = {tag.needed for tag in tags}
    assert libraries, "a shared object without any library"
    return {*filter(FOREIGN.fullmatch, names), *filter(LIBRARIES.fullmatch, libraries)}


@pytest.mark.parametrize(
    ("machine", "code", "names"),
    [
        ("EM_X86_64", "c4e2e999c1", {"vfmadd132sd"}),  # VEX
        ("EM_X86_64", "c5eb59c1 c4e26d9cc1", {"vfnmadd132ps"}),  # the second of two
        ("EM_X86_64", "62f2ed4898c1 62f2ed489ec1", {"vfmadd132pd", "vfnmsub132pd"}),  # EVEX
        ("EM_X86_64", "62f26d499ac1", {"vfmsub132ps"}),  # masked
        ("EM_X86_64", "f20f59c1 c5eb59c1 62f1ed4859c1", set()),  # mulsd, vmulsd, vmulpd of 8
        ("EM_AARCH64", "0008411f 0080411f", {"fmadd", "fmsub"}),
        ("EM_AARCH64", "0008211f 208c621f", {"fnmadd", "fnmsub"}),
        ("EM_AARCH64", "40cc614e 4050a14f", {"fmla", "fmls"}),  # NEON
        ("EM_AARCH64", "4084e165 40a4e165 4064e165", {"fmad", "fmsb", "fnmls"}),  # SVE
        ("EM_AARCH64", "2008621e 20dc626e", set()),  # fmul of one and of two
    ],
)
def test_fused_instructions_would_be_found(machine, code, names):
    assert set(named(instructions(machine, bytes.fromhex(code)), FUSED)) == names


def test_code_that_cannot_be_read_is_an_error():
    with pytest.raises(AssertionError, match="not an instruction that is known: 06"):
        instructions("EM_X86_64", bytes.fromhex("c4e2e999c1 06"))


def test_foreign_functions_would_be_found():
    with Path(np.random.mtrand.__file__).open("rb") as file:  # draws of distributions need them
        assert {"exp", "log", "log1p", "pow"} <= foreign(ELFFile(file))


@pytest.mark.parametrize(
    "name", ["expf", "__exp_finite", "fma", "lgamma_r", "GOMP_parallel", "_ZGVbN2v_exp"]
)
def test_foreign_names(name):
    assert FOREIGN.fullmatch(name)


@pytest.mark.parametrize("name", ["sqrt", "floor", "fmaxf", "PyMem_Free", "log_message", "memcpy"])
def test_names_that_are_none_of_these(name):
    assert not FOREIGN.fullmatch(name)


def test_there_are_extensions():
    assert EXTENSIONS


@pytest.mark.parametrize("path", EXTENSIONS, ids=lambda path: path.name)
def test_nothing_is_fused_and_there_are_prefetches(path):
    """A compiler may take a function of nothing but prefetches for one without effects, and drop its calls."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        machine = elf["e_machine"]
        if machine not in MACHINES:
            pytest.skip(f"the fused instructions of {machine} are not listed here")
        executable = [s for s in elf.iter_sections() if s["sh_flags"] & SH_FLAGS.SHF_EXECINSTR]
        found = sum((instructions(machine, section.data()) for section in executable), Counter())
    assert found.total() > 20_000
    assert not named(found, FUSED)
    assert named(found, PREFETCH).total() > 100


@pytest.mark.parametrize("path", EXTENSIONS, ids=lambda path: path.name)
def test_nothing_is_foreign(path):
    with path.open("rb") as file:
        assert not foreign(ELFFile(file))
