"""The scenes world: same pixels from the same words, boxes that fit, splits that share nothing they should not."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from replicate.datasets import registry
from replicate.datasets.base import DetectionData
from replicate.datasets.scenes import assets, checksum, classes, compose, render, world
from replicate.tasks import DataError


def same(a: world.Scenes, b: world.Scenes, n: int) -> bool:
    return (
        np.array_equal(a.images[:n], b.images[:n])
        and np.array_equal(a.instances[:n], b.instances[:n])
        and all(np.array_equal(a.boxes(i), b.boxes(i)) and np.array_equal(a.labels(i), b.labels(i)) for i in range(n))
    )


@pytest.fixture(scope="module")
def scenes() -> world.Scenes:
    return render("train", 40, seed=3, size=64, cached=False)


def test_same_words_same_pixels_whatever_the_count(scenes: world.Scenes) -> None:
    assert same(scenes, render("train", 40, seed=3, size=64, cached=False), 40)
    assert same(scenes, render("train", 7, seed=3, size=64, cached=False), 7)


@pytest.mark.parametrize("change", [{"seed": 4}, {"split": "val"}, {"num_classes": 9}, {"rotation": 0.0}])
def test_other_words_other_pixels(scenes: world.Scenes, change: dict[str, object]) -> None:
    words = {"split": "train", "seed": 3, "size": 64, **change}
    assert not same(scenes, render(words.pop("split"), 4, cached=False, **words), 4)


def test_images_of_a_split_differ_from_each_other(scenes: world.Scenes) -> None:
    assert len({image.tobytes() for image in scenes.images}) == len(scenes)


def test_boxes_are_tight_around_the_visible_masks(scenes: world.Scenes) -> None:
    assert isinstance(scenes, DetectionData)
    for i in range(len(scenes)):
        boxes, masks = scenes.boxes(i), scenes.masks(i)
        assert len(boxes) == len(masks) == len(scenes.labels(i)) >= 1
        assert boxes.dtype == np.float32
        assert scenes.labels(i).dtype == np.int64
        assert masks.sum(0).max() <= 1, "two objects own one pixel"
        for box, mask in zip(boxes, masks, strict=True):
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_objects_keep_their_visible_fraction() -> None:
    crowded = render("train", 30, seed=1, size=64, objects=(8, 12), scale=(0.3, 0.7), min_visible=0.6, cached=False)
    assert crowded.objects["visible"].min() >= 0.6
    assert crowded.objects["visible"].max() <= 1.0
    assert (crowded.objects["visible"] < 0.95).mean() > 0.1, "nothing hides anything: the rule was not tested"


def test_an_object_changes_the_photograph_where_its_mask_is_and_nowhere_else() -> None:
    words = {"seed": 5, "size": 64, "distractors": (0, 0), "objects": (1, 1), "scale": (0.4, 0.6), "cached": False}
    scene = render("train", 10, **words)
    for i in range(10):
        draws = compose.Draws(5, 0, i)
        name = classes.TRAIN_PHOTOS[draws.integer(0, len(classes.TRAIN_PHOTOS) - 1)]
        changed = (scene.images[i].astype(int) != compose.background(draws, name, 64)).any(-1)
        mask = scene.masks(i)[0]
        assert changed[mask].mean() > 0.95
        # outside the mask only the half-transparent rim may differ
        rim = np.zeros_like(mask)
        ys, xs = np.nonzero(mask)
        for dy in (-2, -1, 0, 1, 2):
            for dx in (-2, -1, 0, 1, 2):
                rim[np.clip(ys + dy, 0, 63), np.clip(xs + dx, 0, 63)] = True
        assert not changed[~rim].any()


def test_every_image_has_an_object_even_if_all_are_huge() -> None:
    huge = render("train", 20, seed=0, size=32, scale=(1.0, 1.0), min_visible=0.6, cached=False)
    assert all(len(huge.boxes(i)) >= 1 for i in range(20))


def test_photographs_of_the_splits_are_disjoint_files() -> None:
    files = [
        {file for photo in photos for file in classes.PHOTO_FILES[photo]}
        for photos in (classes.TRAIN_PHOTOS, classes.VAL_PHOTOS, classes.TEST_PHOTOS)
    ]
    assert not files[0] & files[1]
    assert not files[0] & files[2]
    assert not files[1] & files[2]
    assert set().union(*files) == {f for views in classes.PHOTO_FILES.values() for f in views}
    contents = {f: (assets.package_folder(f[0]) / f[1]).read_bytes() for f in set().union(*files)}
    assert len(set(contents.values())) == len(contents), "one photograph under two names"


def test_sprites_are_held_out_only_when_asked() -> None:
    used = {}
    for split in ("train", "val", "test"):
        both = render(split, 60, seed=2, size=32, holdout="sprite+photo", cached=False)
        used[split] = set(both.objects["sprite"].tolist())
        pools = both.config.pools()
        assert used[split] <= set().union(*pools.sprites)
    assert not used["train"] & used["val"]
    assert not used["train"] & used["test"]
    assert not used["val"] & used["test"]
    train, test = (world.SceneConfig(split=s, seed=0).pools() for s in ("train", "test"))
    assert train.sprites == test.sprites
    assert not set(train.photos) & set(test.photos)


def test_sprites_per_class_takes_a_part_of_what_all_would_use() -> None:
    few = world.SceneConfig(split="train", seed=0, sprites_per_class=3).pools()
    every = world.SceneConfig(split="train", seed=0).pools()
    assert all(len(f) == 3 and f == e[:3] for f, e in zip(few.sprites, every.sprites, strict=True))


def test_each_class_has_drawings_in_every_split_and_no_drawing_has_two_classes() -> None:
    owners: dict[str, str] = {}
    for name in classes.CLASSES:
        parts = [assets.sprites_of(name, split, None) for split in ("train", "val", "test")]
        assert all(parts), name
        assert sorted(i for part in parts for i in part) == sorted(assets.sprites_of(name, None, None))
        for i in assets.sprites_of(name, None, None):
            assert owners.setdefault(assets.catalogue()[i].file, name) == name
    for name, rule in classes.CLASSES.items():
        have = {assets.catalogue()[i].name for i in assets.sprites_of(name, None, None)}
        assert set(rule.names.split()) <= have, f"{name}: a drawing named in the rules does not exist"


# pycocotools 2.0.11 decodes with an __array__ that numpy 2 calls deprecated
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_coco_output_is_what_pycocotools_reads(scenes: world.Scenes) -> None:
    truth = scenes.coco()
    assert {c["id"] for c in truth["categories"]} == set(scenes.category_ids)
    assert len(truth["annotations"]) == len(scenes.objects)
    start = 0
    for i, info in enumerate(truth["images"]):
        mine = [a for a in truth["annotations"] if a["image_id"] == info["id"]]
        for annotation, box, mask, label in zip(mine, scenes.boxes(i), scenes.masks(i), scenes.labels(i), strict=True):
            decoded = coco_mask.decode(annotation["segmentation"])
            assert np.array_equal(decoded.astype(bool), mask)
            assert annotation["area"] == mask.sum() == coco_mask.area(annotation["segmentation"])
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            assert annotation["bbox"][2:] == (box[2:] - box[:2]).tolist()
            assert annotation["category_id"] == scenes.category_ids[label]
        start += len(mine)
    assert start == len(truth["annotations"])
    bare = scenes.coco(segmentation=False)
    assert all("segmentation" not in a for a in bare["annotations"])
    assert [a["bbox"] for a in bare["annotations"]] == [a["bbox"] for a in truth["annotations"]]


def test_facts_name_what_is_in_the_scene(scenes: world.Scenes) -> None:
    opposite = {
        "left of": "right of",
        "right of": "left of",
        "above": "below",
        "below": "above",
        "overlaps": "overlaps",
    }
    relations = 0
    for i in range(len(scenes)):
        facts = scenes.facts(i)
        assert facts.photo in classes.TRAIN_PHOTOS
        assert [f.class_name for f in facts.objects] == [scenes.class_names[k] for k in scenes.labels(i)]
        for a, word, b in facts.relations:
            relations += 1
            assert (b, opposite[word], a) in facts.relations
            (ax, ay), (bx, by) = facts.objects[a].centre, facts.objects[b].centre
            if word != "overlaps":
                assert {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}[word]
    assert relations > 20


def test_colours_are_what_a_person_would_say() -> None:
    by_name = {s.name: i for i, s in enumerate(assets.catalogue())}
    said = {n: assets.colour_name(by_name[n]) for n in ("blue_heart", "green_heart", "tomato", "banana", "black_heart")}
    assert list(said.values()) == ["blue", "green", "red", "yellow", "black"]


def test_sizes_follow_the_asked_range_and_are_log_uniform() -> None:
    many = render("train", 150, seed=8, size=64, scale=(0.15, 0.6), objects=(1, 2), cached=False)
    logs = np.log(many.objects["side"] / 64)
    low, high = np.log(0.15), np.log(0.6)
    assert logs.min() >= low - 1e-5
    assert logs.max() <= high + 1e-5
    assert abs(logs.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * len(logs))


def test_arrays_cannot_be_written_but_an_image_can(scenes: world.Scenes) -> None:
    with pytest.raises(ValueError, match="read-only"):
        scenes.images[0] = 0
    scenes.image(0)[:] = 0
    with pytest.raises(IndexError):
        scenes.boxes(len(scenes))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"colour": 1}, "unknown option 'colour'"),
        ({"size": 8}, "size=8"),
        ({"num_classes": 99}, "num_classes=99"),
        ({"split": "dev"}, "split='dev'"),
        ({"scale": (0.5, 0.1)}, "scale="),
        ({"count": 0}, "count=0"),
        ({"style": "oil"}, "style='oil'"),
    ],
)
def test_bad_words_are_one_line(words: dict[str, object], says: str) -> None:
    given = {"split": "train", "count": 1, "seed": 0, "cached": False, **words}
    with pytest.raises(DataError, match=says) as error:
        render(given.pop("split"), given.pop("count"), **given)
    assert "\n" not in str(error.value)


def test_pins_agree_with_the_installed_drawings_and_photographs() -> None:
    assert checksum() == world.CHECKSUM == registry.card("scenes").checksum


def test_changed_ingredients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "checksum", lambda: "0" * 64)
    with pytest.raises(DataError, match="not the pinned ones"):
        render("train", 1, seed=0, cached=False)


def test_small_images_are_cheaper_and_a_cached_world_is_far_cheaper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_CACHE", str(tmp_path))

    def cpu(size: int, cached: bool) -> float:
        began = time.process_time()
        render("train", 60, seed=11, size=size, cached=cached)
        return time.process_time() - began

    cpu(64, False)  # decode the ingredients
    small, large = cpu(64, False), cpu(256, False)
    assert small < large
    cpu(64, True)
    assert min(cpu(64, True) for _ in range(3)) < 0.3 * small
