"""Which drawings make up which class, by the emoji list's own subcategories and short names.

The order is part of the world: ``num_classes=10`` means the first ten. Sprites of no class are the distractors.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A class: every sprite of ``subcategories`` but ``without``, and those named in ``names``."""

    subcategories: tuple[str, ...] = ()
    names: str = ""
    without: str = ""


CLASSES: dict[str, Rule] = {
    "face": Rule(("face-smiling", "face-tongue", "face-affection", "face-neutral-skeptical", "face-concerned")),
    "vehicle": Rule(
        names="racing_car bus oncoming_bus trolleybus minibus ambulance fire_engine police_car oncoming_police_car "
        "taxi oncoming_taxi car oncoming_automobile blue_car truck articulated_lorry tractor pickup_truck "
        "auto_rickshaw train2 metro light_rail station tram train bullettrain_side bullettrain_front "
        "steam_locomotive railway_car monorail",
    ),
    "fruit": Rule(("food-fruit",)),
    "mammal": Rule(("animal-mammal",), without="pig_nose feet unicorn_face bat"),
    "bird": Rule(("animal-bird",), without="feather wing hatching_chick"),
    "building": Rule(
        ("place-building", "place-religious"),
        without="building_construction bricks rock wood statue_of_liberty kaaba shinto_shrine stadium",
    ),
    "ball": Rule(names="basketball football rugby_football volleyball soccer baseball softball 8ball bowling"),
    "clock": Rule(("time",), without="watch hourglass hourglass_flowing_sand"),
    "flower": Rule(("plant-flower",), without="rosette"),
    "clothing": Rule(
        names="shirt jeans dress kimono bikini womans_clothes sari lab_coat safety_vest coat one-piece_swimsuit "
        "briefs shorts running_shirt_with_sash martial_arts_uniform scarf socks gloves necktie",
    ),
    "vegetable": Rule(("food-vegetable",)),
    "drink": Rule(("drink",), without="ice_cube pouring_liquid clinking_glasses beers"),
    "insect": Rule(("animal-bug",), without="spider_web microbe snail worm"),
    "heart": Rule(
        names="heart orange_heart yellow_heart green_heart blue_heart purple_heart black_heart brown_heart "
        "white_heart pink_heart light_blue_heart grey_heart gift_heart sparkling_heart heartpulse heartbeat cupid",
    ),
    "shoe": Rule(
        names="mans_shoe athletic_shoe high_heel sandal boot hiking_boot womans_flat_shoe ballet_shoes "
        "thong_sandal roller_skate ice_skate",
    ),
    "instrument": Rule(("musical-instrument",)),
    "book": Rule(
        names="ledger notebook notebook_with_decorative_cover closed_book book green_book blue_book orange_book books"
    ),
    "sea_animal": Rule(("animal-marine", "food-marine"), without="shell coral oyster"),
    "sweet": Rule(("food-sweet",), without="honey_pot"),
    "tool": Rule(
        names="wrench hammer hammer_and_wrench axe carpentry_saw screwdriver hammer_and_pick pick hocho "
        "dagger_knife crossed_swords boomerang"
    ),
}

CLUTTER = ("office", "computer", "household", "mail", "phone", "science", "music", "light & video", "geometric")
"""Subcategories of the distractors, minus every sprite that belongs to a class."""

TRAIN_PHOTOS = ("astronaut", "chelsea", "motorcycle", "china", "brick", "grass", "moon")
VAL_PHOTOS = ("rocket", "gravel")
TEST_PHOTOS = ("coffee", "flower", "camera")

PHOTO_FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "astronaut": (("skimage", "data/astronaut.png"),),
    "chelsea": (("skimage", "data/chelsea.png"),),
    # the two views of one stereo pair show the same place: one identity
    "motorcycle": (("skimage", "data/motorcycle_left.png"), ("skimage", "data/motorcycle_right.png")),
    "china": (("sklearn", "datasets/images/china.jpg"),),
    "brick": (("skimage", "data/brick.png"),),
    "grass": (("skimage", "data/grass.png"),),
    "moon": (("skimage", "data/moon.png"),),
    "rocket": (("skimage", "data/rocket.jpg"),),
    "gravel": (("skimage", "data/gravel.png"),),
    "coffee": (("skimage", "data/coffee.png"),),
    "flower": (("sklearn", "datasets/images/flower.jpg"),),
    "camera": (("skimage", "data/camera.png"),),
}
"""Photograph -> the files that show it, as (package, path inside the package)."""
