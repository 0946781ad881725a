"""Chromium without a window and without a network, driven by its command line: how a page looks, what it complains of.

A window is at least 500 pixels wide, so a page is looked at in a frame, whose width is any; screenshots show the frame.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
WIDTHS = {"desktop": 1280, "phone": 390}
_MARK = "flashneuron-measured "
_SCRIPT = r"""<script>addEventListener('load', () => {
  const page = document.documentElement
  const outside = [...document.querySelectorAll('.plot svg, h1, h2, .card, aside, .marks')]
  console.log('MARK' + JSON.stringify({
    inner_width: innerWidth, scroll_width: page.scrollWidth,
    height: Math.floor(document.body.getBoundingClientRect().height),
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
    fetched: performance.getEntriesByType('resource').map(entry => entry.name),
    outside: outside.filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80)),
    clipped: [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)
      .map(e => `${e.scrollWidth} over ${e.clientWidth}: ${e.innerText.slice(0, 80)}`),
    markup: document.body.innerText.match(/<\/?[a-z]+>|&[a-z]+;/g) || [],
    text_px: Math.min(...[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)),
  }))
})</script>""".replace("MARK", _MARK)


@dataclass(frozen=True)
class Seen:
    image: Any  # rows × columns × 3, from 0 to 1; of the page, no longer than the frame
    measured: dict[str, Any]  # by _SCRIPT
    complaints: list[str]  # errors and warnings of the page's console


def chromium() -> str:
    """The program. A test without it fails: what it would have seen stays unknown."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "this test needs Chromium or Chrome: tools/setup installs it, or sudo apt-get install chromium"
    return found


def look(text: str, width: int, dark: bool, folder: Path, height: int = 4000) -> Seen:
    """`text`: the page's HTML. `folder`: empty, for the browser's own files and the screenshot."""
    framed = html.escape(text.replace("</head>", f"{_SCRIPT}</head>"))
    style = "<meta name=color-scheme content='light dark'><style>body { margin: 0 } iframe { border: 0 }</style>"
    (folder / "frame.html").write_text(
        f"<!doctype html>{style}<iframe width={width} height={height} srcdoc='{framed}'></iframe>"
    )
    picture = folder / "seen.png"
    command = [
        chromium(), "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={width},{height}",
        f"--screenshot={picture}", (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # which root cannot have
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    said = re.findall(r":(\w+):CONSOLE[^]]*\] \"(.*)\", source:", done.stderr)
    (measured,) = [json.loads(line.removeprefix(_MARK)) for _, line in said if line.startswith(_MARK)]
    complaints = [f"{level}: {line}" for level, line in said if not line.startswith(_MARK)]
    image = np.asarray(matplotlib.image.imread(picture))
    return Seen(image[: measured["height"], :, :3], measured, complaints)
