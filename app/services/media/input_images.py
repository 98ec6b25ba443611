"""Read the input pictures of a request from any source, and prepare them for its model."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx

from app.core.base64_text import decode_base64, decode_data_uri, is_data_uri
from app.core.catalog import ModelSpec
from app.core.inputs import CONTROL_FIELDS, Channel, Extend, InputChoice, InputPicture, InputRef, Role, slots
from app.core.output import Output
from app.core.request import GenerationInput, GenerationRequest
from app.core.sizes import working_size
from app.errors import FieldError, Gone, ImageNotFound, InvalidImage, Unavailable
from app.providers.ssrf_guard import guarded_client, url_problem
from app.services.auth.permissions import may_use
from app.services.context import AppContext
from app.services.media import gallery
from app.services.media.repaint_inputs import extended, size_of_part

if TYPE_CHECKING:  # Pillow and numpy use much memory: import them only for input pictures
    from app.files.inputs import Decoded

URL_MAX_CHARS = 2048
NO_OWNER = ""  # of pictures without a known owner
MOST_REDIRECTS = 3
_TOGETHER = 2  # all pictures of a request may take what an image and its mask may
_EXTENDING = 6  # pixels of the budget that a pixel of an extended picture takes: numbers of 32 bits
_ORDER: dict[Role, int] = {"image": 0, "mask": 1, "reference": 2, "control": 3}
_ADAPTED = 4  # references for an adapter: they have no effect on the size
MOST_FETCHED = 8  # pictures from URLs that are kept for the next job of a batch
Fetched = dict[tuple[Role, str], bytes | InvalidImage]
_GALLERY_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Prepared:
    """The request with size and input references filled in, the pictures to store, and warnings for the client."""

    request: GenerationRequest
    pictures: Sequence[InputPicture] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class _Sent:
    role: Role
    data: bytes
    image_id: str | None = None
    extend: Extend | None = None
    channel: Channel = "luminance"
    controls: Mapping[str, Any] = field(default_factory=dict)  # the fields of a control or reference that were set

    @property
    def is_adapted(self) -> bool:
        """Whether it is a reference for an adapter."""
        return self.role == "reference" and "model" in self.controls


def prepare(
    context: AppContext,
    asked: GenerationInput,
    request: GenerationRequest,
    spec: ModelSpec,
    *,
    client_id: str,
    fetched: Fetched | None = None,
) -> Prepared:
    """Read the pictures of `asked`, and scale and crop them for `spec` and the requested size. What requests that are
    prepared together fetch from URLs is in `fetched`, and fetched once.

    Raises InvalidImage, naming the field and the problem.
    """
    if not asked.pictures:
        return Prepared(request)
    sent = _fetch_all(context, asked.pictures, client_id, {} if fetched is None else fetched)
    pixels = _measure_all(context, sent)
    if any(each.extend is not None for each in sent):
        pixels += _EXTENDING * (spec.limits.max_pixels or context.settings.max_pixels)
    # Acquired at once: two requests that each hold one picture and wait for their mask would deadlock.
    with context.pixels.taking(pixels):
        return _prepared(context, request, spec, sent)


@contextmanager
def one_picture(context: AppContext, source: str, *, client_id: str, least: int = 0) -> Iterator[Decoded]:
    """A picture from any source that an input may have, in memory for the block, which takes as much as `least` pixels.
    Raises InvalidImage, Unavailable."""
    choice = InputChoice(role="image", source=source)
    sent = _fetch(context, choice, client_id, context.settings.input_fetch_seconds, {})
    with context.pixels.taking(max(_measure(context, sent), least)):
        yield _decode(context, sent)


def _fetch_all(
    context: AppContext, choices: Sequence[InputChoice], client_id: str, fetched: Fetched
) -> Sequence[_Sent]:
    """All pictures, images first. Together they may have as many bytes and take as long as one with a mask, however
    many they are."""
    settings, sent = context.settings, list[_Sent]()
    ends = time.monotonic() + _TOGETHER * settings.input_fetch_seconds
    for choice in sorted(choices, key=_place):
        found = _fetch(context, choice, client_id, min(settings.input_fetch_seconds, ends - time.monotonic()), fetched)
        controls = {name: getattr(choice, name) for name in CONTROL_FIELDS if getattr(choice, name) is not None}
        sent.append(replace(found, channel=choice.channel, extend=choice.extend, controls=controls))
        if sum(len(each.data) for each in sent) > _TOGETHER * settings.input_max_bytes:
            raise _invalid("inputs", f"have together more than {_TOGETHER} times INPUT_MAX_BYTES")
    return sent


def _place(choice: InputChoice) -> int:
    return _ADAPTED if choice.role == "reference" and choice.model is not None else _ORDER[choice.role]


def _prepared(context: AppContext, request: GenerationRequest, spec: ModelSpec, sent: Sequence[_Sent]) -> Prepared:
    """The first picture determines the size of the result; a mask and controls follow it. References keep their own."""
    first = _decode(context, sent[0])
    if sent[0].extend is not None:
        return _extended(request, spec, sent[0], first, sent[0].extend)
    if request.inpaint_area == "masked":
        return _in_part(context, request, spec, sent, first)
    leads = not sent[0].is_adapted
    size = working_size(first.size, (request.width, request.height) if leads else (None, None), spec)
    names = slots(each.role for each in sent)
    pictures, warnings = (
        [_ready(names[0], first, sent[0], size)],
        [*first.notes, *(_notes(first, size) if leads else ())],
    )
    for name, each in zip(names[1:], sent[1:], strict=True):
        picture, notes = _further(context, spec, name, each, first, size)
        pictures.append(picture)
        warnings += notes
    return _with(request, size if leads else (request.width, request.height), pictures, warnings)


def _further(
    context: AppContext, spec: ModelSpec, name: str, sent: _Sent, first: Decoded, size: tuple[int, int]
) -> tuple[InputPicture, Sequence[str]]:
    """A picture after the `first`, whose result has this `size`, with its notes."""
    decoded, its = _decode(context, sent), size
    if sent.role == "mask":
        decoded = _matched(decoded, first)
    elif sent.role in ("image", "reference"):
        its = working_size(decoded.size, (None, None), spec)
    return _ready(name, decoded, sent, its), decoded.notes


def _extended(request: GenerationRequest, spec: ModelSpec, sent: _Sent, image: Decoded, extend: Extend) -> Prepared:
    """The extended picture and the mask of what is new, as if both had been sent."""
    whole, mask, warnings = extended(image, extend, spec, request.seed)
    pictures = [_ready("image", whole, sent, whole.size), _ready("mask", mask, _Sent("mask", sent.data), whole.size)]
    return _with(request, whole.size, pictures, (*whole.notes, *warnings))


def _in_part(
    context: AppContext, request: GenerationRequest, spec: ModelSpec, sent: Sequence[_Sent], image: Decoded
) -> Prepared:
    """Picture and mask at the picture's own size. That of the request is the size at which the part is drawn."""
    mask = _matched(_decode(context, sent[1]), image)
    stored, most = len(sent) * image.size[0] * image.size[1], _TOGETHER * context.settings.input_max_pixels
    if len(sent) > _TOGETHER and stored > most:  # controls are scaled to the whole picture
        raise _invalid("inputs", f"would have {stored:,} pixels at the size of the image; at most {most:,} are allowed")
    names = slots(each.role for each in sent)
    ready = [
        _ready(name, decoded, each, image.size)
        for name, decoded, each in zip(names, (image, mask), sent[:2], strict=False)
    ]
    notes = [*image.notes, *mask.notes]
    for name, each in zip(names[2:], sent[2:], strict=True):
        picture, its = _further(context, spec, name, each, image, image.size)
        ready.append(picture)
        notes += its
    return _with(request, size_of_part(image, mask, request, spec), ready, notes)


def _with(
    request: GenerationRequest,
    size: tuple[int | None, int | None],
    pictures: Sequence[InputPicture],
    warnings: Sequence[str],
) -> Prepared:
    refs = tuple(picture.ref for picture in pictures)
    known = request.model_copy(update={"pictures": refs, "width": size[0], "height": size[1]})
    return Prepared(known, pictures, warnings)


@dataclass(frozen=True)
class WholePictures:
    """Pictures as they are: at their own sizes, with their transparency."""

    pictures: Sequence[InputPicture]
    notes: Sequence[str] = ()

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        return [(picture.ref.width, picture.ref.height) for picture in self.pictures]


def read_whole(context: AppContext, sources: Sequence[str], *, client_id: str) -> WholePictures:
    """The pictures that `sources` name, for an upscaler, one decoded at a time. Raises InvalidImage."""
    sent = _fetch_all(context, [InputChoice(role="image", source=source) for source in sources], client_id, {})
    _measure_all(context, sent)
    read, notes = list[InputPicture](), list[str]()
    for slot, each in zip(slots(one.role for one in sent), sent, strict=True):
        with context.pixels.taking(_measure(context, each)):
            decoded = _decode_whole(context, each)
            read.append(_ready(slot, decoded, each, decoded.size))
            notes += decoded.notes
    return WholePictures(read, notes)


def _decode_whole(context: AppContext, sent: _Sent) -> Decoded:
    from app.files.inputs import UnusablePicture, decode_whole

    try:
        most = min(context.settings.input_max_pixels, context.settings.max_pixels or sys.maxsize)
        return decode_whole(sent.data, max_pixels=most)  # what is larger could not be enlarged anyway
    except UnusablePicture as problem:
        raise _invalid(sent.role, str(problem)) from None


def usable_image(context: AppContext, image_id: str, *, client_id: str) -> Output:
    """The gallery picture `image_id`, if `client_id` may use it as input. Raises ImageNotFound or Gone.

    The only check of that permission: a client may use every picture that it may see.
    """
    try:
        output = context.outputs.get(image_id)
    except Gone:  # other clients must not learn that it existed
        if not may_use(context, client_id, context.owners.of_output(image_id) or NO_OWNER):
            raise ImageNotFound("There is no image with this id.") from None
        raise
    if not may_use(context, client_id, output.owner):
        raise ImageNotFound("There is no image with this id.")
    return output


def _fetch(context: AppContext, choice: InputChoice, client_id: str, seconds: float, fetched: Fetched) -> _Sent:
    role, where = choice.role, choice.source.strip()
    if where[:8].lower().startswith(("http://", "https://")):
        return _Sent(role, _from_url_once(context, role, where, seconds, fetched))
    if _GALLERY_ID.fullmatch(where):
        return _Sent(role, _from_gallery(context, role, where, client_id), where)
    return _Sent(role, _from_base64(context, role, where))


def _from_base64(context: AppContext, role: Role, text: str) -> bytes:
    try:
        data = decode_data_uri(text)[1] if is_data_uri(text) else decode_base64(text)
    except ValueError:
        raise _invalid(role, "is neither base64, a data URI, the id of a gallery picture, nor an http(s) URL") from None
    if not data:
        raise _invalid(role, "is empty")
    return data


def _from_gallery(context: AppContext, role: Role, image_id: str, client_id: str) -> bytes:
    try:
        output = usable_image(context, image_id, client_id=client_id)
        if output.media != "image":
            raise _invalid(role, "is a video; only a picture can be an input")
        return gallery.read_file(context, output)
    except (ImageNotFound, Gone):
        raise _invalid(role, f"names the picture {image_id}, which is not in the gallery") from None


def _from_url_once(context: AppContext, role: Role, url: str, seconds: float, fetched: Fetched) -> bytes:
    if (role, url) not in fetched:
        if len(fetched) >= MOST_FETCHED:
            fetched.clear()
        try:
            fetched[role, url] = _from_url(context, role, url, seconds)
        except InvalidImage as problem:
            fetched[role, url] = problem
    found = fetched[role, url]
    if isinstance(found, InvalidImage):
        raise found
    return found


def _from_url(context: AppContext, role: Role, url: str, seconds: float) -> bytes:
    if len(url) > URL_MAX_CHARS:
        raise _invalid(role, f"is a URL of more than {URL_MAX_CHARS} characters")
    if problem := url_problem(url, allow_private=context.settings.input_allow_private):
        raise _invalid(role, problem)
    if not context.fetches.acquire(blocking=False):
        raise Unavailable(
            "Too many pictures are being fetched from URLs at once. Send the picture itself.", retry_after=5
        )
    try:
        return _fetched(context, role, url, seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _invalid(role, f"could not be fetched: {str(error)[:150] or type(error).__name__}") from None
    finally:
        context.fetches.release()


def _fetched(context: AppContext, role: Role, url: str, seconds: float) -> bytes:
    if seconds <= 0:
        raise _invalid(role, "could not be fetched in time: the other pictures took all of it")
    with guarded_client(allow_private=context.settings.input_allow_private, total_seconds=seconds) as client:
        client.max_redirects = MOST_REDIRECTS
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        with client.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code != 200:
                raise _invalid(role, f"could not be fetched: the server answered {response.status_code}")
            return _whole(context, role, response)


def _whole(context: AppContext, role: Role, response: httpx.Response) -> bytes:
    data = bytearray()
    for part in response.iter_raw():
        data += part
        if len(data) > context.settings.input_max_bytes:
            raise _too_large(context, role)
    return bytes(data)


def _measure_all(context: AppContext, sent: Sequence[_Sent]) -> int:
    """The number of pixels together. Raises InvalidImage for too many."""
    pixels = sum(_measure(context, each) for each in sent)
    if pixels > _TOGETHER * context.settings.input_max_pixels:
        raise _invalid("inputs", f"have {pixels:,} pixels together, more than {_TOGETHER} times INPUT_MAX_PIXELS")
    return pixels


def _measure(context: AppContext, sent: _Sent) -> int:
    """The number of pixels, from the file's header."""
    from app.files.inputs import UnusablePicture, measure

    if len(sent.data) > context.settings.input_max_bytes:
        raise _too_large(context, sent.role)
    try:
        return measure(sent.data, max_pixels=context.settings.input_max_pixels)
    except UnusablePicture as problem:
        raise _invalid(sent.role, str(problem)) from None


def _decode(context: AppContext, sent: _Sent) -> Decoded:
    from app.files.inputs import UnusablePicture, decode

    try:
        return decode(sent.data, sent.role, max_pixels=context.settings.input_max_pixels, channel=sent.channel)
    except UnusablePicture as problem:
        raise _invalid(sent.role, str(problem)) from None


def _matched(mask: Decoded, image: Decoded) -> Decoded:
    from app.files.inputs import UnusablePicture, match

    try:
        return match(mask, image.size)
    except UnusablePicture as problem:
        raise _invalid("mask", str(problem)) from None


def _ready(slot: str, decoded: Decoded, sent: _Sent, size: tuple[int, int]) -> InputPicture:
    from app.files.inputs import encode

    digest = hashlib.sha256(sent.data).hexdigest()
    ref = InputRef(
        role=sent.role,
        sha256=digest,
        width=size[0],
        height=size[1],
        image_id=sent.image_id,
        extend=sent.extend,
        **sent.controls,
    )
    return InputPicture(slot, ref, encode(decoded, size))


def _notes(image: Decoded, size: tuple[int, int]) -> Sequence[str]:
    from app.files.inputs import resizing_note

    note = resizing_note(image.size, size)
    return [note] if note else []


def _too_large(context: AppContext, role: Role) -> InvalidImage:
    return _invalid(role, f"has more than {context.settings.input_max_bytes:,} bytes (INPUT_MAX_BYTES)")


def _invalid(role: str, message: str) -> InvalidImage:
    return InvalidImage(f"{role} {message}.", errors=[FieldError(role, message)])
