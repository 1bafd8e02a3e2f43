"""The system's Chromium, where `--browser` asks for a real one: found, started, and ended again.

No browser is ever downloaded. playwright drives the one that is installed, with an empty profile
that is removed afterwards, and nothing in it calls home. What is missing is told in one line that
says how to get it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 20.0
"""A browser that has not started by then is none."""
END_S = 5.0
INSTALL = "pip install 'streamgauge[browser]', and Chromium from your system (apt install chromium)"
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page of the allowed origin has to reach loopback without anybody there to permit it.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
)


class BrowserMissing(Exception):
    """There is no browser to ask; the message says what is missing and how to get it."""


def executable() -> str:
    """The path of the system's Chromium or Chrome.

    Raises:
        BrowserMissing: none is on PATH, or the package that drives it is not installed.
    """
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise BrowserMissing(f"no Chromium was found on PATH: {INSTALL}")
    try:
        import playwright  # noqa: F401, PLC0415  # an optional extra
    except ImportError as error:
        raise BrowserMissing(f"the package playwright is not installed: {INSTALL}") from error
    return path


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser; it is gone when the block ends, however it ends.

    Raises:
        BrowserMissing: there is none, or it does not start.
    """
    path = executable()
    from playwright.async_api import Error, async_playwright  # noqa: PLC0415  # an optional extra

    async with async_playwright() as driver:
        try:
            browser = await driver.chromium.launch(
                executable_path=path,
                args=list(FLAGS),
                headless=True,
                chromium_sandbox=os.geteuid() != 0,  # it refuses to run as root with one
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
                timeout=START_S * 1000,
            )
        except Error as error:
            said = str(error).strip().splitlines()[0]
            raise BrowserMissing(f"{path} does not start ({said})") from error
        try:
            yield browser
        finally:
            async with asyncio.timeout(END_S):
                await browser.close()
