"""Maps a scene to labels: one class id per attribute, for the heads that train the text encoders."""

from __future__ import annotations

from tools.demo_model.palette import BOAT_COLORS, COLORS, HOUSE_COLORS, TIMES, TREE_COLORS
from tools.demo_model.scene import FOREST, GROUNDS, PLACES, SHAPES, SIZES, Scene, Shapes

NONE = "-"
THINGS = ("house", "trees", "pines", "cacti", "boat")
AMOUNTS = ("0", "1", "2", "3", "many")
_COLORS = (NONE, *COLORS)
_SHAPES = (NONE, *SHAPES)

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "background": _COLORS,
    "color 1": _COLORS,
    "shape 1": _SHAPES,
    "size 1": (NONE, *SIZES),
    "place 1": (NONE, *PLACES),
    "color 2": _COLORS,
    "shape 2": _SHAPES,
    "time": (NONE, *TIMES),
    "sun": ("no", "yes"),
    "moon": ("", "full", "crescent"),
    "stars": ("no", "yes"),
    "clouds": ("", "some", "overcast"),
    "mountains": ("", "plain", "snowy"),
    "hills": ("no", "yes"),
    "ground": (NONE, *GROUNDS),
    "trees": AMOUNTS,
    "tree color": (NONE, *TREE_COLORS),
    "pines": AMOUNTS,
    "cacti": AMOUNTS,
    "house": ("", *HOUSE_COLORS),
    "boat": ("", *BOAT_COLORS),
    "left": ("", *THINGS),
    "right": ("", *THINGS),
}


def describe(scene: Scene) -> dict[str, str]:
    """The value of every attribute; those of the other kind of scene have their first, empty value."""
    values = {name: options[0] for name, options in ATTRIBUTES.items()}
    if isinstance(scene, Shapes):
        values["background"] = scene.background
        # The left or upper item comes first, so that the same picture always has the same labels.
        items = (
            sorted(scene.items, key=lambda item: item.place in ("right", "bottom"))
            if len(scene.items) == 2
            else scene.items
        )
        for number, item in enumerate(items, 1):
            values[f"color {number}"], values[f"shape {number}"] = item.color, item.shape
        values["size 1"], values["place 1"] = items[0].size, items[0].place
        return values
    for name in ("moon", "clouds", "mountains", "house", "boat", "left", "right", "time", "ground"):
        values[name] = getattr(scene, name)
    for name in ("sun", "stars", "hills"):
        values[name] = "yes" if getattr(scene, name) else "no"
    for name in ("trees", "pines", "cacti"):
        count = int(getattr(scene, name))
        values[name] = "many" if count >= FOREST else str(count)
    values["tree color"] = scene.tree_color if scene.trees else NONE
    return values


def label(scene: Scene) -> list[int]:
    """Class ids in the order of ATTRIBUTES."""
    values = describe(scene)
    return [options.index(values[name]) for name, options in ATTRIBUTES.items()]
