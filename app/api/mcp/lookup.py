"""Tools that look things up, and the one that cancels."""

from __future__ import annotations

from app.api.http.cursor import decode, encode
from app.api.mcp.arguments import CancelGeneration, GetGeneration, ListModels, SearchGallery
from app.api.mcp.content import addresses, generation_result, links, structured
from app.api.mcp.messages import Call, response
from app.api.mcp.waiting import Waited, result_when_done
from app.api.schemas.mcp import FoundPicture, GalleryResult, ModelsResult
from app.api.security.authorization import check_owned
from app.api.security.client_identity import identity
from app.api.server.context import ApiContext
from app.core.job import JobStatus
from app.services.jobs.cancel import cancel
from app.services.media import gallery
from app.services.ops import stats


def get_generation(here: ApiContext, call: Call, sent: GetGeneration, key: str | None) -> Waited:
    check_owned("job_id", sent.job_id)
    return result_when_done(here, call, lambda: sent.job_id, sent.wait_seconds, generation_result)


def cancel_generation(here: ApiContext, call: Call, sent: CancelGeneration, key: str | None) -> Waited:
    check_owned("job_id", sent.job_id)
    return response(call, generation_result(here.context, cancel(here.context, sent.job_id)))


def list_models(here: ApiContext, call: Call, sent: ListModels, key: str | None) -> Waited:
    states = [
        state
        for state in stats.models(here.context)
        if (sent.task is None or sent.task in state.tasks) and (sent.include_unavailable or state.files.available)
    ]
    return response(call, structured(ModelsResult.of(here.context.catalog.default_id, states)))


def search_gallery(here: ApiContext, call: Call, sent: SearchGallery, key: str | None) -> Waited:
    wanted = gallery.Filter(sent.model_id, sent.media, sent.search, identity().scope)
    listing = gallery.browse(
        here.context, wanted, status=JobStatus.COMPLETED, limit=sent.limit, after=decode(sent.cursor)
    )
    items = [item for item in listing.items if isinstance(item, gallery.ImageItem)]
    body = GalleryResult(
        images=[FoundPicture.of_item(item, addresses(here.context)) for item in items],
        next_cursor=encode(listing.next),
    )
    found = structured(body)
    for item in items:
        found["content"] += links(here.context, [item.output], item.prompt)
    return response(call, found)
