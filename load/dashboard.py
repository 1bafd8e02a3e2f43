"""The tab "Streams" in Locust's web page, and the same page on its own at /streamgauge/.

Locust lets a tab be added and puts only tables into it. So a small script puts a frame under that
tab, which shows the page that later becomes the report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response

from . import page
from .run import Run

if TYPE_CHECKING:
    from locust.web import WebUI

PATH: Final = "/streamgauge"
TAB: Final = {"title": "Streams", "key": "streams"}
_HTML: Final = "text/html; charset=utf-8"


def serve_dashboard(web_ui: WebUI, base_path: str, current: Callable[[], Run]) -> None:
    """Add the tab.

    Args:
        web_ui: Locust's.
        base_path: stands before every path of it.
        current: the run to show.
    """
    blueprint = Blueprint("streamgauge", __name__, url_prefix=f"{base_path}{PATH}")
    guarded: Any = web_ui.auth_required_if_enabled

    def answer(text: str, kind: str = _HTML) -> Response:
        return Response(text, content_type=kind, headers={"Cache-Control": "no-store"})

    def whole() -> Response:
        return answer(page.live_page(current().as_json()))

    def body() -> Response:
        return answer(page.live_body(current().as_json()))

    def script() -> Response:
        return answer(page.part("tab.js"), "text/javascript; charset=utf-8")

    app: Any = web_ui.app
    blueprint.add_url_rule("/", "whole", guarded(whole))
    blueprint.add_url_rule("/body", "body", guarded(body))
    blueprint.add_url_rule("/tab.js", "script", script)
    app.register_blueprint(blueprint)
    web_ui.template_args["extended_tabs"] = [TAB]

    def add_script(response: Response) -> Response:
        text = "" if response.direct_passthrough else response.get_data(as_text=True)
        if "window.templateArgs" in text:
            tag = f'<script src="{base_path}{PATH}/tab.js"></script></body>'
            response.set_data(text.replace("</body>", tag, 1))
        return response

    app.after_request(add_script)
