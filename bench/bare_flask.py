"""The least a Flask route can do, on the server that CyberImage uses: what status_route compares with."""

from __future__ import annotations

import os

from flask import Flask
from gunicorn.app.base import BaseApplication

app = Flask(__name__)
ANSWER = {"job_id": "0" * 32, "status": "PENDING", "position": 1, "prompt": "a red circle", "settings": {"seed": 1}}


@app.get("/json")
def answer() -> dict:
    return ANSWER


@app.get("/livez")
def livez() -> dict:
    return {"status": "ok"}


class Server(BaseApplication):
    def load_config(self) -> None:
        options = {"bind": f"127.0.0.1:{os.environ['PORT']}", "worker_class": "gthread", "threads": 48, "keepalive": 75}
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return app


if __name__ == "__main__":
    Server().run()
