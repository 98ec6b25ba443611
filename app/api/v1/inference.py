"""One URL per model that the official `huggingface_hub.InferenceClient` can be pointed at, unmodified.

`InferenceClient(model="http://127.0.0.1:5050/v1/inference/demo").text_to_image("a fox")` sends `{"inputs",
"parameters"}` and wants the bytes of a picture; `image_to_image` sends the picture as base64 in `inputs`, its prompt as
a parameter.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from flask import Response, after_this_request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.http import openapi, request_body
from app.api.http.openapi import blueprint, responses
from app.api.http.problems import refuse
from app.api.routing import Access
from app.api.server.context import api_context
from app.api.v1.asking import ask
from app.api.v1.bodies import Img2ImgBody, Txt2ImgBody
from app.api.v1.generate import GENERATION_PROBLEMS
from app.api.v1.waiting import name_job, raise_what_went_wrong, when_done
from app.core.job import JobStatus, JobView
from app.core.json_values import Body, Integer
from app.core.output import Output
from app.errors import GenerationTimeout, ImageNotFound, InvalidImage, Unavailable
from app.services.context import AppContext
from app.services.media import gallery

api = blueprint("v1_inference", "v1", "v1")

ERROR_HEADER = "X-Error-Message"  # where that client looks for the words of an error


class ModelPath(BaseModel):
    model_id: str = Field(description="Of `GET /api/v1/models`.", max_length=100)


class Parameters(Body):
    """Those of the client's two calls, and whatever else the flat requests know."""

    model_config = ConfigDict(extra="allow")

    prompt: str | None = Field(default=None, description="With it `inputs` is a picture in base64.")
    target_size: dict[str, Integer] | None = Field(default=None, description='`{"width", "height"}` of the picture.')


class InferenceBody(Body):
    inputs: str = Field(description="The prompt, or a picture in base64.")
    parameters: Annotated[Parameters, Field(default_factory=Parameters)]

    def flat(self, model_id: str) -> Txt2ImgBody | Img2ImgBody:
        """Raises InvalidRequest."""
        given = self.parameters.model_dump(exclude_none=True)
        size: dict[str, Any] = given.pop("target_size", {})
        named = given | size | {"model_id": model_id}
        try:
            if self.parameters.prompt is None:
                return Txt2ImgBody.model_validate(named | {"prompt": self.inputs})
            return Img2ImgBody.model_validate(named | {"image": self.inputs})
        except ValidationError as error:
            refuse(error)


@api.post(
    "/api/v1/inference/<path:model_id>",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=responses(
        {200: openapi.file("The picture.", "image/png")}, InvalidImage, Unavailable, *GENERATION_PROBLEMS
    ),
    description="Also `/v1/inference/<model_id>`. For `huggingface_hub.InferenceClient(model=<this URL>)`:"
    " `text_to_image` and `image_to_image`. Its `scheduler` is one of `GET /api/schedulers`, or the class's name in"
    " diffusers. A picture that is not there in time is 504, and the job goes on.",
)
def v1_inference(path: ModelPath, body: InferenceBody) -> Response:
    """Make a picture and answer with its bytes"""
    here = api_context()
    after_this_request(_word_errors)
    flat = body.flat(path.model_id)
    job_id = ask(here.context, flat).job_id
    request_body.forget(body, flat)
    name_job(job_id)
    return when_done(here, job_id, flat.timeout, partial(_picture, here.context))


def _picture(context: AppContext, view: JobView) -> Response:
    raise_what_went_wrong(view)
    if view.job.status is not JobStatus.COMPLETED:
        job = view.job.id
        raise GenerationTimeout(f"Timed out waiting for the picture; the job is still running: /api/status/{job}.")
    if not view.outputs:
        raise ImageNotFound("The picture was deleted before it could be sent.")
    output = view.outputs[0]
    content = gallery.read_file(context, output)
    return Response(content, mimetype=output.mime_type, headers=_seed_header(output))


def _seed_header(output: Output) -> dict[str, str]:
    return {} if output.seed is None else {"X-Seed": str(output.seed)}


def _word_errors(response: Response) -> Response:
    if response.status_code >= 400 and response.is_json:
        detail = str((response.get_json() or {}).get("detail", ""))
        response.headers[ERROR_HEADER] = " ".join(detail.encode("ascii", "replace").decode().split())[:500]
    return response
