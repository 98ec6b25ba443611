"""What a request costs, and what its client may spend."""

from __future__ import annotations

from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.core.spending import Charge
from app.services.context import AppContext


def charge_for(context: AppContext, spec: ModelSpec, request: GenerationRequest) -> Charge | None:
    """The charge for a generation at a provider: the model's price per picture or video, REMOTE_PRICE if its catalogue
    line has none. None for what runs here, or on an engine server, which is the operator's own, unless its line has a
    price."""
    if spec.lane != "remote" or (spec.source == "engine" and spec.options.price is None):
        return None
    settings = context.settings
    return Charge(
        price=price_of(context, spec) * request.num_images,
        most_predictions=settings.spend_limit_predictions,
        most_amount=settings.spend_limit_amount,
    )


def price_of(context: AppContext, spec: ModelSpec) -> float:
    """The price of one picture or video of a remote model; 0 if none is set."""
    return context.settings.remote_price if spec.options.price is None else spec.options.price
