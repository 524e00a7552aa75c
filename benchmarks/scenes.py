"""Images a second that the scenes world draws on one core, in CPU time: benchmarks/scenes.py [size] [count]."""

import sys
import time

from replicate.datasets.scenes import render


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    render("train", 300, size=size, seed=1, cached=False)  # decode sprites and photographs once
    began = time.process_time()
    scenes = render("train", count, size=size, seed=0, cached=False)
    seconds = time.process_time() - began
    print(f"{count} images of {size} px, {len(scenes.objects)} objects: {count / seconds:.0f} images/s on one core")
    began = time.process_time()
    scenes.coco()
    print(f"COCO ground truth with masks: {count / (time.process_time() - began):.0f} images/s")


if __name__ == "__main__":
    main()
