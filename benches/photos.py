#!/usr/bin/env python3
"""Measures how fast photos are read, beside Pillow, exiv2, exifread and exiftool: `benches/photos.py`.

- In: the program (DKC, else that of `make demo`), a Python with the peers (DKC_PYTHON), exiftool.
- Out: a table on standard output; exit code 1 when a target is missed.
- Photos: 5,000 JPEGs of 0.28 MB with Exif, GPS and a small picture, made here, in the page cache. The peers read them in
  two processes that have started, and take make, model, time, exposure and position from each. The fastest of three rounds. A run cannot be faster than SHA-256 alone.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from measure import ROUNDS, Failed, best
from run import DKC, PYTHON, TARGET, Dkc

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("Pillow", "exiv2", "exifread")
HASH = "SHA-256 alone, hashlib"
BASES = 20


def make(folder, count):
    """The photos: some pictures, each many times with other bytes at its end."""
    from PIL import Image

    folder.mkdir()
    work = folder.parent / "bases"
    work.mkdir()
    for number in range(BASES):
        path = work / f"{number:02}.jpg"
        noise = Image.effect_noise((1600, 1200), 40 + number)
        Image.merge("RGB", [noise, noise.rotate(90).resize(noise.size), noise.rotate(180)]).resize((1440, 1080)).save(
            path, quality=40)
        small = work / "small.jpg"
        Image.open(path).resize((160, 120)).save(small)
        subprocess.run([
            "exiftool", "-q", "-overwrite_original", "-Make=Canon", f"-Model=Canon EOS {number}D",
            f"-DateTimeOriginal=2024:05:06 07:08:{number:02}", "-OffsetTimeOriginal=+02:00", "-SubSecTimeOriginal=25",
            "-ExposureTime=1/250", "-FNumber=2.8", "-ISO=200", "-FocalLength=50", "-Orientation#=6",
            "-LensModel=EF24-70mm f/2.8L II USM", "-GPSLatitude=47.376887", "-GPSLatitudeRef=N", "-GPSLongitude=8.541694",
            "-GPSLongitudeRef=E", "-GPSAltitude=408", f"-ThumbnailImage<={small}", path], check=True)
        small.unlink()
    bases = [path.read_bytes() for path in sorted(work.iterdir())]
    for number in range(count):
        (folder / f"IMG_{number:05}.jpg").write_bytes(bases[number % BASES] + number.to_bytes(4, "big"))
    return sum(map(len, bases)) / BASES / 1e6


def pillow(path):
    from PIL import Image

    exif = Image.open(path).getexif()
    more, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    return exif[0x10F], exif[0x110], more[0x9003], more[0x829A], gps[2], gps[4]


def exiv2(path):
    import exiv2 as library

    image = library.ImageFactory.open(path)
    image.readMetadata()
    exif = image.exifData()
    return tuple(exif[name].toString() for name in (
        "Exif.Image.Make", "Exif.Image.Model", "Exif.Photo.DateTimeOriginal", "Exif.Photo.ExposureTime",
        "Exif.GPSInfo.GPSLatitude", "Exif.GPSInfo.GPSLongitude"))


def exifread(path):
    import exifread as library

    with open(path, "rb") as file:
        tags = library.process_file(file, details=False)
    return tuple(tags[name].values for name in (
        "Image Make", "Image Model", "EXIF DateTimeOriginal", "EXIF ExposureTime", "GPS GPSLatitude", "GPS GPSLongitude"))


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).digest()


def peer(name, folder):
    """Prints photos a second; in DKC_PYTHON."""
    paths = [str(path) for path in sorted(folder.iterdir())]
    read = {"Pillow": pillow, "exiv2": exiv2, "exifread": exifread, HASH: sha256}[name]
    with multiprocessing.Pool(2) as pool:
        pool.map(read, paths[:200], 50)
        fastest = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            if not all(pool.map(read, paths, 50)):
                sys.exit("something was not read")
            fastest = min(fastest, time.perf_counter() - began)
    print(len(paths) / fastest)


def asked(command, **settings):
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **settings).stdout)


def dkc(work, name, photos, count, thumbnails):
    """A first run into a new lake: photos a second, and what it took."""
    of = Dkc(work, name, f'kind = "photos", roots = ["{photos}"], thumbnails = {str(thumbnails).lower()}')

    def check(output):
        run = json.loads(output)["runs"][0]
        if run["items_stored"] != count:
            raise Failed(output)

    taken = best([*of.command, "--no-index"], of.afresh, check)
    return count / taken.seconds, taken.peak_mb


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--photos", type=int, default=5_000, help="how many")
    arguments.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.peer:
        return peer(options.peer[0], pathlib.Path(options.peer[1]))
    if options.make:
        return print(make(options.make, options.photos))
    rates, peaks = {}, {}
    with tempfile.TemporaryDirectory(prefix="dkc-bench-") as temporary:
        work = pathlib.Path(temporary)
        photos, few = work / "photos", work / "few"
        here = [PYTHON, __file__]
        megabytes = asked([*here, "--make", photos, "--photos", str(options.photos)])
        few.mkdir()
        for path in sorted(photos.iterdir())[:500]:
            os.link(path, few / path.name)
        bench = ["cargo", "bench", "--quiet", "--workspace", "--profile", "dev", "--bench", "photos"]
        settings = {"CARGO_TARGET_DIR": str(TARGET), "DKC_BENCH_PHOTOS": str(photos)}
        rates["dkc, metadata alone"] = asked(bench, env=os.environ | settings)
        for name in PEERS:
            rates[name] = asked([*here, "--peer", name, photos])
        rates[HASH] = asked([*here, "--peer", HASH, photos])
        began = time.perf_counter()
        subprocess.run(["exiftool", "-json", "-fast", few], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rates["exiftool, one process, 500 photos"] = 500 / (time.perf_counter() - began)
        for name, of, count, thumbnails in [("dkc run, SHA-256", photos, options.photos, False),
                                            ("dkc run, SHA-256 and thumbnails, 500 photos", few, 500, True)]:
            rates[name], peaks[name] = dkc(work, f"run{len(rates)}", of, count, thumbnails)
    peers = max(rates[name] for name in PEERS)
    targets = {"dkc, metadata alone": 3 * peers, "dkc run, SHA-256": peers}
    print(f"{options.photos} JPEGs of {megabytes:.2f} MB, {os.cpu_count()} cores\n")
    print("| what | photos/s | target | peak MB |\n|---|---|---|---|")
    for name, rate in rates.items():
        target = f"≥ {targets[name]:,.0f}{'' if rate >= targets[name] else ' **missed**'}" if name in targets else ""
        print(f"| {name} | {rate:,.0f} | {target} | {f'{peaks[name]:.0f}' if name in peaks else ''} |")
    return any(rates[name] < target for name, target in targets.items())


if __name__ == "__main__":
    sys.exit(main())
