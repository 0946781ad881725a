"""The checks of what a runner for phones asks of its system, on objects made for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def check(name: str, *arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(TOOLS / name), *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def compile_c(build: Path, code: str, *options: str) -> Path:
    """As an object of the runtime's in `build`; as another thing with `options`."""
    (build / "src").mkdir(parents=True, exist_ok=True)
    source = build / "code.c"
    source.write_text(code)
    target = build / "src" / "code.o"
    subprocess.run(["aarch64-linux-gnu-gcc", *(options or ("-c",)), "-o", str(target), str(source)], check=True)
    return target


def test_symbols_that_android_has_pass(tmp_path: Path) -> None:
    compile_c(
        tmp_path,
        "void free(void *); int *__errno_location(void); void f(void *p) { free(p); *__errno_location() = 0; }",
    )
    assert check("check-bionic", tmp_path) == (0, "check-bionic: 2 C symbols, 0 problems\n")


@pytest.mark.parametrize(
    ("symbol", "why"),
    [
        ("backtrace", ", which is not in bionic-symbols.txt"),
        ("memfd_create", ", which Android has from API level 30 on, not at 29"),
        ("syscall", ": call a function of the C library"),
    ],
)
def test_symbols_that_it_may_lack_are_named(tmp_path: Path, symbol: str, why: str) -> None:
    compile_c(tmp_path, f"int {symbol}(); int f(void) {{ return {symbol}(); }}")
    code, said = check("check-bionic", tmp_path)
    assert code == 1
    assert f"code.o: needs {symbol}{why}" in said


def test_without_a_build_it_says_how_to_make_one(tmp_path: Path) -> None:
    code, said = check("check-bionic", tmp_path)
    assert code == 1
    assert "cmake --preset linux-arm64" in said


@pytest.mark.parametrize(("page", "code"), [(4096, 1), (16384, 0), (65536, 0)])
def test_segments_for_small_pages_are_told(tmp_path: Path, page: int, code: int) -> None:
    compile_c(tmp_path, "int f(void) { return 0; }", "-shared", "-nostdlib", f"-Wl,-z,max-page-size={page}")
    found, said = check("check-pages", tmp_path)
    assert found == code
    assert said.splitlines()[-1] == f"check-pages: 1 ELF files, {code} not for pages of 16 KiB"
    assert ("is aligned to 4096 bytes" in said) == bool(code)


def test_a_folder_without_elf_files_is_no_success(tmp_path: Path) -> None:
    assert check("check-pages", tmp_path)[0] == 1
