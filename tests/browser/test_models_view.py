"""The models view: what is here, what fits, loading and unloading, and the LoRAs with their words and strength."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from safetensors.numpy import save_file

from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, violations


def card(page: Page, model_id: str) -> Locator:
    return page.locator(f".model-card[data-id='{model_id}']")


def test_what_is_here_is_listed_and_used(new_page: Callable[..., Page], harness: Harness):
    page = new_page(f"{harness.url}/#/models")
    expect(card(page, "fixed").locator(".about")).to_have_text("Always takes seven steps")
    expect(card(page, "fixed").locator(".fit")).to_contain_text("Fits this machine")
    page.get_by_label("Search models and LoRAs").fill("SEVEN steps")
    expect(page.locator(".model-card[data-id]")).to_have_count(1)
    card(page, "fixed").get_by_role("button", name="Use: ").click()
    expect(page.locator("#model")).to_have_value("fixed")
    expect(page.locator("#generate")).to_be_visible()


def test_models_that_are_not_here_have_a_licence_and_a_download(new_page: Callable[..., Page], harness: Harness):
    page = new_page(f"{harness.url}/#/models")
    expect(card(page, "painter")).to_be_visible()
    expect(card(page, "sd15")).to_have_count(0)
    page.get_by_text("All", exact=True).click()
    missing = card(page, "sd15")
    expect(missing.locator(".state")).to_have_text("not here")
    link = missing.get_by_role("link", name="Licence and files")
    expect(link).to_have_attribute("href", "https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5")
    expect(missing.get_by_role("button", name="Download: ")).to_be_visible()
    expect(missing.get_by_role("button", name="Delete the files of")).to_have_count(0)
    expect(card(page, "painter").get_by_role("button", name="Download: ")).to_have_count(0)


def test_a_model_is_loaded_and_unloaded(new_page: Callable[..., Page], harness: Harness):
    harness.quiet()
    page = new_page(f"{harness.url}/#/models")
    model = card(page, "open")
    if model.get_by_role("button", name="Unload: ").count():
        model.get_by_role("button", name="Unload: ").click()
    model.get_by_role("button", name="Load: ").click()
    expect(model.locator(".state")).to_have_text("in memory")
    expect(page.locator("#announcer")).to_contain_text("is loaded")
    model.get_by_role("button", name="Unload: ").click()
    expect(model.locator(".state")).to_have_text("ready")


def test_without_a_worker_a_load_says_so(new_page: Callable[..., Page], new_harness: Callable[..., Harness]):
    harness = new_harness().open(worker=None)
    page = new_page(f"{harness.url}/#/models", forgive=True)
    card(page, "painter").get_by_role("button", name="Load: ").click()
    expect(page.locator(".toast")).to_contain_text("No worker is running")
    expect(card(page, "painter").locator(".state")).to_have_text("ready")


def downloaded(harness: Harness) -> Path:
    """What a download of sd15 that broke off leaves."""
    hub = Path(harness.environment["MODEL_CACHE_DIR"]) / "huggingface" / "hub"
    folder = hub / "models--stable-diffusion-v1-5--stable-diffusion-v1-5"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "abc").write_bytes(b"x" * 2_000_000)
    return folder


def test_files_are_deleted_after_a_question(new_page: Callable[..., Page], new_harness: Callable[..., Harness]):
    harness = new_harness()
    folder = downloaded(harness)
    harness.open(worker=None)
    page = new_page(f"{harness.url}/#/models")
    model = card(page, "sd15")
    expect(model.locator(".size")).to_have_text("2.0 MB on the disk")
    model.get_by_role("button", name="Delete the files of").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("2.0 MB are freed")
    dialog.get_by_role("button", name="Cancel").click()
    assert folder.exists()
    model.get_by_role("button", name="Delete the files of").click()
    dialog.get_by_role("button", name="Delete the files").click()
    expect(page.locator(".toast")).to_contain_text("2.0 MB are free again")
    expect(model).to_have_count(0)
    assert not folder.exists()


def a_lora(folder: Path, name: str, words: str) -> None:
    """As kohya's trainer writes one, for the architecture of SD 1.5."""
    folder.mkdir(exist_ok=True)
    part = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    down, up = np.zeros((4, 768), np.float16), np.zeros((320, 4), np.float16)
    tags = json.dumps({"all": {words: 20}})
    tensors = {f"{part}.lora_down.weight": down, f"{part}.lora_up.weight": up, f"{part}.alpha": np.float16([4])}
    save_file(tensors, folder / f"{name}.safetensors", {"ss_base_model_version": "sd_v1", "ss_tag_frequency": tags})


def test_loras_are_searched_and_their_words_go_into_the_prompt(
    new_page: Callable[..., Page], new_harness: Callable[..., Harness], tmp_path: Path
):
    a_lora(tmp_path / "loras", "inkwash", "ink wash")
    a_lora(tmp_path / "loras", "pixels", "pixel art")
    page = new_page(f"{new_harness(LORAS_DIR=str(tmp_path / 'loras')).open(worker=None).url}/#/models")
    loras = page.locator(".model-card[data-lora]")
    expect(loras).to_have_count(2)
    page.get_by_label("Search models and LoRAs").fill("wash")
    expect(loras).to_have_count(1)
    expect(loras).to_contain_text("rank 4")
    loras.get_by_role("button", name="Add ink wash to the prompt").click()
    expect(page.locator("#prompt")).to_have_value("ink wash")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_the_view_is_accessible_and_nothing_overflows(
    new_page: Callable[..., Page], harness: Harness, axe: str, theme: str, options: dict[str, Any]
):
    page = new_page(f"{harness.url}/#/models", reduced_motion="reduce", **options)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.get_by_text("All", exact=True).click()
    expect(card(page, "sd15")).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page, axe) == []
