"""The tools: what an assistant is told of each, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from app.api.http.problems import refuse
from app.api.mcp import arguments, batches, drawing, lookup
from app.api.mcp.messages import Call
from app.api.mcp.schemas import input_schema, output_schema
from app.api.mcp.waiting import Waited
from app.api.routing import Budget
from app.api.schemas.mcp import BatchResult, GalleryResult, GenerationResult, ModelsResult
from app.api.server.context import ApiContext
from app.core.response_body import ResponseBody


@dataclass(frozen=True)
class Tool:
    """`run` gets the valid arguments and the request's Idempotency-Key."""

    title: str
    description: str
    arguments: type[arguments.Arguments]
    result: type[ResponseBody]
    run: Callable[[ApiContext, Call, Any, str | None], Waited]
    budget: Budget = "read"
    hints: tuple[str, ...] = ()

    def call(self, here: ApiContext, call: Call, key: str | None) -> Waited:
        """Raises InvalidRequest for arguments that are none."""
        try:
            sent = self.arguments.model_validate(call.params.get("arguments") or {})
        except ValidationError as error:
            refuse(error)
        return self.run(here, call, sent, key)


_READS = ("readOnlyHint", "idempotentHint")
_WAITS = (
    " Waits for the result; if it takes longer than wait_seconds, the answer has a job_id to ask get_generation for."
    " Answers with a small preview and the url of the full file."
)
TOOLS: Mapping[str, Tool] = {
    "generate_image": Tool(
        "Generate an image",
        "Draw a picture from words. Set prompt alone unless the user wants more; list_models tells which models there"
        " are." + _WAITS,
        arguments.GenerateImage,
        GenerationResult,
        drawing.generate_image,
        "generate",
    ),
    "edit_image": Tool(
        "Edit an image",
        "Change a picture: by an instruction, by drawing it over, or by repainting what a mask marks. Takes pictures"
        " that other tools answered, by image_id, and others by URL or base64." + _WAITS,
        arguments.EditImage,
        GenerationResult,
        drawing.edit_image,
        "generate",
    ),
    "upscale_image": Tool(
        "Enlarge an image",
        "Make a picture two or four times as large, without changing what it shows." + _WAITS,
        arguments.UpscaleImage,
        GenerationResult,
        drawing.upscale_image,
        "generate",
    ),
    "make_video": Tool(
        "Make a video",
        "Make a short video from words, or from a first frame. Takes minutes." + _WAITS,
        arguments.MakeVideo,
        GenerationResult,
        drawing.make_video,
        "generate",
    ),
    "submit_generation": Tool(
        "Submit a generation",
        "Queue a picture or a video and answer at once with its job_id, to do something else meanwhile or to queue"
        " several. get_generation fetches the result.",
        arguments.SubmitGeneration,
        GenerationResult,
        drawing.submit_generation,
        "generate",
    ),
    "get_generation": Tool(
        "Get a generation",
        "How far a generation is, and its pictures when it is COMPLETED. Set wait_seconds to wait for it instead of"
        " asking again and again.",
        arguments.GetGeneration,
        GenerationResult,
        lookup.get_generation,
        hints=_READS,
    ),
    "submit_batch": Tool(
        "Submit a batch",
        "Queue many pictures that differ in words of the prompt, in settings or in seeds, to compare them: a grid of"
        " sampler and guidance, one prompt by several models. Answers at once; get_batch shows all in one sheet.",
        arguments.SubmitBatch,
        BatchResult,
        batches.submit_a_batch,
        "generate",
    ),
    "get_batch": Tool(
        "Get a batch",
        "How far a batch is, and its pictures by what is different; when it has ended, with a contact sheet of all.",
        arguments.GetBatch,
        BatchResult,
        batches.get_batch,
        hints=_READS,
    ),
    "cancel_generation": Tool(
        "Cancel a generation",
        "Stop a generation that is PENDING or PROCESSING. Pictures that are finished stay.",
        arguments.CancelGeneration,
        GenerationResult,
        lookup.cancel_generation,
        hints=("destructiveHint",),
    ),
    "list_models": Tool(
        "List the models",
        "The models of this server: what each can do, its sizes and steps. To choose a model_id, or to find out what is"
        " possible.",
        arguments.ListModels,
        ModelsResult,
        lookup.list_models,
        hints=_READS,
    ),
    "search_gallery": Tool(
        "Search the gallery",
        "Pictures and videos that the user made on this server, newest first, by words of their prompts. Their image_id"
        " can be edited; their job_id gives get_generation, which shows them.",
        arguments.SearchGallery,
        GalleryResult,
        lookup.search_gallery,
        hints=_READS,
    ),
}


@lru_cache(maxsize=1)
def listed() -> list[dict[str, Any]]:
    """As `tools/list` tells them."""
    return [
        {
            "name": name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": input_schema(tool.arguments),
            "outputSchema": output_schema(tool.result),
            "annotations": {
                "readOnlyHint": "readOnlyHint" in tool.hints,
                "destructiveHint": "destructiveHint" in tool.hints,
                "idempotentHint": "idempotentHint" in tool.hints,
                "openWorldHint": False,
            },
        }
        for name, tool in TOOLS.items()
    ]
