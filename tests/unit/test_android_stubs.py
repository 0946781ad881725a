"""tools/android-stubs finds what Android's API 36 has not."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "android-stubs"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("android_stubs", str(TOOL))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # which dataclasses ask for
    loader.exec_module(module)
    return module


GOOD = """\
public abstract class android.app.Service extends android.content.ContextWrapper {
  public static final int START_NOT_STICKY;
  public android.app.Service();
  public abstract android.os.IBinder onBind(android.content.Intent);
  public final void startForeground(int, android.app.Notification, int);
}
public interface android.widget.SeekBar$OnSeekBarChangeListener {
  public abstract void onProgressChanged(android.widget.SeekBar, int, boolean);
}
public class android.content.Context {
  public final java.lang.String getString(int, java.lang.Object...);
  public final <T> T getSystemService(java.lang.Class<T>);
}
"""


def test_what_is_there_passes(tool: ModuleType) -> None:
    assert list(tool.differences(GOOD)) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("START_NOT_STICKY", "START_OFTEN"),
        ("static final int", "final int"),
        ("int START", "java.lang.String START"),
        ("onBind(android.content.Intent)", "onBind(android.os.Bundle)"),
        ("android.os.IBinder onBind", "android.os.Bundle onBind"),
        ("Notification, int)", "Notification, long)"),
        ("Notification, int)", "Notification, int, int)"),
        ("void startForeground", "boolean startForeground"),
        ("extends android.content.ContextWrapper", "extends android.view.View"),
        ("SeekBar$OnSeekBarChangeListener", "SeekBar$Listener"),
        ("int, boolean)", "int, int)"),
        ("java.lang.Object...", "java.lang.Object"),
        ("public android.app.Service()", "public android.app.Service(int)"),
    ],
)
def test_what_is_not_there_is_told(tool: ModuleType, right: str, wrong: str) -> None:
    assert right in GOOD
    assert len(list(tool.differences(GOOD.replace(right, wrong)))) == 1
