"""Open a report in headless Chromium and measure what a reader sees.

    python tests/report/headless_browser.py runs/demo/report.html [SCREENSHOT_FOLDER]

at two widths, light and dark. With the path of axe.min.js (``npm install axe-core``) in the
variable AXE it also names what axe-core finds; it works for pages of the site, too. Chromium is
spoken to through two pipes (its DevTools protocol), which takes no driver package.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import product
from pathlib import Path

WIDTHS = {"desktop": 1280, "phone": 390}
PRINTED = 688  # A4 less the margins of 14 mm
PATIENCE = 30  # seconds
AXE = os.environ.get("AXE")
_VIOLATIONS = (
    "axe.run(document, {resultTypes: ['violations'], preload: false}).then(r => r.violations.map("
    "v => `${v.impact} ${v.id}: ${v.help} (${v.nodes[0].html.slice(0, 120)})`))"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-default-apps", "--remote-debugging-pipe",
)
# Chromium reads from descriptor 3 and writes to 4; the detour keeps one from covering the other.
PLUG = """import os, sys
ends = [os.dup(int(end)) for end in sys.argv[1:3]]
spare = [os.dup2(end, 100 + k) for k, end in enumerate(ends)]
for number, end in zip((3, 4), spare):
    os.dup2(end, number, inheritable=True)
os.execv(sys.argv[3], sys.argv[3:])
"""
# Figures count as visible if one drawing in them has an area, or a text says why there is none.
MEASURE = """(() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const box = e => e.getBoundingClientRect();
  const visible = e => box(e).width > 40 && box(e).height > 40;
  const name = e => (e.querySelector('h3,h4,figcaption') || e).textContent.trim().slice(0, 60);
  const figures = [...document.querySelectorAll('figure')];
  const drawn = f => [...f.querySelectorAll('svg,img')];
  const wide = [...document.querySelectorAll('body *')].filter(e => {
    const r = e.getBoundingClientRect();
    return r.width > 0 && r.right > document.documentElement.clientWidth + 1;
  });
  return {
    figures: figures.length,
    hidden: figures.filter(f => drawn(f).length && !drawn(f).some(visible)).map(name),
    broken: [...document.images].filter(i => i.complete && !i.naturalWidth).length,
    scroll_width: document.documentElement.scrollWidth,
    client_width: document.documentElement.clientWidth,
    height: document.documentElement.scrollHeight,
    outside: [...new Set(wide.map(e => e.tagName.toLowerCase() + ': ' + name(e)))].slice(0, 8),
  };
})()"""


def find_chromium():
    """Path of a Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


class Chromium:
    """A browser behind two pipes: one JSON message, ended by a zero byte, at a time."""

    def __init__(self, to_browser, from_browser):
        self._write, self._read = to_browser, from_browser
        self._buffer, self._number, self.session, self.events = b"", 0, None, []

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._receive())

    def _receive(self):
        while b"\0" not in self._buffer:
            ready = select.select([self._read], [], [], PATIENCE)[0]
            if not ready:
                raise TimeoutError(f"Chromium has said nothing for {PATIENCE} s.")
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise RuntimeError("Chromium has ended.")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(path):
    """Start Chromium with an empty profile of its own; end it afterwards."""
    to_browser, from_browser = os.pipe(), os.pipe()
    ends = to_browser[0], from_browser[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [sys.executable, "-c", PLUG, *map(str, ends), path, *FLAGS,
             f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            pass_fds=ends,
        )
        for end in ends:
            os.close(end)
        try:
            yield Chromium(to_browser[1], from_browser[0])
        finally:
            process.kill()
            process.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])


def measure(
    page, width, *, path=None, media="", dark=False, scripts=True, ask=None, screenshot=None,
    pdf=None,
):
    """Measure a page at a width in CSS pixels, on a screen or as it is printed (``media``).

    Returns
    -------
    dict
        ``answer`` (of the expression `ask`, which may be a promise), ``errors`` (of scripts, the
        console and the security policy), ``figures``, ``hidden``,
        ``broken``, ``scroll_width``, ``client_width``, ``outside`` (what stands beyond the edge).
    """
    with browser(path or find_chromium()) as chromium:
        target = chromium.call("Target.createTarget", url="about:blank")["targetId"]
        attached = chromium.call("Target.attachToTarget", targetId=target, flatten=True)
        chromium.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            chromium.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        chromium.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        chromium.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        chromium.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        chromium.events.clear()
        chromium.call("Page.navigate", url=Path(page).resolve().as_uri())
        chromium.wait_for("Page.loadEventFired")
        result = chromium.call("Runtime.evaluate", expression=MEASURE, returnByValue=True)
        found = result["result"]["value"]
        if ask is not None:
            wait = {"returnByValue": True, "awaitPromise": True}
            result = chromium.call("Runtime.evaluate", expression=ask, **wait)
            found["answer"] = result["result"].get("value", result)
        if screenshot is not None:
            size |= {"height": found["height"], "mobile": False}
            chromium.call("Emulation.setDeviceMetricsOverride", **size)
            taken = chromium.call("Page.captureScreenshot")
            Path(screenshot).write_bytes(base64.b64decode(taken["data"]))
        if pdf is not None:
            printed = chromium.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
            Path(pdf).write_bytes(base64.b64decode(printed["data"]))
        found["errors"] = [_error(event) for event in chromium.events if _error(event)]
    return found


def _error(event):
    method, content = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        return content["exceptionDetails"]["text"]
    if method == "Log.entryAdded" and content["entry"]["level"] == "error":
        return content["entry"]["text"]
    if method == "Runtime.consoleAPICalled" and content["type"] == "error":
        return str(content["args"])
    return None


def axe_question():
    """Expression for `measure` whose answer lists the barriers that axe-core finds."""
    return f"{Path(AXE).read_text()};{_VIOLATIONS}"


def complaints(found):
    """What is wrong with a measured page, in words; empty if nothing is."""
    words = [f"error: {text}" for text in found["errors"]]
    words += [f"figure without an area: {name}" for name in found["hidden"]]
    if found["broken"]:
        words.append(f"{found['broken']} images do not load")
    if found["scroll_width"] > found["client_width"]:
        words.append(
            f"scrolls sideways: {found['scroll_width']} px in {found['client_width']} px, "
            f"because of {found['outside']}"
        )
    return words


def main(page, folder=None):
    failed = False
    for (screen, width), dark in product(WIDTHS.items(), (False, True)):
        name = f"{screen}-dark" if dark else screen
        shot = None if folder is None else Path(folder) / f"{name}.png"
        pdf = None if folder is None or name != "desktop" else Path(folder) / "print.pdf"
        ask = None if AXE is None else axe_question()
        found = measure(page, width, dark=dark, ask=ask, screenshot=shot, pdf=pdf)
        wrong = [*complaints(found), *found.get("answer", [])]
        failed |= bool(wrong)
        sys.stdout.write(
            f"{name} ({width} px): {found['figures']} figures, height {found['height']} px: "
            f"{'; '.join(wrong) or 'no complaint'}\n"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
