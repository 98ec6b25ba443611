"""What a request may say about its scheduler, by what is known of its model."""

from __future__ import annotations

import pytest

from app.core.catalog import Defaults, ModelOptions, ModelSpec
from app.core.catalog_lines import parse_model_line
from app.core.families.schedulers import fitting, prediction_of
from app.core.request import GenerationInput
from app.core.resolve import resolve
from app.core.schedulers.table import DIFFUSION_SCHEDULERS, FLOW_SCHEDULERS
from app.core.scheduling import call_of
from app.errors import InvalidRequest

LINE = "m;r;;local;false;"


def asked(options, source="local", **settings):
    spec = ModelSpec(
        id="m", name="m", repo="r", description="", source=source, options=ModelOptions.model_validate(options)
    )
    body = GenerationInput.model_validate({"prompt": "a boat", "settings": settings})
    return resolve(body, spec, prompt_max_chars=500, drawn_seed=1)


def refused(options, field, sentence, **settings):
    with pytest.raises(InvalidRequest, match=sentence) as error:
        asked(options, **settings)
    assert [each.field for each in error.value.errors] == [f"settings.{field}"]


DIFFUSION = {"schedulers": DIFFUSION_SCHEDULERS, "prediction": "epsilon"}
FLOW = {"schedulers": FLOW_SCHEDULERS, "prediction": "flow_prediction"}


def test_a_name_is_stored_as_ours_with_what_it_says_of_the_noise_levels():
    made = asked(DIFFUSION, scheduler="DPM++ 2M Karras").request
    assert (made.scheduler, made.sigmas, made.timestep_spacing) == ("dpmpp_2m", "karras", None)
    renamed = asked(DIFFUSION, sampler="Euler a")
    assert renamed.request.scheduler == "euler_a"
    assert renamed.warnings == ("sampler was read as scheduler, which is what this API calls it.",)


def test_what_does_not_fit_is_refused_by_field():
    refused(DIFFUSION, "scheduler", "there is no scheduler 'Eular'; did you mean euler", scheduler="Eular")
    refused(DIFFUSION, "scheduler", "send it as sigmas", scheduler="Karras")
    refused(FLOW, "scheduler", "m takes euler, heun, .* not euler_a", scheduler="euler_a")
    refused({"schedulers": ()}, "scheduler", "m keeps its own", scheduler="euler")
    refused({"schedulers": ()}, "sigmas", "m keeps its own scheduler as it is", sigmas="karras")
    refused(
        DIFFUSION, "sigmas", "cannot be chosen for euler_a; it can for euler, heun", scheduler="euler_a", sigmas="beta"
    )
    refused(DIFFUSION, "sigmas", "is beta, but 'Euler Karras' means karras", scheduler="Euler Karras", sigmas="beta")
    refused(DIFFUSION, "shift", "is for flow models", shift=3)
    refused(FLOW, "timestep_spacing", "is not for flow models", timestep_spacing="trailing")
    refused(FLOW, "sigmas", "cannot be chosen for unipc; it can for euler, lcm", scheduler="unipc", sigmas="karras")
    refused({}, "scheduler", "m keeps its own", scheduler="euler", source="replicate")


def test_a_model_that_is_not_here_leaves_it_to_its_worker():
    made = asked({}, scheduler="UniPC", shift=2.5, timestep_spacing="trailing").request
    assert (made.scheduler, made.shift, made.timestep_spacing) == ("unipc", 2.5, "trailing")


def test_the_defaults_of_a_line_are_those_of_a_request_that_says_nothing():
    line = parse_model_line(LINE + '{"defaults": {"scheduler": "Euler SGM Uniform"}}')
    assert line.defaults == Defaults(scheduler="euler", timestep_spacing="trailing")
    lightning = {**DIFFUSION, "defaults": {"scheduler": "dpm++ 2m karras", "timestep_spacing": "trailing"}}
    made = asked(lightning).request
    assert (made.scheduler, made.sigmas, made.timestep_spacing) == ("dpmpp_2m", "karras", "trailing")
    other = asked(lightning, scheduler="euler_a").request  # the spacing is the model's, the noise levels were not
    assert (other.scheduler, other.sigmas, other.timestep_spacing) == ("euler_a", None, "trailing")
    without = asked(lightning, scheduler="dpmpp_2s").request  # has no spacing
    assert (without.scheduler, without.timestep_spacing) == ("dpmpp_2s", None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ('{"defaults": {"scheduler": "nothing"}}', "there is no scheduler 'nothing'"),
        ('{"schedulers": ["euler", "nothing"]}', "there is no scheduler 'nothing'"),
        ('{"schedulers": ["euler"], "defaults": {"scheduler": "ddim"}}', "ddim is not among its schedulers"),
    ],
)
def test_a_line_with_a_mistake_says_so(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_model_line(LINE + options)


def test_jobs_with_other_schedulers_are_no_part_of_one_call():
    plain, karras = (asked(DIFFUSION, scheduler=name).request for name in ("dpmpp_2m", "DPM++ 2M Karras"))
    assert call_of(plain.stored()) != call_of(karras.stored()) != call_of(asked(DIFFUSION).request.stored())


def test_what_fits_follows_from_the_family_and_its_own_scheduler():
    assert fitting("StableDiffusionXLPipeline", "EulerDiscreteScheduler", {}) == DIFFUSION_SCHEDULERS
    assert fitting("StableDiffusionXLPipeline", "EDMEulerScheduler", {}) == ()
    assert fitting("LatentConsistencyModelPipeline", "LCMScheduler", {}) == ()
    assert fitting("SomethingNewPipeline", "EulerDiscreteScheduler", {}) == ()
    flow = "FlowMatchEulerDiscreteScheduler"
    assert fitting("StableDiffusion3Pipeline", flow, {"shift": 3.0}) == FLOW_SCHEDULERS
    assert "heun" not in fitting("FluxPipeline", flow, {"use_dynamic_shifting": True})
    assert fitting("SanaSprintPipeline", "SCMScheduler", {}) == ()
    solver = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    assert fitting("WanPipeline", "UniPCMultistepScheduler", solver) == FLOW_SCHEDULERS
    assert prediction_of("DDIMScheduler", {"prediction_type": "v_prediction"}) == "v_prediction"
    assert prediction_of("DDIMScheduler", {"prediction_type": "sample"}) is None
