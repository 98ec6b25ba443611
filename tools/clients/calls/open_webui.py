"""Open WebUI: its server, with both of its image engines that lead here, driven as its page does."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from reporting import KEY, MODEL, URL, Report, picture, png

START_SECONDS = 600  # its first start makes its database
ENVIRONMENT = {
    "WEBUI_AUTH": "False",
    "OFFLINE_MODE": "True",
    "HF_HUB_OFFLINE": "1",
    "RAG_EMBEDDING_ENGINE": "openai",  # no model of its own is fetched
    "ENABLE_OLLAMA_API": "False",
    "ENABLE_OPENAI_API": "False",
    "ENABLE_IMAGE_GENERATION": "True",
    "WEBUI_SECRET_KEY": "clients",
}

SOURCE = f"data:image/png;base64,{base64.b64encode(png()).decode()}"


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("open-webui")), "serve", "--host", "127.0.0.1"]
        passed = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = {**passed, **ENVIRONMENT, "DATA_DIR": folder, "TMPDIR": folder}
        with (Path(folder) / "said").open("wb") as said:
            server = subprocess.Popen(
                [*command, "--port", str(port)], cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
            )
        try:
            drive(signed_in(f"http://127.0.0.1:{port}", server))
        finally:
            server.terminate()
            server.wait(60)


def signed_in(url: str, server: subprocess.Popen[bytes]) -> httpx.Client:
    """Its administrator, once it is up."""
    client, ends = httpx.Client(base_url=url, timeout=300), time.monotonic() + START_SECONDS
    while time.monotonic() < ends and server.poll() is None:
        try:
            client.get("/health").raise_for_status()
            token = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).raise_for_status().json()
            client.headers["Authorization"] = f"Bearer {token['token']}"
            return client
        except httpx.HTTPError:
            time.sleep(1)
    raise SystemExit("Open WebUI did not start.")


def drive(client: httpx.Client) -> None:
    report = Report("Open WebUI", "open-webui")
    engines = {
        "openai": {"IMAGES_OPENAI_API_BASE_URL": f"{URL}/v1", "IMAGES_OPENAI_API_KEY": KEY},
        "automatic1111": {"AUTOMATIC1111_BASE_URL": URL, "AUTOMATIC1111_API_AUTH": f"any:{KEY}"},
    }
    for engine, settings in engines.items():
        configure(client, IMAGE_GENERATION_ENGINE=engine, **settings)
        report.call(f"{engine}: generate", lambda: drawn(client, "generations", prompt="a red circle", n=1))
    of_edits = {"IMAGES_EDIT_OPENAI_API_BASE_URL": f"{URL}/v1", "IMAGES_EDIT_OPENAI_API_KEY": KEY}
    configure(client, ENABLE_IMAGE_EDIT=True, IMAGE_EDIT_ENGINE="openai", IMAGE_EDIT_MODEL=MODEL, **of_edits)
    report.call("openai: edit", lambda: drawn(client, "edit", prompt="a blue square", image=SOURCE))


def configure(client: httpx.Client, **changed: object) -> None:
    """Its settings as they are, with some `changed`."""
    path = "/api/v1/images/config"
    usual = {
        "ENABLE_IMAGE_GENERATION": True,
        "IMAGE_GENERATION_MODEL": MODEL,
        "IMAGE_SIZE": "256x256",
        "IMAGE_STEPS": 4,
    }
    known = client.get(path).raise_for_status().json()
    client.post(f"{path}/update", json={**known, **usual, **changed}).raise_for_status()


def drawn(client: httpx.Client, path: str, **body: object) -> str:
    answer = client.post(f"/api/v1/images/{path}", json=body)
    if answer.is_error:
        raise AssertionError(answer.text)
    return picture(client.get(answer.json()[0]["url"]).raise_for_status().content)


if __name__ == "__main__":
    main()
