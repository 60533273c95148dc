"""Moving everything: `umbra storage migrate` and `rclone copy --transfers 16` into Umbra, in turns, and both once more over what has moved."""

import time

from .stage import KIB, MIB, median

# A listing that is younger is not made again: a second migration would only look at our own rows.
LISTING_AGE = 61


class Moved:
    """What the rounds over one load left: its samples, and the buckets of the first round."""

    def __init__(self, load):
        self.load = load
        self.umbra, self.rclone = [], []
        self.first, self.first_copy, self.began = None, None, None


def move(stage, loads, rounds, say):
    """The rounds: who goes first changes."""
    results = [Moved(load) for load in loads]
    for number in range(rounds):
        for result in results:
            turns = [_migrate, _copy]
            for turn in turns if number % 2 == 0 else turns[::-1]:
                turn(stage, result, say)
    return results


def _migrate(stage, result, say):
    name = stage.bucket(result.load)
    result.began = result.began or time.monotonic()
    sample = stage.measured(lambda: stage.migrate(name, result.load))
    result.umbra.append(sample)
    result.first = result.first or name
    say(f"{result.load.bucket}: umbra {sample['seconds']:.1f} s")


def _copy(stage, result, say):
    name = stage.bucket()
    sample = stage.measured(lambda: stage.copy_with_rclone(result.load, name))
    result.rclone.append(sample)
    result.first_copy = result.first_copy or name
    say(f"{result.load.bucket}: rclone {sample['seconds']:.1f} s")


def tell_moved(result):
    """The lines of one load."""
    load, ours, theirs = result.load, median(result.umbra, "seconds"), median(result.rclone, "seconds")
    size = f"{load.size // MIB} MiB" if load.size >= MIB else f"{load.size // KIB} KiB"
    yield f"moving {load.count} × {size}"
    for name, samples, seconds in (("umbra migrate", result.umbra, ours), ("rclone copy", result.rclone, theirs)):
        cpu = {who: median(samples, who) / load.count * 1e6 for who in ("umbra", "child", "origin")}
        yield (
            f"  {name:<14} {load.count / seconds:8.0f} objects/s {load.bytes / seconds / 1e6:8.1f} MB/s"
            f"   CPU per object: Umbra {cpu['umbra']:.0f} µs, command {cpu['child']:.0f} µs, origin {cpu['origin']:.0f} µs"
        )
    ratios = sorted(there["seconds"] / here["seconds"] for here, there in zip(result.umbra, result.rclone))
    cpu = median(result.umbra, "umbra") / (median(result.rclone, "umbra") + median(result.rclone, "child"))
    yield f"  umbra / rclone {theirs / ours:8.2f} × (rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)}); CPU beside the origin's {cpu:.2f} ×"


def recheck(stage, result, rounds):
    """Both over what has moved already, and a verification; gives the lines."""
    load = result.load
    time.sleep(max(0, result.began + LISTING_AGE - time.monotonic()))
    verify = lambda: stage.umbra.storage("verify", result.first, timeout=600)
    works = {
        "rclone copy": lambda: stage.copy_with_rclone(load, result.first_copy),
        "umbra verify": verify,
    }
    # Migrated once: the next within the minute would not list.
    samples = {"umbra migrate": [stage.measured(lambda: stage.migrate(result.first, load, 0))]}
    for _ in range(rounds):
        for name, work in works.items():
            samples.setdefault(name, []).append(stage.measured(work))
    yield f"checking {load.count} keys once more"
    for name, taken in samples.items():
        yield f"  {name:<14} {load.count / median(taken, 'seconds'):8.0f} keys/s     CPU of Umbra per key {median(taken, 'umbra') / load.count * 1e6:.0f} µs"
