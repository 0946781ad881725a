"""Finding Qualcomm's libraries, with folders that play an SDK."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from flashneuron import qnn
from flashneuron.errors import InputError


def make_sdk(root: Path, version: str = "2.50.1") -> Path:
    for name in (
        "x86_64-linux-clang/libQnnHtp.so",
        "x86_64-linux-clang/libQnnSystem.so",
        "aarch64-android/libQnnHtp.so",
        "aarch64-android/libQnnSystem.so",
        "aarch64-android/libQnnHtpV75Stub.so",
        "hexagon-v75/unsigned/libQnnHtpV75Skel.so",
    ):
        (root / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "lib" / name).touch()
    (root / "sdk.yaml").write_text(f"version: {version}.260101\n")
    return root


def test_the_installed_package_is_found_with_its_sdks_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(qnn.SDK_ROOT, raising=False)
    sdk = qnn.find_qnn()
    assert (sdk.version, sdk.source) == ("2.49.40", "onnxruntime-qnn 2.5.0")
    libraries = qnn.device_libraries(sdk, "x86_64", "SM8650")
    assert {"libQnnHtp.so", "libQnnSystem.so", "libatomic.so.1"} < set(libraries)
    assert all(path.is_file() for path in libraries.values())
    with pytest.raises(InputError, match="set QNN_SDK_ROOT"):
        qnn.device_libraries(sdk, "aarch64", "SM8650")


def test_an_sdk_of_qualcomms_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(qnn.SDK_ROOT, str(make_sdk(tmp_path / "qairt")))
    sdk = qnn.find_qnn()
    assert sdk.version == "2.50.1"
    assert sorted(qnn.device_libraries(sdk, "aarch64", "sm8650")) == [
        "libQnnHtp.so",
        "libQnnHtpV75Skel.so",
        "libQnnHtpV75Stub.so",
        "libQnnSystem.so",
    ]
    with pytest.raises(InputError, match=r"libQnnHtpV79Stub\.so is missing"):
        qnn.device_libraries(sdk, "aarch64", "SM8750")


def test_what_is_missing_is_one_line_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(qnn.SDK_ROOT, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is not a folder"):
        qnn.find_qnn()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(qnn.SDK_ROOT, str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"has no libQnnHtp\.so; pip install"):
        qnn.find_qnn()
    monkeypatch.delenv(qnn.SDK_ROOT)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda _: "2.7.0")
        with pytest.raises(InputError, match=r"2\.7\.0 does not work with ExecuTorch 1\.5\.1"):
            qnn.find_qnn()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'flashneuron\[qnn\]'"):
        qnn.find_qnn()


def test_chips_are_executorchs() -> None:
    from executorch.backends.qualcomm.utils.utils import get_soc_to_htp_arch_map

    assert {name: int(arch) for name, arch in get_soc_to_htp_arch_map().items()} == qnn.SOCS
    assert qnn.check_soc("sm8650") == "SM8650"
    with pytest.raises(InputError, match=r"--soc SM9999 is not known; choose one of QCM6490, .*SM8850"):
        qnn.check_soc("SM9999")
