"""The catalogue of an installation with the tuned profiles of its models."""

from __future__ import annotations

import logging

from app.config import Settings
from app.core.acceleration import fetches_code
from app.core.catalog import Catalog, ModelSpec
from app.core.catalog_limits import catalog_of
from app.core.tuned_profiles import with_profile
from app.files.tuned_profiles import profile_path, read_profile

log = logging.getLogger("cyberimage.models")


def tuned_catalog(settings: Settings) -> Catalog:
    """The catalogue with what the profiles in TUNED_PROFILES_DIR add to its lines. Raises ConfigurationError."""
    catalog = catalog_of(settings)
    return Catalog([_tuned(spec, settings) for spec in catalog.everything], catalog.default_id)


def _tuned(spec: ModelSpec, settings: Settings) -> ModelSpec:
    profile = read_profile(profile_path(settings.tuned_profiles_folder, spec.id))
    if profile is None:
        return spec
    if fetches_code(profile.options.attention) and not settings.allow_hub_kernels:
        log.warning("%s: its profile asks for kernels of the hub and is not used: ALLOW_HUB_KERNELS is off.", spec.id)
        return spec
    try:
        return with_profile(spec, profile)
    except ValueError as error:
        log.warning("%s: its profile does not fit its line (%s) and is not used. Tune it again.", spec.id, error)
        return spec
