"""The families that make videos."""

from __future__ import annotations

from app.core.families.family import Family, VideoRules
from app.core.schedulers.table import FLOW_SCHEDULERS

_LTX = VideoRules(frame_step=8, multiple_of=32, width=704, height=512, num_frames=161, fps=25)
_LTX2 = VideoRules(frame_step=8, multiple_of=32, width=768, height=512, num_frames=121, fps=24)
_WAN = VideoRules(frame_step=4, multiple_of=16, width=832, height=480, num_frames=81, fps=16)
_HUNYUAN = VideoRules(frame_step=4, multiple_of=16, width=1280, height=720, num_frames=129, fps=24)
_HUNYUAN_15 = VideoRules(frame_step=4, multiple_of=16, width=832, height=480, num_frames=121, fps=24)
_COGVIDEOX = VideoRules(frame_step=4, multiple_of=16, width=720, height=480, num_frames=49, fps=8)
_SKYREELS = VideoRules(frame_step=4, multiple_of=16, width=960, height=544, num_frames=97, fps=24)
_KANDINSKY = VideoRules(frame_step=4, multiple_of=16, width=768, height=512, num_frames=121, fps=24)
_SANA = VideoRules(frame_step=4, multiple_of=32, width=832, height=480, num_frames=81, fps=16)
_MOCHI = VideoRules(frame_step=6, multiple_of=16, width=848, height=480, num_frames=85, fps=30)
_ALLEGRO = VideoRules(frame_step=4, multiple_of=8, width=1280, height=720, num_frames=85, fps=15)

VIDEO_FAMILIES = (
    Family(
        "LTX-2",
        ("LTX2Pipeline", "LTX2ImageToVideoPipeline"),
        siblings={"txt2video": "LTX2Pipeline", "img2video": "LTX2ImageToVideoPipeline"},
        step_caches=dict.fromkeys(("LTX2Pipeline", "LTX2ImageToVideoPipeline"), ("taylorseer", "pyramid")),
        video=_LTX2,
        loras=("ltx2",),
    ),
    Family("LTX-Video (conditions)", ("LTXCondition*",), tasks=("txt2video", "img2video"), video=_LTX, loras=("ltx",)),
    Family(
        "LTX-Video",
        ("LTXPipeline", "LTXImageToVideoPipeline"),
        siblings={"txt2video": "LTXPipeline", "img2video": "LTXImageToVideoPipeline"},
        step_caches=dict.fromkeys(("LTXPipeline", "LTXImageToVideoPipeline"), ("mag", "pyramid")),
        video=_LTX,
        loras=("ltx",),
    ),
    Family(
        "Wan VACE",
        ("WanVACE*",),
        tasks=("txt2video",),
        step_caches={"WanVACEPipeline": ("mag",)},
        video=_WAN,
        float32_parts=("vae",),
        loras=("wan",),
    ),
    Family(
        "Wan",
        ("WanPipeline", "WanImageToVideoPipeline"),
        siblings={"txt2video": "WanPipeline", "img2video": "WanImageToVideoPipeline"},
        step_caches={"WanPipeline": ("mag", "sea"), "WanImageToVideoPipeline": ("mag",)},
        sibling_flag="expand_timesteps",
        video=_WAN,
        float32_parts=("vae", "image_encoder"),
        loras=("wan",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "HunyuanVideo 1.5",
        ("HunyuanVideo15*",),
        step_caches=dict.fromkeys(("HunyuanVideo15Pipeline", "HunyuanVideo15ImageToVideoPipeline"), ("taylorseer",)),
        video=_HUNYUAN_15,
        loras=("hunyuan", "flux"),
    ),
    Family(
        "HunyuanVideo",
        ("HunyuanVideo*", "HunyuanSkyreels*"),
        step_caches={"HunyuanVideoPipeline": ("first-block", "taylorseer", "mag", "pyramid")},
        video=_HUNYUAN,
        loras=("hunyuan", "flux"),
    ),
    Family(
        "CogVideoX",
        ("CogVideoXPipeline", "CogVideoXImageToVideoPipeline"),
        step_caches=dict.fromkeys(("CogVideoXPipeline", "CogVideoXImageToVideoPipeline"), ("mag", "pyramid", "faster")),
        video=_COGVIDEOX,
    ),
    Family("SkyReels-V2", ("SkyReelsV2*",), video=_SKYREELS, float32_parts=("vae", "image_encoder")),
    Family("Kandinsky 5 Video", ("Kandinsky5T2VPipeline", "Kandinsky5I2VPipeline"), video=_KANDINSKY),
    Family("Sana Video", ("SanaVideo*", "SanaImageToVideo*"), video=_SANA, loras=("sana",)),
    Family(
        "Mochi", ("Mochi*",), step_caches={"MochiPipeline": ("first-block", "mag", "pyramid", "faster")}, video=_MOCHI
    ),
    Family("Allegro", ("Allegro*",), video=_ALLEGRO),
)
